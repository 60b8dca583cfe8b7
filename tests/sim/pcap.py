"""Writes the datagrams of a run as a capture that Wireshark reads; times are virtual."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import BinaryIO

NANOSECOND_MAGIC = 0xA1B23C4D
LINKTYPE_RAW = 101
UDP = 17
SNAP_BYTES = 65535


class PcapWriter:
    """A libpcap file with raw IP packets; `out` stays the caller's to close."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        out.write(struct.pack("<IHHiIII", NANOSECOND_MAGIC, 2, 4, 0, 0, SNAP_BYTES, LINKTYPE_RAW))

    def write(self, now_ns: int, source: tuple[str, int], target: tuple[str, int], data: bytes) -> None:
        src, dst = ip_address(source[0]).packed, ip_address(target[0]).packed
        udp = struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0) + data
        if len(src) != len(dst):
            return  # a forgery that no router would take
        if len(src) == 4:
            head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, UDP, 0, src, dst)
        else:
            head = struct.pack(">IHBB16s16s", 6 << 28, len(udp), UDP, 64, src, dst)
        seconds, rest_ns = divmod(now_ns, 1_000_000_000)
        size = len(head) + len(udp)
        self._out.write(struct.pack("<IIII", seconds, rest_ns, size, size) + head + udp)
