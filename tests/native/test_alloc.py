"""Builds alloc_unit.c with all of native/ and runs it; and how much memory the planes of daemons take."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from oxidized import config, keys
from oxidized.io.daemon import Daemon
from oxidized.io.room import compression_bounded
from tests.native.threads import make_site, running, udp
from tests.unit.ops.samples import EDGE, HUB, PRIVATE, write

ROOT = Path(__file__).resolve().parents[2]
# A sanitizer that is preloaded for the interpreter is not meant for the compiler, nor for this allocator.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-w", "-fno-builtin", "-DOXI_DEBUG")
MEMORY_BYTES_MAX = {"edge": 16 << 20, "hub": 24 << 20, "hub-of-64": 30 << 20}
COMPRESSION = """
[compression]
headers = "all"
flows = 383
payload = ["syslog", "mqtt"]
bundle_wait_voip = "5ms"
bundle_wait_gaming = "5ms"
bundle_wait_other = "5ms"
"""


def test_nothing_is_allocated_after_the_start(tmp_path: Path) -> None:
    native = sorted(str(path) for path in (ROOT / "native").rglob("*.c"))
    program = tmp_path / "alloc_unit"
    source = Path(__file__).with_name("alloc_unit.c")
    include = f"-I{ROOT / 'native/include'}"
    libraries = ["-lcrypto", "-llz4", "-lpthread"]
    command = ["gcc", *FLAGS, include, "-o", str(program), str(source), *native, *libraries]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    done = subprocess.run([program], capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (0, "nothing allocated\n"), done.stderr


def hub_of(peers: int) -> str:
    """The sample hub with so many peers."""
    tables = [
        f'[[peer]]\nname = "more{n}"\npublic_key = "{keys.public_text((n + 100).to_bytes(2) * 16)}"\n'
        f'allowed_ips = ["10.71.{n}.0/24"]\n'
        for n in range(peers - 2)
    ]
    return HUB + "".join(tables)


def jumbo(text: str) -> str:
    return text.replace("[interface]", "[interface]\nmtu = 9000")


def compressing(text: str) -> str:
    """With all that compression can use: payloads, holds, and as many contexts as there may be."""
    return text + COMPRESSION


def memory_bytes(folder: Path, text: str) -> int:
    """Of the plane that the daemon makes of this configuration, thread and all."""
    keys.write_new(str(folder / "key"), PRIVATE)
    path = write(folder, text)
    read = config.load(path)
    plane = Daemon(read, read.to_settings({"CREDENTIALS_DIRECTORY": str(folder)}), path)._plane_make()
    site = make_site(plane, [udp()])
    with running(site):
        return site.counter("memory_bytes")


BOUNDED = {"edge": EDGE, "hub": HUB, "edge-jumbo": jumbo(EDGE), "hub-jumbo": jumbo(HUB)}


@pytest.mark.parametrize("is_compressing", [False, True], ids=["plain", "compressing"])
@pytest.mark.parametrize("name", [*BOUNDED, "hub-of-64"])
def test_memory_is_bounded(tmp_path: Path, name: str, is_compressing: bool) -> None:
    """Contexts for headers with the rest, and what is kept for repair; of one worker."""
    text = BOUNDED.get(name) or hub_of(64)
    found = memory_bytes(tmp_path, compressing(text) if is_compressing else text)
    assert found <= MEMORY_BYTES_MAX[name.removesuffix("-jumbo")]


@pytest.mark.parametrize(
    ("text", "flows"),
    [(EDGE, 128), (jumbo(EDGE), 128), (HUB, 73), (jumbo(HUB), 92), (hub_of(64), 45), (hub_of(100), 35)],
    ids=["edge", "edge-jumbo", "hub", "hub-jumbo", "hub-of-64", "hub-of-100"],
)
def test_a_hub_keeps_fewer_flows_of_each_peer(tmp_path: Path, text: str, flows: int) -> None:
    keys.write_new(str(tmp_path / "key"), PRIVATE)
    read = config.load(write(tmp_path, text))
    settings = read.to_settings({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert compression_bounded(settings).flows == flows


def test_the_document_tells_the_memory(tmp_path: Path) -> None:
    told = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name, text, words in (
        ("edge", EDGE, "(8 peers, 1,024 prefixes, 128 flows) takes {:.1f} MB"),
        ("hub", HUB, "64 peers at the least, {:.1f} MB"),
    ):
        (tmp_path / name).mkdir()
        found = words.format(memory_bytes(tmp_path / name, text) / 1e6)
        assert found in told.replace("\n", " "), found
