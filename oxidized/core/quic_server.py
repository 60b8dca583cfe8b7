"""All QUIC connections of one tunnel on its one port: who gets a datagram, who may open a connection.

A datagram finds its connection by destination connection id, in one look-up. A new connection costs
a hub some milliseconds and a hundred kilobytes, so: never more than `HALF_OPEN_MAX` that have not
proved who they are, never more than `max_handshakes_per_second` new ones, never many from one source,
and under load only from sources that proved their address (Retry, RFC 9000, section 8.1.2).
An edge takes no connections at all.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # public, but not re-exported
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from oxidized.core.counters import Counters
from oxidized.core.handshake import Entropy
from oxidized.core.plane import Address
from oxidized.core.quic import CidIssued, CidRetired, Closed, LinkEvent, QuicLink
from oxidized.core.quic_tls import CID_BYTES, ServerConfiguration, client_connection, make_certificate
from oxidized.core.settings import RetryPolicy
from oxidized.core.timers import Timer, Timers

INITIAL_BYTES_MIN = 1200  # RFC 9000, section 14.1: a shorter datagram may not open a connection
CLIENT_CID_BYTES_MIN = 8  # RFC 9000, section 7.2: what a client must draw for the server
HALF_OPEN_MAX = 256  # about 24 MB: an unfinished connection takes some 95 KB (measured)
HALF_OPEN_PER_SOURCE_MAX = 64  # one address (IPv6: /64) can not fill the table; a NAT with many edges fits
RETRY_ABOVE_HALF_OPEN = 16  # under load from here on: more than edges that come one by one ever are
SUPPORTED_VERSIONS = [int(QuicProtocolVersion.VERSION_1)]
FIXED_BIT = 0x40


class LinkOwner(Protocol):
    """Whose connection it is."""

    def link_event(self, event: LinkEvent, now_ns: int) -> None: ...
    def link_settled(self, now_ns: int) -> None:
        """All events of this turn were told."""


@dataclass(slots=True)
class _Slot:
    link: QuicLink
    owner: LinkOwner
    timer: Timer
    cids: set[bytes]
    source: bytes | None  # while not authenticated: under which source it counts


class TokenBucket:
    """`rate` per second, at most one second's worth at once."""

    __slots__ = ("_at_ns", "_level_ns", "rate")

    def __init__(self, rate: int, now_ns: int) -> None:
        self.rate = rate
        self._at_ns = now_ns
        self._level_ns = 1_000_000_000

    def _fill(self, now_ns: int) -> None:
        self._level_ns = min(1_000_000_000, self._level_ns + max(0, now_ns - self._at_ns))
        self._at_ns = now_ns

    def take(self, now_ns: int) -> bool:
        self._fill(now_ns)
        cost_ns = 1_000_000_000 // self.rate
        if self._level_ns < cost_ns:
            return False
        self._level_ns -= cost_ns
        return True

    def is_half_empty(self, now_ns: int) -> bool:
        self._fill(now_ns)
        return self._level_ns < 500_000_000


def source_prefix(address: Address) -> bytes:
    """What one machine can not change at will: the IPv4 address, the IPv6 /64."""
    packed = ipaddress.ip_address(address.ip).packed
    return packed if len(packed) == 4 else packed[:8]


