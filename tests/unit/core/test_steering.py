"""Steering of repair: who is steered, when the packet path is told, what the predictor is fed with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from oxidized.core import steering as module
from oxidized.core.loss import Row
from oxidized.core.plane import PathRow, Regime, RepairMode
from oxidized.core.settings import RepairSettings
from oxidized.core.steering import Order, PlainDescription, PlainPredictor, Steering, Wish

MS, S = 10**6, 10**9
NONE = PathRow(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class FakePredictor:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.loss = self.congestion = 0.0
        self.tables: list[Sequence[Sequence[float]]] = []
        self.forgotten: list[int] = []

    def step(
        self, now_unix_s: float, rows: Sequence[Sequence[float]], elapsed_s: float = 0.0
    ) -> tuple[Sequence[float], Sequence[float]]:
        self.tables.append(rows)
        return [self.loss] * len(rows), [self.congestion] * len(rows)

    def forget(self, path: int) -> None:
        self.forgotten.append(path)

    def describe(self) -> PlainDescription:
        return PlainDescription("fake", "fake", "", "", len(self.tables), {})


class Road:
    """Paths whose counters grow, and their steering, on a clock of steps of 10 ms."""

    def __init__(self, settings: RepairSettings | None = None) -> None:
        self.predictor = FakePredictor()
        self.steering = Steering(settings or RepairSettings(), self.predictor)
        self.now_ns = 1000 * S
        self.rows: dict[int, PathRow] = {}
        self.orders: list[tuple[int, Order]] = []
        self.looks = 0
        self.rtt_ns = 20 * MS

    def send(self, peer: int, packets: int, lost: int = 0, rtt_ns: int = 0) -> None:
        """All that is not lost is acknowledged at once."""
        row = self.rows.get(peer, replace(NONE, peer=peer))
        self.rows[peer] = replace(
            row,
            repairable_packets=row.repairable_packets + packets,
            repairable_acked_packets=row.repairable_acked_packets + packets - lost,
            repairable_lost_packets=row.repairable_lost_packets + lost,
            acks_received=row.acks_received + 1,
            rtt_ns=rtt_ns or self.rtt_ns,
            rtt_min_ns=20 * MS,
        )

    def look(self) -> list[Order]:
        orders = self.steering.look(list(self.rows.values()), self.now_ns, self.now_ns / 1e9)
        self.looks += 1
        self.orders += [(self.now_ns, order) for order in orders]
        return orders

    def run(self, seconds: float, *, peers: Sequence[int] = (0,), pps: int = 100, lost: float = 0.0) -> None:
        """Each look when it is wanted. `lost`: of each hundred packets, spread evenly."""
        until = self.now_ns + round(seconds * S)
        while self.now_ns < until:
            pause_ns = self.steering.pause_ns
            self.now_ns += pause_ns
            packets = pps * pause_ns // S
            for peer in peers:
                before = self.rows[peer].repairable_packets if peer in self.rows else 0
                due = int((before + packets) * lost / 100) - int(before * lost / 100)
                self.send(peer, packets, due)
            self.look()


def test_idle_costs_a_look_a_second() -> None:
    road = Road()
    road.run(60, peers=())
    assert road.looks == 60 and not road.predictor.tables and not road.orders


def test_a_path_that_loses_nothing_costs_nothing() -> None:
    road = Road()
    road.run(60)
    assert road.looks == 60 and not road.predictor.tables and not road.orders


def test_a_trickle_is_not_steered() -> None:
    road = Road()
    road.run(5, pps=100, lost=5)
    road.run(60, pps=3, lost=50)
    assert road.steering.pause_ns == module.IDLE_NS


def test_a_path_that_loses_is_looked_at_every_10_ms_for_a_minute() -> None:
    road = Road()
    road.run(10, lost=5)
    assert 780 < road.looks <= 801 + 10, "once it is known to lose"
    assert road.orders[0][1].wish.regime is Regime.BURSTY, "until so many were lost that it can be told"
    assert road.orders[-1][1].wish.regime is Regime.RANDOM
    looks = road.looks
    road.run(59)
    assert road.looks - looks > 5800
    road.run(3)
    assert road.steering.pause_ns == module.IDLE_NS
    assert road.orders[-1][1].wish == Wish(Regime.CLEAN, 0.0, 1), "until then it was told to be clean"


def test_the_packet_path_is_told_changes_and_before_it_forgets() -> None:
    road = Road()
    road.run(20, lost=5)
    moments = [now_ns for now_ns, _ in road.orders[10:]]
    gaps = [after - before for before, after in pairwise(moments)]
    assert max(gaps) <= module.REFRESH_NS + module.STEP_NS
    assert len(road.orders) < 60, "not every 10 ms"


def test_more_is_wished_at_once_and_less_later() -> None:
    road = Road()
    road.run(10, lost=5)
    road.predictor.congestion = 0.9
    road.run(1, lost=5)
    assert road.orders[-1][1].wish.regime is Regime.RANDOM, "there is no queue"
    road.rtt_ns = 30 * MS
    road.run(0.01, lost=5)
    now_ns, order = road.orders[-1]
    assert now_ns == road.now_ns and order.wish == Wish(Regime.CONGESTED, 0.0, 1)
    road.predictor.congestion = 0.0
    road.run(2, lost=5)
    after = [order.wish.regime for at, order in road.orders if at > now_ns]
    assert after[0] is Regime.CONGESTED and after[-1] is Regime.RANDOM


@pytest.mark.parametrize(
    ("rtt_ns", "mode", "is_coded"),
    [
        (20 * MS, RepairMode.AUTO, False), (80 * MS, RepairMode.AUTO, True),
        (200 * MS, RepairMode.AUTO, True), (20 * MS, RepairMode.FEC, True),
    ],
)  # fmt: skip
def test_redundancy_where_no_copy_is_in_time(rtt_ns: int, mode: RepairMode, is_coded: bool) -> None:
    """For a game, which is most in a hurry. The packet path uses it for the classes of which none does."""
    road = Road(RepairSettings(mode=mode))
    for step in range(300):
        road.send(0, 100, 1 if step % 2 else 2, rtt_ns)
        road.now_ns += module.STEP_NS
        road.look()
    wish = road.orders[-1][1].wish
    assert (wish.redundancy > 0) == is_coded
    assert wish.redundancy * module.GRAIN == round(wish.redundancy * module.GRAIN)


def test_bursts_get_a_symbol_for_each_packet() -> None:
    """Which the packet path sends later then; not so where less is allowed."""
    for overhead, redundancy in ((1.2, 1.0), (0.9, 0.9)):
        road, draw, left = Road(RepairSettings(overhead=overhead)), random.Random(1), 0
        for _ in range(6000):
            left = 9 if draw.random() < 1 / 160 else left - 1
            road.send(0, 5, 4 if left > 0 else 0, 200 * MS)
            road.now_ns += module.STEP_NS
            road.look()
        assert road.orders[-1][1].wish == Wish(Regime.BURSTY, redundancy, 3)


def test_no_more_redundancy_than_the_overhead_that_is_allowed() -> None:
    road = Road(RepairSettings(mode=RepairMode.FEC, overhead=0.15))
    road.run(10, lost=20)
    assert road.orders[-1][1].wish.redundancy <= 0.15
    road.steering.settings_set(RepairSettings(mode=RepairMode.FEC, overhead=1.2))
    road.run(1, lost=20)
    assert road.orders[-1][1].wish.redundancy > 0.5


def test_rows_of_the_predictor_are_in_its_order() -> None:
    road = Road()
    road.run(2, lost=5)
    road.rows[0] = replace(
        road.rows[0], repairable_acked_bytes=77, rtt_ns=20_000, rtt_var_ns=3_000, rtt_min_ns=4_000,
        rtt_latest_ns=5_000, repairable_packets=road.rows[0].repairable_packets + 9, kept_packets=7,
    )  # fmt: skip
    road.now_ns += 30 * MS
    road.look()
    (found,) = road.predictor.tables[-1]
    row = road.rows[0]
    assert found[Row.SENT] == row.repairable_packets
    assert found[Row.ACKED] == row.repairable_acked_packets
    assert found[Row.LOST] == row.repairable_lost_packets
    assert found[Row.ACKED_BYTES] == 77
    assert found[Row.INFLIGHT] == 7, "what was pushed out is not in flight"
    assert found[Row.RTT_LATEST_US : Row.RTT_MIN_US + 1] == (5, 20, 3, 4)
    assert found[Row.FEEDBACK_AGE_US] == 30_000
    assert len(found) == module.ROW_COLUMNS


def test_a_path_keeps_its_place_and_a_new_one_gets_a_clean_one() -> None:
    road = Road()
    road.run(3, peers=(0, 1, 2), lost=5)
    assert len(road.predictor.tables[-1]) == 3
    road.predictor.forgotten.clear()
    del road.rows[0]
    road.run(2, peers=(1, 2), lost=5)
    assert len(road.predictor.tables[-1]) == 3 and road.predictor.forgotten == []
    road.run(module.FORGET_NS / S, peers=(1, 2), lost=5)
    assert road.predictor.tables[-1][0] == module.NO_ROW
    road.run(3, peers=(1, 2, 7), lost=5)
    assert road.predictor.forgotten == [0]
    assert road.predictor.tables[-1][0][Row.SENT] == road.rows[7].repairable_packets
    kept = road.steering.path(7, 0)
    assert kept is not None and kept.place == 0


def test_counters_that_fall_back_are_another_path() -> None:
    road = Road()
    road.run(3, lost=5)
    road.predictor.forgotten.clear()
    before = road.steering.path(0, 0)
    road.rows[0] = replace(NONE, repairable_packets=1)
    road.look()
    after = road.steering.path(0, 0)
    assert before is not None and after is not None and after is not before and after.wish is None
    assert (after.place, road.predictor.forgotten) == (before.place, [0]), "its place is free again"
    assert road.steering.pause_ns == module.IDLE_NS


def test_a_path_that_falls_silent_is_not_looked_at_often() -> None:
    road = Road()
    road.run(5, lost=5)
    road.rows.clear()
    looks = road.looks
    road.run(10, peers=())
    assert road.looks - looks < 200


def test_more_paths_than_there_is_room_for_are_left_alone() -> None:
    road = Road()
    road.run(3, peers=range(module.PATHS_MAX + 5), lost=5)
    assert len(road.predictor.tables[-1]) == module.PATHS_MAX
    assert {order.peer for _, order in road.orders} == set(range(module.PATHS_MAX))


def test_another_predictor_goes_on_where_the_first_was() -> None:
    road = Road()
    road.run(3, lost=5)
    other = FakePredictor()
    road.steering.predictor_set(other)
    road.run(0.05, lost=5)
    assert len(other.tables) == 5 and road.steering.predictor is other


def test_averages_need_nothing_else() -> None:
    plain = PlainPredictor("ewma")
    rows = [[0.0] * module.ROW_COLUMNS for _ in range(2)]
    for _ in range(100):
        for row in rows:
            row[Row.SENT] += 10
        rows[0][Row.ACKED], rows[0][Row.LOST] = rows[0][Row.ACKED] + 9, rows[0][Row.LOST] + 1
        losses, congestions = plain.step(0.0, rows)
    assert losses[0] > 0.9 and losses[1] == 0 and congestions == [0.0, 0.0]
    plain.forget(0)
    plain.forget(5)
    assert plain.step(0.0, rows)[0][0] == 0
    assert plain.describe() == PlainDescription("ewma", "ewma", "", "", 101, {})


def test_the_filter_tells_a_full_queue_from_a_radio() -> None:
    """Both lose the same; on one path the round trip is at its longest then."""
    plain = PlainPredictor()
    rows = [[0.0] * module.ROW_COLUMNS for _ in range(2)]
    for step in range(400):
        is_lost = step % 40 >= 36
        for row, queue_us in zip(rows, (0, 90_000 if is_lost else 2000 * (step % 40)), strict=True):
            row[Row.SENT] += 10
            row[Row.ACKED] += 10 - 4 * is_lost
            row[Row.LOST] += 4 * is_lost
            row[Row.RTT_MIN_US] = 40_000
            row[Row.RTT_LATEST_US] = 40_000 + queue_us
        losses, congestions = plain.step(step * 0.01, rows)
    assert losses[0] == pytest.approx(losses[1], abs=0.2) and losses[0] > 0.1
    assert congestions[0] == 0 and congestions[1] > 0.8
    plain.forget(0)
    assert plain.step(4.0, rows)[0][0] < losses[0]
    assert plain.describe() == PlainDescription("ge", "ge", "", "", 401, {})
