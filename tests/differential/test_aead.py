"""Both crypto libraries against each other and Python's `cryptography`: the same bytes, the same no."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core.plane import Suite
from tests.differential.reference import aead
from tests.native.aead_door import IPSEC_MB_FILE, LIBRARIES, TAG_BYTES, Key, door, load, trouble

LENGTH_MAX = 9200
HERE = [name for name in LIBRARIES if not trouble(name)]
SUITES = st.sampled_from(list(Suite))
KEYS = st.binary(min_size=32, max_size=32)
NONCES = st.binary(min_size=12, max_size=12)


class Ends:
    """The same key everywhere."""

    def __init__(self, suite: int, key: bytes) -> None:
        self.reference: AESGCM | ChaCha20Poly1305 = aead(suite, key)
        self.sealers = {name: Key(name, suite, key, is_seal=True) for name in HERE}
        self.openers = {name: Key(name, suite, key, is_seal=False) for name in HERE}

    def agree(self, nonce: bytes, aad: bytes, text: bytes) -> bytes:
        """All seal alike, all open what was sealed; the sealed bytes."""
        sealed = self.reference.encrypt(nonce, text, aad)
        for name in HERE:
            assert self.sealers[name].seal(nonce, aad, text) == sealed, (name, len(text), len(aad))
            assert self.openers[name].open(nonce, aad, sealed) == (True, text), (name, len(text), len(aad))
        return sealed

    def refuse(self, nonce: bytes, aad: bytes, sealed: bytes) -> None:
        """Nobody accepts it, and nobody leaves a byte of it to be read."""
        for name in HERE:
            found = self.openers[name].open(nonce, aad, sealed)
            assert found == (False, bytes(len(sealed) - TAG_BYTES)), (name, len(sealed), len(aad))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("suite", Suite)
def test_every_length(suite: Suite) -> None:
    dice = Random(int(suite))
    ends, source = Ends(suite, dice.randbytes(32)), dice.randbytes(2 * LENGTH_MAX)
    for length in range(LENGTH_MAX + 1):
        ends.agree(length.to_bytes(12, "big"), source[:8], source[length : 2 * length])


@pytest.mark.parametrize("suite", Suite)
def test_every_length_of_what_is_only_authenticated(suite: Suite) -> None:
    dice = Random(10 + int(suite))
    ends = Ends(suite, dice.randbytes(32))
    for length in range(600):
        ends.agree(dice.randbytes(12), dice.randbytes(length), dice.randbytes(length % 70))


@settings(max_examples=150)
@given(SUITES, KEYS, NONCES, st.binary(max_size=200), st.binary(max_size=3000), st.data())
def test_whatever_it_is(
    suite: Suite, key: bytes, nonce: bytes, aad: bytes, text: bytes, data: st.DataObject
) -> None:
    ends = Ends(suite, key)
    sealed = ends.agree(nonce, aad, text)
    ends.refuse(nonce, aad, flipped(sealed, data.draw(st.integers(0, len(sealed) * 8 - 1))))
    ends.refuse(flipped(nonce, data.draw(st.integers(0, 95))), aad, sealed)
    ends.refuse(nonce, aad + b"\0", sealed)
    if aad:
        ends.refuse(nonce, flipped(aad, data.draw(st.integers(0, len(aad) * 8 - 1))), sealed)
    other = flipped(key, data.draw(st.integers(0, 255)))
    Ends(suite, other).refuse(nonce, aad, sealed)
    ends.agree(nonce, aad, text)


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("length", [0, 1, 100, 1400])
def test_every_bit(suite: Suite, length: int) -> None:
    dice = Random(length)
    ends, nonce, aad = Ends(suite, dice.randbytes(32)), dice.randbytes(12), dice.randbytes(8)
    sealed = ends.agree(nonce, aad, dice.randbytes(length))
    for bit in range(len(sealed) * 8):
        ends.refuse(nonce, aad, flipped(sealed, bit))
    for bit in range(len(aad) * 8):
        ends.refuse(nonce, flipped(aad, bit), sealed)


PROCESSORS = {"sse": "aes", "avx": "avx", "avx2": "avx2", "avx512": "avx512vl"}


@pytest.fixture
def as_on() -> Iterator[Callable[[str], None]]:
    """Makes intel-ipsec-mb take its code for another processor, until the end of the test."""

    def use(init: str) -> None:
        assert door().door_start_as(IPSEC_MB_FILE.encode(), init.encode()) is None

    yield use
    assert load(IPSEC_MB_FILE) == (True, "")


def is_supported(flag: str) -> bool:
    return f" {flag} " in Path("/proc/cpuinfo").read_text(encoding="utf-8").replace("\n", " ")


@pytest.mark.skipif("ipsec-mb" not in HERE, reason="intel-ipsec-mb is not here")
@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_code_for_each_processor(
    as_on: Callable[[str], None], processor: str, suite: Suite
) -> None:
    if not is_supported(PROCESSORS[processor]):
        pytest.skip(f"this processor has no {processor}")
    as_on(f"init_mb_mgr_{processor}")
    dice = Random(processor)
    ends = Ends(suite, dice.randbytes(32))
    for length in (*range(1100), 4097, 9000, LENGTH_MAX):
        ends.agree(dice.randbytes(12), dice.randbytes(8), dice.randbytes(length))


@pytest.mark.parametrize("suite", Suite)
def test_threads_with_keys_of_their_own(suite: Suite) -> None:
    """They seal at the same time (ctypes lets go of the interpreter) and do not mix."""
    wrong: list[str] = []

    def work(number: int) -> None:
        dice = Random(number)
        ends = Ends(suite, dice.randbytes(32))
        try:
            for _ in range(150):
                ends.agree(dice.randbytes(12), dice.randbytes(8), dice.randbytes(dice.randrange(9000)))
        except AssertionError as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
