"""Configurations and a status document that the tests of the operator's side share."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from oxidized import keys
from oxidized.core.flows import TRAFFIC_CLASSES

PRIVATE = bytes(range(32))
PUBLIC = [keys.public_text(bytes([number]) * 32) for number in range(8)]

EDGE = f"""\
version = 1
[interface]
address = ["10.70.0.2/24", "fd70::2/64"]
[identity]
key = "credential:key"
[[peer]]
name = "hub"
public_key = "{PUBLIC[0]}"
endpoint = ["hub.example.net:443"]
allowed_ips = ["10.70.0.0/24"]
"""

HUB = f"""\
version = 1
[interface]
address = ["10.70.0.1/24"]
[identity]
key = "credential:key"
[listen]
udp = ["0.0.0.0:443", "[::]:443"]
[[peer]]
name = "edge1"
public_key = "{PUBLIC[1]}"
allowed_ips = ["10.70.0.2/32"]
[[peer]]
name = "edge2"
public_key = "{PUBLIC[2]}"
allowed_ips = ["10.70.0.3/32"]
"""


def write(folder: Path, text: str, name: str = "edge.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def by_class(**counts: int) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in TRAFFIC_CLASSES}


def path_document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "default",
        "state": "up",
        "reason": "",
        "local": "198.51.100.7",
        "remote": "203.0.113.9:443",
        "rtt_seconds": 0.0142,
        "rtt_variation_seconds": 0.0011,
        "rtt_min_seconds": 0.0139,
        "loss_ratio": 0.008,
        "mtu_bytes": 1420,
        "sent_packets": 1100,
        "sent_bytes": 900_000,
        "received_packets": 2000,
        "received_bytes": 1_900_000,
        "acked_packets": 992,
        "lost_packets": 8,
        "late_packets": 3,
        "ce_packets": 0,
        "repair_regime": "bursty",
        "repair_by": "predictor",
        "repair_redundancy_ratio": 0.5,
        "repair_copies": 3,
        "repair_loss_ratio": 0.0123,
        "loss_probability": 0.41,
        "congestion_probability": 0.02,
        "kept_packets": 12,
        "repairable_packets": 1050,
        "repairable_lost_packets": 20,
        "congestion_lost_packets": 2,
        **changes,
    }


def peer_document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "hub",
        "state": "up",
        "state_since_timestamp_seconds": 1_795_164_300.0,
        "public_key": PUBLIC[0],
        "transport": "udp",
        "transport_reason": "",
        "endpoint": "203.0.113.9:443",
        "observed_address": "198.51.100.7:40000",
        "allowed_ips": ["10.70.0.0/24", "fd70::/64"],
        "expected": True,
        "session_established_timestamp_seconds": 1_795_164_300.0,
        "last_handshake_timestamp_seconds": 1_795_168_118.0,
        "last_receive_timestamp_seconds": 1_795_168_199.0,
        "resolved_timestamp_seconds": 1_795_168_188.0,
        "keepalive_seconds": 20.0,
        "handshakes": {"completed": 2, "failed": 1, "rejected": 0},
        "rekeys": 31,
        "epoch": 31,
        "receive_bytes": 1_288_490_189,
        "transmit_bytes": 327_617_085,
        "receive_packets": 1_000_000,
        "transmit_packets": 500_000,
        "paths": [path_document()],
        **changes,
    }


DOWN_PEER = peer_document(
    name="lab",
    state="connecting",
    public_key=PUBLIC[3],
    transport="none",
    endpoint=None,
    last_handshake_timestamp_seconds=None,
    last_receive_timestamp_seconds=None,
    resolved_timestamp_seconds=None,
    keepalive_seconds=0.0,
    receive_bytes=0,
    transmit_bytes=0,
    paths=[],
)

_STATUS: dict[str, Any] = {
    "schema": "oxidized.status/1",
    "time": "2026-11-20T09:50:00.000Z",
    "name": "edge",
    "version": "0.1.0",
    "pid": 4242,
    "uptime_seconds": 273_960.0,
    "start_timestamp_seconds": 1_794_894_240.0,
    "interface": {
        "name": "oxd0",
        "role": "edge",
        "public_key": PUBLIC[4],
        "mtu_bytes": 1420,
        "listen": ["0.0.0.0:51877", "[::]:51877"],
        "addresses": ["10.70.0.2/24", "fd70::2/64"],
        "suite": "aes-256-gcm",
        "library": "ipsec-mb",
        "library_version": "1.3.0",
        "library_reason": "",
    },
    "peers": [peer_document(), DOWN_PEER],
    "plane": {
        "heartbeats": 7,
        "inner_in_packets": 500_010,
        "inner_in_bytes": 327_620_000,
        "inner_sent_packets": 500_000,
        "inner_held_packets": 0,
        "inner_handed_packets": 40,
        "inner_taken_over_packets": 40,
        "outer_in_datagrams": 1_000_020,
        "outer_in_bytes": 1_300_000_000,
        "control_in_datagrams": 12,
        "opened_datagrams": 1_000_001,
        "found_packets": 1_000_000,
        "inner_out_packets": 1_000_000,
        "inner_out_bytes": 1_288_490_189,
        "deliver_held_packets": 0,
        "outer_out_datagrams": 500_500,
        "outer_out_bytes": 340_000_000,
        "own_out_datagrams": 500,
        "own_dropped_datagrams": 0,
        "own_inner_packets": 3,
        "own_inner_dropped_packets": 0,
        "lost_events": 0,
        "pool_free_pkts": 500,
        "memory_bytes": 6_000_000,
        "kernel_receive_drops": 0,
        "offload": 7,
        "tun_reads": 12_000,
        "tun_writes": 25_000,
        "tun_refused_supers": 0,
        "udp_sends": 13_000,
        "udp_refused_trains": 0,
        "udp_train_trials": 0,
        "bundles_out": 30,
        "bundled_out_packets": 120,
        "bundled_in_packets": 200,
        "udp_trains_lost_paths": 0,
        "udp_reads": 26_000,
        "order_waiting_packets": 12,
        "order_held_packets": 912,
        "order_filled_packets": 800,
        "order_resolved_packets": 50,
        "order_timeout_packets": 40,
        "order_full_packets": 10,
        "order_lost_holes": 1,
        "class_changes": 9,
        "class_packets": {
            "voip": 2000, "gaming": 100, "web": 400_000, "streaming": 0, "bulk": 97_000, "control": 900,
        },
        "drops": {
            "transmit": {"no-route": 10, "too-big": 0},
            "receive_datagram": {"forged": 7, "replayed": 0},
            "receive": {"wrong-source": 0},
        },
    },
    "compression": {
        "headers": "auto",
        "flows": 70,
        "payload_rules": 2,
        "accept_payload": True,
        "bundle": True,
        "oracle": "heuristic",
        "oracle_digest": "",
        "oracle_reason": "onnxruntime is not installed",
        "header_packets": {"ip": 0, "udp": 100, "rtp": 2000, "tcp": 300, "icmp": 0, "esp": 0},
        "header_bytes": {"ip": 0, "udp": 2800, "rtp": 80000, "tcp": 15600, "icmp": 0, "esp": 0},
        "coded_bytes": {"ip": 0, "udp": 300, "rtp": 4100, "tcp": 2400, "icmp": 0, "esp": 0},
        "whole_packets": {"ip": 4, "udp": 2, "rtp": 0, "tcp": 9, "icmp": 0, "esp": 0},
        "setups": 17,
        "passed_packets": 5000,
        "restored_packets": {"ip": 0, "udp": 90, "rtp": 1990, "tcp": 310, "icmp": 0, "esp": 0},
        "payload_packets": {"none": 3, "sip": 0, "syslog": 40, "mqtt": 0, "http": 0, "generic": 0},
        "payload_bytes": {"none": 900, "sip": 0, "syslog": 5200, "mqtt": 0, "http": 0, "generic": 0},
        "pressed_bytes": {"none": 500, "sip": 0, "syslog": 2700, "mqtt": 0, "http": 0, "generic": 0},
        "payload_misses": 6,
        "payloads_restored": 41,
        "verdicts": {"skip": 2, "light": 3, "aggressive": 46, "rohc-only": 1},
        "looked_packets": 11,
        "given_up_flows": 1,
    },
    "repair": {
        "mode": "auto",
        "max_overhead_ratio": 1.2,
        "max_overhead_bulk_ratio": 0.15,
        "order": True,
        "predictor": {
            "mode": "auto",
            "active": "ge",
            "reason": "late: 3 steps in a row took more than 5 ms",
            "digest": "",
            "steps": 4200,
            "fallbacks": {"late": 17},
        },
        "kept_packets": by_class(voip=1000, gaming=50, web=300, bulk=9000, control=40),
        "lost_packets": by_class(voip=50, web=3, bulk=90),
        "repeats_out": by_class(voip=80, web=3, bulk=95),
        "codes_out": by_class(gaming=25),
        "repaired_packets": by_class(voip=46, web=3, bulk=80),
        "vain_packets": by_class(voip=2),
        "too_late_packets": by_class(voip=1, bulk=1),
        "over_budget_packets": by_class(bulk=4),
        "left_to_code_packets": by_class(gaming=3),
        "congestion_packets": 5,
        "crowded_packets": 6,
        "unsent_packets": 7,
        "repeats_in": 31,
        "restored_in": 28,
        "known_in": 3,
        "codes_in": 11,
        "undecoded_in": 2,
        "decoded_in": 8,
        "abandoned_in": 4,
    },
    "stages": [
        {"path": "out", "stage": "ip", "packets": 1_000, "ns": 5_000},
        {"path": "out", "stage": "seal", "packets": 1_000, "ns": 400_000},
        {"path": "in", "stage": "open", "packets": 2_000, "ns": 700_000},
        {"path": "shell", "stage": "tun-read", "packets": 0, "ns": 0},
    ],
    "offload": {
        "tso": {"active": True, "reason": ""},
        "uso": {"active": True, "reason": ""},
        "gso": {"active": True, "reason": ""},
        "gro": {"active": False, "reason": "switched off"},
    },
    "control": {"knock-bad": 3, "retry-sent": 0},
    "config": {"last_reload_successful": True, "last_reload_timestamp_seconds": None},
    "process": {"resident_memory_bytes": 50_000_000, "cpu_seconds_total": 12.5, "open_fds": 24},
    "health": ["lab: no answer to the handshake yet; trying on"],
}


def status_document(**changes: Any) -> dict[str, Any]:
    """A fresh copy, so that no test can spoil another's."""
    return {**copy.deepcopy(_STATUS), **changes}
