"""What an operator should know of repair: its counters over the last minute, judged."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

WINDOW_NS: Final = 60 * 10**9
LOST_MIN: Final = 100  # packets in the window; of fewer nothing is said
KEPT_MIN: Final = 1000
OVER_BUDGET_MAX: Final = 0.1  # of what is lost
CROWDED_MAX: Final = 0.05  # of what is kept
TIMED_CLASSES: Final = ("voip", "gaming", "control")  # with a deadline; the others are kept in order

Counters = Mapping[str, Any]


def class_sums(stats: Counters, name: str) -> tuple[int, int]:
    """Of a counter by class: classes with a deadline, the others."""
    timed = sum(stats[name][each] for each in TIMED_CLASSES)
    return timed, sum(stats[name].values()) - timed


def overhead_ratios(stats: Counters) -> tuple[float, float]:
    """Repair packets per packet kept: of classes with a deadline, of the others."""
    found = []
    for timed in (0, 1):
        kept, repeats, codes = (
            class_sums(stats, name)[timed] for name in ("kept_packets", "repeats_out", "codes_out")
        )
        found.append((repeats + codes) / kept if kept else 0.0)
    return found[0], found[1]


class RepairHealth:
    """Samples of the counters (`oxi_repair_stats`), and what they say in words."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, dict[str, int]]] = deque()

    def sample(self, now_ns: int, stats: Counters) -> None:
        """Now and then, some seconds apart."""
        flat = {"crowded": stats["crowded_packets"]}
        for name in ("kept_packets", "lost_packets", "over_budget_packets"):
            flat[f"{name} timed"], flat[f"{name} ordered"] = class_sums(stats, name)
        self._samples.append((now_ns, flat))
        while now_ns - self._samples[0][0] > WINDOW_NS:
            self._samples.popleft()

    def lines(self) -> list[str]:
        """Empty when all is well."""
        if not self._samples:
            return []
        first, last = self._samples[0][1], self._samples[-1][1]
        grown = {name: last[name] - first[name] for name in last}
        found = []
        for group, key in (("timed", "max_overhead"), ("ordered", "max_overhead_bulk")):
            lost, over = grown[f"lost_packets {group}"], grown[f"over_budget_packets {group}"]
            if lost >= LOST_MIN and over > OVER_BUDGET_MAX * lost:
                found.append(f"repair: in a minute {over} of {lost} lost packets were over repair.{key}")
        kept = grown["kept_packets timed"] + grown["kept_packets ordered"]
        if kept >= KEPT_MIN and grown["crowded"] > CROWDED_MAX * kept:
            found.append(
                f"repair: in a minute {grown['crowded']} of {kept} packets were pushed out unacknowledged: "
                "more is sent in a round trip than there is room for"
            )
        return found
