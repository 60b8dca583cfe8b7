"""What the control plane needs of the packet path: the narrow door, as a Protocol.

`oxidized.ffi.dataplane.DataPlane` implements it over the C core; tests may bring a fake. Nothing
here does anything: types only, so that core/ never imports the foreign-function interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

Network = IPv4Network | IPv6Network


class Suite(IntEnum):
    """AEAD of a session, as numbered on the wire (PROTOCOL.md section 2)."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


class EventType(IntEnum):
    """What the packet path reports; the values are those of `oxi_event_type` in oxi.h."""

    PEER_SILENT = 1
    PEER_HEARD = 2
    ROAMED = 3
    PONG = 4
    REKEY_WANTED = 5


class Offload(IntFlag):
    """What the kernel takes and gives in one piece; the values are those of OXI_OFFLOAD_* in oxi.h."""

    TSO = 1
    USO = 2
    GSO = 4
    GRO = 8


DICTIONARIES = ("none", "sip", "syslog", "mqtt", "http", "generic")  # by their number on the wire


@dataclass(frozen=True, slots=True)
class PayloadRule:
    """Packets with this TCP (protocol 6) or UDP (17) port at either end may be compressed (`oxi_lz_rule`)."""

    port: int
    protocol: int
    dictionary: int


@dataclass(frozen=True, slots=True)
class Super:
    """The offload header of a packet at the TUN (`oxi_super` in oxi.h).

    `kind`: 0 none, 1 TCP over IPv4, 2 TCP over IPv6, 3 UDP; sizes and offsets in bytes.
    """

    kind: int = 0
    needs_csum: bool = False
    segment_bytes: int = 0
    csum_start: int = 0
    csum_offset: int = 0
    header_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a datagram comes from or goes to.

    `ip` is the textual address, or "" with `is_carrier` for the peer's QUIC connection. `sock` is
    the index of our UDP socket. `local` is our own address it was sent to ("": any).
    """

    ip: str
    port: int
    sock: int = 0
    local: str = ""
    scope_id: int = 0
    is_carrier: bool = False

    def __str__(self) -> str:
        if self.is_carrier:
            return "quic"
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


CARRIER = Address(ip="", port=0, is_carrier=True)


@dataclass(frozen=True, slots=True)
class Compression:
    """What each direction of a session may use; `tx`: the other end takes it of us, `rx`: we take it.

    flows: contexts for headers, 0: they go whole. dictionaries: the digest of those that payloads are
    restored with, 0: they go as they are; where it is not the digest of ours, we compress none.
    """

    tx_flows: int = 0
    rx_flows: int = 0
    tx_dictionaries: int = 0
    rx_dictionaries: int = 0


class RepairMode(IntEnum):
    """How lost packets come back (OXI_REPAIR_*)."""

    OFF = 0
    ARQ = 1
    FEC = 2
    AUTO = 3


class Order(IntEnum):
    """Whether what follows a lost packet of an inner TCP flow waits for it (OXI_ORDER_*)."""

    OFF = 0
    ALWAYS = 1
    REPAIRED = 2  # of peers that repair what they send


class Regime(IntEnum):
    """What a path loses, and why (OXI_REGIME_*); the worse for what follows from it, the higher."""

    CLEAN = 0
    RANDOM = 1
    BURSTY = 2
    CONGESTED = 3


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of epoch 0 of a new session, and what its packets may be; indices are 24 bits, keys 32 bytes.

    may_bundle: small packets may share a datagram.
    """

    rx_index: int
    tx_index: int
    suite: Suite
    rx_key: bytes
    tx_key: bytes
    may_send: bool
    may_bundle: bool = False
    compression: Compression = Compression()


@dataclass(frozen=True, slots=True)
class PlaneEvent:
    """One report of the packet path. `value`: token of a PONG, worn epoch of REKEY_WANTED."""

    type: EventType
    peer: int
    path: int
    value: int
    rtt_ns: int
    address: Address


