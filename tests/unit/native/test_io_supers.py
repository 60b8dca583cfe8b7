"""Super-packets at the device, with their offload header, both ways; and a device that takes none."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace

import pytest
from oxidized.ffi._oxi import lib

from oxidized.core.plane import Offload, Super
from oxidized.errors import NativeError
from tests.differential import segments
from tests.differential.segments import cut, finish, header, partial, run, super_of
from tests.native.rig import INNER_A, INNER_B, PAYLOAD_MAX, Solo, drops, ipv4, sums_must_hold
from tests.native.threads import Site, address_of, make_site, running, udp, until

# struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
VIRTIO = struct.Struct("=BBHHHH")
NEEDS_CSUM = 1
GSO_TYPES = {0: 0, 1: 1, 2: 4, 3: 5}  # OXI_SUPER_* -> VIRTIO_NET_HDR_GSO_*
GSO_ECN = 0x80
ALL = Offload.TSO | Offload.USO | Offload.GSO | Offload.GRO
KINDS = [(segments.TCP, False), (segments.TCP, True), (segments.UDP, False), (segments.UDP, True)]

# 48 segments of these make a super-packet that is more than a UDP datagram takes, and of one less no more.
LARGE, REFUSED_COUNT = 1364, 48
REFUSALS_MAX = 8


def solo(
    *, pair: tuple[socket.socket, socket.socket] | None = None, offload: Offload = ALL
) -> tuple[Solo, Site]:
    rig = Solo()
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    rig.plane.offload_set(offload)
    return rig, make_site(rig.plane, [udp()], has_header=True, pair=pair)


def virtio(how: Super) -> bytes:
    return VIRTIO.pack(
        NEEDS_CSUM if how.needs_csum else 0, GSO_TYPES[how.kind], how.header_bytes, how.segment_bytes,
        how.csum_start, how.csum_offset,
    )  # fmt: skip


def read(site: Site) -> tuple[Super, bytes]:
    """The next thing written to the device."""
    data = site.tun.recv(1 << 17)
    flags, kind, header_bytes, *numbers = VIRTIO.unpack_from(data)
    assert flags in (0, NEEDS_CSUM)
    kinds = {gso: ours for ours, gso in GSO_TYPES.items()}
    return Super(kinds[kind], bool(flags), *numbers, header_bytes), data[VIRTIO.size :]


# ---- read ----


@pytest.mark.parametrize(("kind", "v6"), KINDS)
@pytest.mark.parametrize("ecn", [0, GSO_ECN])
def test_what_the_device_gives_in_one_piece_is_cut(kind: int, v6: bool, ecn: int) -> None:
    whole = finish(header(kind, v6=v6, to_peer=True, flags=0xDB) + bytes(i % 251 for i in range(50000)), kind)
    how = super_of(whole, kind, 1200)
    first = bytearray(virtio(how))
    first[1] |= ecn
    rig, site = solo()
    with udp() as far:
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        with running(site):
            site.tun.send(bytes(first) + partial(whole, kind))
            expected = cut(whole, how)
            assert [rig.far.open(far.recv(65536)).inner for _ in expected] == expected
            until(lambda: site.counter("inner_sent_packets") == 42, "all is counted")
            assert (site.counter("tun_reads"), site.counter("udp_sends")) == (1, 1)
            assert drops(rig.plane) == {}
            sums_must_hold(rig.plane)


@pytest.mark.parametrize("kind", [segments.TCP, segments.UDP])
def test_a_checksum_left_to_us_is_finished(kind: int) -> None:
    whole = finish(header(kind, to_peer=True) + b"odd", kind)
    rig, site = solo()
    with udp() as far:
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        with running(site):
            site.tun.send(virtio(replace(super_of(whole, kind, 0), kind=0)) + partial(whole, kind))
            assert rig.far.open(far.recv(65536)).inner == whole
            site.tun.send(virtio(Super()) + ipv4(INNER_B, INNER_A))
            assert rig.far.open(far.recv(65536)).inner == ipv4(INNER_B, INNER_A)


def test_headers_that_make_no_sense_are_one_counted_drop_each() -> None:
    whole = finish(header(segments.TCP, to_peer=True) + bytes(5000), segments.TCP)
    good = super_of(whole, segments.TCP, 1000)
    bad = [
        virtio(good)[:1] + b"\x03" + virtio(good)[2:],  # UDP fragmentation, which nobody asked for
        virtio(replace(good, kind=2)),
        virtio(replace(good, segment_bytes=0)),
        virtio(replace(good, csum_start=60000)),
        virtio(replace(good, needs_csum=False)),
        virtio(Super(needs_csum=True, csum_start=5039, csum_offset=1)),
    ]
    rig, site = solo()
    with udp() as far:
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        with running(site):
            for each in bad:
                site.tun.send(each + partial(whole, segments.TCP))
            site.tun.send(virtio(Super()))  # and no packet: nothing to count
            site.tun.send(virtio(Super())[:7])
            site.tun.send(virtio(good) + partial(whole, segments.TCP))
            expected = cut(whole, good)
            assert [rig.far.open(far.recv(65536)).inner for _ in expected] == expected
            assert drops(rig.plane) == {("transmit", "bad-super"): len(bad)}
            sums_must_hold(rig.plane)


# ---- write ----


@pytest.mark.parametrize(("kind", "v6"), KINDS)
def test_what_came_leaves_in_one_piece(kind: int, v6: bool) -> None:
    packets = run(kind, 40, last=7, v6=v6)
    rig, site = solo()
    rig.receive(*[rig.far.seal(packet) for packet in packets])
    with running(site):
        how, data = read(site)
        start = 40 if v6 else 20
        l4_bytes, at = (8, 6) if kind == segments.UDP else (20, 16)
        gso = 3 if kind == segments.UDP else 2 if v6 else 1
        assert how == Super(gso, True, 1000, start, at, start + l4_bytes)
        assert data == partial(data, kind) and cut(data, how) == packets
        until(lambda: site.counter("inner_out_packets") == 40, "all is counted")
        assert (site.counter("tun_writes"), site.counter("tun_refused_supers")) == (1, 0)
        sums_must_hold(rig.plane)


def test_what_goes_alone_has_an_empty_header() -> None:
    packets = [ipv4(), ipv4(payload=b"z"), run(segments.TCP, 1)[0]]
    rig, site = solo()
    rig.receive(*[rig.far.seal(packet) for packet in packets])
    with running(site):
        assert [read(site) for _ in packets] == [(Super(), packet) for packet in packets]
        until(lambda: site.counter("tun_writes") == 3, "one write each")


# ---- refused ----


def narrow_pair() -> tuple[socket.socket, socket.socket]:
    """In place of the device: what is more than a UDP datagram takes is refused (EMSGSIZE)."""
    device, tun = udp(), udp()
    device.connect(tun.getsockname())
    tun.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return device, tun


def carry(rig: Solo, site: Site, kind: int, count: int, turn: int) -> list[bytes]:
    """One run of segments, in one turn of the thread; what the device then got, cut."""
    packets = run(kind, count, LARGE, LARGE, seq=turn * 100_000)
    rig.plane.carrier_push(int(lib.oxi_clock_ns()), rig.peer, [rig.far.seal(packet) for packet in packets])
    came: list[bytes] = []
    while len(came) < count:
        how, data = read(site)
        came += cut(data, how)
    assert came == packets
    return came


@pytest.mark.parametrize(
    ("kind", "own", "other"),
    [(segments.TCP, Offload.TSO, Offload.USO), (segments.UDP, Offload.USO, Offload.TSO)],
)
def test_refused_super_packets_are_written_one_by_one_and_then_given_up(
    kind: int, own: Offload, other: Offload
) -> None:
    rig, site = solo(pair=narrow_pair())
    with running(site):
        for turn in range(REFUSALS_MAX):
            assert rig.plane.offload == ALL
            carry(rig, site, kind, REFUSED_COUNT, turn)
            until(lambda turn=turn: site.counter("tun_refused_supers") == turn + 1, "the refusal")
            assert site.counter("tun_writes") == (turn + 1) * (1 + REFUSED_COUNT)
        until(lambda: rig.plane.offload == ALL & ~own, "it is given up")
        carry(rig, site, kind, 5, REFUSALS_MAX)
        until(lambda: site.counter("inner_out_packets") == REFUSALS_MAX * REFUSED_COUNT + 5, "all is counted")
        assert site.counter("tun_writes") == REFUSALS_MAX * (1 + REFUSED_COUNT) + 5, "not tried any more"
        assert rig.plane.offload & other
        assert site.counter("tun_refused_supers") == REFUSALS_MAX
        assert drops(rig.plane) == {}
        sums_must_hold(rig.plane)


def test_one_that_is_taken_forgives_those_before() -> None:
    rig, site = solo(pair=narrow_pair())
    with running(site):
        for turn in range(2 * REFUSALS_MAX):
            is_taken = turn == REFUSALS_MAX - 1
            carry(rig, site, segments.TCP, 5 if is_taken else REFUSED_COUNT, turn)
            if turn == 2 * REFUSALS_MAX - 3:
                assert rig.plane.offload == ALL, "seven before, six after it"
        until(lambda: rig.plane.offload == ALL & ~Offload.TSO, "eight after it")


def test_a_device_that_takes_nothing_says_nothing_of_super_packets() -> None:
    """Each packet is one drop; whether the kernel takes super-packets is not known from that."""
    rig, site = solo()
    for turn in range(2 * REFUSALS_MAX):
        rig.receive(*[rig.far.seal(each) for each in run(segments.TCP, 5, seq=turn * 100_000)])
    site.tun.close()
    with running(site):
        lost = 2 * REFUSALS_MAX * 5
        until(lambda: drops(rig.plane) == {("receive", "tun-write"): lost}, "the drops")
        assert (site.counter("tun_refused_supers"), rig.plane.offload) == (0, ALL)
        sums_must_hold(rig.plane)


def test_super_packets_need_a_header() -> None:
    """Without one the device would take ours for the packet's."""
    for offload in (Offload.TSO, Offload.USO):
        rig, site = solo(offload=offload)
        site.has_header = False
        with pytest.raises(NativeError) as refused:
            site.start()
        assert refused.value.code == lib.OXI_E_ARG
        rig.plane.offload_set(Offload.GSO)
        with running(site):
            with pytest.raises(NativeError) as refused:
                rig.plane.offload_set(offload)
            assert refused.value.code == lib.OXI_E_ARG
