"""What does not fit the path is answered as RFC 1191 and RFC 4443 say; compared with what scapy makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Raw

from oxidized.core.plane import CARRIER
from tests.native.rig import MS, S, Solo, drops, sums_must_hold

V4 = ("10.0.0.2", "10.0.0.1")
V6 = ("fd00::2", "fd00::1")
BURST = 32


def v4(size: int = 1500, *, flags: str = "DF", source: str = V4[0], **fields: object) -> bytes:
    head = IP(src=source, dst=V4[1], flags=flags, **fields) / UDP(sport=1, dport=2)
    return bytes(head / Raw(bytes(i & 255 for i in range(size - len(head)))))


def v6(size: int = 1500, *between: object, source: str = V6[0]) -> bytes:
    head = IPv6(src=source, dst=V6[1])
    for each in between:
        head = head / each
    head = head / UDP(sport=1, dport=2)
    return bytes(head / Raw(bytes(i & 255 for i in range(size - len(head)))))


def expected(packet: bytes, mtu_bytes: int) -> bytes:
    """By scapy, checksums included."""
    if packet[0] >> 4 == 4:
        about = IP(packet)
        return bytes(
            IP(src=about.dst, dst=about.src, id=0, ttl=64)
            / ICMP(type=3, code=4, nexthopmtu=mtu_bytes)
            / Raw(packet[: 576 - 28])
        )
    about6 = IPv6(packet)
    return bytes(
        IPv6(src=about6.dst, dst=about6.src, hlim=64)
        / ICMPv6PacketTooBig(mtu=mtu_bytes)
        / Raw(packet[: 1280 - 48])
    )


def answers(rig: Solo, *packets: bytes) -> list[bytes]:
    """What comes back into the TUN; all sums hold and every buffer comes back."""
    before = rig.plane.stats()["own_inner_packets"]
    rig.send(*packets)
    found = rig.delivered()
    rig.sent()
    rig.tick()
    counted = sums_must_hold(rig.plane)
    assert counted["own_inner_packets"] - before == len(found)
    assert counted["inner_out_packets"] == 0 and counted["pool_free_pkts"] == 1024
    return found


@pytest.mark.parametrize("payload_max", [1304, 1305, 1372, 1444])
@pytest.mark.parametrize("packet", [v4(), v6(), v4(9000), v6(9000)], ids=["v4", "v6", "v4-9000", "v6-9000"])
def test_is_answered_and_dropped(packet: bytes, payload_max: int) -> None:
    rig = Solo(mtu_bytes=9000)
    rig.plane.path_payload(rig.peer, 0, payload_max)
    assert answers(rig, packet) == [expected(packet, payload_max - 24)]
    assert drops(rig.plane) == {("transmit", "too-big"): 1}


def test_by_one_byte() -> None:
    rig = Solo()
    assert answers(rig, v4(1420), v6(1420)) == []
    assert drops(rig.plane) == {}
    assert answers(rig, v4(1421), v6(1421)) == [expected(v4(1421), 1420), expected(v6(1421), 1420)]


def test_the_interface_bounds_it_too() -> None:
    rig = Solo(mtu_bytes=1300)
    assert answers(rig, v4(), v6()) == [expected(v4(), 1300), expected(v6(), 1300)]


def test_in_the_carrier() -> None:
    rig = Solo()
    rig.plane.path_set(rig.peer, 0, CARRIER, 1304)
    assert answers(rig, v6(1300)) == [expected(v6(1300), 1280)]


def test_an_ipv6_answer_never_asks_for_less_than_1280() -> None:
    rig = Solo()
    rig.plane.path_payload(rig.peer, 0, 1000)
    assert answers(rig, v6(1400), v6(1280), v6(1000)) == [expected(v6(1400), 1280)]
    assert answers(rig, v4(1000)) == [expected(v4(1000), 976)]
    rig.plane.path_payload(rig.peer, 0, 30)
    assert answers(rig, v4(1000), v4(60)) == [expected(v4(1000), 68)]


ICMP_ERRORS = [3, 4, 5, 11, 12, 99]
ICMP_QUESTIONS = [0, 8, 13, 14]


@pytest.mark.parametrize("kind", ICMP_ERRORS + ICMP_QUESTIONS)
def test_no_answer_to_an_icmp_error(kind: int) -> None:
    packet = bytes(IP(src=V4[0], dst=V4[1], flags="DF", proto=1) / Raw(bytes([kind]) + bytes(1479)))
    assert bool(answers(Solo(), packet)) == (kind in ICMP_QUESTIONS)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 127, 128, 129, 135, 137, 255])
@pytest.mark.parametrize("has_extension", [False, True])
def test_no_answer_to_an_icmpv6_error_or_redirect(kind: int, has_extension: bool) -> None:
    head = IPv6(src=V6[0], dst=V6[1], nh=0 if has_extension else 58)
    extension = b"\x3a\x00\x01\x04\x00\x00\x00\x00" if has_extension else b""
    packet = bytes(head / Raw(extension + bytes([kind]) + bytes(1479)))
    assert bool(answers(Solo(), packet)) == (kind >= 128 and kind != 137)


@pytest.mark.parametrize(
    ("packet", "is_answered"),
    [
        (v4(flags=""), False),
        (v4(frag=100), False),
        (v4(flags="DF+MF"), True),
        (v4(source="224.0.0.1"), False),
        (v4(source="255.255.255.255"), False),
        (v4(source="240.0.0.1"), False),
        (v4(source="0.0.0.0"), False),
        (v4(source="127.0.0.1"), False),
        (v4(options=[b"\x94\x04\x00\x00"]), True),
        (v6(source="::"), False),
        (v6(source="ff02::1"), False),
        (v6(1500, IPv6ExtHdrFragment(m=1, offset=0)), True),
        (v6(1500, IPv6ExtHdrFragment(m=1, offset=8)), False),
        (v6(1500, IPv6ExtHdrHopByHop(), IPv6ExtHdrRouting(), IPv6ExtHdrDestOpt()), True),
        (v6(1500, *[IPv6ExtHdrDestOpt()] * 7), True),
        (v6(1500, *[IPv6ExtHdrDestOpt()] * 9), False),  # too many to be worth it
    ],
)
def test_who_gets_an_answer(packet: bytes, is_answered: bool) -> None:
    rig = Solo()
    assert answers(rig, packet) == ([expected(packet, 1420)] if is_answered else [])
    assert drops(rig.plane) == {("transmit", "too-big"): 1}


def test_extension_headers_that_run_past_the_end() -> None:
    packet = bytearray(v6(1500, IPv6ExtHdrDestOpt()))
    packet[41] = 255
    assert answers(Solo(), bytes(packet)) == []


def test_no_more_than_the_bucket_holds() -> None:
    rig = Solo()
    assert len(answers(rig, *[v4()] * 60)) == BURST
    assert len(answers(rig, v4())) == 0
    rig.now_ns += 10 * MS - 1
    assert len(answers(rig, v4(), v4())) == 0
    rig.now_ns += 1
    assert len(answers(rig, v4(), v4())) == 1
    rig.now_ns += 55 * MS
    assert len(answers(rig, *[v4()] * 60)) == 5
    rig.now_ns += 5 * MS
    assert len(answers(rig, *[v4()] * 60)) == 1, "what was left over counts"
    rig.now_ns += 3600 * S
    assert len(answers(rig, *[v4()] * 60)) == BURST
    rig.now_ns -= 2 * S
    assert len(answers(rig, v4())) == 0, "time that goes backwards gives nothing"
    assert drops(rig.plane) == {("transmit", "too-big"): 60 * 4 + 6}


def test_without_a_buffer_there_is_no_answer() -> None:
    rig = Solo(pool_pkts=256)
    rig.plane.path_payload(rig.peer, 0, 1304)
    for _ in range(3):
        rig.send(*[v4(600)] * 64)
    rig.send(*[v4(600)] * 63)  # 255 of 256 buffers wait to be sent
    rig.send(v4(1400))
    assert rig.delivered() == []
    assert rig.plane.stats()["own_inner_dropped_packets"] == 1
    assert drops(rig.plane) == {("transmit", "too-big"): 1}
    sums_must_hold(rig.plane)


def test_answers_about_a_peer_go_with_it() -> None:
    rig = Solo()
    rig.send(v4(), v6())
    rig.plane.routes_set([])
    rig.plane.peer_remove(rig.peer)
    assert rig.delivered() == []
    rig.tick()
    counted = sums_must_hold(rig.plane)
    assert counted["own_inner_dropped_packets"] == 2 and counted["pool_free_pkts"] == 1024


def test_an_echo_that_is_too_big_is_answered() -> None:
    """Large pings are how people look."""
    four = bytes(IP(src=V4[0], dst=V4[1], flags="DF") / ICMP() / Raw(bytes(1400)))
    six = bytes(IPv6(src=V6[0], dst=V6[1]) / ICMPv6EchoRequest(data=bytes(1400)))
    assert answers(Solo(), four, six) == [expected(four, 1420), expected(six, 1420)]


@given(data=st.binary(min_size=60, max_size=120), version=st.sampled_from([4, 6]))
def test_any_header(data: bytes, version: int) -> None:
    """Whatever stands in the header: at most one answer, and it is what scapy would have sent."""
    size = 1500
    packet = bytearray(data + bytes(size - len(data)))
    if version == 4:
        packet[0] = 0x45 if packet[0] & 15 < 5 else 0x40 | packet[0] & 15
        packet[2:4] = size.to_bytes(2, "big")
        packet[16:20] = bytes([10, 0, 0, 1])
    else:
        packet[0] = 0x60
        packet[4:6] = (size - 40).to_bytes(2, "big")
        packet[24:40] = IPv6(dst=V6[1]).__bytes__()[24:40]
    found = answers(Solo(), bytes(packet))
    assert found in ([], [expected(bytes(packet), 1420)])
