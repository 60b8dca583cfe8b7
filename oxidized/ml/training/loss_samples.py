"""Links of each family, and samples: what a predictor sees at a moment, and what then was lost.

Families: `ge` (bursts of a radio), `iid` (independent), `queue` (TCP into a drop-tail queue at constant
rate), `cellular` (the same through replayed delivery opportunities), `mixed` (radio and queue at once),
`clock` (loss that keeps to a slot of the 15 s), `pkt` and `ival` (measured). Parameters of learning and of
judging are different sets: LEARN and JUDGE below.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oxidized.core.loss import SCALES_S, STEP_S, WINDOW_STEPS, Row
from oxidized.errors import OxidizedError
from oxidized.ml.loss_features import CONTEXT, FEATURES, STEPS, LossFeatures
from oxidized.ml.training import loss_traces as traces
from oxidized.ml.training.loss_links import STEP_MS, Link, Seen, replay

Floats = npt.NDArray[np.float32]

LENGTH_MS: Final = 70_000
WARM_STEPS: Final = 1000
EVERY_STEPS: Final = 5
REPLAYED_MAX: Final = 240  # links side by side: bounds memory
PART_STEPS: Final = 45_000  # of a measured trace: judged in parts side by side,
PART_WARM_STEPS: Final = 30_000  # each after so much of what came before it
EVEN_GAPS: Final = 64
EVEN_PULL: Final = 0.3
PAUSE_GAPS: Final = 3
SPAN_MS_MAX: Final = 8 * 3600 * 1000  # of a measured trace, from its beginning
GAP_MAX_MS: Final = 30_000  # of an interval; a longer one is cut
Dice = np.random.Generator


@dataclass(frozen=True, slots=True)
class Samples:
    """window [n, 20, 8], context [n, 17 + scales]; in the 50 ms that are predicted: datagrams sent, lost,
    lost to a queue; any_soon: any loss in the next 100 ms; scores of the simple predictors; link number."""

    window: Floats
    context: Floats
    sent: Floats
    lost: Floats
    queue_lost: Floats
    any_soon: npt.NDArray[np.bool_]
    last: Floats
    ewma: Floats  # [n, scales]
    ge: Floats
    link: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sent)

    def pick(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Samples:
        return Samples(*(getattr(self, field.name)[which] for field in fields(self)))


def join(parts: Sequence[Samples]) -> Samples:
    """One after another; links are numbered on."""
    shift = np.cumsum([0, *(int(part.link.max(initial=-1)) + 1 for part in parts)])
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Samples)
    }
    columns["link"] = np.concatenate([part.link + shift[i] for i, part in enumerate(parts)])
    return Samples(**columns)


def _nothing() -> tuple[Any, ...]:
    """No samples."""
    none = np.zeros(0)
    window, context = np.zeros((0, STEPS, len(FEATURES))), np.zeros((0, len(CONTEXT)))
    ewma, at = np.zeros((0, len(SCALES_S))), np.zeros(0, dtype=np.int64)
    return window, context, none, none, none, none.astype(bool), none, ewma, none, at


def observe(seen: Seen, *, warm: int, every: int) -> Samples:
    """Runs the daemon's own features over the rows; a sample where anything is sent in what is predicted."""
    first, last = WINDOW_STEPS
    steps, links = seen.sent.shape
    state = LossFeatures(links)
    total = [
        np.cumsum(np.vstack([np.zeros((1, links)), x]), axis=0)
        for x in (seen.sent, seen.queue_lost, seen.wire_lost)
    ]
    found: list[tuple[Any, ...]] = [_nothing()]
    for step in range(steps - last):
        state.step(seen.unix_s + (step + 1) * STEP_S, seen.rows[step])
        if step < warm or step % every:
            continue
        sent, by_queue, on_wire = (x[step + 1 + last] - x[step + 1 + first] for x in total)
        soon = sum(x[step + 1 + last] - x[step + 1] for x in total[1:])
        at = np.flatnonzero(sent > 0)
        ewma = np.stack([state.ewma_any(scale) for scale in range(len(SCALES_S))], axis=1)
        found.append(
            (
                state.window[:, at].transpose(1, 0, 2),
                state.context[at],
                sent[at],
                (by_queue + on_wire)[at],
                by_queue[at],
                soon[at] > 0,
                state.last_loss[at],
                ewma[at],
                state.ge_any[at],
                at,
            )
        )
    columns: list[Any] = [np.concatenate(column) for column in zip(*found, strict=True)]
    kept = [column if column.dtype in (bool, np.int64) else column.astype(np.float32) for column in columns]
    return Samples(*kept)


