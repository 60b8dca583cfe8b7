"""Several workers share the peers: one opens a session, one sends to a peer, and it all adds up."""

from __future__ import annotations

import struct
import weakref
from ipaddress import ip_network
from typing import Any

import pytest

from oxidized.core.plane import Address, Compression, EventType, PayloadRule, SessionKeys, Suite
from oxidized.ffi.dataplane import DataPlane
from oxidized.ffi.lz import LZ_DICTIONARIES, LZ_DIGEST
from tests.differential.reference import Ack, End, header
from tests.native.rig import (
    EDGE,
    KEY_A,
    KEY_B,
    MS,
    PAYLOAD_MAX,
    START_NS,
    S,
    drops,
    events,
    ipv4,
    key,
    sums_must_hold,
)

HUB_INNER = "10.9.0.1"
WORKERS = 3
PEERS = 6


class Hub:
    """A plane with workers and peers 10.0.0.0 and on, each with a session of a worker of our choice."""

    def __init__(self, workers: int = WORKERS, **conf: int) -> None:
        self.now_ns = START_NS
        self.plane = DataPlane(workers=workers, **conf)
        weakref.finalize(self, self.plane.close)
        self.workers = workers
        self.ends: list[End] = []
        numbers = [
            self.plane.peer_add(keepalive_ns=0, dead_after_ns=5 * S, is_initiator=False) for _ in range(PEERS)
        ]
        assert numbers == list(range(PEERS))
        self.plane.routes_set([(ip_network(f"10.0.0.{n}/32"), n) for n in numbers])
        for n in numbers:
            self.plane.path_set(n, 0, self.address(n), PAYLOAD_MAX)
            self.ends.append(self.session(n, n % workers))

    @staticmethod
    def address(peer: int) -> Address:
        return Address("192.0.2.1", 1000 + peer)

    def session(self, peer: int, worker: int, *, may_send: bool = True, salt: int = 0) -> End:
        index = self.plane.index_pick((0x100000 + 1000 * salt + peer) // self.workers * self.workers + worker)
        assert index % self.workers == worker
        keys = (key(2 * peer + 100 * salt), key(2 * peer + 1 + 100 * salt))
        self.plane.session_install(
            self.now_ns, peer, SessionKeys(index, 0xAB0000 + peer, Suite.AES_256_GCM, *keys, may_send)
        )
        return End(Suite.AES_256_GCM, index, 0xAB0000 + peer, {0: keys[0]}, {0: keys[1]})

    def send(self, *peers: int, source: str = HUB_INNER) -> None:
        self.plane.inner_push(self.now_ns, [ipv4(source, f"10.0.0.{n}", bytes([n]) * 50) for n in peers])

    def sent(self) -> list[tuple[bytes, Address]]:
        found = []
        while batch := self.plane.outer_pop():
            found += batch
        return found

    def hear(self, peer: int, end: End | None = None) -> None:
        packet = ipv4(f"10.0.0.{peer}", HUB_INNER)
        datagram = (end or self.ends[peer]).seal(packet)
        self.plane.outer_push(self.now_ns, [(datagram, self.address(peer))])


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_every_peer_is_reached_from_every_queue(workers: int) -> None:
    """The TUN may hand any flow to any worker; the peer's own worker sends it."""
    hub = Hub(workers)
    for host in range(16):
        hub.send(*range(PEERS), source=f"10.9.0.{host}")
    found = hub.sent()
    assert len(found) == 16 * PEERS
    for datagram, to in found:
        peer = to.port - 1000
        assert hub.ends[peer].open(datagram).plaintext[-50:] == bytes([peer]) * 50
    st = sums_must_hold(hub.plane)
    assert (st["inner_handed_packets"] > 0) == (workers > 1)
    assert st["inner_handed_packets"] == st["inner_taken_over_packets"]
    assert [hub.plane.peer_counters(n).tx_packets for n in range(PEERS)] == [16] * PEERS


def test_every_session_is_opened() -> None:
    hub = Hub()
    for peer in range(PEERS):
        hub.hear(peer)
    assert sorted(peer for peer, _ in hub.plane.inner_pop()) == list(range(PEERS))
    assert sorted(ev.peer for ev in events(hub.plane, EventType.PEER_HEARD)) == list(range(PEERS))
    assert drops(hub.plane) == {}
    sums_must_hold(hub.plane)


def test_a_new_session_at_another_worker_takes_the_peer_over() -> None:
    hub = Hub()
    hub.hear(0)
    hub.send(0)
    before = hub.ends[0]
    assert before.open(hub.sent()[0][0]).pn == 0
    after = hub.session(0, 1, salt=1)
    hub.send(0)
    ((datagram, _),) = hub.sent()
    assert after.open(datagram).pn == 0, "the new session sends, with numbers of its own"
    hub.hear(0, before)
    hub.hear(0, after)
    assert len(hub.plane.inner_pop()) == 3, "both open"
    counters = hub.plane.peer_counters(0)
    assert (counters.tx_packets, counters.rx_packets) == (2, 3)
    assert counters.paths[0].tx_packets >= 2 and counters.paths[0].rx_packets == 3
    hub.now_ns += 11 * S
    hub.plane.tick(hub.now_ns)
    hub.hear(0, before)
    assert drops(hub.plane)["receive_datagram", "no-session"] == 1, "the old one opens for 10 s"


def test_the_round_trip_is_known_to_the_worker_that_takes_over() -> None:
    hub = Hub()
    hub.send(0)
    hub.now_ns += 30 * MS
    datagram = hub.sent()[0][0]
    hub.ends[0].open(datagram)
    ack = Ack(0, 0, 0, 1, 0, 0).pack()
    hub.plane.outer_push(hub.now_ns, [(hub.ends[0].seal(ack), hub.address(0))])
    assert hub.plane.peer_counters(0).paths[0].rtt_ns == 30 * MS
    hub.session(0, 1, salt=1)
    assert hub.plane.peer_counters(0).paths[0].rtt_ns == 30 * MS


def test_a_session_that_waits_at_another_worker_sends_when_told() -> None:
    hub = Hub()
    waiting = hub.session(0, 2, may_send=False, salt=1)
    hub.send(0)
    hub.ends[0].open(hub.sent()[0][0])
    hub.hear(0, waiting)
    assert len(hub.plane.inner_pop()) == 1
    hub.plane.session_send(hub.now_ns, 0)
    hub.send(0)
    assert waiting.open(hub.sent()[0][0]).pn == 0
    hub.send(3)
    assert len(hub.sent()) == 1, "the other peers stay where they are"


def test_rekey_and_ping_go_to_the_worker_of_the_session() -> None:
    hub = Hub()
    end = hub.ends[5]
    end.send_keys[1], end.receive_keys[1] = KEY_A, KEY_B
    hub.plane.epoch_install(hub.now_ns, 5, 1, KEY_A, KEY_B)
    hub.plane.epoch_send(hub.now_ns, 5, 1)
    assert hub.plane.ping(hub.now_ns, 5, 0, token=7)
    assert end.open(hub.sent()[0][0]).phase == 1
    assert hub.plane.peer_counters(5).epoch == 1


def test_a_removed_peer_is_gone_from_all_workers() -> None:
    hub = Hub()
    hub.plane.peer_remove(1)
    for host in range(8):
        hub.send(1, source=f"10.9.0.{host}")
    assert hub.sent() == []
    assert drops(hub.plane) == {("transmit", "no-route"): 8}
    assert hub.plane.peer_add(keepalive_ns=0, dead_after_ns=S, is_initiator=False) == 1


def test_datagrams_are_told_apart_as_the_kernel_is_told() -> None:
    """QUIC goes to the first worker, which hands it to Python; an index of nobody is dropped."""
    hub = Hub()
    strangers = [(header(0, 0, index, 0) + bytes(16), EDGE) for index in (5, 6, 7)]
    hub.plane.outer_push(hub.now_ns, [(b"\x40QUIC", EDGE), (b"\x80", EDGE), *strangers])
    assert hub.plane.poll_control() == [(b"\x40QUIC", EDGE)]
    assert drops(hub.plane) == {
        ("receive_datagram", "not-ours"): 1,
        ("receive_datagram", "no-session"): 3,
    }


# ---- compression ----

BOTH = Compression(tx_flows=16, rx_flows=16, tx_dictionaries=LZ_DIGEST, rx_dictionaries=LZ_DIGEST)
SYSLOG = PayloadRule(514, 17, LZ_DICTIONARIES.index("syslog"))
CONF: dict[str, Any] = {
    "flows": 16,
    "all_headers": True,
    "compress_payload": True,
    "hold_ns": (2 * MS, 1 * MS, 0),
}


def udp(source: str, target: str, port: int, payload: bytes, dscp: int = 0) -> bytes:
    segment = struct.pack(">HHHH", port, port, 8 + len(payload), 0) + payload
    return ipv4(source, target, segment, ecn=dscp << 2)


def call(source: str, target: str, n: int) -> bytes:
    rtp = struct.pack(">BBHII", 0x80, 18, n & 0xFFFF, 160 * n, 7) + bytes([n & 255]) * 20
    return udp(source, target, 5004, rtp, dscp=46)


def line(source: str, target: str, n: int) -> bytes:
    text = f"<134>1 2026-03-01T10:{n % 60:02}:00Z host app - - - connection from 10.1.2.{n % 256} closed"
    return udp(source, target, 514, text.encode())


class Sites:
    """A hub with workers, and an edge of one plane for each peer, all of which compress, bundle and hold."""

    def __init__(self, workers: int, peers: int) -> None:
        self.now_ns = START_NS
        self.hub = DataPlane(workers=workers, **CONF)
        self.edges = [DataPlane(**CONF) for _ in range(peers)]
        for plane in (self.hub, *self.edges):
            weakref.finalize(self, plane.close)
            plane.compression_set([SYSLOG])
            for _ in self.edges if plane is self.hub else [0]:
                plane.peer_add(keepalive_ns=0, dead_after_ns=60 * S, is_initiator=plane is not self.hub)
        self.workers, self.sessions = workers, 0
        self.hub.routes_set([(ip_network(f"10.0.{n}.0/24"), n) for n in range(peers)])
        for n, edge in enumerate(self.edges):
            edge.routes_set([(ip_network("10.9.0.0/16"), 0)])
            edge.path_set(0, 0, EDGE, PAYLOAD_MAX)
            self.hub.path_set(n, 0, Hub.address(n), PAYLOAD_MAX)
            self.session(n, n % workers)
        self.sent: list[bytes] = []
        self.came: list[bytes] = []
        self.under_way: list[tuple[DataPlane, bytes, Address]] = []

    def session(self, peer: int, worker: int) -> None:
        """A new one that this worker of the hub has, both ends sending at once."""
        self.sessions += 1
        near = 0x100000 + 64 * self.sessions
        at_hub = self.hub.index_pick(near // self.workers * self.workers + worker)
        at_edge = self.edges[peer].index_pick(near)
        assert at_hub % self.workers == worker
        up, down = key(2 * self.sessions % 256), key((2 * self.sessions + 1) % 256)
        suite = Suite.AES_256_GCM
        hub = SessionKeys(at_hub, at_edge, suite, up, down, True, True, BOTH)
        edge = SessionKeys(at_edge, at_hub, suite, down, up, True, True, BOTH)
        self.hub.session_install(self.now_ns, peer, hub)
        self.edges[peer].session_install(self.now_ns, 0, edge)

    def push(self, plane: DataPlane, packets: list[bytes]) -> None:
        plane.inner_push(self.now_ns, packets)
        self.sent += packets

    def take(self) -> None:
        """What waits for the network is under way from now on."""
        while batch := self.hub.outer_pop():
            for datagram, to in batch:
                self.under_way.append((self.edges[to.port - 1000], datagram, EDGE))
        for n, edge in enumerate(self.edges):
            while batch := edge.outer_pop():
                self.under_way += [(self.hub, datagram, Hub.address(n)) for datagram, _ in batch]

    def carry(self) -> None:
        self.take()
        arriving, self.under_way = self.under_way, []
        for plane, datagram, source in arriving:
            plane.outer_push(self.now_ns, [(datagram, source)])
            while batch := plane.inner_pop():
                self.came += [packet for _, packet in batch]

    def turn(self, after_ns: int) -> None:
        self.now_ns += after_ns
        for plane in (self.hub, *self.edges):
            plane.tick(self.now_ns)
        self.carry()

    def talk(self, n: int) -> None:
        """Of every peer a call and a line of its log, both ways, the hub's from several queues of the TUN."""
        for peer, edge in enumerate(self.edges):
            here, there = f"10.0.{peer}.1", f"10.9.0.{peer + 1}"
            self.push(edge, [call(here, there, n), line(here, there, n)])
            queues = [f"10.9.0.{host}" for host in range(1, 4)]
            self.push(self.hub, [make(each, here, n) for each in queues for make in (call, line)])


@pytest.mark.parametrize("workers", [2, 3])
def test_compression_with_workers(workers: int) -> None:
    """Whoever reads a packet, the worker of the session compresses it; small ones go together."""
    sites = Sites(workers, peers=4)
    for n in range(60):
        sites.talk(n)
        sites.carry()
        sites.turn(5 * MS)
    sites.turn(5 * MS)
    assert sorted(sites.came) == sorted(sites.sent)
    for plane in (sites.hub, *sites.edges):
        stats, counts = sums_must_hold(plane), plane.compression_stats()
        assert drops(plane) == {} and stats["inner_held_packets"] == 0
        assert stats["bundles_out"] >= 59
        assert sum(counts["header_packets"].values()) >= 0.9 * stats["inner_sent_packets"]
        assert counts["payload_packets"]["syslog"] > 50 and counts["payloads_restored"] > 50
    assert sites.hub.stats()["inner_handed_packets"] > 0


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("is_held", [False, True], ids=["", "with-packets-held"])
def test_contexts_begin_anew_where_a_peer_moves(workers: int, is_held: bool) -> None:
    """To another worker and back, again and again: what had left before comes by the old contexts."""
    sites = Sites(workers, peers=2)
    for n in range(120):
        sites.talk(n)
        if not is_held:
            sites.turn(5 * MS)
        if n % 10 == 9:
            peer = n // 10 % 2
            sites.carry()
            sites.session(peer, (n // 10 + peer) % workers)
        sites.turn(5 * MS)
    sites.turn(5 * MS)
    assert sorted(sites.came) == sorted(sites.sent), "nothing is lost, and nothing comes twice or changed"
    for plane in (sites.hub, *sites.edges):
        stats = sums_must_hold(plane)
        assert drops(plane) == {} and stats["inner_held_packets"] == 0
        assert plane.compression_stats()["setups"] >= 12
        assert sum(plane.compression_stats()["header_packets"].values()) > 0.6 * stats["inner_sent_packets"]


@pytest.mark.parametrize("workers", [2, 3])
def test_what_is_under_way_when_a_peer_moves(workers: int) -> None:
    """The worker before opens it by its own contexts; the edge has one set, which the new session takes."""
    sites = Sites(workers, peers=1)
    for n in range(20):
        sites.talk(n)
        sites.turn(5 * MS)
    sites.talk(20)
    sites.now_ns += 5 * MS
    for plane in (sites.hub, sites.edges[0]):
        plane.tick(sites.now_ns)
    sites.take()
    late, sites.under_way = sites.under_way, []
    sites.session(0, 1)
    for n in range(21, 30):
        sites.talk(n)
        sites.turn(5 * MS)
    sites.under_way = late
    sites.carry()
    missing = len(sites.sent) - len(sites.came)
    assert set(sites.came) <= set(sites.sent) and len(set(sites.came)) == len(sites.came)
    assert drops(sites.hub) == {}
    assert drops(sites.edges[0]) == ({("receive", "no-context"): missing} if missing else {})
    assert 0 < missing <= 6, "named, and no more than what was under way to the edge"


@pytest.mark.parametrize("workers", [2, 3])
def test_what_is_held_for_a_peer_that_moves_leaves_before(workers: int) -> None:
    """The other end restores it, though it has the new session by then and nothing came before."""
    sites = Sites(workers, peers=1)
    sites.push(sites.hub, [call(f"10.9.0.{host}", "10.0.0.1", 1) for host in range(1, 9)])
    assert sites.hub.stats()["inner_held_packets"] == 8
    before = sites.hub.peer_counters(0).tx_packets
    sites.session(0, 1)
    sites.carry()
    assert sites.hub.peer_counters(0).tx_packets - before == 8
    assert sorted(sites.came) == sorted(sites.sent)
