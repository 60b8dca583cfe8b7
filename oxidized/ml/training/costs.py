"""What each verdict on a packet is truly worth, in nanoseconds: the label that the compression oracle learns.

Bytes are what liblz4 saves on this very payload. Time is not measured packet by packet, which no two runs
would
agree on, but told by lines fitted to measurements (`./dev train oracle --costs` measures and fits anew).

The exchange rate: a byte saved is worth the time it takes on a link of 100 Mbit/s, what a good link of an
edge
has; on a slower one every byte is worth more. A packet of a flow that is sensitive to time pays fourfold for
each nanosecond. A large packet that is changed leaves its train (UDP_SEGMENT, super-packets at both TUNs),
which
costs both ends 7.4 instead of 1.1 ns per byte.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lz4.block
import numpy as np

from oxidized.core.oracle import Verdict
from oxidized.ffi.oracle import ORACLE_PAYLOAD_MIN, ORACLE_TRAIN_BYTES_MIN, oracle_is_worth
from oxidized.ml.training.kinds_learned import LEARNED
from oxidized.ml.training.packets import Kind, Packet, make

BYTE_NS: Final = 80.0
URGENT: Final = 4.0
TRAIN_NS_PER_BYTE: Final = 7.37 - 1.11
# Compressing and restoring a header; at most so much by what the project asks of it.
HEADER_NS: Final = 350.0
HEADER_LEFT_UDP: Final = 2.0  # flow id and one byte; TCP with time stamps needs more
HEADER_LEFT_TCP: Final = 5.5
FRAME_BYTES: Final = 2  # in front of a compressed payload
DICTIONARY_BYTES_MAX: Final = 64 << 10

Dictionaries = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Line:
    """ns = base + literal * literal bytes of the LZ4 block + sequence * its sequences: what is searched in
    vain,
    and what is found. What is matched costs next to nothing."""

    base_ns: float
    literal_ns: float
    sequence_ns: float

    def of(self, shape: tuple[int, int]) -> float:
        return self.base_ns + self.literal_ns * shape[0] + self.sequence_ns * shape[1]


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one way to compress: compressing, and restoring at the other end."""

    press: Line
    restore: Line


# As `./dev train oracle --costs` printed them on an AMD EPYC (2.4 GHz) with liblz4 1.9.4.
LIGHT: Final = Costs(Line(0.0, 0.50, 20.3), Line(43.1, 0.0, 3.4))
AGGRESSIVE: Final = Costs(Line(0.0, 1.44, 32.7), Line(62.4, 0.0, 3.7))


def shape_of(block: bytes) -> tuple[int, int]:
    """Literal bytes and sequences of an LZ4 block (lz4_Block_format.md)."""
    at, total, count = 0, 0, 0
    while at < len(block):
        token = block[at]
        at, count = at + 1, count + 1
        literals = token >> 4
        if literals == 15:
            while block[at] == 255:
                literals, at = literals + 255, at + 1
            literals, at = literals + block[at], at + 1
        total += literals
        at += literals + 2
        if at < len(block) and token & 15 == 15:
            while block[at] == 255:
                at += 1
            at += 1
    return total, count


def pressed(payload: bytes, dictionary: bytes = b"") -> bytes:
    """One LZ4 block."""
    extra: dict[str, Any] = {"dict": dictionary} if dictionary else {}
    return bytes(lz4.block.compress(payload, store_size=False, **extra))


def dictionaries(folder: Path) -> dict[str, bytes]:
    """The static dictionaries of the program, NAME.txt each. Without any, one made of what is learned
    from."""
    found = {path.stem: path.read_bytes()[-DICTIONARY_BYTES_MAX:] for path in sorted(folder.glob("*.txt"))}
    if found:
        return {"generic": b"", **found}
    sample = b"".join(packet.data[packet.payload_at :][:300] for _, packet in make(LEARNED, 2, seed=99))
    return {"generic": sample[-16384:]}


def _payload_worth(packet: Packet, costs: Costs, dictionary: bytes) -> tuple[float, float, bool]:
    """Bytes saved, ns spent, and whether the packet comes out changed."""
    payload = packet.data[packet.payload_at :]
    block = pressed(payload, dictionary)
    shape = shape_of(block)
    spent = costs.press.of(shape)
    saved = len(payload) - FRAME_BYTES - len(block)
    if not oracle_is_worth(len(packet.data), len(payload), max(0, saved)):
        return 0.0, spent, False
    return float(saved), spent + costs.restore.of(shape), True


@dataclass(frozen=True, slots=True)
class Worth:
    """Of one packet, by verdict: bytes saved and ns spent (with trains lost and urgency in them)."""

    saved: tuple[float, ...]
    spent: tuple[float, ...]

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(BYTE_NS * b - ns for b, ns in zip(self.saved, self.spent, strict=True))


