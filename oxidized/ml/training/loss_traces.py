"""Network traces as files: the formats pkt, ival and mm of a trace folder, read whole and checked.

pkt  *.pkt.csv[.gz]: a line per probe: t_ms, rtt_us (empty when lost), lost (0 or 1)
ival *.csv[.gz]:     a line per interval beginning at t_ms; of its columns, used are rtt_us, loss_rate,
                     retrans_pkts, sent_pkts, bw_bps; empty is unknown
mm   *.mm[.gz]:      a line per delivery opportunity of 1500 bytes: its millisecond; wraps at the end

A file may say anything: what is no such trace is refused in one line with file and line number, and one that
holds no loss and no opportunities is passed over with the reason.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from oxidized.errors import OxidizedError

Floats = npt.NDArray[np.float64]

FILE_BYTES_MAX: Final = 64 << 20  # unpacked
LINES_MAX: Final = 20_000_000
TIME_MS_MAX: Final = 1000 * 24 * 3600 * 1000
RTT_US_MAX: Final = 60e6
LINES_MIN: Final = 20
SERVED_MAX: Final = 1000  # opportunities in one ms: 12 Gbit/s
SUFFIXES: Final = {".pkt.csv": "pkt", ".csv": "ival", ".mm": "mm"}


class TraceRefused(OxidizedError):
    """Not a trace; the text is one line with file and line."""


class TraceWithoutLoss(OxidizedError):
    """A sound trace in which nothing is lost or can be; the text says why it is passed over."""


@dataclass(frozen=True, slots=True)
class PktTrace:
    """Probes in order of sending; rtt_us is 0 where lost."""

    t_ms: Floats
    rtt_us: Floats
    is_lost: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class IvalTrace:
    """Intervals in order; unknown is NaN."""

    t_ms: Floats
    rtt_us: Floats
    loss: Floats


@dataclass(frozen=True, slots=True)
class MmTrace:
    """served[ms]: opportunities in that millisecond."""

    served: npt.NDArray[np.int32]


Trace = PktTrace | IvalTrace | MmTrace


def stem_of(path: Path) -> str:
    return re.sub(r"(\.pkt\.csv|\.csv|\.mm)?(\.gz)?$", "", path.name)


def kind_of(path: Path) -> str | None:
    name = path.name.removesuffix(".gz")
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def files(folder: Path) -> list[Path]:
    """What may be traces, by name. OSError where the folder can not be read."""
    return sorted(path for path in folder.iterdir() if path.is_file() and kind_of(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            is_packed = path.name.endswith(".gz")
            data = (gzip.open(file) if is_packed else file).read(FILE_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TraceRefused(f"{path.name}: not read: {error}") from None
    if len(data) > FILE_BYTES_MAX:
        raise TraceRefused(f"{path.name}: more than {FILE_BYTES_MAX} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TraceRefused(f"{path.name}:{line}: not text") from None


def _number(path: Path, line: int, name: str, text: str, most: float) -> float:
    """NaN for an empty field."""
    text = text.strip()
    if not text:
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        raise TraceRefused(f"{path.name}:{line}: {name} {text[:30]!r} is no number") from None
    if not 0 <= value <= most:
        raise TraceRefused(f"{path.name}:{line}: {name} {text[:30]} is not within 0..{most:g}")
    return value


def _lines(path: Path, wanted: tuple[str, ...]) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The columns, and lines as (number, column -> text) with `t_ms` first among what must be there."""
    reader = csv.reader(io.StringIO(_text(path)))
    try:
        columns = next(reader, [])
    except csv.Error as error:
        raise TraceRefused(f"{path.name}:1: {error}") from None
    if missing := [name for name in wanted if name not in columns]:
        raise TraceRefused(f"{path.name}:1: no column {', '.join(missing)}")

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        try:
            for fields in reader:
                if len(fields) != len(columns):
                    raise TraceRefused(
                        f"{path.name}:{reader.line_num}: {len(fields)} fields, the header has {len(columns)}"
                    )
                yield reader.line_num, dict(zip(columns, fields, strict=True))
        except csv.Error as error:
            raise TraceRefused(f"{path.name}:{reader.line_num}: {error}") from None

    return columns, rows()


def _in_order(path: Path, t_ms: list[float]) -> Floats:
    found = np.array(t_ms)
    if len(found) < LINES_MIN:
        raise TraceRefused(f"{path.name}: {len(found)} lines; a trace has at least {LINES_MIN}")
    if np.isnan(found).any():
        raise TraceRefused(f"{path.name}:{int(np.argmax(np.isnan(found))) + 2}: no t_ms")
    if (back := np.diff(found) < 0).any():
        raise TraceRefused(f"{path.name}:{int(np.argmax(back)) + 3}: t_ms goes backwards")
    return found


