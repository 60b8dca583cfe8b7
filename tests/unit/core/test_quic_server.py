"""Who may open a connection: limits, Retry, versions, and that nothing is kept."""

from __future__ import annotations

import random

import pytest
from aioquic.quic.packet import QuicProtocolVersion, encode_quic_version_negotiation

from oxidized.core.plane import Address
from oxidized.core.quic_server import (
    HALF_OPEN_MAX,
    HALF_OPEN_PER_SOURCE_MAX,
    RETRY_ABOVE_HALF_OPEN,
    TokenBucket,
    source_prefix,
)
from oxidized.core.quic_tls import Connection, client_connection
from tests.unit.core.world import SECOND_NS, World


def initial(target: Address) -> bytes:
    """The first datagram of a caller."""
    connection = client_connection()
    connection.connect(target, 0.0)
    return connection.datagrams_to_send(0.0)[0][0]


def spoofed(number: int) -> Address:
    return Address(f"203.0.{number >> 8 & 255}.{number & 255}", 5000)


def drain(node) -> list[tuple[bytes, Address]]:
    out = []
    while (item := node.tunnel.poll_transmit()) is not None:
        out.append(item)
    return out


def test_a_flood_of_initials_is_bounded_and_answered_by_retry() -> None:
    world = World()
    hub, edge = world.pair()
    for number in range(600):
        hub.tunnel.receive(initial(hub.address), spoofed(number), world.now_ns)
    server, counters = hub.tunnel._core.quic, hub.tunnel.counters
    assert server.half_open == server.connections == RETRY_ABOVE_HALF_OPEN
    assert counters["retry-sent"] == 600 - RETRY_ABOVE_HALF_OPEN
    answers = drain(hub)
    assert max(len(data) for data, _ in answers) <= 1350
    # Never more than three times what came, and mostly far less.
    assert sum(len(data) for data, _ in answers) < 600 * 1200
    assert hub.plane.installs == 0
    assert world.run(20, until=lambda: edge.state() == "up"), "who means it comes through"
    world.run(10)
    assert (server.half_open, server.connections) == (0, 1)


def test_without_retry_the_table_is_bounded_and_the_rate_too() -> None:
    world = World()
    hub, _ = world.pair(hub={"retry": "never", "max_handshakes_per_second": 100})
    server, counters = hub.tunnel._core.quic, hub.tunnel.counters
    for number in range(150):
        hub.tunnel.receive(initial(hub.address), spoofed(number), world.now_ns)
    assert server.half_open == 100 and counters["handshake-limit"] == 50
    for second in range(1, 4):
        for number in range(100):
            at_ns = world.now_ns + second * SECOND_NS
            hub.tunnel.receive(initial(hub.address), spoofed(1000 * second + number), at_ns)
    assert server.half_open == HALF_OPEN_MAX
    assert counters["half-open-evicted"] == 400 - HALF_OPEN_MAX
    hub.tunnel.tick(world.now_ns + 20 * SECOND_NS)
    hub.tunnel.tick(world.now_ns + 40 * SECOND_NS)
    assert server.connections == 0, "unauthenticated connections end by themselves"
    assert hub.tunnel._core.quic._by_cid == {}


def test_one_source_can_not_fill_the_table() -> None:
    world = World()
    hub, _ = world.pair(hub={"retry": "never"})
    for _ in range(100):
        hub.tunnel.receive(initial(hub.address), Address("203.0.113.5", 5000), world.now_ns)
    assert hub.tunnel._core.quic.half_open == HALF_OPEN_PER_SOURCE_MAX
    assert hub.tunnel.counters["handshake-limit"] == 100 - HALF_OPEN_PER_SOURCE_MAX


def test_a_source_is_an_ipv4_address_or_an_ipv6_64() -> None:
    assert source_prefix(Address("192.0.2.1", 1)) == source_prefix(Address("192.0.2.1", 2))
    assert source_prefix(Address("2001:db8::1", 1)) == source_prefix(Address("2001:db8::ffff:2", 1))
    assert source_prefix(Address("2001:db8::1", 1)) != source_prefix(Address("2001:db8:0:1::1", 1))


def test_retry_always_costs_a_round_trip_and_works() -> None:
    world = World()
    hub, edge = world.pair(hub={"retry": "always"})
    assert world.run(5, until=lambda: edge.state() == "up")
    assert hub.tunnel.counters["retry-sent"] == 1
    assert hub.tunnel.counters["token-bad"] == 0


def test_a_token_from_elsewhere_or_too_old_or_made_up_opens_nothing() -> None:
    for case in ("elsewhere", "old", "made up"):
        world = World()
        hub, _ = world.pair(hub={"retry": "always"})
        source, now_ns = spoofed(1), world.now_ns
        connection = client_connection()
        connection.connect(hub.address, 0.0)
        hub.tunnel.receive(connection.datagrams_to_send(0.0)[0][0], source, now_ns)
        retry = drain(hub)[0][0]
        if case == "made up":
            connection._peer_token = random.Random(1).randbytes(80)
            connection._connect(0.0)
        else:
            connection.receive_datagram(retry, hub.address, 0.1)
        second = connection.datagrams_to_send(0.2)[0][0]
        if case == "elsewhere":
            source = spoofed(2)
        elif case == "old":
            now_ns += 31 * SECOND_NS
        hub.tunnel.receive(second, source, now_ns)
        assert hub.tunnel.counters["token-bad"] == 1, case
        assert hub.tunnel._core.quic.connections == 0


def test_an_edge_takes_no_calls() -> None:
    world = World()
    _, edge = world.pair()
    edge.tunnel.receive(initial(edge.address), spoofed(1), world.now_ns)
    assert drain(edge) == []
    assert edge.tunnel.counters["quic-unexpected"] == 1


