"""Several workers share the peers: one opens a session, one sends to a peer, and it all adds up."""

from __future__ import annotations

import weakref
from ipaddress import ip_network

import pytest

from oxidized.core.plane import Address, EventType, SessionKeys, Suite
from oxidized.ffi.dataplane import DataPlane
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
