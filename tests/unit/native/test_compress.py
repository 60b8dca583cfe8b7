"""Compression in the packet path: what goes in at one end comes out at the other, in fewer bytes."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from oxidized.core.plane import Compression, PayloadRule, SessionKeys, Suite
from oxidized.ffi.lz import LZ_DICTIONARIES, LZ_DIGEST
from tests.native.rig import HUB, INNER_A, INNER_B, MS, Pair, S, drops, ipv6, key, sums_must_hold

BOTH = Compression(tx_flows=64, rx_flows=64, tx_dictionaries=LZ_DIGEST, rx_dictionaries=LZ_DIGEST)
HEADERS = Compression(tx_flows=64, rx_flows=64)
OTHERS = Compression(tx_dictionaries=LZ_DIGEST ^ 1, rx_dictionaries=LZ_DIGEST ^ 1)
SYSLOG = PayloadRule(514, 17, LZ_DICTIONARIES.index("syslog"))


def make(compression: Compression = HEADERS, **more: Any) -> Pair:
    conf = {"flows": 64, "may_bundle": True, "hash_key": 7, **more}
    return Pair(compression=compression, **conf)


def voice(n: int, call: int = 0, size: int = 20) -> bytes:
    rtp = struct.pack(">BBHII", 0x80, 18, n & 0xFFFF, 160 * n & 0xFFFFFFFF, 1000 + call)
    udp = UDP(sport=6000 + call, dport=7000) / (rtp + bytes([n & 255]) * size)
    return bytes(IP(src=INNER_A, dst=INNER_B, id=0, flags="DF") / udp)


def tcp(n: int, size: int = 0, flags: str = "A") -> bytes:
    options = [("NOP", None), ("NOP", None), ("Timestamp", (5000 + n // 3, 900 + n // 5))]
    segment = TCP(sport=40000, dport=443, seq=1000 + n * size, ack=77, flags=flags, options=options)
    return bytes(IP(src=INNER_A, dst=INNER_B, id=n & 0xFFFF) / segment / (b"d" * size))


def six(n: int) -> bytes:
    return bytes(IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2) / struct.pack(">I", n))


def log(n: int) -> bytes:
    dice = random.Random(n)
    text = f"<134>1 2026-03-{n % 28 + 1:02}T10:{n % 60:02}:00Z host{dice.randrange(99)} app "
    text += f"{dice.randrange(9999)} - - connection from 10.1.{dice.randrange(256)}.{dice.randrange(256)} "
    text += f"closed after {dice.randrange(900)} ms"
    return bytes(IP(src=INNER_A, dst=INNER_B) / UDP(sport=514, dport=514) / text.encode())


def drive(pair: Pair, batches: list[list[bytes]], gap_ns: int = 20 * MS) -> list[bytes]:
    sent = []
    for batch in batches:
        sent += batch
        pair.up(batch)
        pair.run(gap_ns)
    pair.run(1 * S)
    return sent


def must_be_whole(pair: Pair, sent: list[bytes]) -> None:
    """Everything arrived unchanged and in order, and nothing is unaccounted for."""
    assert pair.at_hub == sent
    for plane in (pair.edge, pair.hub):
        sums_must_hold(plane)
        assert not drops(plane)


def test_a_voice_packet_costs_one_byte_of_header() -> None:
    pair = make()
    must_be_whole(pair, drive(pair, [[voice(n)] for n in range(500)]))
    stats = pair.edge.compression_stats()
    assert stats["header_packets"]["rtp"] >= 498
    packets = stats["header_packets"]["rtp"]
    assert stats["coded_bytes"]["rtp"] < 2.12 * packets + 80, "and one for the flow's number"
    assert stats["setups"] < 10
    path = pair.edge.peer_counters(pair.edge_peer).paths[0]
    assert path.tx_bytes / 500 < 24 + 20 + 2 + 2.2, "UDP payload, acknowledgements of the other way with it"
    assert pair.hub.compression_stats()["restored_packets"]["rtp"] == stats["header_packets"]["rtp"]


def test_eight_calls_in_one_datagram() -> None:
    pair = make(hold_ns=(2 * MS, 0, 0))
    batches = [[voice(n, call) for call in range(8)] for n in range(400)]
    sent = drive(pair, batches)
    assert sorted(pair.at_hub) == sorted(sent)
    path = pair.edge.peer_counters(pair.edge_peer).paths[0]
    assert (path.tx_bytes + 28 * path.tx_packets) / len(sent) < 31


@pytest.mark.parametrize("mtu_bytes", [1420, 1512, 9000])
def test_a_full_bundle_whose_first_header_became_short(mtu_bytes: int) -> None:
    """It begins further back in its buffer, and must end before that does."""
    dice = random.Random(1)
    pair = make(all_headers=True, mtu_bytes=mtu_bytes)
    pair.edge.path_set(pair.edge_peer, 0, HUB, mtu_bytes + 24)
    batches = []
    for n in range(100):
        udp = UDP(sport=dice.randrange(1 << 16), dport=9, chksum=1)
        others = [bytes(udp / dice.randbytes(dice.randrange(80, 460))) for _ in range(30)]
        batches.append([six(n), *(ipv6(payload=each) for each in others)])
    must_be_whole(pair, drive(pair, batches))
    assert pair.edge.stats()["bundles_out"] > 100


def test_a_hundred_calls_that_begin_at_once() -> None:
    """Each of them is found to be a call, and has a context of its own."""
    pair = make(Compression(tx_flows=128, rx_flows=128), flows=128, pool_pkts=2048)
    calls = range(100)
    for n in range(60):
        for start in range(0, 100, 50):
            pair.up([voice(n, call) for call in calls[start : start + 50]])
            pair.run(10 * MS)
    stats = pair.edge.compression_stats()
    assert stats["header_packets"]["rtp"] >= 58 * 100
    assert stats["whole_packets"]["udp"] <= 2 * 100
    assert not drops(pair.hub)


@pytest.mark.parametrize("profile", ["tcp", "udp"])
def test_other_flows(profile: str) -> None:
    pair = make()
    batches = [[tcp(n), tcp(n, 300)] if profile == "tcp" else [six(n)] for n in range(200)]
    must_be_whole(pair, drive(pair, batches))
    stats = pair.edge.compression_stats()
    assert stats["coded_bytes"][profile] * 2 < stats["header_bytes"][profile]


@pytest.mark.parametrize(
    ("compression", "conf"),
    [
        (Compression(rx_flows=64), {}),
        (HEADERS, {"flows": 0}),
        (OTHERS, {"compress_payload": True}),
    ],
)
def test_what_the_other_end_does_not_take_goes_whole(compression: Compression, conf: dict[str, Any]) -> None:
    pair = make(compression, **conf)
    if conf.get("compress_payload"):
        pair.edge.compression_set([SYSLOG])
    must_be_whole(pair, drive(pair, [[voice(n), log(n)] for n in range(50)]))
    stats = pair.edge.compression_stats()
    assert not any(stats["header_packets"].values()) and not any(stats["payload_packets"].values())


def test_allowed_payloads_shrink() -> None:
    pair = make(BOTH, compress_payload=True)
    pair.edge.compression_set([SYSLOG])
    must_be_whole(pair, drive(pair, [[log(n)] for n in range(100)]))
    stats = pair.edge.compression_stats()
    assert stats["payload_packets"]["syslog"] == 100
    assert stats["pressed_bytes"]["syslog"] < 0.8 * stats["payload_bytes"]["syslog"]
    assert pair.hub.compression_stats()["payloads_restored"] == 100


def test_payloads_without_a_rule_are_left_alone() -> None:
    pair = make(BOTH, compress_payload=True)
    pair.edge.compression_set([PayloadRule(515, 17, 1)])
    must_be_whole(pair, drive(pair, [[log(n)] for n in range(20)]))
    assert not any(pair.edge.compression_stats()["payload_packets"].values())


def test_random_payloads_are_given_up_and_cost_nothing() -> None:
    """Of one flow a few are tried, and what does not shrink goes as it is."""
    pair = make(Compression(tx_dictionaries=LZ_DIGEST, rx_dictionaries=LZ_DIGEST), compress_payload=True)
    pair.edge.compression_set([SYSLOG])
    dice = random.Random(3)
    head = IP(src=INNER_A, dst=INNER_B) / UDP(sport=514, dport=514)
    packets = [bytes(head / dice.randbytes(900)) for _ in range(200)]
    must_be_whole(pair, drive(pair, [[packet] for packet in packets]))
    path = pair.edge.peer_counters(pair.edge_peer).paths[0]
    assert path.tx_bytes == sum(len(packet) + 24 for packet in packets)
    assert pair.edge.oracle_counters().looked_packets < 20


def test_at_high_rates_large_packets_go_whole() -> None:
    """A batch of 64 within 10 ms, again and again: trains matter more than bytes then."""
    pair = make()
    batches = [[tcp(64 * n + i, 1348) for i in range(64)] for n in range(30)]
    must_be_whole(pair, drive(pair, batches, gap_ns=1 * MS))
    stats = pair.edge.compression_stats()
    assert stats["passed_packets"] > 1500
    path = pair.edge.peer_counters(pair.edge_peer).paths[0]
    assert path.tx_bytes <= sum(len(packet) + 24 for batch in batches for packet in batch) + 16 * 3


@pytest.mark.parametrize(("delay_ms", "is_coded"), [(0.9, False), (1.1, True)])
def test_a_path_that_is_near_is_left_alone(delay_ms: float, is_coded: bool) -> None:
    """Until its round trip is known headers are compressed."""
    pair = make(delay_ns=round(delay_ms * MS))
    must_be_whole(pair, drive(pair, [[voice(n)] for n in range(100)]))
    assert (pair.edge.compression_stats()["header_packets"]["rtp"] > 50) is is_coded
    everything = make(delay_ns=round(delay_ms * MS), all_headers=True)
    must_be_whole(everything, drive(everything, [[voice(n)] for n in range(100)]))
    assert everything.edge.compression_stats()["header_packets"]["rtp"] > 90


def test_small_packets_have_a_budget() -> None:
    pair = make()
    batches = [[voice(64 * n + i) for i in range(64)] for n in range(100)]
    must_be_whole(pair, drive(pair, batches, gap_ns=MS // 10))
    stats = pair.edge.compression_stats()
    assert stats["header_packets"]["rtp"] <= 501 * 2 + 500
    assert stats["passed_packets"] >= 6400 - 1502
    everything = make(all_headers=True)
    must_be_whole(everything, drive(everything, batches, gap_ns=MS // 10))
    assert everything.edge.compression_stats()["passed_packets"] == 0


MIX = st.lists(
    st.lists(
        st.one_of(
            st.builds(voice, st.integers(0, 400), st.integers(0, 3)),
            st.builds(tcp, st.integers(0, 400), st.sampled_from([0, 30, 600, 1300])),
            st.builds(six, st.integers(0, 2**32 - 1)),
            st.builds(log, st.integers(0, 400)),
            st.binary(min_size=0, max_size=60).map(
                lambda data: bytes(IP(src=INNER_A, dst=INNER_B, proto=253) / data)
            ),
        ),
        min_size=1,
        max_size=12,
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(MIX, st.integers(0, 2**32), st.sampled_from([0, 5, 30]), st.sampled_from([0, 5, 60]), st.booleans())
def test_loss_and_reordering_never_change_a_packet(
    batches: list[list[bytes]], seed: int, percent: int, jitter_ms: int, with_payload: bool
) -> None:
    """Each packet arrives as it was sent, or is lost with its datagram; nothing is undecodable."""
    dice = random.Random(seed)

    def fate(way: str, n: int) -> int | None:
        if dice.uniform(0, 100) < percent:
            return None
        return 10 * MS + (dice.randrange(jitter_ms * MS) if jitter_ms else 0)

    compression = BOTH if with_payload else HEADERS
    pair = make(compression, fate=fate, hold_ns=(2 * MS, 0, 1 * MS), compress_payload=True)
    pair.edge.compression_set([SYSLOG])
    sent = drive(pair, batches, gap_ns=7 * MS)
    left = sorted(sent)
    for packet in pair.at_hub:
        left.remove(packet)
    if percent == 0:
        assert not left
    assert not drops(pair.edge) and not drops(pair.hub)
    sums_must_hold(pair.edge)
    sums_must_hold(pair.hub)


def test_a_new_session_begins_anew() -> None:
    """Contexts of the one before are forgotten at both ends; what is still under way is a named drop."""
    pair = make()
    for n in range(30):
        pair.up([voice(n)])
        pair.run(20 * MS)
    before = pair.edge.compression_stats()["setups"]
    pair.session(seed=1)
    sent = drive(pair, [[voice(30 + n)] for n in range(30)])
    assert pair.at_hub[-30:] == sent
    assert pair.edge.compression_stats()["setups"] > before
    assert not drops(pair.hub)


def test_late_packets_of_the_session_before_leave_the_new_contexts_alone() -> None:
    delay = [10 * MS]
    pair = make(fate=lambda way, n: delay[0])
    drive(pair, [[voice(n)] for n in range(30)])
    delay[0] = 300 * MS
    pair.up([voice(30)])
    pair.run(1 * MS)
    delay[0] = 10 * MS
    pair.session(seed=2)
    sent = drive(pair, [[voice(31 + n)] for n in range(40)])
    assert pair.at_hub[-40:] == sent
    assert drops(pair.hub) in ({}, {("receive", "no-context"): 1})
    sums_must_hold(pair.hub)


def test_a_session_index_that_comes_again() -> None:
    """By chance a new session has the receiver index of an old one: contexts begin anew all the same."""
    pair = make()
    for seed in range(3):
        sent = drive(pair, [[voice(100 * seed + n)] for n in range(20)])
        assert pair.at_hub[-20:] == sent
        pair.edge.session_drop(pair.edge_peer)
        pair.hub.session_drop(pair.hub_peer)
        pair.session(seed=0)
    assert pair.hub.compression_stats()["restored_packets"]["rtp"] > 40
    assert not drops(pair.hub)


def test_no_buffer_for_a_packet_does_not_harm_those_that_follow() -> None:
    """Its header is a reference all the same, as its datagram is acknowledged."""
    pair = make(pool_pkts=256)
    drive(pair, [[voice(n)] for n in range(40)])
    pair.hub.inner_push(pair.now_ns, [bytes(IP(src=INNER_B, dst=INNER_A) / (b"x" * 1000))] * 64)
    pair.hub.inner_push(pair.now_ns, [bytes(IP(src=INNER_B, dst=INNER_A) / (b"x" * 1000))] * 64)
    pair.run(50 * MS)
    sent = drive(pair, [[voice(40 + n)] for n in range(40)])
    assert pair.at_hub[-40:] == sent


def test_keys_are_of_no_concern() -> None:
    """A rekey goes on with the contexts there are."""
    pair = make()
    drive(pair, [[voice(n)] for n in range(20)])
    for plane, peer, rx, tx in (
        (pair.edge, pair.edge_peer, 1, 2),
        (pair.hub, pair.hub_peer, 2, 1),
    ):
        plane.epoch_install(pair.now_ns, peer, 1, key(rx), key(tx))
    pair.edge.epoch_send(pair.now_ns, pair.edge_peer, 1)
    pair.hub.epoch_send(pair.now_ns, pair.hub_peer, 1)
    before = pair.edge.compression_stats()["setups"]
    drive(pair, [[voice(20 + n)] for n in range(20)])
    assert len(pair.at_hub) == 40
    assert pair.edge.compression_stats()["setups"] == before


def test_session_keys_say_nothing_unless_told() -> None:
    keys = SessionKeys(1, 2, Suite.AES_256_GCM, key(1), key(2), True)
    assert keys.compression == Compression() and not keys.may_bundle
