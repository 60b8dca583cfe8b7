"""Trains of equal datagrams at the UDP sockets, out and in, over loopback."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from random import Random

import pytest
from oxidized.ffi._oxi import lib

from oxidized.core.plane import Offload, SessionKeys, Suite
from oxidized.io.offload import gro_enable
from tests.differential.reference import End
from tests.native.rig import (
    INNER_A,
    INNER_B,
    PAYLOAD_MAX,
    S,
    Solo,
    drops,
    ipv4,
    key,
    number_of,
    numbered,
    sums_must_hold,
)  # fmt: skip
from tests.native.threads import (
    IP_RECVTOS,
    PATIENCE_S,
    Site,
    address_of,
    make_site,
    running,
    train_send,
    train_take,
    udp,
    until,
)  # fmt: skip

SO_NO_CHECK = 11
IPPROTO_UDPLITE = 136
TRAINS = Offload.GSO | Offload.GRO
TRAIN_MAX = 64


def solo(offload: Offload = TRAINS, **conf: int) -> tuple[Solo, Site]:
    """A plane that does not run yet: what is pushed waits, and goes out in the first turn of the thread."""
    rig = Solo(**conf)
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    rig.plane.offload_set(offload)
    site = make_site(rig.plane, [udp(), udp("::1")])
    if offload & Offload.GRO:
        gro_enable(site.socks)
    return rig, site


def push(rig: Solo, packets: list[bytes]) -> None:
    for start in range(0, len(packets), 64):
        rig.send(*packets[start : start + 64])


def down(count: int, first: int = 0) -> list[bytes]:
    return [numbered(n, INNER_B, INNER_A) for n in range(first, first + count)]


# ---- out ----


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_equal_datagrams_leave_as_trains(host: str) -> None:
    rig, site = solo()
    with udp(host) as far:
        gro_enable([far])
        rig.plane.path_set(rig.peer, 0, address_of(far, int(host == "::1")), PAYLOAD_MAX)
        push(rig, down(200))
        with running(site):
            came: list[bytes] = []
            sizes = []
            while len(came) < 200:
                train, _ = train_take(far)
                came += train
                sizes.append(len(train))
            assert [rig.far.open(datagram).inner for datagram in came] == down(200)
            until(lambda: site.counter("inner_sent_packets") == 200, "all is counted")
            assert site.counter("udp_sends") == 4, "three of 64 and the rest"
            assert sizes == [64, 64, 64, 8]
            assert drops(rig.plane) == {}
            sums_must_hold(rig.plane)


def test_without_the_offload_each_datagram_leaves_alone() -> None:
    rig, site = solo(Offload(0))
    with udp() as far:
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        push(rig, down(100))
        with running(site):
            assert [rig.far.open(far.recv(65536)).inner for _ in range(100)] == down(100)
            until(lambda: site.counter("udp_sends") == 100, "one by one")


def test_a_train_fits_one_datagram() -> None:
    """Of 1,424 bytes each no more than 46 fit 65,507; a socket without UDP_GRO gets them one by one."""
    rig, site = solo()
    packets = [ipv4(INNER_B, INNER_A, bytes([n]) * 1380) for n in range(100)]
    with udp() as far:
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        push(rig, packets)
        with running(site):
            assert [rig.far.open(far.recv(65536)).inner for _ in range(100)] == packets
            until(lambda: site.counter("udp_sends") == 3, "46, 46 and the rest")
            assert (site.counter("udp_refused_trains"), drops(rig.plane)) == (0, {})


def test_a_shorter_one_ends_a_train() -> None:
    rig, site = solo()
    sizes = [400, 400, 399, 400, 400, 401, 401, 10, 10, 10, 11]
    packets = [ipv4(INNER_B, INNER_A, bytes([n]) * size) for n, size in enumerate(sizes)]
    with udp() as far:
        gro_enable([far])
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        push(rig, packets)
        with running(site):
            trains: list[list[bytes]] = []
            while sum(map(len, trains)) < len(packets):
                trains.append(train_take(far)[0])
            assert [rig.far.open(each).inner for train in trains for each in train] == packets
            assert [len(train) for train in trains] == [3, 2, 3, 2, 1]


@pytest.mark.parametrize("seed", range(5))
def test_peers_marks_and_sizes_never_share_a_train(seed: int) -> None:
    """Whatever lies in the outbox side by side: each peer gets its own, marked as it was, in order."""
    dice = Random(seed)
    rig, site = solo()
    other_peer = rig.plane.peer_add(keepalive_ns=0, dead_after_ns=60 * S, is_initiator=False)
    index = rig.plane.index_pick(0x777)
    keys = SessionKeys(index, 0xABC, Suite.AES_256_GCM, key(7), key(8), True)
    rig.plane.session_install(rig.now_ns, other_peer, keys)
    ends = [rig.far, End(Suite.AES_256_GCM, index, 0xABC, {0: key(7)}, {0: key(8)})]
    rig.plane.routes_set([(ip_network(INNER_A), rig.peer), (ip_network("10.0.0.9"), other_peer)])
    with udp() as one, udp() as two:
        fars = [one, two]
        gro_enable(fars)
        for peer, far in zip((rig.peer, other_peer), fars, strict=True):
            rig.plane.path_set(peer, 0, address_of(far), PAYLOAD_MAX)
        sent: list[list[bytes]] = [[], []]
        packets = []
        who, ecn, size = 0, 0, 100
        for n in range(300):
            if dice.random() < 0.3:
                who, ecn, size = dice.randrange(2), dice.randrange(4), dice.choice([100, 101, 1300])
            packet = ipv4(INNER_B, (INNER_A, "10.0.0.9")[who], n.to_bytes(4, "big") * (size // 4), ecn=ecn)
            sent[who].append(packet)
            packets.append(packet)
        push(rig, packets)
        with running(site):
            for end, far, expected in zip(ends, fars, sent, strict=True):
                came: list[bytes] = []
                while len(came) < len(expected):
                    train, mark = train_take(far)
                    for datagram in train:
                        inner = end.open(datagram).inner
                        assert inner is not None and inner[1] & 3 == mark
                        came.append(inner)
                assert came == expected
            until(lambda: site.counter("inner_sent_packets") == 300, "all is counted")
            assert site.counter("udp_sends") < 200
            assert (site.counter("udp_refused_trains"), drops(rig.plane)) == (0, {})


def test_a_kernel_that_refuses_trains_gets_datagrams() -> None:
    """A socket that is to send no checksums takes no trains (EINVAL), as one over a device of a small MTU."""
    rig, site = solo()
    site.socks[0].setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    with udp() as far:
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        push(rig, down(200))
        with running(site):
            assert [rig.far.open(far.recv(65536)).inner for _ in range(200)] == down(200)
            until(lambda: site.counter("udp_sends") == 200, "one by one")
            assert site.counter("udp_refused_trains") == 4, "each train is tried once"
            assert rig.plane.offload & Offload.GSO, "it may be the fault of one way only"
            assert drops(rig.plane) == {}
            sums_must_hold(rig.plane)


def test_a_device_that_can_not_sum_ends_trains_for_good() -> None:
    """The kernel says EIO, here as the socket is one of UDP-Lite; from then on nobody tries."""

    def lite() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, IPPROTO_UDPLITE)
        sock.bind(("127.0.0.1", 0))
        return sock

    rig, site = solo(Offload.GSO)
    site.socks.pop(0).close()
    try:
        site.socks.insert(0, lite())
    except OSError:
        pytest.skip("needs a kernel with UDP-Lite")
    with lite() as far:
        far.settimeout(PATIENCE_S)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        rig.plane.path_set(rig.peer, 0, address_of(far), PAYLOAD_MAX)
        push(rig, down(150))
        with running(site):
            assert [rig.far.open(far.recv(65536)).inner for _ in range(150)] == down(150)
            until(lambda: site.counter("udp_sends") == 150, "one by one")
            assert (site.counter("udp_refused_trains"), rig.plane.offload) == (1, Offload(0))
            assert drops(rig.plane) == {}
            sums_must_hold(rig.plane)


def test_a_refused_datagram_takes_no_other_along() -> None:
    """Of a train that can not be sent each datagram is tried by itself, and counted by itself."""
    rig, site = solo()
    with udp() as far:
        there, nowhere = address_of(far), address_of(far)
        nowhere = type(there)("255.255.255.255", 9)  # EACCES without SO_BROADCAST
        rig.plane.path_set(rig.peer, 0, nowhere, PAYLOAD_MAX)
        push(rig, down(10))
        rig.plane.path_set(rig.peer, 0, there, PAYLOAD_MAX)
        push(rig, down(10, first=10))
        with running(site):
            assert [rig.far.open(far.recv(65536)).inner for _ in range(10)] == down(10, first=10)
            until(lambda: site.counter("inner_sent_packets") == 10, "all is counted")
            assert drops(rig.plane) == {("transmit", "send-failed"): 10}
            assert (site.counter("udp_refused_trains"), site.counter("udp_sends")) == (1, 1)
            sums_must_hold(rig.plane)


# ---- in ----


def sealed(rig: Solo, count: int, first: int = 0) -> list[bytes]:
    return [rig.far.seal(numbered(n)) for n in range(first, first + count)]


def own(site: Site) -> tuple[str, int]:
    host, port = site.socks[0].getsockname()[:2]
    return str(host), int(port)


@pytest.mark.parametrize("count", [2, 3, 45, TRAIN_MAX])
@pytest.mark.parametrize("cut", [0, 30])
def test_a_train_that_comes_is_many_datagrams(count: int, cut: int) -> None:
    """The last one may be shorter."""
    rig, site = solo()
    last = rig.far.seal(ipv4(payload=(count - 1).to_bytes(4, "big") + b"y" * (60 - cut)), pn=count - 1)
    rig.far.next_pn[0] = 0
    with udp() as far, running(site):
        train_send(far, [*sealed(rig, count - 1), last], own(site))
        assert [number_of(packet) for packet in site.read(count)] == list(range(count))
        until(lambda: site.counter("inner_out_packets") == count, "all is counted")
        assert (site.counter("udp_reads"), site.counter("outer_in_datagrams")) == (1, count)
        assert drops(rig.plane) == {}
        sums_must_hold(rig.plane)


def test_more_trains_than_there_are_buffers() -> None:
    """What is delivered frees its buffers while a read is still being taken apart."""
    rig, site = solo(pool_pkts=256)
    with udp() as far:
        site.socks[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        for turn in range(16):
            train_send(far, sealed(rig, TRAIN_MAX, turn * TRAIN_MAX), own(site))
        site.device.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        with running(site):
            assert [number_of(packet) for packet in site.read(16 * TRAIN_MAX)] == list(range(16 * TRAIN_MAX))
            until(lambda: site.counter("inner_out_packets") == 16 * TRAIN_MAX, "all is counted")
            assert site.counter("udp_reads") == 16
            assert drops(rig.plane) == {}
            sums_must_hold(rig.plane)


def test_sockets_that_ask_for_no_trains_get_none() -> None:
    rig, site = solo(Offload(0))
    with udp() as far, running(site):
        train_send(far, sealed(rig, 20), own(site))
        assert [number_of(packet) for packet in site.read(20)] == list(range(20))
        assert site.counter("udp_reads") == 20


def test_a_train_of_good_and_bad() -> None:
    """Each datagram is judged by itself."""
    rig, site = solo()
    good = sealed(rig, 4)
    forged = good[0][:-1] + bytes([good[0][-1] ^ 1])
    unknown = b"\x0b" + good[0][1:]
    quic = b"\xc0" + bytes(len(good[0]) - 1)
    with udp() as far, running(site):
        train_send(far, [good[0], forged, good[1], good[0], unknown, good[2], quic, good[3]], own(site))
        assert [number_of(packet) for packet in site.read(4)] == [0, 1, 2, 3]
        until(lambda: site.counter("outer_in_datagrams") == 8, "all is counted")
        ((control, source),) = rig.plane.poll_control()
        assert (control, source.port) == (quic, far.getsockname()[1])
        lost = drops(rig.plane)
        assert sum(lost.values()) == 3 and lost[("receive_datagram", "replayed")] == 1, lost
        sums_must_hold(rig.plane)


def test_trains_of_tiny_and_of_empty_datagrams() -> None:
    rig, site = solo()
    with udp() as far, running(site):
        train_send(far, [b"\x0b"] * 60, own(site))
        far.sendto(b"", own(site))
        train_send(far, sealed(rig, 3), own(site))
        assert [number_of(packet) for packet in site.read(3)] == [0, 1, 2]
        until(lambda: site.counter("outer_in_datagrams") == 64, "all is counted")
        assert sum(drops(rig.plane).values()) == 61
        sums_must_hold(rig.plane)


def test_marks_of_a_train_count_for_each_datagram() -> None:
    rig, site = solo()
    with udp() as far, running(site):
        far.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        for tos in (3, 2):
            far.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            packets = [ipv4(payload=n.to_bytes(4, "big") * 20, ecn=2) for n in range(30)]
            train_send(far, [rig.far.seal(packet) for packet in packets], own(site))
            assert [packet[1] & 3 for packet in site.read(30)] == [tos] * 30
        assert rig.plane.peer_counters(rig.peer).paths[0].ce_packets == 30
