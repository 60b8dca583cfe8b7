"""Header compression of packets that scapy makes: each chain, option and oddity comes back bit by bit.

Each example is a short flow: one drawn packet and what the next ones change of it, with some acknowledged
and some lost, so that set-ups, base forms and extended forms all take part.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import GRE
from scapy.layers.rtp import RTP, RTPExtension
from scapy.packet import Packet, Raw

from oxidized.ffi.headers import Headers

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
few = st.integers(0, 3)
ports = st.sampled_from((0, 53, 1024, 5004, 16384, 16386, 40001, 65535))
types = st.sampled_from((8, 0, 3))
bodies = st.one_of(st.binary(max_size=60), st.sampled_from((bytes(20), bytes(1200))))
addresses = st.sampled_from(("10.0.0.1", "10.0.0.2", "192.0.2.7", "255.255.255.255"))
addresses_v6 = st.sampled_from(("fd00::1", "fd00::2", "2001:db8::7", "ff02::1"))
counters = st.sampled_from((0, 1, 7, 0x7FFF, 0xFFFE, 0xFFFF, 0xFFFFFFFE, 0xFFFFFFFF))

ipv4_options = st.lists(
    st.one_of(
        st.just(IPOption(b"\x01")),
        st.just(IPOption(b"\x94\x04\x00\x00")),
        st.just(IPOption(b"\x88\x04\x12\x34")),
    ),
    max_size=3,
)


def is_even(edges: list[int]) -> bool:
    return len(edges) % 2 == 0


tcp_options = st.lists(
    st.one_of(
        st.just(("NOP", None)),
        st.tuples(st.just("Timestamp"), st.tuples(u32, u32)),
        st.tuples(st.just("SAck"), st.lists(u32, min_size=2, max_size=6).filter(is_even).map(tuple)),
        st.tuples(st.just("MSS"), u16),
        st.just(("SAckOK", b"")),
        st.tuples(st.just("WScale"), u8),
        st.tuples(st.just(77), st.binary(max_size=6)),
    ),
    max_size=3,
)
usual_options = st.builds(
    lambda stamps, edges: (
        [("NOP", None), ("NOP", None), ("Timestamp", stamps), ("NOP", None), ("NOP", None)]
        + ([("SAck", tuple(edges))] if edges else [])
    ),
    st.tuples(u32, u32),
    st.lists(u32, max_size=6).filter(is_even),
)


@st.composite
def rtp(draw: Any) -> Packet:
    head = RTP(
        sequence=draw(u16),
        timestamp=draw(u32),
        sourcesync=draw(counters) % 2**32,
        payload_type=draw(st.sampled_from((0, 18, 96, 111, 72))),
        marker=draw(st.integers(0, 1)),
        sync=draw(st.lists(u32, max_size=3)),
        padding=draw(st.integers(0, 1)),
        extension=(has_extension := draw(st.integers(0, 1))),
    )
    more = RTPExtension(header_id=0xBEDE, header=draw(st.lists(u32, max_size=2))) if has_extension else b""
    return UDP(sport=draw(ports), dport=draw(ports)) / head / more / draw(bodies)


def udp() -> st.SearchStrategy[Packet]:
    return st.builds(lambda a, b, body: UDP(sport=a, dport=b) / Raw(body), ports, ports, bodies)


@st.composite
def tcp(draw: Any) -> Packet:
    return TCP(
        sport=draw(ports),
        dport=draw(ports),
        seq=draw(u32),
        ack=draw(u32),
        flags=draw(st.one_of(st.sampled_from(("A", "PA", "S", "FA", "R", "UA")), u8)),
        reserved=draw(st.sampled_from((0, 0, 5))),
        window=draw(u16),
        urgptr=draw(st.sampled_from((0, 0, 9))),
        options=draw(st.one_of(tcp_options, usual_options)),
    ) / Raw(draw(bodies))


def l4(is_v6: bool) -> st.SearchStrategy[Packet]:
    echo = (
        st.builds(lambda i, s, d: ICMPv6EchoRequest(id=i, seq=s, data=d), u16, u16, bodies)
        if is_v6
        else st.builds(lambda t, i, s, d: ICMP(type=t, id=i, seq=s) / Raw(d), types, u16, u16, bodies)
    )
    esp = st.builds(lambda spi, seq, d: ESP(spi=spi, seq=seq, data=d), u32, u32, bodies)
    rest = st.builds(lambda p, d: p / Raw(d), st.sampled_from((GRE(), AH(nh=17, spi=5, seq=1))), bodies)
    return st.one_of(rtp(), udp(), tcp(), echo, esp, rest, st.builds(Raw, bodies))


@st.composite
def chains(draw: Any, depth: int = 0) -> Packet:
    is_v6 = draw(st.booleans())
    inner = draw(chains(depth + 1) if depth < 3 and draw(st.integers(0, 3)) == 0 else l4(is_v6))
    if not is_v6:
        fragment = draw(st.sampled_from(((0, 0), (0, 0), (0, 0), (1, 0), (0, 3))))
        return (
            IP(
                src=draw(addresses),
                dst=draw(addresses),
                id=draw(u16),
                tos=draw(u8),
                ttl=draw(u8),
                flags=draw(st.sampled_from((0, 2))) | fragment[0],
                frag=fragment[1],
                options=draw(ipv4_options),
            )
            / inner
        )
    packet = IPv6(src=draw(addresses_v6), dst=draw(addresses_v6), tc=draw(u8), fl=draw(few), hlim=draw(u8))
    for _ in range(draw(st.integers(0, 2))):
        packet /= draw(
            st.sampled_from(
                (
                    IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]),
                    IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(20))]),
                    IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=1),
                    IPv6ExtHdrFragment(id=7, offset=0, m=0),
                )
            )
        )
    return packet / inner


def changed(packet: bytes, spots: list[tuple[int, int]]) -> bytes:
    """Other bytes here and there, mostly in the headers: what scapy would not write."""
    out = bytearray(packet)
    for at, value in spots:
        out[at % len(out)] = value
    return bytes(out)


def stepped(packet: Packet, step: int) -> Packet:
    """The next packet of the flow: what counts has counted."""
    following = packet.copy()
    layer: Any = following
    while layer:
        match layer:
            case IP():
                layer.id = (layer.id + step) % 2**16
            case RTP():
                layer.sequence = (layer.sequence + step) % 2**16
                layer.timestamp = (layer.timestamp + 160 * step) % 2**32
            case TCP():
                layer.seq = (layer.seq + 1448 * step) % 2**32
            case ESP():
                layer.seq = (layer.seq + step) % 2**32
            case ICMP() | ICMPv6EchoRequest():
                layer.seq = ((layer.seq or 0) + step) % 2**16
        layer = layer.payload
    return following


def check(headers: Headers, packets: list[bytes], fates: list[int]) -> set[str]:
    """All through one pair; a fate: 0 lost, 1 arrives without being acknowledged, else both."""
    kinds = set()
    for pn, packet in enumerate(packets):
        fate = fates[pn % len(fates)]
        item, row = headers.compress(pn, packet)
        kinds.add(row.kind)
        if item is not None and fate:
            back = headers.restore(pn, item)
            assert back.verdict == "ok"
            assert back.restored == packet
        if fate > 1:
            headers.ack(pn)
    return kinds


fates = st.lists(st.integers(0, 4), min_size=1, max_size=7).filter(any)


@settings(max_examples=300, deadline=None)
@given(chains(), st.lists(st.integers(0, 3), min_size=4, max_size=12), fates)
def test_a_flow_comes_back(first: Packet, steps: list[int], fate: list[int]) -> None:
    total = 0
    packets = [bytes(stepped(first, total := total + step)) for step in steps]
    check(Headers(4), packets, fate)


@settings(max_examples=300, deadline=None)
@given(
    chains(),
    st.lists(st.lists(st.tuples(st.integers(0, 90), u8), max_size=4), min_size=3, max_size=12),
    fates,
)
def test_whatever_changes_comes_back(
    first: Packet, changes: list[list[tuple[int, int]]], fate: list[int]
) -> None:
    base = bytes(first) or b"\0"
    check(Headers(4), [changed(base, spots) for spots in changes], fate)


@settings(max_examples=200, deadline=None)
@given(st.lists(chains(), min_size=2, max_size=6), st.lists(few, min_size=6, max_size=30), fates)
def test_flows_that_take_turns_come_back(flows: list[Packet], order: list[int], fate: list[int]) -> None:
    """More flows than contexts."""
    packets = [bytes(stepped(flows[i % len(flows)], at)) for at, i in enumerate(order)]
    check(Headers(2), packets, fate)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.binary(max_size=80)), max_size=30))
def test_any_bytes_are_refused_or_restored(items: list[tuple[int, int, bytes]]) -> None:
    headers = Headers(2)
    for path, pn, item in items:
        for first in (b"", b"\x80\x00"):  # as it is, and as a set-up
            row = headers.restore(pn, first + item, path, cap=200)
            assert (row.restored is None) == (row.verdict != "ok")
            assert row.restored is None or len(row.restored) <= 200


def test_all_forms_take_part() -> None:
    """Otherwise the properties above would say little."""
    packet = IP(src="10.0.0.1", dst="10.0.0.2", tos=0xB8, id=5) / UDP(sport=16384, dport=16386)
    packet /= RTP(sequence=9, payload_type=18) / Raw(bytes(20))
    packets = [bytes(stepped(packet, i)) for i in range(30)]
    packets[20] = changed(packets[20], [(8, 3)])
    assert check(Headers(1), packets, [2]) == {"setup", "base", "whole"}  # a wrong header checksum goes whole
    other = stepped(packet, 20)
    other[IP].ttl = 9
    packets[20] = bytes(other)
    assert check(Headers(1), packets, [2]) == {"setup", "base", "extended"}
