"""What systemd hears, and that nothing happens without it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from oxidized.io import sd_notify


def test_lines_reach_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert sd_notify.notify("READY=1", "STATUS=1/1 peers up")
        assert systemd.recv(4096) == b"READY=1\nSTATUS=1/1 peers up"
        assert sd_notify.reloading(1_234_567_890)
        assert systemd.recv(4096) == b"RELOADING=1\nMONOTONIC_USEC=1234567"


def test_abstract_socket() -> None:
    name = f"oxidized-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        assert sd_notify.notify("WATCHDOG=1", environ={"NOTIFY_SOCKET": "@" + name})
        assert systemd.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("path", ["", "relative", "/nonexistent/notify", "/" + "x" * 200])
def test_nobody_to_tell(path: str) -> None:
    assert not sd_notify.notify("READY=1", environ={"NOTIFY_SOCKET": path})
    assert not sd_notify.notify("READY=1", environ={})


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("15000000", "", 7.5),
        ("15000000", str(os.getpid()), 7.5),
        ("15000000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("-5", "", None),
        ("many", "", None),
        ("9" * 30, "", None),
    ],
)
def test_watchdog_interval(usec: str, pid: str, interval_s: float | None) -> None:
    assert sd_notify.watchdog_interval_s({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}) == interval_s
