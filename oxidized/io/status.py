"""The status document, `oxidized.status/1`: one snapshot of counters that every reader is given.

`oxidized-ctl`, the metrics and the health lines all come from it. Building it reads counters that C
keeps without a lock, and never touches the packet path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from oxidized.core.events import PeerStatus
from oxidized.core.oracle import OracleCounters
from oxidized.core.plane import Offload, PathCounters, PeerCounters, Regime
from oxidized.core.steering import WISH_NS, Steered
from oxidized.io import clock
from oxidized.io.offload import Offloads
from oxidized.keys import public_text

SCHEMA = "oxidized.status/1"

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
REASON_REFUSED = "given up: the kernel refused it while it ran"
REASON_LOST = "given up: trains were lost on the way, and single datagrams were not"
LOSSY_RATIO = 0.001  # LOSSY_PPM of limits.h: the packet path's own rule
_STATES_WELL = ("up", "disabled")


class CounterSource(Protocol):
    """What the document needs of `ffi.dataplane.DataPlane`."""

    def peer_counters(self, peer: int) -> PeerCounters: ...
    def stats(self) -> dict[str, Any]: ...
    def stage_times(self) -> list[dict[str, Any]]: ...
    def compression_stats(self) -> dict[str, Any]: ...
    def repair_stats(self) -> dict[str, Any]: ...
    def oracle_counters(self) -> OracleCounters: ...


@dataclass(slots=True)
class PeerFacts:
    """What the settings say of a peer, as the document shows it."""

    allowed_ips: tuple[str, ...]
    keepalive_seconds: float
    is_expected: bool


@dataclass(slots=True)
class Snapshot:
    """All that the document is made of, besides what it reads itself."""

    now_ns: int
    start_ns: int
    name: str
    version: str
    interface: dict[str, Any]
    peers: list[PeerStatus]
    facts: Mapping[str, PeerFacts]
    plane: CounterSource
    control: Mapping[str, int]
    config: dict[str, Any]
    offloads: Offloads
    compression: dict[str, Any]
    repair: dict[str, Any]
    steered: Callable[[int, int], Steered | None]
    health: list[str] = field(default_factory=list)


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The document as JSON-ready values. Moments that never were are None."""
    wall_seconds = clock.wall_seconds()
    peers = [_peer(snapshot, status, wall_seconds) for status in snapshot.peers]
    plane = snapshot.plane.stats()
    return {
        "schema": SCHEMA,
        "time": clock.rfc3339(wall_seconds),
        "name": snapshot.name,
        "version": snapshot.version,
        "pid": os.getpid(),
        "uptime_seconds": round((snapshot.now_ns - snapshot.start_ns) / 1e9, 3),
        "start_timestamp_seconds": clock.timestamp_of(snapshot.start_ns, snapshot.now_ns, wall_seconds),
        "interface": snapshot.interface,
        "peers": peers,
        "plane": plane,
        "stages": snapshot.plane.stage_times(),
        "offload": offload_states(snapshot.offloads, plane),
        "compression": _compression(snapshot),
        "repair": {**snapshot.repair, **snapshot.plane.repair_stats()},
        "control": dict(snapshot.control),
        "config": snapshot.config,
        "process": process(),
        "health": snapshot.health + _health(peers, plane) + offload_health(snapshot.offloads, plane),
    }


def _compression(snapshot: Snapshot) -> dict[str, Any]:
    oracle = snapshot.plane.oracle_counters()
    return {
        **snapshot.compression,
        **snapshot.plane.compression_stats(),
        "verdicts": {verdict.name.lower().replace("_", "-"): n for verdict, n in oracle.verdicts.items()},
        "looked_packets": oracle.looked_packets,
        "given_up_flows": oracle.given_up_flows,
    }


def offload_states(offloads: Offloads, plane: Mapping[str, Any]) -> dict[str, Any]:
    """Per offload: whether it is in use, and why not."""
    active = Offload(plane["offload"])
    found = {}
    for each in Offload:
        name = str(each.name).lower()
        reason = "" if each in active else offloads.why_off.get(name, _why_given_up(each, plane))
        found[name] = {"active": each in active, "reason": reason}
    return found


def _why_given_up(offload: Offload, plane: Mapping[str, Any]) -> str:
    is_lost = offload is Offload.GSO and plane["udp_trains_lost_paths"] > 0
    return REASON_LOST if is_lost else REASON_REFUSED


def offload_health(offloads: Offloads, plane: Mapping[str, Any]) -> list[str]:
    lost = offloads.on & ~Offload(plane["offload"])
    return [f"offload {str(each.name).lower()}: {_why_given_up(each, plane)}" for each in lost]


def _peer(snapshot: Snapshot, status: PeerStatus, wall_seconds: float) -> dict[str, Any]:
    facts = snapshot.facts[status.name]
    counters = None if status.plane_peer is None else snapshot.plane.peer_counters(status.plane_peer)

    def moment(moment_ns: int | None) -> float | None:
        return clock.timestamp_of(moment_ns, snapshot.now_ns, wall_seconds)

    return {
        "name": status.name,
        "state": status.state,
        "state_since_timestamp_seconds": moment(status.state_since_ns),
        "public_key": public_text(status.public_key),
        "transport": status.transport,
        "transport_reason": status.transport_reason,
        "endpoint": None if status.endpoint is None else str(status.endpoint),
        "observed_address": None if status.observed_address is None else str(status.observed_address),
        "allowed_ips": list(facts.allowed_ips),
        "expected": facts.is_expected,
        "session_established_timestamp_seconds": moment(status.session_established_ns),
        "last_handshake_timestamp_seconds": moment(status.last_handshake_ns),
        "last_receive_timestamp_seconds": moment(counters.last_rx_ns if counters else None),
        "resolved_timestamp_seconds": moment(status.resolved_ns),
        "keepalive_seconds": facts.keepalive_seconds,
        "handshakes": dict(status.handshakes),
        "rekeys": status.rekeys,
        "epoch": status.epoch,
        "receive_bytes": counters.rx_bytes if counters else 0,
        "transmit_bytes": counters.tx_bytes if counters else 0,
        "receive_packets": counters.rx_packets if counters else 0,
        "transmit_packets": counters.tx_packets if counters else 0,
        "paths": _paths(snapshot, status, counters) if counters else [],
    }


