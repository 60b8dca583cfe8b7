"""Turns: bounded, in order, and not to be stopped by a bug of ours."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from oxidized.core.events import PeerUp, Pong, Resolve, TunnelEvent
from oxidized.core.plane import Address
from oxidized.core.tunnel import Tunnel
from oxidized.io import driver as driving
from oxidized.io.driver import TRANSMIT_MAX, Driver
from oxidized.io.resolver import Resolver
from oxidized.io.sockets import UdpSockets

THERE = Address("192.0.2.1", 443)


class World:
    """A tunnel, a packet path, sockets and a resolver that note what is asked of them."""

    def __init__(self) -> None:
        self.notify_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.control: deque[tuple[bytes, Address]] = deque()
        self.received: list[bytes] = []
        self.out: deque[tuple[bytes, Address]] = deque()
        self.sent: list[bytes] = []
        self.events: deque[TunnelEvent] = deque()
        self.told: list[TunnelEvent] = []
        self.answers: list[tuple[str, tuple[Address, ...]]] = []
        self.timeout_ns: int | None = None
        self.ticks = 0
        self.on_receive: Callable[[bytes], None] = lambda datagram: None
        self.has_session = True
        self.pinged: list[int] = []

    # The packet path

    def poll_control(self) -> list[tuple[bytes, Address]]:
        return [self.control.popleft() for _ in range(min(64, len(self.control)))]

    # The tunnel

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None:
        self.received.append(datagram)
        self.on_receive(datagram)

    def poll_plane(self, now_ns: int) -> None:
        pass

    def tick(self, now_ns: int) -> None:
        self.ticks += 1
        self.timeout_ns = None

    def next_timeout_ns(self) -> int | None:
        return self.timeout_ns

    def poll_transmit(self) -> tuple[bytes, Address] | None:
        return self.out.popleft() if self.out else None

    def poll_event(self) -> TunnelEvent | None:
        return self.events.popleft() if self.events else None

    def resolved(self, peer: str, addresses: tuple[Address, ...], now_ns: int) -> None:
        self.answers.append((peer, addresses))

    def ping(self, peer: str, token: int, now_ns: int) -> bool:
        assert 0 <= token < 1 << 63
        self.pinged.append(token)
        return self.has_session

    def close(self, now_ns: int) -> None:
        self.out.append((b"bye", THERE))

    # Sockets and resolver

    def send(self, datagram: bytes, to: Address) -> bool:
        assert to == THERE
        self.sent.append(datagram)
        return True

    async def resolve(self, endpoints: tuple[str, ...]) -> tuple[Address, ...]:
        await asyncio.sleep(0)
        return (THERE,) if endpoints == ("there:443",) else ()

    # Tests

    def notify(self) -> None:
        os.eventfd_write(self.notify_fd, 1)


def drive(work: Callable[[World, Driver], Awaitable[None]]) -> World:
    """Run `work` beside a started driver; stops it at the end."""

    async def life() -> World:
        world = World()
        tunnel, sockets, resolver = cast(Tunnel, world), cast(UdpSockets, world), cast(Resolver, world)
        driver = Driver(tunnel, world, sockets, resolver, world.told.append)
        driver.start()
        try:
            await asyncio.wait_for(work(world, driver), 10)
        finally:
            driver.stop()
            os.close(world.notify_fd)
        return world

    return asyncio.run(life())


async def until(is_so: Callable[[], Any]) -> None:
    while not is_so():
        await asyncio.sleep(0)


def test_datagrams_in_events_and_datagrams_out() -> None:
    async def work(world: World, driver: Driver) -> None:
        world.control.extend((b"%d" % i, THERE) for i in range(200))
        world.out.append((b"answer", THERE))
        world.events.append(PeerUp("hub"))
        world.notify()
        await until(lambda: len(world.received) == 200)

    world = drive(work)
    assert world.received == [b"%d" % i for i in range(200)]
    assert world.sent == [b"answer", b"bye"] and world.told == [PeerUp("hub")]


def test_a_turn_ends_though_datagrams_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """With time up after each datagram, others get their turn between two datagrams."""
    monkeypatch.setattr(driving, "TURN_NS_MAX", 1)
    between: list[int] = []

    async def work(world: World, driver: Driver) -> None:
        world.control.extend((b"x", THERE) for _ in range(100))
        world.notify()
        while len(world.received) < 100:
            between.append(len(world.received))
            await asyncio.sleep(0)

    drive(work)
    assert len(between) >= 50, "the loop was let go about once a datagram"


def test_sending_is_bounded_too() -> None:
    async def work(world: World, driver: Driver) -> None:
        world.out.extend((b"x", THERE) for _ in range(3 * TRANSMIT_MAX))
        driver.do(lambda tunnel, now_ns: None)
        assert len(world.sent) == 2 * TRANSMIT_MAX, "before and after the events"
        await until(lambda: len(world.sent) == 3 * TRANSMIT_MAX)

    drive(work)


def test_our_bug_is_counted_and_the_turns_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "FAULT_PAUSE_S", 0.0)

    def fail(datagram: bytes) -> None:
        assert datagram != b"bad"

    async def work(world: World, driver: Driver) -> None:
        world.on_receive = fail
        world.control.extend([(b"bad", THERE), (b"good", THERE)])
        world.notify()
        await until(lambda: b"good" in world.received)
        assert driver.faults == 1

    drive(work)


def test_the_timer_fires_and_is_armed_once() -> None:
    async def work(world: World, driver: Driver) -> None:
        world.timeout_ns = driving.monotonic_ns() + 2_000_000
        driver.do(lambda tunnel, now_ns: None)
        turns = driver.turns
        await until(lambda: world.ticks)
        assert driver.turns == turns + 1, "not early, not twice"

    assert drive(work).ticks == 1


def test_names_are_looked_up_and_a_newer_question_wins() -> None:
    async def work(world: World, driver: Driver) -> None:
        world.events.extend([Resolve("hub", ("elsewhere:1",)), Resolve("hub", ("there:443",))])
        world.events.append(Resolve("other", ("nowhere:1",)))
        world.notify()
        await until(lambda: len(world.answers) == 2)

    assert sorted(drive(work).answers) == [("hub", (THERE,)), ("other", ())]


def test_pings() -> None:
    async def work(world: World, driver: Driver) -> None:
        waiting = asyncio.ensure_future(driver.ping("hub", 10))
        await until(lambda: world.pinged)
        world.events.append(Pong("hub", world.pinged[0] ^ 1, 5, "udp"))
        world.events.append(Pong("hub", world.pinged[0], 2_000_000, "udp"))
        world.notify()
        assert await waiting == 0.002
        assert await driver.ping("hub", 0.001) is None, "nobody answered"
        world.has_session = False
        assert await driver.ping("hub", 10) is None

    drive(work)


def test_nothing_turns_after_the_stop() -> None:
    async def work(world: World, driver: Driver) -> None:
        driver.stop()
        turns = driver.turns
        world.notify()
        for _ in range(5):
            await asyncio.sleep(0)
        assert driver.turns == turns and world.sent == [b"bye"]

    assert drive(work).sent == [b"bye"], "and once is enough"
