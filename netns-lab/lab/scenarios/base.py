"""What every scenario has: a link, a load, results with fixed names, and checks that decide the exit code."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab import report
from lab.errors import UsageError
from lab.systems import Tunnel
from lab.topology import (
    LINK_MTU_BYTES,
    LINK_MTU_BYTES_MAX,
    LINK_MTU_BYTES_MIN,
    Direction,
    EmulatedLink,
    Lab,
    unaccounted,
)

# Every word of the emulator may be set; "ab.KEY" and "ba.KEY" set one direction.
LINK_KEYS = frozenset(
    {
        "rate", "trace", "delay", "jitter", "queue", "ecn", "loss", "ge", "ge-time", "reorder", "duplicate",
        "corrupt", "outage", "mtu", "ptb", "rebind", "nat-port", "block",
    }
)  # fmt: skip
# Settings under which packets may well be missing, so that their absence is not a failure.
FAULT_KEYS = frozenset(
    {"loss", "ge", "ge-time", "corrupt", "outage", "mtu", "queue", "rate", "trace", "block", "rebind"}
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting of a scenario (`--set NAME=VALUE`)."""

    default: str
    help: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold for the scenario to pass."""

    name: str
    ok: bool
    detail: str


@dataclass(slots=True)
class Outcome:
    """What one run of one system gave."""

    results: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def check(self, name: str, ok: bool, detail: str) -> None:
        self.checks.append(Check(name, ok, detail))

    def check_link(self, link: EmulatedLink) -> int:
        """Every packet of the link is delivered or counted as dropped; returns how many are not."""
        missing = unaccounted(link.counters())
        self.check("link-conservation", missing == 0, f"{missing} packets of the link unaccounted for")
        return missing


@dataclass(slots=True)
class Run:
    """Everything a scenario needs to measure one system once."""

    lab: Lab
    tunnel: Tunnel
    seed: int
    seconds: float
    settings: Mapping[str, str]
    link: EmulatedLink | None
    say: Callable[[str], None]

    def udp_sizes(self, spare_bytes: int) -> str:
        """Sizes of UDP payloads from tiny up to so much less than the tunnel's MTU, as `traffic --size`."""
        return f"32-{self.lab.inner_mtu_bytes - spare_bytes}"

    def settle(self, seconds: float) -> None:
        """Lets a tunnel finish what it does when it has come up, such as finding the path's MTU."""
        if self.tunnel.is_tunnel:
            time.sleep(seconds)

    def has_faults(self) -> bool:
        """Whether packets may well be missing, by what is set for either direction."""
        return bool({key.removeprefix("ab.").removeprefix("ba.") for key in self.settings} & FAULT_KEYS)

    def number(self, key: str) -> float:
        try:
            return float(self.settings[key])
        except ValueError:
            raise UsageError(f"--set {key}={self.settings[key]}: not a number") from None


class Scenario(ABC):
    """A named link and load. Subclasses fill the class attributes; `link` empty means a bare veth pair."""

    name: str
    summary: str
    seconds: float
    rounds = 1
    link: dict[str, str] = {}
    parameters: dict[str, Parameter] = {}
    has_far = False  # whether there is a host behind the hub
    is_tcp_only = False  # whether a system that carries TCP streams and no packets can be measured
    shown: frozenset[str] = frozenset()  # the results of cells that the table prints; empty: all

    @abstractmethod
    def measure(self, run: Run) -> Outcome:
        """Drives the load through the tunnel; LabError when it can not be measured."""

    def merge(self, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The results of several rounds of one system as one."""
        return report.merge(rounds)

    def relate(self, found: Mapping[str, Sequence[Mapping[str, Any]]], settings: Mapping[str, str]) -> None:
        """Adds results that need several systems. `found`: of each system its rounds, {"seed", "results"}."""
        return

    def daemon_settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Keys of the oxidized configuration that this scenario wants ("table.key": TOML value)."""
        return {}

    def settings(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Parameters with their defaults and what was chosen; UsageError names an unknown key."""
        known = {key: parameter.default for key, parameter in self.parameters.items()}
        for key in chosen:
            if key not in known and not (
                self.link and key.removeprefix("ab.").removeprefix("ba.") in LINK_KEYS
            ):
                names = sorted([*known, *(LINK_KEYS if self.link else ())])
                raise UsageError(f"--set {key}: {self.name} knows {', '.join(names) or 'no settings'}")
        return {**known, **chosen}

    def link_mtu_bytes(self, settings: Mapping[str, str]) -> int:
        """MTU of the link's devices; the tunnel's follows from it. UsageError when it can not be.

        An emulated link with an `mtu` below 1500 has devices of 1500: the narrow spot is on the way, as it is
        where path MTU discovery is needed. A larger `mtu` is a link that carries as much from end to end.
        """
        chosen = {key: settings[key] for key in ("mtu", "ab.mtu", "ba.mtu") if key in settings}
        for key, value in chosen.items():
            if not value.isdigit():
                raise UsageError(f"--set {key}={value}: a number of bytes is expected")
        size = max((int(value) for value in chosen.values()), default=LINK_MTU_BYTES)
        if self.link:
            size = max(size, LINK_MTU_BYTES)
        if not LINK_MTU_BYTES_MIN <= size <= LINK_MTU_BYTES_MAX:
            raise UsageError(f"--set mtu={size}: {LINK_MTU_BYTES_MIN} to {LINK_MTU_BYTES_MAX} is expected")
        return size

    def directions(self, chosen: Mapping[str, str]) -> tuple[Direction, Direction]:
        """The two directions of the link, edge to hub and hub to edge."""
        made = []
        for prefix in ("ab.", "ba."):
            words = dict(self.link)
            for key, value in chosen.items():
                plain = key.removeprefix(prefix)
                if plain in LINK_KEYS:
                    words[plain] = value
                    words.pop({"trace": "rate", "rate": "trace"}.get(plain, ""), None)
            if prefix == "ba.":
                words.pop("rebind", None)
                words.pop("nat-port", None)
            made.append(Direction(words))
        return made[0], made[1]
