"""Every reason by which a packet can end is reached, alone, in its direction, and the sums still hold."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from oxidized.ffi._oxi import ffi, lib

from oxidized.core.plane import CARRIER, Address, Compression, Super
from oxidized.ffi.lz import LZ_DIGEST
from oxidized.ffi.names import DROP_HELP, DROP_REASONS
from tests.differential import segments
from tests.differential.reference import Abandon, Ack, Repeat, header
from tests.differential.test_split_merge import header as header_of_segments
from tests.native.rig import (
    EDGE,
    HUB,
    INNER_A,
    INNER_B,
    PAYLOAD_MAX,
    Solo,
    drops,
    ipv4,
    ipv6,
    key,
    sums_must_hold,
)  # fmt: skip
from tests.native.threads import Site, address_of, make_site, running, udp, until

PACKET = ipv4(INNER_B, INNER_A)
Found = dict[tuple[str, str], int]
SCENARIOS: dict[str, list[Callable[[], tuple[Solo, Found]]]] = {}


def reaches(reason: str, **expected: int) -> Callable[[Callable[[], Solo]], Callable[[], Solo]]:
    """Registers a scenario; `expected` is direction -> how many packets end so."""

    def register(scenario: Callable[[], Solo]) -> Callable[[], Solo]:
        found = {(way, reason): n for way, n in expected.items()}
        SCENARIOS.setdefault(reason, []).append(lambda: (scenario(), found))
        return scenario

    return register


def test_every_reason_has_a_scenario() -> None:
    """And none is of a reason that is no more."""
    assert set(SCENARIOS) == set(DROP_REASONS)


def test_reasons_have_distinct_names_and_a_text() -> None:
    assert len(set(DROP_REASONS)) == len(DROP_REASONS)
    assert set(DROP_HELP) == set(DROP_REASONS) and all(DROP_HELP.values())


# ---- datagrams from the network ----


@reaches("short", receive_datagram=3)
def short() -> Solo:
    rig = Solo()
    rig.receive(b"", b"\0", rig.far.seal(b"")[:23])
    rig.receive(rig.far.seal(b""))
    assert rig.plane.stats()["opened_datagrams"] == 1, "24 bytes are enough"
    return rig


@reaches("oversized", transmit=1)
def oversized_inner() -> Solo:
    return push_long(lambda rig, buf, length: lib.oxi_inner_push(rig.plane._dp, 1, buf, 10_000, length, 1))


@reaches("oversized", receive_datagram=1)
def oversized_carried() -> Solo:
    return push_long(
        lambda rig, buf, length: lib.oxi_carrier_push(rig.plane._dp, 1, 0, buf, 10_000, length, 1)
    )


def push_long(push: Callable[..., int]) -> Solo:
    rig = Solo()
    assert (
        push(rig, ffi.new("uint8_t[10000]"), ffi.new("uint32_t[1]", [lib.OXI_DATAGRAM_MAX + 1])) == lib.OXI_OK
    )
    return rig


@reaches("oversized", receive_datagram=1)
def oversized_for_the_carrier() -> Solo:
    """A QUIC DATAGRAM never holds more than a QUIC datagram."""
    rig = Solo(mtu_bytes=9000)
    rig.plane.carrier_push(rig.now_ns, rig.peer, [rig.far.seal(ipv4(payload=bytes(1493)))])
    return rig


@reaches("bad-super", transmit=1)
def bad_super() -> Solo:
    rig = Solo()
    rig.plane.super_push(rig.now_ns, PACKET, Super(kind=1, needs_csum=True, segment_bytes=100, csum_start=20))
    return rig


@reaches("worker-full", transmit=44)
def worker_full() -> Solo:
    """One worker reads more for the other's peer than the ring between them holds."""
    rig = Solo(workers=2)
    head = header_of_segments(segments.TCP, to_peer=True)
    whole = segments.finish(head + bytes(300 * 100), segments.TCP)
    how = Super(kind=1, needs_csum=True, segment_bytes=100, csum_start=20, csum_offset=16)
    rig.plane.super_push(rig.now_ns, segments.partial(whole, segments.TCP), how)
    assert len(rig.sent()) == 256
    return rig


