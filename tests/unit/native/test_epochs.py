"""Rekeying: the epochs of one session follow each other while packets travel (PROTOCOL.md section 4)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from oxidized.ffi._oxi import lib

from oxidized.core.plane import EventType, Suite
from oxidized.errors import NativeError
from tests.native.rig import (
    INNER_A,
    INNER_B,
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
)

PACKET = ipv4(INNER_B, INNER_A)


def rekey_as_protocol(pair: Pair, epoch: int, traffic: Callable[[], None]) -> None:
    """Hub installs; edge installs and sends on the reply; hub sends on DONE. Traffic at every step."""
    up, down = key(2 * epoch % 251), key((2 * epoch + 1) % 251)
    traffic()
    pair.hub.epoch_install(pair.now_ns, pair.hub_peer, epoch, up, down)
    traffic()
    pair.edge.epoch_install(pair.now_ns, pair.edge_peer, epoch, down, up)
    pair.edge.epoch_send(pair.now_ns, pair.edge_peer, epoch)
    traffic()
    pair.hub.epoch_send(pair.now_ns, pair.hub_peer, epoch)
    traffic()


@pytest.mark.parametrize("suite", Suite)
def test_rekey_under_traffic_loses_nothing(suite: Suite) -> None:
    """Reordered datagrams, so that both epochs are on the way at once, over nine epochs."""
    dice = random.Random(7)
    pair = Pair(fate=lambda way, n: 5 * MS + dice.randrange(8 * MS), suite=suite)
    sent = [0]

    def traffic() -> None:
        for _ in range(15):
            pair.up([numbered(sent[0])])
            pair.down([numbered(sent[0], INNER_B, INNER_A)])
            sent[0] += 1
            pair.run(1 * MS)

    for epoch in range(1, 10):
        rekey_as_protocol(pair, epoch, traffic)
    pair.run(1 * S)
    for inbox in (pair.at_hub, pair.at_edge):
        assert sorted(number_of(packet) for packet in inbox) == list(range(sent[0]))
    assert not drops(pair.edge) and not drops(pair.hub)
    assert pair.edge.peer_counters(pair.edge_peer).epoch == 9


def test_numbers_go_on_and_the_phase_is_the_epoch() -> None:
    rig = Solo()
    for epoch in range(1, 7):
        rig.send(PACKET)
        rig.epoch(epoch)
        rig.plane.epoch_send(rig.now_ns, rig.peer, epoch)
    rig.send(PACKET)
    assert [(opened.phase, opened.pn) for opened in rig.opened()] == [(n % 4, n) for n in range(7)]
    counters = rig.plane.peer_counters(rig.peer)
    assert (counters.epoch, counters.epoch_packets) == (6, 1)


def test_installing_does_not_move_sending() -> None:
    rig = Solo()
    rig.epoch(1)
    rig.send(PACKET)
    assert [opened.phase for opened in rig.opened()] == [0]


def test_a_phase_without_a_key_is_no_key() -> None:
    rig = Solo()
    rig.far.send_keys |= {1: key(2), 2: key(4), 3: key(6)}
    for epoch in (1, 2, 3):
        rig.far.epoch = epoch
        rig.hear(ipv4())
    assert drops(rig.plane) == {("receive_datagram", "no-key"): 3}


def test_the_epoch_before_still_opens_and_the_one_before_that_not() -> None:
    rig = Solo()
    early = [rig.far.seal(numbered(n)) for n in range(2)]
    rig.epoch(1)
    rig.plane.epoch_send(rig.now_ns, rig.peer, 1)
    rig.far.epoch = 1
    middle = [rig.far.seal(numbered(n)) for n in range(2, 4)]
    rig.receive(early[0], middle[0])
    assert len(rig.delivered()) == 2
    rig.epoch(2)
    rig.far.epoch = 2
    rig.receive(early[1], middle[1], rig.far.seal(numbered(4)))
    assert [number_of(packet) for packet in rig.delivered()] == [3, 4]
    assert drops(rig.plane) == {("receive_datagram", "no-key"): 1}


def test_epoch_four_is_not_epoch_zero() -> None:
    """They share a phase; a packet under the forgotten key is a forgery by then."""
    rig = Solo()
    old = rig.far.seal(ipv4())
    for epoch in range(1, 5):
        rig.epoch(epoch)
        rig.plane.epoch_send(rig.now_ns, rig.peer, epoch)
    rig.receive(old)
    assert drops(rig.plane) == {("receive_datagram", "forged"): 1}
    rig.far.epoch = 4
    rig.hear(ipv4())
    assert len(rig.delivered()) == 1


@pytest.mark.parametrize("epoch", [0, 2, 3, 4, 2**32 - 1])
def test_only_the_next_epoch_can_be_installed(epoch: int) -> None:
    rig = Solo()
    with pytest.raises(NativeError) as refused:
        rig.plane.epoch_install(rig.now_ns, rig.peer, epoch, key(1), key(2))
    assert refused.value.code == lib.OXI_E_ARG
    with pytest.raises(NativeError) as absent:
        rig.plane.epoch_send(rig.now_ns, rig.peer, epoch or 1)
    assert absent.value.code == lib.OXI_E_ABSENT


def test_a_rekey_is_of_the_session_that_sends() -> None:
    """While a new session is being made the old one may still be rekeyed; a pending one never is."""
    rig = Solo(may_send=False)
    with pytest.raises(NativeError) as refused:
        rig.plane.epoch_install(rig.now_ns, rig.peer, 1, key(1), key(2))
    assert refused.value.code == lib.OXI_E_ABSENT
    rig.plane.session_send(rig.now_ns, rig.peer)
    rig.session(near=9, keys=(key(50), key(51)), may_send=False)
    rig.epoch(1)
    rig.plane.epoch_send(rig.now_ns, rig.peer, 1)
    rig.send(PACKET)
    assert [opened.phase for opened in rig.opened()] == [1]


# ---- worn keys ----


def test_rekey_is_wanted_once_per_epoch() -> None:
    rig = Solo(rekey_packets=10, key_packets_max=1000)
    for epoch in range(3):
        rig.send(*[PACKET] * 9)
        assert events(rig.plane, EventType.REKEY_WANTED) == []
        rig.send(*[PACKET] * 5)
        (event,) = events(rig.plane, EventType.REKEY_WANTED)
        assert (event.peer, event.value) == (rig.peer, epoch)
        rig.send(*[PACKET] * 30)
        assert events(rig.plane, EventType.REKEY_WANTED) == []
        rig.epoch(epoch + 1)
        rig.plane.epoch_send(rig.now_ns, rig.peer, epoch + 1)


def test_own_datagrams_wear_the_key_too() -> None:
    rig = Solo(rekey_packets=3, key_packets_max=5)
    for token in range(1, 6):
        assert rig.plane.ping(rig.now_ns, rig.peer, 0, token=token)
    assert len(events(rig.plane, EventType.REKEY_WANTED)) == 1
    assert not rig.plane.ping(rig.now_ns, rig.peer, 0, token=9)
    assert rig.plane.stats()["own_dropped_datagrams"] == 1
    assert len(rig.opened()) == 5


def test_nothing_is_sealed_beyond_the_packet_limit() -> None:
    rig = Solo(rekey_packets=8, key_packets_max=16)
    rig.send(*[PACKET] * 20)
    assert drops(rig.plane) == {("transmit", "key-worn"): 4}
    assert len(rig.opened()) == 16
    rig.hear(ipv4())
    assert len(rig.delivered()) == 1, "a worn key still opens"
    rig.epoch(1)
    rig.plane.epoch_send(rig.now_ns, rig.peer, 1)
    rig.send(*[PACKET] * 16)
    assert [(opened.phase, opened.pn) for opened in rig.opened()] == [(1, n) for n in range(16, 32)]


def test_nothing_is_sealed_with_an_old_key() -> None:
    rig = Solo(key_age_ns_max=100 * S)
    rig.now_ns += 100 * S
    rig.send(PACKET)
    rig.now_ns += 1
    rig.send(PACKET)
    assert drops(rig.plane) == {("transmit", "key-worn"): 1}
    rig.epoch(1)
    rig.plane.epoch_send(rig.now_ns, rig.peer, 1)
    rig.send(PACKET)
    assert [opened.phase for opened in rig.opened()] == [0, 1]
