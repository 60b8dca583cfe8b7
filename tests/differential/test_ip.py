"""Which bytes are a whole IP packet: the plane against packets that scapy builds, whole and damaged."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)  # fmt: skip
from scapy.packet import Raw

from tests.native.rig import INNER_A, INNER_B, Solo, drops, ipv4

UPPER = st.sampled_from([UDP(sport=1, dport=2), TCP(sport=1, dport=2), ICMP(), Raw(b"")])
OPTIONS = st.lists(st.sampled_from([IPOption_NOP(), IPOption_RR(length=7, routers=["0.0.0.0"])]), max_size=4)
EXTENSIONS = st.lists(
    st.sampled_from([IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(), IPv6ExtHdrFragment()]),
    max_size=4,
)


@st.composite
def packets4(draw: st.DrawFn) -> bytes:
    head = IP(
        src=INNER_B, dst=INNER_A, tos=draw(st.integers(0, 255)), ttl=draw(st.integers(0, 255)),
        options=draw(OPTIONS), frag=draw(st.integers(0, 8191)), flags=draw(st.integers(0, 7)),
    )  # fmt: skip
    return bytes(head / draw(UPPER) / draw(st.binary(max_size=300)))


@st.composite
def packets6(draw: st.DrawFn) -> bytes:
    packet = IPv6(
        src="fd00::2", dst="fd00::1", tc=draw(st.integers(0, 255)), fl=draw(st.integers(0, 2**20 - 1))
    )
    for extension in draw(EXTENSIONS):
        packet /= extension
    return bytes(packet / draw(st.sampled_from([UDP(), ICMPv6EchoRequest()])) / draw(st.binary(max_size=300)))


PACKETS = st.one_of(packets4(), packets6())


@settings(max_examples=150)
@given(st.lists(PACKETS, min_size=1, max_size=6))
def test_whole_packets_are_carried_unchanged(packets: list[bytes]) -> None:
    rig = Solo()
    rig.send(*packets)
    assert [opened.inner for opened in rig.opened()] == packets
    assert not drops(rig.plane)


def damaged(packet: bytes, cut: int, grow: int) -> bytes:
    return packet[: len(packet) - cut] if cut else packet + bytes(grow)


@settings(max_examples=150)
@given(PACKETS, st.integers(0, 400), st.integers(1, 50))
def test_cut_or_longer_than_it_says_is_bad(packet: bytes, cut: int, grow: int) -> None:
    rig = Solo()
    bad = damaged(packet, min(cut, len(packet)), grow)
    rig.send(bad)
    assert drops(rig.plane) == {("transmit", "bad-ip"): 1}
    if bad:
        rig.hear(bad)
        assert drops(rig.plane)["receive", "bad-ip"] == 1
        assert rig.delivered() == []


@settings(max_examples=100)
@given(packets4(), st.integers(0, 4))
def test_ipv4_header_shorter_than_a_header(packet: bytes, words: int) -> None:
    rig = Solo()
    rig.send(bytes([0x40 | words]) + packet[1:])
    assert drops(rig.plane) == {("transmit", "bad-ip"): 1}


@settings(max_examples=60)
@given(PACKETS, st.integers(0, 15).filter(lambda version: version not in (4, 6)))
def test_other_versions(packet: bytes, version: int) -> None:
    rig = Solo()
    rig.send(bytes([version << 4 | packet[0] & 15]) + packet[1:])
    assert drops(rig.plane) == {("transmit", "bad-ip"): 1}


def test_header_that_runs_past_the_packet() -> None:
    rig = Solo()
    bare = ipv4(INNER_B, INNER_A, b"")
    rig.send(bare, bytes([0x46]) + bare[1:], bytes([0x4F]) + bare[1:])
    assert drops(rig.plane) == {("transmit", "bad-ip"): 2}
    assert len(rig.opened()) == 1


def test_ipv6_jumbogram_and_empty_payload() -> None:
    rig = Solo()
    bare = bytes(IPv6(src="fd00::2", dst="fd00::1", plen=0))
    rig.send(bare, bare + b"a jumbogram says 0 and its length in an option")
    assert drops(rig.plane) == {("transmit", "bad-ip"): 1}
    assert [opened.inner for opened in rig.opened()] == [bare]