@reaches("not-ours", receive_datagram=65)
def not_ours() -> Solo:
    rig = Solo()
    rig.receive(*[bytes([first]) + bytes(40) for first in range(0x80, 0xC0)])
    rig.plane.carrier_push(rig.now_ns, rig.peer, [b"\x40 QUIC inside QUIC is nothing of ours either"])
    assert rig.plane.poll_control() == []
    return rig


@reaches("bad-type", receive_datagram=3)
def bad_type() -> Solo:
    rig = Solo()
    good = rig.far.seal(b"")
    rig.receive(*[header(0, 0, rig.far.send_index, 0, kind) + good[8:] for kind in (1, 2, 3)])
    return rig


@reaches("no-session", receive_datagram=3)
def no_session_for_the_index() -> Solo:
    rig = Solo()
    good = rig.far.seal(b"")
    others = (0, rig.far.send_index ^ 1, (rig.far.send_index + 32) & 0xFFFFFF)
    rig.receive(*[header(0, 0, index, 0) + good[8:] for index in others])
    return rig


@reaches("no-session", receive_datagram=1)
def no_session_of_the_carriers_peer() -> Solo:
    """A peer's QUIC connection carries that peer's packets alone."""
    rig = Solo()
    other = rig.plane.peer_add(keepalive_ns=0, dead_after_ns=1, is_initiator=False)
    rig.plane.carrier_push(rig.now_ns, other, [rig.far.seal(ipv4())])
    return rig


@reaches("no-session", transmit=1)
def no_session_to_send() -> Solo:
    rig = Solo()
    rig.plane.session_drop(rig.peer)
    rig.send(PACKET)
    return rig


@reaches("no-key", receive_datagram=1)
def no_key() -> Solo:
    rig = Solo()
    rig.far.send_keys[1], rig.far.epoch = key(3), 1
    rig.hear(ipv4())
    return rig


@reaches("too-old", receive_datagram=1)
def too_old() -> Solo:
    rig = Solo()
    rig.receive(rig.far.seal(pn=8128))
    rig.receive(rig.far.seal(pn=0))
    return rig


@reaches("replayed", receive_datagram=3)
def replayed() -> Solo:
    rig = Solo()
    datagram = rig.far.seal(ipv4())
    rig.receive(datagram, datagram)
    rig.receive(datagram, datagram)
    assert len(rig.delivered()) == 1
    return rig


@reaches("forged", receive_datagram=2)
def forged() -> Solo:
    rig = Solo()
    rig.far.send_keys[0] = key(9)
    rig.hear(ipv4())
    rig.hear(b"")
    return rig


@reaches("control-full", receive_datagram=64)
def control_full() -> Solo:
    rig = Solo()
    rig.receive(*[bytes([0x40 | n % 64 | n % 2 << 7]) + bytes(1200) for n in range(320)])
    kept = []
    while batch := rig.plane.poll_control():
        kept += batch
    assert [(len(data), source) for data, source in kept] == [(1201, EDGE)] * 256
    rig.receive(b"\x40 room again")
    assert rig.plane.poll_control() == [(b"\x40 room again", EDGE)]
    return rig


@reaches("control-full", receive_datagram=1)
def control_too_large() -> Solo:
    rig = Solo(mtu_bytes=9000)
    rig.receive(b"\x40" + bytes(1535), b"\x40" + bytes(1536))
    assert [len(data) for data, _ in rig.plane.poll_control()] == [1536]
    return rig


# ---- packets from the peer ----


@reaches("bad-frame", receive=5)
def bad_frame() -> Solo:
    rig = Solo()
    for frames in (b"\x17" + ipv4(), b"\x1f", b"\x01" + bytes(16), b"\x02", b"\x03\x00\x40"):
        rig.hear(frames)
    assert rig.plane.stats()["opened_datagrams"] == 5
    return rig


