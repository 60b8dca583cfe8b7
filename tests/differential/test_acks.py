"""Acknowledgements, RTT and loss against what truly happened on a virtual link."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core.plane import PathCounters, Suite
from tests.differential.reference import Ack, Ping
from tests.native.rig import INNER_A, INNER_B, MS, PAYLOAD_MAX, Fate, Pair, S, Solo, drops, ipv4, numbered

ACK_DELAY_NS = 5 * MS


class Receiver:
    """A plane that receives, with a record of what it got and when."""

    def __init__(self) -> None:
        self.rig = Solo()
        self.opened: dict[int, int] = {}  # packet number -> arrival time
        self.in_order: list[tuple[int, int]] = []  # those that were the largest when they came
        self.acks: list[tuple[int, Ack]] = []

    def arrive(self, pn: int, more: bytes = b"") -> None:
        packet = ipv4(payload=more) if more else numbered(pn)
        self.rig.receive(self.rig.far.seal(packet, pn=pn))
        if pn not in self.opened:
            if pn > max(self.opened, default=-1):
                self.in_order.append((pn, self.rig.now_ns))
            self.opened[pn] = self.rig.now_ns

    def pass_time(self, ns: int) -> None:
        """Runs timers on the way, so that an ACK leaves when it is due; judges each by the truth of then."""
        for at_ns, datagram in self.rig.tick_until(self.rig.now_ns + ns):
            self.judge(at_ns, self.rig.far.open(datagram).of(Ack))

    def judge(self, at_ns: int, acks: list[Ack]) -> None:
        for ack in acks:
            truth = set(self.opened)
            top = max(truth)
            assert (ack.path, ack.largest, ack.received, ack.ce) == (0, top, len(truth), 0)
            assert 0 <= at_ns - self.in_order[-1][1] - ack.delay_us * 1000 < 8000
            named = ack.numbers()
            assert named == {pn for pn in truth if pn >= min(named)}
            is_whole = len(ack.ranges) == 32 or min(named) <= max(top - 2047, min(truth))
            assert is_whole or named == truth
            assert ack.arrivals(self.in_order[-1][1]) == self.in_order[:-17:-1][: len(ack.times)]
            assert all(us >> 62 == 0 for _, us in ack.times)
            self.acks.append((at_ns, ack))


ARRIVALS = st.lists(
    st.tuples(st.integers(-30, 40), st.integers(0, 3000)), min_size=1, max_size=120
)  # step of the number, microseconds before it


@settings(max_examples=120)
@given(ARRIVALS)
def test_acks_tell_the_truth(steps: list[tuple[int, int]]) -> None:
    receiver = Receiver()
    pn = 0
    for step, wait_us in steps:
        pn = max(0, pn + step)
        receiver.pass_time(wait_us * 1000)
        receiver.arrive(pn)
    receiver.pass_time(500 * MS)
    assert receiver.acks, "what was received is acknowledged"
    assert receiver.acks[-1][1].largest == max(receiver.opened)
    times = [at_ns for at_ns, _ in receiver.acks]
    assert all(b - a >= ACK_DELAY_NS for a, b in pairwise(times)), "never one per packet"
    assert receiver.rig.plane.peer_counters(receiver.rig.peer).paths[0].acks_sent == len(times)


def test_a_full_list_of_times_and_ranges() -> None:
    """Every second of 200 numbers: 33 ranges of one, sixteen times, the rest left out."""
    receiver = Receiver()
    for pn in range(0, 200, 2):
        receiver.arrive(pn, bytes(800))
        receiver.rig.now_ns += 10_000
    receiver.pass_time(5 * MS)
    ((_, ack),) = receiver.acks
    assert ack.ranges == ((0, 0),) * 32
    assert ack.times == ((0, 0), *((2, 10),) * 15)


def test_ranges_reach_2048_numbers_down() -> None:
    receiver = Receiver()
    receiver.arrive(0)
    receiver.arrive(5000)
    receiver.arrive(5000 - 2047)
    receiver.pass_time(5 * MS)
    ((_, ack),) = receiver.acks
    assert ack.numbers() == {5000, 5000 - 2047}
    assert ack.received == 3


def test_an_ack_rides_in_front_of_an_inner_packet() -> None:
    """In the last quarter of its waiting time, when both fit; then none goes alone."""
    rig = Solo()
    rig.hear(ipv4())
    rig.now_ns += 3 * MS
    rig.send()
    assert rig.opened()[0].of(Ack) == []
    rig.now_ns += 1 * MS
    rig.send(ipv4(INNER_B, INNER_A, bytes(PAYLOAD_MAX - 24 - 96 - 20 + 1)))
    assert rig.opened()[0].of(Ack) == [], "they do not both fit"
    rig.send(ipv4(INNER_B, INNER_A, bytes(PAYLOAD_MAX - 24 - 96 - 20)), ipv4(INNER_B, INNER_A))
    first, second = rig.opened()
    assert [ack.delay_us for ack in first.of(Ack)] == [4000]
    assert second.of(Ack) == []
    assert rig.tick_until(rig.now_ns + 1 * S) == []


def test_a_riding_ack_is_at_most_96_bytes() -> None:
    receiver = Receiver()
    for pn in range(0, 600, 3):
        receiver.arrive(pn)
        receiver.rig.now_ns += 7_000
    receiver.rig.now_ns += 3 * MS
    packet = ipv4(INNER_B, INNER_A)
    receiver.rig.send(packet)
    ((datagram, _),) = receiver.rig.sent()
    opened = receiver.rig.far.open(datagram)
    assert len(datagram) <= len(packet) + 24 + 96
    assert opened.inner == packet
    receiver.judge(receiver.rig.now_ns, opened.of(Ack))
    assert receiver.acks


def settled() -> Receiver:
    """A receiver on a path that has settled: the first packets, which are acknowledged soon, are over."""
    receiver = Receiver()
    for pn in range(65):
        receiver.arrive(pn)
    receiver.pass_time(5 * MS)
    receiver.acks.clear()
    return receiver


def test_a_few_small_packets_wait_longer_for_their_ack() -> None:
    """Voice: one in 20 ms, so that an ACK is shared by a dozen."""
    receiver = settled()
    for pn in range(65, 165):
        receiver.arrive(pn)
        receiver.pass_time(20 * MS)
    gaps = {b[0] - a[0] for a, b in pairwise(receiver.acks)}
    assert gaps == {400 * MS}, "from the first packet that waits"
    assert all(len(ack.times) <= 1 for _, ack in receiver.acks)


def test_loss_is_told_soon_however_few_packets_there_are() -> None:
    receiver = settled()
    for pn in (65, 67):
        receiver.arrive(pn)
        receiver.pass_time(5 * MS)
    ((at_ns, ack),) = receiver.acks
    assert ack.ranges == ((0, 65),)
    assert at_ns == receiver.opened[67], "the one before it had waited long enough already"
    receiver.arrive(68)
    receiver.pass_time(399 * MS)
    assert len(receiver.acks) == 1, "and then there is time again"


def test_many_bytes_are_acknowledged_soon() -> None:
    receiver = settled()
    for pn in range(65, 82):
        receiver.rig.receive(receiver.rig.far.seal(ipv4(payload=bytes(1000)), pn=pn))
        receiver.opened[pn] = receiver.rig.now_ns
        receiver.in_order.append((pn, receiver.rig.now_ns))
    receiver.pass_time(5 * MS)
    ((_, ack),) = receiver.acks
    assert len(ack.times) == 4, "one for 4,096 bytes"


@pytest.mark.parametrize(
    "frames", [b"", bytes(40), Ping(0, 1, 1).pack()], ids=["keepalive", "padding", "ping"]
)
def test_own_frames_elicit_no_ack(frames: bytes) -> None:
    rig = Solo()
    rig.hear(frames)
    rig.sent()
    assert rig.tick_until(rig.now_ns + 3 * S) == []


def test_acks_are_not_acknowledged() -> None:
    """After the last packet both sides fall silent."""
    pair = Pair()
    pair.up([ipv4()])
    pair.run(1 * S)
    before = pair.edge.stats()["outer_out_datagrams"], pair.hub.stats()["outer_out_datagrams"]
    pair.run(3 * S)
    assert (pair.edge.stats()["outer_out_datagrams"], pair.hub.stats()["outer_out_datagrams"]) == before


# ---- the sender's view ----


def edge_path(pair: Pair) -> PathCounters:
    return pair.edge.peer_counters(pair.edge_peer).paths[0]


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("delay_ms", [1, 10, 75, 300])
def test_rtt_of_dense_traffic_is_the_links(delay_ms: int, suite: Suite) -> None:
    pair = Pair(delay_ns=delay_ms * MS, suite=suite)
    for _ in range(1000):
        pair.up([ipv4(payload=bytes(1200))])
        pair.run(1 * MS)
    path = edge_path(pair)
    assert path.rtt_min_ns == 2 * delay_ms * MS
    assert path.rtt_latest_ns == 2 * delay_ms * MS
    assert path.rtt_ns == 2 * delay_ms * MS
    assert path.rtt_var_ns < 2 * MS


@pytest.mark.parametrize("delay_ms", [10, 75])
def test_rtt_of_sparse_traffic_is_the_links_too(delay_ms: int) -> None:
    """Each packet waits for its ACK alone; the ACK says how long, so that wait is no part of the RTT."""
    pair = Pair(delay_ns=delay_ms * MS)
    for _ in range(40):
        pair.up([ipv4()])
        pair.run(500 * MS)
    path = edge_path(pair)
    assert (path.rtt_min_ns, path.rtt_ns) == (2 * delay_ms * MS, 2 * delay_ms * MS)


def test_rtt_follows_a_slower_link() -> None:
    delay = [10 * MS]
    pair = Pair(fate=lambda way, n: delay[0])
    for _ in range(300):
        pair.up([ipv4(payload=bytes(1200))])
        pair.run(1 * MS)
    delay[0] = 60 * MS
    for _ in range(2000):
        pair.up([ipv4(payload=bytes(1200))])
        pair.run(1 * MS)
    path = edge_path(pair)
    assert path.rtt_min_ns == 20 * MS
    assert path.rtt_latest_ns == 120 * MS
    assert abs(path.rtt_ns - 120 * MS) < 100_000


def drive(pair: Pair, packets: int, *, settle: bool = True) -> None:
    """Packets up, a millisecond apart, and some that surely arrive, so that all before has been judged."""
    for n in range(packets):
        pair.up([numbered(n)])
        pair.run(1 * MS)
    pair.run(1 * S)
    if settle:
        pair.fate = lambda way, n: 10 * MS
        for n in range(200):
            pair.up([ipv4(payload=(packets + n).to_bytes(4) + bytes(1000))])
            pair.run(5 * MS)
        pair.run(1 * S)


def lossy(seed: int, percent: float) -> Fate:
    dice = random.Random(seed)
    return lambda way, n: None if way == "up" and dice.uniform(0, 100) < percent else 10 * MS


@pytest.mark.parametrize("percent", [0.5, 5, 30])
@pytest.mark.parametrize("seed", range(3))
def test_lost_packets_are_those_that_were_lost(seed: int, percent: float) -> None:
    pair = Pair(fate=lossy(seed, percent))
    drive(pair, 1500)
    path = edge_path(pair)
    assert path.lost_packets == pair.lost["up"]
    assert path.acked_packets == path.tx_packets - pair.lost["up"]
    assert not drops(pair.edge) and not drops(pair.hub)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("jitter_ms", [3, 15, 80])
def test_reordering_is_no_loss(seed: int, jitter_ms: int) -> None:
    dice = random.Random(seed)
    pair = Pair(fate=lambda way, n: 10 * MS + (dice.randrange(jitter_ms * MS) if way == "up" else 0))
    drive(pair, 1500)
    path = edge_path(pair)
    assert pair.hub.peer_counters(pair.hub_peer).paths[0].late_packets > 100, "there was reordering"
    assert path.lost_packets == 0
    assert path.acked_packets == path.tx_packets


def test_loss_of_acks_loses_no_count() -> None:
    dice = random.Random(5)
    pair = Pair(fate=lambda way, n: None if dice.random() < (0.4 if way == "down" else 0.03) else 10 * MS)
    drive(pair, 1500)
    assert edge_path(pair).lost_packets == pair.lost["up"]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(0, 30))
def test_loss_and_reordering_together(seed: int, percent: int, jitter_ms: int) -> None:
    dice = random.Random(seed)

    def fate(way: str, n: int) -> int | None:
        if dice.uniform(0, 100) < percent:
            return None
        return 10 * MS + (dice.randrange(jitter_ms * MS) if jitter_ms else 0)

    pair = Pair(fate=fate)
    drive(pair, 300)
    assert edge_path(pair).lost_packets == pair.lost["up"]
    assert sorted(pair.at_hub) == sorted(set(pair.at_hub)), "nothing is delivered twice"


# ---- acknowledgements that are no good ----

GOOD = Ack(path=0, largest=9, delay_us=0, received=10, ce=0, first_range=9)
BAD = {
    "never sent": Ack(0, 10, 0, 10, 0, 9),
    "other path": Ack(1, 9, 0, 10, 0, 9),
    "no such flag": Ack(32, 9, 0, 10, 0, 9),
    "more missing than there are": Ack(0, 9, 0, -1, 0, 9),
    "more marked than received": Ack(0, 9, 0, 10, 11, 9),
    "range below zero": Ack(0, 9, 0, 10, 0, 10),
    "further range below zero": Ack(0, 9, 0, 10, 0, 3, ((1, 4),)),
    "names more than received": Ack(0, 9, 0, 3, 0, 3),
    "times below zero": Ack(0, 9, 0, 10, 0, 9, (), ((10, 0),)),
    "33 ranges": Ack(0, 99, 0, 100, 0, 0, ((0, 0),) * 33),
    "17 times": Ack(0, 9, 0, 10, 0, 9, (), ((0, 0),) * 17),
    "huge": Ack(0, (1 << 62) - 1, 0, 10, 0, 9),
    "huge range": Ack(0, 9, 0, 10, 0, (1 << 62) - 1),
    "huge gap": Ack(0, 9, 0, 10, 0, 1, (((1 << 62) - 1, (1 << 62) - 1),)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_ack_changes_nothing(name: str) -> None:
    rig = Solo()
    for _ in range(10 if name == "33 ranges" else 1):
        rig.send(*[ipv4(INNER_B, INNER_A)] * 10)
    rig.sent()
    rig.now_ns += 20 * MS
    rig.hear(BAD[name].pack() + ipv4())
    assert drops(rig.plane) == {("receive", "bad-ack"): 1}
    path = rig.plane.peer_counters(rig.peer).paths[0]
    assert (path.acked_packets, path.lost_packets, path.rtt_ns, path.acks_received) == (0, 0, 0, 0)
    assert rig.delivered() == [], "the rest of the datagram is not read"


def test_good_ack_counts() -> None:
    rig = Solo()
    rig.send(*[ipv4(INNER_B, INNER_A)] * 10)
    rig.sent()
    rig.now_ns += 20 * MS
    rig.hear(GOOD.pack() + ipv4())
    path = rig.plane.peer_counters(rig.peer).paths[0]
    assert (path.acked_packets, path.lost_packets, path.rtt_ns) == (10, 0, 20 * MS)
    assert len(rig.delivered()) == 1


def test_an_older_ack_says_nothing_new() -> None:
    rig = Solo()
    rig.send(*[ipv4(INNER_B, INNER_A)] * 10)
    rig.now_ns += 20 * MS
    rig.hear(GOOD.pack())
    rig.now_ns += 100 * MS
    rig.hear(Ack(0, 4, 0, 5, 0, 4).pack())
    path = rig.plane.peer_counters(rig.peer).paths[0]
    assert (path.acked_packets, path.rtt_latest_ns, path.acks_received) == (10, 20 * MS, 2)


def test_rtt_of_a_new_session_is_not_mixed_with_the_old() -> None:
    """An answer that still leaves on the old session is no mark in the numbers of the new one."""
    rig = Solo()
    rig.send(*[ipv4(INNER_B, INNER_A)] * 50)
    old = rig.far
    rig.far = rig.session(near=0x777, keys=(bytes([5]) * 32, bytes([6]) * 32))
    rig.now_ns += 1 * MS
    rig.receive(old.seal(Ping(0, 1, 1).pack()))
    rig.send()
    rig.sent()
    rig.now_ns += 30 * MS
    rig.hear(Ack(0, 0, 0, 1, 0, 0).pack())
    path = rig.plane.peer_counters(rig.peer).paths[0]
    assert (path.rtt_latest_ns, path.rtt_ns) == (30 * MS, 30 * MS)


def test_counts_of_a_path_outlive_its_sessions() -> None:
    """Loss and acknowledged packets only ever grow, whichever way a session ends."""
    rig = Solo()

    def lose_some() -> None:
        for step in range(6):
            rig.send(*[ipv4(INNER_B, INNER_A)] * 10)
            rig.sent()
            top = 10 * step + 9
            rig.hear(Ack(0, top, 0, top + 1 - 5, 0, 0).pack())

    def counts() -> tuple[int, int]:
        path = rig.plane.peer_counters(rig.peer).paths[0]
        return path.lost_packets, path.acked_packets

    lose_some()
    assert counts() == (5, 55)
    rig.far = rig.session(near=0x777)
    lose_some()
    assert counts() == (10, 110)
    rig.plane.session_drop(rig.peer)
    rig.far = rig.session(near=0x888)
    lose_some()
    assert counts() == (15, 165)