def replayed(links: Sequence[Link], seed: int) -> Samples:
    parts = [
        observe(replay(links[at : at + REPLAYED_MAX], seed + at), warm=WARM_STEPS, every=EVERY_STEPS)
        for at in range(0, len(links), REPLAYED_MAX)
    ]
    return join(parts)


# ---- generated links -----------------------------------------------------------------------


def _steady(length: int, pps: float) -> npt.NDArray[np.int16]:
    """So many datagrams a second, evenly."""
    return np.diff(np.floor(np.arange(length + 1) * pps / 1000)).astype(np.int16)


def _rtt(length: int, ms: float) -> npt.NDArray[np.int16]:
    return np.full(length, round(ms), dtype=np.int16)


def ge_states(length: int, bad_ms: float, bad_share: float, dice: Dice) -> npt.NDArray[np.bool_]:
    """Whether each ms is bad: bad periods of `bad_ms` on average, good ones so that the share comes out."""
    good_ms = bad_ms * (1 - bad_share) / bad_share
    count = int(length / (good_ms + bad_ms) * 2) + 20
    spans = dice.exponential(1, (count, 2)) * (good_ms, bad_ms)
    ends = np.cumsum(spans.ravel())
    begins_bad = dice.random() < bad_share
    found: npt.NDArray[np.bool_] = (np.searchsorted(ends, np.arange(length)) % 2 == 1) ^ begins_bad
    return found


# mean bad ms, loss in bad, loss in all, loss in good
GE_LEARN: Final = (
    (10, 0.5, 0.03, 0.001), (20, 0.8, 0.05, 0.0), (20, 1.0, 0.02, 0.002), (40, 0.5, 0.05, 0.001),
    (40, 0.9, 0.08, 0.0), (80, 0.3, 0.03, 0.0), (80, 0.8, 0.04, 0.003), (150, 0.4, 0.08, 0.001),
    (150, 1.0, 0.05, 0.0), (300, 0.3, 0.05, 0.002), (300, 0.7, 0.1, 0.0), (400, 0.5, 0.02, 0.0),
)  # fmt: skip
GE_JUDGE: Final = (
    (15, 0.7, 0.04, 0.0), (30, 0.6, 0.06, 0.001), (40, 0.8, 0.05, 0.0), (60, 0.9, 0.03, 0.001),
    (120, 0.5, 0.06, 0.0), (220, 0.6, 0.08, 0.002), (350, 0.35, 0.04, 0.0), (250, 0.9, 0.05, 0.0),
)  # fmt: skip
RTT_LEARN: Final = (15, 30, 50, 70, 110, 150)
RTT_JUDGE: Final = (20, 40, 80)
PPS_LEARN: Final = (50, 100, 200, 300, 500, 1000)
PPS_JUDGE: Final = (50, 200, 600)


def _ge(name: str, numbers: tuple[float, ...], rtt_ms: float, pps: float, dice: Dice) -> Link:
    bad_ms, in_bad, in_all, in_good = numbers
    is_bad = ge_states(LENGTH_MS, bad_ms, (in_all - in_good) / (in_bad - in_good), dice)
    wire = np.where(is_bad, in_bad, in_good).astype(np.float32)
    jitter = float(dice.choice([0.2, 1, 3]))
    return Link(
        name, "ge", _rtt(LENGTH_MS, rtt_ms), _steady(LENGTH_MS, pps), wire_loss=wire, jitter_ms=jitter
    )


def _iid(name: str, loss: float, rtt_ms: float, pps: float, dice: Dice) -> Link:
    wire = np.full(LENGTH_MS, loss, dtype=np.float32)
    return Link(name, "iid", _rtt(LENGTH_MS, rtt_ms), _steady(LENGTH_MS, pps), wire_loss=wire, jitter_ms=1.0)


def _queue(name: str, pps: float, rtt_ms: float, bdp: float, flows: int, share: float) -> Link:
    """A link of `pps` datagrams a second, its queue in bandwidth-delay products, `share` sent constantly."""
    served = _steady(LENGTH_MS, pps)
    queue = max(15, round(bdp * pps * rtt_ms / 1000))
    constant = _steady(LENGTH_MS, share * pps)
    return Link(
        name,
        "queue",
        _rtt(LENGTH_MS, rtt_ms),
        constant,
        served=served,
        queue=queue,
        flows=flows,
        jitter_ms=0.3,
    )


