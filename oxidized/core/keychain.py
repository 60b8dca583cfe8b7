"""The keys of a session, epoch after epoch (PROTOCOL.md section 4).

Pure functions of their inputs; HKDF is RFC 5869 with SHA-256 from `cryptography`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY_BYTES = 32
EDGE_TO_HUB = 0
HUB_TO_EDGE = 1

_LABEL_CHAIN = b"oxidized/1 chain"
_LABEL_KEY = b"oxidized/1 key"


@dataclass(frozen=True, slots=True, repr=False)
class EpochKeys:
    """Both keys of one epoch. No repr: they are secret."""

    epoch: int
    edge_to_hub: bytes
    hub_to_edge: bytes

    def rx(self, is_edge: bool) -> bytes:
        return self.hub_to_edge if is_edge else self.edge_to_hub

    def tx(self, is_edge: bool) -> bytes:
        return self.edge_to_hub if is_edge else self.hub_to_edge


def _extract(salt: bytes, secret: bytes) -> bytes:
    mac = hmac.HMAC(salt, hashes.SHA256())
    mac.update(secret)
    return mac.finalize()


def _expand(prk: bytes, info: bytes) -> bytes:
    return HKDFExpand(algorithm=hashes.SHA256(), length=KEY_BYTES, info=info).derive(prk)


def derive(salt: bytes, shared: bytes, epoch: int) -> tuple[bytes, EpochKeys]:
    """The chain value and the keys of `epoch`; `salt` is the exporter (epoch 0) or the chain before."""
    prk = _extract(salt, shared)
    number = epoch.to_bytes(4, "big")
    keys = EpochKeys(
        epoch,
        _expand(prk, _LABEL_KEY + number + bytes([EDGE_TO_HUB])),
        _expand(prk, _LABEL_KEY + number + bytes([HUB_TO_EDGE])),
    )
    return _expand(prk, _LABEL_CHAIN), keys
