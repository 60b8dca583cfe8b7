"""What the loss predictor sees: against a slow reference, one path at a time with plain Python, and the
filter against the forward algorithm as the book has it."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized.core.burst_loss import BurstLoss
from oxidized.core.loss import EWMA_SCALE, SCALES_S, EwmaLoss, Row
from oxidized.ml.loss_features import CONTEXT, FEATURES, STEPS, GilbertElliott, LossFeatures

START = 1_700_000_003.21


def walk(seed: int, steps: int) -> list[list[float]]:
    """Rows of one path with quiet stretches, bursts of loss and stalls."""
    dice = Random(seed)
    sent = acked = lost = 0
    rtt, age = 40_000.0, 0.0
    rows = []
    for step in range(steps):
        is_quiet = step % 97 > 80
        n = 0 if is_quiet else dice.randrange(6)
        gone = min(n, dice.randrange(4)) if dice.random() < 0.1 else 0
        sent += n
        lost += gone
        acked += n - gone
        rtt = max(5_000, rtt + dice.uniform(-4_000, 4_500))
        age = age + 10_000 if is_quiet else dice.uniform(0, 9_000)
        rows.append(
            [sent + 7, acked, lost, acked * 1200, n + 7, rtt, 0.9 * rtt + 4_000, 3_000 + n, 5_000, age]
        )
    return rows


class Slow:
    """The named features and the averages of one path, from all rows so far."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def change(self, i: int, column: Row) -> float:
        return self.rows[i][column] - self.rows[i - 1][column] if i else 0.0

    def faded(self, what: list[float], scale_s: float) -> float:
        n = len(what)
        return sum(value * math.exp(-0.01 * (n - 1 - i) / scale_s) for i, value in enumerate(what))

    def step(self, row: list[float]) -> tuple[list[float], list[float]]:
        self.rows.append(row)
        n = range(len(self.rows))
        lost = [self.change(i, Row.LOST) for i in n]
        known = [self.change(i, Row.LOST) + self.change(i, Row.ACKED) for i in n]
        averages = [self.faded(lost, s) / max(self.faded(known, s), 1) for s in SCALES_S]
        share = 1 - math.exp(-0.1)
        bps = share * self.faded([self.change(i, Row.ACKED_BYTES) * 800 for i in n], 0.1)
        queues = [(r[Row.RTT_LATEST_US] - r[Row.RTT_MIN_US]) / 1e6 for r in self.rows]
        ceiling = max(q * math.exp(-0.001 * (len(queues) - 1 - i)) for i, q in enumerate(queues))
        named = [
            row[Row.RTT_LATEST_US] / 1e6, row[Row.RTT_VAR_US] / 5e5, bps / 1e10,
            lost[-1] / max(known[-1], 1), averages[0] - averages[2], row[Row.INFLIGHT] / 1e4,
            bps * row[Row.RTT_MIN_US] / 8e6 / 1e6, queues[-1] / max(ceiling, 0.005),
        ]  # fmt: skip
        return named, averages


def test_features_against_a_slow_reference() -> None:
    paths = [walk(seed, 130) for seed in range(3)]
    state, slow = LossFeatures(3), [Slow() for _ in paths]
    expected: list[list[list[float]]] = [[], [], []]
    for step in range(130):
        state.step(START + step * 0.01, np.array([path[step] for path in paths]))
        for i, path in enumerate(paths):
            named, averages = slow[i].step(path[step])
            expected[i].append(named)
            assert state.context[i, : len(SCALES_S)] == pytest.approx(averages, rel=1e-4, abs=1e-7)
        if step >= STEPS:
            window = state.window.transpose(1, 0, 2)
            assert window == pytest.approx(np.array([e[-STEPS:] for e in expected]), rel=1e-4, abs=1e-9)


