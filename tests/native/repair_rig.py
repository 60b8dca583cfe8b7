"""A pair of planes with repair on, of which every datagram is read, and packets of each traffic class."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from oxidized.core.plane import Regime, RepairMode
from tests.differential.reference import Frame, Inner, Opened, Repair, Repeat
from tests.native.rig import INNER_A, INNER_B, MS, Pair, S, checksum, drops, ipv4, sums_must_hold

DSCP = {"voip": 46, "gaming": 32, "web": 0, "streaming": 26, "bulk": 8, "control": 48}
TCP_ACK, TCP_PSH = 0x10, 0x08


def udp(n: int, traffic_class: str = "voip", *, size: int = 100, port: int = 7000) -> bytes:
    """A packet of that class from edge to hub, by its DSCP, that tells which one it is."""
    body = struct.pack(">HHHHI", 6000, port, 12 + size, 0, n) + b"y" * size
    return ipv4(INNER_A, INNER_B, body, ecn=DSCP[traffic_class] << 2)


def tcp(
    n: int, traffic_class: str = "bulk", *, size: int = 1000, flags: int = TCP_ACK, port: int = 80
) -> bytes:
    """Segment number n of a connection; size 0: an acknowledgement alone."""
    body = struct.pack(">HHIIBBHHH", 6000, port, 1000 + n * max(size, 1), 7, 5 << 4, flags, 500, 0, 0)
    body += struct.pack(">I", n) + b"d" * (size - 4) if size else b""
    ends = ip_address(INNER_A).packed + ip_address(INNER_B).packed
    tos = DSCP[traffic_class] << 2
    head = struct.pack(">BBHHHBBH", 0x45, tos, 20 + len(body), n & 0xFFFF, 0x4000, 64, 6, 0) + ends
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


@dataclass(frozen=True)
class Sent:
    at_ns: int
    way: str
    opened: Opened
    size: int  # of the datagram

    @property
    def frames(self) -> list[Frame]:
        return self.opened.frames

    def has(self, kind: type) -> bool:
        return any(type(frame) is kind for frame in self.frames)


Judge = Callable[[Sent], bool | int]  # True: lost; otherwise it comes so many nanoseconds later


class RepairPair(Pair):
    """The edge sends, `judge` decides what the link does; `sent` is all that left either end."""

    def __init__(
        self, *, rtt_ms: float = 40, mode: RepairMode = RepairMode.AUTO, judge: Judge | None = None,
        repair_bytes: int = 1 << 20, overhead: float = 1.2, overhead_ordered: float = 0.5, **conf: Any,
    ) -> None:  # fmt: skip
        self.sent: list[Sent] = []
        self.judge: Judge = lambda sent: False
        self.delay_ns = round(rtt_ms * MS / 2)
        super().__init__(delay_ns=self.delay_ns, repair_bytes=repair_bytes, **conf)
        for plane in (self.edge, self.hub):
            plane.repair_set(mode, overhead=overhead, overhead_ordered=overhead_ordered)
        for _ in range(40):  # until both know the round trip, and how little it varies
            self.up([ipv4(INNER_A, INNER_B, bytes(1200))] * 4)
            self.down([ipv4(INNER_B, INNER_A, bytes(1200))] * 4)
            self.run(20 * MS)
        self.run(2 * S)
        self.sent.clear()
        self.at_hub.clear()
        self.at_edge.clear()
        self.judge = judge or self.judge

    def _launch(self, way: str, datagram: bytes, source: Any) -> None:
        index = int.from_bytes(datagram[1:4])
        sent = Sent(self.now_ns, way, self.readers[way, index].open(datagram), len(datagram))
        self.sent.append(sent)
        verdict = self.judge(sent)
        self.fate = lambda way, n: None if verdict is True else self.delay_ns + int(verdict)
        super()._launch(way, datagram, source)

    def wish(self, regime: Regime = Regime.RANDOM, *, redundancy: float = 0.0, copies: int = 3) -> None:
        """For 1.5 s."""
        self.edge.repair_wish(
            self.now_ns, self.edge_peer, 0, regime=regime, redundancy=redundancy, copies=copies
        )

    def of(self, kind: type, way: str = "up") -> list[Sent]:
        """What was sent with such a frame in it."""
        return [sent for sent in self.sent if sent.way == way and sent.has(kind)]

    def repeats(self) -> list[Sent]:
        return self.of(Repeat)

    def repairs(self) -> list[Sent]:
        return self.of(Repair)

    def ages_ms(self, kind: type, since_ns: int) -> list[float]:
        return [(sent.at_ns - since_ns) / MS for sent in self.of(kind)]

    def numbers(self) -> list[int]:
        """Which packets the hub has delivered, in order."""
        return [number_of(packet) for packet in self.at_hub]

    def told(self) -> dict[str, int]:
        """Counters of the edge's repair, sums over classes, those above 0; and all sums hold."""
        for plane in (self.edge, self.hub):
            sums_must_hold(plane)
        found = {}
        for name, value in self.edge.repair_stats().items():
            found[name] = sum(value.values()) if isinstance(value, dict) else value
        return {name.removesuffix("_packets"): n for name, n in found.items() if n}

    def drops(self) -> dict[str, int]:
        """Of both ends, by reason."""
        found: dict[str, int] = {}
        for plane in (self.edge, self.hub):
            for (_, why), n in drops(plane).items():
                found[why] = found.get(why, 0) + n
        return found

    def kept(self) -> int:
        return self.edge.peer_counters(self.edge_peer).paths[0].kept_packets


def number_of(packet: bytes) -> int:
    """That of udp() or tcp(); -1: an acknowledgement alone."""
    at = 40 if packet[9] == 6 else 28
    return int(struct.unpack_from(">I", packet, at)[0]) if len(packet) >= at + 4 else -1


def carries(n: int) -> Judge:
    """True of what carries the packet with this number up, again too."""

    def judge(sent: Sent) -> bool:
        packets = (frame.packet for frame in sent.frames if isinstance(frame, Inner))
        return sent.way == "up" and n in map(number_of, packets)

    return judge


def once(which: Judge, verdict: bool | int = True) -> Judge:
    """The verdict on the first of these alone."""
    seen: list[Sent] = []

    def judge(sent: Sent) -> bool | int:
        if not which(sent) or seen:
            return False
        seen.append(sent)
        return verdict

    return judge
