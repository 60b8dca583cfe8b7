"""Flows that change the way real ones do, and a link between compressor and restorer that treats them badly.

Packets are made with struct alone, so that nothing of the code under test, nor scapy, decides what is right.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from oxidized.ffi.headers import Headers

KINDS = ("rtp", "udp", "tcp", "sack", "esp", "icmp", "plain", "udp6", "tcp6", "tunnel")
IDS = ("counts", "zero", "random", "jumps", "swapped")
SUMS = ("right", "right", "right", "zero", "constant", "sometimes wrong")
OUTER = (b"\x01\x02\x03\x04", b"\x05\x06\x07\x08")


def internet_sum(data: bytes) -> int:
    """RFC 1071, the slow way."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


Ends = tuple[bytes, bytes]


def ipv4(proto: int, body: bytes, ends: Ends, ident: int = 0, tos: int = 0, ttl: int = 64) -> bytes:
    head = bytearray(
        struct.pack(">BBHHHBBH4s4s", 0x45, tos, 20 + len(body), ident, 0x4000, ttl, proto, 0, *ends)
    )
    struct.pack_into(">H", head, 10, internet_sum(bytes(head)))
    return bytes(head) + body


def ipv6(proto: int, body: bytes, ends: Ends, tos: int = 0, ttl: int = 64) -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28 | tos << 20, len(body), proto, ttl, *ends) + body


def summed(proto: int, segment: bytes, at: int, ends: Ends) -> bytes:
    """With a right checksum in its place."""
    pseudo = ends[0] + ends[1] + struct.pack(">HH", proto, len(segment))
    value = internet_sum(pseudo + segment)
    return segment[:at] + struct.pack(">H", value or 0xFFFF if proto == 17 else value) + segment[at + 2 :]


class Flow:
    """One flow of a kind drawn by `dice`; `packet()` gives the next packet."""

    def __init__(self, dice: Random, kind: str | None = None) -> None:
        self.dice = dice
        self.kind = kind or dice.choice(KINDS)
        self.ids, self.sums = dice.choice(IDS), dice.choice(SUMS)
        is_v6 = self.kind.endswith("6")
        size = 16 if is_v6 else 4
        self.ends = (dice.randbytes(size), dice.randbytes(size))
        self.ports = (dice.randrange(1024, 65536), dice.randrange(1024, 65536))
        self.ident, self.count = dice.randrange(1 << 16), dice.randrange(1 << 16)
        self.seq, self.ack = dice.randrange(1 << 32), dice.randrange(1 << 32)
        self.stamp, self.echo, self.source = (dice.randrange(1 << 32) for _ in range(3))
        self.window, self.ttl, self.tos = 500, 64, dice.choice((0, 0xB8))
        self.contributors = dice.randrange(3)

    def packet(self) -> bytes:
        dice = self.dice
        self.count = (self.count + 1) % (1 << 16)
        if dice.random() < 0.02:  # lost or out of order before it came to us
            self.count = (self.count + dice.randrange(-5, 20)) % (1 << 16)
        if dice.random() < 0.01:
            self.ttl = dice.randrange(1, 255)
        if dice.random() < 0.005:
            self.tos = dice.randrange(256)
        match self.kind:
            case "rtp":
                return self._ip(17, self._sum(17, self._rtp(), 6))
            case "udp" | "udp6":
                body = dice.randbytes(dice.choice((4, 12, 41, 300)))
                udp = struct.pack(">HHHH", *self.ports, 8 + len(body), 0) + body
                return self._ip(17, self._sum(17, udp, 6))
            case "tcp" | "tcp6" | "sack":
                return self._ip(6, self._sum(6, self._tcp(), 16))
            case "esp":
                step = dice.randrange(-3, 5000) if dice.random() < 0.02 else 1
                self.seq = (self.seq + step) % (1 << 32)
                return self._ip(50, struct.pack(">II", self.source, self.seq) + dice.randbytes(60))
            case "icmp":
                echo = struct.pack(">BBHHH", 8, 0, 0, self.ports[0], self.count) + dice.randbytes(31)
                value = internet_sum(echo) if dice.random() < 0.97 else 5
                return self._ip(1, echo[:2] + struct.pack(">H", value) + echo[4:])
            case "plain":
                return self._ip(132, dice.randbytes(30))
            case _:
                body = dice.randbytes(30)
                udp = self._sum(17, struct.pack(">HHHH", *self.ports, 8 + len(body), 0) + body, 6)
                return ipv4(4, self._ip(17, udp), OUTER, self.count, ttl=9)

    def _ip(self, proto: int, body: bytes) -> bytes:
        if len(self.ends[0]) == 16:
            return ipv6(proto, body, self.ends, self.tos, self.ttl)
        dice = self.dice
        step = {"counts": 1, "swapped": 1, "jumps": dice.randrange(1, 5)}.get(self.ids, 0)
        self.ident = (self.ident + step) % (1 << 16)
        ident = {"zero": 0, "random": dice.randrange(1 << 16)}.get(self.ids, self.ident)
        if self.ids == "swapped":
            ident = ident >> 8 | (ident & 0xFF) << 8
        return ipv4(proto, body, self.ends, ident, self.tos, self.ttl)

    def _sum(self, proto: int, segment: bytes, at: int) -> bytes:
        good = summed(proto, segment, at, self.ends)
        (value,) = struct.unpack_from(">H", good, at)
        if self.sums == "zero" and proto == 17:
            value = 0
        elif self.sums == "constant":
            value = 0xBEEF
        elif self.sums == "sometimes wrong" and self.dice.random() < 0.05:
            value ^= self.dice.choice((1, 0xFFFF, 0x100))
        return good[:at] + struct.pack(">H", value) + good[at + 2 :]

    def _rtp(self) -> bytes:
        dice = self.dice
        marker = 0x80 if dice.random() < 0.02 else 0
        silence = dice.randrange(1, 300) if marker else 1
        drift = dice.randrange(1_000_000) if dice.random() < 0.003 else 0
        self.stamp = (self.stamp + 160 * silence + drift) % (1 << 32)
        first = 0x80 | self.contributors
        head = struct.pack(">BBHII", first, 18 | marker, self.count, self.stamp, self.source)
        body = head + bytes(4 * self.contributors) + dice.randbytes(20)
        return struct.pack(">HHHH", self.ports[0] & ~1, self.ports[1] & ~1, 8 + len(body), 0) + body

    def _tcp(self) -> bytes:
        dice = self.dice
        body = dice.randbytes(dice.choice((0, 0, 1448, 36, 5)))
        self.ack = (self.ack + dice.choice((0, 1448, 2896))) % (1 << 32)
        self.stamp = (self.stamp + dice.randrange(3)) % (1 << 32)
        self.echo = (self.echo + dice.randrange(3)) % (1 << 32)
        if dice.random() < 0.03:
            self.window = dice.randrange(1 << 16)
        if dice.random() < 0.03:  # sent again
            self.seq = (self.seq - 3000) % (1 << 32)
        options = b"\x01\x01\x08\x0a" + struct.pack(">II", self.stamp, self.echo)
        if self.kind == "sack" and dice.random() < 0.5:
            edges = [(self.ack + 1448 * k) % (1 << 32) for k in range(1, 2 * dice.randrange(1, 4) + 1)]
            options += b"\x01\x01\x05" + bytes([2 + 4 * len(edges)]) + struct.pack(f">{len(edges)}I", *edges)
        is_rare = dice.random() < 0.01
        flags = dice.choice((0x11, 0x12, 0x14, 0x30, 0x90) if is_rare else (0x10, 0x18))
        offset = (20 + len(options)) // 4 << 4 | (dice.random() < 0.01)
        urgent = 7 if dice.random() < 0.01 else 0
        head = struct.pack(
            ">HHIIBBHHH", *self.ports, self.seq, self.ack, offset, flags, self.window, 0, urgent
        )
        self.seq = (self.seq + len(body)) % (1 << 32)
        return head + options + body