class QuicServer:
    """The connections of one port. `out` holds what is to be sent."""

    def __init__(
        self,
        *,
        timers: Timers,
        counters: Counters,
        entropy: Entropy,
        accept: Callable[[QuicLink, int], LinkOwner] | None,
        retry: RetryPolicy,
        handshakes_per_second: int,
        now_ns: int,
    ) -> None:
        self._timers = timers
        self._counters = counters
        self._entropy = entropy
        self._accept = accept
        self._slots: dict[QuicLink, _Slot] = {}
        self._by_cid: dict[bytes, _Slot] = {}
        self._half_open: dict[QuicLink, None] = {}
        self._half_open_by_source: dict[bytes, int] = {}
        self._touched: dict[QuicLink, None] = {}
        self._bucket = TokenBucket(handshakes_per_second, now_ns)
        self._tokens = QuicRetryTokenHandler()
        self._configuration = ServerConfiguration(make_certificate(entropy)) if accept else None
        self.retry = retry
        self.out: deque[tuple[bytes, Address]] = deque()

    def limit(self, retry: RetryPolicy, handshakes_per_second: int) -> None:
        """Change the limits of a running server."""
        self.retry = retry
        self._bucket.rate = handshakes_per_second

    @property
    def connections(self) -> int:
        return len(self._slots)

    @property
    def half_open(self) -> int:
        """Connections we took that have not proved who they are."""
        return len(self._half_open)

    def dial(self, remote: Address, owner: Callable[[QuicLink], LinkOwner], now_ns: int) -> QuicLink:
        """Open a connection to a hub."""
        link = QuicLink(client_connection(), is_client=True, touch=self._touch)
        self._add(link, owner(link), set(link.cids), None)
        link.connect(remote, now_ns)
        return link

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None:
        """One QUIC datagram from anybody."""
        try:
            header = pull_quic_header(Buffer(data=datagram), host_cid_length=CID_BYTES)
        except ValueError:
            self._counters.count("quic-bad")
            return
        slot = self._by_cid.get(header.destination_cid)
        if slot is not None:
            slot.link.receive(datagram, source, now_ns)
            return
        if header.version is None or header.packet_type is QuicPacketType.VERSION_NEGOTIATION:
            self._counters.count("quic-unknown")
        elif self._accept is None:
            self._counters.count("quic-unexpected")
        elif header.version not in SUPPORTED_VERSIONS:
            self._negotiate_version(datagram, header, source)
        elif header.packet_type is not QuicPacketType.INITIAL:
            self._counters.count("quic-unknown")
        elif len(datagram) < INITIAL_BYTES_MIN or len(header.destination_cid) < CLIENT_CID_BYTES_MIN:
            self._counters.count("quic-bad")
        else:
            self._open(datagram, header, source, now_ns)

    def authenticated(self, link: QuicLink) -> None:
        """This connection has proved who it is: it does not count as half open any more."""
        slot = self._slots.get(link)
        if slot is not None:
            self._leave_half_open(slot)

    def abandon(self, link: QuicLink) -> None:
        """Forget a connection at once and without a word."""
        slot = self._slots.get(link)
        if slot is not None:
            self._forget(slot)

    def flush(self, now_ns: int) -> None:
        """Tell the owners what happened, take out what is to be sent, set the timers."""
        while self._touched:
            link = next(iter(self._touched))
            del self._touched[link]
            slot = self._slots.get(link)
            if slot is not None:
                self._flush(slot, now_ns)

    def _flush(self, slot: _Slot, now_ns: int) -> None:
        link = slot.link
        self._tell(slot, now_ns)
        self.out.extend(link.transmit(now_ns))
        at_ns = link.timer_ns(now_ns)
        self._tell(slot, now_ns)
        slot.owner.link_settled(now_ns)
        if link.is_closed:
            self._forget(slot)
        elif at_ns is None:
            slot.timer.cancel()
        elif link in self._slots:
            slot.timer.set(at_ns)

    def _tell(self, slot: _Slot, now_ns: int) -> None:
        while (event := slot.link.next_event()) is not None:
            if isinstance(event, CidIssued):
                slot.cids.add(event.cid)
                self._by_cid[event.cid] = slot
            elif isinstance(event, CidRetired):
                slot.cids.discard(event.cid)
                if self._by_cid.get(event.cid) is slot:
                    del self._by_cid[event.cid]
            else:
                if isinstance(event, Closed) and event.is_broken:
                    self._counters.count("quic-bad")
                slot.owner.link_event(event, now_ns)

    def _touch(self, link: QuicLink) -> None:
        self._touched[link] = None

    def _add(self, link: QuicLink, owner: LinkOwner, cids: set[bytes], source: bytes | None) -> _Slot:
        timer = self._timers.new(link.handle_timer)
        slot = _Slot(link, owner, timer, cids, source)
        self._slots[link] = slot
        for cid in cids:
            self._by_cid[cid] = slot
        return slot

    def _forget(self, slot: _Slot) -> None:
        self._slots.pop(slot.link, None)
        self._leave_half_open(slot)
        slot.timer.cancel()
        for cid in slot.cids:
            if self._by_cid.get(cid) is slot:
                del self._by_cid[cid]

    def _leave_half_open(self, slot: _Slot) -> None:
        if slot.source is None:
            return
        del self._half_open[slot.link]
        left = self._half_open_by_source[slot.source] - 1
        if left:
            self._half_open_by_source[slot.source] = left
        else:
            del self._half_open_by_source[slot.source]
        slot.source = None

    def _negotiate_version(self, datagram: bytes, header: QuicHeader, source: Address) -> None:
        if len(datagram) < INITIAL_BYTES_MIN:
            self._counters.count("quic-bad")
            return
        answer = encode_quic_version_negotiation(
            source_cid=header.destination_cid,
            destination_cid=header.source_cid,
            supported_versions=SUPPORTED_VERSIONS,
        )
        # Its first byte is free but for the top bit; ours must look like QUIC to our own demultiplexer.
        self.out.append((bytes([answer[0] | FIXED_BIT]) + answer[1:], source))
        self._counters.count("version-negotiated")

    def _open(self, datagram: bytes, header: QuicHeader, source: Address, now_ns: int) -> None:
        """A first Initial: Retry, refuse, or make a connection."""
        prefix = source_prefix(source)
        if self._half_open_by_source.get(prefix, 0) >= HALF_OPEN_PER_SOURCE_MAX:
            self._counters.count("handshake-limit")
            return
        original_cid, retry_cid = header.destination_cid, None
        if header.token:
            try:
                original_cid = self._tokens.validate_token(
                    address=(source.ip, source.port),
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=now_ns / 1e9,
                )
            except ValueError:
                self._counters.count("token-bad")
                return
            retry_cid = header.destination_cid
        elif self._wants_retry(now_ns):
            self._send_retry(header, source, now_ns)
            return
        if not self._bucket.take(now_ns):
            self._counters.count("handshake-limit")
            return
        self._make_room(now_ns)
        assert self._configuration is not None and self._accept is not None
        connection = self._configuration.connection(original_cid, retry_cid)
        link = QuicLink(connection, is_client=False, touch=self._touch)
        cids = {header.destination_cid, *link.cids}
        self._half_open[link] = None
        self._half_open_by_source[prefix] = self._half_open_by_source.get(prefix, 0) + 1
        slot = self._add(link, self._accept(link, now_ns), cids, prefix)
        link.receive(datagram, source, now_ns)
        if link.is_untouched:
            self._counters.count("quic-bad")  # its Initial could not be opened: nothing to wait for
            self._drop(slot, now_ns)

    def _wants_retry(self, now_ns: int) -> bool:
        if self.retry == "under-load":
            return len(self._half_open) >= RETRY_ABOVE_HALF_OPEN or self._bucket.is_half_empty(now_ns)
        return self.retry == "always"

    def _send_retry(self, header: QuicHeader, source: Address, now_ns: int) -> None:
        assert header.version is not None
        cid = self._entropy(CID_BYTES)
        token = self._tokens.create_token(
            address=(source.ip, source.port),
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=cid,
            now=now_ns / 1e9,
        )
        answer = encode_quic_retry(
            version=header.version,
            source_cid=cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self.out.append((answer, source))
        self._counters.count("retry-sent")

    def _make_room(self, now_ns: int) -> None:
        """The oldest half-open connection goes: a caller that means it was done long ago."""
        if len(self._half_open) < HALF_OPEN_MAX:
            return
        oldest = self._slots[next(iter(self._half_open))]
        self._counters.count("half-open-evicted")
        self._drop(oldest, now_ns)

    def _drop(self, slot: _Slot, now_ns: int) -> None:
        """Forget a connection without a word to the other side."""
        self._forget(slot)
        slot.owner.link_event(Closed(0, is_application=False, is_broken=False), now_ns)
