"""The control socket: `oxidized-ctl` asks in JSON lines over a unix stream, and is answered in kind.

A request is one line, `{"verb": "status"}`; the answer one line (for `ping` and `log-follow`: several), a
document with a "schema" or `{"error": {"code", "message"}}`. Whoever may open the socket may look; only root
and the daemon's own user may change anything. Lines, clients and waiting are bounded, so that no local
user can make the daemon hold more than a few hundred kilobytes or keep others out for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import json
import logging
import os
import select
import socket
import stat
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

from oxidized import limits
from oxidized.errors import Absent, ConfigError, Exit
from oxidized.io import clock, logs
from oxidized.io.failure import StartError, is_permission

SOCKET_MODE = 0o660
GROUP = "oxidized"
PING_TIMEOUT_S = 2.0
GONE_CHECK_S = 1.0  # how soon we see that a waiting client has gone

log = logging.getLogger("oxidized.control")

Document = dict[str, Any]
_T = TypeVar("_T")


class Control(Protocol):
    """What the daemon does for those who ask."""

    def status(self) -> Document: ...
    def flows(self, limit: int) -> Document: ...
    async def ping(self, peer: str, timeout_s: float) -> float | None: ...
    async def wait(self, peer: str | None, timeout_s: float) -> bool: ...
    async def reload(self, dry_run: bool) -> Document: ...
    def set_log_level(self, spec: str) -> None: ...
    def metrics(self) -> str: ...


class Refused(Exception):
    """The request can not be carried out; `code` is one of those in the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ControlSocket:
    """Owns the socket at `path` from `start` to `close`."""

    def __init__(self, path: str, handler: Control) -> None:
        self._path = path
        self._handler = handler
        self._inode = 0
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises StartError, also when another daemon answers there."""
        try:
            listener = _bind(self._path)
            self._inode = os.stat(self._path).st_ino
        except OSError as error:
            code = Exit.PERMISSION if is_permission(error) else Exit.FAILURE
            raise StartError(f"control socket {self._path}: {error.strerror or error}", code) from None
        most = limits.CONTROL_REQUEST_BYTES_MAX
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=most)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            # Not if somebody has put a socket of his own there meanwhile.
            if os.lstat(self._path).st_ino == self._inode:
                os.unlink(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > limits.CONTROL_CLIENTS_MAX:
                most = limits.CONTROL_CLIENTS_MAX
                await _send(writer, _error("busy", f"{most} clients are connected already"))
            else:
                await _Client(self._handler, reader, writer).serve()
        except (ConnectionError, TimeoutError):
            writer.transport.abort()
        except asyncio.CancelledError:
            # Only `close` cancels us, and asyncio's streams take a cancelled client for an error.
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()


class _Client:
    """One connection: requests one after the other."""

    def __init__(self, handler: Control, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handler = handler
        self._reader = reader
        self._writer = writer
        self._uid = peer_uid(writer)
        self._verbs: dict[str, Callable[[Document], Awaitable[None]]] = {
            "status": self._status,
            "show": self._status,
            "flows": self._flows,
            "ping": self._ping,
            "wait": self._wait,
            "reload": self._reload,
            "log": self._log,
            "log-follow": self._log_follow,
            "metrics": self._metrics,
            "version": self._version,
        }

    async def serve(self) -> None:
        while True:
            try:
                async with asyncio.timeout(limits.CONTROL_IDLE_S):
                    line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                most = limits.CONTROL_REQUEST_BYTES_MAX
                await self._send(_error("usage", f"a request has at most {most} bytes"))
                return
            await self._answer(line)

    async def _answer(self, line: bytes) -> None:
        try:
            request = _parse(line)
            verb = request.get("verb")
            work = self._verbs.get(verb) if isinstance(verb, str) else None
            if work is None:
                raise Refused("usage", f"unknown verb; known: {', '.join(self._verbs)}")
            await work(request)
        except Refused as error:
            await self._send(_error(error.code, str(error)))
        except Absent as error:
            await self._send(_error("absent", str(error)))
        except ConfigError as error:
            await self._send(_error("config", str(error)))
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("a control request failed: please report this")
            await self._send(_error("internal", "internal error; see the daemon's log"))

    async def _send(self, document: Document) -> None:
        await _send(self._writer, document)

    def _may_change(self) -> None:
        if self._uid not in (0, os.geteuid()):
            raise Refused("permission", "only root and the daemon's own user may do that")

    # ---- verbs ----

    async def _status(self, request: Document) -> None:
        await self._send(self._handler.status())

    async def _flows(self, request: Document) -> None:
        limit = int(_number(request, "limit", 1, limits.FLOWS_SHOWN_MAX, 20))
        await self._send(self._handler.flows(limit))

    async def _metrics(self, request: Document) -> None:
        await self._send({"schema": "oxidized.metrics/1", "text": self._handler.metrics()})

    async def _version(self, request: Document) -> None:
        status = self._handler.status()
        found = {name: status[name] for name in ("name", "version", "pid")}
        await self._send({"schema": "oxidized.version/1", **found})

    async def _ping(self, request: Document) -> None:
        peer = _text(request, "peer")
        count = int(_number(request, "count", 1, limits.PING_COUNT_MAX, 4))
        interval_s = _number(
            request, "interval_seconds", limits.PING_INTERVAL_S_MIN, limits.PING_INTERVAL_S_MAX, 1.0
        )
        timeout_s = _number(request, "timeout_seconds", 0.01, 60.0, PING_TIMEOUT_S)
        rtts: list[float] = []
        for sequence in range(count):
            if is_gone(self._writer):
                return
            begin_ns = clock.monotonic_ns()
            rtt_s = await self._handler.ping(peer, timeout_s)
            if rtt_s is not None:
                rtts.append(rtt_s)
            await self._send(
                {"schema": "oxidized.ping/1", "peer": peer, "sequence": sequence, "rtt_seconds": rtt_s}
            )
            if sequence + 1 < count:
                spent_s = (clock.monotonic_ns() - begin_ns) / 1e9
                await asyncio.sleep(max(0.0, interval_s - spent_s))
        await self._send(ping_summary(peer, count, rtts))

    async def _wait(self, request: Document) -> None:
        peer = _text(request, "peer") if request.get("peer") is not None else None
        timeout_s = _number(request, "timeout_seconds", 0.0, limits.WAIT_S_MAX, 30.0)
        is_up = await self._unless_gone(asyncio.ensure_future(self._handler.wait(peer, timeout_s)))
        if is_up is None:
            return
        if not is_up:
            what = f"{peer} is not up" if peer else "not every peer is up"
            raise Refused("timeout", f"{what} after {timeout_s:g} s")
        await self._send({"schema": "oxidized.wait/1", "peer": peer, "up": True})

    async def _reload(self, request: Document) -> None:
        dry_run = request.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise Refused("usage", "dry_run is true or false")
        self._may_change()
        await self._send(await self._handler.reload(dry_run))

    async def _log(self, request: Document) -> None:
        if request.get("level") is not None:
            spec = _text(request, "level")
            self._may_change()
            now = logs.level_document(clock.monotonic_ns())
            try:
                self._handler.set_log_level(spec)
            except ValueError as error:
                raise Refused("usage", str(error)) from None
            logs.return_later(now["returns_to"] or now["level"], clock.monotonic_ns())
        await self._send(logs.level_document(clock.monotonic_ns()))

    async def _log_follow(self, request: Document) -> None:
        for record in logs.recent()[-20:]:
            await self._send({"schema": "oxidized.record/1", **record})
        async with contextlib.aclosing(logs.follow()) as records:
            await self._send_until_gone(records)

    async def _send_until_gone(self, records: AsyncGenerator[Document, None]) -> None:
        while True:
            record = await self._unless_gone(asyncio.ensure_future(anext(records)))
            if record is None:
                return
            await self._send({"schema": "oxidized.record/1", **record})

    async def _unless_gone(self, work: asyncio.Future[_T]) -> _T | None:
        """What `work` brings; None when the client has gone meanwhile, which no write would tell us."""
        try:
            while not work.done():
                await asyncio.wait((work,), timeout=GONE_CHECK_S)
                if is_gone(self._writer):
                    return None
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)


def ping_summary(peer: str, sent: int, rtts: list[float]) -> Document:
    """The last line of a ping."""
    return {
        "schema": "oxidized.ping/1",
        "peer": peer,
        "summary": True,
        "sent": sent,
        "received": len(rtts),
        "loss_ratio": round(1 - len(rtts) / sent, 6),
        "rtt_min_seconds": min(rtts, default=None),
        "rtt_mean_seconds": sum(rtts) / len(rtts) if rtts else None,
        "rtt_max_seconds": max(rtts, default=None),
    }


def peer_uid(writer: asyncio.StreamWriter) -> int:
    """Who is at the other end (SO_PEERCRED: as it was when it connected)."""
    found = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _pid, uid, _gid = struct.unpack("3i", found)
    return int(uid)


def is_gone(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end is closed altogether; one that only has no more to ask still reads."""
    poll = select.poll()
    try:
        poll.register(writer.get_extra_info("socket").fileno(), 0)
    except (OSError, ValueError):
        return True  # closed on our side
    return bool(poll.poll(0))