def _paths(snapshot: Snapshot, status: PeerStatus, counters: PeerCounters) -> list[dict[str, Any]]:
    """Path 0 always (the default path), further ones only when they have an address."""
    paths = []
    for index, path in enumerate(counters.paths):
        if index == 0 or path.address is not None:
            name = "default" if index == 0 else f"path{index}"
            assert status.plane_peer is not None
            steered = snapshot.steered(status.plane_peer, index)
            is_off = snapshot.repair["mode"] == "off"
            repair = {} if is_off else _path_repair(path, steered, snapshot.now_ns)
            paths.append({**_path(status, path, name), **_NO_REPAIR, **repair})
    return paths


def _path(status: PeerStatus, path: PathCounters, name: str) -> dict[str, Any]:
    state, reason = "down", status.state
    if status.state == "up" and path.address is not None:
        state, reason = "up", ""
    resolved = path.acked_packets + path.lost_packets
    return {
        "name": name,
        "state": state,
        "reason": reason,
        "local": path.address.local if path.address else "",
        "remote": str(path.address) if path.address else "",
        "rtt_seconds": path.rtt_ns / 1e9 if path.rtt_ns else None,
        "rtt_variation_seconds": path.rtt_var_ns / 1e9 if path.rtt_ns else None,
        "rtt_min_seconds": path.rtt_min_ns / 1e9 if path.rtt_ns else None,
        "loss_ratio": round(path.lost_packets / resolved, 6) if resolved else 0.0,
        "mtu_bytes": status.mtu_bytes,
        "sent_packets": path.tx_packets,
        "sent_bytes": path.tx_bytes,
        "received_packets": path.rx_packets,
        "received_bytes": path.rx_bytes,
        "acked_packets": path.acked_packets,
        "lost_packets": path.lost_packets,
        "late_packets": path.late_packets,
        "ce_packets": path.ce_packets,
    }


_NO_REPAIR: dict[str, Any] = {
    "repair_regime": None,
    "repair_by": "",
    "repair_redundancy_ratio": None,
    "repair_copies": None,
    "repair_loss_ratio": None,
    "loss_probability": None,
    "congestion_probability": None,
    "kept_packets": 0,
    "repairable_packets": 0,
    "repairable_lost_packets": 0,
    "congestion_lost_packets": 0,
}


def _path_repair(path: PathCounters, steered: Steered | None, now_ns: int) -> dict[str, Any]:
    """How it is repaired: by the last wish, or by the packet path's own rule where there is none."""
    found: dict[str, Any] = {
        "repair_loss_ratio": path.loss_ppm / 1e6,
        "kept_packets": path.kept_packets,
        "repairable_packets": path.repairable_packets,
        "repairable_lost_packets": path.repairable_lost_packets,
        "congestion_lost_packets": path.congestion_lost_packets,
    }
    if steered is None or steered.wish is None or now_ns - steered.wished_ns > WISH_NS:
        regime = Regime.RANDOM if path.loss_ppm / 1e6 >= LOSSY_RATIO else Regime.CLEAN
        return {**found, "repair_regime": regime.name.lower(), "repair_by": "own rule"}
    return {
        **found,
        "repair_regime": steered.wish.regime.name.lower(),
        "repair_by": "predictor",
        "repair_redundancy_ratio": steered.wish.redundancy,
        "repair_copies": steered.wish.copies,
        "loss_probability": round(steered.loss_probability, 4),
        "congestion_probability": round(steered.congestion_probability, 4),
    }


def process() -> dict[str, Any]:
    """Memory, CPU and descriptors of this process, from /proc; None where it can not be read."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            resident_bytes: int | None = int(statm.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        resident_bytes = None
    try:
        open_fds: int | None = len(os.listdir("/proc/self/fd"))
    except OSError:
        open_fds = None
    return {
        "resident_memory_bytes": resident_bytes,
        "cpu_seconds_total": round(clock.cpu_seconds(), 3),
        "open_fds": open_fds,
    }


def _health(peers: list[dict[str, Any]], plane: Mapping[str, Any]) -> list[str]:
    """What an operator should look at, in words; empty when all is well."""
    lines = []
    for peer in peers:
        if peer["expected"] and peer["state"] not in _STATES_WELL:
            lines.append(f"{peer['name']}: {_why_down(peer)}")
        elif peer["transport"] == "quic" and peer["transport_reason"]:
            lines.append(f"{peer['name']}: carried over QUIC ({peer['transport_reason']})")
    if plane.get("kernel_receive_drops"):
        lines.append(f"the kernel dropped {plane['kernel_receive_drops']} datagrams: the UDP buffer was full")
    return lines


def _why_down(peer: Mapping[str, Any]) -> str:
    match peer["state"]:
        case "resolving":
            return "its name does not resolve; trying on"
        case "connecting":
            return "no answer to the handshake yet; trying on"
        case "silent":
            return "was up, but nothing has been heard of it for dead_after; trying on"
        case _:
            return "has not called yet"
