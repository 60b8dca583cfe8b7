"""What to do about loss on one path: nothing, forward error correction, or copies of what is sent again.

Every 10 ms one decision per path out of a prediction and what was seen. The rules:

- A clean path (below 0.1 % and nothing predicted) costs nothing.
- Congestive loss is answered by less, never by more: no correction, one copy.
- Otherwise redundancy grows with loss and with the length of bursts, as simulated for a residual of 1 % and a
  budget of 150 ms (independent loss of 1 % wants 0.1, of 5 % 0.3; bursts of 15 ms 0.5, of 40 ms 1.0 lagged),
  and is needed only where sending again would be too late.
- A path changes its regime upwards at once and back only when it has been better for `HOLD_S`, so that it
  does not flutter; congestion is believed at once as well, and left after half of that.

Pure: the time is a field of the inputs, the memory is `RepairState`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from oxidized.core.plane import Regime

CLEAN_LOSS_MAX: Final = 0.001
PREDICTED_MIN: Final = 0.05  # a predicted window of 50 ms less likely to lose than that is no reason
BURST_MIN_S: Final = 0.008  # a mean burst longer than that is no independent loss
CONGESTIVE_MIN: Final = 0.5
CONGESTIVE_LOSS_MIN: Final = 0.2  # or of a loss that is this likely
HOLD_S: Final = 1.5
CONGESTED_HOLD_S: Final = 0.75
DETECT_S: Final = 0.005
REDUNDANCY_MAX: Final = 1.0
COPIES_MAX: Final = 3
# (loss ratio, redundancy) for independent loss, and the factor by mean burst; straight lines between.
RATIO_BY_LOSS: Final = ((0.0, 0.0), (0.001, 0.02), (0.01, 0.1), (0.05, 0.3), (0.1, 0.5), (0.3, 1.0))
FACTOR_BY_BURST_S: Final = ((0.0, 1.0), (0.015, 1.7), (0.04, 3.4))


@dataclass(frozen=True, slots=True)
class RepairInputs:
    """Of one path, now. Ratios and probabilities 0..1; what is out of range is cut.

    loss_ratio: of datagrams over some seconds; p_loss: any loss 50..100 ms from now; p_congestive: that it
    would be congestion; burst_s: mean length of bursts, 0 where losses come alone; rtt_s: smoothed;
    budget_s: one way, of the class that is most in a hurry; overhead_max: most redundancy that is allowed.
    """

    now_s: float
    loss_ratio: float
    p_loss: float
    p_congestive: float
    burst_s: float
    rtt_s: float
    budget_s: float = 0.15
    overhead_max: float = REDUNDANCY_MAX


@dataclass(frozen=True, slots=True)
class RepairDecision:
    """inject_fec: send repair packets; redundancy_ratio: so many per source packet; copies: of a packet that
    is sent again in the last round that fits, 1..3."""

    regime: Regime
    inject_fec: bool
    redundancy_ratio: float
    copies: int


@dataclass(frozen=True, slots=True)
class RepairState:
    """What a path remembers. loss_ratio and burst_s: the highest of the regime, which fade with it."""

    regime: Regime = Regime.CLEAN
    better_since_s: float | None = None  # since then another regime would do
    lower_since_s: float | None = None  # since then loss has been lower than loss_ratio
    loss_ratio: float = 0.0
    burst_s: float = 0.0


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0) if value == value else 0.0


def _on_line(points: tuple[tuple[float, float], ...], x: float) -> float:
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * max(x - x0, 0.0) / (x1 - x0)
    return points[-1][1]


def repeat_fits(rtt_s: float, budget_s: float) -> bool:
    """Whether a packet that is lost can be sent again in time: 1.5 round trips and the detection."""
    return 1.5 * rtt_s + DETECT_S <= budget_s


def regime_of(inputs: RepairInputs) -> Regime:
    """The regime without memory."""
    loss, p_loss = _unit(inputs.loss_ratio), _unit(inputs.p_loss)
    is_lossy = loss >= CLEAN_LOSS_MAX
    if _unit(inputs.p_congestive) >= CONGESTIVE_MIN and (is_lossy or p_loss >= CONGESTIVE_LOSS_MIN):
        return Regime.CONGESTED
    if not is_lossy and p_loss < PREDICTED_MIN:
        return Regime.CLEAN
    return Regime.BURSTY if inputs.burst_s >= BURST_MIN_S else Regime.RANDOM


def _next(state: RepairState, inputs: RepairInputs) -> RepairState:
    """The state after hysteresis."""
    wanted, now = regime_of(inputs), state.regime
    loss = _unit(inputs.loss_ratio)
    burst = max(inputs.burst_s, 0.0) if inputs.burst_s == inputs.burst_s else 0.0
    if wanted is not now:
        since = inputs.now_s if state.better_since_s is None else state.better_since_s
        hold_s = CONGESTED_HOLD_S if now is Regime.CONGESTED else HOLD_S
        if wanted > now or inputs.now_s - since >= hold_s:
            return RepairState(wanted, None, None, loss, burst)
        return replace(state, better_since_s=since)
    # Within a regime the worst that it was stays for as long as the regime would.
    since = inputs.now_s if state.lower_since_s is None else state.lower_since_s
    if loss >= state.loss_ratio or inputs.now_s - since >= HOLD_S:
        return RepairState(
            now, None, None, loss, max(burst, state.burst_s) if loss >= state.loss_ratio else burst
        )
    return RepairState(now, None, since, state.loss_ratio, max(burst, state.burst_s))


def fec_decision(inputs: RepairInputs, state: RepairState) -> tuple[RepairDecision, RepairState]:
    """The decision for one path, and the state for its next one."""
    after = _next(state, inputs)
    regime = after.regime
    if regime in (Regime.CLEAN, Regime.CONGESTED):
        return RepairDecision(regime, False, 0.0, 1), after
    loss = max(after.loss_ratio, _unit(inputs.loss_ratio))
    # A prediction arms what loss of the past does not show yet, such as the slot of a satellite's clock.
    loss = max(loss, 0.1 * _unit(inputs.p_loss)) if _unit(inputs.p_loss) >= PREDICTED_MIN else loss
    burst = after.burst_s if regime is Regime.BURSTY else 0.0
    copies = 1 + (loss >= 0.005) + (loss >= 0.02 or regime is Regime.BURSTY)
    fits = repeat_fits(inputs.rtt_s, inputs.budget_s)
    ratio = _on_line(RATIO_BY_LOSS, loss) * _on_line(FACTOR_BY_BURST_S, burst)
    if fits:
        # Sending again costs less; correction only where losses are many and alone.
        ratio = 0.1 if regime is Regime.RANDOM and loss > 0.03 else 0.0
    ratio = min(ratio, REDUNDANCY_MAX, max(inputs.overhead_max, 0.0))
    return RepairDecision(regime, ratio > 0, ratio, min(copies, COPIES_MAX)), after
