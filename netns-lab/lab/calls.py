"""Calls between the two sites, by rtp-trunk: RTP over UDP, every packet compared and timed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lab import build
from lab.systems import Tunnel
from lab.topology import Lab

CALLS_MAX = 128  # as rtp-trunk.c
PACKETS_PER_SECOND = 50
FINISH_SECONDS = 30.0
DSCP_NAMES = {"ef": 46, "be": 0, "cs4": 32}


@dataclass(frozen=True, slots=True)
class Codec:
    """What 20 ms of speech are: bytes, RTP payload type, and the clock's advance (RFC 3551, RFC 7587)."""

    name: str
    payload_bytes: int
    payload_type: int
    stamp_step: int


# Opus twice: 24 and 16 kbit/s.
CODECS = {
    "g711": Codec("g711", 160, 0, 160), "g729": Codec("g729", 20, 18, 160),
    "opus": Codec("opus", 60, 111, 960), "opus40": Codec("opus", 40, 111, 960),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What is called, how often and for how long.

    Packets of the first `warm_up_seconds` travel before those that count; a packet that takes longer than
    `budget_seconds` is counted as such (0: none is). `ways` is `both`, or `ab`: from the edge to the hub.
    """

    codec: Codec
    calls: int
    seconds: float
    dscp: int = 0
    pattern: str = "aligned"
    is_v6: bool = False
    ways: str = "both"
    budget_seconds: float = 0.0
    warm_up_seconds: float = 0.0


class Calls:
    """Calls in the background; with a warm-up they wait for `go` before what counts."""

    def __init__(self, lab: Lab, tunnel: Tunnel, plan: Plan, seed: int, name: str) -> None:
        edge, hub = (tunnel.edge6, tunnel.hub6) if plan.is_v6 else (tunnel.edge4, tunnel.hub4)
        command = [
            str(build.helper("rtp-trunk")), "--a-netns", lab.edge.netns, "--b-netns", lab.hub.netns,
            "--a", edge, "--b", hub, "--calls", str(plan.calls),
            "--payload", str(plan.codec.payload_bytes), "--type", str(plan.codec.payload_type),
            "--step", str(plan.codec.stamp_step), "--seconds", f"{plan.seconds:g}", "--seed", str(seed),
            "--dscp", str(plan.dscp), "--pattern", plan.pattern, "--ways", plan.ways,
            "--budget", f"{plan.budget_seconds:g}", "--warm-up", f"{plan.warm_up_seconds:g}",
        ]  # fmt: skip
        self._plan = plan
        self._trunk = lab.start(name, command, stdin=True, stdout=True)

    def wait_warm(self) -> None:
        """Returns when the warm-up is over and nothing is on its way any more."""
        self._trunk.read_line(self._plan.warm_up_seconds + FINISH_SECONDS)

    def go(self) -> None:
        self._trunk.write_line("go")

    def finish(self) -> dict[str, Any]:
        """The object that rtp-trunk prints: counts by direction (`ab`, `ba`), quantiles of the delay."""
        code = self._trunk.wait(self._plan.seconds + self._plan.warm_up_seconds + FINISH_SECONDS)
        text = self._trunk.read_rest()
        if code:
            self._trunk.expect_alive()
        found: dict[str, Any] = json.loads(text)
        return found