@dataclass(frozen=True, slots=True)
class PathCounters:
    """One path of one peer; packets are datagrams, bytes UDP payload, times nanoseconds (0: not known).

    `repairable_*`: of what is kept for repair, when it was sent for the first time (oxi.h).
    """

    address: Address | None
    tx_packets: int
    tx_bytes: int
    rx_packets: int
    rx_bytes: int
    acked_packets: int
    lost_packets: int
    late_packets: int
    ce_packets: int
    rtt_ns: int
    rtt_var_ns: int
    rtt_min_ns: int
    rtt_latest_ns: int
    acks_sent: int
    acks_received: int
    repairable_packets: int = 0
    repairable_acked_packets: int = 0
    repairable_acked_bytes: int = 0
    repairable_lost_packets: int = 0
    congestion_lost_packets: int = 0
    kept_packets: int = 0
    loss_ppm: int = 0


@dataclass(frozen=True, slots=True)
class PathRow:
    """What repair goes by of one path that is sent on; the fields of PathCounters with the same names."""

    peer: int
    path: int
    repairable_packets: int
    repairable_acked_packets: int
    repairable_acked_bytes: int
    repairable_lost_packets: int
    congestion_lost_packets: int
    kept_packets: int
    acks_received: int
    rtt_ns: int
    rtt_var_ns: int
    rtt_min_ns: int
    rtt_latest_ns: int
    loss_ppm: int


@dataclass(frozen=True, slots=True)
class PeerCounters:
    """One peer: inner packets and bytes; `last_rx_ns` 0 = never; `paths` has OXI_PATHS_MAX entries."""

    tx_packets: int
    tx_bytes: int
    rx_packets: int
    rx_bytes: int
    last_rx_ns: int
    last_tx_ns: int
    is_silent: bool
    epoch: int
    epoch_packets: int
    paths: tuple[PathCounters, ...]


class Plane(Protocol):
    """The packet path as the control plane sees it. `peer` is the handle from `peer_add`."""

    def peer_add(self, *, keepalive_ns: int, dead_after_ns: int, is_initiator: bool) -> int: ...
    def peer_timers(self, peer: int, *, keepalive_ns: int, dead_after_ns: int) -> None: ...
    def peer_remove(self, peer: int) -> None: ...
    def routes_set(self, routes: Sequence[tuple[Network, int]]) -> None: ...
    def path_set(self, peer: int, path: int, address: Address | None, payload_max: int) -> None:
        """Send packets of `path` to `address` (None: nowhere). `payload_max`: largest UDP payload, bytes."""

    def path_payload(self, peer: int, path: int, payload_max: int) -> None:
        """Another `payload_max`, wherever the path leads by now: the packet path may have followed a roam."""

    def index_pick(self, random24: int) -> int:
        """A receiver index that is free, near a random 24-bit number."""

    def session_install(self, now_ns: int, peer: int, keys: SessionKeys) -> None: ...
    def session_send(self, now_ns: int, peer: int) -> None: ...
    def session_drop(self, peer: int) -> None: ...
    def epoch_install(self, now_ns: int, peer: int, epoch: int, rx_key: bytes, tx_key: bytes) -> None: ...
    def epoch_send(self, now_ns: int, peer: int, epoch: int) -> None: ...
    def ping(
        self,
        now_ns: int,
        peer: int,
        path: int,
        *,
        token: int,
        address: Address | None = None,
        is_probe: bool = False,
        pad_bytes: int = 0,
    ) -> bool:
        """Send one PING; False when there is no session or no address."""

    def poll_events(self) -> list[PlaneEvent]: ...
    def poll_carrier(self) -> list[tuple[int, bytes]]:
        """Data packets that must go out inside the QUIC connection of (peer)."""

    def carrier_push(self, now_ns: int, peer: int, datagrams: Sequence[bytes]) -> None: ...
    def peer_counters(self, peer: int) -> PeerCounters: ...
    def suite_best(self) -> Suite: ...
    def dictionaries(self) -> int: ...
