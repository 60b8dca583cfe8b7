"""Sessions of one peer follow each other, make before break (PROTOCOL.md section 5)."""

from __future__ import annotations

import pytest
from oxidized.ffi._oxi import lib

from oxidized.core.plane import EventType, SessionKeys, Suite
from oxidized.errors import NativeError
from oxidized.ffi.dataplane import DataPlane
from tests.differential.reference import Ping, Pong
from tests.native.rig import (
    ELSEWHERE,
    HUB,
    INNER_A,
    INNER_B,
    KEY_A,
    KEY_B,
    MS,
    Pair,
    S,
    Solo,
    drops,
    events,
    ipv4,
    key,
    number_of,
    numbered,
)  # fmt: skip

PACKET = ipv4(INNER_B, INNER_A)
OTHER = (key(77), key(78))


def test_the_session_before_opens_for_ten_seconds() -> None:
    rig = Solo()
    old = rig.far
    new = rig.session(near=9, keys=OTHER)
    rig.receive(old.seal(numbered(1)), new.seal(numbered(2)))
    rig.tick(10 * S - 1)
    rig.receive(old.seal(numbered(3)))
    assert [number_of(packet) for packet in rig.delivered()] == [1, 2, 3]
    rig.tick(1)
    rig.receive(old.seal(numbered(4)), new.seal(numbered(5)))
    assert [number_of(packet) for packet in rig.delivered()] == [5]
    assert drops(rig.plane) == {("receive_datagram", "no-session"): 1}


def test_a_new_session_sends_at_once_and_counts_from_zero() -> None:
    rig = Solo()
    rig.send(PACKET, PACKET)
    assert [opened.pn for opened in rig.opened()] == [0, 1]
    new = rig.session(near=9, keys=OTHER, tx_index=5)
    rig.send(PACKET)
    assert [opened.pn for opened in rig.opened(new)] == [0]


def test_replacement_under_traffic_loses_nothing() -> None:
    pair = Pair(delay_ns=30 * MS)
    sent = 0
    for seed in range(1, 5):
        for _ in range(100):
            pair.up([numbered(sent)])
            pair.down([numbered(sent, INNER_B, INNER_A)])
            sent += 1
            pair.run(1 * MS)
        pair.session(seed=seed)
    pair.run(1 * S)
    for inbox in (pair.at_hub, pair.at_edge):
        assert [number_of(packet) for packet in inbox] == list(range(sent))
    assert not drops(pair.edge) and not drops(pair.hub)


def test_a_pending_session_opens_but_does_not_send() -> None:
    rig = Solo(is_initiator=True)
    old = rig.far
    new = rig.session(near=9, keys=OTHER, may_send=False)
    rig.receive(new.seal(Ping(0, 1, 2).pack() + numbered(1)), old.seal(numbered(2)))
    assert [number_of(packet) for packet in rig.delivered()] == [1, 2]
    assert rig.plane.stats()["own_dropped_datagrams"] == 1, "it can not answer a PING yet"
    rig.send(PACKET)
    assert len(rig.opened(old)) == 1
    rig.plane.session_send(rig.now_ns, rig.peer)
    rig.send(PACKET)
    assert [opened.pn for opened in rig.opened(new)] == [0]
    rig.receive(old.seal(numbered(3)))
    assert [number_of(packet) for packet in rig.delivered()] == [3]


def test_a_first_pending_session_can_not_send_at_all() -> None:
    rig = Solo(may_send=False)
    rig.send(PACKET)
    assert drops(rig.plane) == {("transmit", "no-session"): 1}
    assert not rig.plane.ping(rig.now_ns, rig.peer, 0, token=1)


def test_what_a_pending_session_received_is_acknowledged_once_it_sends() -> None:
    rig = Solo(may_send=False)
    rig.hear(ipv4())
    assert rig.tick_until(rig.now_ns + 1 * S) == []
    rig.plane.session_send(rig.now_ns, rig.peer)
    assert len(rig.tick_until(rig.now_ns + 1 * S)) == 1


def test_a_newer_pending_session_replaces_the_pending_one() -> None:
    rig = Solo()
    first = rig.session(near=9, keys=OTHER, may_send=False)
    second = rig.session(near=10, keys=(key(80), key(81)), may_send=False)
    rig.receive(first.seal(numbered(1)), second.seal(numbered(2)), rig.far.seal(numbered(3)))
    assert [number_of(packet) for packet in rig.delivered()] == [2, 3]
    assert drops(rig.plane) == {("receive_datagram", "no-session"): 1}


def test_three_sessions_in_a_row_keep_two() -> None:
    rig = Solo()
    ends = [rig.far] + [rig.session(near=100 * n, keys=(key(n), key(n + 50))) for n in (1, 2)]
    rig.receive(*[end.seal(numbered(n)) for n, end in enumerate(ends)])
    assert [number_of(packet) for packet in rig.delivered()] == [1, 2]


def test_session_send_without_a_pending_one_is_absent() -> None:
    rig = Solo()
    with pytest.raises(NativeError) as refused:
        rig.plane.session_send(rig.now_ns, rig.peer)
    assert refused.value.code == lib.OXI_E_ABSENT