def test_context_by_name() -> None:
    state = LossFeatures(1)
    for step in range(60):
        row = [10 * step, 9 * step, step, 9000 * step, 50, 60_000, 50_000, 1000, 20_000, 3_000]
        state.step(START + step * 0.01, np.array([row]))
    context = dict(zip(CONTEXT, state.context[0].tolist(), strict=True))
    angle = 2 * math.pi * ((START + 0.59 + 0.075) % 15) / 15
    assert context["clock_sin"] == pytest.approx(math.sin(angle), abs=1e-5)
    assert context["clock_cos"] == pytest.approx(math.cos(angle), abs=1e-5)
    assert context["rtt_min_s"] == pytest.approx(0.02) and context["rtt_excess_s"] == pytest.approx(0.03)
    assert context["rtt_at_loss_s"] == pytest.approx(0.04, rel=1e-3)
    assert context["feedback_age_s"] == pytest.approx(0.003) and context["since_loss_s"] == 0
    assert context["packets_ahead"] == pytest.approx(50, rel=0.02)
    assert context["period_loss"] == pytest.approx(0.1) and context["slot_loss"] == pytest.approx(0.1)


def test_a_slot_of_the_clock_is_remembered() -> None:
    """Loss in the second from 2 to 3 of each 15: foreseen there, a period later, and nowhere else."""
    state = LossFeatures(1)
    sent = lost = 0
    found = []
    for step in range(4500):
        now = 1_500_000_000 + step * 0.01
        sent += 2
        lost += 1 if 2 <= (now - 0.02) % 15 < 3 else 0
        state.step(now, np.array([[sent, sent - lost, lost, 0, 4, 20_000, 20_000, 0, 20_000, 0]]))
        found.append(float(state.context[0, CONTEXT.index("slot_loss")]))
    last = np.array(found[3000:]).reshape(15, 100).mean(axis=1)
    assert last[2] > 0.4 and max(np.delete(last, [1, 2])) < 0.02


def forward(
    observed: list[tuple[int, int, int]], to_bad: float, to_good: float, good: float, bad: float
) -> list[float]:
    """P(bad | all so far), with binomial emissions; each observation some steps after the one before."""
    p = 0.05
    found = []
    for lost, known, steps in observed:
        for _ in range(steps):
            p = p * (1 - to_good) + (1 - p) * to_bad
        in_bad = math.comb(known, lost) * bad**lost * (1 - bad) ** (known - lost)
        in_good = math.comb(known, lost) * good**lost * (1 - good) ** (known - lost)
        p = p * in_bad / (p * in_bad + (1 - p) * in_good)
        found.append(p)
    return found


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 5)), max_size=40),
    st.tuples(st.floats(0.001, 0.3), st.floats(0.01, 0.6), st.floats(0.001, 0.1), st.floats(0.2, 0.95)),
)
def test_filter_is_the_forward_algorithm(
    seen: list[tuple[int, int, int]], numbers: tuple[float, float, float, float]
) -> None:
    observed = [(lost, lost + kept, steps) for lost, kept, steps in seen]
    filter_ = GilbertElliott(1, is_adaptive=False)
    filter_.to_bad[:], filter_.to_good[:], filter_.loss_good[:], filter_.loss_bad[:] = numbers
    found = []
    for lost, known, steps in observed:
        filter_.step(np.array([float(lost)]), np.array([float(known)]), np.full(1, float(steps)))
        found.append(float(filter_.bad[0]))
    assert found == pytest.approx(forward(observed, *numbers), rel=1e-6, abs=1e-8)


def test_prediction_is_the_sum_over_all_ways() -> None:
    filter_ = GilbertElliott(1, is_adaptive=False)
    to_bad, to_good = float(filter_.to_bad[0]), float(filter_.to_good[0])
    good, bad = float(filter_.loss_good[0]), float(filter_.loss_bad[0])
    p = 0.05
    for _ in range(7):
        p = p * (1 - to_good) + (1 - p) * to_bad
    total = 0.0
    for ways in range(32):
        states = [ways >> i & 1 for i in range(5)]
        chance = p if states[0] else 1 - p
        for before, after in pairwise(states):
            leave = to_good if before else to_bad
            chance *= leave if before != after else 1 - leave
        for state in states:
            chance *= (1 - (bad if state else good)) ** 3
        total += chance
    bad_ahead, any_loss = filter_.ahead(np.full(1, 7.0), np.full(1, 3.0))
    assert bad_ahead[0] == pytest.approx(p) and any_loss[0] == pytest.approx(1 - total)


