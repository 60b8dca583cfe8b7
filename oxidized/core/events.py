"""What the tunnel tells the shell: one frozen dataclass per kind, and the status of a peer.

The shell drains them with `Tunnel.poll_event()` after each call into the tunnel.
"""

from __future__ import annotations

from dataclasses import dataclass

from oxidized.core.plane import Address


@dataclass(frozen=True, slots=True)
class PeerUp:
    """Packets of this peer arrive: the first of a session, or again after a silence."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The peer was up and is not any more. `reason`: silent, bye, closed, disabled, removed."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resolve:
    """Please look these "host:port" up and answer with `Tunnel.resolved()`."""

    peer: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Roamed:
    """Data for this peer goes to another address from now on."""

    peer: str
    address: Address


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """We seal under a new epoch."""

    peer: str
    epoch: int


@dataclass(frozen=True, slots=True)
class TransportChanged:
    """Data goes another way. `transport`: udp, quic or none; `mtu_bytes`: largest inner packet on it."""

    peer: str
    transport: str
    reason: str
    mtu_bytes: int


@dataclass(frozen=True, slots=True)
class MtuChanged:
    """The same way carries other sizes than was said before. `mtu_bytes`: largest inner packet.

    Told when it is less at once, when it is more as soon as it is certain how much.
    """

    peer: str
    mtu_bytes: int


@dataclass(frozen=True, slots=True)
class HandshakeRejected:
    """Somebody did not prove what they had to. `peer` None: we do not know who it was."""

    peer: str | None
    reason: str
    source: Address


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to `Tunnel.ping()`. `via`: udp or quic."""

    peer: str
    token: int
    rtt_ns: int
    via: str


TunnelEvent = (
    PeerUp
    | PeerDown
    | Resolve
    | Roamed
    | Rekeyed
    | TransportChanged
    | MtuChanged
    | HandshakeRejected
    | Pong
)


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer as it stands. Times are nanoseconds of the shell's clock, None: never.

    `handshakes` counts by result (completed, failed, rejected). `plane_peer` is the handle in the
    packet path. `observed_address` is our address as the other side sees it (edges only). `mtu_bytes` is the
    largest inner packet that goes out now.
    """

    name: str
    public_key: bytes
    state: str
    state_since_ns: int
    transport: str
    transport_reason: str
    session_established_ns: int | None
    epoch: int
    last_handshake_ns: int | None
    resolved_ns: int | None
    endpoint: Address | None
    handshakes: dict[str, int]
    rekeys: int
    plane_peer: int | None
    observed_address: Address | None
    mtu_bytes: int
