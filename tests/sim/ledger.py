"""Every inner packet of a run: who sent it where, and whether what comes out is allowed to."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

MAGIC = b"OXSM"
MARK_BYTES = 12  # magic and id
PAYLOAD_BYTES_MIN = 16  # magic 4, id 8, checksum 4
IPV4_BYTES = 20
IPV6_BYTES = 40


class SimFailure(AssertionError):
    """The system under test did what it must not do."""


def mark(uid: int) -> bytes:
    """What names a packet wherever it stands in it."""
    return MAGIC + uid.to_bytes(8, "big")


def payload(uid: int, size: int) -> bytes:
    """`size` bytes that name the packet and can be checked without the ledger."""
    name = uid.to_bytes(8, "big")
    filler = (name * (size // 8 + 1))[: max(0, size - PAYLOAD_BYTES_MIN)]
    checksum = zlib.crc32(name + filler)
    return MAGIC + name + struct.pack(">I", checksum) + filler


def inner_packet(source: str, target: str, uid: int, size: int) -> bytes:
    """A UDP-less IP packet of `size` bytes (at least header and payload minimum); every other one of IPv4
    must not be fragmented."""
    src, dst = ip_address(source), ip_address(target)
    assert src.version == dst.version
    header = IPV4_BYTES if src.version == 4 else IPV6_BYTES
    body = payload(uid, max(size - header, PAYLOAD_BYTES_MIN))
    if src.version == 4:
        total, flags = header + len(body), 0x4000 if uid & 1 else 0
        start = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 0, flags, 64, 253, 0, src.packed, dst.packed)
    else:
        start = struct.pack(">IHBB16s16s", 6 << 28, len(body), 253, 64, src.packed, dst.packed)
    return start + body


def uid_of(packet: bytes) -> int | None:
    """The id inside, None for what bears none."""
    at = packet.find(MAGIC)
    if at < 0 or len(packet) < at + MARK_BYTES:
        return None
    return int.from_bytes(packet[at + 4 : at + 12], "big")


@dataclass(slots=True)
class Sent:
    """One inner packet. `carried_by`: nodes that put it into their plane; `may_arrive`: it is a good one."""

    packet: bytes
    target: str
    at_ns: int
    may_arrive: bool
    carried_by: set[str] = field(default_factory=set)
    arrived_at: dict[str, int] = field(default_factory=dict)


class Ledger:
    """All packets by id. `target` is the node that owns the destination ("" for none)."""

    def __init__(self) -> None:
        self.sent: dict[int, Sent] = {}
        self.delivered = 0
        self._nameless: dict[bytes, int] = {}  # packets without room for an id

    def new(self, source: str, target: str, size: int, owner: str, at_ns: int, may_arrive: bool) -> Sent:
        return self.add(lambda uid: inner_packet(source, target, uid, size), owner, at_ns, may_arrive)

    def add(self, make: Callable[[int], bytes], owner: str, at_ns: int, may_arrive: bool) -> Sent:
        """`make`: gives the packet of an id; without payload it must differ from all others."""
        uid = len(self.sent) + 1
        entry = Sent(make(uid), owner, at_ns, may_arrive)
        self.sent[uid] = entry
        if uid_of(entry.packet) is None:
            assert entry.packet not in self._nameless
            self._nameless[entry.packet] = uid
        return entry

    def deliver(self, node: str, peer: str, packet: bytes, now_ns: int) -> Sent:
        """Checks one delivery at `node` that came from `peer`; raises SimFailure."""
        uid = uid_of(packet) or self._nameless.get(packet)
        entry = self.sent.get(uid) if uid is not None else None
        if entry is None:
            raise SimFailure(f"{node} delivered what nobody sent: {packet[:64].hex()} ({len(packet)} bytes)")
        if packet != entry.packet:
            raise SimFailure(f"{node} delivered packet {uid} altered ({len(packet)} bytes)")
        if not entry.may_arrive:
            raise SimFailure(f"{node} delivered packet {uid}, which its source forbids")
        if node in entry.arrived_at:
            raise SimFailure(f"{node} delivered packet {uid} twice")
        if peer not in entry.carried_by:
            raise SimFailure(f"{node} delivered packet {uid} from {peer}, which never had it")
        entry.arrived_at[node] = now_ns
        self.delivered += 1
        return entry