BOTH_WAYS = Compression(tx_flows=16, rx_flows=16, tx_dictionaries=LZ_DIGEST, rx_dictionaries=LZ_DIGEST)


def heard(*items: bytes, compression: Compression = BOTH_WAYS) -> Solo:
    rig = Solo(compression=compression, flows=16)
    for item in items:
        rig.hear(item)
    assert not rig.delivered()
    return rig


@reaches("bad-header", receive=3)
def bad_header() -> Solo:
    """A set-up that is cut short, one of no packet, and a flow id without more."""
    return heard(b"\x80\x00\x00\x01\x45", b"\x80\x00\x00\x01" + bytes(40), b"\x80")


@reaches("no-context", receive=3)
def no_context() -> Solo:
    """A flow never set up, one that there is no place for, and one with an id of two bytes."""
    return heard(b"\x80\x21voice", b"\xfe\x21voice", b"\xff\xff\x21voice")


@reaches("no-context", receive=1)
def no_contexts_at_all() -> Solo:
    return heard(b"\x80\x00\x00\x01" + ipv4(), compression=Compression())


@reaches("bad-lz", receive=3)
def bad_lz() -> Solo:
    """Cut short, of an unknown dictionary, and no block."""
    return heard(b"\x08", b"\x0f\x00\x10a", b"\x08\x00\xff\xff")


@reaches("lz-too-long", receive=1)
def lz_bomb() -> Solo:
    return heard(b"\x08\x00\x1f" + b"a\x01\x00" + b"\xff" * 1200 + b"\x00\x50aaaaa")


@reaches("lz-refused", receive=1)
def lz_refused() -> Solo:
    return heard(b"\x08\x00\x40" + b"abcd", compression=Compression(rx_flows=16))


@reaches("bad-ack", receive=1)
def bad_ack() -> Solo:
    rig = Solo()
    rig.hear(Ack(0, 0, 0, 1, 0, 0).pack() + ipv4())
    return rig


@reaches("bad-repair", receive=9)
def bad_repair() -> Solo:
    """Cut short, of no such path, of a number not sent yet, of itself, with nothing in it or no item."""
    rig = Solo()
    content = ipv4()
    for frames in (
        b"\x07\x00\x00", b"\x06", Repeat(4, 0).pack() + content, Repeat(1, 0).pack() + content,
        Repeat(0, 4).pack() + content, Repeat(0, 0).pack(), Repeat(0, 0).pack() + b"\x01" + bytes(17),
        Abandon(0, (8,)).pack() + content, b"\x20\x00\x00\x00" + content,
    ):  # fmt: skip
        rig.hear(frames)
    assert rig.delivered() == []
    return rig


@reaches("too-old", receive=1)
def too_old_to_come_again() -> Solo:
    rig = Solo()
    rig.receive(rig.far.seal(pn=8128))
    rig.hear(Repeat(0, 0).pack() + ipv4())
    return rig


@reaches("bad-ip", receive=2, transmit=3)
def bad_ip() -> Solo:
    rig = Solo()
    rig.hear(ipv4()[:-1])
    rig.hear(ipv6() + b"x")
    rig.send(b"", b"\x45", PACKET + b"x")
    return rig


@reaches("wrong-source", receive=2)
def wrong_source() -> Solo:
    rig = Solo()
    rig.hear(ipv4("10.0.0.2"))
    rig.hear(ipv6("fd00::2"))
    return rig


# ---- packets from the TUN ----


@reaches("no-route", transmit=2)
def no_route() -> Solo:
    rig = Solo()
    rig.send(ipv4(INNER_B, "10.0.0.3"), ipv6("fd00::2", "fd00::3"))
    return rig


@reaches("no-address", transmit=1)
def no_address() -> Solo:
    rig = Solo(address=None)
    rig.send(PACKET)
    return rig


@reaches("no-address", transmit=1)
def address_taken_back() -> Solo:
    rig = Solo()
    rig.plane.path_set(rig.peer, 0, None, PAYLOAD_MAX)
    rig.send(PACKET)
    return rig


