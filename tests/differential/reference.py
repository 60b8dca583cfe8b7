"""The data packet of PROTOCOL.md sections 2 and 3 once more, in plain Python, to compare the C core with.

Written from the page, not from native/. AEAD by the `cryptography` package; every number packed by hand.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

HEADER_BYTES = 8
TAG_BYTES = 16
REPLAY_NUMBERS = 8128
PADDING, PING, PONG, ACK, BUNDLE, PROMPT, ABANDON, REPEAT = range(8)
SOURCE, REPAIR = 0x18, 0x20
PROBE = 1


class Malformed(Exception):
    """A frame that runs past the end, or of a type that does not exist."""


# ---- numbers ----


def varint(value: int) -> bytes:
    """RFC 9000, section 16: the shortest of 1, 2, 4, 8 bytes."""
    for power, (code, bits) in enumerate(((">B", 6), (">H", 14), (">I", 30), (">Q", 62))):
        if value < 1 << bits:
            return struct.pack(code, value | power << bits)
    raise ValueError(f"{value} needs more than 62 bits")


def take_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset behind it)."""
    if at >= len(data):
        raise Malformed("varint past the end")
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise Malformed("varint past the end")
    return int.from_bytes(data[at : at + size]) & ((1 << (8 * size - 2)) - 1), at + size


def expand(expected: int, low: int) -> int:
    """The number ending in `low` that is nearest to `expected` (32 low bits; ties go up)."""
    base = expected >> 32
    candidates = [low + ((base + turn) << 32) for turn in (-1, 0, 1) if base + turn >= 0]
    return min(candidates, key=lambda pn: (abs(pn - expected), -pn))


# ---- frames ----


@dataclass(frozen=True)
class Ping:
    flags: int
    token: int
    time: int

    def pack(self, kind: int = PING) -> bytes:
        return struct.pack(">BBQQ", kind, self.flags, self.token, self.time)


@dataclass(frozen=True)
class Pong(Ping):
    def pack(self, kind: int = PONG) -> bytes:
        return super().pack(kind)


@dataclass(frozen=True)
class Inner:
    packet: bytes

    def pack(self) -> bytes:
        return self.packet


@dataclass(frozen=True)
class Prompt:
    def pack(self) -> bytes:
        return bytes([PROMPT])


@dataclass(frozen=True)
class Abandon:
    """`numbers` fall."""

    path: int
    numbers: tuple[int, ...]

    def pack(self) -> bytes:
        head = bytes([ABANDON, self.path]) + varint(self.numbers[0]) + bytes([len(self.numbers) - 1])
        return head + b"".join(varint(a - b - 1) for a, b in pairwise(self.numbers))


@dataclass(frozen=True)
class Repeat:
    """What follows it, to the end, is the content of that datagram; `number`: its low 32 bits."""

    path: int
    number: int

    def pack(self) -> bytes:
        return struct.pack(">BBI", REPEAT, self.path, self.number & 0xFFFFFFFF)


@dataclass(frozen=True)
class Source:
    """What follows it, to the end, is a member of a code stream; `sequence`: its low 16 bits."""

    stream: int
    sequence: int

    def pack(self) -> bytes:
        return struct.pack(">BH", SOURCE + self.stream, self.sequence & 0xFFFF)


@dataclass(frozen=True)
class Repair:
    """A sum over members of a stream (section 11); `body` as it stands on the wire."""

    path: int
    stream: int
    body: bytes

    def pack(self) -> bytes:
        return bytes([REPAIR + 8 * self.path + self.stream]) + self.body