def test_another_version_is_told_which_one_to_use() -> None:
    world = World()
    hub, _ = world.pair()
    datagram = bytearray(initial(hub.address))
    datagram[1:5] = (0x709A50C4).to_bytes(4, "big")
    hub.tunnel.receive(bytes(datagram), spoofed(1), world.now_ns)
    ((answer, where),) = drain(hub)
    assert where == spoofed(1)
    assert answer[0] & 0xC0 == 0xC0, "our own demultiplexer must take it for QUIC"
    assert answer[1:5] == bytes(4) and answer.endswith((1).to_bytes(4, "big"))
    assert len(answer) < 100
    hub.tunnel.receive(bytes(datagram[:800]), spoofed(1), world.now_ns)
    assert drain(hub) == [], "a short datagram is not worth an answer"


def test_a_version_negotiation_is_never_answered() -> None:
    world = World()
    hub, _ = world.pair()
    packet = encode_quic_version_negotiation(
        source_cid=bytes(8), destination_cid=bytes(8), supported_versions=[int(QuicProtocolVersion.VERSION_2)]
    )
    hub.tunnel.receive(packet + bytes(1200), spoofed(1), world.now_ns)
    assert drain(hub) == []


def test_short_initials_and_short_ids_open_nothing() -> None:
    world = World()
    hub, _ = world.pair()
    hub.tunnel.receive(initial(hub.address)[:1199], spoofed(1), world.now_ns)
    assert hub.tunnel._core.quic.connections == 0
    assert hub.tunnel.counters["quic-bad"] == 1


def test_the_bucket_holds_one_second() -> None:
    bucket = TokenBucket(10, 0)
    assert sum(bucket.take(0) for _ in range(50)) == 10
    assert sum(bucket.take(SECOND_NS // 2) for _ in range(50)) == 5
    assert sum(bucket.take(100 * SECOND_NS) for _ in range(50)) == 10
    assert bucket.take(0) is False, "a clock that jumps back gives nothing"


def test_a_spoofed_caller_gets_no_more_than_three_times_what_he_sent() -> None:
    world = World()
    hub, _ = world.pair(hub={"retry": "never"})
    came = initial(hub.address)
    hub.tunnel.receive(came, spoofed(1), world.now_ns)
    hub.pump()
    world.run(30)
    answers = [packet for packet in hub.sent if packet.target == spoofed(1)]
    assert len(answers) >= 2, "it was taken for a caller"
    assert sum(len(packet.data) for packet in answers) <= 3 * len(came)
    assert hub.tunnel.counters["handshake-timeout"] == 1


def test_a_connection_that_never_speaks_is_closed_after_six_seconds() -> None:
    world = World()
    hub, _ = world.pair()
    mute = client_connection()
    mute.connect(hub.address, world.now_s)
    here = Address("203.0.113.200", 7000)
    for data, _ in mute.datagrams_to_send(world.now_s):
        hub.tunnel.receive(data, here, world.now_ns)
    for data, where in drain(hub):
        if where == here:
            mute.receive_datagram(data, hub.address, world.now_s)
    for data, _ in mute.datagrams_to_send(world.now_s):
        hub.tunnel.receive(data, here, world.now_ns)
    hub.pump()
    assert hub.tunnel._core.quic.half_open == 1
    world.run(5.9)
    assert hub.tunnel._core.quic.half_open == 1
    world.run(2)
    assert hub.tunnel._core.quic.half_open == 0
    assert hub.tunnel.counters["handshake-timeout"] == 1


def test_what_breaks_the_library_ends_one_connection_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    hub, edge = world.pair()
    assert world.run(5, until=lambda: edge.state() == "up" and hub.state() == "up")
    honest = Connection.receive_datagram

    def brittle(self: Connection, data: bytes, addr: object, now: float) -> None:
        if addr == spoofed(1):
            raise KeyError("a bug in a parser")
        honest(self, data, addr, now)

    monkeypatch.setattr(Connection, "receive_datagram", brittle)
    hub.tunnel.receive(initial(hub.address), spoofed(1), world.now_ns)
    hub.pump()
    assert hub.tunnel.counters["quic-bad"] >= 1
    assert hub.tunnel._core.quic.connections == 1, "that of the edge"
    assert edge.data(b"on") and world.run(1) and hub.payloads() == [b"on"]


@pytest.mark.parametrize("method", ["datagrams_to_send", "handle_timer", "get_timer", "receive_datagram"])
def test_an_edge_survives_a_library_that_breaks(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    world = World()
    hub, edge = world.pair()
    assert world.run(5, until=lambda: edge.state() == "up" and hub.state() == "up")

    def broken(self: Connection, *args: object, **kwargs: object) -> None:
        raise ValueError(method)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, method, broken)
        world.run(70)
    assert edge.tunnel.counters["quic-bad"] >= 1
    assert edge.ups_and_downs() == ["up"], "the data session does not need the control connection"
    assert world.run(30, until=lambda: edge.status().handshakes["completed"] >= 2)


def test_an_hour_of_idling_leaves_one_connection_and_few_timers() -> None:
    world = World()
    hub, edge = world.pair()
    world.run(3600)
    for node in (hub, edge):
        assert node.tunnel._core.quic.connections == 1
        assert len(node.tunnel._timers) <= 40
        assert sum(node.tunnel.counters.values()) == 0
        assert len(node.tunnel._core.quic._by_cid) <= 20
    assert edge.status().handshakes == {"completed": 1, "failed": 0, "rejected": 0}
