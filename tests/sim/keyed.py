"""A control plane without handshakes: keys are put into both planes by hand, as if by courier.

Shares the shape of `core.tunnel.Tunnel` as far as the shell of a node needs it. Runs with it are about
the packet path alone: many more packets per second of ours, and no TLS.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from oxidized.core.events import PeerDown, PeerUp, TunnelEvent
from oxidized.core.plane import Address, EventType, Plane, SessionKeys, Suite
from oxidized.core.settings import CompressionSettings
from tests.sim import compression


@dataclass(frozen=True, slots=True)
class KeyedPeer:
    """What `KeyedTunnel` needs to know of a peer."""

    name: str
    allowed_ips: tuple[IPv4Network | IPv6Network, ...]
    keepalive_ns: int
    dead_after_ns: int
    is_initiator: bool


class KeyedTunnel:
    """Peers, routes and events; keys come through `courier()` and `rekey()`."""

    def __init__(self, plane: Plane, peers: tuple[KeyedPeer, ...]) -> None:
        self._events: deque[TunnelEvent] = deque()
        self.plane = plane
        self.handles: dict[str, int] = {}
        for peer in peers:
            self.handles[peer.name] = plane.peer_add(
                keepalive_ns=peer.keepalive_ns,
                dead_after_ns=peer.dead_after_ns,
                is_initiator=peer.is_initiator,
            )
        routes = [(network, self.handles[peer.name]) for peer in peers for network in peer.allowed_ips]
        plane.routes_set(routes)
        self._names = {handle: name for name, handle in self.handles.items()}

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None:
        """There is no control channel; whatever looks like QUIC is forgotten."""

    def resolved(self, peer: str, addresses: tuple[Address, ...], now_ns: int) -> None:
        """Nobody asked."""

    def poll_plane(self, now_ns: int) -> None:
        for event in self.plane.poll_events():
            name = self._names[event.peer]
            if event.type is EventType.PEER_SILENT:
                self._events.append(PeerDown(name, "silent"))
            elif event.type is EventType.PEER_HEARD:
                self._events.append(PeerUp(name))

    def tick(self, now_ns: int) -> None:
        """No timers."""

    def close(self, now_ns: int) -> None:
        """Nobody to tell."""

    def poll_transmit(self) -> tuple[bytes, Address] | None:
        return None

    def poll_event(self) -> TunnelEvent | None:
        return self._events.popleft() if self._events else None

    def next_timeout_ns(self) -> int | None:
        return None


@dataclass(slots=True)
class Pair:
    """The session an edge and the hub share, as the courier sees it."""

    epoch: int = 0


def courier(
    rng: random.Random,
    edge: tuple[KeyedTunnel, str, int],
    hub: tuple[KeyedTunnel, str, int],
    hub_at: Address,
    payload_max: int,
    settings: tuple[CompressionSettings, CompressionSettings],
) -> Pair:
    """A new session between two (tunnel, name of the other, local time). The hub may send at once.

    `payload_max`: what both take; `settings`: of the edge and of the hub.
    """
    (e, e_peer, e_now), (h, h_peer, h_now) = edge, hub
    keys = (rng.randbytes(32), rng.randbytes(32))
    indices = (e.plane.index_pick(rng.getrandbits(24)), h.plane.index_pick(rng.getrandbits(24)))
    suite = rng.choice((Suite.AES_256_GCM, Suite.CHACHA20_POLY1305))
    e_may, h_may = settings
    e_keys = SessionKeys(
        indices[0], indices[1], suite, keys[1], keys[0], True, e_may.bundle, compression.agreed(e_may, h_may)
    )
    h_keys = SessionKeys(
        indices[1], indices[0], suite, keys[0], keys[1], True, h_may.bundle, compression.agreed(h_may, e_may)
    )
    h.plane.session_install(h_now, h.handles[h_peer], h_keys)
    e.plane.session_install(e_now, e.handles[e_peer], e_keys)
    e.plane.path_set(e.handles[e_peer], 0, hub_at, payload_max)
    h.plane.path_payload(h.handles[h_peer], 0, payload_max)
    return Pair()


def rekey(
    rng: random.Random, pair: Pair, edge: tuple[KeyedTunnel, str, int], hub: tuple[KeyedTunnel, str, int]
) -> None:
    """The next epoch on both sides, in the order of PROTOCOL.md section 5."""
    (e, e_peer, e_now), (h, h_peer, h_now) = edge, hub
    pair.epoch += 1
    up, down = rng.randbytes(32), rng.randbytes(32)
    h.plane.epoch_install(h_now, h.handles[h_peer], pair.epoch, up, down)
    e.plane.epoch_install(e_now, e.handles[e_peer], pair.epoch, down, up)
    e.plane.epoch_send(e_now, e.handles[e_peer], pair.epoch)
    h.plane.epoch_send(h_now, h.handles[h_peer], pair.epoch)
