"""Network namespaces for tests: made with unique names, entered, and always removed.

edge namespace ── veth ── hub namespace          10.9.0.2/24 ── 10.9.0.1/24
                                                 fd09::2/64  ── fd09::1/64
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = Path(__file__).resolve().parents[2]

CLONE_NEWNET = 0x40000000  # linux/sched.h

_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = itertools.count()


def shell(*argv: str, check: bool = True) -> str:
    """Run a command; its stdout. A failure shows what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    """One network namespace with loopback up."""

    def __init__(self, role: str) -> None:
        self.name = f"oxl-{os.getpid()}-{next(_NUMBERS)}-{role}"
        shell("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def argv(self, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv: str, check: bool = True) -> str:
        return shell(*self.argv(*argv), check=check)

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.argv(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ip(self, *argv: str) -> str:
        return shell("ip", "-n", self.name, *argv)

    def ip_json(self, *argv: str) -> list[dict[str, Any]]:
        text = shell("ip", "-n", self.name, "-j", *argv)
        return [item for item in json.loads(text or "[]") if item]

    def rules(self, *family: str) -> list[str]:
        """The rules that are ours, priority taken off, in order."""
        lines = shell("ip", "-n", self.name, "-d", *family, "rule").splitlines()
        return [line.split("\t", 1)[1].strip() for line in lines if "proto 111" in line]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and the threads it starts, live in the namespace."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.name}", "rb") as here:
            assert _LIBC.setns(here.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert _LIBC.setns(home.fileno(), CLONE_NEWNET) == 0

    def remove(self) -> None:
        shell("ip", "netns", "del", self.name, check=False)


def veth(edge: Namespace, hub: Namespace) -> None:
    """The pair of the picture above."""
    edge.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", hub.name)
    for namespace, number in ((edge, 2), (hub, 1)):
        namespace.ip("address", "add", f"10.9.0.{number}/24", "dev", "eth0")
        namespace.ip("address", "add", f"fd09::{number}/64", "dev", "eth0", "nodad")
        namespace.ip("link", "set", "eth0", "up")


class Daemon:
    """One `oxidized` daemon in a namespace, with its own folder for configuration, key, socket and log."""

    def __init__(self, namespace: Namespace, folder: Path, config: str, *, wrap: Sequence[str] = ()) -> None:
        """`config` is the TOML without `version` and the tables [identity] and [control]. `wrap`: a
        command that runs the daemon (setpriv, unshare)."""
        folder.mkdir(exist_ok=True)
        self.namespace = namespace
        self.folder = folder
        self.path = folder / f"{folder.name}.toml"
        self.socket_path = folder / "ctl.sock"
        self._wrap = wrap
        self._process: subprocess.Popen[bytes] | None = None
        self._said = ""
        self.private_key, self.public_key = _keys()
        key_path = folder / "key"
        key_path.write_text(self.private_key + "\n")
        key_path.chmod(0o600)
        self.write(config)

    def write(self, config: str) -> None:
        self.path.write_text(
            f'version = 1\n[identity]\nkey = "file:{self.folder}/key"\n'
            f'[control]\nsocket = "{self.socket_path}"\n{config}'
        )

    def start(self, *, is_ready: bool = True, prelude: str = "pass") -> Daemon:
        """Start it and, unless it is to fail, wait for READY=1. `prelude`: Python to run before it."""
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify_path = self.folder / "notify"
        notify_path.unlink(missing_ok=True)
        notify.bind(str(notify_path))
        notify_path.chmod(0o666)
        notify.settimeout(10)
        code = (
            f"{prelude}; import sys; from oxidized.io.daemon import main; sys.exit(main({str(self.path)!r}))"
        )
        argv = self.namespace.argv(*self._wrap, sys.executable, "-c", code)
        env = {
            **os.environ,
            "NOTIFY_SOCKET": str(notify_path),
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        }
        self._process = subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, cwd=ROOT
        )
        with notify:
            while is_ready and not self._is_told(notify, "READY=1"):
                assert self._process.poll() is None, self.log()
        return self

    def _is_told(self, notify: socket.socket, line: str) -> bool:
        try:
            return line in notify.recv(4096).decode().splitlines()
        except TimeoutError:
            raise AssertionError(f"never said {line}: {self.log()}") from None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def log(self, seconds: float = 0) -> str:
        """All it said on stderr so far, waiting at most `seconds` for more."""
        stderr = self.process.stderr
        assert stderr is not None
        while select.select([stderr], [], [], seconds)[0]:
            chunk = os.read(stderr.fileno(), 65536)
            if not chunk:
                break
            self._said += chunk.decode()
            seconds = 0
        return self._said

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """One request on the control socket; the last line of the answer."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(30)
            control.connect(str(self.socket_path))
            control.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(control.makefile().readline())
            return answer

    def peer(self, index: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("status")["peers"][index]
        return found

    def follow(self, words: str, seconds: float = 20, *, times: int = 1) -> None:
        """Wait until the log has said `words` so often; at most `seconds` between two lines of it."""
        while self.log().count(words) < times:
            before = self._said
            assert self.log(seconds) != before, f"never said {words!r}:\n{before}"

    def kill(self) -> None:
        """For the end of a test, whatever became of it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(15)


def _keys() -> tuple[str, str]:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return (
        "ox1key:" + base64.b64encode(private.private_bytes_raw()).decode(),
        "ox1pub:" + base64.b64encode(public).decode(),
    )
