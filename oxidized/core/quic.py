"""One QUIC connection of the control channel: bytes and time in, bytes and events out.

A wrapper around aioquic that keeps three promises aioquic does not make: no exception gets out of it
(one inside closes this connection and is reported as `Closed` with `is_broken`), what we queue is
bounded, and an edge does not send where its hub tells it to (preferred_address).

Addresses pass through aioquic as our `Address` objects: it only compares them. It follows a client to
a new address by itself and validates it (RFC 9000, section 9).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aioquic.quic import events as quic_events
from aioquic.quic.packet import QuicErrorCode

from oxidized.core.plane import Address
from oxidized.core.quic_tls import DATAGRAM_BYTES_MAX, DATAGRAM_OVERHEAD_BYTES, Connection

CONTROL_STREAM = 0
CARRIER_BYTES_MAX = DATAGRAM_BYTES_MAX - DATAGRAM_OVERHEAD_BYTES
CARRIER_QUEUE_MAX = 64  # data packets waiting for QUIC's window: one batch of the packet path
HARMLESS = frozenset(  # ends of a connection that nobody is to blame for, as aioquic names them
    {QuicErrorCode.NO_ERROR, QuicErrorCode.INTERNAL_ERROR, QuicErrorCode.NO_VIABLE_PATH}
)
TIMER_NS_MIN = 100_000  # never come back sooner: bounds the work a timer of aioquic can cause

CLOSE_BYE = 0x00
CLOSE_REJECTED = 0x10
CLOSE_VERSION = 0x11
CLOSE_REPLACED = 0x12
CLOSE_PROTOCOL = 0x13
CLOSE_NONE = -1  # not closed by the application: timed out, or by QUIC itself


@dataclass(frozen=True, slots=True)
class Established:
    """TLS is complete; the exporter can be read."""


@dataclass(frozen=True, slots=True)
class StreamBytes:
    """Bytes of the control stream."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CarrierPacket:
    """One DATAGRAM frame: a data packet."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """The other side acknowledged our QUIC PING."""


@dataclass(frozen=True, slots=True)
class Misused:
    """The other side used QUIC in a way the protocol does not know (another stream, a reset)."""

    what: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over, by us or by them. `code` is the application's where `is_application`.

    `is_broken`: the other side broke QUIC, or its input broke aioquic.
    """

    code: int
    is_application: bool
    is_broken: bool


@dataclass(frozen=True, slots=True)
class CidIssued:
    """One more connection id names this link."""

    cid: bytes


@dataclass(frozen=True, slots=True)
class CidRetired:
    """A connection id names this link no more."""

    cid: bytes


LinkEvent = (
    Established | StreamBytes | CarrierPacket | PingAnswered | Misused | Closed | CidIssued | CidRetired
)


Touch = Callable[["QuicLink"], None]


def _seconds(now_ns: int) -> float:
    return now_ns / 1e9


