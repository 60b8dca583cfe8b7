"""A daemon without a tunnel: the real control socket over a `Control` that answers from a canned status."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oxidized.config_kinds import log_levels
from oxidized.core.flows import Flow
from oxidized.errors import Absent
from oxidized.io import logs
from oxidized.io.control_socket import ControlSocket
from oxidized.io.flow_status import flows_document
from oxidized.io.metrics import render
from tests.unit.ops.samples import status_document

NOTHING = {"schema": "oxidized.reload/1", "applied": [], "needs_restart": [], "failed": []}


def _flow(port: int, traffic_class: str, why: str, rate: int, **changes: Any) -> Flow:
    return Flow(
        **{
            "peer": 0, "protocol": 17, "source": "10.70.0.2", "source_port": 40000, "target": "10.1.0.7",
            "target_port": port, "dscp": 0, "is_fragment": False, "traffic_class": traffic_class, "why": why,
            "packets": 7, "bytes": 70 * rate, "rate": rate, "size_mean": 900, "gap_mean_us": 20_000,
            "first_ns": 10**9, "last_ns": 59 * 10**9, "changes": 1,
        } | changes
    )  # fmt: skip


FLOWS = (
    _flow(5004, "voip", "rtp", 8_000),
    _flow(443, "bulk", "shape", 12_000_000, protocol=6),
    _flow(0, "control", "port", 84, protocol=58, source="fd70::2", target="fd71::1", source_port=0),
    _flow(0, "web", "default", 0, peer=3, is_fragment=True, source_port=0),
    _flow(443, "web", "default", 100, source="fd70::2", target="fd71::1"),
)


class FakeControl:
    """`rtts` are the answers to pings in order (None: none came)."""

    def __init__(self) -> None:
        self.document = status_document()
        self.rtts: list[float | None] = []
        self.is_up = True
        self.outcome: dict[str, Any] = NOTHING
        self.reloads: list[bool] = []
        self.waits: list[tuple[str | None, float]] = []
        self.error: Exception | None = None

    def status(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return self.document

    def flows(self, limit: int) -> dict[str, Any]:
        found = flows_document(FLOWS, {0: "hub"}, 60 * 10**9, limit)
        return {**found, "time": self.document["time"]}

    async def ping(self, peer: str, timeout_s: float) -> float | None:
        self._known(peer)
        return self.rtts.pop(0)

    async def wait(self, peer: str | None, timeout_s: float) -> bool:
        if peer is not None:
            self._known(peer)
        self.waits.append((peer, timeout_s))
        return self.is_up

    async def reload(self, dry_run: bool) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.reloads.append(dry_run)
        return self.outcome

    def set_log_level(self, spec: str) -> None:
        log_levels(spec)
        logs.set_level(spec)

    def metrics(self) -> str:
        return render(self.document)

    def _known(self, peer: str) -> None:
        if peer not in [known["name"] for known in self.document["peers"]]:
            raise Absent(f"no peer {peer}")


@contextmanager
def served(path: str, control: FakeControl) -> Iterator[FakeControl]:
    """The control socket on a loop in a thread of its own, as `oxidized-ctl` blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(10)

    control_socket = ControlSocket(path, control)
    try:
        call(control_socket.start())
        yield control
        call(control_socket.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
