"""Builds core_unit.c with the core under the address and undefined-behaviour sanitizers, and runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A sanitizer that is preloaded for the interpreter is not meant for the compiler.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
FLAGS = (
    "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-DOXI_DEBUG",
)  # fmt: skip


def test_core_unit(tmp_path: Path) -> None:
    core = sorted(str(path) for path in (ROOT / "native/core").glob("*.c"))
    program = tmp_path / "core_unit"
    command = [
        "gcc",
        *FLAGS,
        "-o",
        str(program),
        str(Path(__file__).with_name("core_unit.c")),
        *core,
        "-lcrypto",
        "-llz4",
    ]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    done = subprocess.run([program], capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (0, "all hold\n"), done.stderr
