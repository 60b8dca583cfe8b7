"""What Linux makes of a super-packet, written down in Python: the other opinion on split and merge, and the
packets to try it with.

`cut` is the segmentation of TCP and UDP (net/ipv4/tcp_offload.c, udp_offload.c read as a description), with
every length, number and checksum worked out anew from the packet and nothing taken from the C side.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from oxidized.core.plane import Super
from tests.native.rig import INNER_A, INNER_B, checksum

TCP, UDP = 6, 17
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80


def is_v6(packet: bytes) -> bool:
    return packet[0] >> 4 == 6


def ip_bytes(packet: bytes) -> int:
    return 40 if is_v6(packet) else (packet[0] & 15) * 4


def protocol(packet: bytes) -> int:
    return packet[6] if is_v6(packet) else packet[9]


def l4_sum(packet: bytes, start: int, kind: int) -> int:
    """The checksum of TCP or UDP over what begins at `start`, its own field taken as zero."""
    at = start + (16 if kind == TCP else 6)
    l4 = packet[start:at] + b"\0\0" + packet[at + 2 :]
    addresses = packet[8:40] if is_v6(packet) else packet[12:20]
    pseudo = addresses + struct.pack(">II", len(l4), kind)
    found = checksum(pseudo + l4 + b"\0" * (len(l4) % 2))
    return 0xFFFF if found == 0 and kind == UDP else found


def finish(packet: bytes, kind: int, start: int | None = None) -> bytes:
    """Lengths and checksums as they must be for this many bytes."""
    p = bytearray(packet)
    start = ip_bytes(packet) if start is None else start
    if is_v6(packet):
        p[4:6] = struct.pack(">H", len(p) - 40)
    else:
        p[2:4] = struct.pack(">H", len(p))
        p[10:12] = b"\0\0"
        p[10:12] = struct.pack(">H", checksum(bytes(p[:start])))
    if kind == UDP:
        p[start + 4 : start + 6] = struct.pack(">H", len(p) - start)
    at = start + (16 if kind == TCP else 6)
    p[at : at + 2] = struct.pack(">H", l4_sum(bytes(p), start, kind))
    return bytes(p)


def partial(packet: bytes, kind: int, start: int | None = None) -> bytes:
    """The checksum field as the kernel leaves it for its offload: the folded sum of the pseudo header."""
    p = bytearray(packet)
    start = ip_bytes(packet) if start is None else start
    addresses = packet[8:40] if is_v6(packet) else packet[12:20]
    pseudo = addresses + struct.pack(">II", len(p) - start, kind)
    at = start + (16 if kind == TCP else 6)
    p[at : at + 2] = struct.pack(">H", ~checksum(pseudo) & 0xFFFF)
    return bytes(p)


def cut(packet: bytes, how: Super) -> list[bytes]:
    """The packets that a super-packet stands for."""
    if how.kind == 0:
        return [packet]
    kind = UDP if how.kind == 3 else TCP
    start = how.csum_start
    head_bytes = start + (8 if kind == UDP else (packet[start + 12] >> 4) * 4)
    head, payload = packet[:head_bytes], packet[head_bytes:]
    parts = [payload[i : i + how.segment_bytes] for i in range(0, len(payload), how.segment_bytes)]
    found = []
    for i, part in enumerate(parts):
        p = bytearray(head + part)
        if not is_v6(packet):
            ident = struct.unpack_from(">H", packet, 4)[0]
            p[4:6] = struct.pack(">H", (ident + i) & 0xFFFF)
        if kind == TCP:
            seq = struct.unpack_from(">I", packet, start + 4)[0]
            p[start + 4 : start + 8] = struct.pack(">I", (seq + i * how.segment_bytes) & 0xFFFFFFFF)
            if i < len(parts) - 1:
                p[start + 13] &= ~(FIN | PSH) & 0xFF
            if i > 0:
                p[start + 13] &= ~CWR & 0xFF
        found.append(finish(bytes(p), kind, start))
    return found


def same(sent: bytes, came: bytes) -> bool:
    """Whether it is the packet that was sent; the ID of one that may not be fragmented means nothing."""
    is_atomic = not is_v6(sent) and len(sent) >= 20 and struct.unpack_from(">H", sent, 6)[0] == 0x4000
    if not is_atomic or len(sent) != len(came):
        return sent == came
    return sent[:4] + sent[6:10] + sent[12:] == came[:4] + came[6:10] + came[12:]


def header(
    kind: int, *, v6: bool = False, seq: int = 1000, ack: int = 77, flags: int = ACK, window: int = 500,
    options: bytes = b"", ident: int = 1, df: bool = True, ttl: int = 64, tos: int = 0, sport: int = 5000,
    flow: int = 0, urgent: int = 0, to_peer: bool = False,
) -> bytes:  # fmt: skip
    """Headers of IP and TCP or UDP, lengths and sums left to `finish`. From the peer, or to it."""
    if kind == UDP:
        l4 = struct.pack(">HHHH", sport, 6000, 0, 0)
    else:
        words = 5 + len(options) // 4
        fields = (sport, 6000, seq, ack, words << 4, flags, window, 0, urgent)
        l4 = struct.pack(">HHIIBBHHH", *fields) + options
    if v6:
        near, far = ip_address("fd00::2").packed, ip_address("fd00::1").packed
        head = struct.pack(">IHBB", 6 << 28 | tos << 20 | flow, 0, kind, ttl)
    else:
        near, far = ip_address(INNER_B).packed, ip_address(INNER_A).packed
        head = struct.pack(">BBHHHBBH", 0x45, tos, 0, ident, 0x4000 if df else 0, ttl, kind, 0)
    return head + (near + far if to_peer else far + near) + l4


def super_of(packet: bytes, kind: int, segment_bytes: int, start: int | None = None) -> Super:
    start = ip_bytes(packet) if start is None else start
    tcp = 2 if is_v6(packet) else 1
    return Super(
        kind=3 if kind == UDP else tcp, needs_csum=True, segment_bytes=segment_bytes,
        csum_start=start, csum_offset=6 if kind == UDP else 16,
    )  # fmt: skip


def run(
    kind: int, count: int, size: int = 1000, last: int = 1000, **fields: int | bool | bytes
) -> list[bytes]:
    """Consecutive segments of one flow."""
    first = int(fields.pop("seq", 1000))
    ident = int(fields.pop("ident", 1))
    parts = [bytes([65 + i % 26]) * (size if i < count - 1 else last) for i in range(count)]
    return [
        finish(
            header(kind, seq=first + i * size, ident=(ident + i) & 0xFFFF, **fields)  # type: ignore[arg-type]
            + part,
            kind,
        )
        for i, part in enumerate(parts)
    ]
