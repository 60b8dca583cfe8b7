"""One host: a real packet path, a real control plane, and the shell that moves bytes between them.

The shell does what oxidized/io does with sockets and a loop: everything that comes is pushed in, and
everything that wants out is taken out, before virtual time moves on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from oxidized.core.events import Resolve, TunnelEvent
from oxidized.core.plane import Address
from oxidized.ffi.names import BATCH_MAX
from tests.sim.accounts import CountedPlane
from tests.sim.clock import NodeClock
from tests.sim.ledger import SimFailure

ROUNDS_MAX = 64  # of shovelling at one moment before we say it never ends
STEPS_AT_ONCE_MAX = 300  # steps of one node without virtual time moving
SOCKET_BUFFER_DATAGRAMS = 200  # kept for a node that is suspended


class Brain(Protocol):
    """The control plane as the shell drives it: `core.tunnel.Tunnel`, or tests.sim.keyed."""

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None: ...
    def resolved(self, peer: str, addresses: tuple[Address, ...], now_ns: int) -> None: ...
    def poll_plane(self, now_ns: int) -> None: ...
    def tick(self, now_ns: int) -> None: ...
    def close(self, now_ns: int) -> None: ...
    def poll_transmit(self) -> tuple[bytes, Address] | None: ...
    def poll_event(self) -> TunnelEvent | None: ...
    def next_timeout_ns(self) -> int | None: ...


class Surroundings(Protocol):
    """The world, seen from a node."""

    def wake(self, node: Node, at_ns: int) -> None: ...
    def transmit(self, node: Node, to: Address, data: bytes) -> None: ...
    def delivered(self, node: Node, peer: int, packet: bytes) -> None: ...
    def told(self, node: Node, event: TunnelEvent) -> None: ...


class Node:
    """`brain` and `plane` are replaced at a restart; name and addresses stay."""

    def __init__(
        self, name: str, world: Surroundings, clock: NodeClock, plane: CountedPlane, lag_ns: int
    ) -> None:
        self._world = world
        self._brain_due_ns: int | None = None  # world time at which Python looks at the plane again
        self._step_ns = -1
        self._steps = 0
        self.name = name
        self.clock = clock
        self.plane = plane
        self.brain: Brain | None = None
        self.lag_ns = lag_ns
        self.wake_ns: int | None = None
        self.is_suspended = False
        self.is_disturbed = False  # it missed a turn, or its clock has leapt since the last one
        self.keeps_datagrams = False  # while suspended
        self.is_down = False
        self.inbox: list[tuple[bytes, Address]] = []
        self.outbox: list[bytes] = []  # inner packets from our own TUN

    def take(self, datagram: bytes, source: Address) -> bool:
        """A datagram from the network; False: nobody is there to take it."""
        if self.is_down:
            return False
        if self.is_suspended and (not self.keeps_datagrams or len(self.inbox) >= SOCKET_BUFFER_DATAGRAMS):
            return False
        self.inbox.append((datagram, source))
        return True

    def step(self, now_ns: int) -> None:
        """All there is to do at this moment."""
        if self.is_suspended or self.is_down or self.brain is None:
            return
        self._steps = self._steps + 1 if self._step_ns == now_ns else 0
        self._step_ns = now_ns
        if self._steps > STEPS_AT_ONCE_MAX:
            raise SimFailure(f"{self.name}: wakes again and again without time going on")
        local_ns = self.clock.local_ns(now_ns)
        if not self.is_disturbed:
            self.plane.check_woken(local_ns)
        self.is_disturbed = False
        self._push(local_ns)
        self.plane.tick(local_ns)
        self._take_out(local_ns)
        if self._is_brain_turn(now_ns):
            self._turn(local_ns)
        for _ in range(ROUNDS_MAX):
            due_ns = self.plane.tick(local_ns)
            if not self._take_out(local_ns):
                break
        else:
            raise SimFailure(f"{self.name}: the plane has ever more to send")
        self.plane.check_turn(local_ns)
        self._arm(now_ns, due_ns)

    def _is_brain_turn(self, now_ns: int) -> bool:
        """Python comes after every batch, or, when it is slow, `lag_ns` after the first thing waits."""
        if self.lag_ns == 0:
            self._brain_due_ns = None
            return True
        if self._brain_due_ns is None:
            self._brain_due_ns = now_ns + self.lag_ns
        if now_ns < self._brain_due_ns:
            return False
        self._brain_due_ns = None
        return True

    def _push(self, local_ns: int) -> None:
        for datagrams in batches(self.inbox):
            self.plane.outer_push(local_ns, datagrams)
            self._take_out(local_ns)
        for packets in batches(self.outbox):
            self.plane.inner_push(local_ns, packets)
        self.inbox.clear()
        self.outbox.clear()
        self._take_out(local_ns)

    def _take_out(self, local_ns: int) -> bool:
        """Empty the plane's two ends; True: there was something."""
        had_some = False
        while found := self.plane.outer_pop():
            had_some = True
            for data, to in found:
                self._world.transmit(self, to, data)
        while packets := self.plane.inner_pop():
            had_some = True
            for peer, packet in packets:
                self._world.delivered(self, peer, packet)
        if self.outbox:  # what came out for somebody else is forwarded
            forwarded, self.outbox = self.outbox, []
            for some in batches(forwarded):
                self.plane.inner_push(local_ns, some)
            return True
        return had_some

    def _turn(self, local_ns: int) -> None:
        brain = self.brain
        assert brain is not None
        for _ in range(ROUNDS_MAX):
            while control := self.plane.poll_control():
                for data, source in control:
                    brain.receive(data, source, local_ns)
            brain.poll_plane(local_ns)
            due_ns = brain.next_timeout_ns()
            if due_ns is not None and due_ns <= local_ns:
                brain.tick(local_ns)
            self.emit()
            if not self._take_out(local_ns):
                return
        raise SimFailure(f"{self.name}: the control plane has ever more to do")

    def emit(self) -> None:
        """Carry out what the control plane wants."""
        brain = self.brain
        assert brain is not None
        while (item := brain.poll_transmit()) is not None:
            self._world.transmit(self, item[1], item[0])
        while (event := brain.poll_event()) is not None:
            self._world.told(self, event)

    def tell_resolved(self, event: Resolve, address: Address | None, now_ns: int) -> None:
        """The resolver's answer; None: it failed."""
        if self.brain is not None and not self.is_down:
            addresses = () if address is None else (address,)
            self.brain.resolved(event.peer, addresses, self.clock.local_ns(now_ns))
            self.emit()
            self._world.wake(self, now_ns)

    def _arm(self, now_ns: int, plane_due_ns: int | None) -> None:
        assert self.brain is not None
        brain_due_ns = None
        if self._brain_due_ns is not None:
            self._world.wake(self, self._brain_due_ns)
        else:
            brain_due_ns = self.brain.next_timeout_ns()
        for due_ns in (plane_due_ns, brain_due_ns):
            if due_ns is not None:
                self._world.wake(self, max(now_ns, self.clock.world_ns(due_ns)))


def batches(items: Sequence) -> list:  # type: ignore[type-arg]
    return [items[i : i + BATCH_MAX] for i in range(0, len(items), BATCH_MAX)]
