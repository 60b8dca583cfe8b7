"""What the operator asked of the tunnel, checked, in the units the core works in.

`oxidized.config` builds these from the configuration file; it has checked every range. Times are
nanoseconds, sizes bytes. Nothing here reads a file or knows of TOML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oxidized.core.flows import ClassRule
from oxidized.core.plane import Network, PayloadRule, RepairMode

TransportPolicy = Literal["auto", "udp", "quic"]
RetryPolicy = Literal["never", "under-load", "always"]
HeaderPolicy = Literal["auto", "all", "off"]
PredictorPolicy = Literal["auto", "lstm", "ge", "ewma", "off"]
SuitePolicy = Literal["auto", "aes-256-gcm", "chacha20-poly1305"]

STATIC_KEY_BYTES = 32  # Ed25519 seed and Ed25519 public key (RFC 8032)


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One peer. `endpoints` ("host:port", in order of preference): we dial it; empty: it calls us.

    `keepalive_ns` 0 = off.
    """

    name: str
    public_key: bytes
    endpoints: tuple[str, ...]
    allowed_ips: tuple[Network, ...]
    keepalive_ns: int
    dead_after_ns: int
    resolve_ns: int
    transport: TransportPolicy
    enable: bool = True

    def __post_init__(self) -> None:
        assert len(self.public_key) == STATIC_KEY_BYTES
        assert self.keepalive_ns >= 0 and self.dead_after_ns > 0 and self.resolve_ns > 0


@dataclass(frozen=True, slots=True)
class CompressionSettings:
    """`flows`: header contexts per peer. `rules`: payloads we compress; `accept_payload`: those we take.

    `headers`: "auto": as far as it costs no throughput. `bundle`: small packets may share a datagram;
    `bundle_wait_*_ns`: how long a packet of that class may wait for others, 0 = not at all.
    """

    headers: HeaderPolicy = "auto"
    flows: int = 128
    rules: tuple[PayloadRule, ...] = ()
    accept_payload: bool = True
    bundle: bool = True
    bundle_wait_voip_ns: int = 10**6
    bundle_wait_gaming_ns: int = 0
    bundle_wait_other_ns: int = 0


@dataclass(frozen=True, slots=True)
class RepairSettings:
    """`overhead`: repair packets per packet sent, at the most, of classes with a deadline;
    `overhead_ordered`: of the others. `order`: TCP flows that come in are kept in order. `predictor`: what
    foretells loss.
    """

    mode: RepairMode = RepairMode.AUTO
    overhead: float = 1.2
    overhead_ordered: float = 0.15
    order: bool = True
    predictor: PredictorPolicy = "auto"


@dataclass(frozen=True, slots=True, repr=False)
class TunnelSettings:
    """The whole tunnel. `accept`: take calls on our port; `retry` and the limit concern only those.
    `class_rules`: the first that applies decides on a flow's class.

    No repr: it holds the private key.
    """

    private_key: bytes
    mtu_bytes: int
    suite: SuitePolicy
    rekey_after_ns: int
    rekey_packets: int
    accept: bool
    retry: RetryPolicy
    max_handshakes_per_second: int
    peers: tuple[PeerSettings, ...]
    compression: CompressionSettings = CompressionSettings()
    repair: RepairSettings = RepairSettings()
    class_rules: tuple[ClassRule, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.private_key) == STATIC_KEY_BYTES
        assert self.rekey_after_ns > 0 and self.rekey_packets > 0
        assert self.max_handshakes_per_second >= 1
