"""Any packet comes back from its item, byte for byte; and what comes as an item gives no more than fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oxidized.ffi.lz import LZ_DICTIONARIES, LZ_RESULTS, Compressor, lz_text

TEXTS = [lz_text(number) for number in range(1, len(LZ_DICTIONARIES))]
LZ = Compressor()


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """Part of a dictionary, a run, something random, or what came before once more."""
    found = b""
    for _ in range(draw(st.integers(0, 12))):
        match draw(st.integers(0, 3)):
            case 0:
                text = draw(st.sampled_from(TEXTS))
                at = draw(st.integers(0, len(text)))
                found += text[at : at + draw(st.integers(0, 300))]
            case 1:
                found += draw(st.binary(min_size=1, max_size=3)) * draw(st.integers(1, 400))
            case 2:
                found += draw(st.binary(max_size=40))
            case _:
                found += found[draw(st.integers(0, len(found))) :]
    return found[:9000]


@given(pieces(), st.integers(0, len(LZ_DICTIONARIES) - 1), st.booleans(), st.integers(0, 9000))
def test_round_trip(packet: bytes, dictionary: int, is_light: bool, clear_bytes: int) -> None:
    dictionary = 0 if is_light else dictionary
    clear_bytes = min(clear_bytes, len(packet))
    item = LZ.compress(packet, dictionary, is_light=is_light, clear_bytes=clear_bytes)
    if item is None:
        return
    assert len(item) <= len(packet) - max(8, len(packet) // 20)
    assert packet[:clear_bytes] in item[:clear_bytes + 3]
    assert LZ.restore(item, len(packet)) == packet
    assert LZ.restore(item, len(packet) - 1) == "lz-too-long"


@given(st.integers(0, 255), pieces(), st.binary(max_size=300), st.integers(0, 9000))
def test_whatever_comes_is_bounded(first: int, clear: bytes, block: bytes, cap: int) -> None:
    item = bytes([first]) + (0x4000 | len(clear)).to_bytes(2, "big") + clear + block
    found = LZ.restore(item, cap)
    if isinstance(found, str):
        assert found in LZ_RESULTS[1:]
    else:
        assert 0x08 <= first < 0x08 + len(LZ_DICTIONARIES)
        assert len(clear) < len(found) <= cap
        assert found.startswith(clear)
