"""How long to wait before the next attempt: 1, 2, 4, 8, 8 ... seconds, less up to half by chance.

The chance keeps a thousand edges from coming back in step after their hub was restarted. 8 s is the
most, so that with 6 s for an attempt a healed link is used within 15 s.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_NS = 1_000_000_000
MOST_NS = 8_000_000_000


class Backoff:
    """The waits of one peer."""

    __slots__ = ("_entropy", "_failures")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next_ns(self) -> int:
        """The wait after one more failure, nanoseconds."""
        full = min(FIRST_NS << self._failures, MOST_NS)
        if full < MOST_NS:
            self._failures += 1
        chance = int.from_bytes(self._entropy(4), "big")
        return full - (full * chance >> 33)
