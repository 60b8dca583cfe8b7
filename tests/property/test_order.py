"""Flows on a path that loses, delays and reorders: each comes in order as far as it may wait, others at once.

A datagram that comes late is what one is that was lost and repaired, as far as the order is concerned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from tests.native.rig import MS, Solo, drops
from tests.unit.native.test_order import LIMIT_NS, Flow, segment, told

TURN_NS = 10 * MS
TURNS_MAX = 60
LOST = 1000  # turns; never comes
FATES = st.one_of(st.just(0), st.just(0), st.integers(0, 3), st.integers(4, 31), st.just(LOST))


@dataclass
class Sent:
    flow: int  # -1: of no connection
    number: int
    sent: int  # turn
    delay: int  # turns
    packet: bytes
    delivered: int | None = None

    @property
    def came(self) -> int:
        return self.sent + self.delay


@dataclass
class Run:
    """What is sent, turn by turn, and what comes out of it."""

    flows: list[Flow]
    rig: Solo = field(default_factory=lambda: Solo(order=True))
    sent: list[Sent] = field(default_factory=list)
    out: list[Sent] = field(default_factory=list)
    turn: int = 0
    on_the_way: dict[int, list[tuple[Sent, bytes]]] = field(default_factory=dict)

    def send(self, flow: int, delay: int) -> None:
        number = len(self.sent)
        packet = self.flows[flow].next() if flow >= 0 else segment(0, size=0, port=1 + number)
        sent = Sent(flow, number, self.turn, delay, packet)
        self.sent.append(sent)
        self.on_the_way.setdefault(sent.came, []).append((sent, self.rig.far.seal(packet)))

    def collect(self) -> None:
        waiting = {sent.packet: sent for sent in self.sent if sent.delivered is None}
        for packet in self.rig.delivered():
            sent = waiting.pop(packet)  # KeyError: twice, or never sent
            assert sent.came <= self.turn
            sent.delivered = self.turn
            self.out.append(sent)
        told(self.rig)

    def pass_turn(self, backwards: bool) -> None:
        arriving = self.on_the_way.pop(self.turn, [])
        self.rig.receive(*(datagram for _, datagram in (reversed(arriving) if backwards else arriving)))
        self.collect()
        self.turn += 1
        self.rig.tick_until(self.rig.now_ns + TURN_NS)
        self.collect()


def check(run: Run) -> None:
    limit = LIMIT_NS // TURN_NS
    for sent in run.sent:
        if sent.delay < LOST:
            assert sent.delivered is not None, "what came goes on"
            assert sent.delivered - sent.came <= limit, "no longer than it may"
    for flow in range(-1, len(run.flows)):
        of_flow = [sent for sent in run.out if sent.flow == flow]
        if flow < 0 or all(sent.delay == 0 for sent in run.sent if sent.flow == flow):
            assert all(sent.delivered == sent.came for sent in of_flow), "nobody waits for another flow"
            if flow < 0:
                continue
        for place, later in enumerate(of_flow):
            overtaken_by = [each for each in of_flow[:place] if each.number > later.number]
            for each in overtaken_by:
                assert each.delivered is not None and each.delivered <= later.came, "no overtaking"
        if max((sent.delay for sent in run.sent if sent.flow == flow), default=0) < limit:
            assert [sent.number for sent in of_flow] == sorted(sent.number for sent in of_flow), "in order"


STEPS = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(-1, 2), FATES), max_size=12), st.booleans()), max_size=TURNS_MAX
)


@settings(max_examples=150)
@given(steps=STEPS, seq=st.sampled_from([1, 2**31 - 5000, 2**32 - 5000]))
@example([([(0, 0), (0, 31), (0, 0)], False), *[([(0, 0)], False)] * 40], 2**32 - 5000)
@example([([(0, 0), (0, LOST), (0, 3), (0, 0), (0, LOST), (0, 0)], True)], 1)
@example([([(0, 0), (1, LOST), (0, 0), (0, 3), (0, 0)], False)], 1)
def test_flows_come_in_order(steps: list[tuple[list[tuple[int, int]], bool]], seq: int) -> None:
    run = Run([Flow(seq=seq, port=5000 + n, is_v6=n == 2) for n in range(3)])
    for flow in range(3):
        run.send(flow, 0)
    run.pass_turn(backwards=False)
    for packets, backwards in steps:
        for flow, delay in packets:
            run.send(flow, delay)
        run.pass_turn(backwards)
    for _ in range(80):
        run.pass_turn(backwards=False)
    check(run)
    stats = run.rig.plane.stats()
    event(f"timeouts: {stats['order_timeout_packets'] > 0}, filled: {stats['order_filled_packets'] > 0}")
    assert stats["order_waiting_packets"] == 0 and not drops(run.rig.plane)
    assert stats["pool_free_pkts"] == run.rig.pool_pkts