def test_dropping_forgets_all_keys() -> None:
    rig = Solo()
    old = rig.far
    current = rig.session(near=9, keys=OTHER)
    pending = rig.session(near=10, keys=(key(80), key(81)), may_send=False)
    rig.plane.session_drop(rig.peer)
    rig.receive(*[end.seal(ipv4()) for end in (old, current, pending)])
    rig.send(PACKET)
    assert drops(rig.plane) == {("receive_datagram", "no-session"): 3, ("transmit", "no-session"): 1}
    assert rig.tick_until(rig.now_ns + 60 * S) == []


def test_a_taken_index_is_refused_and_the_session_lives_on() -> None:
    rig = Solo()
    taken = SessionKeys(rig.far.send_index, 3, Suite.AES_256_GCM, KEY_A, KEY_B, True)
    with pytest.raises(NativeError) as refused:
        rig.plane.session_install(rig.now_ns, rig.peer, taken)
    assert refused.value.code == lib.OXI_E_CRYPTO
    rig.hear(ipv4())
    rig.send(PACKET)
    assert len(rig.delivered()) == len(rig.opened()) == 1


def test_indices_are_free_and_near() -> None:
    """As many as there can be sessions, all different, none zero, also at the ends of the 24 bits."""
    plane = DataPlane(peers_max=4)
    peers = [plane.peer_add(keepalive_ns=0, dead_after_ns=S, is_initiator=False) for _ in range(4)]
    seen = set()
    for n, near in enumerate([0, 0, 0xFFFFFF, 0xFFFFFF, 5, 5, 0x800000, 0x800001]):
        index = plane.index_pick(near)
        assert 0 < index <= 0xFFFFFF and index not in seen
        seen.add(index)
        keys = SessionKeys(index, 0, Suite.AES_256_GCM, KEY_A, KEY_B, True)
        plane.session_install(S, peers[n // 2], keys)
    plane.close()


def test_heard_comes_once_per_session() -> None:
    rig = Solo()
    rig.hear(ipv4())
    rig.hear(ipv4())
    assert len(events(rig.plane, EventType.PEER_HEARD)) == 1
    rig.far = rig.session(near=9, keys=OTHER)
    assert events(rig.plane, EventType.PEER_HEARD) == []
    rig.hear(b"")
    assert len(events(rig.plane, EventType.PEER_HEARD)) == 1


def test_the_old_session_does_not_move_the_address() -> None:
    rig = Solo()
    old = rig.far
    rig.session(near=9, keys=OTHER)
    rig.receive(old.seal(Ping(0, 1, 2).pack()), source=ELSEWHERE)
    assert events(rig.plane, EventType.ROAMED) == []
    ((datagram, to),) = rig.sent()
    assert to == ELSEWHERE and old.open(datagram).of(Pong), "yet its PING is answered where it came from"


def test_a_removed_peer_is_gone_and_its_place_is_free() -> None:
    rig = Solo(peers_max=1)
    far = rig.far
    rig.send(PACKET)
    rig.sent()
    rig.plane.peer_remove(rig.peer)
    with pytest.raises(NativeError) as refused:
        rig.plane.peer_counters(rig.peer)
    assert refused.value.code == lib.OXI_E_ABSENT
    rig.receive(far.seal(ipv4()))
    assert drops(rig.plane) == {("receive_datagram", "no-session"): 1}
    again = rig.plane.peer_add(keepalive_ns=0, dead_after_ns=S, is_initiator=True)
    counters = rig.plane.peer_counters(again)
    assert (counters.tx_packets, counters.rx_packets, counters.last_rx_ns) == (0, 0, 0)
    assert counters.paths[0].address is None
    assert rig.tick_until(rig.now_ns + 60 * S) == []


def test_what_was_held_of_a_removed_peer_is_not_the_next_ones() -> None:
    """Datagrams wait for the network while their peer goes and another one takes its place."""
    rig = Solo(peers_max=1)
    rig.send(PACKET, PACKET)
    rig.hear(ipv4())
    rig.plane.peer_remove(rig.peer)
    again = rig.plane.peer_add(keepalive_ns=0, dead_after_ns=S, is_initiator=True)
    rig.sent()
    rig.delivered()
    counters = rig.plane.peer_counters(again)
    assert (counters.tx_packets, counters.rx_packets, counters.paths[0].tx_packets) == (0, 0, 0)
    assert drops(rig.plane) == {("transmit", "stopped"): 2, ("receive", "stopped"): 1}


def test_routes_of_a_removed_peer_are_not_the_next_ones() -> None:
    """A handle is used again; prefixes that were not replaced must not lead to the new peer."""
    rig = Solo(peers_max=1)
    rig.plane.peer_remove(rig.peer)
    rig.peer = rig.plane.peer_add(keepalive_ns=0, dead_after_ns=S, is_initiator=True)
    rig.plane.path_set(rig.peer, 0, HUB, 1444)
    rig.far = rig.session(near=9)
    rig.send(PACKET)
    rig.hear(ipv4())
    assert rig.sent() == [] and rig.delivered() == []
    assert drops(rig.plane) == {("transmit", "no-route"): 1, ("receive", "wrong-source"): 1}
