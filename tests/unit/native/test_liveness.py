"""Keepalive, silence and the timers behind them."""

from __future__ import annotations

import pytest

from oxidized.core.plane import EventType
from oxidized.errors import NativeError
from tests.differential.reference import Ack, Ping, Pong
from tests.native.rig import HUB, INNER_A, INNER_B, MS, PAYLOAD_MAX, Pair, S, Solo, events, ipv4, key

PACKET = ipv4(INNER_B, INNER_A)


def pings(rig: Solo, until_ns: int) -> list[int]:
    """When the plane sent PINGs, in milliseconds from now on."""
    start_ns = rig.now_ns
    sent = rig.tick_until(until_ns)
    opened = [(at_ns, rig.far.open(datagram)) for at_ns, datagram in sent]
    assert all(len(o.of(Ping)) == 1 and len(o.frames) == 1 for _, o in opened)
    return [(at_ns - start_ns) // MS for at_ns, _ in opened]


def test_keepalive_is_a_ping_when_nothing_was_sent_for_so_long() -> None:
    rig = Solo(keepalive_ns=20 * S, dead_after_ns=300 * S)
    rig.tick()
    rig.sent()
    rig.send(PACKET)
    rig.sent()
    rig.hear(b"")
    assert pings(rig, rig.now_ns + 19_999 * MS) == []
    assert pings(rig, rig.now_ns + 2 * MS) == [1]
    rig.hear(Pong(0, 0, 0).pack())
    assert pings(rig, rig.now_ns + 39 * S) == [19_999]


def test_traffic_out_puts_the_keepalive_off() -> None:
    rig = Solo(keepalive_ns=2 * S, dead_after_ns=300 * S)
    rig.tick()
    rig.sent()
    for _ in range(20):
        rig.send(PACKET)
        rig.sent()
        rig.hear(b"")
        assert rig.tick_until(rig.now_ns + 1 * S) == []


def test_keepalive_off() -> None:
    rig = Solo(keepalive_ns=0)
    assert rig.tick() is None
    assert rig.tick_until(rig.now_ns + 3600 * S) == []


def test_keepalive_can_be_changed() -> None:
    rig = Solo(keepalive_ns=0, dead_after_ns=300 * S)
    rig.tick()
    rig.plane.peer_timers(rig.peer, keepalive_ns=1 * S, dead_after_ns=300 * S)
    assert len(pings(rig, rig.now_ns + 100 * MS)) == 1, "nothing was sent for longer than that"
    rig.hear(Pong(0, 0, 0).pack())
    assert len(pings(rig, rig.now_ns + 3 * S)) >= 1


def test_no_session_or_no_address_no_keepalive() -> None:
    rig = Solo(keepalive_ns=1 * S, address=None)
    assert rig.tick_until(rig.now_ns + 10 * S) == []
    rig = Solo(keepalive_ns=1 * S)
    rig.plane.session_drop(rig.peer)
    assert rig.tick_until(rig.now_ns + 10 * S) == []
    assert rig.plane.poll_events() == []


def silent_events(rig: Solo) -> list[int]:
    return [event.peer for event in events(rig.plane, EventType.PEER_SILENT)]


def test_silence_is_called_after_dead_after() -> None:
    """With PINGs on the way there, a quarter of the time apart."""
    rig = Solo(dead_after_ns=4 * S, is_initiator=True)
    rig.tick()
    rig.send(PACKET)
    rig.sent()
    assert pings(rig, rig.now_ns + 3999 * MS) == [1000, 2000, 3000]
    assert silent_events(rig) == []
    assert not rig.plane.peer_counters(rig.peer).is_silent
    rig.tick_until(rig.now_ns + 1 * MS)
    assert silent_events(rig) == [rig.peer]
    assert rig.plane.peer_counters(rig.peer).is_silent


@pytest.mark.parametrize("is_initiator", [True, False], ids=["edge", "hub"])
def test_when_silent_the_edge_asks_every_second_and_the_hub_does_not(is_initiator: bool) -> None:
    rig = Solo(dead_after_ns=4 * S, is_initiator=is_initiator, keepalive_ns=3 * S)
    rig.tick()
    rig.sent()
    rig.send(PACKET)
    rig.sent()
    pings(rig, rig.now_ns + 5 * S)
    assert silent_events(rig) == [rig.peer]
    later = pings(rig, rig.now_ns + 10 * S)
    assert len(later) == (10 if is_initiator else 0)
    assert silent_events(rig) == [], "once is enough"


def test_nothing_sent_nothing_missed() -> None:
    """A peer that is only quiet is not silent: nobody asked it anything."""
    rig = Solo(dead_after_ns=1 * S)
    rig.hear(ipv4())
    rig.tick_until(rig.now_ns + 5 * S)
    rig.sent()
    rig.tick_until(rig.now_ns + 1000 * S)
    assert silent_events(rig) == []


@pytest.mark.parametrize(
    "frames", [b"", Pong(0, 0, 0).pack(), ipv4(), b"\xff"], ids=["empty", "pong", "ip", "bad"]
)
def test_anything_authentic_ends_silence(frames: bytes) -> None:
    rig = Solo(dead_after_ns=1 * S)
    rig.hear(b"")
    rig.plane.poll_events()
    rig.send(PACKET)
    rig.tick_until(rig.now_ns + 2 * S)
    assert silent_events(rig) == [rig.peer]
    rig.hear(frames)
    assert [(event.type, event.peer) for event in rig.plane.poll_events()] == [
        (EventType.PEER_HEARD, rig.peer)
    ]
    assert not rig.plane.peer_counters(rig.peer).is_silent
    rig.send(PACKET)
    rig.tick_until(rig.now_ns + 2 * S)
    assert silent_events(rig) == [rig.peer], "and the next silence is told again"


def test_what_does_not_open_does_not_end_it() -> None:
    rig = Solo(dead_after_ns=1 * S)
    rig.send(PACKET)
    rig.tick_until(rig.now_ns + 2 * S)
    bad = bytearray(rig.far.seal(b""))
    bad[-1] ^= 1
    rig.receive(bytes(bad), b"\x40quic")
    assert rig.plane.peer_counters(rig.peer).is_silent


def test_two_living_ends_never_call_each_other_silent() -> None:
    pair = Pair(keepalive_ns=1 * S, dead_after_ns=1 * S, delay_ns=100 * MS)
    for _ in range(20):
        pair.up([ipv4()])
        pair.run(3 * S)
    for plane in (pair.edge, pair.hub):
        assert events(plane, EventType.PEER_SILENT) == []


def test_a_cut_link_is_noticed_on_both_ends_and_so_is_its_return() -> None:
    is_cut = [False]
    pair = Pair(fate=lambda way, n: None if is_cut[0] else 10 * MS, keepalive_ns=1 * S, dead_after_ns=2 * S)
    pair.run(5 * S)
    for plane in (pair.edge, pair.hub):
        plane.poll_events()
    is_cut[0] = True
    pair.run(5 * S)
    for plane in (pair.edge, pair.hub):
        assert [event.type for event in plane.poll_events()] == [EventType.PEER_SILENT]
    is_cut[0] = False
    pair.run(2 * S)
    for plane in (pair.edge, pair.hub):
        assert [event.type for event in plane.poll_events()] == [EventType.PEER_HEARD]


def test_dropping_the_session_ends_the_waiting() -> None:
    rig = Solo(dead_after_ns=1 * S)
    rig.send(PACKET)
    rig.plane.session_drop(rig.peer)
    rig.session(near=3, keys=(key(1), key(2)))
    rig.tick_until(rig.now_ns + 10 * S)
    assert silent_events(rig) == []


def test_last_times_are_told() -> None:
    rig = Solo()
    rig.now_ns += 5
    rig.hear(b"")
    rig.now_ns += 5
    rig.send(PACKET)
    counters = rig.plane.peer_counters(rig.peer)
    assert (counters.last_rx_ns, counters.last_tx_ns) == (rig.now_ns - 5, rig.now_ns)


def test_a_keepalive_goes_over_every_path() -> None:
    rig = Solo(keepalive_ns=1 * S, dead_after_ns=100 * S)
    rig.plane.path_set(rig.peer, 2, HUB, PAYLOAD_MAX)
    rig.tick()
    assert [(opened.path, len(opened.of(Ping))) for opened in rig.opened()] == [(0, 1), (2, 1)]


def test_tick_tells_when_to_come_back() -> None:
    rig = Solo(keepalive_ns=7 * S, dead_after_ns=100 * S)
    rig.tick()
    rig.sent()
    assert rig.tick() == rig.now_ns + 7 * S
    rig.hear(ipv4())
    assert rig.tick() == rig.now_ns + 5 * MS
    rig.tick(5 * MS)
    assert rig.opened()[0].of(Ack)


def test_the_longest_timers_do_not_wrap() -> None:
    day_ns = 86_400 * S
    with pytest.raises(NativeError):
        Solo(keepalive_ns=2**63 - 1, dead_after_ns=day_ns)
    with pytest.raises(NativeError):
        Solo(keepalive_ns=0, dead_after_ns=day_ns + 1)
    rig = Solo(keepalive_ns=day_ns, dead_after_ns=day_ns)
    rig.send(PACKET)
    rig.sent()
    assert rig.tick_until(rig.now_ns + 1000 * S) == []
