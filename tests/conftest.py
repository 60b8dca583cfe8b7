"""What holds for all tests: no deadlines, the sanitized C core on request, root for namespaces."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase

ROOT = Path(__file__).resolve().parents[1]

IS_CI = os.environ.get("CI") == "true"

# Time is never asserted, so no deadline. In CI the same examples each time: a red build can be repeated.
hypothesis.settings.register_profile(
    "oxidized",
    deadline=None,
    derandomize=IS_CI,
    database=None if IS_CI else DirectoryBasedExampleDatabase(ROOT / "build/hypothesis"),
)
hypothesis.settings.load_profile("oxidized")


def use_sanitized_core(folder: str) -> None:
    """Lets `oxidized.ffi._oxi` be the build with sanitizers; refuses when that is not what gets loaded."""
    import oxidized.ffi

    oxidized.ffi.__path__.insert(0, folder)
    from oxidized.ffi import _oxi

    if not str(_oxi.__file__).startswith(folder):
        raise pytest.UsageError(f"OXI_SANITIZED={folder}, but {_oxi.__file__} was loaded")


if "OXI_SANITIZED" in os.environ:
    use_sanitized_core(os.environ["OXI_SANITIZED"])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests on namespaces need root. At a desk they are left out without it; in CI that is a failure."""
    wants_root = any(item.get_closest_marker(name) for name in ("netns", "lab"))
    if os.geteuid() == 0 or not wants_root:
        return
    if IS_CI:
        pytest.fail("needs root and network namespaces; CI must have them")
    pytest.skip("needs root and network namespaces: ./dev test")
