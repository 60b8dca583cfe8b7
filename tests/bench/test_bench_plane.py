"""Nanoseconds per packet, printed (`./dev bench`): each stage in C, and the boundary as Python calls it.

Nothing here asserts a time; asserted is that everything was measured and did its work.
"""

from __future__ import annotations

import functools
import subprocess
import time
from pathlib import Path

import pytest

from oxidized.core.plane import Suite
from oxidized.ffi.dataplane import aead_library
from oxidized.ffi.names import BATCH_MAX, STAGES
from tests.native.rig import EDGE, INNER_A, INNER_B, Pair, Solo, ipv4
from tests.native.test_core_unit import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O3",
    "-fstack-protector-strong",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
)


def report(name: str, spent_s: float, packets: int, what: str = "") -> None:
    print(f"{name:28} {spent_s / packets * 1e9:8.1f} ns/packet  {what}")


@functools.cache
def core_objects(folder: Path) -> tuple[str, ...]:
    """The core and what loads its crypto library, compiled once for all programs, in this folder."""
    folder.mkdir()
    sources = [*sorted((ROOT / "native/core").glob("*.c")), ROOT / "native/io/crypto.c"]
    subprocess.run(["gcc", *FLAGS, "-c", *map(str, sources)], cwd=folder, check=True, env=ENVIRONMENT)
    return tuple(str(folder / f"{source.stem}.o") for source in sources)


def measured(factory: pytest.TempPathFactory, name: str) -> list[str]:
    """Builds and runs a program of this folder; shows what it prints, returns what it measured."""
    program = factory.mktemp(name) / name
    objects = core_objects(factory.getbasetemp() / "bench-core")
    source = str(Path(__file__).with_name(f"{name}.c"))
    command = ["gcc", *FLAGS, "-o", str(program), source, *objects, "-lcrypto", "-llz4"]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    done = subprocess.run([program], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    print("\n" + done.stdout, end="")
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_stages(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = measured(tmp_path_factory, "stages")
    stages = {name.rpartition("/")[0] for name in found if name.startswith(("out/", "in/"))}
    assert stages == {f"{path}/{name}" for path in ("out", "in") for name in STAGES[path]}


def test_aeads(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each crypto library that is good here, at the sizes of tunnels."""
    found = measured(tmp_path_factory, "aead")
    names = [name for name in ("openssl", "ipsec-mb") if not aead_library(name).trouble]
    assert found == [
        f"aead/{name}/{suite}/{size}"
        for suite in ("aes-256-gcm", "chacha20-poly1305")
        for size in (64, 256, 1400, 9000)
        for name in names
    ]


def test_headers(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = measured(tmp_path_factory, "hdr")
    kinds = ("rtp", "udp", "esp", "icmp", "tcp-acks", "tcp-inter", "tcp-bulk")
    assert found == ["hdr/memory", *(f"hdr/{kind}" for kind in kinds)]


@pytest.mark.parametrize("suite", Suite, ids=["aes-256-gcm", "chacha20-poly1305"])
@pytest.mark.parametrize("size", [100, 1420])
def test_boundary(suite: Suite, size: int) -> None:
    """inner_push, outer_pop, outer_push, inner_pop: with the copies into and out of Python."""
    pair = Pair(suite=suite)
    batch = [ipv4(INNER_A, INNER_B, bytes(size - 20))] * BATCH_MAX
    spent = [0.0] * 4
    turns = 40
    for turn in range(turns):
        marks = [time.perf_counter()]
        pair.edge.inner_push(pair.now_ns + turn, batch)
        marks.append(time.perf_counter())
        out = pair.edge.outer_pop()
        marks.append(time.perf_counter())
        pair.hub.outer_push(pair.now_ns + turn, [(datagram, EDGE) for datagram, _ in out])
        marks.append(time.perf_counter())
        assert len(pair.hub.inner_pop()) == BATCH_MAX
        marks.append(time.perf_counter())
        spent = [
            total + after - before for total, before, after in zip(spent, marks, marks[1:], strict=False)
        ]
    print()
    for name, seconds in zip(("inner_push", "outer_pop", "outer_push", "inner_pop"), spent, strict=True):
        report(f"boundary/{name}/{size}", seconds, turns * BATCH_MAX, suite.name)


def test_calls_of_the_control_plane() -> None:
    """What Python asks of the plane now and then; per call."""
    rig = Solo()
    calls = {
        "stats": rig.plane.stats,
        "peer_counters": lambda: rig.plane.peer_counters(rig.peer),
        "poll_events": rig.plane.poll_events,
        "tick": lambda: rig.plane.tick(rig.now_ns),
    }
    print()
    for name, call in calls.items():
        begin = time.perf_counter()
        for _ in range(300):
            call()
        report(f"call/{name}", time.perf_counter() - begin, 300, "per call")
