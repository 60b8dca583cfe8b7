"""Steering of repair: counters of paths in, wishes for them out, one look every 10 ms where packets are lost.

A look takes the rows of all paths that are sent on (`PathRow`), gives each its place among the rows of the
predictor, asks it once for all, decides by `fec_decision` for each, and yields the wishes that the packet
path must be told: those that changed, and the others before the packet path would forget them. Looks are
wanted often while some path carries traffic and has lost some of it lately, and once a second otherwise: a
path that loses nothing costs nothing. More paths than PATHS_MAX at once are left to the packet path's own
rule.

Pure: the shell (`oxidized.io.steering`) has the clock, and measures how long a look takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from oxidized.core import repair_policy
from oxidized.core.burst_loss import BurstLoss
from oxidized.core.loss import EwmaLoss, Row
from oxidized.core.loss_seen import BurstLength, RecentLoss
from oxidized.core.plane import PathRow, Regime, RepairMode
from oxidized.core.settings import RepairSettings

STEP_NS: Final = 10_000_000
IDLE_NS: Final = 1_000_000_000
BUSY_PACKETS: Final = 5  # within IDLE_NS; of fewer nothing can be foretold
LOSSY_NS: Final = 60_000_000_000  # since it lost something: what has not lost for so long is clean
SILENT_NS: Final = IDLE_NS + 500_000_000  # nothing was sent for so long: the path is not read
FORGET_NS: Final = 30_000_000_000  # and after so long it is another one
PATHS_MAX: Final = 64
REFRESH_NS: Final = 500_000_000
WISH_NS: Final = 1_500_000_000  # how long the packet path goes by a wish
LESS_NS: Final = 200_000_000  # less is wished so long after the last wish at the earliest, more at once
GRAIN: Final = 20  # redundancy is wished in twentieths
# Of the class that is most in a hurry (games). Where no copy comes in time for it, redundancy is wished; the
# packet path uses it for the classes that need it.
BUDGET_S: Final = 0.1
# Against bursts, from here on one symbol for each packet: then the packet path makes them late enough to
# outlive a burst, which is worth more than their number.
LAGGED_MIN: Final = 0.5
# A full queue shows in the round trip; without one, loss is not believed to be congestion.
QUEUE_NS_MIN: Final = 5_000_000
ROW_COLUMNS: Final = len(Row)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a path: `redundancy` repair symbols per packet, `copies` in the last round."""

    regime: Regime
    redundancy: float
    copies: int

    def is_more_than(self, other: Wish) -> bool:
        """In some respect; and what a full queue asks for can not wait either."""
        return (
            self.redundancy > other.redundancy
            or self.copies > other.copies
            or (self.regime is not other.regime and self.regime is not Regime.CLEAN)
        )


@dataclass(frozen=True, slots=True)
class Order:
    """A wish that the packet path must be told."""

    peer: int
    path: int
    wish: Wish


