"""PING and PONG: by the route they came, one answer per datagram, the round trip of one's own pings."""

from __future__ import annotations

import pytest

from oxidized.core.plane import CARRIER, EventType
from tests.differential.reference import Inner, Ping, Pong
from tests.native.rig import (
    EDGE,
    ELSEWHERE,
    HUB,
    MS,
    PAYLOAD_MAX,
    Pair,
    S,
    Solo,
    drops,
    events,
    ipv4,
    numbered,
)


def test_a_ping_comes_back_as_it_went() -> None:
    rig = Solo()
    rig.hear(Ping(0, 2**64 - 1, 2**63).pack())
    ((datagram, to),) = rig.sent()
    assert rig.far.open(datagram).frames == [Pong(0, 2**64 - 1, 2**63)]
    assert to == EDGE


def test_unknown_flags_come_back_too() -> None:
    rig = Solo()
    rig.hear(Ping(0xFE, 1, 2).pack())
    assert rig.opened()[0].frames == [Pong(0xFE, 1, 2)]


def test_the_answer_takes_the_route_and_the_path_of_the_question() -> None:
    rig = Solo()
    rig.hear(ipv4())
    rig.hear(Ping(1, 5, 6).pack(), source=ELSEWHERE, path=3)
    ((datagram, to),) = rig.sent()
    assert to == ELSEWHERE and rig.far.open(datagram).path == 3
    rig.plane.carrier_push(rig.now_ns, rig.peer, [rig.far.seal(Ping(1, 7, 8).pack())])
    assert rig.sent() == []
    ((_, carried),) = rig.plane.poll_carrier()
    assert rig.far.open(carried).frames == [Pong(1, 7, 8)]


def test_one_answer_per_datagram() -> None:
    rig = Solo()
    rig.hear(Ping(0, 1, 1).pack() + Ping(0, 2, 2).pack() + ipv4())
    assert [opened.frames for opened in rig.opened()] == [[Pong(0, 1, 1)]]
    assert rig.delivered() == []
    assert drops(rig.plane) == {("receive", "bad-frame"): 1}


def test_a_ping_and_an_inner_packet_in_one_datagram() -> None:
    rig = Solo()
    rig.hear(Ping(0, 1, 1).pack() + bytes(3) + Pong(0, 9, 9).pack() + numbered(4))
    assert rig.delivered() == [numbered(4)]
    assert [opened.of(Pong) for opened in rig.opened()] == [[Pong(0, 1, 1)]]


def test_round_trip_of_a_ping() -> None:
    pair = Pair(delay_ns=35 * MS)
    assert pair.edge.ping(pair.now_ns, pair.edge_peer, 0, token=77)
    pair.run(1 * S)
    (pong,) = events(pair.edge, EventType.PONG)
    assert (pong.peer, pong.path, pong.value, pong.rtt_ns, pong.address) == (
        pair.edge_peer,
        0,
        77,
        70 * MS,
        HUB,
    )


def test_a_ping_over_the_carrier_is_answered_over_it() -> None:
    rig = Solo(is_initiator=True)
    assert rig.plane.ping(rig.now_ns, rig.peer, 0, token=3, address=CARRIER)
    assert rig.sent() == []
    ((_, datagram),) = rig.plane.poll_carrier()
    (ping,) = rig.far.open(datagram).of(Ping)
    rig.now_ns += 9 * MS
    rig.plane.carrier_push(rig.now_ns, rig.peer, [rig.far.seal(Pong(0, ping.token, ping.time).pack())])
    (pong,) = events(rig.plane, EventType.PONG)
    assert (pong.value, pong.rtt_ns, pong.address) == (3, 9 * MS, CARRIER)


@pytest.mark.parametrize("pad", [0, 1, 1000, 8982])
def test_padding_makes_the_datagram_longer(pad: int) -> None:
    rig = Solo(mtu_bytes=9000)
    assert rig.plane.ping(rig.now_ns, rig.peer, 0, token=3, pad_bytes=pad)
    ((datagram, _),) = rig.sent()
    assert len(datagram) == 8 + 18 + pad + 16
    assert rig.far.open(datagram).plaintext[18:] == bytes(pad)


def test_a_ping_to_another_address() -> None:
    rig = Solo()
    assert rig.plane.ping(rig.now_ns, rig.peer, 0, token=3, address=ELSEWHERE, is_probe=True)
    ((datagram, to),) = rig.sent()
    assert to == ELSEWHERE
    assert [ping.flags for ping in rig.far.open(datagram).of(Ping)] == [1]
    assert rig.plane.peer_counters(rig.peer).paths[0].address == EDGE


def test_a_ping_that_can_not_go_says_so() -> None:
    rig = Solo(address=None)
    assert not rig.plane.ping(rig.now_ns, rig.peer, 0, token=3)
    rig.plane.path_set(rig.peer, 0, HUB, PAYLOAD_MAX)
    assert rig.plane.ping(rig.now_ns, rig.peer, 0, token=3)
    assert not rig.plane.ping(rig.now_ns, rig.peer, 1, token=3)
    rig.plane.session_drop(rig.peer)
    assert not rig.plane.ping(rig.now_ns, rig.peer, 0, token=3)


def test_a_pong_from_the_future_is_no_round_trip() -> None:
    rig = Solo()
    rig.hear(Pong(0, 5, rig.now_ns + 1).pack())
    rig.hear(Pong(0, 0, rig.now_ns).pack())
    assert events(rig.plane, EventType.PONG) == []
    rig.hear(Pong(0, 5, rig.now_ns).pack())
    assert [event.rtt_ns for event in events(rig.plane, EventType.PONG)] == [0]


def test_pings_do_not_reach_the_tun_and_do_not_count_as_packets() -> None:
    rig = Solo()
    rig.hear(Ping(0, 1, 1).pack())
    st = rig.plane.stats()
    assert (st["found_packets"], st["inner_out_packets"], st["own_out_datagrams"]) == (0, 0, 0)
    assert [type(frame) for opened in rig.opened() for frame in opened.frames] == [Pong]
    assert rig.plane.stats()["own_out_datagrams"] == 1
    rig.send()
    assert [type(frame) for opened in rig.opened() for frame in opened.frames] == [Inner]
