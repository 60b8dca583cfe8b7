"""Nanoseconds of the compression oracle, printed (`./dev bench`): on a new flow and on a remembered one."""

from __future__ import annotations

import pytest

from tests.bench.test_bench_plane import measured


def test_oracle(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing asserts a time; asserted is that everything was measured."""
    found = measured(tmp_path_factory, "oracle")
    assert set(found) == {
        f"oracle/{who}-{flow}/{content}/{size}"
        for who in ("heuristic", "model")
        for flow in ("new", "remembered")
        for content in ("random", "text", "zeros")
        for size in (100, 400, 1400)
    }