def _mixed(link: Link, numbers: tuple[float, ...], dice: Dice) -> Link:
    ge = _ge(link.name, numbers, 1, 1, dice)
    return Link(
        link.name, "mixed", link.rtt_ms, link.constant, link.served, link.queue, ge.wire_loss, link.flows, 1.0
    )


def generated(seed: int, *, is_judged: bool) -> list[Link]:
    """Links of the families that need no traces."""
    dice = np.random.default_rng(seed)
    ge, rtts, speeds = (GE_JUDGE, RTT_JUDGE, PPS_JUDGE) if is_judged else (GE_LEARN, RTT_LEARN, PPS_LEARN)
    times = 1 if is_judged else 5
    links = []
    for number, numbers in enumerate(ge):
        picked = [(rtt, pps) for rtt in rtts for pps in speeds]
        if not is_judged:
            picked = [picked[i] for i in dice.choice(len(picked), times, replace=False)]
        for rtt, pps in picked:
            links.append(_ge(f"ge-{number}-{rtt}ms-{pps}pps", numbers, rtt, pps, dice))
    for loss in (0.003, 0.015, 0.04) if is_judged else (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1):
        for rtt in dice.choice(rtts, 3):
            for pps in dice.choice(speeds, 2, replace=False):
                links.append(_iid(f"iid-{loss}-{rtt}ms-{pps}pps", loss, int(rtt), int(pps), dice))
    rates = (500, 1300, 3000) if is_judged else (300, 800, 1700, 4200)
    for pps in rates:
        for bdp in (0.7, 1.5) if is_judged else (0.5, 1.0, 2.0, 4.0):
            for flows in (1, 3) if is_judged else (1, 2, 4):
                rtt = int(dice.choice(rtts))
                share = float(dice.choice([0.05, 0.2] if is_judged else [0.03, 0.1, 0.3]))
                name = f"queue-{pps}pps-{rtt}ms-{bdp}bdp-{flows}tcp"
                link = _queue(name, pps, rtt, bdp, flows, share)
                links.append(link)
                if dice.random() < 0.3:
                    links.append(_mixed(link, ge[int(dice.choice(len(ge)))], dice))
    return links


def cellular(trace: traces.MmTrace, name: str, seed: int, pieces: int, faster: float = 1.0) -> list[Link]:
    """Pieces of the trace, each under three loads: one long TCP flow beside a call, two beside video, and
    video alone that takes 7/10 of the mean rate. `faster`: times as many opportunities."""
    dice = np.random.default_rng(seed)
    links = []
    length = len(trace.served)
    for piece in range(pieces):
        begin = int((piece + 0.5) * length / pieces)
        piece_of = np.take(trace.served, np.arange(begin, begin + LENGTH_MS), mode="wrap")
        served = np.diff(np.floor(np.cumsum(np.append(0, piece_of)) * faster)).astype(np.int16)
        pps = float(served.mean()) * 1000
        if pps < 20:
            continue
        for load, (flows, share) in {"call": (1, 0.02), "video": (2, 0.3), "cbr": (0, 0.7)}.items():
            rtt = int(dice.choice((20, 40, 60)))
            queue = max(20, round(pps * float(dice.choice((0.1, 0.2, 0.4)))))
            constant = _steady(LENGTH_MS, max(share * pps, min(50, 0.2 * pps)))
            links.append(
                Link(
                    f"{name}-{piece}-{load}",
                    "cellular",
                    _rtt(LENGTH_MS, rtt),
                    constant,
                    served=served,
                    queue=queue,
                    flows=flows,
                    jitter_ms=1.0,
                )
            )
    return links


# ---- measured traces, and generated ones of their form -------------------------------------


def clock_trace(dice: Dice, seconds: int = 450) -> tuple[traces.PktTrace, float]:
    """Probes over a satellite: every 15 s, in one slot, another delay, and loss for a second or less.
    Returns it and the time it begins at."""
    gap_ms = float(dice.choice([10, 20, 50, 100, 220]))
    t_ms = np.arange(0, seconds * 1000, gap_ms) + dice.random() * 15_000
    begins = dice.random() * 15_000
    period = np.floor((t_ms - begins) / 15_000).astype(int) + 1
    level = dice.uniform(30, 90) + dice.exponential(20, int(period.max()) + 1)
    into_ms = (t_ms - begins) % 15_000
    rtt_ms = level[period] + dice.exponential(8, len(t_ms))
    is_in_slot = into_ms < dice.uniform(200, 1200)
    loss = np.where(is_in_slot, dice.choice([0.03, 0.1, 0.4]), dice.choice([0.0005, 0.003]))
    lost = dice.random(len(t_ms)) < loss
    return traces.PktTrace(t_ms, np.where(lost, 0, rtt_ms * 1000), lost), 0.0


