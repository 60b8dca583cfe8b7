"""Settings of the nodes of a plan, as an operator would have written them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from oxidized.core.settings import PeerSettings, TunnelSettings
from tests.sim import compression
from tests.sim.keyed import KeyedPeer
from tests.sim.link import S
from tests.sim.load import EVERYTHING, inside
from tests.sim.plan import HUB, Plan

HANDSHAKES_PER_SECOND = 50


class Identities:
    """Static keys by node name; the same in every run."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.seeds = {name: name.encode().ljust(32, b"\0") for name in names}
        self.public = {
            name: Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
            for name, seed in self.seeds.items()
        }


def tunnel_settings(plan: Plan, name: str, identities: Identities) -> TunnelSettings:
    """The hub accepts every edge; an edge dials the hub and sends everything there."""
    knobs = plan.knobs[name]
    peers = []
    for other in plan.edges if name == HUB else (HUB,):
        edge_knobs = plan.knobs[name if other == HUB else other]
        peers.append(
            PeerSettings(
                name=other,
                public_key=identities.public[other],
                endpoints=("hub.example:443",) if other == HUB else (),
                allowed_ips=EVERYTHING if other == HUB else inside(other).networks,
                keepalive_ns=knobs.keepalive_ns,
                dead_after_ns=knobs.dead_after_ns,
                resolve_ns=10 * S,
                transport=edge_knobs.transport,  # type: ignore[arg-type]
            )
        )
    return TunnelSettings(
        private_key=identities.seeds[name],
        mtu_bytes=knobs.mtu_bytes,
        suite=knobs.suite,  # type: ignore[arg-type]
        rekey_after_ns=knobs.rekey_after_ns,
        rekey_packets=knobs.rekey_packets,
        accept=name == HUB,
        retry=knobs.retry,  # type: ignore[arg-type]
        max_handshakes_per_second=HANDSHAKES_PER_SECOND,
        peers=tuple(peers),
        compression=compression.bounded(knobs.compression),
    )


def keyed_peers(plan: Plan, name: str) -> tuple[KeyedPeer, ...]:
    """The same, for a node whose keys come by courier."""
    knobs = plan.knobs[name]
    return tuple(
        KeyedPeer(
            name=other,
            allowed_ips=EVERYTHING if other == HUB else inside(other).networks,
            keepalive_ns=knobs.keepalive_ns,
            dead_after_ns=knobs.dead_after_ns,
            is_initiator=other == HUB,
        )
        for other in (plan.edges if name == HUB else (HUB,))
    )
