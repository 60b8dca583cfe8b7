"""The Internet of a run: addresses, NAT in front of the edges, a link each way per edge, and attackers."""

from __future__ import annotations

import random
from collections import Counter
from typing import Protocol

from oxidized.core.plane import Address
from oxidized.core.quic_tls import client_connection
from tests.sim.ledger import SimFailure
from tests.sim.link import MS, Link, S
from tests.sim.plan import HUB, Plan

Where = tuple[str, int]  # address and port

HUB_PORT = 443
NAT_IDLE_NS = 25 * S  # above the longest keepalive
KEPT_DATAGRAMS = 512  # what the attackers remember
REPLAYER: Where = ("192.0.2.66", 6666)
FORGER: Where = ("192.0.2.67", 6667)
REPLAYER6: Where = ("2001:db8:66::66", 6666)
FORGER6: Where = ("2001:db8:66::67", 6667)
ATTACKERS = (REPLAYER, FORGER, REPLAYER6, FORGER6)
AMPLIFICATION_MAX = 3  # RFC 9000, section 8


class Host(Protocol):
    """What the network needs of the world."""

    def arrive(self, at_ns: int, source: Where, target: Where, data: bytes) -> None: ...
    def trace(self, kind: str, now_ns: int, source: Where, target: Where, data: bytes) -> None: ...


def kind_of(data: bytes) -> str:
    """D: data packet, Q: QUIC, X: neither."""
    if not data:
        return "X"
    return "Q" if data[0] & 0x40 else "D" if data[0] & 0xC0 == 0 else "X"


