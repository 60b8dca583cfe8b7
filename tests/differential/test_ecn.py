"""Congestion marks through the tunnel against the table of RFC 6040 (figure 4), on real sockets."""

from __future__ import annotations

import socket
import struct

import pytest
from oxidized.ffi._oxi import lib
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from tests.native.rig import Solo, drops, ipv4, ipv6
from tests.native.threads import address_of, make_site, running, udp, until

NOT_ECT, ECT1, ECT0, CE = range(4)
# (inner, outer) -> inner as delivered; None: dropped. RFC 6040, figure 4.
EGRESS: dict[tuple[int, int], int | None] = {
    **{(NOT_ECT, outer): NOT_ECT for outer in (NOT_ECT, ECT0, ECT1)},
    (NOT_ECT, CE): None,
    (ECT0, NOT_ECT): ECT0, (ECT0, ECT0): ECT0, (ECT0, ECT1): ECT1, (ECT0, CE): CE,
    (ECT1, NOT_ECT): ECT1, (ECT1, ECT0): ECT1, (ECT1, ECT1): ECT1, (ECT1, CE): CE,
    **{(CE, outer): CE for outer in (NOT_ECT, ECT0, ECT1, CE)},
}  # fmt: skip
HOSTS = ("127.0.0.1", "::1")


def inner_of(is_v6: bool, ecn: int, seed: int) -> bytes:
    """Payloads of many sizes, so that the header checksums differ."""
    source, target = ("fd00::1", "fd00::2") if is_v6 else ("10.0.0.1", "10.0.0.2")
    payload = bytes(seed * 7 % 255 + 4)
    return (
        ipv6(source, target, payload, ecn=ecn)
        if is_v6
        else ipv4(source, target, payload, ecn=ecn, ident=seed * 8191 & 0xFFFF)
    )


def expected_of(packet: bytes, ecn: int) -> bytes:
    """The packet with another mark, made anew by scapy; its checksum too."""
    if packet[0] >> 4 == 6:
        header = IPv6(packet)
        header.tc = header.tc & ~3 | ecn
        return bytes(header)
    header = IP(packet)
    header.tos = header.tos & ~3 | ecn
    del header.chksum
    return bytes(header)


def set_mark(sock: socket.socket, ecn: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, ecn)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, ecn)


@pytest.mark.parametrize("outer", range(4), ids=["not-ECT", "ECT1", "ECT0", "CE"])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("is_v6", [False, True], ids=["v4-inside", "v6-inside"])
def test_marks_on_the_way_out_of_the_tunnel(host: str, is_v6: bool, outer: int) -> None:
    rig = Solo()
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    site = make_site(rig.plane, [udp(host)])
    cases = list(range(4)) * 4
    expected = []
    with running(site), udp(host) as far:
        for seed, inner in enumerate(cases):
            packet = inner_of(is_v6, inner, seed)
            set_mark(far, outer)
            far.sendto(rig.far.seal(packet), site.socks[0].getsockname()[:2])
            delivered = EGRESS[inner, outer]
            if delivered is not None:
                expected.append((inner, expected_of(packet, delivered)))
        until(lambda: site.counter("found_packets") == len(cases), "all packets")
        got = site.read(site.counter("inner_out_packets"))
        assert drops(rig.plane) == ({("receive", "ce-not-ect"): 4} if outer == CE else {})
    assert list(zip([inner for inner, _ in expected], got, strict=True)) == expected


def mark_of(sock: socket.socket) -> int:
    """The ECN bits of the next datagram, as the kernel saw them."""
    _, ancillary, _, _ = sock.recvmsg(65536, 256)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS):
            return data[0] & 3
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_TCLASS):
            return int(struct.unpack("i", data)[0]) & 3
    return NOT_ECT


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("is_v6", [False, True], ids=["v4-inside", "v6-inside"])
def test_marks_on_the_way_into_the_tunnel_are_copied(host: str, is_v6: bool) -> None:
    rig = Solo()
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    site = make_site(rig.plane, [udp(host)])
    with running(site), udp(host) as far:
        rig.plane.path_set(rig.peer, 0, address_of(far), 1444)
        for ecn in (NOT_ECT, ECT1, ECT0, CE, NOT_ECT):
            site.tun.send(
                ipv6("fd00::2", "fd00::1", ecn=ecn) if is_v6 else ipv4("10.0.0.2", "10.0.0.1", ecn=ecn)
            )
            assert mark_of(far) == ecn
        assert rig.plane.ping(int(lib.oxi_clock_ns()), rig.peer, 0, token=1)
        assert mark_of(far) == NOT_ECT, "our own datagrams can not bear a mark"
