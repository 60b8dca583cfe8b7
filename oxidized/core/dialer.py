"""How an edge gets to its hub: names, addresses in turn, attempts, and the waits between them.

While it is active one attempt follows the other, each to the next address, each at most 6 s, with
the waits of `Backoff` between. Names are looked up again with each attempt and every `resolve_ns`; a
new answer replaces the list and leaves a living session alone.
"""

from __future__ import annotations

from oxidized.core.backoff import Backoff
from oxidized.core.channel import ChannelPeer, EdgeChannel
from oxidized.core.context import Context
from oxidized.core.events import Resolve
from oxidized.core.plane import Address
from oxidized.core.quic import CLOSE_BYE, QuicLink
from oxidized.core.settings import PeerSettings

ADDRESSES_MAX = 16  # of one peer; more than any name we would dial in turn
STABLE_NS = 30_000_000_000  # a session that lived shorter is no reason to call again at once
ASK_AGAIN_NS = 2_000_000_000  # an answer is on its way for at least so long: do not ask twice


class Dialer:
    """The calling side of one peer."""

    def __init__(self, core: Context, peer: ChannelPeer, settings: PeerSettings) -> None:
        self._core = core
        self._peer = peer
        self._settings = settings
        self._backoff = Backoff(core.entropy)
        self._next = core.timers.new(self._due)
        self._resolve = core.timers.new(self._resolve_due)
        self._asked_ns: int | None = None
        self._succeeded_ns: int | None = None
        self._is_torn = False
        self._turn = 0
        self.addresses: tuple[Address, ...] = ()
        self.attempt: EdgeChannel | None = None
        self.is_active = False
        self.resolved_ns: int | None = None

    def start(self, now_ns: int, *, wait: bool = False) -> None:
        """Get a session; no-op while at it. `wait`: one backoff first (the hub sent us away)."""
        if self.is_active:
            return
        self.is_active = True
        if self.attempt is not None:
            return  # its end decides
        if self._succeeded_ns is not None and now_ns - self._succeeded_ns < STABLE_NS:
            wait = True
        else:
            self._backoff.reset()
        if wait:
            self._next.set(now_ns + self._backoff.next_ns())
        else:
            self._due(now_ns)

    def succeeded(self, now_ns: int) -> None:
        """A session stands: rest, but look the names up from time to time."""
        self.attempt = None
        self.is_active = self._is_torn = False
        self._succeeded_ns = now_ns
        self._next.cancel()
        self._resolve.set(now_ns + self._settings.resolve_ns)

    def failed(self, now_ns: int, *, is_torn: bool) -> None:
        """The attempt is over without a session.

        `is_torn`: it ended between our PROOF and the hub's ACCEPT. The hub may have gone over to the
        new session and closed the old connection, so there is no resting before another one stands.
        """
        self.attempt = None
        self._turn += 1
        if is_torn:
            self._is_torn = self.is_active = True
        if self.is_active:
            self._next.set(now_ns + self._backoff.next_ns())

    def relax(self) -> None:
        """The old session turned out to live: finish the attempt under way, but begin no new one."""
        if self._is_torn:
            return
        self.is_active = False
        self._next.cancel()

    def stop(self, code: int) -> None:
        """No more calls."""
        self.is_active = self._is_torn = False
        self._next.cancel()
        self._resolve.cancel()
        if self.attempt is not None:
            self.attempt.close(code)
            self.attempt = None

    def settings_changed(self, settings: PeerSettings, now_ns: int) -> None:
        """Other times, or other names: those are looked up and dialled beside the living session."""
        before, self._settings = self._settings, settings
        if settings.endpoints != before.endpoints:
            self.stop(CLOSE_BYE)
            self.addresses = ()
            self._asked_ns = None
            self._succeeded_ns = None
            self.start(now_ns)
        elif self._resolve.at_ns is not None:
            self._resolve.set(now_ns + settings.resolve_ns)

    def resolved(self, addresses: tuple[Address, ...], now_ns: int) -> None:
        """The resolver's answer; empty: it found nothing, what we know stays."""
        self._asked_ns = None
        self._resolve.set(now_ns + self._settings.resolve_ns)
        if not addresses:
            return
        self.resolved_ns = now_ns
        was_unknown = not self.addresses
        if self.addresses != addresses[:ADDRESSES_MAX]:
            self.addresses = addresses[:ADDRESSES_MAX]
            self._turn = 0
        if self.is_active and was_unknown and self.attempt is None:
            self._next.cancel()
            self._backoff.reset()
            self._dial(now_ns)

    def _due(self, now_ns: int) -> None:
        self._ask(now_ns)
        if self.addresses:
            self._dial(now_ns)
        else:
            # The answer starts the attempt; this only asks again if none comes.
            self._next.set(now_ns + self._backoff.next_ns())

    def _dial(self, now_ns: int) -> None:
        assert self.attempt is None
        core, peer, hub_static = self._core, self._peer, self._settings.public_key

        def attempt(link: QuicLink) -> EdgeChannel:
            self.attempt = EdgeChannel(core, link, peer, hub_static, now_ns)
            return self.attempt

        core.quic.dial(self.addresses[self._turn % len(self.addresses)], attempt, now_ns)

    def _ask(self, now_ns: int) -> None:
        if self._asked_ns is None or now_ns - self._asked_ns >= ASK_AGAIN_NS:
            self._asked_ns = now_ns
            self._core.emit(Resolve(self._peer.name, self._settings.endpoints))

    def _resolve_due(self, now_ns: int) -> None:
        self._ask(now_ns)
        self._resolve.set(now_ns + self._settings.resolve_ns)