def even(trace: traces.PktTrace) -> npt.NDArray[np.float64]:
    """Times of probes in ms, without what they tell of their own fate. A ping that waits for its reply writes
    a lost one down when it gives up, seconds later; the pause would foretell the loss. So a time is that of a
    clock which follows the times before it, at the median of their gaps; after a loss with a pause it goes on
    from the end of that pause."""
    t_ms = trace.t_ms
    gaps = np.diff(t_ms)
    found = t_ms.astype(np.float64)
    if len(gaps) < 2 or np.ptp(gaps) < 0.1 * np.median(gaps):
        return found
    for i in range(1, len(found)):
        gap = float(np.median(gaps[max(0, i - 1 - EVEN_GAPS) : max(1, i - 1)]))
        behind = float(t_ms[i - 1] - found[i - 1])
        if trace.is_lost[i - 1] and behind > PAUSE_GAPS * gap:
            found[i] = t_ms[i - 1] + gap
        else:
            behind = 0.0 if trace.is_lost[i - 1] else behind
            found[i] = found[i - 1] + max(gap + EVEN_PULL * behind, 0.2 * gap)
    return found


def seen_of_probes(trace: traces.PktTrace, unix_s: float) -> Seen:
    """One link: the probes are what is sent, at even times. A lost one is declared so after the smoothed
    round trip, four times its variation and 10 ms."""
    t_ms = even(trace) - trace.t_ms[0]
    if t_ms[-1] > SPAN_MS_MAX:
        kept_ms = t_ms <= SPAN_MS_MAX
        cut_off = traces.PktTrace(trace.t_ms[kept_ms], trace.rtt_us[kept_ms], trace.is_lost[kept_ms])
        return seen_of_probes(cut_off, unix_s)
    unix_s += float(trace.t_ms[0]) / 1000
    known_ms = np.zeros(len(t_ms))
    smooth = var = 0.0
    times = np.zeros((len(t_ms), 4))
    least = np.inf
    for i, (rtt, lost) in enumerate(zip(trace.rtt_us / 1000, trace.is_lost, strict=True)):
        if lost:
            known_ms[i] = t_ms[i] + smooth + 4 * var + 10
            continue
        var = rtt / 2 if not smooth else var + (abs(smooth - rtt) - var) / 4
        smooth = smooth + (rtt - smooth) / 8 if smooth else rtt
        least = min(least, rtt)
        times[i] = rtt, smooth, var, least
        known_ms[i] = t_ms[i] + rtt
    steps = int(t_ms[-1] // STEP_MS) + 1
    ends = (np.arange(steps) + 1) * float(STEP_MS)
    kept = np.flatnonzero(~trace.is_lost)
    kept = kept[np.argsort(known_ms[kept], kind="stable")]
    acked = np.searchsorted(known_ms[kept], ends, side="right")
    lost_known = np.searchsorted(np.sort(known_ms[trace.is_lost]), ends, side="right")
    sent = np.searchsorted(t_ms, ends)
    rows = np.zeros((steps, 1, len(Row)))
    latest = kept[np.maximum(acked - 1, 0)]
    rows[:, 0, Row.SENT], rows[:, 0, Row.ACKED], rows[:, 0, Row.LOST] = sent, acked, lost_known
    rows[:, 0, Row.ACKED_BYTES] = acked * 100
    rows[:, 0, Row.INFLIGHT] = np.maximum(sent - acked - lost_known, 0)
    rows[:, 0, Row.RTT_LATEST_US : Row.RTT_MIN_US + 1] = np.where(acked > 0, 1000, 0)[:, None] * times[latest]
    rows[:, 0, Row.FEEDBACK_AGE_US] = np.where(acked > 0, ends - known_ms[latest], ends) * 1000
    count = np.diff(np.searchsorted(t_ms, np.arange(steps + 1) * float(STEP_MS)))
    lost = np.diff(np.searchsorted(t_ms[trace.is_lost], np.arange(steps + 1) * float(STEP_MS)))
    return Seen(
        rows, count[:, None].astype(np.int32), np.zeros((steps, 1), dtype=np.int32),
        lost[:, None].astype(np.int32), np.array([unix_s]),
    )  # fmt: skip


def side_by_side(seen: Sequence[Seen]) -> Seen:
    """Links of equal length as one."""
    return Seen(
        np.concatenate([s.rows for s in seen], axis=1),
        np.concatenate([s.sent for s in seen], axis=1),
        np.concatenate([s.queue_lost for s in seen], axis=1),
        np.concatenate([s.wire_lost for s in seen], axis=1),
        np.concatenate([s.unix_s for s in seen]),
    )


def cut(seen: Seen, begin: int, end: int) -> Seen:
    """Its steps from `begin` to `end`."""
    return Seen(
        seen.rows[begin:end], seen.sent[begin:end], seen.queue_lost[begin:end], seen.wire_lost[begin:end],
        seen.unix_s + begin * STEP_S,
    )  # fmt: skip


def probed(trace: traces.PktTrace, unix_s: float, share: tuple[float, float] = (0.0, 1.0)) -> Samples:
    """Samples of a measured trace between two shares of its length, at every step that predicts a probe. It
    is cut into parts that run side by side, each after a good while of what came before it."""
    seen = seen_of_probes(trace, unix_s)
    steps = len(seen.rows)
    begin, end = int(share[0] * steps), int(share[1] * steps)
    warm = min(PART_WARM_STEPS, max(begin, (end - begin) // 5))
    parts = max(1, round((end - max(begin, warm)) / PART_STEPS))
    first = max(begin, warm)
    length = (end - first) // parts
    starts = [first + i * length - warm for i in range(parts)]
    return observe(side_by_side([cut(seen, at, at + warm + length) for at in starts]), warm=warm, every=1)


def interval_links(trace: traces.IvalTrace, name: str, pieces: int = 3, pps: float = 200.0) -> list[Link]:
    """`loss` of an interval as the probability that a datagram sent in it is lost; unknown loss and round
    trips are those last known. Pieces of LENGTH_MS or all of it, of a stream of `pps`."""
    spans = np.diff(trace.t_ms, append=trace.t_ms[-1] + np.median(np.diff(trace.t_ms)))
    spans = np.clip(spans, 0, GAP_MAX_MS)
    spans = spans[np.cumsum(spans) <= SPAN_MS_MAX]

    def held(values: npt.NDArray[np.float64], otherwise: float) -> npt.NDArray[np.float64]:
        at = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
        first = values[~np.isnan(values)][:1]
        return np.where(at < 0, first[0] if len(first) else otherwise, values[np.maximum(at, 0)])

    at = np.repeat(np.arange(len(spans)), np.diff(np.floor(np.cumsum(np.append(0, spans)))).astype(int))
    if len(at) < LENGTH_MS:
        at = np.resize(at, LENGTH_MS)
        pieces = 1
    loss, rtt = held(trace.loss, 0.0), held(trace.rtt_us, 50_000.0) / 1000
    links = []
    for piece in range(pieces):
        begin = (len(at) - LENGTH_MS) * piece // max(1, pieces - 1)
        part = at[begin : begin + LENGTH_MS]
        links.append(
            Link(
                f"{name}-{piece}",
                "ival",
                np.clip(rtt[part], 1, 2000).astype(np.int16),
                _steady(LENGTH_MS, pps),
                wire_loss=loss[part].astype(np.float32),
                jitter_ms=1.0,
            )
        )
    return links


# ---- what a model learns from, and what it is judged by ------------------------------------

Say = Callable[[str], None]

# Of the folder of training traces, these networks are kept for judging.
HELD_OUT: Final = frozenset(
    {
        "mm_TMobile_UMTS_driving.up", "mm_ATT_LTE_driving.up", "mm_nyc_1553114405_bus",
        "mm_nyc_1553208852_ts_walking", "ucc5g_Download_Driving_B_2020.02.13_15.02.01",
        "ucc5g_Download_Driving_B_2019.12.16_12.27.05", "ucc5g_Download_Static_B_2019.12.16_13.40.04",
    }
)  # fmt: skip
PKT_LEARN_SHARE: Final = 0.6  # of a trace with losses; the rest judges
FASTER: Final = (1.0, 1.7, 0.6)
CLOCK_LEARN: Final = 40
CLOCK_JUDGE: Final = 12


def read_folder(folder: Path, say: Say) -> Iterable[tuple[Path, traces.Trace]]:
    """The sound traces of a folder; of the others one line each to `say`."""
    for path in traces.files(folder):
        try:
            yield path, traces.read(path)
        except OxidizedError as error:
            say(f"passed over: {error}")


def clocked(count: int, seed: int) -> Samples:
    dice = np.random.default_rng(seed)
    many = [clock_trace(dice) for _ in range(count)]
    seen = [seen_of_probes(trace, unix_s) for trace, unix_s in many]
    steps = min(len(one.rows) for one in seen)
    return observe(side_by_side([cut(one, 0, steps) for one in seen]), warm=WARM_STEPS, every=9)


@dataclass(frozen=True, slots=True)
class Learned:
    """Samples by family, and of which traces (stem -> share of it from its beginning)."""

    families: dict[str, Samples]
    of: dict[str, float]


def by_family(links: Sequence[Link], seed: int) -> dict[str, Samples]:
    samples = replayed(links, seed)
    family = np.array([link.family for link in links])
    return {name: samples.pick(family[samples.link] == name) for name in dict.fromkeys(family.tolist())}


def learned(folder: Path | None, seed: int, times: int, say: Say) -> Learned:
    """What a model learns from: generated links `times` over, and the traces of `folder` that are not held
    out; `times` also counts the pieces of each."""
    links = [link for i in range(times) for link in generated(seed + i, is_judged=False)]
    probes: list[Samples] = []
    of: dict[str, float] = {}
    for path, trace in read_folder(folder, say) if folder else ():
        name = traces.stem_of(path)
        if name in HELD_OUT:
            continue
        of[name] = 1.0
        match trace:
            case traces.MmTrace():
                # Also as networks of other rates would have been, as few are to be had.
                for i in range(times):
                    faster = FASTER[i % len(FASTER)]
                    links += cellular(trace, f"{name}-{i}", stable_seed(name) + seed + i, 4, faster)
            case traces.IvalTrace():
                links += interval_links(trace, name, 1 + times)
            case traces.PktTrace():
                if trace.is_lost.any():
                    of[name] = PKT_LEARN_SHARE
                # At another time of day each, or the phase of one machine's clock would be learned.
                for i in range(times):
                    at = 1.7e9 + 15 * np.random.default_rng(stable_seed(name) + i).random()
                    probes.append(probed(trace, at, (0.0, of[name])))
    families = by_family(links, seed)
    families["clock"] = clocked(CLOCK_LEARN * times, seed)
    if probes:
        families["pkt"] = join(probes)
    return Learned(families, of)


def stable_seed(name: str) -> int:
    """Of a name: the same on every machine."""
    return zlib.crc32(name.encode())


def judged_by_generators(seed: int) -> dict[str, Samples]:
    found = by_family(generated(seed, is_judged=True), seed)
    found["clock"] = clocked(CLOCK_JUDGE, seed)
    return found


def links_of(trace: traces.MmTrace | traces.IvalTrace, name: str, pieces: int) -> list[Link]:
    """The links that a trace of this name is judged by."""
    if isinstance(trace, traces.MmTrace):
        return cellular(trace, name, stable_seed(name), pieces)
    return interval_links(trace, name, pieces)


def judged_by_traces(
    found: Iterable[tuple[Path, traces.Trace]], learned_of: dict[str, float], pieces: int, seed: int
) -> dict[str, tuple[str, Samples]]:
    """Name -> family and samples. Of a trace that a part of was learned from, the rest. Links of all files
    run side by side, so the chances of one depend a little on who else is there."""
    links: list[Link] = []
    owners: list[str] = []
    done: dict[str, tuple[str, Samples]] = {}
    for path, trace in found:
        name = traces.stem_of(path)
        if isinstance(trace, traces.PktTrace):
            share = learned_of.get(name, 0.0)
            begin = share if share < 1 else 0.0
            done[name] = "pkt", probed(trace, traces.start_unix_s(path.parent, path), (begin, 1.0))
            continue
        more = links_of(trace, name, pieces)
        links += more
        owners += [name] * len(more)
    if links:
        data = replayed(links, seed)
        of_link = np.array(owners)
        for name, link in {owner: link for owner, link in zip(owners, links, strict=True)}.items():
            done[name] = link.family, data.pick(of_link[data.link] == name)
    return dict(sorted(done.items()))
