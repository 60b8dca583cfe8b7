"""The MSS clamp against scapy: what a new TCP connection asks for is lowered to what fits, and nothing else.

Both ways: into the tunnel and out of it. scapy makes the packets and, for what is expected, makes them anew.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

from tests.native.rig import EDGE, Solo

MTU_BYTES = 1420  # of rig.PAYLOAD_MAX
WAYS = ("out", "in")
V4 = ("10.0.0.2", "10.0.0.1")
V6 = ("fd00::2", "fd00::1")
HEADERS = {4: 40, 6: 60}


def segment(version: int, way: str, tcp: TCP, body: bytes = b"") -> bytes:
    source, target = V4 if version == 4 else V6
    if way == "in":
        source, target = target, source
    head = IP(src=source, dst=target, id=7) if version == 4 else IPv6(src=source, dst=target)
    return bytes(head / tcp / body)


def through(rig: Solo, way: str, packet: bytes) -> bytes:
    """The packet behind the stage."""
    if way == "in":
        rig.hear(packet)
        (delivered,) = rig.delivered()
        return delivered
    rig.send(packet)
    (opened,) = rig.opened()
    return opened.plaintext


def with_mss(packet: bytes, mss: int) -> bytes:
    """Made anew by scapy with another MSS, and with the checksum that belongs to it."""
    found = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    found[TCP].options = [("MSS", mss) if o[0] == "MSS" else o for o in found[TCP].options]
    del found[TCP].chksum
    return bytes(found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", ["S", "SA", "SEC"])
@pytest.mark.parametrize("mss", [0, 536, 1359, 1360, 1361, 1379, 1380, 1381, 1460, 8960, 65535])
def test_lowered_to_what_fits_and_never_raised(version: int, way: str, flags: str, mss: int) -> None:
    options = [("MSS", mss), ("SAckOK", b""), ("Timestamp", (5, 0)), ("NOP", None), ("WScale", 7)]
    packet = segment(version, way, TCP(sport=5000, dport=80, seq=77, flags=flags, options=options))
    limit = MTU_BYTES - HEADERS[version]
    assert through(Solo(), way, packet) == with_mss(packet, min(mss, limit))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("nops", [1, 2, 3, 7])
def test_at_an_odd_place(version: int, way: str, nops: int) -> None:
    """The two bytes of the value then lie in two words of the checksum."""
    options = [("NOP", None)] * nops + [("MSS", 1460)]
    packet = segment(version, way, TCP(flags="S", options=options), b"fast open")
    assert through(Solo(), way, packet) == with_mss(packet, MTU_BYTES - HEADERS[version])


@pytest.mark.parametrize("payload_max", [1304, 1372, 1443])
@pytest.mark.parametrize("way", WAYS)
def test_follows_the_path(payload_max: int, way: str) -> None:
    rig = Solo()
    rig.plane.path_payload(rig.peer, 0, payload_max)
    packet = segment(4, way, TCP(flags="S", options=[("MSS", 1460)]))
    assert through(rig, way, packet) == with_mss(packet, payload_max - 24 - 40)


def test_a_path_that_the_peer_has_just_opened_has_the_size_of_the_interface() -> None:
    rig = Solo(address=None)
    packet = segment(4, "in", TCP(flags="S", options=[("MSS", 1460)]))
    rig.receive(rig.far.seal(packet, path=2), source=EDGE)
    assert rig.delivered() == [with_mss(packet, MTU_BYTES - 40)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", ["A", "PA", "F", "R", ""])
def test_other_segments_stay(version: int, way: str, flags: str) -> None:
    packet = segment(version, way, TCP(flags=flags, options=[("MSS", 9000)]), b"data")
    assert through(Solo(), way, packet) == packet


def raw_tcp(options: bytes, *, offset: int | None = None) -> bytes:
    """A SYN with these bytes as options and any data offset."""
    head = bytearray(bytes(TCP(flags="S", chksum=0x1234, dataofs=5)))
    head[12] = (offset if offset is not None else 5 + (len(options) + 3) // 4) << 4
    return bytes(head) + options


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "tcp",
    [
        raw_tcp(b""),
        raw_tcp(b"\x02\x04\xff\xff", offset=4),  # a header shorter than a header
        raw_tcp(b"\x02\x04\xff\xff", offset=5),  # options that belong to the data
        raw_tcp(b"\x02\x04\xff\xff", offset=15),  # past the end of the packet
        raw_tcp(b"\x02\x03\xff\x00"),  # an MSS of another length
        raw_tcp(b"\x02\x05\xff\xff\x00\x00\x00\x00"),
        raw_tcp(b"\x00\x02\x04\xff\xff\x00\x00\x00"),  # behind the end of the options
        raw_tcp(b"\x08\x00\x02\x04\xff\xff\x00\x00"),  # an option of no length
        raw_tcp(b"\x08\x01\x02\x04\xff\xff\x00\x00"),
        raw_tcp(b"\x08\x09\x02\x04\xff\xff\x00\x00"),  # one that runs past the end
        raw_tcp(b"\x01\x01\x01\x02"),  # no room for a length
        raw_tcp(b"\x01\x01\x02\x04"),  # no room for the value
    ],
)
def test_what_is_broken_stays(way: str, tcp: bytes) -> None:
    source, target = (V4 if way == "out" else V4[::-1])
    packet = bytes(IP(src=source, dst=target, proto=6) / tcp)
    assert through(Solo(), way, packet) == packet


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("frag,flags", [(0, "MF"), (1, ""), (5, "MF")])
def test_fragments_stay(way: str, frag: int, flags: str) -> None:
    source, target = (V4 if way == "out" else V4[::-1])
    tcp = TCP(flags="S", options=[("MSS", 9000)])
    packet = bytes(IP(src=source, dst=target, frag=frag, flags=flags) / tcp)
    assert through(Solo(), way, packet) == packet
    source, target = (V6 if way == "out" else V6[::-1])
    packet = bytes(IPv6(src=source, dst=target) / IPv6ExtHdrFragment(m=1, nh=6) / tcp)
    assert through(Solo(), way, packet) == packet


@pytest.mark.parametrize("length", range(20, 41))
def test_a_cut_header_is_not_read(length: int) -> None:
    whole = bytearray(segment(4, "out", TCP(flags="S", options=[("MSS", 9000)]))[:length])
    whole[2:4] = length.to_bytes(2, "big")
    assert through(Solo(), "out", bytes(whole)) == bytes(whole)


def test_behind_ip_options() -> None:
    tcp = TCP(flags="S", options=[("MSS", 9000)])
    packet = bytes(IP(src=V4[0], dst=V4[1], options=[b"\x94\x04\x00\x00"]) / tcp)  # router alert
    assert through(Solo(), "out", packet) == with_mss(packet, MTU_BYTES - 40)


OPTIONS = st.lists(
    st.one_of(
        st.just(("NOP", None)),
        st.just(("SAckOK", b"")),
        st.tuples(st.just("WScale"), st.integers(0, 14)),
        st.tuples(st.just("Timestamp"), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))),
    ),
    max_size=5,
)


@given(
    before=OPTIONS, after=OPTIONS, mss=st.integers(0, 65535), body=st.binary(max_size=40),
    payload_max=st.integers(1304, 1444), version=st.sampled_from([4, 6]), way=st.sampled_from(WAYS),
)  # fmt: skip
def test_any_options(
    before: list, after: list, mss: int, body: bytes, payload_max: int, version: int, way: str
) -> None:
    options = [*before[:2], ("MSS", mss), *after[:1]]
    rig = Solo()
    rig.plane.path_payload(rig.peer, 0, payload_max)
    packet = segment(version, way, TCP(flags="S", options=options), body)
    limit = payload_max - 24 - HEADERS[version]
    assert through(rig, way, packet) == with_mss(packet, min(mss, limit))


@given(tcp=st.binary(min_size=20, max_size=80), version=st.sampled_from([4, 6]))
def test_any_bytes_keep_their_sum(tcp: bytes, version: int) -> None:
    """Whatever stands there: at most the MSS and the checksum change; one that was right stays so."""
    source, target = V4 if version == 4 else V6
    tcp = tcp[:13] + bytes([tcp[13] | 2]) + tcp[14:]
    head = IP(src=source, dst=target, proto=6) if version == 4 else IPv6(src=source, dst=target, nh=6)
    packet = bytes(head / tcp)
    got = through(Solo(), "out", packet)
    assert len(got) == len(packet)

    def total(data: bytes) -> int:
        data += bytes(len(data) % 2)
        return sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)) % 0xFFFF

    assert total(got) == total(packet)
    start = len(packet) - len(tcp)
    changed = [i - start for i in range(len(packet)) if got[i] != packet[i]]
    assert all(i in (16, 17) or i >= 20 for i in changed) and len([i for i in changed if i >= 20]) <= 2