class Description(Protocol):
    """What a predictor says of itself: `mode` was asked for, `active` answers, `trouble` says why.

    `fallbacks`: steps that another one than `mode` answered, by reason.
    """

    @property
    def mode(self) -> str: ...
    @property
    def active(self) -> str: ...
    @property
    def trouble(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def fallbacks(self) -> dict[str, int]: ...


class Predictor(Protocol):
    """Loss of the paths 50..100 ms from now (`oxidized.ml.loss_predictor.LossPredictor`)."""

    def step(
        self, now_unix_s: float, rows: Sequence[Sequence[float]], elapsed_s: float = 0.0
    ) -> tuple[Sequence[float], Sequence[float]]:
        """rows [paths, 10] as `Row` says. Probabilities [paths] of any loss, and that it were congestion."""

    def forget(self, path: int) -> None:
        """Row `path` is another path from the next step on."""

    def describe(self) -> Description: ...


@dataclass(frozen=True, slots=True)
class PlainDescription:
    """See Description."""

    mode: str
    active: str
    trouble: str
    digest: str
    steps: int
    fallbacks: dict[str, int]


class PlainPredictor:
    """What needs nothing but Python: the filter of bursts (`ge`), or the average of recent loss (`ewma`)."""

    def __init__(self, mode: str = "ge") -> None:
        self._mode = mode
        self._make: type[BurstLoss] | type[EwmaLoss] = EwmaLoss if mode == "ewma" else BurstLoss
        self._paths: list[BurstLoss | EwmaLoss] = []
        self._steps = 0

    def step(
        self, now_unix_s: float, rows: Sequence[Sequence[float]], elapsed_s: float = 0.0
    ) -> tuple[Sequence[float], Sequence[float]]:
        self._steps += 1
        del self._paths[len(rows) :]
        self._paths += [self._make() for _ in range(len(rows) - len(self._paths))]
        found = [path.step(now_unix_s, row) for path, row in zip(self._paths, rows, strict=True)]
        return [loss for loss, _ in found], [congestion for _, congestion in found]

    def forget(self, path: int) -> None:
        if path < len(self._paths):
            self._paths[path] = self._make()

    def describe(self) -> PlainDescription:
        return PlainDescription(self._mode, self._mode, "", "", self._steps, {})


@dataclass(slots=True)
class Steered:
    """One path at its place. `row`: the counters of the last look; `wish` None: none yet."""

    row: PathRow
    place: int
    seen_ns: int
    mark_ns: int  # begin of the second that tells whether it is busy
    mark_packets: int
    heard_ns: int
    lost_ns: int | None = None
    is_busy: bool = False
    loss_probability: float = 0.0
    congestion_probability: float = 0.0
    wish: Wish | None = None
    wished_ns: int = 0
    state: repair_policy.RepairState = field(default_factory=repair_policy.RepairState)
    recent: RecentLoss = field(default_factory=RecentLoss)
    bursts: BurstLength = field(default_factory=BurstLength)

    def follow(self, row: PathRow, now_ns: int) -> None:
        """The counters of this look."""
        before, elapsed_s = self.row, (now_ns - self.seen_ns) / 1e9
        lost = max(row.repairable_lost_packets - before.repairable_lost_packets, 0)
        acked = max(row.repairable_acked_packets - before.repairable_acked_packets, 0)
        self.recent.add(acked + lost, lost, elapsed_s)
        self.bursts.add(acked + lost, lost, elapsed_s)
        if row.acks_received != before.acks_received:
            self.heard_ns = now_ns
        if lost:
            self.lost_ns = now_ns
        sent = row.repairable_packets - self.mark_packets
        if sent >= BUSY_PACKETS:
            self.is_busy = True
        if now_ns - self.mark_ns >= IDLE_NS:
            self.is_busy = sent >= BUSY_PACKETS
            self.mark_ns, self.mark_packets = now_ns, row.repairable_packets
        self.row, self.seen_ns = row, now_ns

    @property
    def has_queue(self) -> bool:
        """The round trip is longer than it can be, by more than jitter."""
        row = self.row
        return max(row.rtt_ns, row.rtt_latest_ns) >= row.rtt_min_ns + max(QUEUE_NS_MIN, row.rtt_min_ns // 8)

    def is_steered(self, now_ns: int) -> bool:
        """It carries traffic, and loses some of it."""
        return self.is_busy and self.lost_ns is not None and now_ns - self.lost_ns <= LOSSY_NS

    def numbers(self, now_ns: int) -> tuple[float, ...]:
        """The row of the predictor, in the order of `Row`."""
        row = self.row
        sent, acked, lost = (
            row.repairable_packets,
            row.repairable_acked_packets,
            row.repairable_lost_packets,
        )
        return (
            sent,
            acked,
            lost,
            row.repairable_acked_bytes,
            max(min(sent - acked - lost, row.kept_packets), 0),  # what was pushed out is in neither
            row.rtt_latest_ns / 1e3,
            row.rtt_ns / 1e3,
            row.rtt_var_ns / 1e3,
            row.rtt_min_ns / 1e3,
            (now_ns - self.heard_ns) / 1e3,
        )


NO_ROW: Final = (0.0,) * ROW_COLUMNS


class Steering:
    """All paths of a plane. `look` is the one door in and out."""

    def __init__(self, settings: RepairSettings, predictor: Predictor) -> None:
        self._settings = settings
        self._predictor = predictor
        self._paths: dict[tuple[int, int], Steered] = {}
        self._places: list[tuple[int, int] | None] = []
        self._is_steering = False

    @property
    def predictor(self) -> Predictor:
        return self._predictor

    def predictor_set(self, predictor: Predictor) -> None:
        """Another one, which knows nothing yet, from the next look on."""
        self._predictor = predictor

    def settings_set(self, settings: RepairSettings) -> None:
        """Of the mode and the overhead; from the next look on."""
        self._settings = settings

    @property
    def pause_ns(self) -> int:
        """How long until the next look."""
        return STEP_NS if self._is_steering else IDLE_NS

    def path(self, peer: int, path: int) -> Steered | None:
        """What is thought of a path; None: it is not steered."""
        return self._paths.get((peer, path))

    def look(
        self, rows: Sequence[PathRow], now_ns: int, now_unix_s: float, elapsed_s: float = 0.0
    ) -> list[Order]:
        """`rows`: of paths on which something was sent within SILENT_NS. `elapsed_s`: of the last look."""
        for row in rows:
            self._follow(row, now_ns)
        self._drop_old(now_ns)
        steered = [path for path in self._paths.values() if path.is_steered(now_ns)]
        self._is_steering = bool(steered)
        if not steered:
            return []
        table = [NO_ROW if key is None else self._paths[key].numbers(now_ns) for key in self._places]
        losses, congestions = self._predictor.step(now_unix_s, table, elapsed_s)
        for path in steered:
            path.loss_probability = losses[path.place]
            path.congestion_probability = congestions[path.place]
        return list(self._orders(steered, now_ns))

    def _follow(self, row: PathRow, now_ns: int) -> None:
        key = (row.peer, row.path)
        path = self._paths.get(key)
        if path is not None and row.repairable_packets < path.row.repairable_packets:
            self._drop(key)  # the number is another peer's now, or another worker counts
            path = None
        if path is not None:
            path.follow(row, now_ns)
        elif (place := self._place()) is not None:
            self._places[place] = key
            self._paths[key] = Steered(row, place, now_ns, now_ns, row.repairable_packets, now_ns)

    def _place(self) -> int | None:
        """One that is free, emptied of what was there; None: there are too many paths."""
        free = (place for place, key in enumerate(self._places) if key is None)
        place = next(free, len(self._places))
        if place == PATHS_MAX:
            return None
        if place == len(self._places):
            self._places.append(None)
        self._predictor.forget(place)
        return place

    def _drop(self, key: tuple[int, int]) -> None:
        self._places[self._paths.pop(key).place] = None
        while self._places and self._places[-1] is None:
            self._places.pop()

    def _drop_old(self, now_ns: int) -> None:
        for key, path in list(self._paths.items()):
            silent_ns = now_ns - path.seen_ns
            if silent_ns > SILENT_NS:
                path.is_busy = False
            if silent_ns > FORGET_NS:
                self._drop(key)

    def _orders(self, steered: list[Steered], now_ns: int) -> Iterator[Order]:
        for path in steered:
            wish, waited_ns = self._decide(path, now_ns), now_ns - path.wished_ns
            is_new = path.wish is None or (
                wish != path.wish and (waited_ns >= LESS_NS or wish.is_more_than(path.wish))
            )
            if is_new or waited_ns >= REFRESH_NS:
                path.wish, path.wished_ns = wish, now_ns
                yield Order(path.row.peer, path.row.path, wish)

    def _decide(self, path: Steered, now_ns: int) -> Wish:
        is_code_alone = self._settings.mode is RepairMode.FEC
        inputs = repair_policy.RepairInputs(
            now_s=now_ns / 1e9,
            loss_ratio=path.recent.ratio,
            p_loss=path.loss_probability,
            p_congestive=path.congestion_probability if path.has_queue else 0.0,
            burst_s=path.bursts.seconds,
            rtt_s=path.row.rtt_ns / 1e9,
            budget_s=0.0 if is_code_alone else BUDGET_S,
            overhead_max=self._settings.overhead,
        )
        decision, path.state = repair_policy.fec_decision(inputs, path.state)
        redundancy = round(decision.redundancy_ratio * GRAIN) / GRAIN
        regime = decision.regime
        if regime is Regime.BURSTY and redundancy >= LAGGED_MIN and self._settings.overhead >= 1:
            redundancy = 1.0
        return Wish(regime, redundancy, decision.copies)
