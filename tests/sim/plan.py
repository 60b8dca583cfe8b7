"""What a seed stands for: who takes part, with which settings, and what goes wrong when.

Swarm testing: each fault is on or off for a whole run and then gets a strength, so that some runs are
all about one fault and others about an odd pair. Everything is drawn before `only` takes faults away, so
that a run with fewer faults stays close to the one it was made from.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from oxidized.core.settings import CompressionSettings
from tests.sim import compression
from tests.sim.link import MS, LinkFaults, S

LINK_FAULTS = ("delay", "loss", "burst", "jitter", "reorder", "duplicate", "truncate", "flip", "rate", "mtu")
HAPPENINGS = (
    "outage", "one-way", "rebind", "hub-move", "hub-restart", "edge-restart", "quic-only", "jump", "suspend",
    "reload",
)  # fmt: skip
ATTACKS = ("replay", "forge", "reflect", "knock")
LOADS = ("wrong-source", "inner-garbage", "no-route", "too-big", "flood")
NODE_FAULTS = ("skew", "slow-python", "bad-resolver", "nat-idle")
EARLIER_FAULTS = LINK_FAULTS + HAPPENINGS + ATTACKS + LOADS + NODE_FAULTS
# Drawn with dice of their own, so that the plans of older seeds stay what they were.
LATER_FAULTS = ("path-mtu",)
# The same again. What compression fears most: acknowledgements that do not come, packets that come when their
# session or their flow is long over, and one session after the other.
NEWEST_FAULTS = ("short-loss", "late", "replace")
# The same again. What repair is for: bursts in time, only acknowledgements that are lost, and one way longer
# than the other.
REPAIR_FAULTS = ("time-burst", "ack-loss", "lopsided")
FAULTS = EARLIER_FAULTS + LATER_FAULTS + NEWEST_FAULTS + REPAIR_FAULTS

PATH_PAYLOADS_MAX = (0, 1350, 1360, 1372, 1389, 1400, 1431, 1444, 2000, 5000)  # 0: no bound; QUIC needs 1350

HUB = "hub"


@dataclass(frozen=True, slots=True)
class Happening:
    """At `at_ns` something begins at `target`; `for_ns` and `amount` mean what the kind makes of them."""

    at_ns: int
    kind: str
    target: str
    for_ns: int = 0
    amount: int = 0


@dataclass(frozen=True, slots=True)
class NodeKnobs:
    """Settings of one node. `lag_ns`: how long Python stays away from the plane at most."""

    mtu_bytes: int
    suite: str
    rekey_after_ns: int
    rekey_packets: int
    pool_pkts: int  # of each worker
    workers: int
    retry: str
    keepalive_ns: int
    dead_after_ns: int
    transport: str
    is_ipv6: bool
    offset_ns: int
    drift_ppm: int
    lag_ns: int
    compression: CompressionSettings  # drawn anew at every start


@dataclass(slots=True)
class Plan:
    """One run. `rates`: attacks per second. `burst_gap_ns`: mean time between bursts of load per flow."""

    seed: int
    has_handshakes: bool  # real tunnels; else keys are put in place by hand and only the packet path runs
    faults: frozenset[str]
    edges: tuple[str, ...]
    knobs: dict[str, NodeKnobs]
    links: dict[tuple[str, str], LinkFaults]  # (edge, "up" | "down")
    happenings: list[Happening]
    chaos_ns: int
    burst_gap_ns: int
    burst_packets: int
    rates: dict[str, float] = field(default_factory=dict)

    def tell(self) -> str:
        kind = "tunnels" if self.has_handshakes else "planes with keys put in by hand"
        return f"{len(self.edges)} edges, {kind}, faults: {', '.join(sorted(self.faults)) or 'none'}"


def draw(
    seed: int,
    rng: random.Random,
    has_handshakes: bool | None,
    only: frozenset[str] | None,
    always: frozenset[str] = frozenset(),
) -> Plan:
    """The plan of `seed`. `has_handshakes` None: drawn. `only`: these faults at most; `always`: at least."""
    drawn_handshakes = rng.random() < 0.75
    share = rng.choice((0.0, 0.1, 0.2, 0.35, 0.5))
    faults = frozenset(name for name in EARLIER_FAULTS if rng.random() < share)
    later = random.Random(f"later faults of {seed}")
    faults |= {name for name in LATER_FAULTS if later.random() < share}
    newest = random.Random(f"newest faults of {seed}")
    faults |= {name for name in NEWEST_FAULTS if newest.random() < share}
    repair_dice = random.Random(f"repair faults of {seed}")
    faults |= {name for name in REPAIR_FAULTS if repair_dice.random() < share}
    faults |= always
    if only is not None:
        faults &= only
    has_handshakes = drawn_handshakes if has_handshakes is None else has_handshakes
    if not has_handshakes and faults & {"rebind", "nat-idle"}:
        # Both ends move at once: only a resolver finds the way back, and without tunnels there is none.
        faults -= {"hub-move"}
    edges = tuple(f"edge{i}" for i in range(1, rng.choice((1, 1, 2, 3)) + 1))
    chaos_ns = rng.randrange(6 * S, 20 * S)
    plan = Plan(
        seed=seed,
        has_handshakes=has_handshakes,
        faults=faults,
        edges=edges,
        knobs=_all_knobs(seed, rng, faults, edges),
        links={(edge, way): _weather(rng, faults) for edge in edges for way in ("up", "down")},
        happenings=_happenings(rng, faults, edges, chaos_ns) + _path_mtus(later, faults, edges, chaos_ns),
        chaos_ns=chaos_ns,
        burst_gap_ns=rng.choice((40, 100, 250, 1000)) * MS,
        burst_packets=rng.choice((1, 2, 8, 20)),
    )
    for attack in ATTACKS:
        strength = rng.choice((1.0, 5.0, 20.0))
        if attack in faults:
            plan.rates[attack] = strength
    plan.links = {key: _newest_weather(newest, faults, link) for key, link in plan.links.items()}
    plan.happenings += _replacements(newest, faults, edges, chaos_ns)
    for edge in edges:
        _repair_weather(repair_dice, plan, edge)
    return plan


def _all_knobs(
    seed: int, rng: random.Random, faults: frozenset[str], edges: tuple[str, ...]
) -> dict[str, NodeKnobs]:
    """Drawn per node; but suites must have one in common: all the same, or the hub takes what comes."""
    knobs = {name: _knobs(rng, faults, compression.draw(seed, name, 0)) for name in (HUB, *edges)}
    for name in edges if knobs[HUB].suite != "auto" else ():
        knobs[name] = replace(knobs[name], suite=rng.choice(("auto", knobs[HUB].suite)))
    return knobs


def _knobs(rng: random.Random, faults: frozenset[str], compressed: CompressionSettings) -> NodeKnobs:
    skew_ns, drift_ppm = rng.randrange(10**15), rng.randrange(-300, 301)
    lag_ns = rng.choice((2, 10, 50, 300)) * MS
    return NodeKnobs(
        mtu_bytes=rng.choice((1280, 1420, 1420, 9000)),
        suite=rng.choice(("auto", "aes-256-gcm", "chacha20-poly1305", "auto")),
        rekey_after_ns=rng.choice((1, 2, 5, 120)) * S,
        rekey_packets=rng.choice((1000, 1000, 1 << 26)),
        pool_pkts=rng.choice((256, 256, 512)),
        workers=(1, 1, 2, 3)[skew_ns % 4],
        retry=rng.choice(("never", "under-load", "always")),
        keepalive_ns=rng.choice((1, 5, 20)) * S,
        dead_after_ns=rng.choice((1, 2, 5)) * S,
        transport=rng.choice(("auto", "auto", "auto", "auto", "udp", "quic")),
        is_ipv6=rng.random() < 0.3,
        offset_ns=skew_ns if "skew" in faults else S,
        drift_ppm=drift_ppm if "skew" in faults else 0,
        lag_ns=lag_ns if "slow-python" in faults else 0,
        compression=compressed,
    )


def _weather(rng: random.Random, faults: frozenset[str]) -> LinkFaults:
    rate_bps = rng.choice((500_000, 2_000_000, 10_000_000))
    strengths: dict[str, dict[str, Any]] = {
        "delay": {"delay_ns": rng.choice((0, 1, 40, 150, 400)) * MS},
        "loss": {"loss": rng.choice((0.01, 0.05, 0.2, 0.4))},
        "burst": {
            "burst_enter": rng.choice((0.005, 0.02, 0.1)),
            "burst_leave": rng.choice((0.05, 0.2, 0.5)),
            "burst_loss": rng.choice((0.5, 0.9, 1.0)),
        },
        "jitter": {"jitter_ns": rng.choice((1, 10, 50)) * MS},
        "reorder": {
            "reorder": rng.choice((0.01, 0.1, 0.5)),
            "reorder_ns": rng.choice((5, 50, 500)) * MS,
        },
        "duplicate": {"duplicate": rng.choice((0.01, 0.1, 0.5))},
        "truncate": {"truncate": rng.choice((0.01, 0.05, 0.2))},
        "flip": {"flip": rng.choice((0.01, 0.05, 0.2))},
        "rate": {"rate_bps": rate_bps, "queue_bytes": rng.choice((3_000, 30_000, rate_bps // 16))},
        "mtu": {"payload_max": rng.choice((1360, 1400, 1452))},
    }
    # Also a fault that is on in this run may spare one direction.
    chosen = {name: rng.random() < 0.75 for name in LINK_FAULTS}
    fields: dict[str, Any] = {}
    for name in LINK_FAULTS:
        if name in faults and chosen[name]:
            fields.update(strengths[name])
    return LinkFaults(**fields)


def _happenings(
    rng: random.Random, faults: frozenset[str], edges: tuple[str, ...], chaos_ns: int
) -> list[Happening]:
    found = []
    for kind in HAPPENINGS:
        for _ in range(rng.choice((1, 1, 2, 4))):
            at_ns = rng.randrange(chaos_ns)
            edge = rng.choice(edges)
            target = {"hub-move": HUB, "hub-restart": HUB}.get(kind, edge)
            if kind in ("jump", "suspend", "reload"):
                target = rng.choice((HUB, edge))
            for_ns = rng.choice((200 * MS, S, 4 * S, 30 * S))
            if kind in ("hub-restart", "edge-restart"):
                for_ns = rng.choice((0, 100 * MS, 3 * S))
            if kind == "quic-only":
                for_ns = rng.choice((4, 30, 30)) * S
            if kind == "reload":
                for_ns = rng.choice((0, 100 * MS, 2 * S))
            if kind == "suspend":
                for_ns = rng.choice((100 * MS, 2 * S, 8 * S))
            found.append(Happening(at_ns, kind, target, for_ns, rng.randrange(1 << 30)))
    return sorted((h for h in found if h.kind in faults), key=lambda h: (h.at_ns, h.kind, h.target))


def _path_mtus(
    later: random.Random, faults: frozenset[str], edges: tuple[str, ...], chaos_ns: int
) -> list[Happening]:
    """A link becomes narrower or wider, one way or both, and stays so; `amount`: which way, and how wide."""
    found = []
    for _ in range(later.choice((1, 2, 4))):
        amount = later.randrange(3) << 8 | later.randrange(len(PATH_PAYLOADS_MAX))
        found.append(Happening(later.randrange(chaos_ns), "path-mtu", later.choice(edges), 0, amount))
    return found if "path-mtu" in faults else []


def _newest_weather(newest: random.Random, faults: frozenset[str], link: LinkFaults) -> LinkFaults:
    short_loss, late = newest.choice((0.3, 0.8, 1.0)), newest.choice((0.002, 0.02, 0.1))
    late_ns = newest.choice((S, 3 * S, 8 * S))
    is_spared = newest.random() < 0.25
    if "short-loss" in faults and not is_spared:
        link = replace(link, short_loss=short_loss)
    return replace(link, late=late, late_ns=late_ns) if "late" in faults else link


def _repair_weather(dice: random.Random, plan: Plan, edge: str) -> None:
    """Of both directions of a link."""
    lossy, slow = dice.choice(("up", "down")), dice.choice(("up", "down"))
    bad_ns, share = dice.choice((5, 40, 200)) * MS, dice.choice((0.01, 0.05, 0.2))
    bad_loss, short_loss = dice.choice((0.5, 0.8, 1.0)), dice.choice((0.3, 0.8, 1.0))
    delay_ns = dice.choice((60, 150)) * MS
    for way in ("up", "down"):
        link = plan.links[edge, way]
        if "time-burst" in plan.faults and (way == lossy or dice.random() < 0.3):
            good_ns = round(bad_ns * (1 - share) / share)
            link = replace(link, bad_ns=bad_ns, good_ns=good_ns, bad_loss=bad_loss)
        if "ack-loss" in plan.faults and way != lossy:
            link = replace(link, short_loss=short_loss)
        if "lopsided" in plan.faults and way == slow:
            link = replace(link, delay_ns=link.delay_ns + delay_ns)
        plan.links[edge, way] = link


def _replacements(
    newest: random.Random, faults: frozenset[str], edges: tuple[str, ...], chaos_ns: int
) -> list[Happening]:
    """A new session while the old one works."""
    times = newest.choice((1, 4, 12))
    found = [Happening(newest.randrange(chaos_ns), "replace", newest.choice(edges)) for _ in range(times)]
    return found if "replace" in faults else []
