"""Many timers, one heap: setting and cancelling cost O(log n), finding the due ones nothing extra.

A timer that moves later keeps its place in the heap and is put back when that place comes up, so the
common case (a deadline pushed away again and again) does not touch the heap at all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

Run = Callable[[int], None]

COMPACT_ABOVE = 256  # places in the heap; below this nobody cares
COMPACT_RATIO = 4  # of places to timers, before the stale ones are thrown out


class Timer:
    """One deadline of one owner; `run(now_ns)` is called when it is due, once per `set`."""

    __slots__ = ("_run", "_timers", "at_ns", "queued_ns")

    def __init__(self, timers: Timers, run: Run) -> None:
        self._timers = timers
        self._run = run
        self.queued_ns: int | None = None
        self.at_ns: int | None = None

    def set(self, at_ns: int) -> None:
        self.at_ns = at_ns
        if self.queued_ns is None or at_ns < self.queued_ns:
            self.queued_ns = at_ns
            self._timers.push(at_ns, self)

    def cancel(self) -> None:
        self.at_ns = None

    def comes_up(self, queued_ns: int, now_ns: int) -> None:
        """Its place in the heap is reached: run, move on, or forget."""
        if queued_ns != self.queued_ns:
            return  # an older place of a timer that was moved earlier
        self.queued_ns = None
        if self.at_ns is None:
            return
        if self.at_ns > now_ns:
            self.set(self.at_ns)
            return
        self.at_ns = None
        self._run(now_ns)


class Timers:
    """All timers of a tunnel."""

    __slots__ = ("_compact_above", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._serial = 0
        self._compact_above = COMPACT_ABOVE

    def new(self, run: Run) -> Timer:
        return Timer(self, run)

    def push(self, at_ns: int, timer: Timer) -> None:
        self._serial += 1  # ties run in the order they were set
        heapq.heappush(self._heap, (at_ns, self._serial, timer))
        if len(self._heap) > self._compact_above:
            self._compact()

    def _compact(self) -> None:
        """Throw out stale places: a timer that was moved earlier leaves its later place behind."""
        places = {
            timer: (queued_ns, serial, timer)
            for queued_ns, serial, timer in self._heap
            if timer.at_ns is not None and timer.queued_ns == queued_ns
        }
        for _, _, timer in self._heap:
            if timer not in places:
                timer.queued_ns = None
        self._heap = list(places.values())
        heapq.heapify(self._heap)
        self._compact_above = max(COMPACT_ABOVE, COMPACT_RATIO * len(self._heap))

    def run_due(self, now_ns: int) -> None:
        """Run what is due at `now_ns`. A timer set for now by another one runs in the same call."""
        while self._heap and self._heap[0][0] <= now_ns:
            queued_ns, _, timer = heapq.heappop(self._heap)
            timer.comes_up(queued_ns, now_ns)

    def next_ns(self) -> int | None:
        """When to call `run_due` next; places of cancelled timers at the top are forgotten first."""
        while self._heap:
            queued_ns, _, timer = self._heap[0]
            if timer.at_ns is not None and timer.at_ns <= queued_ns:
                return queued_ns
            heapq.heappop(self._heap)
            timer.comes_up(queued_ns, queued_ns - 1)
        return None

    def __len__(self) -> int:
        return len(self._heap)
