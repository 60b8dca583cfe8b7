"""What loss prediction is about, and its simplest form: an average of recent loss, with nothing but Python.

Predicted is, for each path and every 10 ms, the probability that anything is lost of what is sent 50..100 ms
from now; shorter can not be acted upon, longer is the same for all that looks at 200 ms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

STEP_S: Final = 0.01
WINDOW_STEPS: Final = (5, 10)  # what is predicted: [50, 100) ms ahead
AHEAD_STEPS: Final = WINDOW_STEPS[1] - WINDOW_STEPS[0]
SCALES_S: Final = (0.03, 0.1, 0.5, 2.5, 12.0)  # of the loss averages
EWMA_SCALE: Final = 1  # the one that predicts by itself: the best of them on what the model is trained on
RATE_S: Final = 0.1  # time constant of the rate of sending
RATE_SHARE: Final = 1 - math.exp(-STEP_S / RATE_S)  # of the latest step in it
EWMA_FADE: Final = math.exp(-STEP_S / SCALES_S[EWMA_SCALE])


class Row(IntEnum):
    """Columns of a row. Counters are cumulative per path; a counter that falls back starts anew."""

    SENT = 0  # datagrams
    ACKED = 1
    LOST = 2  # declared lost
    ACKED_BYTES = 3
    INFLIGHT = 4  # datagrams neither acknowledged nor declared lost
    RTT_LATEST_US = 5  # 0: not known yet
    RTT_SMOOTHED_US = 6
    RTT_VAR_US = 7
    RTT_MIN_US = 8
    FEEDBACK_AGE_US = 9  # since the last acknowledgement arrived


class EwmaLoss:
    """The average of one path; `oxidized.ml.loss_features` computes the same for many paths with numpy."""

    def __init__(self) -> None:
        self._last: tuple[float, ...] | None = None
        self._lost = self._known = self._sent_pps = 0.0

    def step(self, now_unix_s: float, row: Sequence[float]) -> tuple[float, float]:
        """One step of 10 ms later; `row` as Row says. Probabilities of any loss, and that it were congestion,
        of which an average knows nothing: 0."""
        counts = tuple(float(row[i]) if row[i] >= 0 else 0.0 for i in (Row.SENT, Row.ACKED, Row.LOST))
        last = counts if self._last is None else self._last
        sent, acked, lost = (
            now - before if now >= before else 0.0 for now, before in zip(counts, last, strict=True)
        )
        self._last = counts
        self._lost = self._lost * EWMA_FADE + lost
        self._known = self._known * EWMA_FADE + acked + lost
        self._sent_pps += RATE_SHARE * (sent / STEP_S - self._sent_pps)
        loss = min(self._lost / max(self._known, 1.0), 1.0)
        return float(1 - (1 - loss) ** max(self._sent_pps * STEP_S * AHEAD_STEPS, 1.0)), 0.0
