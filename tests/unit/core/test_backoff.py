"""The waits between attempts."""

from __future__ import annotations

from oxidized.core.backoff import Backoff

SECOND_NS = 1_000_000_000


def test_without_luck_the_waits_are_1_2_4_8_8() -> None:
    backoff = Backoff(lambda count: bytes(count))
    assert [backoff.next_ns() // SECOND_NS for _ in range(6)] == [1, 2, 4, 8, 8, 8]


def test_chance_takes_up_to_half() -> None:
    backoff = Backoff(lambda count: b"\xff" * count)
    waits = [backoff.next_ns() for _ in range(5)]
    least = [SECOND_NS // 2, SECOND_NS, 2 * SECOND_NS, 4 * SECOND_NS, 4 * SECOND_NS]
    assert all(low <= wait <= low + 2 for wait, low in zip(waits, least, strict=True))


def test_success_starts_over() -> None:
    backoff = Backoff(lambda count: bytes(count))
    for _ in range(5):
        backoff.next_ns()
    backoff.reset()
    assert backoff.next_ns() == SECOND_NS
