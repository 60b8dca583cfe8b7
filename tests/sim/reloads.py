"""What operators do while a tunnel runs: change settings, take peers out and put them back."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from oxidized.core.settings import PeerSettings, TunnelSettings
from oxidized.core.tunnel import Tunnel
from tests.sim.link import S


class Step(Protocol):
    """Something done to a tunnel."""

    def __call__(self, tunnel: Tunnel, local_ns: int) -> None: ...


def reload(
    tunnel: Tunnel, settings: TunnelSettings, peer: str, dice: int, local_ns: int
) -> tuple[TunnelSettings, Step | None]:
    """One change by `dice`; returns the settings that hold in the end, and what is to be done later."""
    kind, dice = dice % 6, dice // 6
    old = next(p for p in settings.peers if p.name == peer)
    if kind == 0:
        changed = replace(
            settings,
            rekey_after_ns=(1, 3, 20)[dice % 3] * S,
            retry=("never", "under-load", "always")[dice % 3],
            max_handshakes_per_second=(20, 50, 200)[dice % 3],
        )
        tunnel.tunnel_update(changed, local_ns)
        return changed, None
    if kind in (1, 2):
        times = replace(old, keepalive_ns=(1, 5, 20)[dice % 3] * S, dead_after_ns=(2, 5)[dice % 2] * S)
        tunnel.peer_update(times, local_ns)
        return _with(settings, times), None
    if kind == 3:
        moved = replace(old, transport=("auto", "udp", "quic")[dice % 3])
        tunnel.peer_update(moved, local_ns)
        return _with(settings, moved), None
    if kind == 4:
        tunnel.peer_remove(peer, local_ns)
        return settings, lambda tunnel, local_ns: tunnel.peer_add(old, local_ns)
    tunnel.peer_update(replace(old, enable=False), local_ns)
    return settings, lambda tunnel, local_ns: tunnel.peer_update(old, local_ns)


def _with(settings: TunnelSettings, changed: PeerSettings) -> TunnelSettings:
    peers = tuple(changed if p.name == changed.name else p for p in settings.peers)
    return replace(settings, peers=peers)
