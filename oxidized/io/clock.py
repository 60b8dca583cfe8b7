"""The only reader of the clock on the Python side. Everything else is told the time.

`monotonic_ns` is CLOCK_MONOTONIC, the clock of the C thread too (`oxi_clock_ns`), so that moments of
both sides compare. Moments are shown to people as wall-clock time only at the very edge, with the
difference of the two clocks as it is *now*: a jump of the wall clock moves what is shown, and
nothing else.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def monotonic_ns() -> int:
    """Nanoseconds of CLOCK_MONOTONIC: the `now_ns` of everything."""
    return time.monotonic_ns()


def wall_seconds() -> float:
    """Seconds since 1970 (UTC)."""
    return time.time()


def cpu_seconds() -> float:
    """CPU seconds of this process, all threads, user and system."""
    return time.process_time()


def timestamp_of(moment_ns: int | None, now_ns: int, wall_now_seconds: float) -> float | None:
    """Wall-clock seconds of a moment of `monotonic_ns`; None (and 0: never) stays None."""
    if not moment_ns:
        return None
    return round(wall_now_seconds - (now_ns - moment_ns) / 1e9, 3)


def rfc3339(seconds: float) -> str:
    """`2026-11-20T09:50:00.123Z`."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
