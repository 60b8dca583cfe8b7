"""One peer: its session, its control connection, and the way its data goes.

Holds together what the other files do in part: the state table (session.py), the calls of an edge
(dialer.py), the connection that is in use (channel.py), the choice of transport (transport.py), the
search for the path's MTU (pmtu.py) and the peer's handle in the packet path. Make before break: a session
stays until a newer one is proved.
"""

from __future__ import annotations

from collections.abc import Iterable

from oxidized.core.channel import Channel, Phase
from oxidized.core.context import Context
from oxidized.core.dialer import Dialer
from oxidized.core.events import MtuChanged, PeerDown, PeerStatus, PeerUp, Pong, Roamed, TransportChanged
from oxidized.core.handshake import Agreed
from oxidized.core.plane import CARRIER, Address, EventType, PlaneEvent, SessionKeys
from oxidized.core.pmtu import OVERHEAD_BYTES, TOKEN_BITS, PathMtu
from oxidized.core.quic import CARRIER_BYTES_MAX, CLOSE_BYE, CLOSE_REPLACED
from oxidized.core.session import Machine, Role, State, Trigger
from oxidized.core.settings import PeerSettings
from oxidized.core.transport import REASON_FIRST, Transport

CARRIER_MTU_BYTES = 1280  # RFC 8200, section 5: the least that must pass
SILENT_NS_MAX = 180_000_000_000  # a hub forgets the keys of an edge not heard for so long
OWN_TOKEN = 1 << 63  # PING tokens of ours; those of the operator are below
SIZE_TOKEN = OWN_TOKEN | 1 << 62  # those of pmtu.py: a size that passes says nothing of the transport
PATH = 0

assert CARRIER_MTU_BYTES + OVERHEAD_BYTES <= CARRIER_BYTES_MAX
assert TOKEN_BITS <= 62

RESULT_COMPLETED = "completed"
RESULT_FAILED = "failed"
RESULT_REJECTED = "rejected"


