"""Traffic classes and flows, as the control plane sees them: types only."""

from __future__ import annotations

from dataclasses import dataclass

from oxidized.core.plane import Network

# By number: OXI_CLASS_* and OXI_WHY_* in oxi.h.
TRAFFIC_CLASSES = ("voip", "gaming", "web", "streaming", "bulk", "control")
WHYS = ("default", "rule", "dscp", "port", "rtp", "shape")


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Packets to which all that is set applies are of `traffic_class` (`oxi_class_rule`).

    `protocol`, `port` 0: any; `dscp`, `network` None: any. Ports and prefixes count at either end.
    """

    traffic_class: int
    protocol: int = 0
    port: int = 0
    dscp: int | None = None
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that we send (`oxi_flow`); `rate`: bytes per second; ports 0: none."""

    peer: int
    protocol: int
    source: str
    source_port: int
    target: str
    target_port: int
    dscp: int
    is_fragment: bool
    traffic_class: str
    why: str
    packets: int
    bytes: int
    rate: int
    size_mean: int
    gap_mean_us: int
    first_ns: int
    last_ns: int
    changes: int
