"""Builds core_unit.c with the core under the address and undefined-behaviour sanitizers, and runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A sanitizer that is preloaded for the interpreter is not meant for the compiler.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
FLAGS = (
    "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-DOXI_DEBUG",
)  # fmt: skip


# Which program is built with which files of the core; all of them: None.
PROGRAMS = {"core_unit": None, "repair_unit": ("contents.c", "repair_when.c")}


@pytest.mark.parametrize("name", PROGRAMS)
def test_core_unit(name: str, tmp_path: Path) -> None:
    core = sorted((ROOT / "native/core").glob("*.c"))
    only = PROGRAMS[name]
    parts = [str(path) for path in core if only is None or path.name in only]
    program = tmp_path / name
    source = str(Path(__file__).with_name(f"{name}.c"))
    command = ["gcc", *FLAGS, "-o", str(program), source, *parts, "-lcrypto", "-llz4"]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    done = subprocess.run([program], capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (0, "all hold\n"), done.stderr
