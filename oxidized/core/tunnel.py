"""The whole control plane of one tunnel: datagrams, timers and events in; datagrams and events out.

Pure: time is an argument, randomness comes through `entropy`, and the packet path is a `Plane`. The
shell calls an In method, then takes out with `poll_transmit()` and `poll_event()` until both are
empty, and comes back at `next_timeout_ns()`. Nothing a remote sends raises out of here.
"""

from __future__ import annotations

from dataclasses import replace

from oxidized.core.channel import ChannelPeer, HubChannel
from oxidized.core.context import Context
from oxidized.core.counters import Counters
from oxidized.core.events import PeerStatus, TunnelEvent
from oxidized.core.handshake import Entropy, Identity, Offer, offer
from oxidized.core.peer import OWN_TOKEN, Peer
from oxidized.core.plane import Address, Network, Plane
from oxidized.core.quic import QuicLink
from oxidized.core.quic_server import LinkOwner, QuicServer
from oxidized.core.session import State, Trigger
from oxidized.core.settings import PeerSettings, TunnelSettings
from oxidized.core.timers import Timers

ROUNDS_MAX = 64  # of taking events out of the packet path in one call, so that one call ends


def _offer(settings: TunnelSettings, plane: Plane) -> Offer:
    compression = settings.compression
    return offer(
        settings.suite,
        plane.suite_best(),
        settings.mtu_bytes,
        flows=compression.flows,
        dictionaries=plane.dictionaries() if compression.accept_payload else 0,
    )


