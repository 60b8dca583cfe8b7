"""Traffic for the tunnel: who has which inner addresses, and bursts of packets between them, good and bad."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from tests.sim.ledger import Ledger
from tests.sim.plan import HUB, Plan

NOWHERE = ("172.31.0.1", "fdff::1")
EVERYTHING: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("10.9.0.0/16"),
    IPv6Network("fd09::/32"),
    IPv4Network("172.31.0.0/24"),  # the hub is the way out; it has none itself
)
FLOOD_PACKETS = 700  # more than the smallest pool has buffers


@dataclass(frozen=True, slots=True)
class Inside:
    """The inner side of one node: its own addresses, IPv4 and IPv6, and what is routed to it."""

    addresses: tuple[str, str]
    networks: tuple[IPv4Network | IPv6Network, ...]


def inside(name: str) -> Inside:
    n = 0 if name == HUB else int(name.removeprefix("edge"))
    networks = (ip_network(f"10.9.{n}.0/24"), ip_network(f"fd09:0:{n:x}::/48"))
    return Inside((f"10.9.{n}.1", f"fd09:0:{n:x}::1"), networks)


class Load:
    """Draws bursts from `rng` and writes them into the ledger. A burst is (node, packets)."""

    def __init__(self, plan: Plan, rng: random.Random, ledger: Ledger) -> None:
        self._plan = plan
        self._rng = rng
        self._ledger = ledger
        self._inside = {name: inside(name) for name in (HUB, *plan.edges)}

    def burst(self, now_ns: int) -> tuple[str, list[bytes]]:
        """What some node sends now, during the bad times."""
        rng, faults = self._rng, self._plan.faults
        edge = rng.choice(self._plan.edges)
        sender, target = rng.choice(((edge, HUB), (HUB, edge)))
        others = [e for e in self._plan.edges if e != edge]
        if sender == edge and others and rng.random() < 0.3:
            target = rng.choice(others)
        chance = rng.random()
        if "wrong-source" in faults and chance < 0.1:
            return sender, [self._wrong_source(sender, target, now_ns)]
        if "inner-garbage" in faults and 0.1 <= chance < 0.2:
            return sender, [self._garbage() for _ in range(5)]
        if "no-route" in faults and 0.2 <= chance < 0.3:
            return sender, [self._no_route(sender, now_ns)]
        count = rng.randrange(1, 2 * self._plan.burst_packets + 1)
        if "flood" in faults and chance > 0.98:
            count = FLOOD_PACKETS
        return sender, [self.packet(sender, target, now_ns, self._size()) for _ in range(count)]

    def packet(self, sender: str, target: str, now_ns: int, size: int) -> bytes:
        """One good packet; the address family is drawn."""
        family = self._rng.randrange(2)
        source = self._inside[sender].addresses[family]
        entry = self._ledger.new(
            source, self._inside[target].addresses[family], size, target, now_ns, may_arrive=True
        )
        entry.carried_by.add(sender)
        return entry.packet

    def _size(self) -> int:
        rng = self._rng
        sizes = [rng.randrange(40, 1281), 60, 1280, 1420]
        if "too-big" in self._plan.faults:
            sizes += [1500, 9000]
        return rng.choice(sizes)

    def _wrong_source(self, sender: str, target: str, now_ns: int) -> bytes:
        """From an address its sender does not own (on the hub: nobody's)."""
        family = self._rng.randrange(2)
        is_nobodys = sender == HUB or self._rng.random() < 0.5
        entry = self._ledger.new(
            NOWHERE[family] if is_nobodys else self._inside[HUB].addresses[family],
            self._inside[target].addresses[family],
            100,
            target,
            now_ns,
            # What the hub sends is judged by the edge, which takes 172.31.0.0/24 from it but not fdff::/16.
            may_arrive=sender == HUB and family == 0,
        )
        entry.carried_by.add(sender)
        return entry.packet

    def _no_route(self, sender: str, now_ns: int) -> bytes:
        """To a destination that nobody behind the hub has."""
        family = self._rng.randrange(2)
        source = self._inside[sender].addresses[family]
        entry = self._ledger.new(source, NOWHERE[family], 100, "", now_ns, may_arrive=True)
        entry.carried_by.add(sender)
        return entry.packet

    def _garbage(self) -> bytes:
        """What no inner_packet() makes: bad lengths, cut headers, other versions."""
        rng = self._rng
        data = bytearray(rng.randbytes(rng.choice((0, 1, 19, 20, 39, 40, 100, 1420))))
        if data:
            data[0] = rng.choice((0x45, 0x60, 0x00, 0x4F, 0x41, data[0]))
        return bytes(data)
