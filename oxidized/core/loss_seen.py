"""What a path has lost of late, and how long its bursts last, out of counters of its packets."""

from __future__ import annotations

import math
from typing import Final

MEMORY_S: Final = 10.0  # time constant of the loss ratio
# Fewer losses than that say little: they are set against so many packets, or all that are known.
LOSSES_MIN: Final = 3
PACKETS_FEW: Final = 1024
PACKETS_MIN: Final = 100

BLOCK_S: Final = 0.4  # far longer than the bursts that can be repaired, so that it does not matter which
BLOCKS: Final = 75  # packet of it was found lost first; and so many of them are remembered: half a minute
IN_BURST_LOSS: Final = 0.8  # of what is sent during a burst
EXCESS_MIN: Final = 0.2  # less is noise
# Until so many losses have been seen, a path is taken to lose as a radio does: in bursts that last so long.
JUDGED_LOSSES_MIN: Final = 20
UNJUDGED_S: Final = 0.04


class RecentLoss:
    """The loss ratio over some seconds."""

    def __init__(self) -> None:
        self._known = self._lost = 0.0

    def add(self, known: int, lost: int, elapsed_s: float) -> None:
        """`lost` of `known` packets, of which it became known within `elapsed_s`."""
        fade = math.exp(-elapsed_s / MEMORY_S)
        self._known = self._known * fade + known
        self._lost = self._lost * fade + lost

    @property
    def ratio(self) -> float:
        least = PACKETS_MIN if self._lost >= LOSSES_MIN else PACKETS_FEW
        return min(self._lost / max(self._known, least), 1.0)


class BurstLength:
    """The mean length of bursts of loss, by how much more the losses of a block vary than independent ones.

    Losses that come in bursts of T seconds are correlated as h * exp(-t / T), h the loss within a burst. Of
    packets that are g apart that makes the variance of the losses of a block 1 + 2 h q / (1 - q) times that
    of independent loss, q = exp(-g / T). The variance is taken of neighbouring blocks (von Neumann), so that
    loss that changes slowly is no burst.
    """

    def __init__(self) -> None:
        self._block_s = 0.0
        self._known = self._lost = 0
        self._before: int | None = None
        self._losses = 0.0  # those that are in the sums below
        self._variance = self._mean = self._packets = self._seconds = 0.0

    def add(self, known: int, lost: int, elapsed_s: float) -> None:
        """`lost` of `known` packets, of which it became known within `elapsed_s`."""
        if elapsed_s >= BLOCK_S:  # nobody looked closely, so these tell nothing
            self._block_s, self._known, self._lost, self._before = 0.0, 0, 0, None
            return
        self._known += known
        self._lost += lost
        self._block_s += elapsed_s
        if self._block_s < BLOCK_S:
            return
        if self._before is not None:
            self._remember(self._before)
        self._before = self._lost
        self._block_s, self._known, self._lost = 0.0, 0, 0

    def _remember(self, before: int) -> None:
        fade = 1 - 1 / BLOCKS
        self._losses += (self._lost + before) / 2
        self._variance = self._variance * fade + (self._lost - before) ** 2 / 2
        self._mean = self._mean * fade + (self._lost + before) / 2
        self._packets = self._packets * fade + self._known
        self._seconds = self._seconds * fade + self._block_s

    @property
    def seconds(self) -> float:
        """0: losses come alone."""
        if self._losses < JUDGED_LOSSES_MIN:
            return UNJUDGED_S
        loss = min(self._mean / self._packets, 0.99)
        excess = (self._variance / self._mean / (1 - loss) - 1) / 2
        if excess < EXCESS_MIN:
            return 0.0
        gap_s = self._seconds / self._packets
        burst_s = gap_s / math.log((excess + IN_BURST_LOSS) / excess)
        return burst_s / (1 - min(burst_s / BLOCK_S, 0.5))  # those that a block's end cuts
