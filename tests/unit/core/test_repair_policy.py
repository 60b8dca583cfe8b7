"""The policy of repair: what each regime gets, and properties that hold for all inputs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oxidized.core import repair_policy as policy
from oxidized.core.repair_policy import Regime, RepairInputs, RepairState, fec_decision

CLEAN = RepairInputs(0.0, 0.0, 0.01, 0.0, 0.0, 0.16)
LOSSY = replace(CLEAN, loss_ratio=0.05, p_loss=0.4)
BURSTY = replace(LOSSY, burst_s=0.04)
CONGESTED = replace(LOSSY, p_congestive=0.9)

ratios = st.floats(0, 1)
inputs = st.builds(
    RepairInputs,
    now_s=st.just(0.0),
    loss_ratio=ratios,
    p_loss=ratios,
    p_congestive=ratios,
    burst_s=st.floats(0, 0.5),
    rtt_s=st.floats(0, 2),
    budget_s=st.sampled_from((0.1, 0.15, 0.25)),
    overhead_max=st.floats(0, 2),
)
anything = st.builds(RepairInputs, *[st.floats()] * 8)


def decide(what: RepairInputs) -> policy.RepairDecision:
    return fec_decision(what, RepairState())[0]


def test_a_clean_path_costs_nothing() -> None:
    found = decide(replace(CLEAN, loss_ratio=0.0009))
    assert (found.regime, found.inject_fec) == (Regime.CLEAN, False)
    assert (found.redundancy_ratio, found.copies) == (0, 1)


def test_the_table_of_redundancy() -> None:
    """Round trip too long to send again: what was simulated for a residual of 1 %."""
    assert decide(replace(LOSSY, loss_ratio=0.01, p_loss=0)).redundancy_ratio == 0.1
    assert 0.25 <= decide(LOSSY).redundancy_ratio <= 0.301
    assert 0.45 <= decide(replace(LOSSY, burst_s=0.015)).redundancy_ratio <= 0.55
    found = decide(BURSTY)
    assert (found.regime, found.redundancy_ratio) == (Regime.BURSTY, 1.0)


def test_sending_again_makes_correction_needless() -> None:
    near = replace(BURSTY, rtt_s=0.08)
    assert policy.repeat_fits(0.096, 0.15) and not policy.repeat_fits(0.098, 0.15)
    found = decide(near)
    assert not found.inject_fec and found.copies == 3
    assert decide(replace(LOSSY, rtt_s=0.08)).redundancy_ratio == 0.1  # many, and each alone
    assert decide(replace(LOSSY, rtt_s=0.08, loss_ratio=0.002, p_loss=0.0)).copies == 1


def test_a_prediction_arms_a_path_before_anything_is_lost() -> None:
    assert decide(replace(CLEAN, p_loss=0.3)).inject_fec
    assert not decide(replace(CLEAN, p_loss=0.04)).inject_fec


def test_regimes_get_worse_at_once_and_better_after_a_while() -> None:
    state = RepairState()
    seen = []
    for step in range(500):
        now = step / 100
        what = BURSTY if step == 100 else CLEAN
        found, state = fec_decision(replace(what, now_s=now), state)
        seen.append(found.regime)
    assert seen[99] is Regime.CLEAN and seen[100] is Regime.BURSTY
    back = seen.index(Regime.CLEAN, 100)
    assert 1.0 <= (back - 101) / 100 <= 2.0
    assert set(seen[back:]) == {Regime.CLEAN}


def test_congestion_is_believed_at_once_and_left_after_a_while() -> None:
    _, state = fec_decision(BURSTY, RepairState())
    found, state = fec_decision(replace(CONGESTED, now_s=0.01), state)
    assert found.regime is Regime.CONGESTED and not found.inject_fec
    found, state = fec_decision(replace(LOSSY, now_s=0.02), state)
    assert found.regime is Regime.CONGESTED
    found, _ = fec_decision(replace(LOSSY, now_s=0.02 + policy.CONGESTED_HOLD_S), state)
    assert found.regime is Regime.RANDOM and found.inject_fec


def test_a_path_that_alternates_does_not_flutter() -> None:
    state, changes, last = RepairState(), 0, Regime.CLEAN
    for step in range(1000):
        what = replace(LOSSY if step % 20 < 10 else CLEAN, now_s=step / 100)
        found, state = fec_decision(what, state)
        changes += found.regime is not last
        last = found.regime
    assert changes == 1


@given(inputs, ratios)
def test_more_loss_never_gets_less(what: RepairInputs, other: float) -> None:
    low, high = sorted((what.loss_ratio, other))
    less, more = (decide(replace(what, loss_ratio=loss, p_congestive=0.0)) for loss in (low, high))
    assert less.redundancy_ratio <= more.redundancy_ratio
    assert less.copies <= more.copies


@given(st.lists(anything, max_size=8))
def test_bounds_hold_for_anything(many: list[RepairInputs]) -> None:
    state = RepairState()
    for what in many:
        found, state = fec_decision(what, state)
        assert 0 <= found.redundancy_ratio <= policy.REDUNDANCY_MAX
        assert 1 <= found.copies <= policy.COPIES_MAX
        assert found.inject_fec == (found.redundancy_ratio > 0)
        if what.overhead_max >= 0:
            assert found.redundancy_ratio <= what.overhead_max


@given(st.lists(inputs, min_size=1, max_size=12))
def test_congestive_loss_never_raises_redundancy(many: list[RepairInputs]) -> None:
    """Whatever was before: as soon as a loss is likely congestive, there is no correction and one copy."""
    state = RepairState()
    for step, what in enumerate(many):
        found, state = fec_decision(replace(what, now_s=step * 0.3), state)
        is_congestive = what.p_congestive >= 0.5
        if is_congestive and (what.loss_ratio >= policy.CLEAN_LOSS_MAX or what.p_loss >= 0.2):
            assert (found.regime, found.redundancy_ratio, found.copies) == (Regime.CONGESTED, 0, 1)
