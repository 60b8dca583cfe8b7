"""The repair code without a plane (PROTOCOL.md, section 11), seen from Python: for tests and tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from oxidized.ffi._oxi import ffi, lib

from oxidized.errors import NativeError
from oxidized.ffi.names import check, names_of

RLC_RESULTS: Final = names_of(lib.oxi_rlc_result_name)
RLC_CONTENT_MAX: Final = int(lib.OXI_RLC_CONTENT_MAX)
RLC_WINDOW_MAX: Final = int(lib.OXI_RLC_WINDOW_MAX)
_LIBRARIES: Final = {
    "auto": lib.OXI_GF256_AUTO,
    "portable": lib.OXI_GF256_PORTABLE,
    "isa-l": lib.OXI_GF256_ISAL,
}


def gf256_trouble(library: str) -> str:
    """Why "portable" or "isa-l" can not be used here; "": it can."""
    why = lib.oxi_gf256_trouble(_LIBRARIES[library])
    return "" if why == ffi.NULL else ffi.string(why).decode()


def gf256_mul_add(library: str, dest: bytes, source: bytes, coefficient: int) -> bytes:
    """dest + coefficient * source, of one length: a multiple of 32, 64 or more. NativeError otherwise."""
    native = ffi.new("uint8_t[]", dest)
    length = min(len(dest), len(source))
    check(lib.oxi_gf256_mul_add(_LIBRARIES[library], native, source, coefficient, length), "gf256_mul_add")
    return bytes(ffi.buffer(native, len(dest)))


def gf256_inverse(element: int) -> int:
    """Of 1..255; of 0 it is 0."""
    return check(lib.oxi_gf256_inverse(element), "gf256_inverse")


def rlc_coefficient(seed: int, sequence: int) -> int:
    """1..255, for 32 bits of seed and 16 of sequence number."""
    return check(lib.oxi_rlc_coefficient(seed, sequence), "rlc_coefficient")


def rlc_expand(newest: int, low: int) -> int:
    """The sequence number with these low 16 bits that is nearest to `newest`."""
    return int(lib.oxi_rlc_expand(newest, low))


@dataclass(frozen=True, slots=True)
class Content:
    """What was found: its sequence number, the low 16 bits of its packet number, its bytes."""

    sequence: int
    pn: int
    content: bytes


class RepairCode:
    """One end of a code stream (native/core/rlc_decoder.h) that holds its latest 1,024 contents.

    `library`: "auto", "portable" or "isa-l"; NativeError when it can not be used.
    """

    def __init__(self, library: str = "auto") -> None:
        native = lib.oxi_rlc_new(_LIBRARIES[library])
        if native == ffi.NULL:
            raise NativeError(f"no repair code with {library}", code=int(lib.OXI_E_ARG))
        self._native = ffi.gc(native, lib.oxi_rlc_free)
        self._buf = ffi.new("uint8_t[]", int(lib.OXI_RLC_FRAME_ROOM))
        self._sequence = ffi.new("uint64_t *")
        self._numbers = ffi.new("uint32_t[2]")

    def known(self, sequence: int, content: bytes, pn: int = 0) -> str:
        """A content that was sent or received; what it means to the decoder, of RLC_RESULTS."""
        result = lib.oxi_rlc_known(self._native, sequence, pn, content, len(content))
        return RLC_RESULTS[check(result, "rlc_known")]

    def repair(self, seed: int, newest: int, count: int) -> bytes:
        """The body of a REPAIR frame over the contents newest - count + 1..newest, which are held."""
        length = ffi.new("uint32_t *")
        check(lib.oxi_rlc_repair(self._native, seed, newest, count, self._buf, length), "rlc_repair")
        return bytes(ffi.buffer(self._buf, length[0]))

    def add(self, seed: int, body: bytes, newest: int, now_ns: int = 0) -> str:
        """Such a body has come, its number near `newest`; what it means, of RLC_RESULTS."""
        result = lib.oxi_rlc_add(self._native, seed, newest, body, len(body), now_ns)
        return RLC_RESULTS[check(result, "rlc_add")]

    def found(self) -> list[Content]:
        """What the last `known` or `add` has found, in order; held from now on."""
        contents = []
        numbers, length = self._numbers, self._numbers + 1
        while check(lib.oxi_rlc_next(self._native, self._sequence, numbers, self._buf, length), "rlc_next"):
            content = bytes(ffi.buffer(self._buf, length[0]))
            contents.append(Content(int(self._sequence[0]), int(numbers[0]), content))
        return contents

    def expire(self, now_ns: int, age_ns: int) -> int:
        """Gives up what is missing for so long; how many."""
        return check(lib.oxi_rlc_expire(self._native, now_ns, age_ns), "rlc_expire")

    def state(self) -> tuple[int, int]:
        """(contents that equations speak of and that are missing, equations)."""
        numbers = self._numbers
        check(lib.oxi_rlc_state_read(self._native, numbers, numbers + 1), "rlc_state_read")
        return int(numbers[0]), int(numbers[1])
