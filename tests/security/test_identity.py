"""Wrong key, no key, a key nobody knows, a replayed handshake: refused, named, and nothing installed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from oxidized.core import handshake, messages
from oxidized.core.events import HandshakeRejected
from oxidized.core.plane import Address
from oxidized.core.quic import CLOSE_PROTOCOL, CLOSE_REJECTED
from oxidized.core.quic_tls import client_connection
from tests.unit.core.world import Node, World, peer_settings, public_of, seed_of, tunnel_settings

ELSEWHERE = Address("203.0.113.9", 5000)
HUB, EDGE, OTHER = seed_of("hub"), seed_of("edge"), seed_of("other")


def make(
    edge_seed: bytes, believed_hub: bytes, known_edge: bytes, **hub_other: object
) -> tuple[World, Node, Node]:
    world = World()
    world.names["hub.test:443"] = (Address("192.0.2.1", 443),)
    at_hub = peer_settings("edge", known_edge)
    hub = world.node("hub", tunnel_settings(HUB, at_hub, accept=True), "192.0.2.1", 443)
    at_edge = peer_settings("hub", believed_hub, endpoints=("hub.test:443",))
    edge = world.node("edge", tunnel_settings(edge_seed, at_edge), "198.51.100.7", 40000)
    return world, hub, edge


def refused(hub: Node, edge: Node) -> None:
    assert edge.state() == "connecting" and hub.state() == "down"
    assert hub.plane.installs == 0 and hub.plane.sessions == {}
    assert edge.status().handshakes["completed"] == 0
    assert edge.status().handshakes["rejected"] >= 2, "it goes on trying, slowly"
    assert edge.status().handshakes["rejected"] <= 20


def test_an_edge_with_the_wrong_hub_key_learns_nothing() -> None:
    world, hub, edge = make(EDGE, public_of(OTHER), public_of(EDGE))
    world.run(30)
    refused(hub, edge)
    assert hub.tunnel.counters["knock-bad"] >= 2
    assert edge.tunnel.counters["rejected"] >= 2
    assert hub.of(HandshakeRejected)[0].reason == "knock-bad"
    assert edge.plane.installs == 0


def test_an_edge_the_hub_does_not_know_is_refused() -> None:
    world, hub, edge = make(OTHER, public_of(HUB), public_of(EDGE))
    world.run(30)
    refused(hub, edge)
    assert hub.tunnel.counters["unknown-peer"] >= 2
    assert edge.plane.peers[1].current is None, "its receive keys never became a session"


def test_all_refusals_look_alike_from_outside() -> None:
    codes = set()
    for edge_seed, believed in ((EDGE, public_of(OTHER)), (OTHER, public_of(HUB))):
        world, hub, edge = make(edge_seed, believed, public_of(EDGE))
        world.run(30)
        refused(hub, edge)
        codes |= {event.reason for event in edge.of(HandshakeRejected)}
    assert codes == {"rejected"}


class Caller:
    """A QUIC client that says on stream 0 what the test wants."""

    def __init__(self, world: World, hub: Node, address: Address = ELSEWHERE) -> None:
        self.world = world
        self.hub = hub
        self.address = address
        self.quic = client_connection()
        self.quic.connect(hub.address, world.now_s)
        self.heard = b""
        self.code: int | None = None
        for _ in range(4):
            self.turn()

    def turn(self) -> None:
        for data, _ in self.quic.datagrams_to_send(self.world.now_s):
            self.hub.tunnel.receive(data, self.address, self.world.now_ns)
        while (item := self.hub.tunnel.poll_transmit()) is not None:
            if item[1] == self.address:
                self.quic.receive_datagram(item[0], self.hub.address, self.world.now_s)
        while (event := self.quic.next_event()) is not None:
            self.heard += getattr(event, "data", b"")
        if self.quic.is_draining:
            self.code = self.quic.close_reason[0]
        self.world.now_ns += 30_000_000

    def say(self, data: bytes) -> None:
        self.quic.send_stream_data(0, data)
        for _ in range(3):
            self.turn()


def hub_alone() -> tuple[World, Node]:
    world = World()
    at_hub = peer_settings("edge", public_of(EDGE))
    return world, world.node("hub", tunnel_settings(HUB, at_hub, accept=True), "192.0.2.1", 443)


def good_hello(caller: Caller, seed: bytes = EDGE) -> tuple[handshake.EdgeHandshake, messages.Hello]:
    ours = handshake.offer("auto", caller.hub.plane.suite_best(), 1420)
    half = handshake.EdgeHandshake(handshake.Identity(seed), public_of(HUB), ours, caller.quic.exporter)
    return half, half.hello(7, random.Random(1).randbytes)


def test_without_a_key_there_is_no_answer_at_all() -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    _, hello = good_hello(caller)
    caller.say(messages.encode(replace(hello, knock=bytes(16))))
    assert caller.code == CLOSE_REJECTED
    assert caller.heard == b"", "a hub says nothing of itself to who does not know it"
    assert hub.tunnel.counters["knock-bad"] == 1


def test_a_good_caller_of_this_bench_is_let_in() -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    half, hello = good_hello(caller)
    caller.say(messages.encode(hello))
    (welcome,) = messages.MessageReader().feed(caller.heard)
    assert isinstance(welcome, messages.Welcome)
    proof, _ = half.welcome(welcome)
    caller.say(messages.encode(proof))
    assert hub.plane.installs == 1 and hub.state() == "connecting"


@pytest.mark.parametrize("part", ["static", "signature"])
def test_a_spoilt_proof_is_refused(part: str) -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    half, hello = good_hello(caller)
    caller.say(messages.encode(hello))
    (welcome,) = messages.MessageReader().feed(caller.heard)
    assert isinstance(welcome, messages.Welcome)
    proof, _ = half.welcome(welcome)
    value = getattr(proof, part)
    caller.say(messages.encode(replace(proof, **{part: bytes([value[0] ^ 1]) + value[1:]})))
    assert caller.code == CLOSE_REJECTED
    assert hub.plane.installs == 0


@pytest.mark.parametrize(
    ("data", "code", "counter"),
    [
        (b"\x01\xff\xff", CLOSE_PROTOCOL, "message-bad"),
        (b"\x01\x04\x01" + bytes(1025), CLOSE_PROTOCOL, "message-bad"),
        (b"\x63\x00\x00", CLOSE_PROTOCOL, "message-bad"),
        (messages.encode(messages.Proof(bytes(32), bytes(64))), CLOSE_PROTOCOL, "message-bad"),
        (messages.encode(messages.RekeyDone(0)), CLOSE_PROTOCOL, "message-bad"),
        (messages.encode(messages.Accept(Address("192.0.2.9", 9))), CLOSE_PROTOCOL, "message-bad"),
        (b"\x01\x00\x39\x02" + bytes(56), 0x11, "version"),
    ],
)
def test_what_is_no_first_message_closes_the_connection(data: bytes, code: int, counter: str) -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    caller.say(data)
    assert caller.code == code
    assert hub.tunnel.counters[counter] == 1
    assert caller.heard == b""


def test_a_second_hello_is_out_of_order() -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    _, hello = good_hello(caller)
    caller.say(messages.encode(hello) * 2)
    assert caller.code == CLOSE_PROTOCOL


@pytest.mark.parametrize("stream", [4, 2])
def test_another_stream_is_misuse(stream: int) -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    caller.quic.send_stream_data(stream, b"hello")
    for _ in range(3):
        caller.turn()
    assert caller.code == CLOSE_PROTOCOL
    assert hub.tunnel.counters["quic-misused"] == 1


def test_data_packets_before_the_proof_go_nowhere() -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    caller.quic.send_datagram_frame(bytes(64))
    for _ in range(3):
        caller.turn()
    assert hub.tunnel.counters["carrier-early"] == 1
    assert hub.plane.drops == {}


def record() -> tuple[World, Node, Node, list[bytes]]:
    """A good handshake and all that the edge sent in it."""
    world, hub, edge = make(EDGE, public_of(HUB), public_of(EDGE))
    assert world.run(10, until=lambda: hub.state() == "up" and edge.state() == "up")
    return world, hub, edge, [packet.data for packet in edge.sent if packet.is_quic]


def replay(hub: Node, world: World, datagrams: list[bytes], source: Address) -> None:
    for data in datagrams:
        hub.tunnel.receive(data, source, world.now_ns)
        hub.pump()
        world.now_ns += 10_000_000


@pytest.mark.parametrize("source", [Address("198.51.100.7", 40000), Address("203.0.113.66", 6666)])
def test_a_replayed_handshake_installs_nothing_while_the_session_lives(source: Address) -> None:
    world, hub, _, datagrams = record()
    replay(hub, world, datagrams, source)
    replay(hub, world, datagrams, source)
    assert hub.plane.installs == 1
    assert hub.ups_and_downs() == ["up"]
    assert hub.status().endpoint is not None and hub.status().endpoint.ip == "198.51.100.7"


@pytest.mark.parametrize("source", [Address("198.51.100.7", 40000), Address("203.0.113.66", 6666)])
def test_a_replayed_handshake_installs_nothing_at_a_hub_that_restarted(source: Address) -> None:
    world, hub, edge, datagrams = record()
    edge.die()
    hub.die()
    hub.start()
    replay(hub, world, datagrams, source)
    world.run(20)
    assert hub.plane.installs == 0
    assert hub.tunnel._core.quic.connections == 0
    assert hub.state() == "down"


def test_a_replayed_handshake_installs_nothing_after_the_first_is_gone() -> None:
    world, hub, edge, datagrams = record()
    edge.die()
    hub.tunnel.peer_remove("edge", world.now_ns)
    hub.tunnel.peer_add(hub.settings.peers[0], world.now_ns)
    hub.pump()
    world.run(10)
    replay(hub, world, datagrams, Address("198.51.100.7", 40000))
    world.run(20)
    assert hub.plane.installs == 1
    assert hub.state() == "down"
