"""The search for the path's MTU in its place: between two tunnels, through moves, silence and the carrier."""

from __future__ import annotations

from oxidized.core.events import MtuChanged, TransportChanged
from tests.unit.core.world import Node, Rule, World, blackout, no_udp_data


def at_most(payload_max: int) -> Rule:
    return lambda packet: len(packet.data) > payload_max


def up_to_the_hub(payload_max: int) -> Rule:
    return lambda packet: packet.target.port == 443 and len(packet.data) > payload_max


def running(*rules: Rule, **other: object) -> tuple[World, Node, Node]:
    world = World()
    world.rules += rules
    hub, edge = world.pair(**other)
    assert world.run(10, until=lambda: edge.state() == "up" and hub.state() == "up")
    world.run(10)
    return world, hub, edge


def mtus(node: Node) -> list[int]:
    return [event.mtu_bytes for event in node.of(MtuChanged)]


def data_sizes(node: Node, since: int = 0) -> list[int]:
    return [len(packet.data) for packet in node.sent[since:] if not packet.is_quic]


def test_on_a_normal_path_nothing_is_told_and_one_large_ping_goes_each_way() -> None:
    _, hub, edge = running()
    for node in (hub, edge):
        assert mtus(node) == [] and node.status().mtu_bytes == 1420
        assert data_sizes(node).count(1452) <= 2, "anew when the first packets move the path"
        assert node.plane.peers[1].payload_max == 1444


def test_each_end_searches_the_way_it_sends() -> None:
    world, hub, edge = running(up_to_the_hub(1372))
    assert (edge.status().mtu_bytes, hub.status().mtu_bytes) == (1340, 1420)
    assert edge.plane.peers[1].payload_max == 1364
    assert mtus(edge) == [1280, 1340] and mtus(hub) == []
    assert edge.data(bytes(1339)) and not edge.data(bytes(1341))
    world.run(1)
    assert len(hub.payloads()) == 1


def test_a_size_that_is_answered_says_nothing_of_the_transport() -> None:
    """In the carrier the probes of the transport alone decide about the way back."""
    world, hub, edge = running(no_udp_data)
    assert world.run(20, until=lambda: edge.status().transport == hub.status().transport == "quic")
    before = [len(node.sent) for node in (hub, edge)]
    world.run(100)
    for node, since in zip((hub, edge), before, strict=True):
        assert node.status().mtu_bytes == 1280
        assert max(data_sizes(node, since), default=0) < 100, "no search in the carrier"
    world.rules.clear()
    assert world.run(100, until=lambda: edge.status().transport == "udp")
    world.run(3)
    assert (edge.status().mtu_bytes, hub.status().mtu_bytes) == (1420, 1420)
    assert edge.of(TransportChanged)[-1].mtu_bytes == 1420


def test_the_edge_moves_into_a_narrow_network() -> None:
    world, hub, edge = running()
    edge.move("203.0.113.50")
    world.rules.append(at_most(1400))
    edge.data(b"here I am")
    world.run(30)
    assert 1360 <= hub.status().mtu_bytes <= 1368
    for _ in range(26):
        edge.data(b"still")
        world.run(5)
    assert 1360 <= edge.status().mtu_bytes <= 1368
    assert mtus(edge)[-1] == edge.status().mtu_bytes


def test_a_new_session_begins_with_what_is_known_of_the_way() -> None:
    """The edge knows nothing after its restart; the hub knows where it sends, and looks for more in time."""
    world, hub, edge = running(at_most(1372))
    assert mtus(edge)[-1] == mtus(hub)[-1] == 1340
    world.rules.clear()
    edge.die()
    edge.start()
    world.run(20)
    assert (edge.status().mtu_bytes, hub.status().mtu_bytes) == (1420, 1340)
    for _ in range(8):
        hub.data(b"something to send")
        world.run(5)
    assert hub.status().mtu_bytes == mtus(hub)[-1] == 1420


def test_silence_is_noticed_while_the_search_goes_on() -> None:
    """Nothing but probes goes out: they must ask for a sign of life, too."""
    world, _, edge = running(keepalive_ns=0)
    world.rules.append(blackout)
    edge.data(b"anybody?")
    assert world.run(30, until=lambda: edge.state() == "silent")
    sent = len(edge.sent)
    world.run(60)
    assert max(data_sizes(edge, sent), default=0) < 100, "no large pings into the dark"
    world.rules.clear()
    assert world.run(60, until=lambda: edge.state() == "up")
    world.run(5)
    assert edge.status().mtu_bytes == 1420


def test_what_both_take_is_the_upper_bound() -> None:
    _, hub, edge = running(hub={"mtu_bytes": 9000}, edge={"mtu_bytes": 1300})
    assert (edge.status().mtu_bytes, hub.status().mtu_bytes) == (1300, 1300)
    assert max(data_sizes(hub)) == 1332
    _, hub, edge = running(hub={"mtu_bytes": 9000}, edge={"mtu_bytes": 9000})
    assert (edge.status().mtu_bytes, hub.status().mtu_bytes) == (9000, 9000)


def test_no_session_no_size() -> None:
    world, hub, edge = running(at_most(1372))
    edge.tunnel.close(world.now_ns)
    edge.pump()
    world.run(5)
    assert hub.status().transport == "none" and hub.of(TransportChanged)[-1].mtu_bytes == 1420
    sent = len(hub.sent)
    world.run(100)
    assert data_sizes(hub, sent) == []
