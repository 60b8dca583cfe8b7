"""The client's end of the control socket: one JSON line asked, one or several answered."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from oxidized.errors import Exit
from oxidized.limits import CONTROL_RESPONSE_BYTES_MAX

RUN_FOLDER = "/run/oxidized"
SOCKET_NAME = "ctl.sock"
ANSWER_S = 10.0

EXITS = {
    "usage": Exit.USAGE,
    "not-running": Exit.NOT_RUNNING,
    "permission": Exit.PERMISSION,
    "absent": Exit.ABSENT,
    "timeout": Exit.TIMED_OUT,
    "config": Exit.CONFIG,
}

Document = dict[str, Any]


class Failure(Exception):
    """The command failed; `code` is the word for programs, `exit` the status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.exit = EXITS.get(code, Exit.FAILURE)


def socket_path(path: str | None, name: str | None) -> str:
    """The socket that `--socket` or `-i` names; else the only one there is."""
    if path is not None:
        return path
    if name is not None:
        if "/" in name or name in ("", ".", ".."):
            raise Failure("usage", f"{name} is no name of a tunnel")
        return os.path.join(RUN_FOLDER, name, SOCKET_NAME)
    names = tunnel_names()
    if not names:
        raise Failure("not-running", f"no tunnel is running here (no {RUN_FOLDER}/*/{SOCKET_NAME})")
    if len(names) > 1:
        raise Failure("usage", f"several tunnels are here: say -i {' or -i '.join(names)}")
    return os.path.join(RUN_FOLDER, names[0], SOCKET_NAME)


def tunnel_names() -> list[str]:
    """Those with a socket, and those whose folder we may not look into: asking them says so."""
    try:
        names = sorted(os.listdir(RUN_FOLDER))
    except OSError:
        return []
    found = []
    for name in names:
        try:
            os.lstat(os.path.join(RUN_FOLDER, name, SOCKET_NAME))
        except PermissionError:
            pass
        except OSError:
            continue
        found.append(name)
    return found


class Client:
    """A connection to one daemon. Everything raises Failure."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(path)
        except PermissionError:
            self.close()
            raise Failure("permission", f"no permission for {path} (group oxidized, or root)") from None
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            self.close()
            raise Failure("not-running", f"the daemon is not running (nobody answers at {path})") from None
        except OSError as error:
            self.close()
            raise Failure("failure", f"{path}: {error.strerror or error}") from None
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: Document, answer_s: float = ANSWER_S) -> Document:
        """The one answer."""
        for document in self.stream(request, answer_s):
            return document
        raise Failure("failure", "the daemon hung up without an answer")

    def stream(self, request: Document, answer_s: float | None = ANSWER_S) -> Iterator[Document]:
        """Answers until the daemon hangs up; the caller knows which is the last. None: wait for ever."""
        self._socket.settimeout(answer_s)
        try:
            # A daemon that refuses us (too many clients) says so and hangs up before it has read a thing.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._socket.sendall(json.dumps(request).encode() + b"\n")
            while line := self._lines.readline(CONTROL_RESPONSE_BYTES_MAX):
                yield _read(line)
        except TimeoutError:
            raise Failure("timeout", f"no answer from the daemon at {self._path}") from None
        except OSError as error:
            raise Failure("failure", f"lost the daemon: {error.strerror or error}") from None


def _read(line: bytes) -> Document:
    try:
        document = json.loads(line)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not line.endswith(b"\n"):
        raise Failure("failure", "the daemon's answer is no line of JSON")
    error = document.get("error")
    if isinstance(error, dict):
        raise Failure(str(error.get("code")), str(error.get("message")))
    return document
