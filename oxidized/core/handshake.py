"""Who is who: the four messages that turn a TLS connection into a session of two known keys.

Edge and hub each build their side with one object per connection: `EdgeHandshake` and
`HubHandshake`. Both sign the TLS exporter, so whoever sits between two TLS connections holds two
different exporters and can please neither side (PROTOCOL.md section 5). Nothing is installed here;
the caller does that with the `Agreed` it gets. What a remote does wrong raises `Rejected`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from oxidized.core.keychain import EpochKeys, derive
from oxidized.core.messages import KNOCK_BYTES, SIGNATURE_BYTES, VERSION, Hello, Proof, Welcome
from oxidized.core.plane import Compression, Suite
from oxidized.core.settings import SuitePolicy

Entropy = Callable[[int], bytes]

EXPORTER_BYTES = 32
EPHEMERAL_SECRET_BYTES = 32
SUITE_OF_POLICY = {"aes-256-gcm": Suite.AES_256_GCM, "chacha20-poly1305": Suite.CHACHA20_POLY1305}

_LABEL_KNOCK = b"oxidized/1 knock"
_LABEL_HUB = b"oxidized/1 hub"
_LABEL_EDGE = b"oxidized/1 edge"


class Rejected(Exception):
    """The other side did not prove what it had to; `args[0]` is the name it is counted under."""

    @property
    def reason(self) -> str:
        return str(self.args[0])


class Identity:
    """Our static Ed25519 key. Signing only; the seed does not leave the object."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class Ephemeral:
    """One X25519 key pair for one agreement."""

    __slots__ = ("_key", "public")

    def __init__(self, entropy: Entropy) -> None:
        self._key = X25519PrivateKey.from_private_bytes(entropy(EPHEMERAL_SECRET_BYTES))
        self.public = self._key.public_key().public_bytes_raw()

    def shared(self, other: bytes) -> bytes:
        """The agreed secret; Rejected for a point of small order (RFC 7748, section 6.1)."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(other))
        except ValueError:
            raise Rejected("ephemeral-bad") from None


def compression(ours: Hello | Welcome, theirs: Hello | Welcome) -> Compression:
    """What the other end takes of us, and what we said that we take."""
    return Compression(
        tx_flows=theirs.flows,
        rx_flows=ours.flows,
        tx_dictionaries=theirs.dictionaries,
        rx_dictionaries=ours.dictionaries,
    )


@dataclass(frozen=True, slots=True, repr=False)
class Agreed:
    """What a good handshake yields; `mtu_bytes`: the smaller of both. No repr: it holds keys.

    `compression`: what each end takes of the other.
    """

    static: bytes
    suite: Suite
    rx_index: int
    tx_index: int
    mtu_bytes: int
    compression: Compression
    chain: bytes
    keys: EpochKeys


@dataclass(frozen=True, slots=True)
class Offer:
    """What we are ready to use: suites by policy, the better one first, and the largest inner packet.

    `flows`, `dictionaries`: what we take, as in HELLO.
    """

    suites: int
    preferred: Suite
    mtu_bytes: int
    flows: int = 0
    dictionaries: int = 0


def offer(
    policy: SuitePolicy, best: Suite, mtu_bytes: int, *, flows: int = 0, dictionaries: int = 0
) -> Offer:
    """`best` is what this machine does fast; a policy other than auto allows that suite alone."""
    suite = best if policy == "auto" else SUITE_OF_POLICY[policy]
    suites = 0b11 if policy == "auto" else 1 << (suite - 1)
    return Offer(suites, suite, mtu_bytes, flows, dictionaries)


def choose_suite(ours: Offer, theirs: int, preferred: int) -> Suite:
    """The hub's choice: what the edge prefers if we have it (the slower machine is mostly the edge)."""
    both = ours.suites & theirs
    for suite in (preferred, ours.preferred, Suite.AES_256_GCM, Suite.CHACHA20_POLY1305):
        if suite in (1, 2) and both & (1 << (suite - 1)):
            return Suite(suite)
    raise Rejected("suite-none")


def knock(hub_static: bytes, exporter: bytes, hello_body: bytes) -> bytes:
    """Shows that the edge knows the hub's public key, to nobody but the hub."""
    key = hashlib.sha256(_LABEL_KNOCK + hub_static).digest()
    return hmac.digest(key, exporter + hello_body, "sha256")[:KNOCK_BYTES]


def hub_transcript(exporter: bytes, hello: Hello, welcome: Welcome) -> bytes:
    """What the signature in WELCOME covers."""
    return _LABEL_HUB + exporter + hashlib.sha256(hello.body()).digest() + welcome.signed()


def edge_transcript(exporter: bytes, hello: Hello, welcome: Welcome, edge_static: bytes) -> bytes:
    """What the signature in PROOF covers."""
    digest = hashlib.sha256(hello.body() + welcome.body()).digest()
    return _LABEL_EDGE + exporter + digest + edge_static


