"""Where packets of a path go: to where the newest one came from (PROTOCOL.md section 6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oxidized.core.plane import CARRIER, Address, EventType
from tests.differential.reference import Ping, Pong
from tests.native.rig import EDGE, ELSEWHERE, HUB, PAYLOAD_MAX, Pair, S, Solo, events, ipv4, numbered

V6 = Address("2001:db8::7", 4000, sock=1, local="2001:db8::1")
ROUTES = [
    Address("192.0.2.1", 1001),
    Address("192.0.2.9", 1000),
    Address("192.0.2.1", 1000, sock=3),
    Address("192.0.2.1", 1000, local="203.0.113.1"),
    V6,
    Address("fe80::1", 5, scope_id=4),
]


def address(rig: Solo, path: int = 0) -> Address | None:
    return rig.plane.peer_counters(rig.peer).paths[path].address


@pytest.mark.parametrize("is_initiator", [False, True], ids=["hub", "edge"])
@pytest.mark.parametrize("route", ROUTES, ids=repr)
def test_the_newest_packet_moves_the_path(route: Address, is_initiator: bool) -> None:
    """Address, port, socket alike, and at the hub its own address, which the edge leaves to the kernel.

    An event comes only when the peer is elsewhere."""
    rig = Solo(is_initiator=is_initiator)
    rig.hear(ipv4(), source=route)
    learnt = replace(route, local="") if is_initiator else route
    assert address(rig) == learnt
    moved = [(event.peer, event.path, event.address) for event in events(rig.plane, EventType.ROAMED)]
    is_elsewhere = (route.ip, route.port) != (EDGE.ip, EDGE.port)
    assert moved == ([(rig.peer, 0, learnt)] if is_elsewhere else [])
    rig.send()
    assert [to for _, to in rig.sent()] == [learnt]


def test_an_older_packet_does_not() -> None:
    rig = Solo()
    late = rig.far.seal(ipv4())
    rig.hear(ipv4())
    rig.receive(late, source=ELSEWHERE)
    assert len(rig.delivered()) == 2
    assert address(rig) == EDGE
    assert events(rig.plane, EventType.ROAMED) == []


def test_neither_copies_nor_forgeries_do() -> None:
    rig = Solo()
    first = rig.far.seal(ipv4())
    rig.receive(first)
    forged = bytearray(rig.far.seal(ipv4()))
    forged[-1] ^= 1
    rig.receive(first, bytes(forged), source=ELSEWHERE)
    assert address(rig) == EDGE


@pytest.mark.parametrize("kind", [Ping, Pong])
def test_a_probe_does_not_but_is_answered_where_it_came_from(kind: type) -> None:
    rig = Solo()
    rig.hear(ipv4())
    rig.hear(kind(1, 5, 6).pack(), source=ELSEWHERE)
    assert address(rig) == EDGE
    answers = [(rig.far.open(datagram).of(Pong), to) for datagram, to in rig.sent()]
    assert answers == ([([Pong(1, 5, 6)], ELSEWHERE)] if kind is Ping else [])
    rig.hear(Ping(0, 5, 6).pack(), source=ELSEWHERE)
    assert address(rig) == ELSEWHERE


def test_a_packet_that_is_dropped_later_moves_it_all_the_same() -> None:
    """Authentic is what counts: a wrong inner source is no reason to send to the wrong place."""
    rig = Solo()
    rig.hear(ipv4("10.9.9.9"), source=ELSEWHERE)
    assert address(rig) == ELSEWHERE


def test_each_path_roams_alone() -> None:
    rig = Solo()
    rig.plane.path_set(rig.peer, 1, HUB, PAYLOAD_MAX)
    rig.hear(ipv4(), path=1, source=ELSEWHERE)
    assert (address(rig, 0), address(rig, 1)) == (EDGE, ELSEWHERE)
    assert [event.path for event in events(rig.plane, EventType.ROAMED)] == [1]


def test_a_path_without_an_address_learns_it_and_carries_full_packets() -> None:
    rig = Solo(address=None)
    rig.hear(ipv4(), source=ELSEWHERE)
    full = ipv4("10.0.0.2", "10.0.0.1", bytes(1420 - 20))
    rig.send(full)
    assert [to for _, to in rig.sent()] == [ELSEWHERE]


def test_several_moves_in_one_batch_end_at_the_newest() -> None:
    rig = Solo()
    routes = [Address("192.0.2.1", 3000 + n) for n in range(4)]
    datagrams = [rig.far.seal(numbered(n)) for n in range(4)]
    order = [0, 2, 3, 1]
    rig.plane.outer_push(rig.now_ns, [(datagrams[n], routes[n]) for n in order])
    assert address(rig) == routes[3]
    assert [event.address for event in events(rig.plane, EventType.ROAMED)] == [
        routes[0],
        routes[2],
        routes[3],
    ]


def test_an_edge_that_moves_is_followed() -> None:
    pair = Pair()
    pair.up([ipv4()])
    pair.run(1 * S)
    pair.edge_source = ELSEWHERE
    pair.up([ipv4()])
    pair.run(1 * S)
    assert pair.hub.peer_counters(pair.hub_peer).paths[0].address == ELSEWHERE


# ---- UDP and the carrier ----


def test_the_edge_chooses_the_transport_itself() -> None:
    rig = Solo(is_initiator=True)
    rig.plane.carrier_push(rig.now_ns, rig.peer, [rig.far.seal(ipv4())])
    assert address(rig) == EDGE
    rig.plane.path_set(rig.peer, 0, CARRIER, 1304)
    rig.hear(ipv4(), source=ELSEWHERE)
    assert address(rig) == CARRIER
    assert events(rig.plane, EventType.ROAMED) == []
    assert len(rig.delivered()) == 2


def test_the_hub_follows_to_the_carrier_and_back() -> None:
    rig = Solo()
    rig.plane.carrier_push(rig.now_ns, rig.peer, [rig.far.seal(ipv4())])
    assert address(rig) == CARRIER
    rig.send()
    assert rig.sent() == []
    ((peer, datagram),) = rig.plane.poll_carrier()
    assert peer == rig.peer and rig.far.open(datagram).inner
    rig.hear(ipv4(), source=ELSEWHERE)
    assert address(rig) == ELSEWHERE
    assert [event.address for event in events(rig.plane, EventType.ROAMED)] == [CARRIER, ELSEWHERE]
