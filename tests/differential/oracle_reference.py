"""The features of the compression oracle in numpy, written from their descriptions and not from the C code.

One thing is defined by C alone, and repeated here: which bytes are sampled, and that log2 is linear between
powers of two.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

PACKED = (
    b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x89PNG", b"PK\x03\x04", b"\xfd7zX", b"7z\xbc\xaf", b"OggS",
    b"\x1a\x45\xdf\xa3", b"\x17\x03\x00", b"\x17\x03\x01", b"\x17\x03\x02", b"\x17\x03\x03", b"\x17\x03\x04",
    b"\x1f\x8b\x08", b"\xff\xd8\xff", b"BZh",
)  # fmt: skip
TEXT = (
    b"HTTP", b"GET ", b"POST", b"PUT ", b"SIP/", b"INVI", b"REGI", b"OPTI", b"NOTI", b"ACK ", b"BYE ",
    b"<!DO", b"<htm", b"<?xm", b'{"', b"[{", *(b"<%d" % digit for digit in range(10)),
)  # fmt: skip


def log2(value: int) -> np.float32:
    if value == 0:
        return np.float32(0)
    exponent = value.bit_length() - 1
    return np.float32(exponent) + np.float32(value - 2**exponent) / np.float32(2**exponent)


def sampled_at(length: int) -> list[int]:
    """Places in the payload; those of the even blocks first."""
    if length <= 64:
        return list(range(max(0, length - 1)))
    blocks = [i * (length - 9) // 7 for i in (0, 2, 4, 6, 1, 3, 5, 7)]
    return [start + i for start in blocks for i in range(8)]


def entropy(things: list[object], bits: float) -> np.float32:
    """Of pairs of equal ones among all pairs."""
    count = len(things)
    if count < 2:
        return np.float32(0)
    equal = sum(n * (n - 1) // 2 for n in Counter(things).values())
    return np.float32((log2(count * (count - 1) // 2) - log2(max(1, equal))) / np.float32(bits))


def is_encrypted(packet: bytes) -> bool:
    """ESP, or UDP with port 443 at one end."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        header, protocol = (packet[0] & 15) * 4, packet[9]
        if int.from_bytes(packet[6:8]) & 0x3FFF or header < 20:
            return False
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        header, protocol = 40, packet[6]
    else:
        return False
    if protocol == 50:
        return header <= len(packet)
    ports = packet[header : header + 8]
    is_udp = protocol == 17 and len(ports) == 8
    return is_udp and 443 in (int.from_bytes(ports[:2]), int.from_bytes(ports[2:4]))


def features(packet: bytes, payload_at: int, *, is_urgent: bool) -> list[np.float32]:
    payload = packet[payload_at:]
    places = sampled_at(len(payload))
    values = np.frombuffer(payload, np.uint8)[places]
    count = np.float32(max(1, len(values)))
    half = values[:32] if len(payload) > 64 else values
    common = sum(n for _, n in Counter(half.tolist()).most_common(4))
    printable = ((values >= 0x20) & (values <= 0x7E)) | np.isin(values, (9, 10, 13))
    magic = 0
    if len(payload) >= 4:
        magic = 1 if payload.startswith(PACKED) else -1 if payload.startswith(TEXT) else 0
    return [
        log2(len(payload) + 1) / np.float32(14),
        entropy(values.tolist(), 8),
        entropy([(payload[i], payload[i + 1]) for i in places], 11),
        np.float32(common) / np.float32(max(1, len(half))),
        np.float32(printable.sum()) / count,
        np.float32((values == 0).sum()) / count,
        np.float32(1 if is_encrypted(packet) else magic),
        np.float32(is_urgent),
    ]
