"""Any order of calls and packets: the sums hold, buffers come back, and nothing comes twice or unasked."""

from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_network

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from oxidized.core.plane import CARRIER, Address
from tests.differential.reference import Ack, Ping
from tests.native.rig import (
    EDGE,
    ELSEWHERE,
    HUB,
    INNER_A,
    INNER_B,
    MS,
    PAYLOAD_MAX,
    Pair,
    S,
    drops,
    ipv4,
    number_of,
    numbered,
    sums_must_hold,
)  # fmt: skip

POOL = 256
ROUTES = st.sampled_from([EDGE, HUB, ELSEWHERE, CARRIER, None])
TIMES = st.sampled_from([1, 1000, 1 * MS, 7 * MS, 300 * MS, 2 * S, 11 * S])


class Planes(RuleBasedStateMachine):
    """Two ends, a network that keeps, copies, damages and reorders at will."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(pool_pkts=POOL, rekey_packets=50, key_packets_max=400, keepalive_ns=3 * S)
        self.sent = 0
        self.epoch = 0
        self.keys = 0
        self.sessions = 0
        self.on_the_way: list[tuple[bool, bytes]] = []  # (to the hub, datagram)
        self.asked: set[int] = set()

    @initialize()
    def meet(self) -> None:
        self.pair.run(1 * MS)

    @rule(count=st.integers(1, 64), up=st.booleans(), size=st.sampled_from([4, 60, 1380]))
    def packets(self, count: int, up: bool, size: int) -> None:
        ends = (INNER_A, INNER_B) if up else (INNER_B, INNER_A)
        batch = [ipv4(*ends, (self.sent + n).to_bytes(4) + bytes(size)) for n in range(count)]
        self.asked |= set(range(self.sent, self.sent + count))
        self.sent += count
        (self.pair.up if up else self.pair.down)(batch)

    @rule(data=st.binary(max_size=80), up=st.booleans())
    def nonsense(self, data: bytes, up: bool) -> None:
        (self.pair.up if up else self.pair.down)([data])
        (self.pair.hub if up else self.pair.edge).outer_push(self.pair.now_ns, [(data, ELSEWHERE)])

    @rule()
    def collect(self) -> None:
        for is_up, plane in ((True, self.pair.edge), (False, self.pair.hub)):
            self.on_the_way += [(is_up, datagram) for datagram, _ in plane.outer_pop()]
            self.on_the_way += [(is_up, datagram) for _, datagram in plane.poll_carrier()]
        del self.on_the_way[:-600]

    @rule(data=st.data(), source=st.sampled_from([EDGE, ELSEWHERE]), via_carrier=st.booleans())
    def arrive(self, data: st.DataObject, source: Address, via_carrier: bool) -> None:
        """Some of what is on the way, in any order, perhaps again later, perhaps damaged."""
        if not self.on_the_way:
            return
        places = st.integers(0, len(self.on_the_way) - 1)
        for place in data.draw(st.lists(places, min_size=1, max_size=20)):
            is_up, datagram = self.on_the_way[place]
            if data.draw(st.integers(0, 9)) == 0:
                datagram = datagram[: len(datagram) // 2] + b"?" + datagram[len(datagram) // 2 + 1 :]
            plane, peer = self.end(is_up)
            if via_carrier:
                plane.carrier_push(self.pair.now_ns, peer, [datagram])
            else:
                plane.outer_push(self.pair.now_ns, [(datagram, source if is_up else HUB)])

    def end(self, is_hub: bool) -> tuple:
        return (self.pair.hub, self.pair.hub_peer) if is_hub else (self.pair.edge, self.pair.edge_peer)

    @rule(ns=TIMES)
    def time_passes(self, ns: int) -> None:
        self.pair.now_ns += ns
        for plane in (self.pair.edge, self.pair.hub):
            wake = plane.tick(self.pair.now_ns)
            assert wake is None or wake > self.pair.now_ns, "a timer that is due again at once would spin"
            plane.poll_events()

    @rule(up=st.booleans(), pad=st.integers(0, 2000), to=ROUTES)
    def ping(self, up: bool, pad: int, to: Address | None) -> None:
        plane, peer = self.end(not up)
        plane.ping(self.pair.now_ns, peer, 0, token=1, address=to, pad_bytes=pad)

    @rule(is_hub=st.booleans(), to=ROUTES)
    def move(self, is_hub: bool, to: Address | None) -> None:
        plane, peer = self.end(is_hub)
        plane.path_set(peer, 0, to, PAYLOAD_MAX)

    @rule()
    def rekey(self) -> None:
        self.epoch += 1
        self.keys += 1
        up, down = (sha256(b"%d %d" % (self.keys, way)).digest() for way in (0, 1))
        pair = self.pair
        pair.hub.epoch_install(pair.now_ns, pair.hub_peer, self.epoch, up, down)
        pair.edge.epoch_install(pair.now_ns, pair.edge_peer, self.epoch, down, up)
        pair.edge.epoch_send(pair.now_ns, pair.edge_peer, self.epoch)
        pair.hub.epoch_send(pair.now_ns, pair.hub_peer, self.epoch)

    @rule()
    def new_session(self) -> None:
        self.sessions += 1
        self.epoch = 0
        self.pair.session(seed=self.sessions % 50)

    @rule(is_hub=st.booleans(), narrow=st.booleans())
    def routes(self, is_hub: bool, narrow: bool) -> None:
        plane, peer = self.end(is_hub)
        network = ip_network((INNER_A if is_hub else INNER_B) if narrow else "10.0.0.0/8")
        plane.routes_set([(network, peer)])

    @rule()
    def deliver(self) -> None:
        for plane in (self.pair.hub, self.pair.edge):
            for _, packet in plane.inner_pop():
                number = number_of(packet)
                assert number in self.asked, "delivered twice, or never sent"
                self.asked.remove(number)

    @invariant()
    def sums(self) -> None:
        for plane in (self.pair.edge, self.pair.hub):
            sums_must_hold(plane)

    def teardown(self) -> None:
        """All that waits is taken out: every buffer is back in its pool."""
        for plane in (self.pair.edge, self.pair.hub):
            while plane.outer_pop() or plane.inner_pop():
                pass
            plane.tick(self.pair.now_ns)
            while plane.outer_pop():
                pass
            plane.tick(self.pair.now_ns)
            st_ = sums_must_hold(plane)
            assert (st_["inner_held_packets"], st_["deliver_held_packets"]) == (0, 0)
            assert st_["pool_free_pkts"] == POOL


TestPlanes = Planes.TestCase
TestPlanes.settings = settings(max_examples=100, stateful_step_count=40)


def test_the_machine_would_notice() -> None:
    """A datagram that says the same number twice, an ACK and a PING: delivered once, and once counted."""
    pair = Pair()
    pair.up([numbered(1)])
    ((datagram, _),) = pair.edge.outer_pop()
    for _ in range(2):
        pair.hub.outer_push(pair.now_ns, [(datagram, EDGE)])
    assert [number_of(packet) for _, packet in pair.hub.inner_pop()] == [1]
    assert drops(pair.hub) == {("receive_datagram", "replayed"): 1}
    assert len(Ack(0, 0, 0, 1, 0, 0).pack()) == 6 and len(Ping(0, 1, 1).pack()) == 18
