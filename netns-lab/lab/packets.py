"""IP packets made by hand, and the comparison of what was sent with what came out. Pure: bytes in, bytes out.

A packet that was forwarded once has one hop less to live and an IPv4 header checksum that follows from it.
Besides that only the identification of an atomic IPv4 datagram may differ: RFC 6864, section 4.1, gives it no
meaning.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

TCP, UDP, ICMP, ICMP6, FRAGMENT6, NO_NEXT = 6, 17, 1, 58, 44, 59
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
IP4_HEADER, IP6_HEADER, TCP_HEADER, UDP_HEADER = 20, 40, 20, 8
EXAMPLES_MAX = 5


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of the data, an odd byte padded with zero."""
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Ip:
    """What the IP header says; `source` and `target` are 4 or 16 bytes and decide the version."""

    source: bytes
    target: bytes
    ttl: int = 64
    tos: int = 0
    ident: int = 1
    dont_fragment: bool = True
    options: bytes = b""
    flow_label: int = 0
    extensions: tuple[tuple[int, bytes], ...] = ()  # IPv6: (protocol number, header less its first byte)

    def wrap(self, protocol: int, payload: bytes) -> bytes:
        """The packet around the payload."""
        if len(self.source) == 4:
            flags = DONT_FRAGMENT if self.dont_fragment else 0
            return self.wrap4(protocol, payload, flags)
        following = [*(number for number, _ in self.extensions), protocol]
        chain = b"".join(
            bytes([following[i + 1]]) + rest for i, (_, rest) in enumerate(self.extensions)
        )
        first = 6 << 28 | self.tos << 20 | self.flow_label
        head = struct.pack("!IHBB", first, len(chain) + len(payload), following[0], self.ttl)
        return head + self.source + self.target + chain + payload

    def wrap4(self, protocol: int, payload: bytes, flags_and_offset: int) -> bytes:
        """An IPv4 packet with this third word's second half: flags, and the offset in units of 8 bytes."""
        size = IP4_HEADER + len(self.options)
        head = struct.pack("!BBHHHBBH", 4 << 4 | size // 4, self.tos, size + len(payload), self.ident,
                           flags_and_offset, self.ttl, protocol, 0)  # fmt: skip
        head += self.source + self.target + self.options
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload

    def transport_sum(self, protocol: int, segment: bytes) -> int:
        """The checksum over pseudo header and segment (RFC 9293, section 3.1; RFC 8200, section 8.1)."""
        return checksum(self.source + self.target + struct.pack("!II", protocol, len(segment)) + segment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A TCP segment or UDP datagram as a value: `replace` one field and build it again."""

    ip: Ip
    protocol: int
    ports: tuple[int, int]
    payload: bytes
    seq: int = 0
    ack: int = 1
    flags: int = ACK
    reserved: int = 0
    window: int = 500
    urgent: int = 0
    options: bytes = b""
    checksum: int | None = None  # in place of the right one
    checksum_xor: int = 0
    udp_len_add: int = 0

    def transport(self) -> bytes:
        if self.protocol == UDP:
            size = UDP_HEADER + len(self.payload) + self.udp_len_add
            head, at = struct.pack("!HHHH", *self.ports, size & 0xFFFF, 0), 6
        else:
            offset = (TCP_HEADER + len(self.options)) // 4
            head = struct.pack("!HHIIBBHHH", *self.ports, self.seq & 0xFFFFFFFF, self.ack & 0xFFFFFFFF,
                               offset << 4 | self.reserved, self.flags, self.window, 0,
                               self.urgent)  # fmt: skip
            head, at = head + self.options, 16
        right = self.ip.transport_sum(self.protocol, head + self.payload)
        if self.protocol == UDP and right == 0:
            right = 0xFFFF  # zero would say that there is none (RFC 768)
        value = (right if self.checksum is None else self.checksum) ^ self.checksum_xor
        return head[:at] + struct.pack("!H", value) + head[at + 2 :] + self.payload

    def build(self) -> bytes:
        return self.ip.wrap(self.protocol, self.transport())


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet, what it is for, and the flow within which it may not overtake."""

    flow: str
    data: bytes


def forwarded(data: bytes) -> bytes:
    """The packet behind one router."""
    if data[0] >> 4 == 6:
        return data[:7] + bytes([data[7] - 1]) + data[8:]
    size = (data[0] & 15) * 4
    head = data[:8] + bytes([data[8] - 1]) + data[9:10] + b"\0\0" + data[12:size]
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data[size:]


def canonical(data: bytes) -> bytes:
    """The packet without what may differ: IPv4 header checksum, if it is right, and the id if atomic."""
    size = (data[0] & 15) * 4
    if data[0] >> 4 != 4 or len(data) < size or checksum(data[:size]):
        return data
    flags_and_offset = int.from_bytes(data[6:8])
    is_atomic = flags_and_offset & ~0x8000 == DONT_FRAGMENT
    ident = b"\0\0" if is_atomic else data[4:6]
    return data[:4] + ident + data[6:10] + b"\0\0" + data[12:]


@dataclass(slots=True)
class Tally:
    """What came of a number of packets. A wrong one is changed, foreign or doubled."""

    sent: int = 0
    received: int = 0
    wrong: int = 0
    reordered: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return max(0, self.sent - self.received)

    def add(self, other: Tally) -> None:
        self.sent += other.sent
        self.received += other.received
        self.wrong += other.wrong
        self.reordered += other.reordered
        self.examples += other.examples[: EXAMPLES_MAX - len(self.examples)]


def compare(sent: Sequence[Sent], received: Sequence[bytes]) -> Tally:
    """Every received packet against those sent, forwarded once; each of these may come once."""
    tally = Tally(len(sent), len(received))
    waiting: dict[bytes, deque[int]] = defaultdict(deque)
    for index, packet in enumerate(sent):
        waiting[canonical(forwarded(packet.data))].append(index)
    last: dict[str, int] = {}
    strangers = []
    for data in received:
        indices = waiting.get(canonical(data))
        if not indices:
            strangers.append(data)
            continue
        index = indices.popleft()
        flow = sent[index].flow
        tally.reordered += index < last.get(flow, -1)
        last[flow] = max(index, last.get(flow, -1))
    tally.wrong = len(strangers)
    missing = [index for indices in waiting.values() for index in indices]
    if strangers:
        tally.examples = [explain(data, [sent[i] for i in missing]) for data in strangers[:EXAMPLES_MAX]]
    else:
        tally.examples = [f"{sent[i].flow}: lost" for i in missing[:EXAMPLES_MAX]]
    return tally


def explain(data: bytes, missing: Sequence[Sent]) -> str:
    """How a packet that nobody sent differs from the most similar one that did not arrive."""
    best = (len(data) + 1, "foreign or doubled", b"")
    for packet in missing:
        want = canonical(forwarded(packet.data))
        if len(want) == len(data):
            off = sum(a != b for a, b in zip(want, canonical(data), strict=True))
            best = min(best, (off, packet.flow, want))
    if not best[2]:
        return f"foreign or doubled: {data[:48].hex()} ({len(data)} bytes)"
    pairs = enumerate(zip(best[2], canonical(data), strict=True))
    changes = [f"byte {at}: {a:02x} became {b:02x}" for at, (a, b) in pairs if a != b]
    return f"{best[1]}: {', '.join(changes[:6])} ({len(changes)} bytes differ)"
