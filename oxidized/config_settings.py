"""From the configuration to what the pure core works with: units made one, the private key read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from oxidized import keys
from oxidized.core.plane import RepairMode
from oxidized.core.settings import CompressionSettings, PeerSettings, RepairSettings, TunnelSettings
from oxidized.errors import ConfigError, KeyFileError, Problem

if TYPE_CHECKING:
    from oxidized.config_schema import CompressionConfig, Config, PeerConfig, RepairConfig

MTU_AUTO_BYTES = 1420  # 1500 less IPv6 40, UDP 8, our 24, and 8 to spare for a PPPoE line


def settings_of(config: Config, environ: Mapping[str, str] | None = None) -> TunnelSettings:
    """Raises ConfigError when the private key can not be used."""
    private = private_key(config, os.environ if environ is None else environ)
    listen, crypto, mtu = config.listen, config.crypto, config.interface.mtu
    return TunnelSettings(
        private_key=private,
        mtu_bytes=MTU_AUTO_BYTES if mtu == "auto" else mtu,
        suite=crypto.suite,
        rekey_after_ns=crypto.rekey_after.ns,
        rekey_packets=crypto.rekey_packets,
        accept=listen is not None,
        # An edge takes no calls: of these two it needs only a value.
        retry=listen.retry if listen else "never",
        max_handshakes_per_second=listen.max_handshakes_per_second if listen else 1,
        peers=tuple(_peer(peer) for peer in config.peers),
        compression=_compression(config.compression),
        repair=_repair(config.repair),
        class_rules=tuple(classed.rule for classed in config.traffic.classes),
    )


def private_key(config: Config, environ: Mapping[str, str]) -> bytes:
    """The key that `identity.key` names, checked against the peers'."""
    try:
        private = keys.read(config.identity.key, environ)
    except KeyFileError as error:
        raise _of_identity(config, str(error)) from None
    own = keys.public_text(keys.public_of(private))
    for peer in config.peers:
        if peer.public_key == own:
            raise _of_identity(config, f"is also the key of peer {peer.name}: every end has a key of its own")
    return private


def _of_identity(config: Config, message: str) -> ConfigError:
    return ConfigError(Problem(config.file, config.identity_line, "identity.key", message))


def _compression(compression: CompressionConfig) -> CompressionSettings:
    return CompressionSettings(
        headers=compression.headers,
        flows=compression.flows,
        rules=tuple(rule for named in compression.payload for rule in named.rules),
        accept_payload=compression.accept_payload,
        bundle=compression.bundle,
        bundle_wait_voip_ns=compression.bundle_wait_voip.ns,
        bundle_wait_gaming_ns=compression.bundle_wait_gaming.ns,
        bundle_wait_other_ns=compression.bundle_wait_other.ns,
    )


def _repair(repair: RepairConfig) -> RepairSettings:
    weight = 2 if repair.metered else 1
    return RepairSettings(
        mode=RepairMode[repair.mode.upper()],
        overhead=repair.max_overhead / 100 / weight,
        overhead_ordered=repair.max_overhead_bulk / 100 / weight,
        order=repair.order,
        predictor=repair.predictor,
    )


def _peer(peer: PeerConfig) -> PeerSettings:
    return PeerSettings(
        name=peer.name,
        public_key=keys.public_parse(peer.public_key),
        endpoints=peer.endpoint,
        allowed_ips=peer.allowed_ips,
        keepalive_ns=peer.keepalive.ns,
        dead_after_ns=peer.dead_after.ns,
        resolve_ns=peer.resolve.ns,
        transport=peer.transport,
        enable=peer.enable,
    )