class QuicLink:
    """One connection. `is_closed`: `Closed` was reported, nothing more will come.

    `touch` is called whenever there may be something to take out: events, datagrams, a new timer.
    """

    def __init__(self, connection: Connection, *, is_client: bool, touch: Touch) -> None:
        self._quic = connection
        self._touch = touch
        self._events: deque[LinkEvent] = deque()
        self._ping_waits = False
        self._remote: Address | None = None
        self.is_client = is_client
        self.is_closed = False
        self.is_closing = False

    @property
    def exporter(self) -> bytes:
        return self._quic.exporter

    @property
    def cids(self) -> list[bytes]:
        return self._quic.host_cids

    @property
    def is_untouched(self) -> bool:
        """Nothing that came in so far was a packet of this connection."""
        return self._quic.is_untouched

    @property
    def remote(self) -> Address | None:
        """Where we send to now."""
        where = self._quic.get_peer_address()
        assert where is None or isinstance(where, Address)
        return where

    def connect(self, remote: Address, now_ns: int) -> None:
        self._remote = remote
        self._guard(lambda: self._quic.connect(remote, _seconds(now_ns)))
        self._touch(self)

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None:
        """A datagram that names this link. It may hold anything."""
        if self.is_closed:
            return
        remote = self._remote
        if remote is not None:
            # Where it came in (socket, own address) is no business of a client; aioquic compares all.
            if (source.ip, source.port) != (remote.ip, remote.port):
                return
            source = remote
        self._guard(lambda: self._quic.receive_datagram(datagram, source, _seconds(now_ns)))
        self._drain()
        self._touch(self)

    def handle_timer(self, now_ns: int) -> None:
        """The time of `timer_ns()` has come."""
        if self.is_closed:
            return
        self._guard(lambda: self._handle_timer(_seconds(now_ns)))
        self._drain()
        self._touch(self)

    def send_message(self, data: bytes) -> None:
        if not (self.is_closed or self.is_closing):
            self._guard(lambda: self._quic.send_stream_data(CONTROL_STREAM, data))
            self._touch(self)

    def send_carrier(self, packet: bytes) -> bool:
        """Queue one data packet; False: no room, too long, or the other side takes none."""
        quic = self._quic
        if (
            self.is_closed
            or self.is_closing
            or len(packet) > CARRIER_BYTES_MAX
            or quic.datagrams_queued >= CARRIER_QUEUE_MAX
            or not quic.takes_datagrams
        ):
            return False
        quic.send_datagram_frame(packet)
        self._touch(self)
        return True

    def ping(self) -> None:
        """Ask for a sign of life; `PingAnswered` comes when there is one. One at a time."""
        if not (self._ping_waits or self.is_closed or self.is_closing):
            self._ping_waits = True
            self._quic.send_ping(0)
            self._touch(self)

    def close(self, code: int) -> None:
        """Tell the other side and be done; `Closed` follows when QUIC's closing time is over."""
        if not (self.is_closed or self.is_closing):
            self.is_closing = True
            self._guard(lambda: self._quic.close(error_code=code))
            self._touch(self)

    def transmit(self, now_ns: int) -> list[tuple[bytes, Address]]:
        """What goes out now."""
        if self.is_closed:
            return []
        out: list[tuple[bytes, Address]] = []
        self._guard(lambda: out.extend(self._quic.datagrams_to_send(_seconds(now_ns))))
        return out

    def timer_ns(self, now_ns: int) -> int | None:
        """When to call `handle_timer`."""
        if self.is_closed:
            return None
        try:
            at = self._quic.get_timer()
        except Exception:
            self._broken()  # as in _guard
            return None
        if at is None:
            return None
        return max(math.ceil(at * 1e9), now_ns + TIMER_NS_MIN)

    def next_event(self) -> LinkEvent | None:
        return self._events.popleft() if self._events else None

    def _handle_timer(self, now_s: float) -> None:
        at_s = self._quic.get_timer()
        if at_s is not None:
            # Nanoseconds made to float seconds and back may come a little early.
            self._quic.handle_timer(max(at_s, now_s))

    def _guard(self, call: Callable[[], object]) -> None:
        """Run a call into aioquic; whatever it raises on strange input ends this connection alone.

        Its parsers raise ValueError, AssertionError, KeyError, IndexError and others for input they
        did not expect. All of it is one case to us.
        """
        try:
            call()
        except Exception:
            self._broken()

    def _broken(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._events.append(Closed(CLOSE_PROTOCOL, is_application=False, is_broken=True))

    def _drain(self) -> None:
        """Take over what aioquic reports; it keeps its reports without bound until asked."""
        while not self.is_closed:
            event = self._quic.next_event()
            if event is None:
                break
            self._take(event)
        if not self.is_closed and self._quic.is_draining:
            # There is nothing to wait for: a draining end may not send (RFC 9000, section 10.2.2).
            code, is_application = self._quic.close_reason
            self.is_closed = True
            self._events.append(Closed(code, is_application, is_broken=False))

    def _take(self, event: quic_events.QuicEvent) -> None:
        match event:
            case quic_events.HandshakeCompleted():
                self._events.append(Established())
            case quic_events.StreamDataReceived(data=data, end_stream=ends, stream_id=stream):
                if stream != CONTROL_STREAM or ends:
                    self._events.append(Misused(f"stream {stream}{' ends' if ends else ''}"))
                else:
                    self._events.append(StreamBytes(data))
            case quic_events.DatagramFrameReceived(data=data):
                self._events.append(CarrierPacket(data))
            case quic_events.PingAcknowledged():
                self._ping_waits = False
                self._events.append(PingAnswered())
            case quic_events.StreamReset() | quic_events.StopSendingReceived():
                self._events.append(Misused("reset"))
            case quic_events.ConnectionIdIssued(connection_id=cid):
                self._events.append(CidIssued(cid))
            case quic_events.ConnectionIdRetired(connection_id=cid):
                self._events.append(CidRetired(cid))
            case quic_events.ConnectionTerminated(error_code=code, frame_type=frame_type):
                is_application = frame_type is None
                self.is_closed = True
                self._events.append(
                    Closed(code, is_application, is_broken=not is_application and code not in HARMLESS)
                )
            case _:
                pass