def _read_pkt(path: Path) -> PktTrace:
    t_ms, rtt_us, lost = [], [], []
    _, rows = _lines(path, ("t_ms", "rtt_us", "lost"))
    for line, row in rows:
        if row["lost"].strip() not in ("0", "1"):
            raise TraceRefused(f"{path.name}:{line}: lost {row['lost'][:30]!r} is not 0 or 1")
        is_lost = row["lost"].strip() == "1"
        rtt = _number(path, line, "rtt_us", row["rtt_us"], RTT_US_MAX)
        if not is_lost and not rtt > 0:
            raise TraceRefused(f"{path.name}:{line}: not lost, and no rtt_us")
        t_ms.append(_number(path, line, "t_ms", row["t_ms"], TIME_MS_MAX))
        rtt_us.append(0.0 if is_lost else rtt)
        lost.append(is_lost)
    return PktTrace(_in_order(path, t_ms), np.array(rtt_us), np.array(lost))


def _read_ival(path: Path) -> IvalTrace:
    columns, rows = _lines(path, ("t_ms",))
    if not {"loss_rate", "retrans_pkts"} & set(columns):
        raise TraceWithoutLoss(f"{path.name}: no column loss_rate or retrans_pkts")
    kept = ("t_ms", "rtt_us", "loss_rate", "retrans_pkts", "sent_pkts", "bw_bps")
    most = {"t_ms": TIME_MS_MAX, "rtt_us": RTT_US_MAX, "loss_rate": 1.0}
    table = np.array(
        [
            [_number(path, line, name, row.get(name, ""), most.get(name, 1e12)) for name in kept]
            for line, row in rows
        ]
    ).reshape(-1, len(kept))
    t_ms = _in_order(path, table[:, 0].tolist())
    rtt, loss, again, sent, bandwidth = table[:, 1:].T
    length_s = np.median(np.diff(t_ms)) / 1000
    packets = np.where(np.isnan(sent), bandwidth * length_s / 8 / 1448, sent)
    by_retransmission = np.minimum(again / np.maximum(packets + again, 1), 1)
    loss = np.where(np.isnan(loss), by_retransmission, loss)
    if np.isnan(loss).all():
        raise TraceWithoutLoss(f"{path.name}: the columns of loss are empty")
    return IvalTrace(t_ms, rtt, loss)


def _read_mm(path: Path) -> MmTrace:
    lines = _text(path).split("\n")
    if len(lines) > LINES_MAX:
        raise TraceRefused(f"{path.name}: more than {LINES_MAX} lines")
    stamps = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if not (text.isascii() and text.isdigit()) or len(text) > 12:
            raise TraceRefused(f"{path.name}:{number}: {text[:30]!r} is no millisecond")
        stamps.append(int(text))
        if stamps[-1] > TIME_MS_MAX or (len(stamps) > 1 and stamps[-1] < stamps[-2]):
            raise TraceRefused(f"{path.name}:{number}: {text} goes backwards or beyond {TIME_MS_MAX}")
    if len(stamps) < LINES_MIN or stamps[-1] < 1000:
        raise TraceRefused(f"{path.name}: {len(stamps)} opportunities; a trace has {LINES_MIN} and a second")
    served = np.bincount(np.array(stamps)).astype(np.int32)
    if served.max() > SERVED_MAX:
        raise TraceRefused(f"{path.name}: {served.max()} opportunities in one millisecond")
    return MmTrace(served)


def read(path: Path) -> Trace:
    """TraceRefused: no trace of its format. TraceWithoutLoss: sound, and nothing to learn from it."""
    match kind_of(path):
        case "pkt":
            return _read_pkt(path)
        case "mm":
            return _read_mm(path)
        case "ival":
            return _read_ival(path)
        case _:
            raise TraceRefused(f"{path.name}: neither .pkt.csv nor .csv nor .mm, plain or .gz")


def start_unix_s(folder: Path, path: Path) -> float:
    """When a trace begins, if MANIFEST.md in or above its folder tells; else 0."""
    for manifest in (folder / "MANIFEST.md", folder.parent / "MANIFEST.md"):
        try:
            text = manifest.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for item in re.split(r"\n(?=[-*|#]|\n)", text):
            if stem_of(path) in item and (told := re.search(r"unix time (\d{9,11}(?:\.\d+)?)", item)):
                return float(told.group(1))
    return 0.0