@dataclass(frozen=True)
class Ack:
    """`ranges` are (gap, length) and `times` (distance, microseconds) as they stand on the wire.

    `repaired`: of the numbers that are named as received, how many came in other datagrams than their own.
    """

    path: int
    largest: int
    delay_us: int
    received: int
    ce: int
    first_range: int
    ranges: tuple[tuple[int, int], ...] = ()
    times: tuple[tuple[int, int], ...] = ()
    repaired: int = 0

    def pack(self) -> bytes:
        """The delay to 8 microseconds; more received than there are numbers is not to be said on the wire."""
        flags = self.path | 4 * (self.ce > 0) | 8 * bool(self.ranges) | 16 * bool(self.times)
        flags |= 32 * (self.repaired > 0)
        head = bytes([ACK, flags]) + varint(self.largest) + varint(self.delay_us // 8)
        head += varint(self.largest + 1 - self.received) + (varint(self.ce) if self.ce else b"")
        head += varint(self.repaired) if self.repaired else b""
        body = varint(self.first_range)
        for pairs in (self.ranges, self.times):
            body += bytes([len(pairs)]) * bool(pairs)
            body += b"".join(varint(first) + varint(second) for first, second in pairs)
        return head + body

    def numbers(self) -> set[int]:
        """Every packet number that is named as received."""
        named = set(range(self.largest - self.first_range, self.largest + 1))
        below = self.largest - self.first_range
        for gap, length in self.ranges:
            below -= gap + 1
            named |= set(range(below - length - 1, below))
            below -= length + 1
        return named

    def arrivals(self, largest_ns: int) -> list[tuple[int, int]]:
        """(packet number, time in nanoseconds) back from the largest, which came at `largest_ns`."""
        pn, at_ns, found = self.largest, largest_ns, []
        for distance, us in self.times:
            pn -= distance
            at_ns -= us * 1000
            found.append((pn, at_ns))
        return found


Frame = Ping | Pong | Ack | Inner | Prompt | Abandon | Repeat | Source | Repair


def take_ack(data: bytes, at: int) -> tuple[Ack, int]:
    if at + 1 >= len(data):
        raise Malformed("ACK without flags")
    flags = data[at + 1]
    largest, at = take_varint(data, at + 2)
    units, at = take_varint(data, at)
    missing, at = take_varint(data, at)
    ce, at = take_varint(data, at) if flags & 4 else (0, at)
    repaired, at = take_varint(data, at) if flags & 32 else (0, at)
    first, at = take_varint(data, at)
    lists = []
    for flag in (8, 16):
        count = 0
        if flags & flag:
            if at >= len(data):
                raise Malformed("ACK without a count")
            count, at = data[at], at + 1
        pairs, at = take_pairs(data, at, count)
        lists.append(pairs)
    path = flags & 3 if flags < 64 else flags  # others are no path
    ack = Ack(path, largest, units * 8, largest + 1 - missing, ce, first, *lists, repaired=repaired)
    return ack, at


def take_abandon(data: bytes, at: int) -> tuple[Abandon, int]:
    """Numbers may come out below 0."""
    if at + 2 >= len(data):
        raise Malformed("ABANDON without a path")
    number, behind = take_varint(data, at + 2)
    if behind >= len(data):
        raise Malformed("ABANDON without a count")
    numbers, count, behind = [number], data[behind], behind + 1
    for _ in range(count):
        gap, behind = take_varint(data, behind)
        numbers.append(numbers[-1] - gap - 1)
    return Abandon(data[at + 1], tuple(numbers)), behind


def take_pairs(data: bytes, at: int, count: int) -> tuple[tuple[tuple[int, int], ...], int]:
    found = []
    for _ in range(count):
        first, at = take_varint(data, at)
        second, at = take_varint(data, at)
        found.append((first, second))
    return tuple(found), at


def item_length(size: int) -> bytes:
    return bytes([size]) if size < 240 else bytes([240 + (size >> 8), size & 255])


def bundle(items: list[bytes]) -> bytes:
    return bytes([BUNDLE]) + b"".join(item_length(len(item)) + item for item in items)


def take_bundle(data: bytes) -> list[Inner]:
    found, at = [], 0
    while at < len(data):
        size = data[at]
        at += 1
        if size >= 240:
            if at == len(data):
                raise Malformed("half a length")
            size, at = (size - 240) << 8 | data[at], at + 1
        if size == 0 or at + size > len(data) or data[at] >> 4 not in (4, 6):
            raise Malformed("no item of a bundle")
        found.append(Inner(data[at : at + size]))
        at += size
    return found


def take_repair(data: bytes, at: int) -> tuple[Frame, int]:
    """A frame of section 3.2 or 11."""
    kind = data[at]
    if kind == PROMPT:
        return Prompt(), at + 1
    if kind == ABANDON:
        return take_abandon(data, at)
    if kind >= REPAIR:
        return Repair(kind >> 3 & 3, kind & 7, data[at + 1 :]), len(data)
    size = 6 if kind == REPEAT else 3
    if at + size > len(data):
        raise Malformed("REPEAT or SOURCE past the end")
    if kind == REPEAT:
        return Repeat(*struct.unpack_from(">BI", data, at + 1)), at + size
    return Source(kind & 7, *struct.unpack_from(">H", data, at + 1)), at + size


def parse(plaintext: bytes) -> list[Frame]:
    """All frames but PADDING, in order. Raises Malformed."""
    found: list[Frame] = []
    at = 0
    while at < len(plaintext):
        kind = plaintext[at]
        if kind >> 4 in (4, 6):
            found.append(Inner(plaintext[at:]))
            break
        if kind == PADDING:
            at += 1
        elif kind in (PING, PONG):
            if at + 18 > len(plaintext):
                raise Malformed("PING or PONG past the end")
            found.append((Ping if kind == PING else Pong)(*struct.unpack_from(">BQQ", plaintext, at + 1)))
            at += 18
        elif kind == ACK:
            ack, at = take_ack(plaintext, at)
            found.append(ack)
        elif kind == BUNDLE:
            found += take_bundle(plaintext[at + 1 :])
            break
        elif PROMPT <= kind <= REPEAT or SOURCE <= kind < REPAIR + 32:
            frame, at = take_repair(plaintext, at)
            found.append(frame)
        else:
            raise Malformed(f"frame {kind:#x}")
    return found


# ---- packets ----


def aead(suite: int, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return AESGCM(key) if suite == 1 else ChaCha20Poly1305(key)


def header(path: int, phase: int, index: int, pn: int, kind: int = 0) -> bytes:
    return struct.pack(">II", (kind << 4 | path << 2 | phase) << 24 | index, pn & 0xFFFFFFFF)


def seal(suite: int, key: bytes, path: int, epoch: int, index: int, pn: int, frames: bytes) -> bytes:
    """One datagram: header, ciphertext, tag."""
    head = header(path, epoch % 4, index, pn)
    return head + aead(suite, key).encrypt(struct.pack(">IQ", path, pn), frames, head)


@dataclass(frozen=True)
class Opened:
    path: int
    phase: int
    pn: int
    plaintext: bytes

    @property
    def frames(self) -> list[Frame]:
        return parse(self.plaintext)

    @property
    def inner(self) -> bytes | None:
        return next((frame.packet for frame in self.frames if isinstance(frame, Inner)), None)

    def of(self, kind: type) -> list:
        return [frame for frame in self.frames if type(frame) is kind]


@dataclass
class End:
    """One end of a session: seals with `send_keys[epoch]`, opens by the phase on the wire."""

    suite: int
    send_index: int
    receive_index: int
    send_keys: dict[int, bytes]
    receive_keys: dict[int, bytes]
    epoch: int = 0
    next_pn: list[int] = field(default_factory=lambda: [0] * 4)
    largest: list[int] = field(default_factory=lambda: [-1] * 4)

    def seal(self, frames: bytes = b"", *, path: int = 0, pn: int | None = None) -> bytes:
        """The next datagram of `path`, or one with the given number (then counting goes on behind it)."""
        number = self.next_pn[path] if pn is None else pn
        self.next_pn[path] = max(self.next_pn[path], number + 1)
        return seal(self.suite, self.send_keys[self.epoch], path, self.epoch, self.send_index, number, frames)

    def open(self, datagram: bytes) -> Opened:
        """Raises InvalidTag, or AssertionError when the clear header is not what this end may expect."""
        first, low = struct.unpack_from(">II", datagram)
        assert first >> 28 == 0, "a data packet begins with 0000"
        assert first & 0xFFFFFF == self.receive_index
        path, phase = first >> 26 & 3, first >> 24 & 3
        pn = expand(self.largest[path] + 1, low)
        keys = [key for epoch, key in self.receive_keys.items() if epoch % 4 == phase]
        for key in keys:
            try:
                nonce = struct.pack(">IQ", path, pn)
                text = aead(self.suite, key).decrypt(nonce, datagram[HEADER_BYTES:], datagram[:HEADER_BYTES])
            except InvalidTag:
                continue
            self.largest[path] = max(self.largest[path], pn)
            return Opened(path, phase, pn, text)
        raise InvalidTag


# ---- the replay window, naively ----


@dataclass
class Window:
    """Accepts each number once, and none that is REPLAY_NUMBERS or more below one past the largest."""

    seen: set[int] = field(default_factory=set)
    top: int = 0  # largest + 1

    def verdict(self, pn: int) -> str:
        """ "new", "replayed" or "too-old"; a new one is remembered."""
        if pn < self.top - REPLAY_NUMBERS:
            return "too-old"
        if pn in self.seen:
            return "replayed"
        self.seen.add(pn)
        self.top = max(self.top, pn + 1)
        return "new"
