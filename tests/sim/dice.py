"""The only dice of a run: libraries that throw their own get ours instead, so that runs replay exactly."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

from aioquic import tls
from aioquic.quic.retry import QuicRetryTokenHandler
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


@contextmanager
def seeded(rng: random.Random) -> Iterator[None]:
    """While inside, os.urandom, aioquic's X25519 keys and its Retry token key come from `rng`."""

    class PrivateKey:
        @staticmethod
        def generate() -> x25519.X25519PrivateKey:
            return x25519.X25519PrivateKey.from_private_bytes(rng.randbytes(32))

    def token_handler(self: QuicRetryTokenHandler) -> None:
        self._aead = AESGCM(rng.randbytes(16))

    curve = SimpleNamespace(X25519PrivateKey=PrivateKey, X25519PublicKey=x25519.X25519PublicKey)
    with (
        mock.patch.object(os, "urandom", rng.randbytes),
        mock.patch.object(tls, "x25519", curve),
        mock.patch.object(QuicRetryTokenHandler, "__init__", token_handler),
    ):
        yield
