"""Generated packets of many kinds, for the compression oracle to learn from and to be judged by.

A kind is a function of a seeded `Random` that makes one payload. The kinds it is judged by are not those
that it
learns from; no template, vocabulary or generator is shared between the two but `words`. Same seed, same
packets, on every machine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from random import Random
from typing import Final

TCP_PAYLOAD: Final = 1368  # of a full segment with time stamps at an MTU of 1,420


@dataclass(frozen=True, slots=True)
class Packet:
    """`payload_at`: bytes of IP and TCP or UDP headers in front of the payload."""

    kind: str
    data: bytes
    payload_at: int
    is_urgent: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """`dictionary`: which of the program's static dictionaries serves its port. `share`: of the packets
    that others
    bring to the training; what is encrypted or compressed is most of what tunnels carry."""

    name: str
    make: Callable[[Random], bytes]
    dictionary: str = "generic"
    is_udp: bool = False
    is_urgent: bool = False
    is_encrypted: bool = False  # to port 443
    share: float = 1.0


_SYLLABLES = "ka to re mi sal ver den lo ti pra con est un der gi mor ne al is per sto ver lin da qui".split()
_COMMON = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from".split()
)


def words(dice: Random, count: int, vocabulary: int = 2000) -> str:
    """Text of made-up words, as frequent as Zipf says, with common English ones between them."""
    found = []
    for _ in range(count):
        if dice.random() < 0.4:
            found.append(dice.choice(_COMMON))
            continue
        rank = int(vocabulary ** dice.random())
        spell = Random(rank * 7919)
        found.append("".join(spell.choice(_SYLLABLES) for _ in range(1 + rank % 3)))
    return " ".join(found)


def cut(dice: Random, data: bytes, most: int = TCP_PAYLOAD) -> bytes:
    """A segment out of a longer stream: a full one mostly, or its tail."""
    size = most if dice.random() < 0.7 else dice.randrange(40, most)
    at = dice.randrange(max(1, len(data) - size))
    return data[at : at + size]


def stamp(dice: Random) -> str:
    day = f"2026-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}"
    return f"{day}T{dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02}"


def framed(kind: Kind, payload: bytes, dice: Random) -> Packet:
    """An IPv4 or IPv6 packet around the payload; checksums are left 0, which no feature looks at."""
    source, target = dice.randrange(1024, 65536), 443 if kind.is_encrypted else 9000
    if kind.is_udp:
        l4 = struct.pack(">HHHH", source, target, 8 + len(payload), 0)
    else:
        stamps = b"\1\1\x08\x0a" + dice.randbytes(8)
        l4 = struct.pack(">HHIIHHHH", source, target, dice.randrange(1 << 32), 1, 0x8010, 500, 0, 0) + stamps
    protocol = 17 if kind.is_udp else 6
    if dice.random() < 0.25:
        ends = ip_address("fd00::1").packed + ip_address("fd00::2").packed
        ip = struct.pack(">IHBB", 6 << 28, len(l4) + len(payload), protocol, 64) + ends
    else:
        ends = ip_address("10.0.0.1").packed + ip_address("10.0.0.2").packed
        total = 20 + len(l4) + len(payload)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, total, dice.randrange(1 << 16), 0x4000, 64, protocol, 0) + ends
    return Packet(kind.name, ip + l4 + payload, len(ip) + len(l4), kind.is_urgent)


def varied(kinds: Sequence[Kind], count: int, seed: int) -> list[tuple[Kind, Packet]]:
    """`count` packets of each kind, half of them changed in what is no part of the kind: cut to any size,
    of a
    class with another dictionary, sensitive to time or not. So nothing is learned by heart that holds for the
    generated packet alone."""
    found = []
    for kind in kinds:
        dice = Random(f"{seed} {kind.name}")
        for _ in range(round(count * kind.share)):
            payload, one = kind.make(dice), kind
            if dice.random() < 0.5 and len(payload) > 33:
                payload = payload[: dice.randrange(32, len(payload))]
            if dice.random() < 0.4:
                one = replace(one, dictionary="generic")
            if dice.random() < 0.2:
                one = replace(one, is_urgent=not one.is_urgent)
            found.append((one, framed(one, payload, dice)))
    return found


def make(kinds: Sequence[Kind], count: int, seed: int) -> list[tuple[Kind, Packet]]:
    """`count` packets of each kind."""
    found = []
    for kind in kinds:
        dice = Random(f"{seed} {kind.name}")
        found += [(kind, framed(kind, kind.make(dice), dice)) for _ in range(count)]
    return found
