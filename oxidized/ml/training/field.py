"""Packets that nobody generated: files of this machine as TCP segments, and captures. Figures from them
differ
from machine to machine, so they are printed by the judgement and are no part of the card's."""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from oxidized.ml.training.packets import TCP_PAYLOAD, Kind, Packet, framed

FILES_MAX: Final = 40  # of a group
SEGMENTS_MAX: Final = 6  # of a file
CAPTURED_MAX: Final = 200  # of a capture


def _nothing(dice: Random) -> bytes:
    return dice.randbytes(1)


def _segments(name: str, paths: list[Path]) -> Iterator[tuple[Kind, Packet]]:
    dice, kind = Random(name), Kind(name, _nothing)
    for path in dice.sample(paths, min(FILES_MAX, len(paths))):
        data = path.read_bytes()
        for _ in range(min(SEGMENTS_MAX, 1 + len(data) // TCP_PAYLOAD)):
            at = dice.randrange(max(1, len(data) - TCP_PAYLOAD))
            yield kind, framed(kind, data[at : at + TCP_PAYLOAD], dice)


def _headers(packet: bytes) -> tuple[int, bool]:
    """Bytes of IP and TCP, UDP (with RTP) or ESP headers; and whether it is UDP."""
    at, protocol = (40, packet[6]) if packet[0] >> 4 == 6 else ((packet[0] & 15) * 4, packet[9])
    if protocol == 6 and len(packet) > at + 12:
        return at + (packet[at + 12] >> 4) * 4, False
    return at + 8, protocol == 17


def captured(path: Path) -> Iterator[tuple[Kind, Packet]]:
    """Of a pcap file of raw IP packets (link type 101), little-endian, gzip."""
    data = gzip.decompress(path.read_bytes())
    if struct.unpack_from("<I", data)[0] != 0xA1B2C3D4 or struct.unpack_from("<I", data, 20)[0] != 101:
        return
    at = 24
    for _ in range(CAPTURED_MAX):
        if at + 16 > len(data):
            return
        size = struct.unpack_from("<I", data, at + 8)[0]
        packet = data[at + 16 : at + 16 + size]
        at += 16 + size
        payload_at, is_udp = _headers(packet)
        name = path.name.split(".")[0]
        yield Kind(name, _nothing, is_udp=is_udp), Packet(name, packet, payload_at, packet[1] >= 0x80)


def field(root: Path, pcaps: Path) -> dict[str, list[tuple[Kind, Packet]]]:
    """Group -> packets."""
    library = Path(sys.prefix) / "lib"
    places = {
        "sources of this tree": sorted(root.glob("native/**/*.[ch]")),
        "pages of this tree": sorted(root.glob("*.md")),
        "executables": [
            p for p in sorted(Path("/usr/bin").iterdir()) if p.is_file() and p.stat().st_size > 8192
        ],
        "Python packages": sorted(library.glob("python3*/site-packages/**/*.py")),
        "compiled Python": sorted(library.glob("python3*/site-packages/**/*.pyc")),
    }
    found = {name: list(_segments(name, paths)) for name, paths in places.items() if paths}
    for path in sorted(pcaps.glob("*.pcap.gz")):
        found[path.name.split(".")[0]] = list(captured(path))
    return found
