"""The log: one line per change of state, as fields for journald, lines on a terminal, or JSON lines.

All loggers are "oxidized" or "oxidized.MODULE". What passes the level goes through a limit on repeats,
is written, kept in a ring for `oxidized-ctl log -f`, and handed to those who follow. `extra={"peer": ...}`
adds a field (OX_PEER in the journal); so do path, reason and errno. Nothing here may raise: a full disk
or a dead journal costs log lines, not packets.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, TextIO

from oxidized.config_kinds import log_levels
from oxidized.io import clock
from oxidized.limits import LOG_FOLLOWER_RECORDS, LOG_MESSAGE_CHARS_MAX, LOG_RING_RECORDS

ROOT = "oxidized"
JOURNAL_SOCKET = "/run/systemd/journal/socket"
FIELDS = ("interface", "peer", "path", "reason", "errno")
LIVE_LEVEL_S = 900.0

# Of the very same line, and of lines of the same place in the code, so many in a window.
REPEAT_WINDOW_NS = 10_000_000_000
SAME_LINE_MAX = 5
SAME_PLACE_MAX = 100
REPEAT_KEYS_MAX = 512

_PRIORITIES = {"error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)

Document = dict[str, Any]


def setup(
    level: str, format: str, *, stream: TextIO | None = None, now_ns: Callable[[], int] = clock.monotonic_ns
) -> None:
    """Begin to log. `level` and `format` as in the configuration; `stream`: stderr."""
    root = logging.getLogger(ROOT)
    for old in list(root.handlers):
        root.removeHandler(old)
    out = stream or sys.stderr
    handler = _Handler(_writer(format, out), out, now_ns)
    root.addHandler(handler)
    root.propagate = False
    set_level(level)


def set_level(spec: str) -> None:
    """From now on. ValueError: no such level."""
    levels = log_levels(spec)
    for name in _state.modules:
        logging.getLogger(f"{ROOT}.{name}").setLevel(logging.NOTSET)
    _state.modules = [name for name in levels if name]
    for name, level in levels.items():
        logging.getLogger(f"{ROOT}.{name}" if name else ROOT).setLevel(level.upper())
    _state.spec, _state.return_spec, _state.return_ns = spec, "", 0


def return_later(spec: str, now_ns: int, after_s: float = LIVE_LEVEL_S) -> None:
    """The level that is set now is for a while: then it is `spec` again. `set_level` forgets this."""
    _state.return_spec, _state.return_ns = spec, now_ns + int(after_s * 1e9)


def level_document(now_ns: int) -> Document:
    """`oxidized.log/1`: the level now, and what it goes back to."""
    _return_if_due(now_ns)
    left_s = (_state.return_ns - now_ns) / 1e9 if _state.return_ns else None
    return {
        "schema": "oxidized.log/1",
        "level": _state.spec,
        "returns_to": _state.return_spec or None,
        "returns_in_seconds": None if left_s is None else round(left_s, 3),
    }


def recent() -> list[Document]:
    """The last records, oldest first."""
    return list(_state.ring)


async def follow() -> AsyncGenerator[Document, None]:
    """Records as they come. A reader that is too slow misses some, and is told how many."""
    follower = _Follower(asyncio.get_running_loop())
    _state.followers.append(follower)
    try:
        while True:
            yield await follower.next()
    finally:
        _state.followers.remove(follower)


class _State:
    """The log of this process; `logging` is global, and so is this."""

    def __init__(self) -> None:
        self.spec = "info"
        self.return_spec = ""
        self.return_ns = 0
        self.modules: list[str] = []
        self.ring: deque[Document] = deque(maxlen=LOG_RING_RECORDS)
        self.followers: list[_Follower] = []


def _return_if_due(now_ns: int) -> None:
    if _state.return_ns and now_ns >= _state.return_ns:
        set_level(_state.return_spec)


class _Follower:
    """Records may come from any thread; they are read in the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._records: deque[Document] = deque(maxlen=LOG_FOLLOWER_RECORDS)
        self._is_there = asyncio.Event()
        self._missed = 0

    def put(self, record: Document) -> None:
        if len(self._records) == LOG_FOLLOWER_RECORDS:
            self._missed += 1
        self._records.append(record)
        try:
            self._loop.call_soon_threadsafe(self._is_there.set)
        except RuntimeError:
            return  # the loop has been closed: nobody reads any more

    async def next(self) -> Document:
        while not self._records:
            self._is_there.clear()
            await self._is_there.wait()
        record = self._records.popleft()
        missed, self._missed = self._missed, 0
        return {**record, "missed": missed} if missed else record


_state = _State()


@dataclass(slots=True)
class _Repeats:
    window_ns: int
    count: int = 0
    unsaid: int = 0


