"""When an operator is told that repair falls short, and the ratios he is shown."""

from __future__ import annotations

from typing import Any

import pytest

from oxidized.core.repair_health import LOST_MIN, WINDOW_NS, RepairHealth, overhead_ratios
from tests.unit.ops.samples import by_class

S = 10**9


def counters(**changes: Any) -> dict[str, Any]:
    names = ("kept_packets", "lost_packets", "over_budget_packets", "repeats_out", "codes_out")
    return {**{name: by_class() for name in names}, "crowded_packets": 0, **changes}


def lines_of(*steps: dict[str, Any], apart_ns: int = 5 * S) -> list[str]:
    health = RepairHealth()
    for number, step in enumerate(steps):
        health.sample(number * apart_ns, counters(**step))
    return health.lines()


def test_nothing_known_nothing_said() -> None:
    assert RepairHealth().lines() == []
    assert lines_of({}) == []
    old = {"lost_packets": by_class(voip=900), "over_budget_packets": by_class(voip=900)}
    assert lines_of(old, old) == [], "it was before"


@pytest.mark.parametrize(
    ("name", "key"), [("voip", "max_overhead"), ("control", "max_overhead"), ("web", "max_overhead_bulk")]
)
def test_over_budget(name: str, key: str) -> None:
    def told(lost: int, over: int) -> list[str]:
        last = {"lost_packets": by_class(**{name: lost}), "over_budget_packets": by_class(**{name: over})}
        return lines_of({}, last)

    assert told(200, 20) == [] and told(LOST_MIN - 1, LOST_MIN - 1) == []
    assert told(200, 21) == [f"repair: in a minute 21 of 200 lost packets were over repair.{key}"]


def test_pushed_out() -> None:
    assert lines_of({}, {"kept_packets": by_class(bulk=1000), "crowded_packets": 50}) == []
    (line,) = lines_of({}, {"kept_packets": by_class(bulk=1000), "crowded_packets": 51})
    assert "51 of 1000 packets were pushed out" in line


def test_a_minute_later_it_is_forgotten() -> None:
    bad = {"lost_packets": by_class(voip=200), "over_budget_packets": by_class(voip=200)}
    assert lines_of({}, bad, bad, apart_ns=WINDOW_NS // 2) != []
    assert lines_of({}, bad, bad, apart_ns=WINDOW_NS) == []


def test_overhead() -> None:
    assert overhead_ratios(counters()) == (0, 0)
    found = counters(
        kept_packets=by_class(voip=60, gaming=40, bulk=1000),
        repeats_out=by_class(voip=5, bulk=30),
        codes_out=by_class(gaming=20),
    )
    assert overhead_ratios(found) == (0.25, 0.03)
