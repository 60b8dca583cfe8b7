"""Processes of a run: started in namespaces, logged, measured, and all gone at the end.

Each is started by setsid: with scheduler autogroups every session is one share of the CPU (sched(7)), so
daemons and load generators compete as equals, and none with the shell from which the run was started.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from lab.errors import LabError

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 8.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: a runner killed with -9 takes its processes along."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def in_namespace(netns: str | None, command: Sequence[str]) -> list[str]:
    return [*(("ip", "netns", "exec", netns) if netns else ()), *command]


def run(command: Sequence[str], netns: str | None = None, *, timeout: float = 60.0, check: bool = True,
        text_in: str | None = None) -> str:  # fmt: skip
    """Runs a command to its end and returns what it printed; LabError when it fails and `check` is set."""
    line = in_namespace(netns, command)
    try:
        done = subprocess.run(
            line, input=text_in, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL if text_in is None else None,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LabError(f"no end after {timeout:.0f} s: {' '.join(line)}") from None
    except FileNotFoundError:
        raise LabError(f"no such program: {line[0]}") from None
    if check and done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise LabError(f"failed ({done.returncode}): {' '.join(line)}\n{said}")
    return done.stdout


class Process:
    """A process in the background: its log, its cost, its end."""

    def __init__(self, name: str, popen: subprocess.Popen[str], log: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log
        self._unread = b""

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def log_tail(self, lines: int = 20) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def expect_alive(self) -> None:
        """LabError with the end of its log when it has died."""
        if not self.alive():
            raise LabError(f"{self.name} ended with {self.popen.returncode}:\n{self.log_tail()}")

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far (proc(5): /proc/PID/stat, fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def rss_bytes(self) -> int:
        """Resident memory now (proc(5): /proc/PID/statm, field 2)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def read_line(self, timeout: float = 10.0) -> str:
        """The next line of its standard output; LabError when none comes."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._unread:
            if not self._read_more(deadline):
                raise LabError(f"{self.name} said nothing ({self.popen.poll()}):\n{self.log_tail()}")
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def read_rest(self, timeout: float = 60.0) -> str:
        """All that is left of its standard output, up to its end; LabError when it goes on too long."""
        deadline = time.monotonic() + timeout
        while self._read_more(deadline):
            continue
        if time.monotonic() > deadline:
            raise LabError(f"{self.name} did not end within {timeout:.0f} s:\n{self.log_tail()}")
        text, self._unread = self._unread.decode(), b""
        return text

    def _read_more(self, deadline: float) -> bool:
        out: IO[str] | None = self.popen.stdout
        assert out is not None, "started without stdout=True"
        wait = max(0.0, deadline - time.monotonic())
        if not select.select([out], [], [], wait)[0]:
            return False
        piece = os.read(out.fileno(), 1 << 16)
        self._unread += piece
        return bool(piece)

    def write_line(self, text: str) -> None:
        assert self.popen.stdin is not None, "started without stdin=True"
        try:
            self.popen.stdin.write(text + "\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            raise LabError(f"{self.name} is gone:\n{self.log_tail()}") from None

    def close_stdin(self) -> None:
        assert self.popen.stdin is not None, "started without stdin=True"
        self.popen.stdin.close()

    def wait(self, timeout: float) -> int:
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} did not end within {timeout:.0f} s:\n{self.log_tail()}") from None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Asks it to end, and kills it when it does not."""
        if self.alive():
            self.popen.send_signal(number)
            try:
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


class Processes:
    """All background processes of one run; `stop_all` in the reverse order of their start."""

    def __init__(self, log_folder: Path) -> None:
        self.log_folder = log_folder
        self.all: list[Process] = []

    def start(self, name: str, command: Sequence[str], netns: str | None = None, *, stdin: bool = False,
              stdout: bool = False, env: dict[str, str] | None = None) -> Process:  # fmt: skip
        """Starts a process in a session of its own; what is not read goes to LOGS/NAME.log."""
        log = self.log_folder / f"{name}.log"
        with log.open("a") as sink:
            popen = subprocess.Popen(
                in_namespace(netns, command),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout else sink, stderr=sink, text=True,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True, preexec_fn=_die_with_parent,
            )  # fmt: skip
        process = Process(name, popen, log)
        self.all.append(process)
        return process

    def stop_all(self) -> None:
        while self.all:
            self.all.pop().stop()
