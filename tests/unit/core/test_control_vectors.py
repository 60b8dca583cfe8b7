"""tests/golden/control_vectors.json: what other implementations of the control channel must reproduce.

Recomputed here twice: by the product, and by hand from hashlib, hmac and int.to_bytes alone.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from oxidized.core import handshake, messages
from oxidized.core.keychain import derive
from oxidized.core.plane import Address, Suite

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "golden" / "control_vectors.json").read_text()
)
X = bytes.fromhex


def extract_by_hand(salt: bytes, secret: bytes) -> bytes:
    return hmac.new(salt, secret, hashlib.sha256).digest()


def expand_by_hand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def test_hkdf_by_hand_is_rfc_5869_test_case_1() -> None:
    prk = extract_by_hand(bytes(range(13)), b"\x0b" * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    okm = expand_by_hand(prk, bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


@pytest.mark.parametrize("epoch", VECTORS["keys"]["epochs"], ids=lambda epoch: f"epoch-{epoch['epoch']}")
def test_keys(epoch: dict[str, Any]) -> None:
    salt, shared, number = X(epoch["salt"]), X(epoch["shared"]), epoch["epoch"]
    chain, keys = derive(salt, shared, number)
    assert (chain.hex(), keys.edge_to_hub.hex(), keys.hub_to_edge.hex(), keys.epoch) == (
        epoch["chain"],
        epoch["edge_to_hub"],
        epoch["hub_to_edge"],
        number,
    )
    prk = extract_by_hand(salt, shared)
    info = b"oxidized/1 key" + number.to_bytes(4, "big")
    assert expand_by_hand(prk, b"oxidized/1 chain", 32).hex() == epoch["chain"]
    assert expand_by_hand(prk, info + b"\0", 32).hex() == epoch["edge_to_hub"]
    assert expand_by_hand(prk, info + b"\1", 32).hex() == epoch["hub_to_edge"]


def test_the_epochs_hang_together() -> None:
    epochs = VECTORS["keys"]["epochs"]
    assert epochs[0]["salt"] == VECTORS["handshake"]["exporter"]
    for before, after in itertools.pairwise(epochs):
        assert after["salt"] == before["chain"]


def test_the_agreement_of_epoch_0_is_that_of_the_handshake() -> None:
    shake = VECTORS["handshake"]
    edge = X25519PrivateKey.from_private_bytes(X(shake["edge_ephemeral_secret"]))
    hub = X25519PrivateKey.from_private_bytes(X(shake["hub_ephemeral_secret"]))
    shared = edge.exchange(X25519PublicKey.from_public_bytes(hub.public_key().public_bytes_raw()))
    assert shared.hex() == VECTORS["keys"]["epochs"][0]["shared"]


def _message(name: str) -> bytes:
    return X(VECTORS["messages"][name])


def test_the_handshake_makes_these_messages() -> None:
    """The product, given the secrets of the vector, says these very bytes."""
    shake = VECTORS["handshake"]
    hub, edge = handshake.Identity(X(shake["hub_seed"])), handshake.Identity(X(shake["edge_seed"]))
    takes = {"flows": shake["flows"], "dictionaries": shake["dictionaries"]}
    ours, exporter = handshake.offer("auto", Suite.AES_256_GCM, 1420, **takes), X(shake["exporter"])
    caller = handshake.EdgeHandshake(edge, hub.public, ours, exporter)
    called = handshake.HubHandshake(hub, ours, exporter)
    hello = caller.hello(shake["edge_index"], lambda count: X(shake["edge_ephemeral_secret"]))
    assert messages.encode(hello) == _message("HELLO")
    called.check_knock(hello)
    welcome = called.welcome(hello, shake["hub_index"], lambda count: X(shake["hub_ephemeral_secret"]))
    assert messages.encode(welcome) == _message("WELCOME")
    proof, at_edge = caller.welcome(welcome)
    assert messages.encode(proof) == _message("PROOF")
    at_hub = called.proof(proof, {edge.public})
    assert (at_edge.keys, at_edge.chain) == (at_hub.keys, at_hub.chain)
    first = VECTORS["keys"]["epochs"][0]
    assert (at_hub.keys.edge_to_hub.hex(), at_hub.chain.hex()) == (first["edge_to_hub"], first["chain"])


def test_the_layout_by_hand() -> None:
    shake = VECTORS["handshake"]
    hello, welcome, proof = _message("HELLO"), _message("WELCOME"), _message("PROOF")
    knocked = (
        b"\x01\x03\x01"
        + shake["edge_index"].to_bytes(4, "big")
        + (1420).to_bytes(2, "big")
        + shake["flows"].to_bytes(2, "big")
        + shake["dictionaries"].to_bytes(4, "big")
        + X(shake["edge_ephemeral"])
    )
    exporter, hub_static, edge_static = X(shake["exporter"]), X(shake["hub_static"]), X(shake["edge_static"])
    key = hashlib.sha256(b"oxidized/1 knock" + hub_static).digest()
    knock = hmac.new(key, exporter + knocked, hashlib.sha256).digest()[:16]
    assert hello == b"\x01" + (63).to_bytes(2, "big") + knocked + knock

    bare = (
        b"\x01\x01"
        + shake["hub_index"].to_bytes(4, "big")
        + (1420).to_bytes(2, "big")
        + shake["flows"].to_bytes(2, "big")
        + shake["dictionaries"].to_bytes(4, "big")
        + X(shake["hub_ephemeral"])
        + hub_static
    )
    assert welcome[:3] == b"\x02" + (142).to_bytes(2, "big")
    assert welcome[3:-64] == bare
    signed = b"oxidized/1 hub" + exporter + hashlib.sha256(hello[3:]).digest() + bare
    Ed25519PublicKey.from_public_bytes(hub_static).verify(welcome[-64:], signed)

    assert proof[:3] == b"\x03" + (96).to_bytes(2, "big")
    assert proof[3:35] == edge_static
    digest = hashlib.sha256(hello[3:] + welcome[3:]).digest()
    signed = b"oxidized/1 edge" + exporter + digest + edge_static
    Ed25519PublicKey.from_public_bytes(edge_static).verify(proof[-64:], signed)


PLAIN = {
    "ACCEPT-4": (
        messages.Accept(Address("203.0.113.9", 40000)),
        b"\x04\x00\x13\x04" + bytes([203, 0, 113, 9]) + bytes(12) + (40000).to_bytes(2, "big"),
    ),
    "ACCEPT-6": (
        messages.Accept(Address("2001:db8::7", 443)),
        b"\x04\x00\x13\x06" + X("20010db8000000000000000000000007") + (443).to_bytes(2, "big"),
    ),
    "REKEY": (messages.Rekey(1, bytes(range(32))), b"\x05\x00\x24\x00\x00\x00\x01" + bytes(range(32))),
    "REKEY-REPLY": (
        messages.RekeyReply(2, bytes(range(32, 64))),
        b"\x06\x00\x24\x00\x00\x00\x02" + bytes(range(32, 64)),
    ),
    "REKEY-DONE": (messages.RekeyDone(3), b"\x07\x00\x04\x00\x00\x00\x03"),
    "REKEY-WANTED": (messages.RekeyWanted(0xFFFFFFFF), b"\x08\x00\x04\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_messages(name: str) -> None:
    message, by_hand = PLAIN[name]
    assert messages.encode(message) == by_hand == _message(name)
    assert messages.decode(by_hand[0], by_hand[3:]) == message


def test_no_vector_is_left_out() -> None:
    assert set(VECTORS["messages"]) == set(PLAIN) | {"HELLO", "WELCOME", "PROOF"}