def verify(static: bytes, signature: bytes, data: bytes) -> None:
    """Raises Rejected unless `static` signed `data`."""
    try:
        Ed25519PublicKey.from_public_bytes(static).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise Rejected("signature-bad") from None


class EdgeHandshake:
    """The edge's half on one connection."""

    def __init__(self, identity: Identity, hub_static: bytes, ours: Offer, exporter: bytes) -> None:
        assert len(exporter) == EXPORTER_BYTES
        self._identity = identity
        self._hub_static = hub_static
        self._ours = ours
        self._exporter = exporter
        self._ephemeral: Ephemeral | None = None
        self._hello: Hello | None = None

    def hello(self, index: int, entropy: Entropy) -> Hello:
        """The first message; `index` is where we want data packets to name."""
        assert self._hello is None
        self._ephemeral = Ephemeral(entropy)
        bare = Hello(
            VERSION,
            self._ours.suites,
            self._ours.preferred,
            index,
            self._ours.mtu_bytes,
            self._ours.flows,
            self._ours.dictionaries,
            self._ephemeral.public,
            bytes(KNOCK_BYTES),
        )
        self._hello = replace(bare, knock=knock(self._hub_static, self._exporter, bare.knocked()))
        return self._hello

    def welcome(self, welcome: Welcome) -> tuple[Proof, Agreed]:
        """Check the hub's proof, then prove ourselves. Rejected if it is not the hub we know."""
        hello, ephemeral = self._hello, self._ephemeral
        assert hello is not None and ephemeral is not None
        if not hmac.compare_digest(welcome.static, self._hub_static):
            raise Rejected("hub-unknown")
        verify(self._hub_static, welcome.signature, hub_transcript(self._exporter, hello, welcome))
        if welcome.suite not in (1, 2) or not hello.suites & (1 << (welcome.suite - 1)):
            raise Rejected("suite-none")
        chain, keys = derive(self._exporter, ephemeral.shared(welcome.ephemeral), 0)
        self._ephemeral = None
        transcript = edge_transcript(self._exporter, hello, welcome, self._identity.public)
        proof = Proof(self._identity.public, self._identity.sign(transcript))
        return proof, Agreed(
            static=welcome.static,
            suite=Suite(welcome.suite),
            rx_index=hello.index,
            tx_index=welcome.index,
            mtu_bytes=min(self._ours.mtu_bytes, welcome.mtu_bytes),
            compression=compression(hello, welcome),
            chain=chain,
            keys=keys,
        )


class HubHandshake:
    """The hub's half on one connection."""

    def __init__(self, identity: Identity, ours: Offer, exporter: bytes) -> None:
        assert len(exporter) == EXPORTER_BYTES
        self._identity = identity
        self._ours = ours
        self._exporter = exporter
        self._ephemeral: Ephemeral | None = None
        self._hello: Hello | None = None
        self._welcome: Welcome | None = None

    def check_knock(self, hello: Hello) -> None:
        """Rejected unless the caller knows our public key. Cheap: comes before any other work."""
        wanted = knock(self._identity.public, self._exporter, hello.knocked())
        if not hmac.compare_digest(wanted, hello.knock):
            raise Rejected("knock-bad")

    def welcome(self, hello: Hello, index: int, entropy: Entropy) -> Welcome:
        """Prove ourselves to a caller who knocked right."""
        assert self._hello is None
        suite = choose_suite(self._ours, hello.suites, hello.preferred_suite)
        self._ephemeral = Ephemeral(entropy)
        bare = Welcome(
            VERSION,
            suite,
            index,
            self._ours.mtu_bytes,
            self._ours.flows,
            self._ours.dictionaries,
            self._ephemeral.public,
            self._identity.public,
            bytes(SIGNATURE_BYTES),
        )
        signature = self._identity.sign(hub_transcript(self._exporter, hello, bare))
        self._hello, self._welcome = hello, replace(bare, signature=signature)
        return self._welcome

    def proof(self, proof: Proof, known: Container[bytes]) -> Agreed:
        """Check the edge's proof; `known` holds the static keys that may come."""
        hello, welcome, ephemeral = self._hello, self._welcome, self._ephemeral
        assert hello is not None and welcome is not None and ephemeral is not None
        if proof.static not in known:
            raise Rejected("unknown-peer")
        verify(proof.static, proof.signature, edge_transcript(self._exporter, hello, welcome, proof.static))
        chain, keys = derive(self._exporter, ephemeral.shared(hello.ephemeral), 0)
        self._ephemeral = None
        return Agreed(
            static=proof.static,
            suite=Suite(welcome.suite),
            rx_index=welcome.index,
            tx_index=hello.index,
            mtu_bytes=min(self._ours.mtu_bytes, hello.mtu_bytes),
            compression=compression(welcome, hello),
            chain=chain,
            keys=keys,
        )
