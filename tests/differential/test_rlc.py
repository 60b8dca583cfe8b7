"""The repair code in C against numpy: the field, by each library; coefficients; frames; what is found."""

from __future__ import annotations

import random

import numpy as np
import pytest

from oxidized.errors import NativeError
from tests.differential import rlc_reference as reference
from tests.native.rlc_door import (
    RLC_WINDOW_MAX,
    RepairCode,
    gf256_inverse,
    gf256_mul_add,
    gf256_trouble,
    rlc_coefficient,
    rlc_expand,
)

LIBRARIES = [
    pytest.param(name, marks=pytest.mark.skipif(bool(gf256_trouble(name)), reason=gf256_trouble(name)))
    for name in ("portable", "isa-l")
]
EVERY = bytes(range(256))


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_product(library: str) -> None:
    for coefficient in range(256):
        wanted = reference.times(coefficient, np.frombuffer(EVERY, np.uint8)).tobytes()
        assert gf256_mul_add(library, bytes(256), EVERY, coefficient) == wanted


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_length(library: str) -> None:
    dice = random.Random(1)
    for length in range(64, 1600, 32):
        dest, source = dice.randbytes(length), dice.randbytes(length)
        coefficient = dice.randrange(256)
        wanted = np.frombuffer(dest, np.uint8) ^ reference.times(coefficient, np.frombuffer(source, np.uint8))
        assert gf256_mul_add(library, dest, source, coefficient) == wanted.tobytes()


def test_inverses() -> None:
    assert gf256_inverse(0) == 0
    assert [gf256_inverse(a) for a in range(1, 256)] == [reference.inverse(a) for a in range(1, 256)]


def test_coefficients() -> None:
    dice = random.Random(2)
    for _ in range(2000):
        seed, sequence = dice.getrandbits(32), dice.getrandbits(16)
        assert rlc_coefficient(seed, sequence) == reference.coefficient(seed, sequence)
    counts = np.bincount([rlc_coefficient(seed, 7) for seed in range(255 * 40)], minlength=256)
    assert counts[0] == 0 and counts[1:].min() > 10 and counts[1:].max() < 90


@pytest.mark.parametrize("distance", [1, 256])
def test_systems_are_as_good_as_random_ones(distance: int) -> None:
    """Of square systems of 4 equations 1 in 254 has no solution: of repairs that follow one another at this
    distance, over members that follow one another, as a burst leaves them."""
    singular = 0
    for number in range(800):
        equations = [
            reference.Equation(number * 5000 + distance * i, 100 + number, 4, b"\1" * 5) for i in range(4)
        ]
        singular += len(reference.solve(equations, {})) < 4
    assert singular <= 10  # 3.1 on average; more than 10 come once in 2,500 times


def test_numbers_near_the_newest() -> None:
    dice = random.Random(3)
    for newest in (0, 1, 32767, 32768, 65535, 65536, 2**40 + 5):
        for _ in range(200):
            number = max(0, newest + dice.randrange(-32767, 32768))
            assert rlc_expand(newest, number & 0xFFFF) == number
    assert rlc_expand(5, 65535) == 65535, "there is none below 0"


def sizes(dice: random.Random, kind: str, count: int) -> list[bytes]:
    low, high = {"small": (1, 60), "mixed": (1, 1536), "full": (1400, 1400)}[kind]
    return [dice.randbytes(dice.randint(low, high)) for _ in range(count)]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["small", "mixed", "full"])
def test_frames_and_what_they_give_back(library: str, kind: str) -> None:
    dice = random.Random(kind)
    for base, count in ((0, 1), (7, 2), (65500, 60), (2**33, RLC_WINDOW_MAX)):
        contents = sizes(dice, kind, count)
        lost = set(dice.sample(range(count), min(count, 5)))
        near, far = RepairCode(library), RepairCode(library)
        for i, content in enumerate(contents):
            near.known(base + i, content, i)
            if i not in lost:
                far.known(base + i, content, i)
        symbols = [reference.symbol(i, content) for i, content in enumerate(contents)]
        newest, found = base + count - 1, []
        for seed in range(0xFFFFFFFE, 0xFFFFFFFE + len(lost)):
            body = near.repair(seed & 0xFFFFFFFF, newest, count)
            assert body == reference.frame(seed & 0xFFFFFFFF, newest, symbols[::-1])
            assert far.add(seed & 0xFFFFFFFF, body, newest) in ("rlc-kept", "rlc-recovered")
            found += far.found()
        assert [(one.sequence - base, one.content) for one in found] == [
            (i, contents[i]) for i in sorted(lost)
        ]
        assert all(one.pn == one.sequence - base for one in found)
        assert far.add(9, near.repair(9, newest, count), newest) == "rlc-nothing-missing"


def test_a_window_must_be_held() -> None:
    code = RepairCode()
    code.known(4, b"x")
    with pytest.raises(NativeError, match="no such"):
        code.repair(0, 4, 2)
