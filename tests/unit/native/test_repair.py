"""What is kept and sent again, when, and how often; what comes of it at the other end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from oxidized.core.plane import Compression, Regime, RepairMode
from tests.differential.reference import Abandon, Ack, Inner, Prompt, Repair, Repeat, Source
from tests.native.repair_rig import TCP_PSH, Judge, RepairPair, Sent, carries, number_of, once, tcp, udp
from tests.native.rig import INNER_A, INNER_B, MS, PAYLOAD_MAX, S, ipv4

BUDGET_MS = {"gaming": 100, "voip": 150, "control": 250}
TIMED = tuple(BUDGET_MS)


def ages_ms(budget_ms: float, rtt_ms: float) -> list[float]:
    """When copies leave of a packet of which nothing is ever heard: one each round, three in the last."""
    wait = rtt_ms + min(max(rtt_ms / 32, 1), 3) + 4  # round trip, the peer's delay, jitter
    leave = budget_ms - rtt_ms / 2 - 2
    found, at = [], wait
    while at <= leave:
        if leave - at < wait:
            return found + [copy for copy in (at, at + 10, at + 20) if copy <= leave]
        found.append(at)
        at += wait
    return found


@pytest.mark.parametrize("rtt_ms", [10, 20, 40, 80])
@pytest.mark.parametrize("traffic_class", TIMED)
def test_rounds_and_copies_of_a_class_with_a_deadline(traffic_class: str, rtt_ms: int) -> None:
    pair = RepairPair(rtt_ms=rtt_ms, mode=RepairMode.ARQ, judge=lambda sent: sent.way == "up")
    pair.wish()
    since = pair.now_ns
    pair.up([udp(1, traffic_class)])
    pair.run(1 * S)
    expected = ages_ms(BUDGET_MS[traffic_class], rtt_ms)
    assert pair.ages_ms(Repeat, since) == expected
    assert bool(expected) == (rtt_ms < 80 or traffic_class != "gaming")
    told = pair.told()
    assert (told["lost"], told.get("repeats_out", 0), told["too_late"]) == (1, len(expected), 1)
    assert pair.kept() == 0


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_of_the_last_round_are_as_wished(copies: int) -> None:
    pair = RepairPair(rtt_ms=80, mode=RepairMode.ARQ, judge=lambda sent: sent.way == "up")
    pair.wish(copies=copies)
    pair.up([udp(1)])
    pair.run(1 * S)
    assert len(pair.repeats()) == copies


@pytest.mark.parametrize("rtt_ms", [160, 300])
@pytest.mark.parametrize("traffic_class", ["gaming", "voip"])
def test_no_copy_leaves_too_late(traffic_class: str, rtt_ms: int) -> None:
    pair = RepairPair(rtt_ms=rtt_ms, mode=RepairMode.ARQ, judge=once(carries(1)))
    pair.wish()
    for n in range(40):
        pair.up([udp(n, traffic_class)])
        pair.run(20 * MS)
    pair.run(1 * S)
    assert pair.repeats() == [] and pair.numbers() == [0, *range(2, 40)]
    assert pair.told()["too_late"] == 1 and pair.kept() == 0


@pytest.mark.parametrize("rtt_ms", [20, 40, 80])
def test_a_lost_packet_comes_in_time_and_once(rtt_ms: int) -> None:
    pair = RepairPair(rtt_ms=rtt_ms, judge=once(carries(5)))
    pair.wish()
    begin_ns = pair.now_ns
    for n in range(20):
        pair.up([udp(n)])
        pair.run(20 * MS)
    pair.run(1 * S)
    assert sorted(pair.numbers()) == list(range(20)) and pair.numbers() != list(range(20))
    copies = pair.ages_ms(Repeat, begin_ns + 5 * 20 * MS)
    assert rtt_ms < copies[0] < rtt_ms + 10
    assert len(copies) == (3 if rtt_ms == 80 else 1), "in the last round three, else one"
    told = pair.told()
    assert (told["lost"], told["repaired"]) == (1, 1)
    assert not {"vain", "too_late", "over_budget"} & set(told)
    assert pair.kept() == 0 and not pair.drops()


def test_a_repeat_is_the_content_under_its_first_number() -> None:
    pair = RepairPair(judge=once(carries(5)))
    pair.wish()
    pair.up([udp(5)])
    pair.run(1 * S)
    first = next(sent for sent in pair.sent if sent.has(Inner))
    (copy,) = pair.repeats()
    prompt, repeat, inner = copy.frames
    assert (prompt, repeat, inner) == (Prompt(), Repeat(0, first.opened.pn), Inner(udp(5)))
    assert copy.size == first.size + 6, "the first one had a PROMPT, too"


def test_acknowledgements_are_prompt_on_lossy_paths_alone() -> None:
    pair = RepairPair()
    for is_lossy in (False, True):
        pair.sent.clear()
        if is_lossy:
            pair.wish()
        since = pair.now_ns
        pair.up([udp(1)])
        pair.run(1 * S)
        assert len(pair.of(Prompt)) == is_lossy
        ack_ms = [(sent.at_ns - since) / MS for sent in pair.of(Ack, "down")]
        assert ack_ms == [21.25 if is_lossy else 420.0]


def test_a_path_that_loses_is_found_lossy_without_a_wish() -> None:
    """One loss in a thousand makes it so, in both directions of time."""
    pair = RepairPair(mode=RepairMode.ARQ)
    for n in range(600):
        pair.judge = once(carries(n)) if n in (50, 60, 70) else pair.judge
        pair.up([udp(n)])
        pair.run(20 * MS)
    pair.run(1 * S)
    prompts = [sent for sent in pair.of(Prompt) if not sent.has(Repeat)]
    assert len(prompts) > 300
    assert pair.edge.peer_counters(pair.edge_peer).paths[0].loss_ppm > 1000


# ---- modes ----


def call(pair: RepairPair, count: int, *, begin: int = 0, wish: dict[str, Any] | None = None) -> None:
    for n in range(begin, begin + count):
        if wish is not None and n % 50 == begin % 50:
            pair.wish(**wish)
        pair.up([udp(n)])
        pair.run(20 * MS)


def test_off_keeps_nothing_and_marks_nothing() -> None:
    pair = RepairPair(mode=RepairMode.OFF, judge=once(carries(5)))
    call(pair, 50, wish={"redundancy": 1.0})
    pair.run(1 * S)
    assert pair.told() == {}
    assert not any(pair.of(kind) for kind in (Prompt, Repeat, Source, Repair, Abandon))
    assert pair.numbers() == [n for n in range(50) if n != 5]


@pytest.mark.parametrize("redundancy", [0.1, 0.5, 1.0])
def test_fec_sends_as_many_symbols_as_wished(redundancy: float) -> None:
    pair = RepairPair(mode=RepairMode.FEC, judge=once(carries(58)))
    call(pair, 200, wish={"redundancy": redundancy})
    pair.run(1 * S)
    most = 200 * redundancy  # less what is acknowledged before its symbol is made
    assert most * (1 if redundancy < 1 else 0.8) <= len(pair.repairs()) <= most
    assert len(pair.of(Source)) == 200 and pair.repeats() == [] and not pair.of(Prompt)
    assert sorted(pair.numbers()) == list(range(200)), "a symbol brought it back"
    assert pair.hub.repair_stats()["decoded_in"] == 1


@pytest.mark.parametrize(("rtt_ms", "is_coded"), [(20, False), (80, False), (160, True), (200, True)])
def test_auto_codes_where_no_copy_comes_in_time(rtt_ms: int, is_coded: bool) -> None:
    pair = RepairPair(rtt_ms=rtt_ms, judge=once(carries(30)))
    wish = {"redundancy": 1.0}
    for n in range(60):
        if n % 50 == 0:
            pair.wish(**wish)
        pair.up([udp(n)])
        pair.run(20 * MS)
        if n == 37:
            assert 30 in pair.numbers(), "within 160 ms, and a call may be late by 150"
    pair.run(1 * S)
    assert sorted(pair.numbers()) == list(range(60))
    assert bool(pair.of(Source)) == bool(pair.repairs()) == is_coded
    assert bool(pair.repeats()) == bool(pair.of(Prompt)) == (not is_coded)


def test_modes_change_while_packets_flow() -> None:
    pair = RepairPair(rtt_ms=160, mode=RepairMode.ARQ)
    for n, mode in enumerate((RepairMode.FEC, RepairMode.ARQ, RepairMode.OFF, RepairMode.AUTO)):
        pair.edge.repair_set(mode)
        if mode is RepairMode.OFF:
            assert pair.kept() == 0
        pair.sent.clear()
        pair.judge = once(carries(100 * n + 5))
        call(pair, 20, begin=100 * n, wish={"redundancy": 1.0})
        assert bool(pair.of(Source)) == (mode in (RepairMode.FEC, RepairMode.AUTO))
        assert bool(pair.of(Prompt)) == (mode is RepairMode.ARQ)
        pair.told()
    pair.run(1 * S)
    lost = {5, 105, 205, 305} - set(pair.numbers())
    assert lost == {105, 205}, "by ARQ no copy comes in time here"
    assert len(pair.numbers()) == len(set(pair.numbers())) == 78


# ---- what is kept ----


def test_nothing_that_tcp_repairs_itself_is_kept() -> None:
    """Acknowledgements alone, and on a near path all that has no deadline."""
    pair = RepairPair()
    before = pair.told()["kept"]
    pair.up([tcp(n, size=0) for n in range(10)])
    assert pair.told()["kept"] == before
    pair.up([tcp(0), tcp(1, size=0, flags=TCP_PSH), udp(1, "bulk")])
    assert pair.told()["kept"] == before + 3
    near = RepairPair(rtt_ms=1)
    before = near.told().get("kept", 0)
    near.up([tcp(0), udp(1, "bulk"), udp(2, "voip")])
    assert near.told()["kept"] == before + 1


def test_what_pours_through_the_arena_is_not_kept() -> None:
    """More in a round trip than it holds: by the time of the loss it would be gone."""
    pair = RepairPair(repair_bytes=65536)
    for n in range(20):
        pair.up([tcp(20 * n + i) for i in range(20)])
        pair.run(1 * MS)
    assert pair.told()["kept"] < 300 and pair.kept() <= 64
    pair.run(1 * S)
    assert len(pair.numbers()) == 400


def test_a_crowded_arena_loses_the_oldest_and_nothing_else() -> None:
    pair = RepairPair(repair_bytes=65536, judge=lambda sent: sent.way == "down")
    before = pair.told()["kept"]
    pair.up([udp(n, "control", size=1000) for n in range(60)])
    pair.up([udp(n, "control", size=1000) for n in range(60, 120)])
    told = pair.told()
    assert told["kept"] == before + 120
    assert told["crowded"] == 120 - pair.kept() and 55 <= pair.kept() <= 64
    pair.run(1 * S)
    assert pair.numbers() == list(range(120))


def test_of_small_ones_there_are_4096() -> None:
    pair = RepairPair(judge=lambda sent: sent.way == "down")
    for n in range(0, 4500, 50):
        pair.up([udp(n + i, size=20) for i in range(50)])
        pair.run(0)
    assert pair.kept() == 4096 and pair.told()["crowded"] == 4500 - 4096


def test_a_peer_that_never_acknowledges_is_bounded() -> None:
    """Calls: copies until the budget is used up; the rest waits for what never comes, and makes room."""
    pair = RepairPair(mode=RepairMode.ARQ, overhead=0.2, judge=lambda sent: sent.way == "down")
    call(pair, 300, wish={})
    pair.up([tcp(n) for n in range(60)])
    pair.run(2 * S)
    told = pair.told()
    assert told["lost"] == 300 and "repaired" not in told
    assert len(pair.repeats()) <= 512 + 0.2 * 460
    assert pair.kept() == 60, "of those nothing tells that they were lost"
    assert pair.numbers() == [*range(300), *range(60)]
    assert pair.hub.repair_stats()["known_in"] == len(pair.repeats())


@pytest.mark.parametrize("overhead", [0.0, 0.1, 0.5])
def test_the_budget_is_kept(overhead: float) -> None:
    """What was saved up at the beginning, and then so much for each packet sent."""
    pair = RepairPair(mode=RepairMode.ARQ, overhead=overhead, judge=lambda sent: sent.way == "up")
    pair.wish()
    for n in range(0, 1000, 20):
        if n % 400 == 0:
            pair.wish()
        pair.up([udp(n + i) for i in range(20)])
        pair.run(50 * MS)
    pair.run(1 * S)
    told = pair.told()
    most = 512 + overhead * 1000
    assert most - 20 * overhead - 1 <= told["repeats_out"] <= most
    assert told["over_budget"] + told.get("too_late", 0) == 1000 and told["over_budget"] > 0


# ---- duplicates ----


def test_an_original_that_comes_late_is_a_duplicate() -> None:
    pair = RepairPair(judge=once(carries(5), 100 * MS))
    pair.wish()
    call(pair, 20)
    pair.run(1 * S)
    assert sorted(pair.numbers()) == list(range(20))
    assert pair.drops() == {"replayed": 1}
    assert pair.told()["repaired"] == 1 and pair.hub.repair_stats()["restored_in"] == 1


def test_a_copy_of_what_has_come_is_suppressed() -> None:
    """The acknowledgements are lost, not the packet."""
    pair = RepairPair(judge=lambda sent: sent.way == "down")
    pair.wish()
    pair.up([udp(5)])
    pair.run(60 * MS)
    pair.judge = lambda sent: False
    pair.run(1 * S)
    assert pair.numbers() == [5]
    hub = pair.hub.repair_stats()
    assert (hub["repeats_in"], hub["known_in"], hub["restored_in"]) == (1, 1, 0)
    assert not pair.drops() and pair.kept() == 0


def test_copies_in_vain_make_it_wait_longer() -> None:
    """Packets that change places are repeated no more, once it is known how far."""
    pair = RepairPair(mode=RepairMode.ARQ)
    copies = []
    for n in range(400):
        pair.judge = once(carries(n), 10 * MS) if n % 8 == 0 else pair.judge
        pair.up([tcp(n)])
        pair.run(2 * MS)
        copies.append(len(pair.repeats()))
    pair.run(1 * S)
    assert sorted(pair.numbers()) == list(range(400)), "each once"
    assert 0 < copies[200] == copies[-1] < 10
    assert pair.told()["vain"] == copies[-1] == pair.hub.repair_stats()["known_in"]


# ---- changes in the middle ----


def test_a_new_session_forgets_what_the_old_one_sent() -> None:
    pair = RepairPair(judge=once(carries(5)))
    pair.wish()
    pair.up([udp(5), tcp(0)])
    pair.run(20 * MS)
    assert pair.kept() == 2
    pair.session(seed=1)
    assert pair.kept() == 0
    pair.run(1 * S)
    assert pair.repeats() == [] and pair.numbers() == [0]
    pair.judge = once(carries(6))
    pair.wish()
    call(pair, 5, begin=6)
    pair.run(1 * S)
    assert sorted(pair.numbers()) == [0, *range(6, 11)]


def test_what_does_not_fit_any_more_is_not_repeated() -> None:
    pair = RepairPair(judge=once(carries(5)))
    pair.wish()
    pair.up([udp(5, size=1388), udp(6)])
    pair.run(20 * MS)
    pair.edge.path_payload(pair.edge_peer, 0, 1304)
    pair.run(1 * S)
    assert pair.repeats() == [] and pair.numbers() == [6]
    assert pair.told()["unsent"] == 1 and pair.kept() == 0


def test_a_full_packet_is_repeated_within_what_was_searched_for() -> None:
    pair = RepairPair(judge=once(carries(5)))
    pair.wish()
    packet = udp(5, size=PAYLOAD_MAX - 24 - 32)
    pair.up([packet])
    pair.run(1 * S)
    assert pair.at_hub == [packet]
    assert max(sent.size for sent in pair.sent) <= PAYLOAD_MAX + 8


def test_without_an_address_nothing_is_repeated() -> None:
    pair = RepairPair(judge=once(carries(5)))
    pair.wish()
    pair.up([udp(5)])
    pair.run(20 * MS)
    pair.edge.path_set(pair.edge_peer, 0, None, PAYLOAD_MAX)
    pair.run(1 * S)
    assert pair.repeats() == [] and pair.told()["unsent"] == 1 and pair.kept() == 0


# ---- what is kept in order ----


def stream(pair: RepairPair, count: int, *, begin: int = 0, gap_ns: int = 2 * MS) -> None:
    for n in range(begin, begin + count):
        pair.up([tcp(n)])
        pair.run(gap_ns)


def test_of_a_stream_the_lost_one_is_repeated_and_waited_for() -> None:
    pair = RepairPair(order=True, judge=once(carries(20)))
    stream(pair, 100)
    pair.run(1 * S)
    assert pair.numbers() == list(range(100)), "in order"
    assert len(pair.repeats()) == 1 and not pair.of(Abandon)
    assert pair.told()["repaired"] == 1
    assert pair.hub.stats()["order_filled_packets"] > 5


def test_three_rounds_then_it_is_abandoned() -> None:
    """The stream goes on without it; the sender hears of the loss from its receiver."""
    pair = RepairPair(order=True, overhead_ordered=1.0, judge=carries(20))
    stream(pair, 100)
    pair.run(1 * S)
    assert pair.numbers() == [n for n in range(100) if n != 20]
    times = [sent.at_ns for sent in pair.repeats()]
    rounds = 1 + sum(b - a > 15 * MS for a, b in pairwise(times))
    assert rounds == 3
    first = next(sent.opened.pn for sent in pair.sent if carries(20)(sent))
    told = [frame for sent in pair.of(Abandon) for frame in sent.frames if isinstance(frame, Abandon)]
    assert sum(first in frame.numbers for frame in told) == 2, "told twice"
    assert pair.told()["too_late"] == 1 and pair.hub.stats()["order_timeout_packets"] == 0


def behind_a_queue(which: Judge, wait_ns: int = 40 * MS) -> Judge:
    """What goes up waits in a queue; the first of these is lost."""
    lost = once(which)
    return lambda sent: lost(sent) or (wait_ns if sent.way == "up" else False)


def test_bulk_lost_to_a_full_queue_is_abandoned_at_once() -> None:
    pair = RepairPair(order=True, judge=behind_a_queue(carries(80)))
    pair.wish(Regime.CONGESTED)
    stream(pair, 150)
    pair.run(1 * S)
    assert pair.numbers() == [n for n in range(150) if n != 80]
    assert pair.repeats() == [] and pair.told()["congestion"] == 1
    assert pair.hub.stats()["order_timeout_packets"] == 0


def test_a_queue_that_was_longer_before_does_not_overflow_now() -> None:
    """Whatever is wished: it has room."""
    lost, newest = once(carries(380)), 0

    def judge(sent: Sent) -> bool | int:
        nonlocal newest
        if sent.has(Inner) and not sent.has(Repeat):
            newest = number_of(sent.opened.inner or b"")
        wait_ns = 80 * MS - min(max(newest - 150, 0), 80) * MS // 2
        return lost(sent) or (wait_ns if sent.way == "up" else False)

    pair = RepairPair(order=True, judge=judge)
    stream(pair, 370)
    pair.wish(Regime.CONGESTED)
    stream(pair, 80, begin=370)
    pair.run(1 * S)
    assert pair.numbers() == list(range(450))
    assert "congestion" not in pair.told() and len(pair.repeats()) == 1


def test_where_no_queue_stands_none_overflows() -> None:
    """Whatever is wished."""
    pair = RepairPair(order=True, judge=once(carries(20)))
    pair.wish(Regime.CONGESTED)
    stream(pair, 100)
    pair.run(1 * S)
    assert pair.numbers() == list(range(100)) and len(pair.repeats()) == 1


def test_of_a_call_one_copy_is_sent_also_then() -> None:
    """In the last round, which would have three."""
    pair = RepairPair(rtt_ms=60, judge=behind_a_queue(carries(60), 20 * MS))
    call(pair, 90, wish={"regime": Regime.CONGESTED})
    pair.run(1 * S)
    assert sorted(pair.numbers()) == list(range(90))
    assert len([sent for sent in pair.repeats() if carries(60)(sent)]) == 1


@pytest.mark.parametrize("has_queue", [False, True])
def test_a_queue_that_overflows_is_seen_without_a_wish(has_queue: bool) -> None:
    """The round trip rises, and then packets are lost: next to none is repeated. Without a queue they are."""
    pair = RepairPair(order=True, mode=RepairMode.ARQ)
    newest = 0

    def judge(sent: Sent) -> bool | int:
        nonlocal newest
        if sent.way != "up":
            return False
        if sent.has(Inner) and not sent.has(Repeat):
            newest = number_of(sent.opened.inner or b"")
            if newest >= 400 and newest % 10 == 0:
                return True
        return int(min(newest / 4, 60) * MS) if has_queue else False

    pair.judge = judge
    stream(pair, 700, gap_ns=1 * MS)
    pair.run(1 * S)
    told = pair.told()
    lost = set(range(700)) - set(pair.numbers())
    if has_queue:
        assert told["congestion"] >= 25 and len(lost) >= 25
    else:
        assert "congestion" not in told and told["repaired"] == 30 and not lost


def test_the_end_of_what_was_written_is_asked_for() -> None:
    """Nothing may follow that would show its loss."""
    pair = RepairPair(order=True, judge=once(carries(2)))
    pair.wish()
    pair.up([tcp(0, "web"), tcp(1, "web"), tcp(2, "web", flags=TCP_PSH | 0x10)])
    pair.run(1 * S)
    assert pair.numbers() == [0, 1, 2]
    assert [sent.opened.inner for sent in pair.of(Prompt) if not sent.has(Repeat)] == [
        tcp(2, "web", flags=TCP_PSH | 0x10)
    ]


# ---- what stands in a content ----


def rtp(n: int) -> bytes:
    body = bytes([0x80, 0]) + n.to_bytes(2) + (160 * n).to_bytes(4) + b"\0\0\0\x4d" + n.to_bytes(2) * 30
    head = (6000).to_bytes(2) + (7000).to_bytes(2) + (8 + len(body)).to_bytes(2) + bytes(2)
    return ipv4(INNER_A, INNER_B, head + body, ecn=46 << 2, ident=n)


@pytest.mark.parametrize("gap_ms", [3, 20])
def test_headers_are_restored_under_the_first_number(gap_ms: int) -> None:
    """Also when the copy comes some packets and references later, up to six of these."""
    pair = RepairPair(flows=16, compression=Compression(tx_flows=16, rx_flows=16), mode=RepairMode.ARQ)

    def judge(sent: Sent) -> bool:
        number = int.from_bytes(sent.opened.plaintext[-2:])
        is_first = sent.way == "up" and sent.opened.plaintext[:2] != b"\x05\x07"
        return is_first and sent.opened.plaintext[-60:] == number.to_bytes(2) * 30 and number % 37 == 36

    pair.judge = judge
    packets = [rtp(n) for n in range(400)]
    for n, packet in enumerate(packets):
        if n * gap_ms % 1000 < gap_ms:
            pair.wish()
        pair.up([packet])
        pair.run(gap_ms * MS)
    pair.run(1 * S)
    assert pair.told()["lost"] >= 10 and not pair.drops()
    assert sorted(pair.at_hub) == sorted(packets)
    assert pair.hub.compression_stats()["restored_packets"]["rtp"] > 350


def test_a_bundle_is_repeated_whole() -> None:
    pair = RepairPair(may_bundle=True, hold_ns=(2 * MS, 0, 0), judge=once(carries(11)))
    pair.wish()
    for n in range(0, 50, 5):
        pair.up([udp(n + i, size=20) for i in range(5)])
        pair.run(20 * MS)
    pair.run(1 * S)
    assert sorted(pair.numbers()) == list(range(50))
    (copy,) = pair.repeats()
    assert [frame.packet for frame in copy.frames if isinstance(frame, Inner)] == [
        udp(n, size=20) for n in range(10, 15)
    ]
    stats = pair.told()
    assert (stats["lost"], stats["repaired"]) == (1, 1)