class Tunnel:
    """All peers of one interface."""

    def __init__(self, settings: TunnelSettings, plane: Plane, entropy: Entropy, now_ns: int) -> None:
        self._settings = settings
        self._plane = plane
        self._timers = Timers()
        self._peers: dict[str, Peer] = {}
        self._by_handle: dict[int, Peer] = {}
        self._callers: dict[bytes, ChannelPeer] = {}  # static key -> a peer that may call us
        self.counters = Counters()
        quic = QuicServer(
            timers=self._timers,
            counters=self.counters,
            entropy=entropy,
            accept=self._called if settings.accept else None,
            retry=settings.retry,
            handshakes_per_second=settings.max_handshakes_per_second,
            now_ns=now_ns,
        )
        self._core = Context(
            plane=plane,
            entropy=entropy,
            timers=self._timers,
            counters=self.counters,
            quic=quic,
            identity=Identity(settings.private_key),
            offer=_offer(settings, plane),
            may_bundle=settings.compression.bundle,
            rekey_after_ns=settings.rekey_after_ns,
        )
        for peer in settings.peers:
            self._add(peer, now_ns)
        self._routes()
        quic.flush(now_ns)

    # -- in

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None:
        """A QUIC datagram from the UDP port."""
        self._core.quic.receive(datagram, source, now_ns)
        self._core.quic.flush(now_ns)

    def resolved(self, peer: str, addresses: tuple[Address, ...], now_ns: int) -> None:
        """The answer to a Resolve event; empty: the look-up failed. Unknown peers are ignored."""
        known = self._peers.get(peer)
        if known is not None:
            known.resolved(addresses, now_ns)
            self._core.quic.flush(now_ns)

    def poll_plane(self, now_ns: int) -> None:
        """Take out what the packet path has for us: its events, and packets for QUIC carriers."""
        for _ in range(ROUNDS_MAX):
            events = self._plane.poll_events()
            packets = self._plane.poll_carrier()
            if not events and not packets:
                break
            for event in events:
                peer = self._by_handle.get(event.peer)
                if peer is not None:
                    peer.plane_event(event, now_ns)
            for handle, packet in packets:
                peer = self._by_handle.get(handle)
                if peer is not None:
                    peer.carrier_out((packet,))
                else:
                    self.counters.count("carrier-no-control")
        self._core.quic.flush(now_ns)

    def tick(self, now_ns: int) -> None:
        """Run what is due."""
        self._timers.run_due(now_ns)
        self._core.quic.flush(now_ns)

    def peer_add(self, settings: PeerSettings, now_ns: int) -> None:
        """One more peer; its name and key must be new."""
        self._add(settings, now_ns)
        self._changed(now_ns)

    def peer_remove(self, name: str, now_ns: int) -> None:
        self._remove(name, "removed", now_ns)
        self._changed(now_ns)

    def peer_update(self, settings: PeerSettings, now_ns: int) -> None:
        """Other settings for a peer; the session stays unless key, role or `enable` change."""
        peer = self._peers[settings.name]
        if peer.can_become(settings):
            peer.update(settings, now_ns)
        else:
            self._remove(settings.name, "disabled" if not settings.enable else "removed", now_ns)
            self._add(settings, now_ns)
        self._changed(now_ns)

    def tunnel_update(self, settings: TunnelSettings, now_ns: int) -> None:
        """Rekey times, suite, retry and limits. Peers come through peer_*; key and `accept` never change."""
        assert settings.private_key == self._settings.private_key
        assert settings.accept == self._settings.accept
        self._settings = replace(settings, peers=())
        core = self._core
        core.quic.limit(settings.retry, settings.max_handshakes_per_second)
        core.offer = _offer(settings, self._plane)
        core.may_bundle = settings.compression.bundle
        core.rekey_after_ns = settings.rekey_after_ns
        for peer in self._peers.values():
            peer.rekey_time_changed()
        core.quic.flush(now_ns)

    def ping(self, peer: str, token: int, now_ns: int) -> bool:
        """One PING through the tunnel, answered by a Pong event; False: no session. 0 < `token` < 2^63."""
        assert 0 < token < OWN_TOKEN
        known = self._peers.get(peer)
        return known is not None and known.ping(token, now_ns)

    def close(self, now_ns: int) -> None:
        """Say bye to all peers; what that is comes out of poll_transmit()."""
        self._plane.routes_set([])
        for peer in self._peers.values():
            if peer.plane_peer is not None:
                peer.stop(Trigger.CLOSE, "closed", now_ns)
        self._by_handle.clear()
        self._callers.clear()
        self._core.quic.flush(now_ns)

    # -- out

    def poll_transmit(self) -> tuple[bytes, Address] | None:
        """The next QUIC datagram to send, and where."""
        out = self._core.quic.out
        return out.popleft() if out else None

    def poll_event(self) -> TunnelEvent | None:
        events = self._core.events
        return events.popleft() if events else None

    def next_timeout_ns(self) -> int | None:
        """When to call tick() at the latest."""
        return self._timers.next_ns()

    def status(self, now_ns: int) -> list[PeerStatus]:
        """All peers, in the order they were configured."""
        return [peer.status() for peer in self._peers.values()]

    # -- within

    def _called(self, link: QuicLink, now_ns: int) -> LinkOwner:
        return HubChannel(self._core, link, self._callers, now_ns)

    def _add(self, settings: PeerSettings, now_ns: int) -> None:
        assert settings.name not in self._peers
        peer = Peer(self._core, settings, now_ns)
        self._peers[settings.name] = peer
        if not settings.enable:
            return
        peer.start(now_ns)
        self._by_handle[peer.handle] = peer
        if not settings.endpoints:
            assert settings.public_key not in self._callers
            self._callers[settings.public_key] = peer

    def _remove(self, name: str, reason: str, now_ns: int) -> None:
        peer = self._peers.pop(name)
        if peer.state is not State.DISABLED:
            del self._by_handle[peer.handle]
            if self._callers.get(peer.settings.public_key) is peer:
                del self._callers[peer.settings.public_key]
            self._routes()  # first: no route may name a peer that is gone
            peer.stop(Trigger.STOP, reason, now_ns)

    def _changed(self, now_ns: int) -> None:
        self._routes()
        self._core.quic.flush(now_ns)

    def _routes(self) -> None:
        routes: list[tuple[Network, int]] = [
            (network, peer.handle)
            for peer in self._peers.values()
            if peer.plane_peer is not None
            for network in peer.settings.allowed_ips
        ]
        self._plane.routes_set(routes)
