"""Tunnels that talk over an in-memory network in virtual time. No clock, no socket, no sleep.

    world = World()
    hub, edge = world.pair()
    world.run(2.0)
    assert edge.state() == "up"

Time moves from event to event; a datagram takes 20 ms. `world.rules` drop datagrams; `hub.sent` and
`edge.sent` keep what each sent. aioquic draws its own connection ids, so bytes differ between runs,
but what happens does not.
"""

from __future__ import annotations

import heapq
import ipaddress
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from oxidized.core.events import PeerDown, PeerUp, Resolve, TunnelEvent
from oxidized.core.plane import Address
from oxidized.core.settings import PeerSettings, TunnelSettings
from oxidized.core.tunnel import Tunnel
from tests.unit.core.fake_plane import FakePlane

SECOND_NS = 1_000_000_000
DELAY_NS = 20_000_000
STEPS_MAX = 200_000  # of one run: more is a loop that does not end


@dataclass(frozen=True)
class Packet:
    """One datagram on the way."""

    data: bytes
    source: Address
    target: Address

    @property
    def is_quic(self) -> bool:
        return bool(self.data[0] & 0x40)


Rule = Callable[[Packet], bool]


def seed_of(name: str) -> bytes:
    return random.Random(f"seed {name}").randbytes(32)


def public_of(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def peer_settings(name: str, key: bytes, *, endpoints: tuple[str, ...] = (), **other: object) -> PeerSettings:
    base = PeerSettings(
        name=name,
        public_key=key,
        endpoints=endpoints,
        allowed_ips=(ipaddress.ip_network("10.70.0.0/24"),),
        keepalive_ns=20 * SECOND_NS,
        dead_after_ns=5 * SECOND_NS,
        resolve_ns=60 * SECOND_NS,
        transport="auto",
    )
    return replace(base, **other)


def tunnel_settings(seed: bytes, *peers: PeerSettings, **other: object) -> TunnelSettings:
    base = TunnelSettings(
        private_key=seed,
        mtu_bytes=1420,
        suite="auto",
        rekey_after_ns=120 * SECOND_NS,
        rekey_packets=1 << 26,
        accept=False,
        retry="under-load",
        max_handshakes_per_second=200,
        peers=peers,
    )
    return replace(base, **other)


class Node:
    """One host: a tunnel on a fake packet path, at one address."""

    def __init__(self, world: World, name: str, settings: TunnelSettings, address: Address) -> None:
        self.world = world
        self.name = name
        self.settings = settings
        self.address = address
        self.events: list[tuple[float, TunnelEvent]] = []
        self.sent: list[Packet] = []
        self.lives = 0
        self.start()

    def start(self) -> None:
        """Start, or start again from nothing."""
        self.lives += 1
        entropy = random.Random(f"{self.name} {self.lives}").randbytes
        self.plane = FakePlane(self.settings.rekey_packets)
        self.tunnel = Tunnel(self.settings, self.plane, entropy, self.world.now_ns)
        self.is_dead = False
        self.world.bind(self)
        self.pump()

    def die(self) -> None:
        """kill -9"""
        self.is_dead = True

    def move(self, ip: str, port: int = 41000) -> None:
        """Another address, as after a change of network; nobody is told."""
        self.world.unbind(self)
        self.address = Address(ip, port)
        self.world.bind(self)

    def receive(self, packet: Packet) -> None:
        source = replace(packet.source, local=packet.target.ip)
        if packet.is_quic:
            self.tunnel.receive(packet.data, source, self.world.now_ns)
        else:
            self.plane.outer(packet.data, source, self.world.now_ns)
        self.pump()

    def tick(self) -> None:
        self.plane.tick(self.world.now_ns)
        self.tunnel.tick(self.world.now_ns)
        self.pump()

    def next_timeout_ns(self) -> int | None:
        due = [t for t in (self.plane.next_timeout_ns(), self.tunnel.next_timeout_ns()) if t is not None]
        return min(due) if due else None

    def pump(self) -> None:
        """Take out all there is."""
        if self.is_dead:
            return
        while True:
            self.tunnel.poll_plane(self.world.now_ns)
            moved = False
            while (item := self.tunnel.poll_transmit()) is not None:
                moved = True
                self._emit(*item)
            while (event := self.tunnel.poll_event()) is not None:
                moved = True
                self.events.append((self.world.now_s, event))
                if isinstance(event, Resolve):
                    self.world.resolve(self, event)
            out, self.plane.out = self.plane.out, []
            for data, where in out:
                moved = True
                self._emit(data, where)
            if not moved:
                break
        self.world.arm(self)

    def _emit(self, data: bytes, where: Address) -> None:
        packet = Packet(data, self.address, Address(where.ip, where.port))
        self.sent.append(packet)
        self.world.send(packet)

    # -- what tests ask

    def status(self, index: int = 0):
        return self.tunnel.status(self.world.now_ns)[index]

    def state(self, index: int = 0) -> str:
        return self.status(index).state

    def data(self, payload: bytes, index: int = 0) -> bool:
        """Send one inner packet to a peer."""
        handle = self.status(index).plane_peer
        assert handle is not None
        sent = self.plane.inner(handle, payload, self.world.now_ns)
        self.pump()
        return sent

    def ping(self, token: int, peer: str) -> bool:
        sent = self.tunnel.ping(peer, token, self.world.now_ns)
        self.pump()
        return sent

    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.plane.delivered]

    def of(self, kind: type) -> list:
        return [event for _, event in self.events if isinstance(event, kind)]

    def ups_and_downs(self) -> list[str]:
        return [
            "up" if isinstance(event, PeerUp) else event.reason
            for _, event in self.events
            if isinstance(event, PeerUp | PeerDown)
        ]


