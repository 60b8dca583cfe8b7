"""What every scenario has: a link, a load, results with fixed names, and checks that decide the exit code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.errors import UsageError
from lab.systems import Tunnel
from lab.topology import Direction, EmulatedLink, Lab

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

    @abstractmethod
    def measure(self, run: Run) -> Outcome:
        """Drives the load through the tunnel; LabError when it can not be measured."""

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
