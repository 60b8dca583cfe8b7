"""Delivery opportunities of measured networks (mahimahi's format), as the cells of a scenario.

A file is a line per opportunity to send 1500 bytes: its millisecond. It wraps at its last line.
"""

from __future__ import annotations

import bisect
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lab.errors import MissingError, UsageError

OPPORTUNITY_BYTES = 1500
SUFFIXES = (".mm", ".mm.gz")


@dataclass(frozen=True, slots=True)
class Trace:
    """Opportunities in order, in ms; the last is the period."""

    name: str
    at_ms: tuple[int, ...]

    @property
    def period_ms(self) -> int:
        return self.at_ms[-1]

    @property
    def mean_bps(self) -> float:
        return len(self.at_ms) * OPPORTUNITY_BYTES * 8 * 1e3 / self.period_ms

    def begun_at(self, ms: int) -> Trace:
        """The same round, begun so late in it."""
        ms %= self.period_ms
        first = bisect.bisect_right(self.at_ms, ms)
        later = (at - ms for at in self.at_ms[first:])
        return Trace(self.name, (*later, *(at - ms + self.period_ms for at in self.at_ms[:first])))

    def bytes_between(self, begin_ms: float, end_ms: float) -> int:
        """What could be sent in this span since the beginning, over as many rounds as it takes."""

        def until(ms: float) -> int:
            rounds, rest = divmod(ms, self.period_ms)
            return int(rounds) * len(self.at_ms) + bisect.bisect_right(self.at_ms, rest)

        return (until(end_ms) - until(begin_ms)) * OPPORTUNITY_BYTES

    def text(self) -> str:
        return "".join(f"{at}\n" for at in self.at_ms)


def name_of(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".mm")


def read(path: Path) -> Trace:
    """UsageError for a file that is no such trace."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        at_ms = tuple(int(line) for line in raw.split())
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UsageError(f"trace {path}: {error}") from None
    if not at_ms or at_ms[0] < 0 or at_ms[-1] == 0 or any(a > b for a, b in pairwise(at_ms)):
        raise UsageError(f"trace {path}: milliseconds in ascending order are expected")
    return Trace(name_of(path), at_ms)


def files(folder: Path) -> dict[str, Path]:
    """Traces of a folder by name; MissingError without any."""
    found = {name_of(p): p for p in sorted(folder.glob("*.mm*")) if p.name.endswith(SUFFIXES)}
    if not found:
        raise MissingError(f"{folder}: no traces *.mm or *.mm.gz there; --set traces=DIR names a folder")
    return found


def chosen(folder: Path, names: str) -> list[Path]:
    """`all`, or names separated by commas; UsageError for one that is not there."""
    found = files(folder)
    if names == "all":
        return list(found.values())
    words: Sequence[str] = names.split(",")
    for word in words:
        if word not in found:
            raise UsageError(f"--set cell={word}: {folder} has {', '.join(found)}")
    return [found[word] for word in dict.fromkeys(words)]