def worth(packet: Packet, kind: Kind, known: Dictionaries) -> Worth:
    """What each verdict would bring."""
    is_large = len(packet.data) >= ORACLE_TRAIN_BYTES_MIN
    haste = URGENT if packet.is_urgent else 1.0
    train_ns = TRAIN_NS_PER_BYTE * len(packet.data) if is_large else 0.0
    header = packet.payload_at - (HEADER_LEFT_UDP if kind.is_udp else HEADER_LEFT_TCP)
    saved = {Verdict.SKIP: 0.0, Verdict.ROHC_ONLY: header}
    spent = {Verdict.SKIP: 0.0, Verdict.ROHC_ONLY: haste * HEADER_NS + train_ns}
    dictionary = known.get(kind.dictionary, known["generic"])
    for verdict, costs, words in ((Verdict.LIGHT, LIGHT, b""), (Verdict.AGGRESSIVE, AGGRESSIVE, dictionary)):
        more, ns, is_changed = _payload_worth(packet, costs, words)
        # What saves nothing goes as it would have gone without the attempt.
        bare = Verdict.ROHC_ONLY if is_changed or not is_large else Verdict.SKIP
        saved[verdict] = saved[bare] + more
        spent[verdict] = spent[bare] + haste * ns
    return Worth(tuple(saved[v] for v in Verdict), tuple(spent[v] for v in Verdict))


def is_judged(packet: Packet) -> bool:
    """Shorter payloads are never looked at."""
    return len(packet.data) - packet.payload_at >= ORACLE_PAYLOAD_MIN


# ---- measuring ----

MEASURED_PACKETS: Final = 64  # of a kind, in turn: one alone would be learnt by the branch predictor


def static_lz4(folder: Path) -> ctypes.CDLL:
    """liblz4 with the entries that only its static library has. OSError, CalledProcessError: none here."""
    archive = subprocess.run(["gcc", "-print-file-name=liblz4.a"], capture_output=True, text=True, check=True)
    library = folder / "liblz4-static.so"
    whole = ["-Wl,--whole-archive", archive.stdout.strip(), "-Wl,--no-whole-archive"]
    subprocess.run(["gcc", "-shared", "-o", str(library), *whole], check=True)
    return ctypes.CDLL(str(library))


class Measure:
    """Times liblz4 of this machine through ctypes; what empty calls take is taken off."""

    def __init__(self, lib: ctypes.CDLL) -> None:
        self.lib = lib
        self.state = ctypes.create_string_buffer(64 << 10)
        self.table = ctypes.create_string_buffer(64 << 10)
        self.out = ctypes.create_string_buffer(64 << 10)
        for stream in (self.state, self.table):
            lib.LZ4_initStream(stream, len(stream))

    def ns(self, call: Callable[[bytes], Any], inputs: Sequence[bytes]) -> float:
        """Mean of one call over all inputs; the best of several rounds."""
        best = float("inf")
        for _ in range(40):
            began = time.perf_counter_ns()
            for data in inputs:
                call(data)
            best = min(best, (time.perf_counter_ns() - began) / len(inputs))
        return best

    def nothing(self, data: bytes) -> None:
        self.lib.LZ4_compressBound(len(data), data, self.out, len(data), len(self.out), 1)

    def press(self, payloads: Sequence[bytes], dictionary: bytes) -> float:
        """Each payload alone, by a stream made once; a dictionary is loaded once and attached."""
        if dictionary:
            self.lib.LZ4_loadDict(self.table, dictionary, len(dictionary))

        def call(data: bytes) -> None:
            self.lib.LZ4_resetStream_fast(self.state)
            self.lib.LZ4_attach_dictionary(self.state, self.table if dictionary else None)
            self.lib.LZ4_compress_fast_continue(self.state, data, self.out, len(data), len(self.out), 1)

        def calls_alone(data: bytes) -> None:
            self.lib.LZ4_versionNumber(self.state)
            self.lib.LZ4_versionNumber(self.state, self.table if dictionary else None)
            self.nothing(data)

        return self.ns(call, payloads) - self.ns(calls_alone, payloads)

    def restore(self, blocks: Sequence[bytes], dictionary: bytes) -> float:
        def call(block: bytes) -> None:
            self.lib.LZ4_decompress_safe_usingDict(
                block, self.out, len(block), len(self.out), dictionary, len(dictionary)
            )

        return self.ns(call, blocks) - self.ns(self.nothing, blocks)


def fit(rows: Sequence[tuple[float, float]], ns: Sequence[float]) -> Line:
    """Least squares, weighted so that small packets count as well as large ones."""
    table = np.array([[1.0, *row] for row in rows])
    weight = 1.0 / np.sqrt(np.maximum(np.array(ns), 100.0))
    found, *_ = np.linalg.lstsq(table * weight[:, None], np.array(ns) * weight, rcond=None)
    return Line(*(round(max(0.0, float(v)), 3) for v in found))


def measure(known: Dictionaries) -> dict[str, Line]:
    """The four lines, fitted on packets of all learned kinds; some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        tool = Measure(static_lz4(Path(folder)))
    rows: dict[str, list[tuple[float, float]]] = {}
    times: dict[str, list[float]] = {}
    for kind in LEARNED:
        packets = make([kind], MEASURED_PACKETS, seed=5)
        payloads = [packet.data[packet.payload_at :] for _, packet in packets]
        dictionary = known.get(kind.dictionary, known["generic"])
        for name, words in (("light", b""), ("aggressive", dictionary)):
            blocks = [pressed(payload, words) for payload in payloads]
            shapes = [shape_of(block) for block in blocks]
            row = (float(np.mean([s[0] for s in shapes])), float(np.mean([s[1] for s in shapes])))
            press = tool.press(payloads, words)
            for what, ns in ((f"{name}, press", press), (f"{name}, restore", tool.restore(blocks, words))):
                rows.setdefault(what, []).append(row)
                times.setdefault(what, []).append(ns)
    return {name: fit(rows[name], times[name]) for name in rows}
