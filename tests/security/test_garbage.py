"""Whatever comes in: a counted result, never an exception, and who means well still comes up."""

from __future__ import annotations

import struct

from aioquic import tls
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core import messages
from oxidized.core.plane import Address
from tests.security.test_identity import Caller, hub_alone
from tests.unit.core.world import Node, World

STRANGER = Address("203.0.113.77", 7777)
few = settings(max_examples=60)


def recorded() -> tuple[list[bytes], list[bytes]]:
    """QUIC datagrams of a good handshake and some traffic: from the edge, from the hub."""
    world = World()
    hub, edge = world.pair(transport="quic")
    world.run(3)
    return (
        [packet.data for packet in edge.sent if packet.is_quic],
        [packet.data for packet in hub.sent if packet.is_quic],
    )


FROM_EDGE, FROM_HUB = recorded()

mutations = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "grow", "swap"]), st.integers(0, 1400), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)


Script = list[tuple[str, int, int]]


def mutate(data: bytes, script: Script) -> bytes:
    out = bytearray(data)
    for step, where, value in script:
        at = where % max(1, len(out))
        if step == "flip" and out:
            out[at] ^= value | 1
        elif step == "cut":
            del out[at:]
        elif step == "grow":
            out += bytes([value]) * (where % 200)
        elif step == "swap" and out:
            out[at:] = out[at:][::-1]
    return bytes(out)


def comes_up_after(world: World, hub: Node, edge: Node) -> None:
    assert world.run(40, until=lambda: edge.state() == "up" and hub.state() == "up")
    assert hub.plane.installs == 1


@given(st.lists(st.binary(max_size=1500), max_size=20))
def test_random_bytes(garbage: list[bytes]) -> None:
    world = World()
    hub, edge = world.pair()
    for data in garbage:
        for node in (hub, edge):
            node.tunnel.receive(data, STRANGER, world.now_ns)
    for node in (hub, edge):
        assert sum(node.tunnel.counters.values()) >= len(garbage)
    comes_up_after(world, hub, edge)


@few
@given(st.lists(st.tuples(st.sampled_from(FROM_EDGE + FROM_HUB), mutations), min_size=1, max_size=12))
def test_changed_packets_of_a_real_conversation(changed: list[tuple[bytes, Script]]) -> None:
    world = World()
    hub, edge = world.pair()
    for turn, (data, script) in enumerate(changed):
        world.run(0.02)
        for node, source in ((hub, edge.address), (edge, hub.address)):
            node.tunnel.receive(mutate(data, script), source if turn % 2 else STRANGER, world.now_ns)
            node.pump()
    comes_up_after(world, hub, edge)


def sealed_initial(payload: bytes, cid: bytes) -> bytes:
    """An Initial that opens (its keys follow from the connection id) and holds these bytes as frames."""
    crypto = CryptoPair()
    crypto.setup_initial(cid=cid, is_client=True, version=1)
    payload = payload.ljust(1180, b"\0")
    header = (
        b"\xc1" + struct.pack(">I", 1) + bytes([len(cid)]) + cid + b"\x08" + bytes(8) + b"\x00"
        + struct.pack(">HH", (len(payload) + 2 + 16) | 0x4000, 0)
    )  # fmt: skip
    return crypto.encrypt_packet(header, payload, 0)


@given(st.binary(max_size=1180), st.binary(min_size=8, max_size=20))
def test_any_frames_in_an_initial_that_opens(payload: bytes, cid: bytes) -> None:
    world, hub = hub_alone()
    hub.tunnel.receive(sealed_initial(payload, cid), STRANGER, world.now_ns)
    hub.pump()
    world.run(10)
    assert hub.tunnel._core.quic.connections == 0
    assert hub.plane.installs == 0


@given(st.binary(max_size=1100))
def test_any_bytes_where_tls_expects_a_client_hello(hello: bytes) -> None:
    world, hub = hub_alone()
    frame = b"\x06\x00" + struct.pack(">H", len(hello) | 0x4000) + hello
    hub.tunnel.receive(sealed_initial(frame, b"abcdefgh"), STRANGER, world.now_ns)
    hub.pump()
    world.run(10)
    assert hub.tunnel._core.quic.connections == 0


def send_frames(caller: Caller, payload: bytes) -> None:
    """A 1-RTT packet of the caller's connection with these bytes as frames."""
    quic = caller.quic
    builder = QuicPacketBuilder(
        host_cid=quic.host_cid,
        is_client=True,
        max_datagram_size=1350,
        packet_number=quic._packet_number,
        peer_cid=quic._peer_cid.cid,
        version=1,
    )
    builder.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[tls.Epoch.ONE_RTT])
    builder._buffer.push_bytes(payload)
    datagrams, _ = builder.flush()
    quic._packet_number += 1
    for data in datagrams:
        caller.hub.tunnel.receive(data, caller.address, caller.world.now_ns)


frames = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=60),
        st.builds(lambda kind, rest: bytes([kind]) + rest, st.integers(0, 0x31), st.binary(max_size=60)),
    ),
    min_size=1,
    max_size=8,
)


@few
@given(frames)
def test_any_frames_on_an_established_connection(payloads: list[bytes]) -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    for payload in payloads:
        send_frames(caller, payload)
        hub.pump()
    world.run(30)
    assert hub.tunnel._core.quic.connections == 0
    assert hub.plane.installs == 0


@few
@given(st.lists(st.binary(min_size=1, max_size=1200), min_size=1, max_size=4))
def test_any_bytes_on_the_control_stream(parts: list[bytes]) -> None:
    world, hub = hub_alone()
    caller = Caller(world, hub)
    for part in parts:
        caller.say(part)
    assert hub.plane.installs == 0
    assert caller.heard == b""


some_message = st.one_of(
    st.builds(messages.Rekey, st.integers(0, 3), st.binary(min_size=32, max_size=32)),
    st.builds(messages.RekeyReply, st.integers(0, 3), st.binary(min_size=32, max_size=32)),
    st.builds(messages.RekeyDone, st.integers(0, 3)),
    st.builds(messages.RekeyWanted, st.integers(0, 3)),
    st.builds(messages.Proof, st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)),
).map(messages.encode)


@few
@given(st.booleans(), st.lists(st.one_of(some_message, st.binary(min_size=1, max_size=80)), max_size=5))
def test_a_proved_peer_that_misbehaves_costs_only_its_connection(from_hub: bool, said: list[bytes]) -> None:
    world = World()
    hub, edge = world.pair()
    assert world.run(10, until=lambda: edge.state() == "up" and hub.state() == "up")
    liar, victim = (hub, edge) if from_hub else (edge, hub)
    for data in said:
        channel = liar.tunnel._peers["edge" if from_hub else "hub"]._channel
        if channel is not None:
            channel.link.send_message(data)
            liar.tunnel.tick(world.now_ns)
            liar.pump()
        world.run(0.2)
    world.run(60)
    assert victim.state() == "up"
    assert edge.data(b"after") is True
    world.run(1)
    assert b"after" in hub.payloads()