class World:
    """Time, wires and names."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self.rules: list[Rule] = []
        self.names: dict[str, tuple[Address, ...]] = {}
        self.nodes: list[Node] = []
        self.unreachable = 0
        self._places: dict[tuple[str, int], Node] = {}
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._armed: dict[Node, int] = {}
        self._serial = itertools.count()

    @property
    def now_s(self) -> float:
        return self.now_ns / SECOND_NS

    def node(self, name: str, settings: TunnelSettings, ip: str, port: int) -> Node:
        node = Node(self, name, settings, Address(ip, port))
        self.nodes.append(node)
        return node

    def pair(self, *, hub: dict | None = None, edge: dict | None = None, **peer: object) -> tuple[Node, Node]:
        """A hub at 192.0.2.1:443 and an edge at 198.51.100.7:40000 that know each other."""
        hub_seed, edge_seed = seed_of("hub"), seed_of("edge")
        self.names.setdefault("hub.test:443", (Address("192.0.2.1", 443),))
        at_hub = peer_settings("edge", public_of(edge_seed), **peer)
        at_edge = peer_settings("hub", public_of(hub_seed), endpoints=("hub.test:443",), **peer)
        hub_node = self.node(
            "hub", tunnel_settings(hub_seed, at_hub, accept=True, **(hub or {})), "192.0.2.1", 443
        )
        edge_settings = tunnel_settings(edge_seed, at_edge, **(edge or {}))
        edge_node = self.node("edge", edge_settings, "198.51.100.7", 40000)
        return hub_node, edge_node

    def bind(self, node: Node) -> None:
        self._places[node.address.ip, node.address.port] = node

    def unbind(self, node: Node) -> None:
        self._places.pop((node.address.ip, node.address.port), None)

    def resolve(self, node: Node, event: Resolve) -> None:
        found = tuple(a for endpoint in event.endpoints for a in self.names.get(endpoint, ()))

        def answer() -> None:
            if not node.is_dead:
                node.tunnel.resolved(event.peer, found, self.now_ns)
                node.pump()

        self.at(self.now_ns + DELAY_NS, answer)

    def send(self, packet: Packet) -> None:
        if any(rule(packet) for rule in self.rules):
            return
        self.at(self.now_ns + DELAY_NS, lambda: self.deliver(packet))

    def deliver(self, packet: Packet) -> None:
        node = self._places.get((packet.target.ip, packet.target.port))
        if node is None or node.is_dead:
            self.unreachable += 1
            return
        node.receive(packet)

    def at(self, at_ns: int, run: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (at_ns, next(self._serial), run))

    def arm(self, node: Node) -> None:
        at_ns = node.next_timeout_ns()
        if at_ns is None:
            self._armed.pop(node, None)
        elif self._armed.get(node) != at_ns:
            self._armed[node] = at_ns
            self.at(max(at_ns, self.now_ns), lambda: self._wake(node, at_ns))

    def _wake(self, node: Node, at_ns: int) -> None:
        if self._armed.get(node) == at_ns and not node.is_dead:
            del self._armed[node]
            node.tick()

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True: `until` came true (or there was none)."""
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        for _ in range(STEPS_MAX):
            if until is not None and until():
                return True
            if not self._queue or self._queue[0][0] > end_ns:
                self.now_ns = end_ns
                return until is None or until()
            self.now_ns, _, run = heapq.heappop(self._queue)
            run()
        raise AssertionError(f"more than {STEPS_MAX} steps")


def blackout(_: Packet) -> bool:
    """A rule: nothing passes."""
    return True


def no_udp_data(packet: Packet) -> bool:
    """A rule: only QUIC passes."""
    return not packet.is_quic
