"""Whoever sits between two TLS connections gets nowhere: both ends refuse, nothing is installed to send."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from oxidized.core import handshake
from oxidized.core.events import HandshakeRejected
from oxidized.core.messages import Accept, Hello, Message, Proof, Rekey, Welcome, encode
from oxidized.core.plane import Address, Suite
from oxidized.core.quic_tls import Connection
from tests.security.middle import Leg, Middle
from tests.unit.core.world import Node, World, peer_settings, public_of, seed_of, tunnel_settings

HUB, EDGE, EVIL = seed_of("hub"), seed_of("edge"), seed_of("evil")
BETWEEN = Address("203.0.113.66", 443)


def attack(change: Callable[[Leg, Message], list[Message]], seconds: float = 20) -> tuple[Node, Node, Middle]:
    world = World()
    world.names["hub.test:443"] = (BETWEEN,)
    hub = world.node(
        "hub", tunnel_settings(HUB, peer_settings("edge", public_of(EDGE)), accept=True), "192.0.2.1", 443
    )
    middle = Middle(world, BETWEEN, hub.address, change)
    at_edge = peer_settings("hub", public_of(HUB), endpoints=("hub.test:443",))
    edge = world.node("edge", tunnel_settings(EDGE, at_edge), "198.51.100.7", 40000)
    world.run(seconds)
    return hub, edge, middle


def nothing_stands(hub: Node, edge: Node) -> None:
    assert hub.state() == "down" and edge.state() == "connecting"
    assert hub.plane.installs == 0 and edge.plane.installs == 0
    assert hub.status().handshakes["completed"] == edge.status().handshakes["completed"] == 0
    assert hub.tunnel.counters["quic-bad"] == edge.tunnel.counters["quic-bad"] == 0


def test_the_attack_works_against_a_protocol_that_does_not_sign_the_exporter() -> None:
    """The test bench itself: when both his TLS connections export the same, the relay is not noticed."""
    honest = Connection.exporter
    try:
        Connection.exporter = property(lambda self: bytes(32))
        hub, edge, middle = attack(lambda leg, message: [message], seconds=2)
        assert edge.status().handshakes["completed"] == hub.status().handshakes["completed"] == 1
        assert [type(m) for m in middle.to_edge.seen] == [Hello, Proof]
    finally:
        Connection.exporter = honest


def test_a_plain_relay_does_not_even_get_past_the_knock() -> None:
    hub, edge, middle = attack(lambda leg, message: [message])
    nothing_stands(hub, edge)
    assert hub.tunnel.counters["knock-bad"] >= 1
    assert middle.to_hub is not None and middle.to_hub.seen == [], "the hub said nothing of itself"


def knock_again(leg: Leg, message: Message) -> list[Message]:
    """He knows the hub's public key, so he can knock for himself."""
    if isinstance(message, Hello):
        exporter = leg.middle.to_hub.link.exporter
        fresh = handshake.knock(public_of(HUB), exporter, message.knocked())
        return [replace(message, knock=fresh)]
    return [message]


def test_a_relay_that_knocks_right_is_found_out_by_the_hubs_signature() -> None:
    def change(leg: Leg, message: Message) -> list[Message]:
        if isinstance(message, Hello) and not leg.middle.to_hub.is_ready:
            leg.middle.on_ready = lambda ready: (
                ready.is_to_hub and ready.send(b"".join(encode(m) for m in knock_again(leg, message)))
            )
            return []
        return knock_again(leg, message)

    hub, edge, middle = attack(change)
    nothing_stands(hub, edge)
    assert edge.tunnel.counters["signature-bad"] >= 1
    assert any(event.reason == "signature-bad" for event in edge.of(HandshakeRejected))
    assert middle.to_edge is not None
    assert Proof not in [type(m) for m in middle.to_edge.seen], "the edge never said who it is"


def impostor(seed: bytes, claimed: bytes) -> Callable[[Leg, Message], list[Message]]:
    """Answers the edge himself, as the hub, signed by `seed`, claiming the key `claimed`."""
    identity = handshake.Identity(seed)

    def change(leg: Leg, message: Message) -> list[Message]:
        if isinstance(message, Hello) and not leg.is_to_hub:
            ours = handshake.offer("auto", Suite.AES_256_GCM, 1420)
            half = handshake.HubHandshake(identity, ours, leg.link.exporter)
            welcome = half.welcome(message, 77, random.Random(5).randbytes)
            bare = replace(welcome, static=claimed)
            signature = identity.sign(handshake.hub_transcript(leg.link.exporter, message, bare))
            leg.send(encode(replace(bare, signature=signature)))
        return []

    return change


def test_an_impostor_with_a_key_of_his_own_is_refused() -> None:
    hub, edge, middle = attack(impostor(EVIL, public_of(EVIL)))
    nothing_stands(hub, edge)
    assert edge.tunnel.counters["hub-unknown"] >= 1
    assert [type(m) for m in middle.to_edge.seen] == [Hello]


def test_an_impostor_who_claims_the_hubs_key_is_refused() -> None:
    hub, edge, _ = attack(impostor(EVIL, public_of(HUB)))
    nothing_stands(hub, edge)
    assert edge.tunnel.counters["signature-bad"] >= 1


def test_the_hub_refuses_a_proof_made_for_another_connection() -> None:
    """The worst case: a careless edge proved itself to the man in the middle. The hub still refuses."""
    careless: dict[str, object] = {}

    def change(leg: Leg, message: Message) -> list[Message]:
        middle = leg.middle
        if isinstance(message, Hello) and not leg.is_to_hub:
            careless["hello"] = message
            middle.on_ready = lambda ready: start(ready) if ready.is_to_hub else None
            if middle.to_hub is not None and middle.to_hub.is_ready:
                start(middle.to_hub)
        if isinstance(message, Welcome) and leg.is_to_hub:
            # What an edge that does not check the hub would sign, on its own TLS connection.
            hello, exporter = careless["sent"], middle.to_edge.link.exporter
            edge = handshake.Identity(EDGE)
            transcript = handshake.edge_transcript(exporter, hello, message, edge.public)
            leg.send(encode(Proof(edge.public, edge.sign(transcript))))
        return []

    def start(leg: Leg) -> None:
        hello = careless["hello"]
        assert isinstance(hello, Hello)
        fresh = replace(hello, knock=handshake.knock(public_of(HUB), leg.link.exporter, hello.knocked()))
        careless["sent"] = fresh
        leg.send(encode(fresh))

    hub, edge, _ = attack(change)
    nothing_stands(hub, edge)
    assert hub.tunnel.counters["signature-bad"] >= 1


def test_messages_reflected_to_their_sender_are_refused() -> None:
    def reflect(leg: Leg, message: Message) -> list[Message]:
        leg.send(encode(message))
        return []

    hub, edge, _ = attack(reflect)
    nothing_stands(hub, edge)
    assert edge.tunnel.counters["message-bad"] >= 1


def test_messages_out_of_order_close_the_connection() -> None:
    for early in (Accept(Address("192.0.2.9", 9)), Rekey(1, bytes(32)), Proof(bytes(32), bytes(64))):

        def change(leg: Leg, message: Message, early: Message = early) -> list[Message]:
            leg.send(encode(early))
            return []

        hub, edge, _ = attack(change)
        nothing_stands(hub, edge)
        assert edge.tunnel.counters["message-bad"] >= 1
        # And to a hub:
        world_hub, _, middle = attack(lambda leg, message, early=early: [early])
        assert world_hub.tunnel.counters["message-bad"] >= 1
        assert world_hub.plane.installs == 0
        assert middle.to_hub is not None and middle.to_hub.seen == []
