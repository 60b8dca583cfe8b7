"""What the operator does to a running tunnel: add, remove, change, disable, close."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from oxidized.core.events import PeerDown, Resolve, TransportChanged
from oxidized.core.plane import Address
from tests.unit.core.world import (
    SECOND_NS,
    Node,
    World,
    peer_settings,
    public_of,
    seed_of,
    tunnel_settings,
)


def running(**other: object) -> tuple[World, Node, Node]:
    world = World()
    hub, edge = world.pair(**other)
    assert world.run(10, until=lambda: edge.state() == "up" and hub.state() == "up")
    return world, hub, edge


def test_routes_go_to_the_packet_path() -> None:
    _, hub, edge = running()
    assert edge.plane.routes == [(ipaddress.ip_network("10.70.0.0/24"), 1)]
    assert hub.plane.routes == [(ipaddress.ip_network("10.70.0.0/24"), 1)]


def test_new_routes_timers_and_names_leave_the_session_alone() -> None:
    world, _, edge = running()
    old = edge.settings.peers[0]
    new = replace(
        old,
        allowed_ips=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("fd70::/64")),
        keepalive_ns=7 * SECOND_NS,
        dead_after_ns=9 * SECOND_NS,
        resolve_ns=10 * SECOND_NS,
    )
    edge.tunnel.peer_update(new, world.now_ns)
    edge.pump()
    world.run(25)
    assert edge.plane.routes == [(network, 1) for network in new.allowed_ips]
    assert edge.plane.peers[1].keepalive_ns == 7 * SECOND_NS
    assert edge.plane.peers[1].dead_after_ns == 9 * SECOND_NS
    assert edge.plane.installs == 1 and edge.ups_and_downs() == ["up"]
    assert len(edge.of(Resolve)) >= 3


def test_another_endpoint_is_dialled_beside_the_living_session() -> None:
    world, hub, edge = running()
    world.names["new.test:443"] = (Address("192.0.2.77", 443),)
    new = replace(edge.settings.peers[0], endpoints=("new.test:443",))
    edge.tunnel.peer_update(new, world.now_ns)
    edge.pump()
    world.run(10)
    assert edge.state() == "up", "the old session serves until the new one is proved"
    hub.move("192.0.2.77", 443)
    assert world.run(20, until=lambda: edge.status().handshakes["completed"] == 2)
    world.run(1)
    assert edge.status().endpoint is not None and edge.status().endpoint.ip == "192.0.2.77"
    assert edge.ups_and_downs()[0] == "up"


def test_another_key_is_another_peer() -> None:
    world, _, edge = running()
    edge.tunnel.peer_update(replace(edge.settings.peers[0], public_key=bytes(32)), world.now_ns)
    edge.pump()
    assert edge.of(PeerDown) == [PeerDown("hub", "removed")]
    assert edge.plane.sessions == {}
    world.run(20)
    assert edge.state() == "connecting"
    assert edge.status().plane_peer == 2


def test_disable_and_enable() -> None:
    world, hub, edge = running()
    settings = edge.settings.peers[0]
    edge.tunnel.peer_update(replace(settings, enable=False), world.now_ns)
    edge.pump()
    world.run(1)
    assert (edge.state(), hub.state()) == ("disabled", "down")
    assert edge.of(PeerDown) == [PeerDown("hub", "disabled")]
    assert edge.plane.peers == {} and edge.plane.routes == []
    assert edge.status().plane_peer is None
    sent = len(edge.sent)
    world.run(300)
    assert len(edge.sent) == sent, "a disabled peer is quiet"
    edge.tunnel.resolved("hub", (Address("192.0.2.1", 443),), world.now_ns)
    edge.tunnel.peer_update(settings, world.now_ns)
    edge.pump()
    assert world.run(10, until=lambda: edge.state() == "up")


def test_a_hub_that_disables_a_peer_refuses_it() -> None:
    world, hub, edge = running()
    hub.tunnel.peer_update(replace(hub.settings.peers[0], enable=False), world.now_ns)
    hub.pump()
    world.run(10)
    assert hub.state() == "disabled" and edge.state() == "connecting"
    assert hub.tunnel.counters["unknown-peer"] >= 1
    assert hub.plane.sessions == {}


def test_remove_and_add() -> None:
    world, hub, edge = running()
    hub.tunnel.peer_remove("edge", world.now_ns)
    hub.pump()
    world.run(1)
    assert hub.tunnel.status(world.now_ns) == [] and hub.plane.peers == {}
    hub.tunnel.peer_add(hub.settings.peers[0], world.now_ns)
    hub.pump()
    assert world.run(20, until=lambda: edge.state() == "up" and hub.state() == "up")


def test_late_answers_for_peers_that_are_gone_mean_nothing() -> None:
    world, _, edge = running()
    edge.tunnel.peer_remove("hub", world.now_ns)
    edge.tunnel.resolved("hub", (Address("192.0.2.1", 443),), world.now_ns)
    edge.tunnel.resolved("nobody", (), world.now_ns)
    edge.pump()
    world.run(1)
    assert edge.tunnel.status(world.now_ns) == []


def test_the_transport_can_be_changed_on_the_way() -> None:
    world, hub, edge = running()
    settings = edge.settings.peers[0]
    for transport in ("quic", "udp"):
        edge.tunnel.peer_update(replace(settings, transport=transport), world.now_ns)
        edge.pump()
        world.run(3)
        assert edge.status().transport == hub.status().transport == transport
        assert edge.of(TransportChanged)[-1].reason == "configured"
    assert edge.plane.installs == 1


def test_a_role_change_starts_over() -> None:
    world, _, edge = running()
    edge.tunnel.peer_update(replace(edge.settings.peers[0], endpoints=()), world.now_ns)
    edge.pump()
    assert edge.state() == "down"


def test_limits_can_be_changed_on_the_way() -> None:
    world, hub, edge = running()
    hub.tunnel.tunnel_update(replace(hub.settings, retry="always", max_handshakes_per_second=1), world.now_ns)
    edge.die()
    edge.start()
    assert world.run(10, until=lambda: edge.status().handshakes["completed"] == 1)
    assert hub.tunnel.counters["retry-sent"] == 1


@pytest.mark.parametrize("side", ["hub", "edge"])
def test_a_key_that_is_not_ours_to_change(side: str) -> None:
    world, hub, edge = running()
    node = hub if side == "hub" else edge
    with pytest.raises(AssertionError):
        node.tunnel.tunnel_update(replace(node.settings, private_key=seed_of("x")), world.now_ns)


def test_a_tunnel_without_peers_is_idle() -> None:
    world = World()
    node = world.node("lonely", tunnel_settings(seed_of("lonely"), accept=True), "192.0.2.5", 443)
    assert node.tunnel.next_timeout_ns() is None
    assert node.tunnel.poll_event() is None and node.tunnel.poll_transmit() is None
    node.tunnel.peer_add(peer_settings("later", public_of(seed_of("later"))), world.now_ns)
    assert node.state() == "down"
