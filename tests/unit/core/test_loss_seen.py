"""What is made of lost packets: the ratio of the last seconds, and how long bursts last."""

from __future__ import annotations

import random

import pytest

from oxidized.core.loss_seen import BLOCK_S, UNJUDGED_S, BurstLength, RecentLoss

STEP_S = 0.01


def losses(kind: str, seed: int, *, loss: float, burst_s: float = 0.0, pps: int) -> list[tuple[int, int]]:
    """(known, lost) of each step of a minute: independent loss, or bursts within which 0.8 are lost."""
    draw = random.Random(seed)
    good_s = burst_s * (0.8 / loss - 1)
    is_bad, change_s = False, draw.expovariate(1 / good_s) if kind == "bursts" else 1e9
    steps = []
    sent = 0
    for step in range(6000):
        known = lost = 0
        while sent / pps < (step + 1) * STEP_S:
            while change_s < sent / pps:
                is_bad = not is_bad
                change_s += draw.expovariate(1 / (burst_s if is_bad else good_s))
            chance = loss if kind == "alone" else 0.8 * is_bad
            known, lost, sent = known + 1, lost + (draw.random() < chance), sent + 1
        steps.append((known, lost))
    return steps


def burst_s(steps: list[tuple[int, int]]) -> float:
    """The mean over the second half."""
    seen, found = BurstLength(), []
    for number, (known, lost) in enumerate(steps):
        seen.add(known, lost, STEP_S)
        if number >= len(steps) // 2:
            found.append(seen.seconds)
    return sum(found) / len(found)


@pytest.mark.parametrize("pps", [50, 500])
@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_losses_that_come_alone_are_no_bursts(loss: float, pps: int) -> None:
    assert burst_s(losses("alone", 1, loss=loss, pps=pps)) < 0.008


@pytest.mark.parametrize(("pps", "mean_s"), [(50, 0.04), (50, 0.1), (500, 0.015), (500, 0.04), (2000, 0.04)])
def test_bursts_are_measured_in_time_whatever_the_rate(pps: int, mean_s: float) -> None:
    found = [burst_s(losses("bursts", seed, loss=0.05, burst_s=mean_s, pps=pps)) for seed in range(3)]
    assert 0.4 * mean_s < sum(found) / 3 < 1.5 * mean_s


def test_loss_that_changes_slowly_is_no_burst() -> None:
    draw = random.Random(3)
    steps = [(5, sum(draw.random() < 0.1 * (step // 1000 % 2) for _ in range(5))) for step in range(6000)]
    assert burst_s(steps) < 0.008


def test_nobody_looked_closely() -> None:
    seen = BurstLength()
    for _ in range(1000):
        seen.add(500, 50, 2 * BLOCK_S)
    assert seen.seconds == UNJUDGED_S


def test_until_losses_are_many_they_are_taken_for_bursts() -> None:
    seen = BurstLength()
    assert seen.seconds == UNJUDGED_S
    for step in range(10_000):
        seen.add(1, step % 100 == 50, STEP_S)
        if step == 1500:
            assert seen.seconds == UNJUDGED_S
    assert seen.seconds == 0, "they come alone"
    for _ in range(10_000):
        seen.add(1, 0, STEP_S)
    assert seen.seconds == 0, "and that is remembered"


def test_recent_loss() -> None:
    seen = RecentLoss()
    assert seen.ratio == 0
    seen.add(1, 1, 0.01)
    assert seen.ratio < 0.001, "one loss says little"
    for _ in range(2000):
        seen.add(10, 1, 0.01)
    assert abs(seen.ratio - 0.1) < 0.01
    for _ in range(6000):
        seen.add(10, 0, 0.01)
    assert seen.ratio < 0.001, "it is forgotten"
    seen.add(3, 300, 0.01)
    assert seen.ratio <= 1
