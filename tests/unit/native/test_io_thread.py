"""The plane with its own thread: real sockets on loopback, calls from Python meanwhile, start and stop."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from oxidized.ffi._oxi import lib

from oxidized.core.plane import CARRIER, EventType, SessionKeys, Suite
from oxidized.errors import NativeError
from oxidized.ffi.dataplane import DataPlane
from tests.differential.reference import Ack, Ping, Pong
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
from tests.native.threads import Site, address_of, make_site, running, udp, until


class Tunnel:
    """Two sites that talk over loopback; the hub listens on IPv4 and IPv6."""

    def __init__(self) -> None:
        self.edge = make_site(DataPlane(), [udp()])
        self.hub = make_site(DataPlane(), [udp(), udp("::1")])
        timers = {"keepalive_ns": 0, "dead_after_ns": 60 * S}
        self.edge_peer = self.edge.plane.peer_add(**timers, is_initiator=True)
        self.hub_peer = self.hub.plane.peer_add(**timers, is_initiator=False)
        self.edge.plane.routes_set([(ip_network(INNER_B), self.edge_peer)])
        self.hub.plane.routes_set([(ip_network(INNER_A), self.hub_peer)])
        self.edge.plane.path_set(self.edge_peer, 0, address_of(self.hub.socks[0]), PAYLOAD_MAX)
        self.hub.plane.path_set(self.hub_peer, 0, address_of(self.edge.socks[0]), PAYLOAD_MAX)
        self.epoch = 0
        self.session(0)

    def session(self, seed: int) -> None:
        now_ns = int(lib.oxi_clock_ns())
        at_edge, at_hub = self.edge.plane.index_pick(64 + 3 * seed), self.hub.plane.index_pick(128 + 5 * seed)
        up, down = key(2 * seed), key(2 * seed + 1)
        hub_keys = SessionKeys(at_hub, at_edge, Suite.AES_256_GCM, up, down, True)
        edge_keys = SessionKeys(at_edge, at_hub, Suite.AES_256_GCM, down, up, True)
        self.hub.plane.session_install(now_ns, self.hub_peer, hub_keys)
        self.edge.plane.session_install(now_ns, self.edge_peer, edge_keys)
        self.epoch = 0

    def rekey(self) -> None:
        """In the order of PROTOCOL.md section 5."""
        self.epoch += 1
        now_ns, up, down = int(lib.oxi_clock_ns()), key(100 + self.epoch), key(150 + self.epoch)
        self.hub.plane.epoch_install(now_ns, self.hub_peer, self.epoch, up, down)
        self.edge.plane.epoch_install(now_ns, self.edge_peer, self.epoch, down, up)
        self.edge.plane.epoch_send(now_ns, self.edge_peer, self.epoch)
        self.hub.plane.epoch_send(now_ns, self.hub_peer, self.epoch)

    def both_ways(self, first: int, count: int) -> None:
        """Packets up and down at once; all arrive, in order."""
        for n in range(first, first + count):
            self.edge.tun.send(numbered(n))
            self.hub.tun.send(numbered(n, INNER_B, INNER_A))
        for site in (self.edge, self.hub):
            assert [number_of(packet) for packet in site.read(count)] == list(range(first, first + count))


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    made = Tunnel()
    with running(made.edge, made.hub):
        yield made


def test_packets_go_through_both_ways(tunnel: Tunnel) -> None:
    for turn in range(20):
        tunnel.both_ways(turn * 30, 30)
    for site in (tunnel.edge, tunnel.hub):
        until(lambda site=site: site.counter("inner_out_packets") == 600, "all is counted")
        st = sums_must_hold(site.plane)
        assert (st["inner_in_packets"], st["inner_sent_packets"]) == (600, 600)
        assert drops(site.plane) == {}
    counters = tunnel.edge.plane.peer_counters(tunnel.edge_peer)
    assert (counters.tx_packets, counters.rx_packets) == (600, 600)
    assert counters.paths[0].rtt_ns > 0


def test_large_packets_go_through_whole(tunnel: Tunnel) -> None:
    packet = ipv4(payload=os.urandom(1400))
    for _ in range(5):
        tunnel.edge.tun.send(packet)
    assert tunnel.hub.read(5) == [packet] * 5


def test_control_datagrams_reach_python(tunnel: Tunnel) -> None:
    """With the address they came from, the socket and our address they came to; notify_fd is written."""
    for index, host in ((0, "127.0.0.1"), (1, "::1")):
        with udp(host) as client:
            client.sendto(b"\xc0 QUIC " + host.encode(), tunnel.hub.socks[index].getsockname()[:2])
            assert select.select([tunnel.hub.plane.notify_fd], [], [], 20)[0]
            os.eventfd_read(tunnel.hub.plane.notify_fd)
            ((datagram, source),) = tunnel.hub.plane.poll_control()
            assert datagram == b"\xc0 QUIC " + host.encode()
            assert (source.ip, source.port) == client.getsockname()[:2]
            assert (source.sock, source.local) == (index, host)


def test_events_are_notified(tunnel: Tunnel) -> None:
    assert tunnel.edge.plane.ping(int(lib.oxi_clock_ns()), tunnel.edge_peer, 0, token=42)

    def pong() -> list[int]:
        select.select([tunnel.edge.plane.notify_fd], [], [], 20)
        os.eventfd_read(tunnel.edge.plane.notify_fd)
        return [
            e.rtt_ns for e in tunnel.edge.plane.poll_events() if e.type == EventType.PONG and e.value == 42
        ]

    assert until(pong, "the PONG")[0] > 0


def test_calls_work_while_traffic_flows(tunnel: Tunnel) -> None:
    """Rekeys, new sessions, routes, other peers, counters: nothing of it loses a packet."""
    hub, edge = tunnel.hub.plane, tunnel.edge.plane
    for turn in range(24):
        for n in range(20):
            tunnel.edge.tun.send(numbered(20 * turn + n))
            tunnel.hub.tun.send(numbered(20 * turn + n, INNER_B, INNER_A))
        other = hub.peer_add(keepalive_ns=S, dead_after_ns=S, is_initiator=False)
        hub.routes_set([(ip_network(INNER_A), tunnel.hub_peer), (ip_network("10.1.0.0/16"), other)])
        if turn % 6 == 5:
            tunnel.session(turn)
        else:
            tunnel.rekey()
        edge.peer_timers(tunnel.edge_peer, keepalive_ns=S, dead_after_ns=60 * S)
        edge.ping(int(lib.oxi_clock_ns()), tunnel.edge_peer, 0, token=turn + 1)
        hub.routes_set([(ip_network(INNER_A), tunnel.hub_peer)])
        hub.peer_remove(other)
        for site, peer in ((tunnel.edge, tunnel.edge_peer), (tunnel.hub, tunnel.hub_peer)):
            assert site.plane.peer_counters(peer).paths[0].address is not None
            assert [number_of(p) for p in site.read(20)] == list(range(20 * turn, 20 * turn + 20))
    assert drops(edge) == {} and drops(hub) == {}


def test_what_the_shell_does_is_busy_with_a_thread(tunnel: Tunnel) -> None:
    plane, packet = tunnel.edge.plane, ipv4()
    source = address_of(tunnel.hub.socks[0])
    calls = (
        lambda: plane.inner_push(S, [packet]),
        lambda: plane.outer_push(S, [(packet, source)]),
        plane.inner_pop,
        plane.outer_pop,
        plane.train_pop,
        lambda: plane.start([tunnel.edge.device.fileno()], [[tunnel.edge.socks[0].fileno()]]),
    )
    for call in calls:
        with pytest.raises(NativeError) as refused:
            call()
        assert refused.value.code == lib.OXI_E_BUSY
    assert plane.tick(2**63) is None
    assert plane.poll_events() == []


def test_stop_is_clean_and_the_plane_lives_on(tunnel: Tunnel) -> None:
    tunnel.both_ways(0, 10)
    memory = tunnel.edge.counter("memory_bytes")
    for _ in range(3):
        tunnel.edge.plane.stop()
        assert tunnel.edge.counter("memory_bytes") < memory
        st = sums_must_hold(tunnel.edge.plane)
        assert (st["inner_held_packets"], st["deliver_held_packets"]) == (0, 0)
        tunnel.edge.plane.stop()
        now_ns = int(lib.oxi_clock_ns())
        tunnel.edge.plane.tick(now_ns)
        tunnel.edge.plane.outer_pop()  # perhaps an ACK
        tunnel.edge.plane.tick(now_ns)
        assert tunnel.edge.counter("pool_free_pkts") == 1024, "every buffer is back"
        tunnel.edge.plane.inner_push(now_ns, [ipv4()])
        assert len(tunnel.edge.plane.outer_pop()) >= 1
        tunnel.edge.start()
        tunnel.both_ways(10, 10)
        assert tunnel.edge.counter("memory_bytes") == memory


def test_freeing_a_running_plane_stops_it_first() -> None:
    made = Tunnel()
    with running(made.edge, made.hub):
        made.both_ways(0, 5)
        made.edge.plane.close()
        made.edge.plane.close()


def test_the_heart_beats_without_traffic(tunnel: Tunnel) -> None:
    before = tunnel.edge.counter("heartbeats")
    until(lambda: tunnel.edge.counter("heartbeats") > before, "a turn of the loop")


def test_timers_run_in_the_thread(tunnel: Tunnel) -> None:
    """A lone packet is acknowledged without anything else happening."""
    tunnel.edge.tun.send(numbered(1))
    until(lambda: tunnel.edge.plane.peer_counters(tunnel.edge_peer).paths[0].acked_packets, "the ACK")


# ---- the carrier ----


def test_carried_packets_reach_the_device_without_any_datagram(tunnel: Tunnel) -> None:
    """Python moves them between the planes; both must be written at once, not at the next datagram."""
    for site, peer in ((tunnel.edge, tunnel.edge_peer), (tunnel.hub, tunnel.hub_peer)):
        site.plane.path_set(peer, 0, CARRIER, 1304)
    tunnel.edge.tun.send(numbered(1))
    assert select.select([tunnel.edge.plane.notify_fd], [], [], 20)[0]
    ((peer, datagram),) = until(tunnel.edge.plane.poll_carrier, "the datagram")
    assert peer == tunnel.edge_peer
    tunnel.hub.plane.carrier_push(int(lib.oxi_clock_ns()), tunnel.hub_peer, [datagram])
    assert tunnel.hub.read(1) == [numbered(1)]
    assert tunnel.hub.counter("heartbeats") > 0


def test_many_carried_packets(tunnel: Tunnel) -> None:
    tunnel.edge.plane.path_set(tunnel.edge_peer, 0, CARRIER, 1304)
    found: list[bytes] = []
    for n in range(200):
        tunnel.edge.tun.send(numbered(n))

    def all_there() -> bool:
        found.extend(datagram for _, datagram in tunnel.edge.plane.poll_carrier())
        return len(found) >= 200

    until(all_there, "all datagrams")
    tunnel.hub.plane.carrier_push(int(lib.oxi_clock_ns()), tunnel.hub_peer, found)
    assert [number_of(packet) for packet in tunnel.hub.read(200)] == list(range(200))


# ---- what the kernel tells about a datagram ----


def solo() -> tuple[Solo, Site]:
    rig = Solo()
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    return rig, make_site(rig.plane, [udp(), udp("::1")])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_roaming_learns_the_whole_route(host: str) -> None:
    rig, site = solo()
    index = int(host == "::1")
    with running(site), udp(host) as far:
        far.sendto(rig.far.seal(ipv4()), site.socks[index].getsockname()[:2])
        site.read(1)
        address = rig.plane.peer_counters(rig.peer).paths[0].address
        assert address is not None
        assert (address.ip, address.port) == far.getsockname()[:2]
        assert (address.sock, address.local) == (index, host)
        site.tun.send(ipv4(INNER_B, INNER_A))
        while True:
            datagram, source = far.recvfrom(65536)
            assert source[:2] == site.socks[index].getsockname()[:2]
            if inner := rig.far.open(datagram).inner:  # an ACK may have gone ahead
                break
        assert inner == ipv4(INNER_B, INNER_A)


def test_lost_in_the_kernel_is_counted() -> None:
    """What overflows the socket's buffer before the thread takes it."""
    rig, site = solo()
    site.socks[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with udp() as far, running(site):
        rig.plane.stop()
        for _ in range(200):
            far.sendto(b"\x0b" * 500, site.socks[0].getsockname())
        site.start()
        until(lambda: site.counter("outer_in_datagrams"), "those that fitted")

        def is_complete() -> bool:
            far.sendto(b"\x0b", site.socks[0].getsockname())
            return site.counter("kernel_receive_drops") > 0

        until(is_complete, "the count of the lost")
        taken = site.counter("outer_in_datagrams") - 1
        assert site.counter("kernel_receive_drops") >= 200 - taken > 0


def test_a_refused_port_does_not_stop_the_socket() -> None:
    """The ICMP error of an earlier datagram is reported on the socket once; what comes after is received."""
    rig, site = solo()
    with udp() as gone:
        nobody = address_of(gone)
    with running(site), udp() as far:
        rig.plane.path_set(rig.peer, 0, nobody, PAYLOAD_MAX)
        for n in range(4):
            site.tun.send(ipv4(INNER_B, INNER_A))
            until(lambda n=n: site.counter("inner_in_packets") == n + 1, "the packet")
        far.sendto(rig.far.seal(numbered(1)), site.socks[0].getsockname())
        assert site.read(1) == [numbered(1)]


def test_ecn_marks_are_acknowledged() -> None:
    rig, site = solo()
    with running(site), udp() as far:
        for tos in (0, 2, 3, 1, 3):
            far.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            far.sendto(rig.far.seal(ipv4(ecn=2)), site.socks[0].getsockname())
        site.read(5)
        counts = (0, 0)
        while counts[0] < 5:
            counts = max((ack.received, ack.ce) for ack in rig.far.open(far.recv(65536)).of(Ack))
        assert counts == (5, 2)
        assert rig.plane.peer_counters(rig.peer).paths[0].ce_packets == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_of_ours_that_is_gone_is_forgotten(host: str) -> None:
    """The kernel refuses to send from it: the packet goes out all the same, from where the kernel likes."""
    rig, site = solo()
    index = int(host == "::1")
    gone = "2001:db8::77" if index else "192.0.2.77"
    with running(site), udp(host) as far:
        rig.plane.path_set(rig.peer, 0, replace(address_of(far, index), local=gone), PAYLOAD_MAX)
        for n in range(3):
            site.tun.send(numbered(n, INNER_B, INNER_A))
            assert rig.far.open(far.recv(65536)).inner == numbered(n, INNER_B, INNER_A)
        assert rig.plane.peer_counters(rig.peer).paths[0].address == address_of(far, index)
        assert drops(rig.plane) == {}


def test_the_hub_answers_from_the_address_that_was_called() -> None:
    """On a wildcard socket the kernel would take another one of ours."""
    rig = Solo()
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    site = make_site(rig.plane, [udp("0.0.0.0")])
    port = site.socks[0].getsockname()[1]
    with running(site), udp() as far:
        for called in ("127.0.0.2", "127.0.0.3"):
            far.sendto(rig.far.seal(Ping(0, 1, 1).pack()), (called, port))
            datagram, source = far.recvfrom(65536)
            assert rig.far.open(datagram).of(Pong) == [Pong(0, 1, 1)]
            assert source == (called, port)