@dataclass
class Channel:
    """Datagrams of one or more packets over some paths. `late_by`: in datagrams, beyond half the flight."""

    seed: int
    flows: int = 3
    contexts: int = 128
    paths: int = 1
    is_spread: bool = False  # each datagram on any path; otherwise a path stays for long
    flight: int = 2
    loss: float = 0.0
    bursts: tuple[int, ...] = (0,)
    late: float = 0.0
    late_by: tuple[int, ...] = (3,)
    twice: float = 0.0  # some arrive twice: a replay window would stop that, nothing here relies on it
    churn: float = 0.0
    bundle: int = 1
    kinds: tuple[str, ...] = KINDS
    refused: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    restored: int = 0
    header_bytes: int = 0

    def run(self, datagrams: int) -> Channel:
        dice = Random(self.seed)
        headers = Headers(self.contexts, self.seed)
        flows = [Flow(dice, dice.choice(self.kinds)) for _ in range(self.flows)]
        next_pn, path, burst = [0] * 4, 0, 0
        under_way: list[tuple[int, int, int, int, list[tuple[bytes, bytes]]]] = []
        acks: list[tuple[int, int, int]] = []
        for now in range(datagrams):
            while acks and acks[0][0] <= now:
                _, acked_path, pn = heapq.heappop(acks)
                headers.ack(pn, acked_path)
            if dice.random() < self.churn:
                flows[dice.randrange(self.flows)] = Flow(dice, dice.choice(self.kinds))
            if self.is_spread or dice.random() < 0.002:
                path = dice.randrange(self.paths)
            items = self._send(headers, dice, flows, next_pn[path], path)
            pn, next_pn[path] = next_pn[path], next_pn[path] + 1
            if burst == 0 and dice.random() < self.loss:
                burst = 1 + dice.choice(self.bursts)
            burst -= burst > 0
            if burst == 0:
                for _ in range(2 if dice.random() < self.twice else 1):
                    delay = dice.choice(self.late_by) if dice.random() < self.late else 0
                    at = now + self.flight // 2 + delay
                    heapq.heappush(under_way, (at, now, path, pn, items))
            while under_way and under_way[0][0] <= now:
                _, _, path_of, pn, arrived = heapq.heappop(under_way)
                self._arrive(headers, pn, path_of, arrived)
                if dice.random() >= self.loss:
                    heapq.heappush(acks, (now + self.flight - self.flight // 2, path_of, pn))
        return self

    def _send(
        self, headers: Headers, dice: Random, flows: list[Flow], pn: int, path: int
    ) -> list[tuple[bytes, bytes]]:
        items = []
        for _ in range(dice.randrange(1, self.bundle + 1)):
            packet = dice.choice(flows).packet()
            item, row = headers.compress(pn, packet, path)
            self.forms[row.kind] += 1
            self.header_bytes += row.header_bytes if item is None else row.coded_bytes - row.flow_bytes
            if item is not None:
                items.append((packet, item))
        return items

    def _arrive(self, headers: Headers, pn: int, path: int, items: list[tuple[bytes, bytes]]) -> None:
        for packet, item in items:
            row = headers.restore(pn, item, path)
            if row.restored is None:
                self.refused[row.verdict] += 1
                continue
            assert row.restored == packet, f"seed {self.seed}, pn {pn}: {packet.hex()}, {row.restored.hex()}"
            self.restored += 1
