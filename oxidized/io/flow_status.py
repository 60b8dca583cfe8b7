"""The document of `oxidized-ctl show flows`, `oxidized.flows/1`: those we send, the fastest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oxidized.core.flows import Flow
from oxidized.io import clock

SCHEMA = "oxidized.flows/1"
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmp6", 132: "sctp"}


def flows_document(
    flows: Sequence[Flow], peers: Mapping[int | None, str], now_ns: int, limit: int
) -> dict[str, Any]:
    """At most `limit` of them; `known`: how many there are. `peers`: number in the plane -> name."""
    shown = sorted(flows, key=lambda flow: (-flow.rate, -flow.last_ns, -flow.bytes))[:limit]
    return {
        "schema": SCHEMA,
        "time": clock.rfc3339(clock.wall_seconds()),
        "known": len(flows),
        "flows": [_flow(flow, peers.get(flow.peer, ""), now_ns) for flow in shown],
    }


def _flow(flow: Flow, peer: str, now_ns: int) -> dict[str, Any]:
    return {
        "peer": peer,
        "protocol": _PROTOCOLS.get(flow.protocol, str(flow.protocol)),
        "source": flow.source,
        "source_port": flow.source_port or None,
        "target": flow.target,
        "target_port": flow.target_port or None,
        "fragments": flow.is_fragment,
        "dscp": flow.dscp,
        "class": flow.traffic_class,
        "why": flow.why,
        "packets": flow.packets,
        "bytes": flow.bytes,
        "rate_bps": 8 * flow.rate,
        "mean_packet_bytes": flow.size_mean,
        "mean_gap_seconds": flow.gap_mean_us / 1e6,
        "duration_seconds": round((flow.last_ns - flow.first_ns) / 1e9, 3),
        "idle_seconds": round(max(0, now_ns - flow.last_ns) / 1e9, 3),
        "class_changes": flow.changes,
    }