class RepeatLimit:
    """Lets a line through a few times, then counts it; the count is told with the next one let through."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int, str], _Repeats] = {}
        self._places: dict[tuple[str, int, str], _Repeats] = {}

    def pass_(self, record: logging.LogRecord, message: str, now_ns: int) -> int | None:
        """How many were not said before this one; None: this one is not said either."""
        place = (record.name, record.levelno, str(record.msg)[:200])
        unsaid = _let(self._lines, (record.name, record.levelno, message[:200]), SAME_LINE_MAX, now_ns)
        if unsaid is None:
            return None
        of_place = _let(self._places, place, SAME_PLACE_MAX, now_ns)
        return None if of_place is None else unsaid + of_place


def _let(
    table: dict[tuple[str, int, str], _Repeats], key: tuple[str, int, str], most: int, now_ns: int
) -> int | None:
    repeats = table.get(key)
    if repeats is None:
        if len(table) >= REPEAT_KEYS_MAX:
            del table[next(iter(table))]
        repeats = table[key] = _Repeats(now_ns)
    if now_ns - repeats.window_ns >= REPEAT_WINDOW_NS:
        repeats.window_ns, repeats.count = now_ns, 0
    repeats.count += 1
    if repeats.count > most:
        repeats.unsaid += 1
        return None
    unsaid, repeats.unsaid = repeats.unsaid, 0
    return unsaid


class _Handler(logging.Handler):
    def __init__(
        self, write: Callable[[Document], None], fallback: TextIO, now_ns: Callable[[], int]
    ) -> None:
        super().__init__()
        self._write = write
        self._fallback = fallback
        self._now_ns = now_ns
        self._limit = RepeatLimit()

    def emit(self, record: logging.LogRecord) -> None:
        now_ns = self._now_ns()
        if _state.return_ns and now_ns >= _state.return_ns:
            _return_if_due(now_ns)
            if not logging.getLogger(record.name).isEnabledFor(record.levelno):
                return
        try:
            message = _one_line(record.getMessage())
            unsaid = self._limit.pass_(record, message, now_ns)
            if unsaid is None:
                return
            if unsaid:
                message += f" ({unsaid} more like this were not logged)"
            document = _document(record, message)
        except Exception as error:  # a log call of ours with wrong arguments: our bug, but not the packets'
            document = {"time": "", "level": "error", "module": "logs", "message": f"bad log call: {error!r}"}
        self._out(document)

    def _out(self, document: Document) -> None:
        _state.ring.append(document)
        for follower in list(_state.followers):
            follower.put(document)
        try:
            self._write(document)
        except (OSError, ValueError):
            try:
                self._fallback.write(_console_text(document))
                self._fallback.flush()
            except (OSError, ValueError):
                return  # nowhere left to write to; the ring still has it


def _one_line(message: str) -> str:
    """What comes from outside can not forge a second line, nor steer a terminal."""
    message = message[:LOG_MESSAGE_CHARS_MAX]
    return message if message.isprintable() else "".join(c if c.isprintable() else "?" for c in message)


def _document(record: logging.LogRecord, message: str) -> Document:
    level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
    document: Document = {
        "time": clock.rfc3339(record.created),
        "level": level if level in _PRIORITIES else "info",
        "module": record.name.removeprefix(ROOT).lstrip(".") or ROOT,
        "message": message,
    }
    for name in FIELDS:
        value = getattr(record, name, None)
        if value is not None:
            document[name] = value if isinstance(value, int) else _one_line(str(value))
    if record.exc_info:
        text = logging.Formatter().formatException(record.exc_info)
        document["trace"] = text[-LOG_MESSAGE_CHARS_MAX:]
    return document


def _writer(format: str, stream: TextIO) -> Callable[[Document], None]:
    if format == "auto":
        format = "journal" if is_journal(stream) else "console" if stream.isatty() else "json"
    if format == "journal":
        return Journal().write

    def write(document: Document) -> None:
        line = (
            json.dumps(document, ensure_ascii=False) + "\n" if format == "json" else _console_text(document)
        )
        stream.write(line)
        stream.flush()

    return write


def _console_text(document: Document) -> str:
    trace = document.get("trace")
    line = f"{document['time']} {document['level']:<7} {document['module']}: {document['message']}\n"
    return line + (f"{trace}\n" if trace else "")


def is_journal(stream: TextIO) -> bool:
    """Whether the stream is what systemd connected to the journal ($JOURNAL_STREAM, systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class Journal:
    """journald's native protocol: fields in one datagram (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_UNIX, kind)

    def write(self, document: Document) -> None:
        """Raises OSError when the journal does not take it."""
        self._socket.sendto(encode(document), self._path)


def encode(document: Document) -> bytes:
    """The datagram of one record."""
    fields: dict[str, str] = {
        "MESSAGE": document["message"],
        "PRIORITY": str(_PRIORITIES[document["level"]]),
        "SYSLOG_IDENTIFIER": "oxidized",
        "OX_MODULE": document["module"],
    }
    for name in FIELDS:
        if name in document:
            fields[f"OX_{name.upper()}"] = str(document[name])
    if "trace" in document:
        fields["OX_TRACE"] = document["trace"]
    return b"".join(_field(name, value.encode("utf-8", "replace")) for name, value in fields.items())


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
