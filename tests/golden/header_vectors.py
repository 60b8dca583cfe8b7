"""The test vectors of header compression: `python -m tests.golden.header_vectors` writes them.

Each is a flow with all that goes into it: what is acknowledged before each packet, the packet, and the item
that travels (null: the packet goes whole). tests/golden/test_headers.py holds the C core against them.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from oxidized.ffi.headers import Headers
from tests.native.headers_rig import internet_sum, ipv4, ipv6, summed

FILE = Path(__file__).with_name("header_vectors.json")
ENDS = (b"\x0a\x01\x00\x02", b"\x0a\x02\x00\x03")
ENDS_V6 = (b"\xfd" + bytes(14) + b"\x01", b"\xfd" + bytes(14) + b"\x02")


def rtp(i: int, *, jump: int = 0, marker: int = 0, contributors: int = 0) -> bytes:
    head = struct.pack(">BBHII", 0x80 | contributors, 18 | marker, 700 + i, 160 * (i + jump), 0x1E2FEB89)
    body = head + bytes(range(4 * contributors)) + b"voice"
    return summed(17, struct.pack(">HHHH", 16384, 16386, 8 + len(body), 0) + body, 6, ENDS)


def spurt(i: int) -> bytes:
    return rtp(i, jump=61 * (i > 7), marker=0x80 * (i == 8))


def esp(seq: int) -> bytes:
    return struct.pack(">II", 0xC0FFEE01, seq) + b"sealed"


def udp(i: int, ends: tuple[bytes, bytes] = ENDS) -> bytes:
    body = b"%04d" % i
    return summed(17, struct.pack(">HHHH", 5001, 5003, 8 + len(body), 0) + body, 6, ends)


def tcp(i: int, *, body: bytes = b"", flags: int = 0x10, sacks: int = 0, window: int = 501) -> bytes:
    options = b"\x01\x01\x08\x0a" + struct.pack(">II", 1_000_000 + i, 5_000_000 + 2 * (i // 2))
    if sacks:
        edges = [2896 * i + 1448 * k for k in range(1, 2 * sacks + 1)]
        options += b"\x01\x01\x05" + bytes([2 + 8 * sacks]) + struct.pack(f">{2 * sacks}I", *edges)
    words = 5 + len(options) // 4
    seq = 77 + len(body) * i
    head = struct.pack(">HHIIBBHHH", 5001, 80, seq, 2896 * i, words << 4, flags, window, 0, 0)
    return summed(6, head + options + body, 16, ENDS)


def echo(i: int) -> bytes:
    plain = struct.pack(">BBHHH", 8, 0, 0, 77, i) + b"ping"
    return plain[:2] + struct.pack(">H", internet_sum(plain)) + plain[4:]


def flows() -> dict[str, list[bytes]]:
    """Twelve packets of each kind; the ninth differs more than by counting."""
    twelve = range(12)
    extension = bytes([17, 0, 1, 4, 0, 0, 0, 0])
    found = {
        "rtp": [ipv4(17, rtp(i), ENDS, 9 + i, 0xB8) for i in twelve],
        "rtp-spurt": [ipv4(17, spurt(i), ENDS, 0, 0xB8) for i in twelve],
        "rtp-random-id": [ipv4(17, rtp(i), ENDS, i * 40503 & 0xFFFF, 0xB8) for i in range(24)],
        "rtp-contributors": [ipv4(17, rtp(i, contributors=2), ENDS, 9 + i) for i in twelve],
        "udp": [ipv4(17, udp(i), ENDS, 9 + i, ttl=64 - (i == 8)) for i in twelve],
        "udp-no-checksum": [ipv4(17, udp(i)[:6] + bytes(2) + udp(i)[8:], ENDS, 9 + i) for i in twelve],
        "udp-wrong-checksum": [ipv4(17, udp(i)[:6] + bytes([18, i]) + udp(i)[8:], ENDS) for i in twelve],
        "udp6-extension": [ipv6(0, extension + udp(i, ENDS_V6), ENDS_V6, tos=4 * (i == 8)) for i in twelve],
        "tcp-data": [
            ipv4(6, tcp(i, body=bytes(100), flags=0x10 | 8 * (i == 8)), ENDS, 9 + i) for i in twelve
        ],
        "tcp-acks": [ipv4(6, tcp(i, sacks=3 * (i == 8), window=501 + i % 3), ENDS, 9 + i) for i in twelve],
        "tcp-flags": [ipv4(6, tcp(i, flags=0x11 if i == 8 else 0x10), ENDS, 9 + i) for i in twelve],
        "icmp": [ipv4(1, echo(i), ENDS, 9 + i) for i in twelve],
        "esp": [ipv4(50, esp(i + 5000 * (i > 7)), ENDS, 9) for i in twelve],
        "plain": [ipv4(132, b"chunk", ENDS, 9 + i) for i in twelve],
        "tunnel": [ipv4(41, ipv6(17, udp(i, ENDS_V6), ENDS_V6), ENDS, 9 + i) for i in twelve],
    }
    return found


def steps_of(packets: list[bytes], headers: Headers) -> list[dict[str, Any]]:
    """Each packet in a datagram of its own, acknowledged two packets later; every fifth is lost."""
    steps = []
    for pn, packet in enumerate(packets):
        acked = [pn - 2] if pn >= 2 and (pn - 2) % 5 != 3 else []
        for number in acked:
            headers.ack(number)
        item, row = headers.compress(pn, packet)
        steps.append(
            {
                "acked": acked,
                "packet_number": pn,
                "packet": packet.hex(),
                "item": None if item is None else item.hex(),
                "form": row.kind,
            }
        )
    return steps


def vectors() -> list[dict[str, Any]]:
    return [{"name": name, "steps": steps_of(packets, Headers(4))} for name, packets in flows().items()]


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")