class Peer:
    """One configured peer. Made stopped; `start()` puts it to work."""

    def __init__(self, core: Context, settings: PeerSettings, now_ns: int) -> None:
        self._core = core
        self._token = OWN_TOKEN
        self._probe_token: int | None = None
        self._machine = Machine(Role.DIALLED if settings.endpoints else Role.AWAITED, now_ns)
        self._dialer = Dialer(core, self, settings) if settings.endpoints else None
        self._transport = Transport(settings.transport)
        self._step = core.timers.new(self._step_due)
        self._expiry = core.timers.new(self._expired)
        self._size = PathMtu()
        self._size_timer = core.timers.new(self._size_due)
        self._payload_max = 0  # as the packet path has it
        self._channel: Channel | None = None
        self._plane_peer: int | None = None
        self._shown_transport = "none"
        self._shown_reason = ""
        self._established_ns: int | None = None
        self._last_handshake_ns: int | None = None
        self._epoch = 0
        self._rekeys = 0
        self._observed: Address | None = None
        self._mtu_bytes = core.offer.mtu_bytes  # what both sides take
        self._told_mtu_bytes = 0
        self._udp: Address | None = None  # where data goes, or went, over UDP
        self._handshakes = dict.fromkeys((RESULT_COMPLETED, RESULT_FAILED, RESULT_REJECTED), 0)
        self.settings = settings
        self.name = settings.name

    @property
    def handle(self) -> int:
        assert self._plane_peer is not None
        return self._plane_peer

    @property
    def plane_peer(self) -> int | None:
        return self._plane_peer

    @property
    def state(self) -> State:
        return self._machine.state

    @property
    def _has_session(self) -> bool:
        return self._established_ns is not None

    # -- the operator

    def start(self, now_ns: int) -> None:
        """The peer is wanted: take a place in the packet path, and call if that is our part."""
        settings = self.settings
        if self._plane_peer is None:
            self._plane_peer = self._core.plane.peer_add(
                keepalive_ns=settings.keepalive_ns,
                dead_after_ns=settings.dead_after_ns,
                is_initiator=self._dialer is not None,
            )
        self._apply(Trigger.START, "", now_ns)
        if self._dialer is not None:
            self._dialer.start(now_ns)

    def stop(self, trigger: Trigger, reason: str, now_ns: int) -> None:
        """The peer is not wanted any more (STOP) or the daemon goes (CLOSE): say bye, forget all keys."""
        if self._dialer is not None:
            self._dialer.stop(CLOSE_BYE)
        if self._channel is not None:
            self._channel.close(CLOSE_BYE)
            self._channel = None
        if self._plane_peer is not None:
            if self._has_session:
                self._forget_session()
            self._core.plane.peer_remove(self._plane_peer)
            self._plane_peer = None
        self._apply(trigger, reason, now_ns)

    def can_become(self, settings: PeerSettings) -> bool:
        """Whether `update` can take these: the key and who calls whom are the peer, all else is not."""
        return (
            settings.name == self.name
            and settings.public_key == self.settings.public_key
            and bool(settings.endpoints) == (self._dialer is not None)
            and settings.enable == self.settings.enable
        )

    def update(self, settings: PeerSettings, now_ns: int) -> None:
        """Take new settings without touching the session."""
        assert self.can_become(settings)
        before, self.settings = self.settings, settings
        if self._plane_peer is None:
            return
        self._core.plane.peer_timers(
            self._plane_peer, keepalive_ns=settings.keepalive_ns, dead_after_ns=settings.dead_after_ns
        )
        if self._dialer is not None:
            self._dialer.settings_changed(settings, now_ns)
        if self._dialer is not None and settings.transport != before.transport:
            is_moved = self._transport.change_policy(settings.transport, now_ns)
            if self._has_session:
                if is_moved:
                    self._take_path(now_ns)
                    self._ping_own(now_ns)
                self._step_due(now_ns)
            else:
                self._transport.stop()

    def resolved(self, addresses: tuple[Address, ...], now_ns: int) -> None:
        """The resolver's answer; for a peer that is not dialled (any more) it means nothing."""
        if self._dialer is None or self._plane_peer is None:
            return
        if addresses:
            self._apply(Trigger.RESOLVED, "", now_ns)
        self._dialer.resolved(addresses, now_ns)

    def ping(self, token: int, now_ns: int) -> bool:
        """One PING of the operator; False: no session."""
        if self._plane_peer is None or not self._has_session:
            return False
        return self._core.plane.ping(now_ns, self._plane_peer, PATH, token=token)

    def rekey_time_changed(self) -> None:
        if self._channel is not None:
            self._channel.rekey_time_changed()

    # -- the channel

    def receive_ready(self, agreed: Agreed, now_ns: int) -> None:
        self._install(agreed, now_ns, may_send=False)

    def channel_open(self, channel: Channel, agreed: Agreed, observed: Address | None, now_ns: int) -> None:
        before, self._channel = self._channel, channel
        if before is not None:
            before.close(CLOSE_REPLACED)
            self._core.counters.count("replaced")
        self._handshakes[RESULT_COMPLETED] += 1
        self._last_handshake_ns = self._established_ns = now_ns
        self._epoch = 0
        self._observed = observed
        self._mtu_bytes = agreed.mtu_bytes
        if self._dialer is not None:
            self._udp = channel.link.remote
            self._dialer.succeeded(now_ns)
            self._take_path(now_ns)
            self._core.plane.session_send(now_ns, self.handle)
            self._ping_own(now_ns)  # the first packet says which way we send
        else:
            # The path stays as it is, or nowhere: the edge's first packet shows the way it has chosen.
            self._install(agreed, now_ns, may_send=True)
            if self._shown_transport == "udp":
                self._search(now_ns)
        self._expiry.cancel()
        self._apply(Trigger.ESTABLISHED, "", now_ns)
        if self._dialer is not None:
            self._transport.session_started(now_ns)
            self._step_due(now_ns)

    def channel_failed(self, channel: Channel, result: str, now_ns: int) -> None:
        self._handshakes[result] += 1
        if self._dialer is not None and self._dialer.attempt is channel:
            self._dialer.failed(now_ns, is_torn=channel.phase is Phase.ACCEPT)

    def channel_lost(self, channel: Channel, code: int, now_ns: int) -> None:
        if self._channel is not channel:
            return
        self._channel = None
        if code == CLOSE_BYE:
            self._lose_session("bye", now_ns)
        if self._dialer is not None:
            # Somebody sent us away: not at once. Lost without a word: the session may live on it.
            self._dialer.start(now_ns, wait=code >= 0)

    def control_answered(self, now_ns: int) -> None:
        self._transport.control_answered()

    def rekeyed(self, now_ns: int) -> None:
        assert self._channel is not None and self._channel.epochs is not None
        self._rekeys += 1
        self._epoch = self._channel.epochs.epoch
        self._last_handshake_ns = now_ns

    # -- the packet path

    def plane_event(self, event: PlaneEvent, now_ns: int) -> None:
        if not self._has_session:
            return  # it waited in the ring while the session went
        match event.type:
            case EventType.PEER_SILENT:
                self._silent(now_ns)
            case EventType.PEER_HEARD:
                self._heard(now_ns)
            case EventType.ROAMED:
                self._roamed(event.address, now_ns)
            case EventType.PONG:
                self._pong(event, now_ns)
            case EventType.REKEY_WANTED:
                if self._channel is not None:
                    self._channel.worn(event.value, now_ns)

    def carrier_out(self, packets: Iterable[bytes]) -> None:
        """Data packets that must go out in the QUIC connection."""
        counters, channel = self._core.counters, self._channel
        for packet in packets:
            if channel is None:
                counters.count("carrier-no-control")
            elif not channel.link.send_carrier(packet):
                counters.count("carrier-full")

    def status(self) -> PeerStatus:
        endpoint = None
        if self._has_session:
            endpoint = CARRIER if self._shown_transport == "quic" else self._udp
        return PeerStatus(
            name=self.name,
            public_key=self.settings.public_key,
            state=self._machine.state.value,
            state_since_ns=self._machine.since_ns,
            transport=self._shown_transport,
            transport_reason=self._shown_reason,
            session_established_ns=self._established_ns,
            epoch=self._epoch,
            last_handshake_ns=self._last_handshake_ns,
            resolved_ns=self._dialer.resolved_ns if self._dialer is not None else None,
            endpoint=endpoint,
            handshakes=dict(self._handshakes),
            rekeys=self._rekeys,
            plane_peer=self._plane_peer,
            observed_address=self._observed,
            mtu_bytes=self._mtu_now(),
        )

    def _silent(self, now_ns: int) -> None:
        self._apply(Trigger.SILENT, "silent", now_ns)
        self._size.silent()
        self._size_moved()
        if self._dialer is not None:
            self._transport.silent(now_ns)
            self._dialer.start(now_ns)
            self._step_due(now_ns)
        else:
            self._expiry.set(now_ns + SILENT_NS_MAX)

    def _heard(self, now_ns: int) -> None:
        self._expiry.cancel()
        self._apply(Trigger.HEARD, "", now_ns)
        self._size.heard(now_ns)
        self._size_moved()
        if self._dialer is not None and self._channel is not None:
            self._dialer.relax()

    def _roamed(self, address: Address, now_ns: int) -> None:
        if self._dialer is None:
            self._follow(address, now_ns)
        elif address.is_carrier != (self._transport.mode == "quic"):
            # The choice is the edge's: packets that were under way when it chose do not undo it.
            self._take_path(now_ns)
        elif not address.is_carrier:
            self._udp = address
            self._search(now_ns)
            self._core.emit(Roamed(self.name, address))

    def _pong(self, event: PlaneEvent, now_ns: int) -> None:
        if event.value < OWN_TOKEN:
            via = "quic" if event.address.is_carrier else "udp"
            self._core.emit(Pong(self.name, event.value, event.rtt_ns, via))
        elif event.address.is_carrier:
            pass  # our own first packet on the carrier
        elif event.value >= SIZE_TOKEN:
            self._size.answered(event.value - SIZE_TOKEN, now_ns)
            self._size_moved()
        elif event.value == self._probe_token:
            self._probe_token = None
            self._transport.probe_answered()
        else:
            self._transport.udp_answered(now_ns)
            self._step_set()

    # -- within

    def _apply(self, trigger: Trigger, reason: str, now_ns: int) -> None:
        before, after = self._machine.apply(trigger, now_ns)
        if before is after:
            return
        if after is State.UP:
            self._core.emit(PeerUp(self.name))
        elif before is State.UP:
            self._core.emit(PeerDown(self.name, reason))

    def _install(self, agreed: Agreed, now_ns: int, *, may_send: bool) -> None:
        is_edge = self._dialer is not None
        keys = SessionKeys(
            rx_index=agreed.rx_index,
            tx_index=agreed.tx_index,
            suite=agreed.suite,
            rx_key=agreed.keys.rx(is_edge),
            tx_key=agreed.keys.tx(is_edge),
            may_send=may_send,
            may_bundle=self._core.may_bundle,
            compression=agreed.compression,
        )
        self._core.plane.session_install(now_ns, self.handle, keys)

    def _lose_session(self, reason: str, now_ns: int) -> None:
        if self._has_session:
            self._forget_session()
            self._apply(Trigger.LOST, reason, now_ns)

    def _forget_session(self) -> None:
        self._core.plane.session_drop(self.handle)
        # Nowhere, so that the first packet of the next session is heard of as a change of place.
        self._path(None, self._mtu_bytes)
        self._established_ns = None
        self._step.cancel()
        self._expiry.cancel()
        self._transport.stop()
        self._size.stop()
        self._size_moved()
        self._show("none", "", self._mtu_bytes)

    def _expired(self, now_ns: int) -> None:
        """Hub: not heard for so long that the edge is gone; it will call when it is back."""
        if self._machine.state is State.SILENT:
            self._lose_session("silent", now_ns)
            if self._channel is not None:
                self._channel.close(CLOSE_REPLACED)
                self._channel = None

    def _take_path(self, now_ns: int) -> None:
        """Edge: send where the transport says."""
        if self._transport.mode == "quic":
            self._use_carrier(self._transport.reason)
        else:
            self._use_udp(self._transport.reason, now_ns)

    def _follow(self, address: Address, now_ns: int) -> None:
        """Hub: send where the edge's packets come from."""
        if address.is_carrier:
            self._use_carrier("as the peer sends")
        else:
            is_new = self._shown_transport == "udp" and address != self._udp
            self._udp = address
            self._use_udp("as the peer sends", now_ns)
            if is_new:
                self._core.emit(Roamed(self.name, address))

    def _use_carrier(self, reason: str) -> None:
        self._size.stop()
        self._path(CARRIER, CARRIER_MTU_BYTES)
        self._show("quic", reason, CARRIER_MTU_BYTES)
        self._size_moved()

    def _use_udp(self, reason: str, now_ns: int) -> None:
        self._path(self._udp, self._mtu_bytes)
        self._show("udp", reason, self._mtu_bytes)
        self._search(now_ns)

    def _path(self, address: Address | None, mtu_bytes: int) -> None:
        self._payload_max = mtu_bytes + OVERHEAD_BYTES
        self._core.plane.path_set(self.handle, PATH, address, self._payload_max)

    def _show(self, transport: str, reason: str, mtu_bytes: int) -> None:
        """Remember and, where it changes what routes must know, tell."""
        is_changed = transport != self._shown_transport
        self._shown_transport = transport
        self._shown_reason = reason if reason != REASON_FIRST else ""
        if is_changed:
            self._told_mtu_bytes = mtu_bytes
            self._core.emit(TransportChanged(self.name, transport, self._shown_reason, mtu_bytes))

    def _own_token(self) -> int:
        self._token = OWN_TOKEN | ((self._token + 1) & (SIZE_TOKEN - OWN_TOKEN - 1))
        return self._token

    def _ping_own(self, now_ns: int) -> None:
        self._core.plane.ping(now_ns, self.handle, PATH, token=self._own_token())

    def _step_due(self, now_ns: int) -> None:
        """Edge: let the transport decide, and do what it says."""
        if not self._has_session:
            return
        step = self._transport.step(now_ns)
        if step.switched:
            self._take_path(now_ns)
            self._ping_own(now_ns)
            self._step_due(now_ns)
            return
        if step.ping:
            self._ping_own(now_ns)
        if step.ping_control and self._channel is not None:
            self._channel.prove(now_ns)
        if step.probe_udp and self._udp is not None:
            self._probe_token = self._own_token()
            self._core.plane.ping(
                now_ns, self.handle, PATH, token=self._probe_token, address=self._udp, is_probe=True
            )
        self._step_set()

    def _step_set(self) -> None:
        if self._transport.next_ns is None:
            self._step.cancel()
        else:
            self._step.set(self._transport.next_ns)

    # -- the path's MTU

    def _search(self, now_ns: int) -> None:
        """Another address or other keys: the path may be another one."""
        assert self._udp is not None
        ip, largest = self._udp.ip, self._mtu_bytes + OVERHEAD_BYTES
        self._size.start(largest, place=ip, is_ipv6=":" in ip, now_ns=now_ns)
        self._size_moved()

    def _size_due(self, now_ns: int) -> None:
        if not self._has_session:
            return
        plane, handle = self._core.plane, self.handle
        out = self._size.step(now_ns, plane.peer_counters(handle))
        if out is not None:
            # The small one is an ordinary PING: silence must be noticed also while only we speak.
            plane.ping(now_ns, handle, PATH, token=SIZE_TOKEN | out.small)
            large = SIZE_TOKEN | out.large
            plane.ping(now_ns, handle, PATH, token=large, is_probe=True, pad_bytes=out.pad_bytes)
        self._size_moved()

    def _size_moved(self) -> None:
        """Carry out what the search has found, and tell those who set routes."""
        size = self._size
        if size.next_ns is None:
            self._size_timer.cancel()
        else:
            self._size_timer.set(size.next_ns)
        if size.is_off:
            return
        if size.payload_max != self._payload_max:
            self._payload_max = size.payload_max
            self._core.plane.path_payload(self.handle, PATH, size.payload_max)
        told = self._told_mtu_bytes
        if size.mtu_bytes < told or (size.is_settled and size.mtu_bytes != told):
            self._told_mtu_bytes = size.mtu_bytes
            self._core.emit(MtuChanged(self.name, size.mtu_bytes))

    def _mtu_now(self) -> int:
        if not self._size.is_off:
            return self._size.mtu_bytes
        return CARRIER_MTU_BYTES if self._shown_transport == "quic" else self._mtu_bytes
