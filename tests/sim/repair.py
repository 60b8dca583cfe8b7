"""Which repair each node of a run does, from its first start on and anew with every restart; and wishes.

What steers repair in the daemon reads the clock and a model; here whatever it might want is drawn.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from oxidized.core.plane import Regime, RepairMode
from tests.sim.link import MS

WISH_GAP_NS = 400 * MS  # on average, between two wishes of a run
MODES = (RepairMode.AUTO, RepairMode.AUTO, RepairMode.ARQ, RepairMode.FEC, RepairMode.OFF)


@dataclass(frozen=True, slots=True)
class Knobs:
    """Of one node at one start."""

    mode: RepairMode
    arena_bytes: int
    overhead: float
    overhead_ordered: float


def draw(seed: int, name: str, boot: int) -> Knobs:
    """Of node `name` when it starts for the `boot`-th time, from 0; with dice of its own."""
    dice = random.Random(f"repair of {name} at {boot} in {seed}")
    return Knobs(
        mode=dice.choice(MODES),
        arena_bytes=dice.choice((65536, 65536, 1 << 20, 3 << 20)),
        overhead=dice.choice((0.0, 0.3, 1.2, 4.0)),
        overhead_ordered=dice.choice((0.0, 0.15, 0.15, 1.0)),
    )


def wish(dice: random.Random) -> dict[str, Any]:
    """Anything that may be wanted of a path."""
    return {
        "regime": dice.choice(list(Regime)),
        "redundancy": dice.choice((0.0, 0.1, 0.5, 1.0)),
        "copies": dice.randrange(1, 4),
    }
