"""Bytes and nanoseconds of payload compression, printed (`./dev bench`), beside what the library offers.

Nothing here asserts a time; what is saved is asserted in tests/unit/native/test_lz.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from oxidized.core.plane import DICTIONARIES
from tests import payloads
from tests.bench.test_bench_plane import FLAGS, ROOT
from tests.native.test_core_unit import ENVIRONMENT

PACKETS = 1500
SEED = 1
DICTIONARY_OF = {"sip": "sip", "syslog": "syslog", "mqtt": "mqtt", "http": "http", "sql": "generic"}
WAYS = ("class", "light", "hc", "longest", "fast+dictionary", "hc+dictionary", "aggressive")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bench") / "lz"
    sources = [Path(__file__).with_name("lz.c"), *sorted((ROOT / "native/core").glob("lz*.c"))]
    subprocess.run(["gcc", *FLAGS, "-o", made, *sources, "-llz4"], check=True, env=ENVIRONMENT)
    return made


@pytest.mark.parametrize("kind", payloads.KINDS)
def test_payloads(program: Path, tmp_path: Path, kind: str) -> None:
    packets = payloads.make(kind, PACKETS, SEED)
    written = tmp_path / kind
    written.write_bytes(b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets))
    number = DICTIONARIES.index(DICTIONARY_OF.get(kind, "generic"))
    command = [program, written, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    print(f"\n{kind}, {sum(map(len, packets)) // PACKETS} bytes on average\n{done.stdout}", end="")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [f"lz/{way}" for way in WAYS]
