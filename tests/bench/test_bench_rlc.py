"""Nanoseconds of the repair code, printed (`./dev bench`): making a repair, and taking one.

Nothing here asserts a time; asserted is that everything was measured and lost contents came back.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.bench.test_bench_plane import FLAGS, ROOT
from tests.native.rlc_door import gf256_trouble
from tests.native.test_core_unit import ENVIRONMENT

MEASURED = (
    "repair-of-6x1200", "repair-of-32x1200", "repair-of-64x1200", "repair-of-6x160", "repair-of-250x1400",
    "take-0-lost-of-250x1400", "take-1-lost-of-64x1200", "take-16-lost-of-64x1200", "take-2-lost-of-250x1400",
)  # fmt: skip


def test_repair_code(tmp_path: Path) -> None:
    program = tmp_path / "rlc"
    core = [path for name in ("gf256", "rlc") for path in (ROOT / "native/core").glob(f"{name}*.c")]
    sources = [Path(__file__).with_name("rlc.c"), *sorted(core), ROOT / "native/io/field.c"]
    command = ["gcc", *FLAGS, "-o", program, *sources, "-lpthread", "-ldl"]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    done = subprocess.run([program], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    print("\n" + done.stdout, end="")
    libraries = [name for name in ("portable", "isa-l") if not gf256_trouble(name)]
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        f"rlc/{name}/{what}" for name in libraries for what in MEASURED
    ]
