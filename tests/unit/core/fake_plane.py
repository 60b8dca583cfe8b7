"""A packet path in a hundred lines of Python: what `Plane` promises, with real AEAD, in virtual time.

Only for tests of the control plane: it seals and opens (ChaCha20-Poly1305 whatever the suite), follows
addresses, answers PINGs, keeps alive and notices silence, as oxi.h describes. It is slow and simple,
and checks what the control plane asks of it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from oxidized.core.plane import (
    CARRIER,
    Address,
    EventType,
    Network,
    PathCounters,
    PeerCounters,
    PlaneEvent,
    SessionKeys,
    Suite,
)
from oxidized.errors import NativeError

SECOND_NS = 1_000_000_000
GRACE_NS = 10 * SECOND_NS
SLOTS = 64
HEADER = struct.Struct(">II")
PING = struct.Struct(">BBQQ")


@dataclass
class Epoch:
    rx: ChaCha20Poly1305
    tx: ChaCha20Poly1305
    rx_key: bytes
    tx_key: bytes


@dataclass
class Session:
    peer: int
    rx_index: int
    tx_index: int
    suite: Suite
    epochs: dict[int, Epoch]
    send_epoch: int = 0
    newest_epoch: int = 0
    next_number: int = 0
    largest: int = -1
    seen: set[int] = field(default_factory=set)
    was_heard: bool = False
    expires_ns: int | None = None


@dataclass
class FakePeer:
    keepalive_ns: int
    dead_after_ns: int
    is_initiator: bool
    address: Address | None = None
    payload_max: int = 0
    current: Session | None = None
    before: Session | None = None
    pending: Session | None = None
    unanswered_ns: int | None = None
    probed_ns: int = 0
    last_tx_ns: int = 0
    last_rx_ns: int = 0
    is_silent: bool = False
    tx_packets: int = 0
    rx_packets: int = 0


class FakePlane:
    """See `oxidized.core.plane.Plane`. `out` holds (datagram, address); `delivered` (peer, payload)."""

    def __init__(self, rekey_packets: int = 1 << 26) -> None:
        self.peers: dict[int, FakePeer] = {}
        self.sessions: dict[int, Session] = {}
        self.routes: list[tuple[Network, int]] = []
        self.out: list[tuple[bytes, Address]] = []
        self.delivered: list[tuple[int, bytes]] = []
        self.drops: dict[str, int] = {}
        self.installs = 0
        self.epoch_installs: list[tuple[int, int]] = []
        self.key_log: list[tuple[int, bytes, bytes]] = []
        self.rekey_packets = rekey_packets
        self._events: list[PlaneEvent] = []
        self._carrier: list[tuple[int, bytes]] = []
        self._next_peer = 0

    # -- Plane

    def peer_add(self, *, keepalive_ns: int, dead_after_ns: int, is_initiator: bool) -> int:
        self._next_peer += 1
        self.peers[self._next_peer] = FakePeer(keepalive_ns, dead_after_ns, is_initiator)
        return self._next_peer

    def peer_timers(self, peer: int, *, keepalive_ns: int, dead_after_ns: int) -> None:
        self.peers[peer].keepalive_ns = keepalive_ns
        self.peers[peer].dead_after_ns = dead_after_ns

    def peer_remove(self, peer: int) -> None:
        assert all(handle != peer for _, handle in self.routes)
        self.session_drop(peer)
        del self.peers[peer]

    def routes_set(self, routes: Sequence[tuple[Network, int]]) -> None:
        assert all(handle in self.peers for _, handle in routes)
        self.routes = list(routes)

    def path_set(self, peer: int, path: int, address: Address | None, payload_max: int) -> None:
        assert path == 0 and 1304 <= payload_max <= 9024
        self.peers[peer].address = address
        self.peers[peer].payload_max = payload_max

    def path_payload(self, peer: int, path: int, payload_max: int) -> None:
        assert path == 0 and 1304 <= payload_max <= 9024
        self.peers[peer].payload_max = payload_max

    def index_pick(self, random24: int) -> int:
        for step in range(SLOTS):
            slot = (random24 + step) % SLOTS
            index = random24 - random24 % SLOTS + slot
            if index != 0 and slot not in self.sessions:
                return index
        raise NativeError("index_pick: no free slot", code=-3)

    def session_install(self, now_ns: int, peer: int, keys: SessionKeys) -> None:
        assert keys.rx_index % SLOTS not in self.sessions, "index taken"
        self.installs += 1
        who = self.peers[peer]
        self._end(who.pending)
        who.pending = None
        epoch = _epoch(keys.rx_key, keys.tx_key)
        session = Session(peer, keys.rx_index, keys.tx_index, keys.suite, {0: epoch})
        self.sessions[keys.rx_index % SLOTS] = session
        self.key_log.append((0, keys.rx_key, keys.tx_key))
        if keys.may_send:
            self._promote(now_ns, who, session)
        else:
            who.pending = session

    def session_send(self, now_ns: int, peer: int) -> None:
        who = self.peers[peer]
        assert who.pending is not None
        session, who.pending = who.pending, None
        self._promote(now_ns, who, session)

    def session_drop(self, peer: int) -> None:
        who = self.peers[peer]
        for session in (who.current, who.before, who.pending):
            self._end(session)
        who.current = who.before = who.pending = None
        who.unanswered_ns = None

    def epoch_install(self, now_ns: int, peer: int, epoch: int, rx_key: bytes, tx_key: bytes) -> None:
        session = self.peers[peer].current
        assert session is not None and epoch == session.newest_epoch + 1
        session.epochs[epoch] = _epoch(rx_key, tx_key)
        session.epochs.pop(epoch - 2, None)
        session.newest_epoch = epoch
        self.epoch_installs.append((peer, epoch))
        self.key_log.append((epoch, rx_key, tx_key))

    def epoch_send(self, now_ns: int, peer: int, epoch: int) -> None:
        session = self.peers[peer].current
        assert session is not None and epoch in session.epochs
        session.send_epoch = epoch

    def ping(
        self,
        now_ns: int,
        peer: int,
        path: int,
        *,
        token: int,
        address: Address | None = None,
        is_probe: bool = False,
        pad_bytes: int = 0,
    ) -> bool:
        who = self.peers[peer]
        where = address or who.address
        if who.current is None or where is None:
            return False
        if not is_probe:
            self._asked(who, now_ns)
        plain = PING.pack(1, int(is_probe), token, now_ns) + bytes(pad_bytes)
        self._send(now_ns, who, who.current, plain, where)
        return True

    def poll_events(self) -> list[PlaneEvent]:
        events, self._events = self._events, []
        return events

    def poll_carrier(self) -> list[tuple[int, bytes]]:
        packets, self._carrier = self._carrier, []
        return packets

    def carrier_push(self, now_ns: int, peer: int, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self.outer(datagram, CARRIER, now_ns, carrier_peer=peer)

    def peer_counters(self, peer: int) -> PeerCounters:
        who = self.peers[peer]
        path = PathCounters(who.address, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        epoch = who.current.send_epoch if who.current else 0
        return PeerCounters(
            who.tx_packets, 0, who.rx_packets, 0, who.last_rx_ns, who.last_tx_ns, who.is_silent, epoch, 0,
            (path,) * 4,
        )  # fmt: skip

    def dictionaries(self) -> int:
        return 0x0D1C7

    def suite_best(self) -> Suite:
        return Suite.AES_256_GCM

    # -- what the world does with it

    def inner(self, peer: int, payload: bytes, now_ns: int) -> bool:
        """An inner packet for this peer; False: nowhere to send it."""
        who = self.peers[peer]
        if who.current is None or who.address is None:
            return False
        if len(payload) + 24 > who.payload_max:
            self._drop("too-big")
            return False
        self._asked(who, now_ns)
        self._send(now_ns, who, who.current, b"\x45" + payload, who.address)
        who.tx_packets += 1
        return True

    def outer(self, datagram: bytes, source: Address, now_ns: int, carrier_peer: int | None = None) -> None:
        """A data packet from the network."""
        if len(datagram) < HEADER.size + 16 or datagram[0] & 0xC0:
            return self._drop("bad")
        first, low = HEADER.unpack_from(datagram)
        session = self.sessions.get((first & 0xFFFFFF) % SLOTS)
        if session is None or session.rx_index != first & 0xFFFFFF:
            return self._drop("no-session")
        if carrier_peer not in (None, session.peer):
            return self._drop("no-session")
        phase = datagram[0] >> 2 & 3
        epoch = next((number for number in session.epochs if number & 3 == phase), None)
        if epoch is None:
            return self._drop("no-key")
        nonce = struct.pack(">IQ", 0, low)
        try:
            plain = session.epochs[epoch].rx.decrypt(nonce, datagram[HEADER.size :], datagram[: HEADER.size])
        except InvalidTag:
            return self._drop("bad-tag")
        if low in session.seen:
            return self._drop("replayed")
        session.seen.add(low)
        is_newest, session.largest = low > session.largest, max(low, session.largest)
        self._opened(session, plain, source, now_ns, is_newest)

    def tick(self, now_ns: int) -> None:
        for handle, who in self.peers.items():
            if who.before is not None and (who.before.expires_ns or 0) <= now_ns:
                self._end(who.before)
                who.before = None
            if who.current is None or who.address is None:
                continue
            self._liveness(handle, who, now_ns)

    def next_timeout_ns(self) -> int | None:
        due = []
        for who in self.peers.values():
            if who.before is not None and who.before.expires_ns is not None:
                due.append(who.before.expires_ns)
            if who.current is None or who.address is None:
                continue
            if who.unanswered_ns is not None and not (who.is_silent and not who.is_initiator):
                due.append(self._ask_again_ns(who))
                if not who.is_silent:
                    due.append(who.unanswered_ns + who.dead_after_ns)
            if who.keepalive_ns and not (who.is_silent and not who.is_initiator):
                due.append(max(who.last_tx_ns, who.probed_ns) + who.keepalive_ns)
        return min(due) if due else None

    # -- within

    def _liveness(self, handle: int, who: FakePeer, now_ns: int) -> None:
        if who.unanswered_ns is not None:
            if not who.is_silent and now_ns - who.unanswered_ns >= who.dead_after_ns:
                who.is_silent = True
                self._event(EventType.PEER_SILENT, handle)
            if not (who.is_silent and not who.is_initiator) and self._ask_again_ns(who) <= now_ns:
                self._probe(handle, who, now_ns)
        due = max(who.last_tx_ns, who.probed_ns) + who.keepalive_ns
        if who.keepalive_ns and due <= now_ns and not (who.is_silent and not who.is_initiator):
            self._probe(handle, who, now_ns)

    @staticmethod
    def _ask_again_ns(who: FakePeer) -> int:
        assert who.unanswered_ns is not None
        return max(who.unanswered_ns, who.probed_ns) + (
            SECOND_NS if who.is_silent else max(1, who.dead_after_ns // 4)
        )

    def _probe(self, handle: int, who: FakePeer, now_ns: int) -> None:
        who.probed_ns = now_ns
        self.ping(now_ns, handle, 0, token=0)

    def _asked(self, who: FakePeer, now_ns: int) -> None:
        who.last_tx_ns = now_ns
        if who.unanswered_ns is None:
            who.unanswered_ns = now_ns

    def _send(self, now_ns: int, who: FakePeer, session: Session, plain: bytes, where: Address) -> None:
        number, epoch = session.next_number, session.send_epoch
        session.next_number += 1
        header = HEADER.pack((epoch & 3) << 26 | session.tx_index, number)
        sealed = session.epochs[epoch].tx.encrypt(struct.pack(">IQ", 0, number), plain, header)
        handle = session.peer
        if where.is_carrier:
            self._carrier.append((handle, header + sealed))
        else:
            self.out.append((header + sealed, where))
        if number and number % self.rekey_packets == 0:
            self._event(EventType.REKEY_WANTED, handle, value=epoch)

    def _opened(self, session: Session, plain: bytes, source: Address, now_ns: int, is_newest: bool) -> None:
        who = self.peers[session.peer]
        who.last_rx_ns, who.unanswered_ns = now_ns, None
        if who.is_silent or not session.was_heard:
            session.was_heard, who.is_silent = True, False
            self._event(EventType.PEER_HEARD, session.peer)
        is_probe = plain[:1] in (b"\x01", b"\x02") and bool(plain[1] & 1)
        if is_newest and not is_probe and session is who.current and source != who.address:
            is_allowed = who.address is None or source.is_carrier == who.address.is_carrier
            if is_allowed or not who.is_initiator:
                is_elsewhere = who.address is None or _place(source) != _place(who.address)
                who.address = source
                if is_elsewhere:
                    self._event(EventType.ROAMED, session.peer, address=source)
        if plain[:1] == b"\x01":
            _, flags, token, sent_ns = PING.unpack_from(plain)
            self._send(now_ns, who, session, PING.pack(2, flags, token, sent_ns), source)
        elif plain[:1] == b"\x02":
            _, _, token, sent_ns = PING.unpack_from(plain)
            if token:
                rtt_ns = now_ns - sent_ns
                self._event(EventType.PONG, session.peer, value=token, rtt_ns=rtt_ns, address=source)
        else:
            who.rx_packets += 1
            self.delivered.append((session.peer, plain[1:]))

    def _promote(self, now_ns: int, who: FakePeer, session: Session) -> None:
        self._end(who.before)
        who.before = who.current
        if who.before is not None:
            who.before.expires_ns = now_ns + GRACE_NS
        who.current = session

    def _end(self, session: Session | None) -> None:
        if session is not None:
            del self.sessions[session.rx_index % SLOTS]

    def _event(
        self,
        kind: EventType,
        peer: int,
        *,
        value: int = 0,
        rtt_ns: int = 0,
        address: Address = CARRIER,
    ) -> None:
        self._events.append(PlaneEvent(kind, peer, 0, value, rtt_ns, address))

    def _drop(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1


def _place(address: Address) -> tuple[bool, str, int]:
    return address.is_carrier, address.ip, address.port


def _epoch(rx_key: bytes, tx_key: bytes) -> Epoch:
    return Epoch(ChaCha20Poly1305(rx_key), ChaCha20Poly1305(tx_key), rx_key, tx_key)
