"""Turns: what comes in goes to the tunnel, what the tunnel wants goes out. The shell around the pure core.

One turn: QUIC datagrams and reports of the packet path in, due timers, then everything out: datagrams
to the sockets, events to the daemon, one timer for the next moment. A turn does a bounded amount of
work and leaves the rest to the next, so that a flood of datagrams never starves the control socket,
the watchdog or the timers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from oxidized.core.events import Pong, Resolve, TunnelEvent
from oxidized.core.plane import Address
from oxidized.core.tunnel import Tunnel
from oxidized.io.clock import monotonic_ns
from oxidized.io.resolver import Resolver
from oxidized.io.sockets import UdpSockets

# A handshake message costs about 5 ms of Python, most others 0.05 ms.
TURN_NS_MAX = 10_000_000
TRANSMIT_MAX = 256  # datagrams per turn, about 5 ms
FAULT_PAUSE_S = 0.1
PINGS_MAX = 256  # under way at once, over all control connections

log = logging.getLogger("oxidized.driver")

_T = TypeVar("_T")


class ControlSource(Protocol):
    """What the driver needs of `ffi.dataplane.DataPlane` beyond what the tunnel does."""

    @property
    def notify_fd(self) -> int: ...
    def poll_control(self) -> list[tuple[bytes, Address]]: ...


class Driver:
    """Owns the loop's side of one tunnel. All methods are called in the loop's thread."""

    def __init__(
        self,
        tunnel: Tunnel,
        plane: ControlSource,
        sockets: UdpSockets,
        resolver: Resolver,
        on_event: Callable[[TunnelEvent], None],
    ) -> None:
        self._tunnel = tunnel
        self._plane = plane
        self._sockets = sockets
        self._resolver = resolver
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[tuple[bytes, Address]] = deque()
        self._again: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._pings: dict[int, asyncio.Future[int]] = {}
        self._is_running = False
        self.turns = 0
        self.faults = 0

    def start(self) -> None:
        self._is_running = True
        self._loop.add_reader(self._plane.notify_fd, self._notified)
        self._turn()

    def stop(self) -> None:
        """Say bye to all peers and stop turning. The sockets must still be open."""
        if not self._is_running:
            return
        self._is_running = False
        self._loop.remove_reader(self._plane.notify_fd)
        for handle in (self._timer, self._again):
            if handle is not None:
                handle.cancel()
        for task in self._resolving.values():
            task.cancel()
        for future in self._pings.values():
            future.cancel()
        self._tunnel.close(monotonic_ns())
        while (item := self._tunnel.poll_transmit()) is not None:
            self._sockets.send(*item)

    def do(self, work: Callable[[Tunnel, int], _T]) -> _T:
        """Call `work(tunnel, now_ns)` and carry out what follows from it."""
        result = work(self._tunnel, monotonic_ns())
        self._turn()
        return result

    async def ping(self, peer: str, timeout_s: float) -> float | None:
        """Round-trip seconds of one PING through the tunnel; None: no session, or no answer in time."""
        if len(self._pings) >= PINGS_MAX:
            return None
        token = int.from_bytes(os.urandom(8), "big") >> 1  # the upper half is the tunnel's own
        future: asyncio.Future[int] = self._loop.create_future()
        self._pings[token] = future
        try:
            if not self.do(lambda tunnel, now_ns: tunnel.ping(peer, token, now_ns)):
                return None
            return await asyncio.wait_for(future, timeout_s) / 1e9
        except TimeoutError:
            return None
        finally:
            self._pings.pop(token, None)

    def _notified(self) -> None:
        try:
            os.read(self._plane.notify_fd, 8)
        except BlockingIOError:
            pass
        self._turn()

    def _turn_again(self) -> None:
        self._again = None
        self._turn()

    def _turn(self) -> None:
        """A bug of ours in one turn must not become a peer's switch to turn us off: say it, count it, and
        turn again a little later. Packets go on in C meanwhile."""
        if not self._is_running:
            return
        try:
            self._turn_once(monotonic_ns())
        except Exception:
            self.faults += 1
            log.exception("internal error number %d: please report this", self.faults)
            if self._again is None:
                self._again = self._loop.call_later(FAULT_PAUSE_S, self._turn_again)

    def _turn_once(self, now_ns: int) -> None:
        self.turns += 1
        has_more = self._receive(now_ns)
        self._tunnel.poll_plane(now_ns)
        due_ns = self._tunnel.next_timeout_ns()
        if due_ns is not None and due_ns <= now_ns:
            self._tunnel.tick(now_ns)
        has_more |= self._transmit()
        while (event := self._tunnel.poll_event()) is not None:
            self._event(event)
        has_more |= self._transmit()
        if has_more and self._again is None:
            self._again = self._loop.call_soon(self._turn_again)
        self._arm()

    def _receive(self, start_ns: int) -> bool:
        """Datagrams to the tunnel until there are no more or the turn is over (True: some are left).

        Only one ring's worth is ever taken out of C: the rest is dropped there, and counted.
        """
        if not self._inbox:
            self._inbox.extend(self._plane.poll_control())
        now_ns = start_ns
        while self._inbox and now_ns - start_ns < TURN_NS_MAX:
            datagram, source = self._inbox.popleft()
            self._tunnel.receive(datagram, source, now_ns)
            now_ns = monotonic_ns()
            if not self._inbox:
                self._inbox.extend(self._plane.poll_control())
        return bool(self._inbox)

    def _transmit(self) -> bool:
        for _ in range(TRANSMIT_MAX):
            item = self._tunnel.poll_transmit()
            if item is None:
                return False
            self._sockets.send(*item)
        return True

    def _event(self, event: TunnelEvent) -> None:
        match event:
            case Resolve():
                self._resolve(event.peer, event.endpoints)
            case Pong():
                future = self._pings.get(event.token)
                if future is not None and not future.done():
                    future.set_result(event.rtt_ns)
            case _:
                self._on_event(event)

    def _resolve(self, peer: str, endpoints: tuple[str, ...]) -> None:
        """One look-up per peer at a time; a newer question replaces the older."""
        older = self._resolving.pop(peer, None)
        if older is not None:
            older.cancel()
        task = self._loop.create_task(self._resolve_then_tell(peer, endpoints), name=f"resolve {peer}")
        self._resolving[peer] = task

    async def _resolve_then_tell(self, peer: str, endpoints: tuple[str, ...]) -> None:
        addresses = await self._resolver.resolve(endpoints)
        if self._resolving.get(peer) is asyncio.current_task():
            del self._resolving[peer]
        log.debug("%s: %s is %s", peer, ", ".join(endpoints), ", ".join(map(str, addresses)) or "unknown")
        self.do(lambda tunnel, now_ns: tunnel.resolved(peer, addresses, now_ns))

    def _arm(self) -> None:
        """The one timer, set anew only when the moment moved. uvloop counts whole milliseconds: round up,
        lest it fires early and turns for nothing."""
        due_ns = self._tunnel.next_timeout_ns()
        if due_ns == self._timer_ns and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ns is not None:
            self._timer_ns = due_ns
            delay_ms = max(0, -((monotonic_ns() - due_ns) // 1_000_000))
            self._timer = self._loop.call_later(delay_ms / 1000, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._turn()
