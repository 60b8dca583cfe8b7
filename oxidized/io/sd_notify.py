"""Tells systemd how we are: readiness, status, watchdog (sd_notify(3)). Without systemd it does nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

WATCHDOG_USEC_MAX = 86_400 * 10**6


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `lines` ("READY=1", "STATUS=..."). False: nobody to tell, or it could not be told.

    Never raises and never waits: a daemon must not fail for want of a listener.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        ) as to:
            to.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def reloading(now_ns: int) -> bool:
    """A reload begins; READY=1 ends it. `now_ns`: CLOCK_MONOTONIC, which systemd orders notices by."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={now_ns // 1000}")


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often to send WATCHDOG=1: half of what the unit allows. None: no watchdog, or not for us."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or not 0 < int(text) <= WATCHDOG_USEC_MAX or pid not in ("", str(os.getpid())):
        return None
    return int(text) / 2 / 1e6
