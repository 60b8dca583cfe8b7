"""Blocks of ours against python-lz4 and blocks of its against ours, with and without a dictionary."""

from __future__ import annotations

from random import Random

import lz4.block
import pytest

from oxidized.ffi.lz import LZ_RESULTS, Compressor, lz_text
from tests import payloads

KINDS = {"sip": 1, "syslog": 2, "mqtt": 3, "http": 4, "sql": 5}
MODES = ("default", "fast", "high_compression")


def dictionary_of(number: int) -> dict[str, bytes]:
    return {"dict": lz_text(number)} if number else {}


def decompress(block: bytes, number: int, cap: int) -> bytes | None:
    """By python-lz4; None: refused."""
    try:
        return bytes(lz4.block.decompress(block, uncompressed_size=cap, **dictionary_of(number)))
    except lz4.block.LZ4BlockError:
        return None


def as_item(number: int, block: bytes) -> bytes:
    return bytes([0x08 + number, 0]) + block


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["light", "alone", "dictionary"])
def test_the_library_reads_our_blocks(kind: str, how: str) -> None:
    lz, number = Compressor(), KINDS[kind] if how == "dictionary" else 0
    packets = payloads.make(kind, 200, 21)
    if how != "dictionary":  # hardly a single message gets smaller without one
        packets = [b"".join(packets[i : i + 6])[:1400] for i in range(0, 200, 6)]
    read = 0
    for packet in packets:
        item = lz.compress(packet, number, is_light=how == "light")
        if item is not None:
            assert decompress(item[2:], number, len(packet)) == packet
            read += 1
    assert read > len(packets) // 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_dictionary", [False, True], ids=["alone", "dictionary"])
def test_we_read_blocks_of_the_library(kind: str, with_dictionary: bool, mode: str) -> None:
    lz, number = Compressor(), KINDS[kind] if with_dictionary else 0
    for packet in payloads.make(kind, 100, 22):
        block = lz4.block.compress(packet, mode=mode, store_size=False, **dictionary_of(number))
        assert lz.restore(as_item(number, block), len(packet)) == packet


@pytest.mark.parametrize("number", [0, *KINDS.values()])
def test_we_take_no_block_that_the_library_refuses(number: int) -> None:
    """Of broken blocks; and of those that both take, the bytes are the same."""
    lz, dice = Compressor(), Random(number)
    kind = {n: k for k, n in KINDS.items()}.get(number, "sql")
    verdicts = {"same": 0, "both refuse": 0, "stricter": 0}
    for packet in payloads.make(kind, 150, 23):
        whole = lz4.block.compress(packet, store_size=False, mode="high_compression", **dictionary_of(number))
        for _ in range(12):
            block = bytearray(whole)
            for _ in range(dice.randrange(1, 4)):
                block[dice.randrange(len(block))] = dice.randrange(256)
            block = block[: dice.choice((len(block), len(block), dice.randrange(1, len(block) + 1)))]
            ours = lz.restore(as_item(number, bytes(block)), 1400)
            theirs = decompress(bytes(block), number, 1400)
            if theirs:
                verdicts["stricter" if ours in LZ_RESULTS else "same"] += 1
                assert ours == theirs or ours == "lz-corrupt"
            else:
                assert ours in LZ_RESULTS
                verdicts["both refuse"] += 1
    assert verdicts["same"] > 100 and verdicts["both refuse"] > 100, verdicts


def test_the_library_shrinks_no_further_by_much() -> None:
    """Its slowest mode is what a block with this dictionary can be; ours is made for a tenth of that."""
    lz = Compressor()
    for kind, number in KINDS.items():
        ours = theirs = quick = 0
        for packet in payloads.make(kind, 200, 24):
            item = lz.compress(packet, number)
            ours += len(item) - 2 if item else len(packet)
            for mode in ("default", "high_compression"):
                block = lz4.block.compress(packet, mode=mode, store_size=False, **dictionary_of(number))
                shorter = min(len(block), len(packet))
                quick, theirs = (quick + shorter, theirs) if mode == "default" else (quick, theirs + shorter)
        assert theirs <= ours <= theirs * 1.05, kind
        assert ours <= quick * 0.92, kind
