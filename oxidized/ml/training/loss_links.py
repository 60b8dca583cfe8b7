"""Links that lose: a replay in steps of 1 ms of many links side by side, and what a sender sees of them.

One first-in first-out queue that drops what does not fit (drop-tail), served by the opportunities of a trace
or at a constant rate, then loss on the wire by a probability per millisecond. What is sent is a constant
rate, flows that behave like TCP Cubic (RFC 9438, simplified: window, one decrease per round trip, no
timeouts), or both. The sender knows the fate of a datagram one round trip after it was sent, queue included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oxidized.core.loss import Row

FLOWS: Final = 4
STEP_MS: Final = 10
DETECT_MS: Final = 5  # a loss is declared that much later than the acknowledgement of its neighbour
UNLIMITED: Final = 1000  # datagrams per ms
BURST: Final = 10  # of one window, per ms
CUBIC_C: Final = 0.4
CUBIC_BETA: Final = 0.7
ON_S: Final = 6.0
OFF_S: Final = 2.0

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Link:
    """One link and what is sent over it, all per millisecond. Arrays are as long as the replay.

    rtt_ms: round trip without queue; served: datagrams that leave the queue; queue: its length in datagrams;
    wire_loss: probability; constant: datagrams sent at a constant rate; flows: of TCP, at most FLOWS;
    unix_s: when it begins, as the clock of 15 s counts.
    """

    name: str
    family: str
    rtt_ms: npt.NDArray[np.int16]
    constant: npt.NDArray[np.int16]
    served: npt.NDArray[np.int16] | None = None
    queue: int = 1000
    wire_loss: npt.NDArray[np.float32] | None = None
    flows: int = 0
    jitter_ms: float = 0.0
    bytes: int = 1250
    unix_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """rows [steps, links, 10]; sent, lost to the queue, lost on the wire [steps, links]: what came of what
    was sent in each step of 10 ms, which nobody knows before a round trip has passed."""

    rows: Floats
    sent: Ints
    queue_lost: Ints
    wire_lost: Ints
    unix_s: Floats


class _Cubic:
    """FLOWS flows on each of n links; window in datagrams, 0 while a flow is off."""

    def __init__(self, links: Sequence[Link], dice: np.random.Generator) -> None:
        shape = (len(links), FLOWS)
        self.dice = dice
        self.is_there = np.arange(FLOWS)[None, :] < np.array([link.flows for link in links])[:, None]
        self.is_on = self.is_there & (dice.random(shape) < 0.7)
        self.until = dice.exponential(np.where(self.is_on, ON_S, OFF_S)) * 1000
        self.window: Floats = np.full(shape, 10.0)
        self.top: Floats = np.full(shape, np.inf)  # inf: slow start
        self.epoch: Floats = np.zeros(shape)
        self.calm_until: Floats = np.zeros(len(links))

    def total(self) -> Floats:
        found: Floats = (self.window * self.is_on).sum(axis=1)
        return found

    def heard(self, t: int, acked: Counts, lost: Counts, rtt_ms: Floats) -> None:
        share = self.window * self.is_on
        share /= share.sum(axis=1, keepdims=True) + 1e-9
        slow = np.isinf(self.top)
        self.window += np.where(slow, acked[:, None] * share, 0)
        hit = (lost > 0) & (t >= self.calm_until)
        if hit.any():
            chance = 1 - (1 - share) ** lost[:, None]
            struck = hit[:, None] & self.is_on & (self.dice.random(share.shape) < chance)
            self.top = np.where(struck, self.window, self.top)
            self.epoch = np.where(struck, t, self.epoch)
            self.window = np.where(struck, np.maximum(self.window * CUBIC_BETA, 2), self.window)
            self.calm_until = np.where(hit, t + rtt_ms, self.calm_until)

    def grow(self, t: int, rtt_ms: Floats) -> None:
        """Every 10 ms."""
        with np.errstate(invalid="ignore"):
            age_s = (t - self.epoch) / 1000
            k = np.cbrt(self.top * (1 - CUBIC_BETA) / CUBIC_C)
            cubic = CUBIC_C * (age_s - k) ** 3 + self.top
            reno = CUBIC_BETA * self.top + 0.53 * age_s * 1000 / np.maximum(rtt_ms, 1)[:, None]
            wanted = np.maximum(cubic, reno)
        self.window = np.where(np.isinf(self.top), self.window, np.clip(wanted, 2, 1.5 * self.window + 1))
        over = self.is_there & (t >= self.until)
        if over.any():
            self.is_on ^= over
            self.window = np.where(over & self.is_on, 10, self.window)
            self.top = np.where(over & self.is_on, np.inf, self.top)
            length = self.dice.exponential(np.where(self.is_on, ON_S, OFF_S)) * 1000
            self.until = np.where(over, t + length, self.until)


class _Sender:
    """Round-trip time and age of feedback, as RFC 6298 smooths them; arrays [links], ms."""

    def __init__(self, links: Sequence[Link], dice: np.random.Generator) -> None:
        n = len(links)
        self.dice = dice
        self.jitter = np.array([link.jitter_ms for link in links])
        self.latest: Floats = np.zeros(n)
        self.smooth: Floats = np.zeros(n)
        self.var: Floats = np.zeros(n)
        self.least: Floats = np.full(n, np.inf)
        self.heard_at: Floats = np.zeros(n)

    def heard(self, t: int, fresh: npt.NDArray[np.bool_], rtt: Floats) -> None:
        rtt = rtt + self.jitter * self.dice.exponential(1, len(rtt))
        is_first = fresh & np.isinf(self.least)
        self.latest = np.where(fresh, rtt, self.latest)
        self.least = np.where(fresh, np.minimum(self.least, rtt), self.least)
        off = np.abs(self.smooth - rtt)
        self.var = np.where(is_first, rtt / 2, np.where(fresh, self.var + (off - self.var) / 4, self.var))
        smooth = self.smooth + (rtt - self.smooth) / 8
        self.smooth = np.where(is_first, rtt, np.where(fresh, smooth, self.smooth))
        self.heard_at = np.where(fresh, t, self.heard_at)


def _stacked(links: Sequence[Link], name: str, otherwise: float) -> Any:
    """[ms, links] of one field of the links."""
    length = len(links[0].constant)
    rows = [getattr(link, name) for link in links]
    return np.stack([np.full(length, otherwise) if r is None else r for r in rows], axis=1)


def replay(links: Sequence[Link], seed: int) -> Seen:
    """All links at once; they must be equally long."""
    dice = np.random.default_rng(seed)
    n, length = len(links), len(links[0].constant)
    rtt = _stacked(links, "rtt_ms", 0).astype(np.int64)
    served_at = _stacked(links, "served", UNLIMITED).astype(np.int32)
    constant = _stacked(links, "constant", 0).astype(np.int32)
    wire = _stacked(links, "wire_loss", 0.0).astype(np.float32)
    limit = np.array([link.queue for link in links])
    size = np.array([link.bytes for link in links])
    # Cumulative, by ms of sending (column 0: before anything); `left` by ms of leaving the queue.
    sent, queue_lost, wire_lost, admitted, left, by_rate = np.zeros((6, length + 1, n), dtype=np.int32)
    np.cumsum(constant, axis=0, out=by_rate[1:])
    rows = np.zeros((length // STEP_MS, n, len(Row)))
    tcp, sender = _Cubic(links, dice), _Sender(links, dice)
    every = np.arange(n)
    known = np.zeros(n, dtype=np.int64)  # the ms of sending up to which all is known, one more than that
    known_before = known
    queue = np.zeros(n, dtype=np.int32)
    acked, lost_heard = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for t in range(length):
        old = np.maximum(t + 1 - rtt[t], 0)
        gone = left[old, every]
        for _ in range(8):
            can = (known < old) & (admitted[np.minimum(known + 1, t), every] <= gone)
            if not can.any():
                break
            known = known + can
        lost_now = queue_lost[known, every].astype(np.int64) + wire_lost[known, every]
        acked_now = sent[known, every] - lost_now
        news = acked_now - acked
        fresh = news > 0
        sender.heard(t, fresh, (t + 1 - known).astype(np.float64))
        tcp.heard(t, news, lost_now - lost_heard, sender.smooth)
        acked, lost_heard = acked_now, lost_now
        if t % STEP_MS == 0:
            tcp.grow(t, sender.smooth)
        in_flight = sent[t] - sent[known, every] - (by_rate[t] - by_rate[known, every])
        by_window = np.clip(tcp.total() - in_flight, 0, BURST).astype(np.int32)
        out = constant[t] + by_window
        leaves = np.minimum(queue, served_at[t])
        queue = queue - leaves
        enters = np.minimum(out, np.maximum(limit - queue, 0))
        queue = queue + enters
        gone_on_wire = dice.binomial(enters, wire[t]) if wire[t].any() else 0
        left[t + 1] = left[t] + leaves
        sent[t + 1] = sent[t] + out
        admitted[t + 1] = admitted[t] + enters
        queue_lost[t + 1] = queue_lost[t] + (out - enters)
        wire_lost[t + 1] = wire_lost[t] + gone_on_wire
        if t % STEP_MS == STEP_MS - 1 - DETECT_MS:
            known_before = known
        if t % STEP_MS == STEP_MS - 1:
            row = rows[t // STEP_MS]
            lost = queue_lost[known_before, every] + wire_lost[known_before, every]
            row[:, Row.SENT] = sent[t + 1]
            row[:, Row.ACKED] = acked
            row[:, Row.LOST] = lost
            row[:, Row.ACKED_BYTES] = acked * size
            row[:, Row.INFLIGHT] = sent[t + 1] - acked - lost
            _times(row, sender, t)
    per_step = [np.diff(total[::STEP_MS], axis=0).astype(np.int32) for total in (sent, queue_lost, wire_lost)]
    return Seen(rows, per_step[0], per_step[1], per_step[2], np.array([link.unix_s for link in links]))


def _times(row: Floats, sender: _Sender, t: int) -> None:
    row[:, Row.RTT_LATEST_US] = sender.latest * 1000
    row[:, Row.RTT_SMOOTHED_US] = sender.smooth * 1000
    row[:, Row.RTT_VAR_US] = sender.var * 1000
    row[:, Row.RTT_MIN_US] = np.where(np.isinf(sender.least), 0, sender.least) * 1000
    row[:, Row.FEEDBACK_AGE_US] = (t - sender.heard_at) * 1000
