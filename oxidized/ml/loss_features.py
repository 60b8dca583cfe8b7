"""What the loss predictor sees: one definition for the daemon, for training and for judging. Needs numpy.

Per path and 10 ms step a row of what the *sender* knows (`Row`), so all that comes from the peer is one round
trip old. Out of it come, for all paths at once:

- the window [20, paths, 8]: the named features of the last 200 ms, oldest first, scaled as documented;
- the context [paths, CONTEXT]: what 200 ms are too short for: loss averages of five scales, a two-state
  Gilbert-Elliott filter, the clock of satellites that reconfigure every 15 s, ages and rates;
- the probabilities of the two simple predictors (EWMA, Gilbert-Elliott), which are fallback and baseline.

All predict the same: any loss among what is sent 50..100 ms from now. Time is an argument; no randomness.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from oxidized.core.burst_loss import (
    AT_LOSS_SHARE,
    CEILING_FADE,
    COUNT_MAX,
    FADE,
    NUMBER_MAX,
    QUEUE_TOLD_S,
    RTT_MAX_US,
    STEPS_MAX,
)
from oxidized.core.loss import AHEAD_STEPS, RATE_SHARE, SCALES_S, STEP_S, WINDOW_STEPS, Row

Array = npt.NDArray[np.float64]
Batch = npt.NDArray[np.float32]


FEATURES: Final = (
    "rtt_us", "rtt_var_us", "bandwidth_bps", "loss_rate", "loss_trend", "inflight", "cwnd",
    "buffer_occupancy",
)  # fmt: skip
# What each is divided by.
FEATURE_UNITS: Final = (1e6, 5e5, 10e9, 1.0, 1.0, 1e4, 1e6, 1.0)
STEPS: Final = 20
CONTEXT: Final = (
    *(f"loss_{round(scale * 1000)}ms" for scale in SCALES_S),
    "ge_bad_now",  # posterior of the bad state when the last known datagram was sent
    "ge_bad_ahead",
    "ge_any_ahead",
    "ge_loss_good",
    "ge_loss_bad",
    "ge_to_bad",  # per step
    "ge_to_good",
    "rtt_min_s",
    "rtt_excess_s",  # smoothed over the minimum
    "rtt_at_loss_s",  # excess when datagrams were lost lately
    "feedback_age_s",
    "clock_sin",  # of unix time modulo 15 s, at the middle of what is predicted
    "clock_cos",
    "slot_loss",  # in the same second of the 15 in earlier periods
    "period_loss",  # over all seconds of the 15
    "packets_ahead",  # expected in the 50 ms that are predicted
    "since_loss_s",
)

PERIOD_S: Final = 15.0
SLOTS: Final = 15
SLOT_MEMORY_S: Final = 900.0
SLOT_PRIOR_PACKETS: Final = 20.0
SLOT_FADE: Final = math.exp(-STEP_S / SLOT_MEMORY_S)
SCALE_FADES: Final = np.exp(-STEP_S / np.array(SCALES_S))[:, None]
QUEUE_MIN_S: Final = 0.005  # below it a longer round trip says nothing of a queue
SINCE_MAX_S: Final = 60.0


def _within(values: Array, least: float | Array, most: float | Array) -> Array:
    """numpy.clip without its price for a few dozen numbers."""
    found: Array = np.minimum(np.maximum(values, least), most)
    return found


class GilbertElliott:
    """The filter of `oxidized.core.burst_loss` for many paths, in arrays [paths]. With `is_adaptive` false
    the parameters stay what they are."""

    def __init__(self, paths: int, *, is_adaptive: bool = True) -> None:
        self.is_adaptive = is_adaptive
        self.to_bad = np.full(paths, 0.01)  # per step of 10 ms
        self.to_good = np.full(paths, 0.2)
        self.loss_good = np.full(paths, 0.001)
        self.loss_bad = np.full(paths, 0.5)
        self.bad = np.full(paths, 0.05)  # posterior
        # Weights [8, paths]: good, good->bad, bad, bad->good, packets in good, lost there, the same in bad.
        self.seen: Array = np.zeros((8, paths))

    def _ahead(self, bad: Array, steps: Array) -> Array:
        rate = self.to_bad + self.to_good
        rest = self.to_bad / rate
        ahead: Array = rest + (bad - rest) * (1 - rate) ** steps
        return ahead

    def step(self, lost: Array, known: Array, steps: Array) -> None:
        """`lost` of `known` datagrams, sent `steps` steps after those before; steps 0: no time has passed."""
        before, good_before = self.bad, 1 - self.bad
        rate = self.to_bad + self.to_good
        mixed = (1 - (1 - rate) ** steps) / rate
        good_to_bad = good_before * self.to_bad * mixed
        bad_to_good = before * self.to_good * mixed
        bad = before + good_to_bad - bad_to_good
        slope = np.log(self.loss_bad / self.loss_good)
        slope_kept = np.log((1 - self.loss_bad) / (1 - self.loss_good))
        odds = bad * np.exp(_within(lost * slope + (known - lost) * slope_kept, -30, 30))
        self.bad = _within(odds / (odds + 1 - bad), 1e-9, 1 - 1e-9)
        if self.is_adaptive:
            # Of a bad state now, the share that was good before, and the other way round.
            fell = self.bad * good_to_bad / (bad + 1e-12)
            rose = (1 - self.bad) * bad_to_good / (1 - bad + 1e-12)
            self._learn((good_before * steps, fell, before * steps, rose), lost, known)

    def _learn(self, moves: tuple[Array, Array, Array, Array], lost: Array, known: Array) -> None:
        seen, good = self.seen, 1 - self.bad
        seen *= FADE
        for row, more in enumerate((*moves, good * known, good * lost, self.bad * known, self.bad * lost)):
            seen[row] += more
        # With what is believed before anything is seen, so that a few losses do not make a model.
        self.to_bad = _within((seen[1] + 0.5) / (seen[0] + 50), 1e-4, 0.3)
        self.to_good = _within((seen[3] + 1) / (seen[2] + 5), 5e-3, 0.65)
        self.loss_good = _within((seen[5] + 0.1) / (seen[4] + 100), 1e-5, 0.3)
        least = np.minimum(0.9, 2 * self.loss_good + 0.05)
        self.loss_bad = _within((seen[7] + 2) / (seen[6] + 4), least, 0.98)

    def ahead(self, steps: Array, packets: Array) -> tuple[Array, Array]:
        """Probabilities of being bad `steps` after the last known datagram, and of any loss in the five
        steps from there on, with `packets` sent in each."""
        bad = self._ahead(self.bad, steps)
        kept_good, kept_bad = (1 - self.loss_good) ** packets, (1 - self.loss_bad) ** packets
        none_good, none_bad = (1 - bad) * kept_good, bad * kept_bad
        for _ in range(AHEAD_STEPS - 1):
            moved = none_bad * self.to_good - none_good * self.to_bad
            none_good, none_bad = (none_good + moved) * kept_good, (none_bad - moved) * kept_bad
        return bad, 1 - none_good - none_bad


class LossFeatures:
    """The state of `paths` paths; row i is always the same path. `reset` when it becomes another one.

    Arrays of state have the path as their last axis.
    """

    STATE: Final = (
        "loss", "last_loss", "packets_ahead", "ge_any", "_lost", "_known", "_last", "_is_new", "_heard_s",
        "_sent_pps", "_delivered_bps", "_ceiling_s", "_at_loss_s", "_since_s", "_slot_lost", "_slot_known",
    )  # fmt: skip
    FILTER_STATE: Final = ("to_bad", "to_good", "loss_good", "loss_bad", "bad", "seen")

    def __init__(self, paths: int) -> None:
        self.paths = paths
        self.filter = GilbertElliott(paths)
        self.loss: Array = np.zeros((len(SCALES_S), paths))  # averages of loss by scale
        self.last_loss: Array = np.zeros(paths)  # of the last datagrams that became known
        self.packets_ahead: Array = np.ones(paths)
        self.ge_any: Array = np.zeros(paths)
        self.context: Batch = np.zeros((paths, len(CONTEXT)), dtype=np.float32)
        self._lost: Array = np.zeros((len(SCALES_S), paths))
        self._known: Array = np.zeros((len(SCALES_S), paths))
        self._last: Array = np.zeros((4, paths))
        self._is_new = np.ones(paths, dtype=bool)
        self._heard_s: Array = np.zeros(paths)  # when the last known datagram was sent
        self._sent_pps: Array = np.zeros(paths)
        self._delivered_bps: Array = np.zeros(paths)
        self._ceiling_s: Array = np.zeros(paths)
        self._at_loss_s: Array = np.zeros(paths)
        self._since_s = np.full(paths, SINCE_MAX_S)
        self._slot_lost: Array = np.zeros((SLOTS, paths))
        self._slot_known: Array = np.zeros((SLOTS, paths))
        self._every = np.arange(paths)
        # Each step is written twice, 20 apart, so that a window is always one piece.
        self._ring: Batch = np.zeros((2 * STEPS, paths, len(FEATURES)), dtype=np.float32)
        self._at = 0

    def _copy(self, other: LossFeatures, to: slice, at: slice) -> None:
        for name in self.STATE:
            getattr(self, name)[..., to] = getattr(other, name)[..., at]
        for name in self.FILTER_STATE:
            getattr(self.filter, name)[..., to] = getattr(other.filter, name)[..., at]

    def reset(self, path: int) -> None:
        """Row `path` is a new path from the next step on."""
        self._copy(LossFeatures(1), slice(path, path + 1), slice(0, 1))
        self._ring[:, path] = 0

    def resized(self, paths: int) -> LossFeatures:
        """The same paths, less those at the end that are gone, or with new ones at the end."""
        kept = slice(0, min(paths, self.paths))
        found = LossFeatures(paths)
        found._copy(self, kept, kept)
        found._ring[:, kept] = self._ring[:, kept]
        found._at = self._at
        return found

    @property
    def window(self) -> Batch:
        """[20, paths, 8], oldest first; a view that later steps overwrite."""
        return self._ring[self._at : self._at + STEPS]

    def ewma_any(self, scale: int) -> Array:
        """Probability of any loss by the average of SCALES_S[scale]: as if losses were independent."""
        any_loss: Array = 1 - (1 - self.loss[scale]) ** self.packets_ahead
        return any_loss

    @property
    def congestive(self) -> Array:
        """A simple guess of whether loss is congestion: how full the queue was when datagrams were lost
        lately, where there is a queue to speak of."""
        has_queue = self._ceiling_s >= QUEUE_TOLD_S
        fullness = np.minimum(self._at_loss_s / np.maximum(self._ceiling_s, QUEUE_TOLD_S), 1)
        found: Array = np.where(has_queue, fullness, 0.0)
        return found

    def step(self, now_unix_s: float | Array, rows: Array) -> None:
        """rows [paths, 10], one step of 10 ms after those before. Numbers out of range are cut, NaN is 0.

        The clock is one for all paths, but in training each may have its own."""
        row = np.asarray(rows, dtype=np.float64).T
        row = _within(np.where(row == row, row, 0), 0, NUMBER_MAX)
        latest_s, smooth_s, var_s, least_s = (
            np.minimum(row[Row.RTT_LATEST_US : Row.RTT_MIN_US + 1], RTT_MAX_US) / 1e6
        )
        age_s = np.minimum(row[Row.FEEDBACK_AGE_US] / 1e6, RTT_MAX_US / 1e6)
        counts = row[: Row.ACKED_BYTES + 1]
        change = np.where(self._is_new | (counts < self._last), 0, counts - self._last)
        sent, acked, lost = np.minimum(change[:3], COUNT_MAX)
        known = acked + lost
        old_s = latest_s + age_s
        heard_s = now_unix_s - old_s
        passed = np.where(self._is_new, 1, _within((heard_s - self._heard_s) * (1 / STEP_S), 0, STEPS_MAX))
        self._heard_s = np.where(self._is_new, heard_s, np.maximum(heard_s, self._heard_s))
        self._last = counts
        self._is_new[:] = False
        self._average(sent, change[3], lost, known)
        self.filter.step(lost, known, passed)
        slot = self._slot_of(self._heard_s), self._every
        for total, more in ((self._slot_lost, lost), (self._slot_known, known)):
            total *= SLOT_FADE
            total[slot] += more
        queue_s = np.maximum(latest_s - least_s, 0)
        is_lossy = lost > 0
        self._ceiling_s = np.maximum(queue_s, self._ceiling_s * CEILING_FADE)
        self._at_loss_s = self._at_loss_s + AT_LOSS_SHARE * is_lossy * (queue_s - self._at_loss_s)
        self._since_s = np.where(is_lossy, 0, np.minimum(self._since_s + STEP_S, SINCE_MAX_S))
        rate = lost / np.maximum(known, 1)
        self.last_loss = np.where(known > 0, rate, self.last_loss)
        self._remember(
            latest_s * 1e6, var_s * 1e6, self._delivered_bps, rate, self.loss[0] - self.loss[2],
            row[Row.INFLIGHT], self._delivered_bps * least_s / 8,
            queue_s / np.maximum(self._ceiling_s, QUEUE_MIN_S),
        )  # fmt: skip
        self._context(now_unix_s, old_s, least_s, np.maximum(smooth_s - least_s, 0), age_s)

    def _remember(self, *named: Array) -> None:
        """One step of the eight features; cwnd: nothing controls it yet, so what is delivered in the least
        round trip."""
        self._at = (self._at + 1) % STEPS
        now = self._ring[self._at + STEPS - 1]
        for column, (values, unit) in enumerate(zip(named, FEATURE_UNITS, strict=True)):
            now[:, column] = values * (1 / unit)
        if self._at:
            self._ring[self._at - 1] = now

    def _average(self, sent: Array, acked_bytes: Array, lost: Array, known: Array) -> None:
        self._sent_pps += RATE_SHARE * (sent * (1 / STEP_S) - self._sent_pps)
        self._delivered_bps += RATE_SHARE * (acked_bytes * (8 / STEP_S) - self._delivered_bps)
        self._lost = self._lost * SCALE_FADES + lost
        self._known = self._known * SCALE_FADES + known
        self.loss = self._lost / np.maximum(self._known, 1)
        self.packets_ahead = np.maximum(self._sent_pps * (STEP_S * AHEAD_STEPS), 1)

    def _slot_of(self, unix_s: float | Array) -> npt.NDArray[np.int64]:
        found: npt.NDArray[np.int64] = np.asarray(unix_s % PERIOD_S * (SLOTS / PERIOD_S)).astype(np.int64)
        return np.minimum(found, SLOTS - 1)

    def _context(
        self, now_s: float | Array, old_s: Array, least_s: Array, excess_s: Array, age_s: Array
    ) -> None:
        middle_s = now_s + (WINDOW_STEPS[0] + WINDOW_STEPS[1]) / 2 * STEP_S
        angle = 2 * np.pi / PERIOD_S * (middle_s % PERIOD_S)
        at = self._slot_of(middle_s), self._every
        period = self._slot_lost.sum(axis=0) / np.maximum(self._slot_known.sum(axis=0), 1)
        in_slot = (self._slot_lost[at] + SLOT_PRIOR_PACKETS * period) / (
            self._slot_known[at] + SLOT_PRIOR_PACKETS
        )
        f, c = self.filter, self.context
        bad, self.ge_any = f.ahead(
            old_s * (1 / STEP_S) + WINDOW_STEPS[0], self.packets_ahead * (1 / AHEAD_STEPS)
        )
        c[:, : len(SCALES_S)] = self.loss.T
        found = (
            f.bad, bad, self.ge_any, f.loss_good, f.loss_bad, f.to_bad, f.to_good, least_s, excess_s,
            self._at_loss_s, age_s, np.sin(angle), np.cos(angle), in_slot, period, self.packets_ahead,
            self._since_s,
        )  # fmt: skip
        for column, values in enumerate(found, len(SCALES_S)):
            c[:, column] = values
