"""Compiles the lab's C programs on demand into netns-lab/build, again when a source is newer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.errors import LabError, MissingError

LAB_FOLDER = Path(__file__).resolve().parents[1]
BUILD_FOLDER = LAB_FOLDER / "build"
SOURCES: dict[str, tuple[str, ...]] = {
    "link-emulator": (
        "link-emulator.c", "link.c", "link-conf.c", "link-packet.c", "link-report.c", "link-simulate.c",
    ),
    "traffic": ("traffic.c",),
    "rtp-trunk": ("rtp-trunk.c",),
}  # fmt: skip
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Werror")


def helper(name: str) -> Path:
    """The path of a compiled program; MissingError without a compiler, LabError when it does not compile."""
    program = BUILD_FOLDER / name
    sources = [LAB_FOLDER / source for source in SOURCES[name]]
    newest = max(path.stat().st_mtime_ns for path in [*sources, *LAB_FOLDER.glob("*.h")])
    if program.exists() and program.stat().st_mtime_ns > newest:
        return program
    if shutil.which("gcc") is None:
        raise MissingError(f"gcc is needed to build netns-lab/{name}: apt-get install gcc libc6-dev")
    BUILD_FOLDER.mkdir(exist_ok=True)
    fresh = program.with_name(f"{name}.{os.getpid()}")
    command = ["gcc", *FLAGS, *map(str, sources), "-lm", "-pthread", "-o", str(fresh)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"netns-lab/{name} does not compile:\n{done.stderr}")
    fresh.replace(program)
    return program