class Network:
    """Who is where, and what happens to a datagram on its way. Ends by telling the host of arrivals."""

    def __init__(self, plan: Plan, rng: random.Random, host: Host) -> None:
        self._rng = rng
        self._host = host
        self._edge_of: dict[Where, str] = {}  # NAT: outside address to edge
        self._outside: dict[str, Where] = {}
        self._last_out_ns: dict[str, int] = {}
        self._is_ipv6 = {name: knobs.is_ipv6 for name, knobs in plan.knobs.items()}
        self._has_nat_idle = "nat-idle" in plan.faults
        self._serial = 0
        self._hub_serial = 1
        self._kept: list[tuple[Where, Where, bytes]] = []  # delivered: source, target, bytes
        self._attacker_bytes: Counter[tuple[Where, str]] = Counter()
        self.edges = plan.edges
        self.links = {key: Link(rng, faults) for key, faults in plan.links.items()}
        self.rates = dict(plan.rates)
        for edge in plan.edges:
            self.rebind(edge, is_new_host=True)

    # ---- addresses ----

    def hub_at(self, edge: str) -> Where:
        """Where this edge finds the hub; what its resolver says."""
        n = self._hub_serial
        return (f"2001:db8:1::{n:x}" if self._is_ipv6[edge] else f"198.51.100.{n}", HUB_PORT)

    def hub_move(self) -> None:
        self._hub_serial += 1

    def rebind(self, edge: str, *, is_new_host: bool) -> None:
        """The edge's NAT gives it another outside port, or another address too; the old one is dead."""
        self._serial += 1
        n, before = self._serial, self._outside.get(edge)
        if is_new_host or before is None:
            ip = f"2001:db8:2::{n:x}" if self._is_ipv6[edge] else f"203.0.{n >> 8}.{n & 255}"
        else:
            ip = before[0]
        if before is not None:
            del self._edge_of[before]
        self._outside[edge] = (ip, 10_000 + n)
        self._edge_of[ip, 10_000 + n] = edge

    def owner(self, where: Where) -> str | None:
        """Which node a datagram to `where` reaches now."""
        if where in (self.hub_at(edge) for edge in self.edges):
            return HUB
        return self._edge_of.get(where)

    # ---- what nodes send ----

    def send(self, node: str, to: Address, data: bytes, now_ns: int) -> None:
        """One datagram of a node; raises SimFailure when it must not be sent at all."""
        target = (to.ip, to.port)
        if target in ATTACKERS:
            self._answered(node, target, data)
            return
        edge = self._edge_of.get(target) if node == HUB else node
        if edge is None:
            return  # to a NAT binding that is gone
        if node != HUB and self.owner(target) != HUB:
            return  # to a place the hub has left, or to nobody
        if node != HUB and self._has_nat_idle:
            self._nat_out(edge, now_ns)
        elif node == HUB and self._has_nat_idle and now_ns - self._last_out_ns.get(edge, 0) > NAT_IDLE_NS:
            return
        source = self.hub_at(edge) if node == HUB else self._outside[edge]
        self._host.trace(kind_of(data), now_ns, source, target, data)
        for at_ns, copy in self.links[edge, "down" if node == HUB else "up"].send(now_ns, data):
            self._host.arrive(at_ns, source, target, copy)

    def _nat_out(self, edge: str, now_ns: int) -> None:
        if now_ns - self._last_out_ns.get(edge, now_ns) > NAT_IDLE_NS:
            self.rebind(edge, is_new_host=False)
        self._last_out_ns[edge] = now_ns

    def _answered(self, node: str, attacker: Where, data: bytes) -> None:
        """QUIC itself may answer strangers, but never with a data packet and never with much."""
        if kind_of(data) != "Q":
            raise SimFailure(f"{node} answered the attacker at {attacker} with {data[:32].hex()}")
        self._attacker_bytes[attacker, "out"] += len(data)
        if self._attacker_bytes[attacker, "out"] > AMPLIFICATION_MAX * self._attacker_bytes[attacker, "in"]:
            raise SimFailure(f"{node} sends the attacker at {attacker} more than three times what he sent")

    # ---- attackers ----

    def delivered(self, source: Where, target: Where, data: bytes) -> None:
        """A datagram has reached its target: from now on it can be replayed."""
        if not self.rates:
            return
        if len(self._kept) < KEPT_DATAGRAMS:
            self._kept.append((source, target, data))
        elif self._rng.random() < 0.1:
            self._kept[self._rng.randrange(KEPT_DATAGRAMS)] = (source, target, data)

    def attack(self, kind: str, now_ns: int) -> None:
        """One attack; what it sends arrives a little later."""
        attacks = {
            "replay": self._replay, "forge": self._forge, "reflect": self._reflect, "knock": self._knock
        }  # fmt: skip
        attacks[kind](now_ns)

    def _inject(self, now_ns: int, source: Where, target: Where, data: bytes) -> None:
        self._attacker_bytes[source, "in"] += len(data)
        self._host.trace("A", now_ns, source, target, data)
        self._host.arrive(now_ns + MS, source, target, data)

    def _pick(self) -> tuple[Where, Where, bytes] | None:
        return self._rng.choice(self._kept) if self._kept else None

    def _now_at(self, target: Where) -> Where:
        """Where that node is today."""
        edge = self._rng.choice(self.edges)
        return self.hub_at(edge) if target[1] == HUB_PORT else self._outside.get(edge, target)

    def _replay(self, now_ns: int) -> None:
        picked = self._pick()
        if picked is None:
            return
        source, target, data = picked
        where = self._now_at(target)
        own = REPLAYER6 if ":" in where[0] else REPLAYER
        for _ in range(self._rng.choice((1, 1, 5))):
            self._inject(now_ns, source if self._rng.random() < 0.5 else own, where, data)

    def _reflect(self, now_ns: int) -> None:
        """Back to who sent it, as if the other side had."""
        picked = self._pick()
        if picked is not None:
            source, target, data = picked
            self._inject(now_ns, target, source, data)

    def _forge(self, now_ns: int) -> None:
        rng, picked = self._rng, self._pick()
        size = rng.choice((0, 1, 7, 8, 23, 24, 25, 60, 1200, 1452, 9000))
        data = rng.randbytes(size)
        if picked is not None and rng.random() < 0.7:
            keep = rng.randrange(min(len(picked[2]), 40) + 1)
            data = picked[2][:keep] + data[keep:]
        target = self.hub_at(self.edges[0]) if picked is None else self._now_at(picked[1])
        own = FORGER6 if ":" in target[0] else FORGER
        source = picked[0] if picked is not None and rng.random() < 0.3 else own
        self._inject(now_ns, source, target, data)

    def _knock(self, now_ns: int) -> None:
        """The flight that opens a good QUIC connection, from a stranger who never goes on."""
        target = self.hub_at(self._rng.choice(self.edges))
        connection = client_connection()
        connection.connect(Address(*target), now=now_ns / S)
        source = FORGER if ":" not in target[0] else FORGER6
        for data, _ in connection.datagrams_to_send(now=now_ns / S):
            self._inject(now_ns, source, target, data)

    # ---- the end of all evil ----

    def heal(self) -> None:
        self.rates.clear()
        for link in self.links.values():
            link.heal()
