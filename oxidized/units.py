"""Durations, sizes and ages: text for people and files, whole numbers within.

Durations are nanoseconds. In the configuration they are strings with a unit; there is no bare number
whose unit could be guessed wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

UNITS_NS = {"ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DURATION = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?(ms|s|min|h|d)")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_AGE_PARTS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time in nanoseconds that prints as it is written in the configuration; 0 is "off"."""

    ns: int

    def __str__(self) -> str:
        return duration_text(self.ns) if self.ns else "off"


def duration_ns(text: str) -> int:
    """Nanoseconds of "20s", "1.5min", "250ms". ValueError (one line for the operator) for all else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError('needs a number and a unit of ms, s, min, h or d, such as "20s"')
    whole, fraction, unit = found.groups()
    exact = Fraction(f"{whole}.{fraction or 0}") * UNITS_NS[unit]
    if exact.denominator != 1:
        raise ValueError("is finer than a nanosecond")
    return exact.numerator


def duration_text(ns: int) -> str:
    """The shortest text that `duration_ns` reads back to the same number, in the largest whole unit."""
    assert ns >= 0
    for unit in ("d", "h", "min", "s", "ms"):
        if ns and ns % UNITS_NS[unit] == 0:
            return f"{ns // UNITS_NS[unit]}{unit}"
    whole, rest = divmod(ns, UNITS_NS["ms"])
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".") + "ms"


def bytes_text(count: int) -> str:
    """ "312.44 MiB": binary units, two decimals, whole bytes below 1 KiB."""
    value, unit = float(count), 0
    # 1023.995 and more would round to "1024.00" of the smaller unit.
    while value >= 1023.995 and unit + 1 < len(_BINARY):
        value, unit = value / 1024, unit + 1
    return f"{value:.2f} {_BINARY[unit]}" if unit else f"{count} B"


def span_text(seconds: float) -> str:
    """ "3d 4h", "5m 12s", "41s": the two largest parts, for narrow columns."""
    parts: list[str] = []
    left = max(0, int(seconds))
    for size, name in _AGE_PARTS:
        count, left = divmod(left, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count}{name[0]}")
        if len(parts) == 2:
            break
    while len(parts) > 1 and parts[-1].startswith("0"):
        parts.pop()
    return " ".join(parts) or "0s"


def age_text(seconds: float) -> str:
    """ "1 minute, 22 seconds ago", as wg shows it. The future (a clock was set back) is "now"."""
    parts: list[str] = []
    left = int(seconds)
    if left <= 0:
        return "now"
    for size, name in _AGE_PARTS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return ", ".join(parts) + " ago"


def rtt_text(seconds: float | None) -> str:
    """ "14 ms", "0.31 ms": three digits at most where it matters; "-" when not known."""
    if seconds is None:
        return "-"
    ms = seconds * 1000
    return f"{ms:.2f} ms" if ms < 1 else f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def ratio_text(ratio: float) -> str:
    """ "0.80%"."""
    return f"{ratio * 100:.2f}%"
