"""Traffic as real programs send it, which compresses: calls, connections, pings, logs, and what is short.

Each packet carries its number (ledger.py) where its kind has a payload. What changes from packet to packet
changes as it does in the wild: counters count, now and then they leap, and some fields are random.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count

from tests.sim.compression import JSON_PORT, SYSLOG_PORT, TCP, UDP, WEB_PORT
from tests.sim.ledger import mark

LONG_SHARE = 0.04  # of runs that have one flow of thousands of packets
ICMP, ESP, IPIP, ICMPV6 = 1, 50, 4, 58
EF, CS4 = 46 << 2, 32 << 2
ACK, PSH = 0x10, 0x08
KINDS = ("rtp", "rtp", "tcp", "tcp", "acks", "udp", "esp", "icmp", "syslog", "json", "web", "tunnel", "game",
         "part")  # fmt: skip
WORDS = ("connection", "closed", "accepted", "session opened for user root", "error", "from 10.1.2.3",
         "port 22", "sshd")  # fmt: skip


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ip4(source: bytes, target: bytes, protocol: int, body: bytes, how: Ip) -> bytes:
    start = struct.pack(
        ">BBHHHBB2x4s4s",
        0x45,
        how.tos,
        20 + len(body),
        how.ident,
        how.fragment,
        how.ttl,
        protocol,
        source,
        target,
    )
    return start[:10] + checksum(start).to_bytes(2, "big") + start[12:] + body


def ip6(source: bytes, target: bytes, protocol: int, body: bytes, how: Ip) -> bytes:
    first = 6 << 28 | how.tos << 20 | how.label
    return struct.pack(">IHBB16s16s", first, len(body), protocol, how.ttl, source, target) + body


@dataclass(slots=True)
class Ip:
    """Fields of the IP header; `fragment`: flags and offset."""

    tos: int
    ttl: int
    ident: int
    fragment: int
    label: int


@dataclass(slots=True)
class Flow:
    """`owner`: the node that `target` belongs to. Everything is drawn from `dice`."""

    kind: str
    sender: str
    owner: str
    source: str
    target: str
    dice: random.Random
    is_steady: bool = False  # a call without silence and leaps
    ports: tuple[int, int] = field(init=False)
    _ip: Ip = field(init=False)
    _ends: tuple[bytes, bytes] = field(init=False)
    _id_step: int = field(init=False)
    _seq: int = field(init=False)
    _stamp: int = field(init=False)
    _ack: int = field(init=False)
    _key: int = field(init=False)
    _size: int = field(init=False)
    _has_options: bool = field(init=False)
    _bad_sum: bool = field(init=False)

    def __post_init__(self) -> None:
        dice = self.dice
        tos = {"rtp": dice.choice((0, EF)), "game": CS4}.get(self.kind, dice.choice((0, 0, 0, 2, 0x28)))
        if self.is_steady:
            tos = dice.choice((0, EF))
        fragment = 0x4000 if dice.random() < 0.5 and self.kind != "part" else 0
        self._ends = ip_address(self.source).packed, ip_address(self.target).packed
        self._ip = Ip(
            tos, dice.choice((63, 64, 127)), dice.randrange(1 << 16), fragment, dice.randrange(1 << 20)
        )
        self._id_step = dice.choice((0, 1, 1, 256, -1)) if not self.is_steady else dice.choice((0, 1))
        low = 2 * dice.randrange(8000, 15000)
        fixed = {"syslog": SYSLOG_PORT, "json": JSON_PORT, "web": WEB_PORT}.get(self.kind, low + 2)
        self.ports = (low, fixed)
        self._seq, self._stamp, self._ack = (dice.getrandbits(32) for _ in range(3))
        self._key = dice.getrandbits(32)
        self._size = dice.choice((20, 20, 33, 160)) if not self.is_steady else 20
        self._has_options = dice.random() < 0.7
        self._bad_sum = dice.random() < 0.1

    def packet(self, uid: int) -> bytes:
        """The next one."""
        dice, how = self.dice, self._ip
        how.ident = (how.ident + self._id_step) & 0xFFFF if self._id_step >= 0 else dice.randrange(1 << 16)
        if not self.is_steady and dice.random() < 0.01:
            how.ttl = dice.choice((62, 63, 64))
        protocol, body = getattr(self, "_" + self.kind)(mark(uid))
        pack = ip6 if ":" in self.source else ip4
        return pack(*self._ends, protocol, body, how)

    # ---- transport headers ----

    def _summed(self, protocol: int, segment: bytes, at: int) -> bytes:
        """With its checksum at `at`, over the pseudo header (RFC 768, RFC 8200)."""
        source, target = self._ends
        total = checksum(source + target + struct.pack(">II", len(segment), protocol) + segment) or 0xFFFF
        if self._bad_sum and not self.is_steady:
            total ^= 0x5A5A  # forwarded all the same, as a tunnel is not its judge
        return segment[:at] + total.to_bytes(2, "big") + segment[at + 2 :]

    def _datagram(self, payload: bytes) -> tuple[int, bytes]:
        return UDP, self._summed(UDP, struct.pack(">HHH2x", *self.ports, 8 + len(payload)) + payload, 6)

    def _segment(self, payload: bytes, flags: int, sack: bytes = b"") -> tuple[int, bytes]:
        stamps = b"\x01\x01\x08\x0a" + struct.pack(">II", self._stamp, self._ack >> 3)
        options = (stamps if self._has_options else b"") + sack
        window = 502 if self.dice.random() < 0.8 else self.dice.randrange(1 << 16)
        start = struct.pack(
            ">HHIIBBH2x2x", *self.ports, self._seq, self._ack, (20 + len(options)) // 4 << 4, flags, window
        )
        self._seq = (self._seq + len(payload)) & 0xFFFFFFFF
        self._stamp = (self._stamp + self.dice.choice((0, 0, 1, 4))) & 0xFFFFFFFF
        return TCP, self._summed(TCP, start + options + payload, 16)

    # ---- kinds ----

    def _rtp(self, name: bytes) -> tuple[int, bytes]:
        leap = 1
        marker = 0
        if not self.is_steady and self.dice.random() < 0.05:  # after a silence, or what never left
            leap, marker = self.dice.choice(((1, 0x80), (40, 0x80), (300, 0), (3, 0)))
        step = 1 if marker else leap
        self._seq = (self._seq + step) & 0xFFFF
        self._stamp = (self._stamp + 160 * leap) & 0xFFFFFFFF
        rtp = struct.pack(">BBHII", 0x80, marker | 18, self._seq, self._stamp, self._key)
        return self._datagram(rtp + name + self.dice.randbytes(self._size - len(name)))

    def _tcp(self, name: bytes) -> tuple[int, bytes]:
        size = self.dice.choice((12, 40, 512, 1000, 1000, 1000))
        flags = ACK | (PSH if size < 1000 else 0)
        if self.dice.random() < 0.1:
            self._seq = (self._seq - 3000) & 0xFFFFFFFF  # sent again
        return self._segment(name + self.dice.randbytes(size - len(name)), flags)

    def _acks(self, name: bytes) -> tuple[int, bytes]:
        """No payload, so no name: no two are the same."""
        self._ack = (self._ack + self.dice.choice((1000, 2000, 500))) & 0xFFFFFFFF
        sack = b""
        if self.dice.random() < 0.1:
            edge = self._ack + 2000
            sack = b"\x01\x01\x05\x0a" + struct.pack(">II", edge & 0xFFFFFFFF, edge + 1000 & 0xFFFFFFFF)
        return self._segment(b"", ACK, sack)

    def _udp(self, name: bytes) -> tuple[int, bytes]:
        return self._datagram(name + self.dice.randbytes(self.dice.choice((0, 3, 40, 300, 700))))

    _game = _udp

    def _esp(self, name: bytes) -> tuple[int, bytes]:
        self._seq = (self._seq + (1 if self.dice.random() < 0.97 else 70)) & 0xFFFFFFFF
        return ESP, struct.pack(">II", self._key, self._seq) + name + self.dice.randbytes(60)

    def _icmp(self, name: bytes) -> tuple[int, bytes]:
        self._seq = (self._seq + 1) & 0xFFFF
        is_v6 = ":" in self.source
        start = struct.pack(">BBHHH", 128 if is_v6 else 8, 0, 0, self._key & 0xFFFF, self._seq)
        echo = start + name + bytes(40)
        if is_v6:
            return ICMPV6, self._summed(ICMPV6, echo, 2)
        return ICMP, echo[:2] + checksum(echo).to_bytes(2, "big") + echo[4:]

    def _syslog(self, name: bytes) -> tuple[int, bytes]:
        dice = self.dice
        words = " ".join(dice.choice(WORDS) for _ in range(dice.randrange(6, 30)))
        text = (
            f"<134>1 2026-03-{dice.randrange(1, 29):02}T10:{dice.randrange(60):02}:00Z host app - - {words} "
        )
        return self._datagram(text.encode() + name)

    def _json(self, name: bytes) -> tuple[int, bytes]:
        number, degrees = self.dice.randrange(9), self.dice.randrange(400) / 10
        text = f'{{"device":"sensor-{number}","temperature":{degrees},"unit":"C",'
        return self._segment(text.encode() * self.dice.randrange(1, 4) + name, ACK | PSH)

    def _web(self, name: bytes) -> tuple[int, bytes]:
        text = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 512\r\n\r\n"
        more = " ".join(self.dice.choice(WORDS) for _ in range(self.dice.randrange(4, 60)))
        return self._segment((text + more).encode()[:1000] + name, ACK | PSH)

    def _tunnel(self, name: bytes) -> tuple[int, bytes]:
        """IPv4 in whatever the flow is in."""
        how = Ip(0, 64, self._seq & 0xFFFF, 0, 0)
        self._seq += 1
        payload = name + self.dice.randbytes(30)
        inner = struct.pack(">HHHH", 5000, 5001, 8 + len(payload), 0) + payload
        return IPIP, ip4(bytes((192, 168, 0, 1)), bytes((192, 168, 9, 9)), UDP, inner, how)

    def _part(self, name: bytes) -> tuple[int, bytes]:
        """A fragment, where there are some: the second one of a datagram."""
        if ":" in self.source:
            return self._udp(name)
        self._ip.fragment = 0x2000 | 100
        return UDP, name + self.dice.randbytes(64)


class Flows:
    """All flows of a run: some that stay, the calls among them, and short ones that come and go.

    `dice` are its own. `calls`: one each way of each edge, in `ways`; the judge looks at them in the end.
    """

    def __init__(
        self, addresses: dict[str, tuple[str, str]], ways: list[tuple[str, str]], dice: random.Random
    ) -> None:
        self._addresses = addresses
        self._dice = dice
        self._serial = count()
        names = list(addresses)
        self._ways = ways + [(a, b) for a in names for b in names if a != b and (a, b) not in ways]
        self.calls = {way: self._new(*way, "rtp", is_steady=True) for way in ways}
        lasting = dice.choice((2, 6, 12, 40))
        self._lasting = [self._new(*dice.choice(self._ways), dice.choice(KINDS)) for _ in range(lasting)]
        self._short_share = dice.choice((0.0, 0.1, 0.5))
        self.gap_ns = dice.choice((20, 60, 250)) * 1_000_000  # mean time between bursts
        self.long_one = self._new(*ways[0], "esp") if dice.random() < LONG_SHARE else None
        self._burst_max = dice.choice((1, 3, 8))

    def _new(self, sender: str, owner: str, kind: str, *, is_steady: bool = False) -> Flow:
        family = self._dice.randrange(2)
        ends = self._addresses[sender][family], self._addresses[owner][family]
        dice = random.Random(f"{self._dice.getrandbits(64)} {next(self._serial)}")
        return Flow(kind, sender, owner, ends[0], ends[1], dice, is_steady)

    def lasting(self, sender: str, owner: str) -> int:
        """How many flows stay that go from one to the other, the call among them."""
        return sum((f.sender, f.owner) == (sender, owner) for f in (*self._lasting, *self.calls.values()))

    def draw(self) -> tuple[Flow, int]:
        """Some flow, and how many packets it sends now."""
        dice = self._dice
        number = dice.randrange(1, self._burst_max + 1)
        if dice.random() < self._short_share:
            return self._new(*dice.choice(self._ways), dice.choice(KINDS)), min(number, 5)
        if dice.random() < 0.3:
            return dice.choice(list(self.calls.values())), min(number, 3)
        return dice.choice(self._lasting), number

    def calm(self) -> list[Flow]:
        """Those that go on when all is well."""
        return [flow for flow in self._lasting if flow.kind != "rtp"][:8]
