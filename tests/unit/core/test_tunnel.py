"""Two tunnels on an in-memory network in virtual time: up, rekey, restart, roaming, blackout, carrier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oxidized.core.events import HandshakeRejected, PeerDown, PeerUp, Pong, Rekeyed, Roamed, TransportChanged
from oxidized.core.plane import CARRIER, Address, Suite
from tests.unit.core.fake_plane import SLOTS, Session
from tests.unit.core.world import (
    SECOND_NS,
    Node,
    World,
    blackout,
    no_udp_data,
    peer_settings,
    public_of,
    seed_of,
    tunnel_settings,
)


def up(world: World, *nodes: Node, within_s: float = 30.0) -> None:
    assert world.run(within_s, until=lambda: all(node.state() == "up" for node in nodes))


def exchange(world: World, hub: Node, edge: Node, word: bytes) -> None:
    """A packet each way arrives."""
    assert edge.data(word + b" from edge") and hub.data(word + b" from hub")
    world.run(0.1)
    assert word + b" from edge" in hub.payloads()
    assert word + b" from hub" in edge.payloads()


def clean(*nodes: Node) -> None:
    """Nothing was counted as wrong on either side."""
    for node in nodes:
        assert {name: count for name, count in node.tunnel.counters.items() if count} == {}


def test_an_edge_comes_up_and_data_flows() -> None:
    world = World()
    hub, edge = world.pair()
    assert (hub.state(), edge.state()) == ("down", "resolving")
    up(world, hub, edge)
    exchange(world, hub, edge, b"hello")
    clean(hub, edge)
    assert edge.ups_and_downs() == hub.ups_and_downs() == ["up"]
    assert edge.status().observed_address == Address("198.51.100.7", 40000)
    assert edge.status().handshakes == {"completed": 1, "failed": 0, "rejected": 0}
    assert edge.plane.peers[1].payload_max == 1444


def test_it_takes_four_round_trips_and_the_look_up() -> None:
    world = World()
    hub, edge = world.pair()
    start = world.now_ns
    up(world, hub, edge)
    # look-up, TLS, HELLO (on the edge's second flight) to WELCOME, PROOF to ACCEPT, PING to PONG
    assert world.now_ns - start == (1 + 4 * 2) * 20_000_000


def test_both_ends_hold_the_same_keys() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    (_, edge_rx, edge_tx), (_, hub_rx, hub_tx) = edge.plane.key_log[-1], hub.plane.key_log[-1]
    assert (edge_rx, edge_tx) == (hub_tx, hub_rx)
    assert edge_rx != edge_tx


def test_a_ping_is_answered_with_its_token() -> None:
    world = World()
    hub, edge = world.pair()
    assert edge.ping(5, "hub") is False
    up(world, hub, edge)
    assert edge.ping(5, "hub") is True
    world.run(1)
    assert edge.of(Pong) == [Pong("hub", 5, 40_000_000, "udp")]
    assert edge.tunnel.ping("nobody", 5, world.now_ns) is False


def test_rekey_by_time_changes_the_keys_and_loses_nothing() -> None:
    world = World()
    hub, edge = world.pair(hub={"rekey_after_ns": 10 * SECOND_NS}, edge={"rekey_after_ns": 10 * SECOND_NS})
    up(world, hub, edge)
    sent = 0
    for _ in range(450):
        sent += edge.data(b"e%d" % sent)
        hub.data(b"h%d" % sent)
        world.run(0.1)
    assert [event.epoch for event in edge.of(Rekeyed)] == [1, 2, 3, 4]
    assert [event.epoch for event in hub.of(Rekeyed)] == [1, 2, 3, 4]
    assert len(hub.payloads()) == len(edge.payloads()) == sent == 450
    assert edge.plane.drops == hub.plane.drops == {}
    assert len({tx for _, _, tx in edge.plane.key_log}) == 5
    assert edge.plane.key_log == [(epoch, tx, rx) for epoch, rx, tx in hub.plane.key_log]
    assert edge.status().rekeys == 4 and edge.status().epoch == 4
    clean(hub, edge)


def test_packets_of_the_old_epoch_that_come_late_are_opened() -> None:
    world = World()
    hub, edge = world.pair(edge={"rekey_after_ns": 10 * SECOND_NS})
    up(world, hub, edge)
    world.rules.append(no_udp_data)
    edge.data(b"late")
    held = edge.sent[-1]
    world.rules.clear()
    world.run(11)
    assert hub.status().epoch == 1
    world.deliver(held)
    assert hub.payloads() == [b"late"]


@pytest.mark.parametrize("busy", ["edge", "hub"])
def test_rekey_by_volume_from_either_side(busy: str) -> None:
    world = World()
    hub, edge = world.pair(hub={"rekey_packets": 100}, edge={"rekey_packets": 100})
    up(world, hub, edge)
    sender = edge if busy == "edge" else hub
    for number in range(350):
        sender.data(b"%d" % number)
        world.run(0.01)
    world.run(1)
    receiver = hub if busy == "edge" else edge
    assert len(receiver.payloads()) == 350
    assert [event.epoch for event in sender.of(Rekeyed)] == [1, 2, 3]
    clean(hub, edge)


def test_a_hub_that_wants_keys_sooner_gets_them() -> None:
    world = World()
    hub, edge = world.pair(hub={"rekey_after_ns": 8 * SECOND_NS})
    up(world, hub, edge)
    world.run(25)
    assert [event.epoch for event in hub.of(Rekeyed)] == [1, 2]


def test_a_new_rekey_time_counts_from_the_start_of_the_epoch() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    world.run(20)
    edge.tunnel.tunnel_update(replace(edge.settings, rekey_after_ns=30 * SECOND_NS), world.now_ns)
    edge.pump()
    world.run(11)
    assert [event.epoch for event in edge.of(Rekeyed)] == [1]


def test_a_hub_that_restarts_is_found_again() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    hub.die()
    world.run(3)
    hub.start()
    edge.data(b"into the void")
    assert world.run(20, until=lambda: hub.state() == "up")
    world.run(1)
    exchange(world, hub, edge, b"again")
    assert edge.ups_and_downs() == ["up", "silent", "up"]


def test_an_idle_edge_finds_out_by_its_keepalive() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    hub.die()
    hub.start()
    assert world.run(20 + 5 + 10, until=lambda: hub.state() == "up")


def test_an_edge_that_restarts_replaces_its_session() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    world.run(2)
    edge.die()
    edge.start()
    up(world, edge)
    world.run(1)
    exchange(world, hub, edge, b"again")
    assert hub.ups_and_downs() == ["up"]
    assert hub.tunnel.counters["replaced"] == 1
    world.run(200)
    assert hub.tunnel._core.quic.connections == 1


def test_bye_takes_the_peer_down_at_once_and_the_edge_tries_again() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    hub.tunnel.close(world.now_ns)
    hub.pump()
    world.run(0.1)
    assert edge.state() == "connecting"
    assert edge.of(PeerDown) == [PeerDown("hub", "bye")]
    assert edge.plane.sessions == {} and hub.plane.peers == {} and hub.plane.routes == []
    assert edge.status().transport == "none"
    hub.die()
    hub.start()
    up(world, hub, edge)
    exchange(world, hub, edge, b"again")


def test_a_session_after_bye_is_shown_with_its_transport() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    edge.tunnel.close(world.now_ns)
    edge.pump()
    world.run(1)
    assert hub.status().transport == "none"
    edge.die()
    edge.start()
    up(world, hub, edge)
    assert hub.status().transport == "udp"
    assert [event.transport for event in hub.of(TransportChanged)] == ["udp", "none", "udp"]


def test_an_edge_that_closes_leaves_nothing_at_the_hub() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    edge.tunnel.close(world.now_ns)
    edge.pump()
    world.run(1)
    assert hub.state() == "down" and hub.plane.sessions == {}
    assert hub.of(PeerDown) == [PeerDown("edge", "bye")]
    assert edge.state() == "down"
    world.run(300)
    assert edge.tunnel._core.quic.connections == 0 == hub.tunnel._core.quic.connections


def test_an_edge_that_changes_its_address_keeps_its_session() -> None:
    world = World()
    hub, edge = world.pair(edge={"rekey_after_ns": 10 * SECOND_NS})
    up(world, hub, edge)
    for number in range(1, 6):
        edge.move(f"203.0.113.{number}")
        edge.data(b"moved %d" % number)
        world.run(0.2)
        exchange(world, hub, edge, b"at %d" % number)
        world.run(10)
    assert [str(event.address) for event in hub.of(Roamed)] == [f"203.0.113.{n}:41000" for n in range(1, 6)]
    assert hub.status().endpoint is not None and hub.status().endpoint.ip == "203.0.113.5"
    assert edge.ups_and_downs() == hub.ups_and_downs() == ["up"]
    assert edge.status().handshakes["completed"] == 1
    assert edge.status().rekeys >= 4, "the control connection moved along"
    clean(hub, edge)


def test_a_minute_of_blackout_heals_within_20_seconds() -> None:
    for offset_ms in range(0, 9000, 1300):
        world = World()
        hub, edge = world.pair()
        up(world, hub, edge)
        world.run(1)
        world.rules.append(blackout)
        edge.data(b"lost")
        world.run(60 + offset_ms / 1000)
        assert edge.state() == "silent"
        world.rules.clear()
        assert world.run(20, until=lambda edge=edge: edge.state() == "up")
        exchange(world, hub, edge, b"back")
        world.run(30)
        assert edge.state() == hub.state() == "up"
        assert edge.ups_and_downs() == ["up", "silent", "up"]


def test_a_blackout_longer_than_quic_lives_heals_too() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    world.rules.append(blackout)
    hub.data(b"lost")
    edge.data(b"lost")
    world.run(400)
    assert hub.state() == "down", "a hub forgets an edge it has not heard for three minutes"
    assert hub.plane.sessions == {}
    world.rules.clear()
    up(world, hub, edge, within_s=20)
    exchange(world, hub, edge, b"back")


def test_heavy_loss_delays_but_does_not_break() -> None:
    world = World()
    hub, edge = world.pair()
    state = 12345

    def lossy(_: object) -> bool:
        nonlocal state
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        return state >> 16 & 0xFF < 77  # 30 %

    world.rules.append(lossy)
    up(world, hub, edge, within_s=120)
    world.run(600)
    world.rules.clear()
    world.run(30)
    assert edge.state() == hub.state() == "up"
    exchange(world, hub, edge, b"through")


def test_an_accept_that_is_lost_for_good_does_not_leave_two_halves() -> None:
    """The hub is on the new session, the edge on the old one: the edge must not rest."""
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    world.rules.append(blackout)
    edge.data(b"lost")
    world.run(7)
    world.rules[:] = [lambda packet: packet.is_quic and hub.plane.installs == 2]
    assert world.run(20, until=lambda: hub.plane.installs == 2)
    failed = edge.status().handshakes["failed"]
    assert world.run(7, until=lambda: edge.status().handshakes["failed"] == failed + 1)
    assert edge.state() == "up", "it hears the hub, which is on the new session"
    world.rules.clear()
    assert world.run(4, until=lambda: edge.status().handshakes["completed"] == 2)
    assert edge.tunnel.counters["control-silent"] == 0, "and it did not take a time-out to find out"
    before = len(hub.payloads())
    for _ in range(60):
        assert edge.data(b"e") and hub.data(b"h")
        world.run(1)
    assert len(hub.payloads()) == before + 60
    assert edge.ups_and_downs() == ["up", "silent", "up"]


def test_losing_the_control_connection_alone_is_not_down() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    world.rules.append(lambda packet: packet.is_quic)
    for _ in range(90):
        edge.data(b"x")
        hub.data(b"y")
        world.run(1)
    assert edge.ups_and_downs() == hub.ups_and_downs() == ["up"]
    assert edge.tunnel.counters["control-silent"] >= 1
    world.rules.clear()
    assert world.run(20, until=lambda: edge.status().handshakes["completed"] == 2)
    assert edge.ups_and_downs() == hub.ups_and_downs() == ["up"]
    assert len(hub.payloads()) == len(edge.payloads()) == 90


def test_blocked_udp_goes_into_the_carrier_and_quietly_returns() -> None:
    world = World()
    world.rules.append(no_udp_data)
    hub, edge = world.pair()
    up(world, hub, edge)
    assert world.run(6, until=lambda: edge.status().transport == "quic")
    world.run(0.5)
    assert hub.status().transport == "quic"
    assert edge.of(TransportChanged)[-1] == TransportChanged("hub", "quic", "udp blocked", 1280)
    assert hub.of(TransportChanged)[-1].mtu_bytes == 1280
    exchange(world, hub, edge, b"carried")
    assert edge.status().endpoint == CARRIER
    assert edge.plane.peers[1].payload_max == hub.plane.peers[1].payload_max == 1304
    edge.ping(9, "hub")
    world.run(1)
    assert edge.of(Pong)[-1].via == "quic"

    world.rules.clear()
    assert world.run(100, until=lambda: edge.status().transport == "udp")
    world.run(0.5)
    assert hub.status().transport == "udp"
    assert edge.of(TransportChanged)[-1] == TransportChanged("hub", "udp", "udp answers again", 1420)
    exchange(world, hub, edge, b"straight")
    assert edge.plane.peers[1].payload_max == hub.plane.peers[1].payload_max == 1444
    assert edge.ups_and_downs() == ["up"] == hub.ups_and_downs()
    clean(hub, edge)


def test_a_full_sized_packet_fits_the_carrier() -> None:
    world = World()
    hub, edge = world.pair(transport="quic")
    up(world, hub, edge)
    world.run(1)
    full = bytes(1279)  # and the fake's first byte: 1280 inner bytes
    for _ in range(20):
        assert edge.data(full) and hub.data(full)
        world.run(0.1)
    world.run(2)
    assert len(hub.payloads()) == len(edge.payloads()) == 20
    assert all(len(packet.data) <= 1350 for node in (hub, edge) for packet in node.sent)
    clean(hub, edge)


def test_a_flood_into_the_carrier_is_bounded_and_counted() -> None:
    world = World()
    hub, edge = world.pair(transport="quic")
    up(world, hub, edge)
    world.run(1)
    handle = edge.status().plane_peer
    assert handle is not None
    for _ in range(1000):
        edge.plane.inner(handle, bytes(1200), world.now_ns)
    edge.pump()
    refused = edge.tunnel.counters["carrier-full"]
    assert 900 <= refused < 1000
    world.run(10)
    assert len(hub.payloads()) == 1000 - refused


def test_udp_that_fails_later_goes_into_the_carrier_too() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    world.run(60)
    world.rules.append(no_udp_data)
    edge.data(b"lost")
    assert world.run(20, until=lambda: edge.status().transport == "quic")
    world.run(1)
    exchange(world, hub, edge, b"carried")
    world.run(120)
    assert edge.state() == hub.state() == "up"
    exchange(world, hub, edge, b"still")


def test_one_way_udp_block_settles_in_the_carrier() -> None:
    world = World()
    hub, edge = world.pair()
    world.rules.append(lambda packet: not packet.is_quic and packet.source.ip == "198.51.100.7")
    up(world, hub, edge)
    world.run(10)
    for number in range(20):
        exchange(world, hub, edge, b"word %d" % number)
    assert edge.status().transport == hub.status().transport == "quic"


@pytest.mark.parametrize("forced", ["udp", "quic"])
def test_a_forced_transport_is_kept(forced: str) -> None:
    world = World()
    hub, edge = world.pair(transport=forced)
    up(world, hub, edge)
    world.run(5)
    assert edge.status().transport == hub.status().transport == forced
    exchange(world, hub, edge, b"as told")
    world.rules.append(no_udp_data)
    edge.data(b"x")
    world.run(60)
    assert edge.status().transport == forced
    assert edge.state() == ("silent" if forced == "udp" else "up")
    assert edge.ups_and_downs() == (["up", "silent"] if forced == "udp" else ["up"])
    if forced == "quic":
        assert not any(not packet.is_quic for packet in edge.sent)


def test_addresses_are_tried_in_turn() -> None:
    world = World()
    world.names["hub.test:443"] = (Address("2001:db8::dead", 443), Address("192.0.2.1", 443))
    hub, edge = world.pair()
    up(world, hub, edge, within_s=15)
    assert edge.status().handshakes == {"completed": 1, "failed": 1, "rejected": 0}


def test_a_name_that_moves_is_followed_after_the_old_place_died_and_not_before() -> None:
    world = World()
    hub, edge = world.pair()
    up(world, hub, edge)
    world.names["hub.test:443"] = (Address("192.0.2.99", 443),)
    world.run(130)
    assert edge.status().endpoint is not None and edge.status().endpoint.ip == "192.0.2.1"
    assert edge.ups_and_downs() == ["up"]
    hub.move("192.0.2.99", 443)
    hub.die()
    hub.start()
    edge.data(b"x")
    assert world.run(30, until=lambda: hub.state() == "up")


def test_a_name_that_does_not_resolve_yet_is_asked_again() -> None:
    world = World()
    world.names["hub.test:443"] = ()
    hub, edge = world.pair()
    world.run(60)
    assert edge.state() == "resolving"
    world.names["hub.test:443"] = (Address("192.0.2.1", 443),)
    up(world, hub, edge, within_s=15)


def test_a_lost_answer_of_the_resolver_does_not_hang_the_peer() -> None:
    world = World()
    answers = world.resolve
    world.resolve = lambda node, event: None
    hub, edge = world.pair()
    world.run(30)
    world.resolve = answers
    up(world, hub, edge, within_s=15)


def test_one_hub_serves_many_edges() -> None:
    world = World()
    seeds = [seed_of(f"edge {number}") for number in range(20)]
    hub_seed = seed_of("hub")
    at_hub = [peer_settings(f"edge{n}", public_of(seed), allowed_ips=()) for n, seed in enumerate(seeds)]
    world.names["hub.test:443"] = (Address("192.0.2.1", 443),)
    hub = world.node("hub", tunnel_settings(hub_seed, *at_hub, accept=True), "192.0.2.1", 443)
    edges = [
        world.node(
            f"edge{n}",
            tunnel_settings(seed, peer_settings("hub", public_of(hub_seed), endpoints=("hub.test:443",))),
            f"198.51.100.{n + 1}",
            40000,
        )
        for n, seed in enumerate(seeds)
    ]
    assert world.run(30, until=lambda: all(edge.state() == "up" for edge in edges))
    for number, edge in enumerate(edges):
        edge.data(b"from %d" % number)
        hub.data(b"to %d" % number, index=number)
    world.run(1)
    assert sorted(hub.plane.delivered) == sorted((n + 1, b"from %d" % n) for n in range(20))
    for number, edge in enumerate(edges):
        assert edge.payloads() == [b"to %d" % number]


def test_two_hosts_with_one_key_do_not_spin() -> None:
    world = World()
    hub, edge = world.pair()
    twin = world.node("twin", edge.settings, "198.51.100.8", 40000)
    world.run(120)
    total = edge.status().handshakes["completed"] + twin.status().handshakes["completed"]
    assert 2 <= total <= 60
    assert hub.tunnel._core.quic.connections <= 4


def test_a_rejection_is_reported_with_its_source() -> None:
    world = World()
    hub, edge = world.pair()
    hub.tunnel.peer_remove("edge", world.now_ns)
    hub.pump()
    world.run(5)
    assert edge.of(HandshakeRejected)[0] == HandshakeRejected("hub", "rejected", Address("192.0.2.1", 443))
    assert hub.of(HandshakeRejected)[0].reason == "unknown-peer"
    assert hub.of(HandshakeRejected)[0].source.ip == "198.51.100.7"
    assert edge.of(PeerUp) == []


@pytest.mark.parametrize("full", ["hub", "edge"])
def test_a_full_table_of_indices_is_a_refusal_and_heals(full: str) -> None:
    world = World()
    hub, edge = world.pair()
    node = hub if full == "hub" else edge
    taken = Session(99, 0, 0, Suite.AES_256_GCM, {})
    node.plane.sessions = {slot: taken for slot in range(SLOTS)}
    world.run(10)
    assert node.tunnel.counters["index-taken"] >= 1
    assert hub.plane.installs == edge.plane.installs == 0
    node.plane.sessions = {}
    up(world, hub, edge)


def test_an_index_that_was_taken_meanwhile_is_a_refusal_and_the_next_attempt_works() -> None:
    world = World()
    hub, edge = world.pair()
    assert world.run(5, until=lambda: hub.tunnel._core.quic.half_open == 1)
    honest = hub.plane.index_pick
    answers = iter([7])
    hub.plane.index_pick = lambda wanted: next(answers, None) or honest(wanted)
    hub.plane.sessions[7] = Session(99, 7, 0, Suite.AES_256_GCM, {})
    up(world, hub, edge)
    assert hub.tunnel.counters["index-taken"] == 1
    assert hub.plane.installs == 1