@reaches("too-big", transmit=2)
def too_big_for_the_path() -> Solo:
    """The datagram is 24 bytes longer than the packet, and that is what the path must bear."""
    rig = Solo(mtu_bytes=9000)
    rig.plane.path_set(rig.peer, 0, EDGE, 1300)
    rig.send(*[ipv4(INNER_B, INNER_A, bytes(n - 20)) for n in (1276, 1277, 9000)])
    assert [len(datagram) for datagram, _ in rig.sent()] == [1300]
    return rig


@reaches("too-big", transmit=1)
def too_big_for_the_tunnel() -> Solo:
    rig = Solo(mtu_bytes=1280)
    rig.send(*[ipv4(INNER_B, INNER_A, bytes(n - 20)) for n in (1280, 1281)])
    assert [len(datagram) for datagram, _ in rig.sent()] == [1304]
    return rig


@reaches("key-worn", transmit=2)
def key_worn() -> Solo:
    rig = Solo(rekey_packets=1, key_packets_max=2)
    rig.send(*[PACKET] * 4)
    return rig


@reaches("carrier-full", transmit=64)
def carrier_full() -> Solo:
    rig = Solo()
    rig.plane.path_set(rig.peer, 0, CARRIER, PAYLOAD_MAX)
    for _ in range(5):
        rig.send(*[PACKET] * 64)
    kept = []
    while batch := rig.plane.poll_carrier():
        kept += [rig.far.open(datagram).pn for _, datagram in batch]
    assert kept == list(range(256))
    return rig


@reaches("carrier-full", transmit=1)
def carrier_too_small() -> Solo:
    rig = Solo(mtu_bytes=9000)
    rig.plane.path_set(rig.peer, 0, CARRIER, 9216)
    rig.send(*[ipv4(INNER_B, INNER_A, bytes(n - 20)) for n in (1512, 1513)])
    assert [len(datagram) for _, datagram in rig.plane.poll_carrier()] == [1536]
    return rig


@reaches("pool-empty", transmit=64, receive_datagram=1)
def pool_empty() -> Solo:
    rig = Solo(pool_pkts=256)
    for _ in range(5):
        rig.send(*[PACKET] * 64)
    rig.hear(ipv4())
    assert len(rig.sent()) == 256
    rig.hear(ipv4())
    assert len(rig.delivered()) == 1
    return rig


@reaches("stopped", transmit=1, receive=1)
def stopped_with_its_peer() -> Solo:
    rig = Solo()
    rig.send(PACKET)
    rig.hear(ipv4())
    rig.plane.peer_remove(rig.peer)
    assert rig.sent() == [] and rig.delivered() == []
    return rig


# ---- what only the kernel can do to a packet: with the io thread ----


def threaded(rig: Solo, scenario: Callable[[Solo, Site], None]) -> Solo:
    """Runs a scenario with the thread; the plane lives on for its counters, stopped."""
    sock = udp()
    site = make_site(rig.plane, [sock])
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    try:
        site.start()
        scenario(rig, site)
    finally:
        rig.plane.stop()
        for end in (sock, site.tun, site.device):
            end.close()
    return rig


@reaches("oversized", receive_datagram=2)
def oversized_on_the_wire() -> Solo:
    """A datagram of 1,536 bytes is taken, the largest of QUIC; no inner packet makes a longer one."""

    def scenario(rig: Solo, site: Site) -> None:
        with udp() as other:
            for size in (1536, 1537, 60_000):
                other.sendto(rig.far.seal(bytes(size - 24)), site.socks[0].getsockname())
            until(lambda: site.counter("outer_in_datagrams") == 3, "all datagrams")
        assert site.counter("opened_datagrams") == 1

    return threaded(Solo(), scenario)


