"""Which compression each node of a run has, from its first start on and anew with every restart.

As the daemon does it (`oxidized.io.daemon`): settings of the file become those of the plane and what HELLO
and WELCOME say. A reload leaves them alone, as that needs a restart.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from typing import Any

from oxidized.core.plane import Compression, PayloadRule
from oxidized.core.settings import CompressionSettings
from oxidized.ffi.lz import LZ_DIGEST

TCP, UDP = 6, 17
SYSLOG_PORT, JSON_PORT, WEB_PORT = 514, 1883, 80
RULES = (
    PayloadRule(SYSLOG_PORT, UDP, 2),
    PayloadRule(JSON_PORT, TCP, 3),
    PayloadRule(WEB_PORT, TCP, 4),
    PayloadRule(7777, UDP, 0),
)
HOLDS_NS = (0, 0, 500_000, 2_000_000, 5_000_000)


def draw(seed: int, name: str, boot: int) -> CompressionSettings:
    """Of node `name` when it starts for the `boot`-th time, from 0; with dice of its own."""
    dice = random.Random(f"compression of {name} at {boot} in {seed}")
    waits = [dice.choice(HOLDS_NS) for _ in range(3)]
    return CompressionSettings(
        headers=dice.choice(("auto", "auto", "all", "all", "off")),
        flows=dice.choice((16, 16, 16, 64, 64, 130)),
        rules=RULES[: dice.choice((0, 2, 4, 4))],
        accept_payload=dice.random() < 0.75,
        bundle=dice.random() < 0.8,
        bundle_wait_voip_ns=waits[0],
        bundle_wait_gaming_ns=waits[1],
        bundle_wait_other_ns=waits[2],
    )


def flows_of(settings: CompressionSettings) -> int:
    return 0 if settings.headers == "off" else settings.flows


def bounded(settings: CompressionSettings) -> CompressionSettings:
    """As the daemon gives it to the control plane."""
    return replace(settings, flows=flows_of(settings))


def holds_of(settings: CompressionSettings) -> tuple[int, int, int]:
    return settings.bundle_wait_voip_ns, settings.bundle_wait_gaming_ns, settings.bundle_wait_other_ns


def plane_conf(settings: CompressionSettings, name: str) -> dict[str, Any]:
    """What of the plane's configuration follows from it."""
    return {
        "hold_ns": holds_of(settings),
        "flows": flows_of(settings),
        "all_headers": settings.headers == "all",
        "compress_payload": bool(settings.rules),
        "hash_key": zlib.crc32(name.encode()),
    }


def agreed(own: CompressionSettings, other: CompressionSettings) -> Compression:
    """What a handshake between the two would come to."""
    return Compression(
        tx_flows=flows_of(other),
        rx_flows=flows_of(own),
        tx_dictionaries=LZ_DIGEST if other.accept_payload else 0,
        rx_dictionaries=LZ_DIGEST if own.accept_payload else 0,
    )
