"""Loss that comes in bursts, of one path, with nothing but Python: what foretells it by default.

Two hidden states, good and bad, each with its own loss ratio (Gilbert 1960, Elliott 1963): a forward filter,
and online expectation maximisation of the four parameters (Cappe 2011, with one-step filtered statistics).
Beside it a guess of whether loss is congestion: how full the queue was when packets were lost lately.

`oxidized.ml.loss_features` computes the same for many paths with numpy, where they are inputs of the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from oxidized.core.loss import AHEAD_STEPS, RATE_SHARE, STEP_S, WINDOW_STEPS, Row

MEMORY_S: Final = 30.0
FADE: Final = math.exp(-STEP_S / MEMORY_S)
CEILING_S: Final = 10.0  # how long the largest queue delay seen is remembered
CEILING_FADE: Final = math.exp(-STEP_S / CEILING_S)
QUEUE_TOLD_S: Final = 0.015  # a ceiling below it is jitter
AT_LOSS_SHARE: Final = 0.3  # of the latest loss in the queue delay at losses
RTT_MAX_US: Final = 60e6
COUNT_MAX: Final = 1e6  # per step
STEPS_MAX: Final = 100.0
NUMBER_MAX: Final = 2.0**53


def _within(value: float, least: float, most: float) -> float:
    return least if value < least else most if value > most else value


def _number(value: float, most: float) -> float:
    """Cut to 0..most; NaN is 0."""
    return _within(value, 0.0, most) if value == value else 0.0


class BurstLoss:
    """One path. Names and values of the parameters are per step of 10 ms, as in `loss_features`."""

    def __init__(self) -> None:
        self.to_bad, self.to_good = 0.01, 0.2
        self.loss_good, self.loss_bad = 0.001, 0.5
        self.bad = 0.05  # posterior
        # Weights: good, good->bad, bad, bad->good, packets in good, lost there, the same in bad.
        self._seen = [0.0] * 8
        self._last: list[float] | None = None
        self._heard_s = self._sent_pps = self._ceiling_s = self._at_loss_s = 0.0

    def step(self, now_unix_s: float, row: Sequence[float]) -> tuple[float, float]:
        """One step of 10 ms later; `row` as Row says, what is out of range is cut. Probabilities that
        anything is lost of what is sent 50..100 ms from now, and that it were congestion."""
        counts = [_number(row[i], NUMBER_MAX) for i in (Row.SENT, Row.ACKED, Row.LOST)]
        latest_s, least_s, age_s = (
            _number(row[i], RTT_MAX_US) / 1e6
            for i in (Row.RTT_LATEST_US, Row.RTT_MIN_US, Row.FEEDBACK_AGE_US)
        )
        is_new = self._last is None
        last = counts if self._last is None else self._last
        self._last = counts
        sent, acked, lost = (
            min(now - before, COUNT_MAX) if now >= before else 0.0
            for now, before in zip(counts, last, strict=True)
        )
        old_s = latest_s + age_s
        heard_s = now_unix_s - old_s
        passed = 1.0 if is_new else _within((heard_s - self._heard_s) / STEP_S, 0.0, STEPS_MAX)
        self._heard_s = heard_s if is_new else max(heard_s, self._heard_s)
        self._sent_pps += RATE_SHARE * (sent / STEP_S - self._sent_pps)
        self._filter(lost, acked + lost, passed)
        queue_s = max(latest_s - least_s, 0.0)
        self._ceiling_s = max(queue_s, self._ceiling_s * CEILING_FADE)
        if lost > 0:
            self._at_loss_s += AT_LOSS_SHARE * (queue_s - self._at_loss_s)
        packets = max(self._sent_pps * STEP_S, 1 / AHEAD_STEPS)
        return self._any_ahead(old_s / STEP_S + WINDOW_STEPS[0], packets), self._congestive()

    def _filter(self, lost: float, known: float, steps: float) -> None:
        """`lost` of `known` datagrams, sent `steps` steps after those before; steps 0: no time has passed."""
        before, good_before = self.bad, 1 - self.bad
        rate = self.to_bad + self.to_good
        mixed = (1 - (1 - rate) ** steps) / rate
        good_to_bad = good_before * self.to_bad * mixed
        bad_to_good = before * self.to_good * mixed
        bad = before + good_to_bad - bad_to_good
        likelier = lost * math.log(self.loss_bad / self.loss_good)
        likelier += (known - lost) * math.log((1 - self.loss_bad) / (1 - self.loss_good))
        odds = bad * math.exp(_within(likelier, -30.0, 30.0))
        self.bad = _within(odds / (odds + 1 - bad), 1e-9, 1 - 1e-9)
        # Of a bad state now, the share that was good before, and the other way round.
        fell = self.bad * good_to_bad / (bad + 1e-12)
        rose = (1 - self.bad) * bad_to_good / (1 - bad + 1e-12)
        self._learn((good_before * steps, fell, before * steps, rose), lost, known)

    def _learn(self, moves: tuple[float, float, float, float], lost: float, known: float) -> None:
        good, bad = 1 - self.bad, self.bad
        more = (*moves, good * known, good * lost, bad * known, bad * lost)
        self._seen = seen = [FADE * old + new for old, new in zip(self._seen, more, strict=True)]
        # With what is believed before anything is seen, so that a few losses do not make a model.
        self.to_bad = _within((seen[1] + 0.5) / (seen[0] + 50), 1e-4, 0.3)
        self.to_good = _within((seen[3] + 1) / (seen[2] + 5), 5e-3, 0.65)
        self.loss_good = _within((seen[5] + 0.1) / (seen[4] + 100), 1e-5, 0.3)
        least = min(0.9, 2 * self.loss_good + 0.05)
        self.loss_bad = _within((seen[7] + 2) / (seen[6] + 4), least, 0.98)

    def _any_ahead(self, steps: float, packets: float) -> float:
        """Of any loss in what is predicted, `packets` sent in each step, `steps` after the last known."""
        rate = self.to_bad + self.to_good
        rest = self.to_bad / rate
        bad = rest + (self.bad - rest) * (1 - rate) ** steps
        kept_good, kept_bad = (1 - self.loss_good) ** packets, (1 - self.loss_bad) ** packets
        none_good, none_bad = (1 - bad) * kept_good, bad * kept_bad
        for _ in range(AHEAD_STEPS - 1):
            moved = none_bad * self.to_good - none_good * self.to_bad
            none_good, none_bad = (none_good + moved) * kept_good, (none_bad - moved) * kept_bad
        return float(1 - none_good - none_bad)

    def _congestive(self) -> float:
        if self._ceiling_s < QUEUE_TOLD_S:
            return 0.0
        return min(self._at_loss_s / self._ceiling_s, 1.0)