@reaches("send-failed", transmit=3)
def send_failed() -> Solo:
    """No such socket; an address of the other family; more than the kernel puts into one datagram."""

    def scenario(rig: Solo, site: Site) -> None:
        for n, to in enumerate(
            (Address("127.0.0.1", 9, sock=5), Address("::1", 9), Address("255.255.255.255", 9))
        ):
            rig.plane.path_set(rig.peer, 0, to, PAYLOAD_MAX)
            site.tun.send(PACKET)
            until(lambda n=n: site.counter("inner_in_packets") == n + 1, "the packet")
            until(lambda: site.counter("inner_held_packets") == 0, "its end")
        rig.plane.path_set(rig.peer, 0, HUB, PAYLOAD_MAX)

    return threaded(Solo(), scenario)


@reaches("tun-write", receive=1)
def tun_write() -> Solo:
    def scenario(rig: Solo, site: Site) -> None:
        site.tun.close()
        with udp() as other:
            other.sendto(rig.far.seal(ipv4()), site.socks[0].getsockname())
            until(lambda: site.counter("found_packets"), "the packet")

    return threaded(Solo(), scenario)


@reaches("ce-not-ect", receive=1)
def ce_not_ect() -> Solo:
    def scenario(rig: Solo, site: Site) -> None:
        with udp() as other:
            other.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 3)
            other.sendto(rig.far.seal(ipv4(ecn=0)), site.socks[0].getsockname())
            until(lambda: site.counter("found_packets"), "the packet")

    return threaded(Solo(), scenario)


def full_stream() -> tuple[socket.socket, socket.socket]:
    """A TCP connection takes what UDP takes, ignores addresses, and says `again` when its buffer is full."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setblocking(False)
    return near, far


def hold(site: Site, rig: Solo, near: socket.socket) -> None:
    """Fills the socket, then lets the plane take a whole batch from the device: most of it must stay."""
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    rig.plane.path_set(rig.peer, 0, address_of(near), PAYLOAD_MAX)
    try:
        while True:
            near.send(bytes(1 << 16))
    except BlockingIOError:
        for _ in range(lib.OXI_BATCH_MAX):
            site.tun.send(PACKET)


def test_packets_held_at_the_stop_end_as_stopped() -> None:
    rig = Solo()
    near, far = full_stream()
    site = make_site(rig.plane, [near])
    hold(site, rig, near)
    with running(site), far:
        until(lambda: site.counter("inner_in_packets"), "the batch")
        site.tun.send(PACKET)
        rig.plane.stop()
        st = sums_must_hold(rig.plane)
        assert st["inner_in_packets"] == lib.OXI_BATCH_MAX, "no more is taken while packets are held"
        assert st["inner_held_packets"] == 0
        stopped = drops(rig.plane)["transmit", "stopped"]
        assert stopped > 0 and stopped + st["inner_sent_packets"] == lib.OXI_BATCH_MAX


def test_held_packets_leave_when_the_socket_has_room() -> None:
    rig = Solo()
    near, far = full_stream()
    site = make_site(rig.plane, [near])
    hold(site, rig, near)
    with running(site), far:
        until(lambda: site.counter("inner_held_packets"), "the batch")
        far.settimeout(20)
        site.tun.send(PACKET)

        def is_drained() -> bool:
            far.recv(1 << 20)
            return site.counter("inner_sent_packets") == lib.OXI_BATCH_MAX + 1

        until(is_drained, "the held packets leave, and the next is taken")
        assert drops(rig.plane) == {}


EACH = [(f"{reason}-{n}", each) for reason, found in SCENARIOS.items() for n, each in enumerate(found)]


@pytest.mark.parametrize("scenario", [each for _, each in EACH], ids=[name for name, _ in EACH])
def test_reason_is_reached(scenario: Callable[[], tuple[Solo, Found]]) -> None:
    """Nothing else ends, the sums hold, and no buffer is lost on the way."""
    rig, expected = scenario()
    assert drops(rig.plane) == expected
    sums_must_hold(rig.plane)
    while rig.sent() or rig.delivered():
        rig.tick()
    rig.tick()
    assert rig.plane.stats()["pool_free_pkts"] == rig.pool_pkts
