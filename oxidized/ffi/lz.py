"""Payload compression without a plane, seen from Python: for tools and tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oxidized.core.plane import PayloadRule
from oxidized.errors import NativeError
from oxidized.ffi._oxi import ffi, lib
from oxidized.ffi.names import DATAGRAM_MAX, MTU_MAX, check, names_of

LZ_DICTIONARIES: Final = names_of(lib.oxi_lz_name)  # by number; the first is "none"
LZ_RESULTS: Final = names_of(lib.oxi_lz_result_name)
LZ_DIGEST: Final = int(lib.oxi_lz_digest())  # of the dictionaries: peers must agree on it


def lz_text(dictionary: int) -> bytes:
    """The dictionary of this number, 1 to len(LZ_DICTIONARIES) - 1."""
    text = lib.oxi_lz_text(dictionary, length := ffi.new("uint32_t *"))
    assert text != ffi.NULL
    return bytes(ffi.buffer(text, length[0]))


class Compressor:
    """Payload compression of one packet after the other, as the packet path does it.

    `rules`: which packets may be compressed; NativeError when C refuses them.
    """

    def __init__(self, rules: Sequence[PayloadRule] = ()) -> None:
        native = ffi.new("oxi_lz_rule[]", [(r.port, r.protocol, r.dictionary) for r in rules] or 1)
        self._lz = lib.oxi_lz_new(native, len(rules))
        if self._lz == ffi.NULL:
            raise NativeError("oxi_lz_new: bad rules or out of memory", code=int(lib.OXI_E_ARG))
        self._lz = ffi.gc(self._lz, lib.oxi_lz_free)
        self._buf = ffi.new("uint8_t[]", DATAGRAM_MAX)
        self._len = ffi.new("uint32_t *")

    def dictionary(self, packet: bytes) -> int | None:
        """Of a whole inner packet; None: it may not be compressed."""
        found = lib.oxi_lz_class(self._lz, packet, len(packet))
        return None if found == lib.OXI_LZ_REFUSED else check(found, "lz_class")

    def compress(
        self, packet: bytes, dictionary: int = 0, *, is_light: bool = False, clear_bytes: int = 0
    ) -> bytes | None:
        """The packet as an LZ item (PROTOCOL.md, section 10); None: it does not get smaller by enough."""
        level = lib.OXI_LZ_LIGHT if is_light else lib.OXI_LZ_AGGRESSIVE
        result = lib.oxi_lz_compress(
            self._lz, level, dictionary, clear_bytes, packet, len(packet), self._buf, DATAGRAM_MAX, self._len
        )
        check(result, "lz_compress")
        return bytes(ffi.buffer(self._buf, self._len[0])) if self._len[0] else None

    def restore(self, item: bytes, packet_bytes_max: int = MTU_MAX) -> bytes | str:
        """The packet of an item; or, of LZ_RESULTS, why it is dropped."""
        result = lib.oxi_lz_restore(item, len(item), self._buf, packet_bytes_max, self._len)
        if trouble := LZ_RESULTS[check(result, "lz_restore")] if result else "":
            return trouble
        return bytes(ffi.buffer(self._buf, self._len[0]))
