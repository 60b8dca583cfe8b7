"""How large the packet path is made: room for peers, packets and contexts within a bound of memory.

All of it is allocated at start. What a configuration asks for beyond the bound is cut, never refused.
"""

from __future__ import annotations

import os
from dataclasses import replace

from oxidized.core.plane import Order
from oxidized.core.settings import CompressionSettings, TunnelSettings
from oxidized.ffi.dataplane import DataPlane
from oxidized.io.reload import Bounds
from oxidized.limits import PEERS_MAX, PREFIXES_MAX

# Room for peers and prefixes that a reload adds: twice what is there at start, and never less than this.
PEERS_MIN_EDGE = 8
PEERS_MIN_HUB = 64
ROUTES_MIN = 1024

# The packet path's memory, of one worker. Contexts for headers, of all peers that there is room for, get what
# the rest leaves: a hub of many peers keeps fewer for each.
PLANE_BYTES_MAX = 16 << 20
PLANE_BYTES_MAX_HUB = 24 << 20  # with room for PEERS_MIN_HUB, and for each more:
PLANE_BYTES_PER_PEER = 98_000
REST_BYTES = 5_390_000  # packets, flows, rings, what sockets read into
REST_BYTES_LARGE = 8_260_000  # the same, of large packets
CONTENTS_BYTES = 1_550_000  # repair but for the arena: what is known of its contents, decoders
ORDER_BYTES = 50_000  # flows whose order is kept
HOLES_BYTES = 4_120  # what a path misses, for half of the peers, and for so many paths at least:
HOLES_MIN = 32
INDEX_BYTES = 810_000  # the dictionaries, where payloads are compressed
PEER_BYTES = 76_000  # sessions and send times
CONTEXT_BYTES = 1190  # of one flow, both directions
FLOWS_MIN = 16

# Packet buffers: some rounds of trains at the sockets. Of large packets fewer make a train.
POOL_PKTS = 1024
POOL_PKTS_LARGE = 512
LARGE_MTU_BYTES = 4096
# There is room for what follows a lost packet until that comes back: half of them, 150 ms of 130 Mbit/s.
POOL_PKTS_ORDER = 3328
ORDER_MTU_BYTES_MAX = 1500
POOL_PKT_BYTES = 1880  # of such a packet

REPAIR_BYTES = 3 << 20  # what is kept until it is acknowledged: 0.2 s of 100 Mbit/s

# PROTOCOL.md section 4: nothing is sealed beyond these.
KEY_PACKETS_MAX = 1 << 28
KEY_AGES_MAX = 5  # times rekey_after, and at least:
KEY_AGE_NS_MIN = 600 * 10**9  # a rekey must outlive a control connection that has to be made anew



def _peer_room(settings: TunnelSettings) -> int:
    peers_min = PEERS_MIN_HUB if settings.accept else PEERS_MIN_EDGE
    return min(max(2 * len(settings.peers), peers_min), PEERS_MAX)


def _pool_pkts(settings: TunnelSettings) -> int:
    if settings.mtu_bytes >= LARGE_MTU_BYTES:
        return POOL_PKTS_LARGE
    return POOL_PKTS_ORDER if settings.mtu_bytes <= ORDER_MTU_BYTES_MAX else POOL_PKTS


def _plane_bytes_max(settings: TunnelSettings) -> int:
    if not settings.accept:
        return PLANE_BYTES_MAX
    return PLANE_BYTES_MAX_HUB + (_peer_room(settings) - PEERS_MIN_HUB) * PLANE_BYTES_PER_PEER


def compression_bounded(settings: TunnelSettings) -> CompressionSettings:
    """As asked for, with as many contexts for headers as there is memory for; none with `headers` off."""
    compression = settings.compression
    peers = _peer_room(settings)
    rest_bytes = REST_BYTES if settings.mtu_bytes < LARGE_MTU_BYTES else REST_BYTES_LARGE
    rest_bytes += REPAIR_BYTES + CONTENTS_BYTES
    rest_bytes += INDEX_BYTES if compression.rules else 0
    rest_bytes += max(_pool_pkts(settings) - POOL_PKTS, 0) * POOL_PKT_BYTES
    rest_bytes += ORDER_BYTES + max(peers // 2, HOLES_MIN) * HOLES_BYTES
    most = (_plane_bytes_max(settings) - rest_bytes - peers * PEER_BYTES) // (CONTEXT_BYTES * (peers + 1))
    flows = 0 if compression.headers == "off" else min(compression.flows, max(most, FLOWS_MIN))
    return replace(compression, flows=flows)


def bounds_of(settings: TunnelSettings) -> Bounds:
    """What a reload can not go beyond."""
    routes = sum(len(peer.allowed_ips) for peer in settings.peers)
    return Bounds(
        mtu_bytes=settings.mtu_bytes,
        rekey_after_ns=settings.rekey_after_ns,
        rekey_packets=settings.rekey_packets,
        peers=_peer_room(settings),
        routes=min(max(2 * routes, ROUTES_MIN), PREFIXES_MAX),
    )


def plane_make(settings: TunnelSettings, bounds: Bounds, workers: int, library: str) -> DataPlane:
    """The data plane for `settings` that are bounded already (compression_bounded)."""
    compression = settings.compression
    return DataPlane(
        peers_max=bounds.peers,
        routes_max=bounds.routes,
        pool_pkts=_pool_pkts(settings),
        workers=workers,
        mtu_bytes=settings.mtu_bytes,
        rekey_packets=settings.rekey_packets,
        key_packets_max=KEY_PACKETS_MAX,
        key_age_ns_max=max(KEY_AGES_MAX * settings.rekey_after_ns, KEY_AGE_NS_MIN),
        hold_ns=(
            compression.bundle_wait_voip_ns,
            compression.bundle_wait_gaming_ns,
            compression.bundle_wait_other_ns,
        ),
        flows=compression.flows,
        all_headers=compression.headers == "all",
        order=Order.REPAIRED if settings.repair.order else Order.OFF,
        compress_payload=bool(compression.rules),
        repair_bytes=REPAIR_BYTES,
        hash_key=int.from_bytes(os.urandom(8)),
        library=library,
    )
