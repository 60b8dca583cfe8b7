"""Header compression without a plane, seen from Python: for `oxidized headers` and tests.

With the io thread started no packet of a user passes through here either: the packet path has its own
compressors and restorers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oxidized.errors import NativeError
from oxidized.ffi._oxi import ffi, lib
from oxidized.ffi.names import check, names_of

HEADER_PROFILES: Final = names_of(lib.oxi_hdr_profile_name)
HEADER_VERDICTS: Final = names_of(lib.oxi_hdr_verdict_name)
HEADER_KINDS: Final = ("whole", "setup", "base", "extended")
_EVENT_KINDS: Final = {"send": lib.OXI_HDR_SEND, "arrive": lib.OXI_HDR_ARRIVE, "ack": lib.OXI_HDR_ACK}


@dataclass(frozen=True, slots=True)
class HeaderRow:
    """One packet and what became of its header. Times in ns; `verdict` is that of the restorer.

    `coded_bytes` (flow id of `flow_bytes` included) stand for the first `header_bytes` of the packet; of a
    packet that goes whole they are 0, and `header_bytes` is what was seen of headers.
    """

    profile: str
    kind: str
    verdict: str
    has_arrived: bool
    flow: int
    flow_bytes: int
    coded_bytes: int
    header_bytes: int
    compress_ns: int
    restore_ns: int
    restored: bytes | None


@dataclass(frozen=True, slots=True)
class HeaderEvent:
    """A step of a run: `kind` "send" or "arrive" of packet number `packet`, or "ack" of `pn`."""

    kind: str
    packet: int
    pn: int
    path: int = 0


def _header_row(native: Any, restored: bytes | None) -> HeaderRow:
    return HeaderRow(
        profile=HEADER_PROFILES[native.profile] if native.header_bytes else "other",
        kind=HEADER_KINDS[native.kind],
        verdict=HEADER_VERDICTS[native.verdict],
        has_arrived=bool(native.has_arrived),
        flow=int(native.flow),
        flow_bytes=int(native.flow_bytes),
        coded_bytes=int(native.coded_bytes) if native.kind != lib.OXI_HDR_WHOLE else 0,
        header_bytes=int(native.header_bytes),
        compress_ns=int(native.compress_ns),
        restore_ns=int(native.restore_ns),
        restored=restored,
    )


class Headers:
    """A compressor and a restorer of packet headers (native/core/hdr.h) with `flows` contexts each.

    NativeError when there is no such number of contexts. Paths are 0..3, packet numbers 64 bits.
    """

    def __init__(self, flows: int = 128, hash_key: int = 0) -> None:
        native = lib.oxi_hdr_new(flows, hash_key)
        if native == ffi.NULL:
            raise NativeError(f"no header compression with {flows} flows", code=lib.OXI_E_ARG)
        self._native = ffi.gc(native, lib.oxi_hdr_free)
        self._row = ffi.new("oxi_hdr_row *")
        self._coded = ffi.new("uint8_t[]", int(lib.OXI_HDR_CODED_MAX))
        self._packet = ffi.new("uint8_t[]", 65535)

    def ack(self, pn: int, path: int = 0) -> None:
        """The datagram `pn` of this path is acknowledged."""
        check(lib.oxi_hdr_ack(self._native, path, pn), "hdr_ack")

    def compress(self, pn: int, packet: bytes, path: int = 0) -> tuple[bytes | None, HeaderRow]:
        """The item that travels at (path, pn), None where the packet goes whole."""
        result = lib.oxi_hdr_compress(self._native, path, pn, packet, len(packet), self._coded, self._row)
        row = _header_row(self._row, None)
        if check(result, "hdr_compress") == 0:
            return None, row
        return bytes(ffi.buffer(self._coded, row.coded_bytes)) + packet[row.header_bytes :], row

    def restore(self, pn: int, item: bytes, path: int = 0, cap: int = 65535) -> HeaderRow:
        """The packet of an item that arrived at (path, pn) stands in `restored`; None: see `verdict`."""
        result = lib.oxi_hdr_restore(
            self._native, path, pn, item, len(item), self._packet, min(cap, len(self._packet)), self._row
        )
        verdict = check(result, "hdr_restore")
        packet = bytes(ffi.buffer(self._packet, self._row.restored_bytes)) if verdict == 0 else None
        return _header_row(self._row, packet)

    def run(self, packets: Sequence[bytes], events: Sequence[HeaderEvent]) -> list[HeaderRow]:
        """All events in one call, for the time each step takes; a row for each packet."""
        data = b"".join(packets)
        starts = ffi.new("uint64_t[]", len(packets) + 1)
        for i, packet in enumerate(packets):
            starts[i + 1] = starts[i] + len(packet)
        native = ffi.new("oxi_hdr_event[]", max(1, len(events)))
        for i, event in enumerate(events):
            native[i].kind = _EVENT_KINDS[event.kind]
            native[i].path, native[i].packet, native[i].pn = event.path, event.packet, event.pn
        restored = ffi.new("uint8_t[]", max(1, len(data)))
        rows = ffi.new("oxi_hdr_row[]", max(1, len(packets)))
        result = lib.oxi_hdr_run(
            self._native, data, starts, len(packets), native, len(events), restored, rows
        )
        check(result, "hdr_run")
        found = []
        for i in range(len(packets)):
            is_there = rows[i].has_arrived and rows[i].verdict == 0
            back = bytes(ffi.buffer(restored + starts[i], rows[i].restored_bytes)) if is_there else None
            found.append(_header_row(rows[i], back))
        return found
