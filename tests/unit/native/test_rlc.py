"""The decoder of the repair code: what is refused and why, what is given up, contradictions."""

from __future__ import annotations

import pytest

from tests.differential import rlc_reference as reference
from tests.native.rlc_door import RLC_CONTENT_MAX, Content, RepairCode

CONTENTS = [bytes([i]) * (20 + i) for i in range(120)]
SYMBOLS = [reference.symbol(i, content) for i, content in enumerate(CONTENTS)]


def end(*known: int) -> RepairCode:
    made = RepairCode()
    for i in known:
        made.known(i, CONTENTS[i], i)
    return made


def repair(seed: int, newest: int, count: int) -> bytes:
    return reference.frame(seed, newest, SYMBOLS[newest - count + 1 : newest + 1][::-1])


def numbers(code: RepairCode) -> list[int]:
    found = code.found()
    assert [Content(one.sequence, one.sequence, CONTENTS[one.sequence]) for one in found] == found
    return [one.sequence for one in found]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "rlc-truncated"),
        (bytes([0, 9, 1]) + bytes(4), "rlc-truncated"),
        (bytes([0, 9, 1]) + bytes(RLC_CONTENT_MAX + 5), "rlc-bad-length"),
        (bytes([0, 9, 0]) + bytes(5), "rlc-bad-window"),
        (bytes([0, 9, 11]) + bytes(5), "rlc-bad-window"),
        (bytes([0, 99, 33]) + bytes(5), "rlc-too-many"),
        (bytes([0, 9, 10]) + bytes(5), "rlc-kept"),
        (bytes([0, 99, 32]) + bytes(RLC_CONTENT_MAX + 4), "rlc-kept"),
    ],
)  # fmt: skip
def test_bodies(body: bytes, why: str) -> None:
    code = end()
    assert code.add(1, body, 5) == why
    assert code.state()[1] == (why == "rlc-kept")


def test_repairs_that_say_nothing_new() -> None:
    code = end(0, 1)
    assert code.add(1, repair(1, 3, 4), 3) == "rlc-kept"
    assert code.add(1, repair(1, 3, 4), 3) == "rlc-redundant"
    assert code.state() == (2, 1)
    assert code.add(2, repair(2, 3, 4), 3) == "rlc-recovered"
    assert numbers(code) == [2, 3] and code.state() == (0, 0)
    assert code.found() == []


def test_a_late_content_finds_another() -> None:
    """Of each of two: the one that is the pivot of its equation, and the other."""
    for late, other in ((2, 3), (3, 2)):
        code = end(0, 1)
        code.add(1, repair(1, 3, 4), 3)
        assert code.known(late, CONTENTS[late], late) == "rlc-recovered"
        assert numbers(code) == [other] and code.state() == (0, 0)


def test_a_late_content_of_several_equations() -> None:
    code = end(0)
    for seed in (1, 2):
        assert code.add(seed, repair(seed, 3, 4), 3) == "rlc-kept"
    assert code.known(3, CONTENTS[3], 3) == "rlc-recovered"
    assert numbers(code) == [1, 2]


def test_a_long_content_from_short_equations() -> None:
    """The equation of 1 and 2 is shorter than the symbol of 4, which it helps to find."""
    code = end(0, 3)
    assert code.add(1, repair(1, 2, 2), 2) == "rlc-kept"
    assert code.add(2, repair(2, 4, 4), 4) == "rlc-kept"
    assert code.known(2, CONTENTS[2], 2) == "rlc-recovered"
    assert numbers(code) == [1, 4]


def test_found_contents_are_known_from_then_on() -> None:
    code = end(0)
    assert code.add(1, repair(1, 1, 2), 1) == "rlc-recovered"
    assert numbers(code) == [1]
    assert code.add(2, repair(2, 2, 3), 1) == "rlc-recovered"
    assert numbers(code) == [2]


def test_a_contradiction_empties_the_decoder() -> None:
    code = end(0, 1)
    code.add(1, repair(1, 3, 4), 3)
    wrong = bytearray(repair(1, 3, 4))
    wrong[-1] ^= 1
    assert code.add(1, bytes(wrong), 3) == "rlc-inconsistent"
    assert code.state() == (0, 0)
    code.add(1, bytes(wrong), 3)
    assert code.known(9, CONTENTS[9]) == "rlc-nothing-missing"
    assert code.known(3, CONTENTS[3], 3) == "rlc-bad-symbol", "there is more behind 2 than zeros"
    assert code.found() == [] and code.state() == (0, 0)


def test_a_late_content_that_contradicts() -> None:
    code = end(0)
    assert code.add(1, repair(1, 3, 4), 3) == code.add(2, repair(2, 3, 4), 3) == "rlc-kept"
    assert code.known(1, b"another" * 9, 1) == "rlc-bad-symbol"
    assert code.found() == [] and code.state() == (0, 0)


def test_a_known_content_longer_than_the_repair() -> None:
    code = end()
    code.known(0, bytes(500))
    assert code.add(1, repair(1, 1, 2), 1) == "rlc-inconsistent"


@pytest.mark.parametrize("length", [0, 7, 65535])
def test_symbols_that_are_none(length: int) -> None:
    code = RepairCode()
    wrong = b"\0\0" + length.to_bytes(2, "big") + b"abcdef"
    assert code.add(1, reference.frame(1, 0, [wrong]), 0) == "rlc-bad-symbol"
    assert code.found() == []


def test_the_oldest_are_given_up_when_it_is_full() -> None:
    code = end(*range(40, 50))
    for i in range(20):  # 40 unknowns, two by two: 0 and 1, 2 and 3, ...
        assert code.add(i, repair(i, 2 * i + 1, 2), 2 * i) == "rlc-kept"
    assert code.state() == (32, 16)
    assert code.known(7, CONTENTS[7], 7) == "rlc-nothing-missing"
    assert code.known(8, CONTENTS[8], 8) == "rlc-recovered" and numbers(code) == [9]


def test_an_equation_older_than_all_is_refused_when_it_is_full() -> None:
    code = end()
    for i in range(16):
        code.add(i, repair(i, 2 * i + 51, 2), 60)
    assert code.add(99, repair(99, 1, 2), 60) == "rlc-too-many"
    assert code.state() == (32, 16)


def test_what_others_say_survives_one_that_is_given_up() -> None:
    """3 and 4 are given up; of three equations one is left without them, between 1 and 2."""
    code = end(0)
    assert code.add(1, repair(1, 4, 2), 4, now_ns=0) == "rlc-kept"
    for seed in (2, 3):
        assert code.add(seed, repair(seed, 4, 4), 4, now_ns=10) == "rlc-kept"
    assert code.expire(20, 20) == 2 and code.state() == (2, 1)
    assert code.known(1, CONTENTS[1], 1) == "rlc-recovered" and numbers(code) == [2]


def test_too_old() -> None:
    code = end(0)
    code.add(1, repair(1, 2, 2), 2, now_ns=100)
    code.add(2, repair(2, 12, 2), 12, now_ns=200)
    assert code.expire(149, 50) == 0
    assert code.expire(150, 50) == 2
    assert code.state() == (2, 1)
    assert code.known(12, CONTENTS[12], 12) == "rlc-recovered" and numbers(code) == [11]
