"""Several small packets in one datagram, and voice that waits a moment for company."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core.plane import CARRIER, SessionKeys, Suite
from tests.differential.reference import BUNDLE, Inner, bundle, item_length
from tests.native.rig import (
    EDGE,
    INNER_A,
    INNER_B,
    MS,
    PAYLOAD_MAX,
    Pair,
    Solo,
    drops,
    ipv4,
    ipv6,
    key,
    sums_must_hold,
)  # fmt: skip

HOLD_NS = 2 * MS
VOIP = (HOLD_NS, 0, 0)
ITEM_MAX = 512


def down(payload: bytes = b"x" * 20, *, ecn: int = 0) -> bytes:
    return ipv4(INNER_B, INNER_A, payload, ecn=ecn)


def rtp(sequence: int, *, ssrc: int = 7, port: int = 5004, dscp: int = 0, size: int = 20) -> bytes:
    body = struct.pack(">BBHII", 0x80, 18, sequence & 0xFFFF, 160 * sequence, ssrc) + bytes(size)
    return down(struct.pack(">HHHH", port, port, 8 + len(body), 0) + body, ecn=dscp << 2)


def contents(rig: Solo) -> list[list[bytes]]:
    """Inner packets of each datagram that was sent."""
    return [[inner.packet for inner in opened.of(Inner)] for opened in rig.opened()]


# ---- sharing ----


def test_neighbours_share_a_datagram() -> None:
    rig = Solo(may_bundle=True)
    packets = [down(bytes([n]) * n) for n in range(8)]
    rig.send(*packets)
    assert contents(rig) == [packets]
    stats = sums_must_hold(rig.plane)
    assert (stats["bundles_out"], stats["bundled_out_packets"], stats["inner_sent_packets"]) == (1, 8, 8)
    counters = rig.plane.peer_counters(rig.peer)
    assert (counters.tx_packets, counters.tx_bytes) == (8, sum(map(len, packets)))


def test_one_alone_costs_nothing_more() -> None:
    rig = Solo(may_bundle=True)
    packet = down()
    rig.send(packet)
    ((datagram, _),) = rig.sent()
    assert len(datagram) == len(packet) + 24
    assert rig.plane.stats()["bundles_out"] == 0


def test_a_peer_that_does_not_take_bundles_gets_none() -> None:
    rig = Solo()
    rig.send(down(), down())
    assert contents(rig) == [[down()], [down()]]


def test_large_packets_go_alone_and_in_order() -> None:
    rig = Solo(may_bundle=True)
    limit = ITEM_MAX - 20
    sizes = [10, limit, limit + 1, 20, 30, 1000, 5]
    packets = [down(bytes(size)) for size in sizes]
    rig.send(*packets)
    assert contents(rig) == [packets[:2], packets[2:3], packets[3:5], packets[5:6], packets[6:]]


def test_packets_of_another_ecn_mark_go_apart() -> None:
    rig = Solo(may_bundle=True)
    packets = [down(ecn=ecn) for ecn in (0, 0, 2, 2, 1, 3, 3)]
    rig.send(*packets)
    assert contents(rig) == [packets[:2], packets[2:4], packets[4:5], packets[5:]]


@pytest.mark.parametrize("payload_max", [1304, 1400, PAYLOAD_MAX])
def test_a_bundle_fits_the_path(payload_max: int) -> None:
    rig = Solo(may_bundle=True)
    rig.plane.path_payload(rig.peer, 0, payload_max)
    dice = random.Random(payload_max)
    packets = [down(bytes(dice.randrange(0, ITEM_MAX - 19))) for _ in range(64)]
    rig.send(*packets)
    sent = rig.sent()
    sizes = [len(datagram) for datagram, _ in sent]
    assert max(sizes) <= payload_max
    assert all(a + min(map(len, packets)) > payload_max - ITEM_MAX for a in sizes[:-1]), "and is filled"
    assert [i.packet for d, _ in sent for i in rig.far.open(d).of(Inner)] == packets


def test_a_bundle_fits_the_carrier() -> None:
    """Its datagrams are small, whatever the path before it carried."""
    rig = Solo(may_bundle=True, mtu_bytes=9000)
    rig.plane.path_set(rig.peer, 0, CARRIER, 9024)
    rig.send(*(down(bytes(400)) for _ in range(12)))
    datagrams = [datagram for _, datagram in rig.plane.poll_carrier()]
    assert [len(rig.far.open(datagram).of(Inner)) for datagram in datagrams] == [3, 3, 3, 3]
    assert drops(rig.plane) == {}


def test_peers_do_not_share() -> None:
    """Also not when they are behind the same address."""
    rig = Solo(may_bundle=True)
    other = rig.plane.peer_add(keepalive_ns=0, dead_after_ns=10**10, is_initiator=False)
    rig.plane.path_set(other, 0, EDGE, PAYLOAD_MAX)
    rig.plane.routes_set([(ip_network("10.0.0.1/32"), rig.peer), (ip_network("10.0.0.9/32"), other)])
    index = rig.plane.index_pick(77)
    keys = SessionKeys(index, 0x777777, Suite.AES_256_GCM, key(1), key(2), True, True)
    rig.plane.session_install(rig.now_ns, other, keys)
    rig.send(down(), ipv4(INNER_B, "10.0.0.9"), down())
    assert len(rig.sent()) == 3


PACKETS = st.lists(st.integers(0, 700), min_size=1, max_size=64)


@settings(max_examples=100)
@given(st.lists(PACKETS, min_size=1, max_size=4), st.integers(0, 2**32))
def test_whatever_is_bundled_arrives(batches: list[list[int]], seed: int) -> None:
    dice = random.Random(seed)
    pair = Pair(may_bundle=True)
    sent = []
    for sizes in batches:
        marks = [dice.choice((0, 0, 0, 2)) for _ in sizes]
        packets = [
            ipv4(payload=dice.randbytes(size), ecn=ecn) for size, ecn in zip(sizes, marks, strict=True)
        ]
        sent += packets
        pair.up(packets)
    pair.run(50 * MS)
    assert pair.at_hub == sent
    for plane in (pair.edge, pair.hub):
        sums_must_hold(plane)
        assert not drops(plane)
    assert pair.hub.stats()["bundled_in_packets"] == pair.edge.stats()["bundled_out_packets"]


def test_a_batch_of_datagrams_full_of_small_packets() -> None:
    """Far more packets than a batch holds."""
    rig = Solo(pool_pkts=8192)
    packets = [ipv4(payload=struct.pack(">I", n)) for n in range(64 * 40)]
    datagrams = [rig.far.seal(bundle(packets[40 * n : 40 * n + 40])) for n in range(64)]
    rig.receive(*datagrams)
    assert rig.delivered() == packets
    stats = sums_must_hold(rig.plane)
    assert stats["bundled_in_packets"] == len(packets)
    assert rig.plane.stats()["pool_free_pkts"] == rig.pool_pkts or rig.tick() is None


# ---- what a peer may send ----

GOOD = ipv4(payload=b"good")


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        (item_length(0), "empty item"),
        (item_length(200) + GOOD, "past the end"),
        (b"\xff\xff" + GOOD, "far past the end"),
        (b"\xf1", "half a length"),
        (item_length(3) + b"\x00\x00\x00", "frames of our own"),
        (item_length(3) + bundle([b"E"]), "a bundle in a bundle"),
        (item_length(18) + b"\x01" + bytes(17), "a PING in a bundle"),
    ],
)
def test_a_broken_bundle_ends_where_it_breaks(rest: bytes, what: str) -> None:
    rig = Solo()
    rig.hear(bundle([GOOD, GOOD]) + rest)
    assert rig.delivered() == [GOOD, GOOD], what
    assert drops(rig.plane) == {("receive", "bad-frame"): 1}
    assert not [o for o in rig.opened() if o.plaintext[:1] == b"\x02"], "nothing is answered"
    sums_must_hold(rig.plane)


def test_an_empty_bundle_is_nothing() -> None:
    rig = Solo()
    rig.hear(bytes([BUNDLE]))
    assert rig.delivered() == [] and not drops(rig.plane)
    sums_must_hold(rig.plane)


def test_no_buffer_for_an_item_is_counted() -> None:
    rig = Solo(pool_pkts=256)
    items = [ipv4(payload=struct.pack(">I", n)) for n in range(50)]
    rig.receive(*[rig.far.seal(bundle(items)) for _ in range(8)])
    lost = drops(rig.plane)[("receive", "pool-empty")]
    assert len(rig.delivered()) + lost == 400
    assert lost > 0
    sums_must_hold(rig.plane)


# ---- voice that waits ----


def talk(rig: Solo, first: int, count: int, **rtp_args: int) -> list[bytes]:
    packets = [rtp(first + n, **rtp_args) for n in range(count)]
    for packet in packets:
        rig.send(packet)
    return packets


def known(rig: Solo, *calls: int) -> None:
    """The flows have been seen to be RTP: three packets that follow another one."""
    for call in calls:
        talk(rig, 0, 3, ssrc=call, port=5000 + call)
    rig.sent()


def test_voice_of_several_calls_waits_and_goes_together() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    known(rig, 1, 2, 3)
    packets = [rtp(3, ssrc=call, port=5000 + call) for call in (1, 2, 3)]
    for packet in packets:
        rig.send(packet)
        assert rig.sent() == []
        rig.now_ns += MS // 2
    ((at_ns, datagram),) = rig.tick_until(rig.now_ns + 10 * MS)
    assert [inner.packet for inner in rig.far.open(datagram).of(Inner)] == packets
    assert at_ns == rig.now_ns - 10 * MS - 3 * MS // 2 + HOLD_NS, "from the first of them"
    sums_must_hold(rig.plane)


def test_what_is_not_yet_known_to_be_voice_does_not_wait() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    for n in range(3):
        rig.send(rtp(n))
        assert len(rig.sent()) == 1
    rig.send(rtp(3))
    assert rig.sent() == []


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    ("packet", "of"),
    [
        (rtp(1, dscp=46), 0),
        (ipv6("fd00::2", "fd00::1", rtp(1)[20:], ecn=46 << 2), 0),
        (rtp(1, dscp=32), 1),
        (ipv4(INNER_B, INNER_A, bytes(30), ecn=32 << 2), 1),
        (ipv4(INNER_B, INNER_A, bytes(30)), 2),
        (rtp(1), 2),
    ],
)
def test_each_class_waits_as_long_as_it_may(packet: bytes, of: int, which: int) -> None:
    holds = [0, 0, 0]
    holds[which] = 3 * MS
    rig = Solo(may_bundle=True, hold_ns=tuple(holds))
    rig.send(packet)
    assert len(rig.sent()) == (0 if of == which else 1)
    assert len(rig.tick_until(rig.now_ns + 3 * MS)) == (1 if of == which else 0)


@pytest.mark.parametrize("step", [0, 17, -1])
def test_a_flow_that_does_not_count_up_is_no_voice(step: int) -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    for n in range(20):
        rig.send(rtp(1000 + n * step))
        assert len(rig.sent()) == 1


@pytest.mark.parametrize("conf", [{"hold_ns": (0, 0, 0), "may_bundle": True}, {"hold_ns": VOIP}])
def test_nothing_waits_where_it_is_not_asked(conf: dict[str, Any]) -> None:
    rig = Solo(**conf)
    talk(rig, 0, 10)
    assert len(rig.sent()) == 10


def test_large_voice_does_not_wait() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    talk(rig, 0, 10, size=401)
    assert len(rig.sent()) == 10


def test_another_small_packet_takes_what_waits_along() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    known(rig, 1)
    voice, other = rtp(3, ssrc=1, port=5001), down()
    rig.send(voice)
    rig.send(down(bytes(1000)))
    assert contents(rig) == [[down(bytes(1000))]], "a large one does not"
    rig.send(other)
    assert contents(rig) == [[voice, other]]
    assert rig.tick_until(rig.now_ns + 10 * MS) == []


def test_so_much_voice_that_a_datagram_is_full_goes_at_once() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    known(rig, 1)
    packets = [rtp(3 + n, ssrc=1, port=5001) for n in range(40)]
    rig.send(*packets)
    found = contents(rig)
    assert found and sum(map(len, found)) >= 15
    rest = rig.tick_until(rig.now_ns + HOLD_NS)
    found += [[inner.packet for inner in rig.far.open(datagram).of(Inner)] for _, datagram in rest]
    assert [packet for datagram in found for packet in datagram] == packets
    sums_must_hold(rig.plane)


def test_no_more_than_32_packets_wait() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    found = []
    for n in range(100):
        rig.send(ipv4(INNER_B, INNER_A, struct.pack(">HHHH", 5, 5, 8, n), ecn=46 << 2))
        found += contents(rig)
        assert sums_must_hold(rig.plane)["inner_held_packets"] < 32
    assert list(map(len, found)) == [32, 32, 32]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 30), st.booleans(), st.integers(0, 3 * MS)),
        min_size=1,
        max_size=25,
    )
)
def test_no_packet_overtakes_one_of_its_flow_or_waits_too_long(
    steps: list[tuple[int, int, bool, int]],
) -> None:
    pair = Pair(may_bundle=True, hold_ns=VOIP, delay_ns=0)
    next_of = [0] * 4
    sent: dict[int, list[bytes]] = {call: [] for call in range(5)}
    for call, count, has_others, wait_ns in steps:
        batch = []
        for _ in range(count):
            packet = rtp(next_of[call], ssrc=call, port=5000 + call)
            next_of[call] += 1
            sent[call].append(packet)
            batch.append(packet)
            if has_others:
                batch.append(down(struct.pack(">I", len(sent[4])) + bytes(40)))
                sent[4].append(batch[-1])
        for start in range(0, len(batch), 64):
            pair.down(batch[start : start + 64])
        before = len(pair.at_edge)
        pair.run(HOLD_NS + 1)
        assert len(pair.at_edge) >= before
        assert sorted(pair.at_edge) == sorted(p for flow in sent.values() for p in flow), "in time"
        pair.run(wait_ns)
    for call in range(4):
        of_call = [p for p in pair.at_edge if p[20:22] == struct.pack(">H", 5000 + call)]
        assert of_call == sent[call]
    sums_must_hold(pair.hub)


def test_what_waits_is_dropped_with_its_peer() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP)
    known(rig, 1)
    talk(rig, 3, 2, ssrc=1, port=5001)
    rig.plane.peer_remove(rig.peer)
    assert drops(rig.plane) == {("transmit", "stopped"): 2}
    assert sums_must_hold(rig.plane)["inner_held_packets"] == 0


def test_nothing_waits_when_buffers_run_short() -> None:
    rig = Solo(may_bundle=True, hold_ns=VOIP, pool_pkts=256)
    known(rig, 1)
    filler = [down(bytes(1000)) for _ in range(64)]
    rig.send(*filler)
    rig.send(*filler)
    rig.send(rtp(3, ssrc=1, port=5001))
    assert len(rig.sent()) == 129
