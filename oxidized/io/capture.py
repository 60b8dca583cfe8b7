"""Reads packets out of capture files: pcap and pcapng, gzip or not, down to the IP packet.

pcap: draft-ietf-opsawg-pcap; pcapng: draft-ietf-opsawg-pcapng. A file that is not well formed is the
operator's mistake (CaptureError with file and offset); what the packets hold is theirs.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from oxidized.errors import OxidizedError

FILE_BYTES_MAX: Final = 1 << 30
PACKET_BYTES_MAX: Final = 65535

_PCAP_ORDERS: Final = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\x4d\x3c\xb2\xa1": "<",  # times in nanoseconds
    b"\xa1\xb2\x3c\x4d": ">",
}
_RECORD_BYTES_MAX: Final = 1 << 20
_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_ETHERNET, _NULL, _LOOP, _COOKED, _COOKED2 = 1, 0, 108, 113, 276
_RAW: Final = frozenset({12, 14, 101, 228, 229})
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})


class CaptureError(OxidizedError):
    """The file can not be read as a capture; names file and offset."""

    def __init__(self, file: str, offset: int, message: str) -> None:
        super().__init__(f"{file}: at byte {offset}: {message}")


@dataclass(frozen=True, slots=True)
class Capture:
    """What a file holds: IP packets in its order, and how many frames were something else."""

    packets: list[bytes]
    not_ip: int


def read(file: str) -> Capture:
    """All packets of a file. OSError when it can not be opened, CaptureError when it is no capture."""
    return parse(_content(file), file)


def _content(file: str) -> bytes:
    with open(file, "rb") as raw:
        data = raw.read(FILE_BYTES_MAX + 1)
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(file, "rb") as packed:
                data = packed.read(FILE_BYTES_MAX + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CaptureError(file, 0, f"gzip: {error}") from None
    if len(data) > FILE_BYTES_MAX:
        raise CaptureError(file, FILE_BYTES_MAX, "longer than what is read, 1 GiB")
    return data


def parse(data: bytes, file: str) -> Capture:
    """The same of the bytes of a file, already unpacked."""
    if data[:4] in _PCAP_ORDERS:
        frames = _pcap(data, file)
    elif data[:4] == b"\x0a\x0d\x0d\x0a":
        frames = _pcapng(data, file)
    else:
        raise CaptureError(file, 0, "neither pcap nor pcapng")
    packets = []
    not_ip = 0
    for offset, link, frame in frames:
        packet = _ip_of(link, frame)
        if packet is None:
            not_ip += 1
        elif len(packet) > PACKET_BYTES_MAX:
            raise CaptureError(file, offset, f"a packet of {len(packet)} bytes, more than IP has")
        else:
            packets.append(packet)
    return Capture(packets, not_ip)


def _pcap(data: bytes, file: str) -> Iterator[tuple[int, int, bytes]]:
    order = _PCAP_ORDERS[data[:4]]
    if len(data) < 24:
        raise CaptureError(file, len(data), "ends inside the file header")
    link = struct.unpack_from(order + "I", data, 20)[0] & 0x0FFFFFFF
    _link_check(link, file, 20)
    at = 24
    while at < len(data):
        if at + 16 > len(data):
            raise CaptureError(file, at, "ends inside the header of a packet")
        size = struct.unpack_from(order + "I", data, at + 8)[0]
        if size > _RECORD_BYTES_MAX or at + 16 + size > len(data):
            left = len(data) - at - 16
            raise CaptureError(file, at, f"a packet of {size} bytes, of which {left} are there")
        yield at, link, data[at + 16 : at + 16 + size]
        at += 16 + size


def _link_check(link: int, file: str, offset: int) -> None:
    if link not in _RAW | {_ETHERNET, _NULL, _LOOP, _COOKED, _COOKED2}:
        raise CaptureError(
            file, offset, f"link type {link}: none of Ethernet, raw IP, Linux cooked, loopback"
        )


def _pcapng(data: bytes, file: str) -> Iterator[tuple[int, int, bytes]]:
    order = "<"
    links: list[tuple[int, int]] = []  # link type and largest packet of each interface
    at = 0
    while at < len(data):
        if at + 12 > len(data):
            raise CaptureError(file, at, "ends inside a block")
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == struct.pack("<I", _BYTE_ORDER) else ">"
            if struct.unpack_from(order + "I", data, at + 8)[0] != _BYTE_ORDER:
                raise CaptureError(file, at + 8, "no byte order mark")
            links = []
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or size % 4 or at + size > len(data):
            raise CaptureError(file, at, f"a block of {size} bytes, of which {len(data) - at} are there")
        body = data[at + 8 : at + size - 4]
        match kind:
            case 1 if len(body) >= 8:
                link, _, snap = struct.unpack_from(order + "HHI", body)
                _link_check(link, file, at + 8)
                links.append((link, snap or _RECORD_BYTES_MAX))
            case 2 | 3 | 6:
                yield at, *_pcapng_packet(kind, order, body, links, file, at)
            case 1:
                raise CaptureError(file, at, "an interface without link type")
        at += size


def _pcapng_packet(
    kind: int, order: str, body: bytes, links: list[tuple[int, int]], file: str, at: int
) -> tuple[int, bytes]:
    head = 4 if kind == _SIMPLE else 20
    if len(body) < head:
        raise CaptureError(file, at, "ends inside the header of a packet")
    interface = 0
    if kind == _ENHANCED:
        interface = struct.unpack_from(order + "I", body)[0]
    elif kind == _PACKET:
        interface = struct.unpack_from(order + "H", body)[0]
    if interface >= len(links):
        raise CaptureError(file, at, f"a packet of interface {interface}, which no block describes")
    link, snap = links[interface]
    size = struct.unpack_from(order + "I", body, 0 if kind == _SIMPLE else 12)[0]
    if kind == _SIMPLE:
        size = min(size, snap)
    if size > len(body) - head:
        raise CaptureError(file, at, f"a packet of {size} bytes, of which {len(body) - head} are there")
    return link, body[head : head + size]


def _ip_of(link: int, frame: bytes) -> bytes | None:
    """The IP packet of a frame; None: it carries something else."""
    if link in _RAW:
        return frame
    if link == _ETHERNET:
        return _ethernet(frame)
    if link in (_NULL, _LOOP):
        if len(frame) < 4:
            return None
        family = int.from_bytes(frame[:4], "little" if frame[0] else "big")
        return _trimmed(frame[4:]) if family in (2, 10, 24, 28, 30) else None
    head = 16 if link == _COOKED else 20
    if len(frame) < head:
        return None
    protocol = int.from_bytes(frame[14:16] if link == _COOKED else frame[0:2], "big")
    return _tagged(protocol, frame, head)


def _ethernet(frame: bytes) -> bytes | None:
    return _tagged(int.from_bytes(frame[12:14], "big"), frame, 14) if len(frame) >= 14 else None


def _tagged(protocol: int, frame: bytes, at: int) -> bytes | None:
    """Past the VLAN tags, IEEE 802.1Q."""
    while protocol in _VLAN and len(frame) >= at + 4:
        protocol = int.from_bytes(frame[at + 2 : at + 4], "big")
        at += 4
    return _trimmed(frame[at:]) if protocol in (_IPV4, _IPV6) else None


def _trimmed(packet: bytes) -> bytes:
    """Without what the link has padded it with."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        size = int.from_bytes(packet[2:4], "big")
        return packet[:size] if size >= 20 else packet
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        size = int.from_bytes(packet[4:6], "big")
        return packet[: size + 40] if size else packet
    return packet
