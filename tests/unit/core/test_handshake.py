"""The four messages without a network: who is refused, and that both ends agree."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from oxidized.core.handshake import (
    Agreed,
    EdgeHandshake,
    HubHandshake,
    Identity,
    Rejected,
    choose_suite,
    edge_transcript,
    hub_transcript,
    offer,
)
from oxidized.core.messages import Hello, Proof, Welcome
from oxidized.core.plane import Suite
from tests.unit.core.world import seed_of

entropy = random.Random(3).randbytes
HUB, EDGE, STRANGER = (Identity(seed_of(name)) for name in ("hub", "edge", "stranger"))
OURS = offer("auto", Suite.AES_256_GCM, 1420)
EXPORTER = bytes(range(32))


def ends(exporter_at_hub: bytes = EXPORTER, hub: Identity = HUB) -> tuple[EdgeHandshake, HubHandshake]:
    return EdgeHandshake(EDGE, HUB.public, OURS, EXPORTER), HubHandshake(hub, OURS, exporter_at_hub)


def greet(edge: EdgeHandshake, hub: HubHandshake) -> tuple[Hello, Welcome]:
    hello = edge.hello(7, entropy)
    hub.check_knock(hello)
    return hello, hub.welcome(hello, 9, entropy)


def complete(edge: EdgeHandshake, hub: HubHandshake) -> tuple[Agreed, Agreed]:
    _, welcome = greet(edge, hub)
    proof, at_edge = edge.welcome(welcome)
    return at_edge, hub.proof(proof, {EDGE.public})


def test_both_ends_agree_on_everything() -> None:
    at_edge, at_hub = complete(*ends())
    assert (at_edge.keys, at_edge.chain, at_edge.suite) == (at_hub.keys, at_hub.chain, at_hub.suite)
    assert (at_edge.rx_index, at_edge.tx_index) == (at_hub.tx_index, at_hub.rx_index) == (7, 9)
    assert (at_edge.static, at_hub.static) == (HUB.public, EDGE.public)
    assert at_edge.keys.edge_to_hub != at_edge.keys.hub_to_edge


def test_no_two_sessions_share_keys_even_on_one_exporter() -> None:
    one, other = complete(*ends())[0], complete(*ends())[0]
    assert one.keys != other.keys and one.chain != other.chain


def test_the_smaller_mtu_counts() -> None:
    edge = EdgeHandshake(EDGE, HUB.public, offer("auto", Suite.AES_256_GCM, 9000), EXPORTER)
    hub = HubHandshake(HUB, offer("auto", Suite.AES_256_GCM, 1400), EXPORTER)
    at_edge, at_hub = complete(edge, hub)
    assert at_edge.mtu_bytes == at_hub.mtu_bytes == 1400


def test_a_knock_over_another_exporter_is_refused() -> None:
    edge, hub = ends(exporter_at_hub=bytes(32))
    with pytest.raises(Rejected, match="knock-bad"):
        hub.check_knock(edge.hello(7, entropy))


@pytest.mark.parametrize("field", ["suites", "preferred_suite", "index", "mtu_bytes", "ephemeral", "knock"])
def test_the_knock_covers_every_field_of_hello(field: str) -> None:
    edge, hub = ends()
    hello = edge.hello(7, entropy)
    value = getattr(hello, field)
    changed = bytes([value[0] ^ 1]) + value[1:] if isinstance(value, bytes) else value ^ 2
    with pytest.raises(Rejected, match="knock-bad"):
        hub.check_knock(replace(hello, **{field: changed}))


@pytest.mark.parametrize("field", ["suite", "index", "mtu_bytes", "ephemeral", "signature"])
def test_the_hubs_signature_covers_every_field_of_welcome(field: str) -> None:
    edge, hub = ends()
    _, welcome = greet(edge, hub)
    value = getattr(welcome, field)
    changed = bytes([value[0] ^ 1]) + value[1:] if isinstance(value, bytes) else value ^ 3
    with pytest.raises(Rejected, match="signature-bad"):
        edge.welcome(replace(welcome, **{field: changed}))


def test_a_hub_with_another_key_is_refused() -> None:
    edge, _ = ends()
    stranger = HubHandshake(STRANGER, OURS, EXPORTER)
    welcome = stranger.welcome(edge.hello(7, entropy), 9, entropy)
    with pytest.raises(Rejected, match="hub-unknown"):
        edge.welcome(welcome)


def test_a_hub_that_only_claims_the_key_is_refused() -> None:
    edge, _ = ends()
    stranger = HubHandshake(STRANGER, OURS, EXPORTER)
    welcome = replace(stranger.welcome(edge.hello(7, entropy), 9, entropy), static=HUB.public)
    with pytest.raises(Rejected, match="signature-bad"):
        edge.welcome(welcome)


def test_a_hub_that_picks_a_suite_nobody_offered_is_refused() -> None:
    edge = EdgeHandshake(EDGE, HUB.public, offer("aes-256-gcm", Suite.AES_256_GCM, 1420), EXPORTER)
    hub = HubHandshake(HUB, OURS, EXPORTER)
    hello = edge.hello(7, entropy)
    welcome = hub.welcome(replace(hello, suites=2, preferred_suite=2), 9, entropy)
    assert welcome.suite == 2
    with pytest.raises(Rejected):
        edge.welcome(welcome)


def test_an_edge_nobody_knows_is_refused() -> None:
    edge, hub = ends()
    _, welcome = greet(edge, hub)
    proof, _ = edge.welcome(welcome)
    with pytest.raises(Rejected, match="unknown-peer"):
        hub.proof(proof, {STRANGER.public})


def test_an_edge_that_only_claims_a_key_is_refused() -> None:
    stranger = EdgeHandshake(STRANGER, HUB.public, OURS, EXPORTER)
    hub = HubHandshake(HUB, OURS, EXPORTER)
    _, welcome = greet(stranger, hub)
    proof, _ = stranger.welcome(welcome)
    with pytest.raises(Rejected, match="signature-bad"):
        hub.proof(Proof(EDGE.public, proof.signature), {EDGE.public})


def test_the_hubs_signature_is_no_proof_of_an_edge() -> None:
    """A hub that is also known as an edge: its WELCOME can not be handed back to it as a PROOF."""
    edge, hub = ends()
    _, welcome = greet(edge, hub)
    with pytest.raises(Rejected, match="signature-bad"):
        hub.proof(Proof(HUB.public, welcome.signature), {HUB.public, EDGE.public})


def test_a_proof_of_another_connection_is_refused() -> None:
    edge, _ = ends()
    other_hub = HubHandshake(HUB, OURS, bytes(32))
    other_edge = EdgeHandshake(EDGE, HUB.public, OURS, bytes(32))
    _, welcome = greet(other_edge, other_hub)
    proof, _ = other_edge.welcome(welcome)
    hub = HubHandshake(HUB, OURS, EXPORTER)
    greet(edge, hub)
    with pytest.raises(Rejected, match="signature-bad"):
        hub.proof(proof, {EDGE.public})


def test_a_point_of_small_order_is_refused_by_a_hub() -> None:
    edge, hub = ends()
    hello = replace(edge.hello(7, entropy), ephemeral=bytes(32))
    welcome = hub.welcome(hello, 9, entropy)
    transcript = edge_transcript(EXPORTER, hello, welcome, EDGE.public)
    with pytest.raises(Rejected, match="ephemeral-bad"):
        hub.proof(Proof(EDGE.public, EDGE.sign(transcript)), {EDGE.public})


def test_a_point_of_small_order_is_refused_by_an_edge() -> None:
    edge, hub = ends()
    hello, welcome = greet(edge, hub)
    crooked = replace(welcome, ephemeral=bytes(32))
    signature = HUB.sign(hub_transcript(EXPORTER, hello, crooked))
    with pytest.raises(Rejected, match="ephemeral-bad"):
        edge.welcome(replace(crooked, signature=signature))


@pytest.mark.parametrize(
    ("policy", "suites", "preferred", "wanted"),
    [
        ("auto", 0b11, 2, Suite.CHACHA20_POLY1305),
        ("auto", 0b11, 1, Suite.AES_256_GCM),
        ("auto", 0b01, 2, Suite.AES_256_GCM),
        ("auto", 0b10, 1, Suite.CHACHA20_POLY1305),
        ("chacha20-poly1305", 0b11, 1, Suite.CHACHA20_POLY1305),
        ("auto", 0xFF, 200, Suite.AES_256_GCM),
    ],
)
def test_the_suite_is_what_both_have_and_the_edge_likes(policy, suites, preferred, wanted) -> None:
    assert choose_suite(offer(policy, Suite.AES_256_GCM, 1420), suites, preferred) is wanted


@pytest.mark.parametrize("suites", [0, 0b100])
def test_without_a_common_suite_there_is_no_session(suites: int) -> None:
    with pytest.raises(Rejected, match="suite-none"):
        choose_suite(OURS, suites, 1)


def test_secrets_have_no_repr() -> None:
    agreed, _ = complete(*ends())
    for secret in (agreed, agreed.keys):
        assert agreed.keys.edge_to_hub.hex() not in repr(secret)
        assert str(agreed.keys.edge_to_hub) not in repr(secret)