async def _send(writer: asyncio.StreamWriter, document: Document) -> None:
    writer.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")
    async with asyncio.timeout(limits.CONTROL_IDLE_S):
        await writer.drain()


def _error(code: str, message: str) -> Document:
    return {"error": {"code": code, "message": message}}


def _parse(line: bytes) -> Document:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused("usage", "a request is one line of JSON") from None
    if not isinstance(request, dict):
        raise Refused("usage", 'a request is an object, such as {"verb": "status"}')
    return request


def _text(request: Document, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
        raise Refused("usage", f"{name} is to be a text of at most 200 characters")
    return value


def _number(request: Document, name: str, low: float, high: float, default: float) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise Refused("usage", f"{name} is to be a number in {low:g}..{high:g}")
    return value


# ---- the socket ----


def _bind(path: str) -> socket.socket:
    """A listening socket at `path`; it never stands there with other rights than it is to have.

    Raises OSError; EADDRINUSE when another daemon answers at `path`, or when it is no socket.
    """
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    making = f"{path}.new"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(making)
        listener.bind(making)
        os.chmod(making, SOCKET_MODE)
        _give_to_group(making)
        listener.listen(limits.CONTROL_CLIENTS_MAX)
        os.rename(making, path)
    except OSError:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(making)
        raise
    return listener


def _remove_stale(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.EADDRINUSE, "is there and no socket; not removed")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # left behind by a daemon that was killed
            return
        except BlockingIOError:
            pass  # its queue is full: somebody is there
    raise OSError(errno.EADDRINUSE, "another daemon answers there")


def _give_to_group(path: str) -> None:
    """To the operators' group, where there is one and we may."""
    if os.geteuid() != 0:
        return  # the unit runs us in that group
    with contextlib.suppress(KeyError):
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