def test_filter_learns_its_parameters() -> None:
    """Two minutes of a known chain: online expectation maximisation comes near."""
    dice = np.random.default_rng(5)
    filter_, is_bad = GilbertElliott(1), False
    for _ in range(12_000):
        is_bad = dice.random() < (0.8 if is_bad else 0.02)
        lost = dice.binomial(5, 0.7 if is_bad else 0.001)
        filter_.step(np.array([float(lost)]), np.full(1, 5.0), np.ones(1))
    assert filter_.to_bad[0] == pytest.approx(0.02, rel=0.4)
    assert filter_.to_good[0] == pytest.approx(0.2, rel=0.4)
    assert filter_.loss_bad[0] == pytest.approx(0.7, rel=0.2)
    assert filter_.loss_good[0] < 0.02


def test_paths_do_not_touch_each_other() -> None:
    """Each of three together as each alone; one that is reset as one that is new; fewer and more paths."""
    paths = [walk(seed, 200) for seed in range(3)]
    together, alone = LossFeatures(3), [LossFeatures(1) for _ in range(3)]
    for step in range(200):
        if step == 90:
            together.reset(1)
            alone[1] = LossFeatures(1)
        if step == 120:
            together = together.resized(2).resized(3)
            alone[2] = LossFeatures(1)
        together.step(START + step * 0.01, np.array([path[step] for path in paths]))
        for i, one in enumerate(alone):
            one.step(START + step * 0.01, np.array([paths[i][step]]))
            assert np.array_equal(together.context[i], one.context[0])
            assert np.array_equal(together.window[:, i], one.window[:, 0])


absurd = st.lists(st.floats() | st.integers(-5, 2**60), min_size=10, max_size=10)


@given(st.lists(absurd, min_size=1, max_size=30))
def test_absurd_rows_give_finite_features(rows: list[list[float]]) -> None:
    state = LossFeatures(1)
    for step, row in enumerate(rows):
        state.step(START + step * 0.01, np.array([row], dtype=np.float64))
        assert np.isfinite(state.window).all() and np.isfinite(state.context).all()
        assert state.context.min() >= -1 and state.window.min() >= -1
        assert 0 <= state.ge_any[0] <= 1 and 0 <= state.ewma_any(0)[0] <= 1


def test_average_in_plain_python_is_the_same() -> None:
    rows = walk(3, 300)
    state, plain = LossFeatures(1), EwmaLoss()
    for step, row in enumerate(rows):
        state.step(START + step * 0.01, np.array([row]))
        found = plain.step(START + step * 0.01, row)
        assert found == (pytest.approx(float(state.ewma_any(EWMA_SCALE)[0]), abs=1e-12), 0.0)


@pytest.mark.parametrize("seed", range(8))
def test_filter_in_plain_python_is_the_same(seed: int) -> None:
    """Of rows as a path has them, and of rows that make no sense."""
    dice = np.random.default_rng(seed)
    rows = np.array(walk(seed, 600))
    if seed % 2:
        rows[dice.random(rows.shape) < 0.02] = float(dice.choice([np.nan, np.inf, -5, 1e30]))
    state, plain = LossFeatures(1), BurstLoss()
    for step, row in enumerate(rows):
        state.step(START + step * 0.01, np.array([row]))
        p_loss, p_congestive = plain.step(START + step * 0.01, row)
        assert p_loss == pytest.approx(float(state.ge_any[0]), abs=1e-9)
        assert p_congestive == pytest.approx(float(state.congestive[0]), abs=1e-9)
        assert plain.bad == pytest.approx(float(state.filter.bad[0]), rel=1e-6, abs=1e-12)


def test_names() -> None:
    assert len(FEATURES) == 8 and len(set(CONTEXT)) == len(CONTEXT) == 22
