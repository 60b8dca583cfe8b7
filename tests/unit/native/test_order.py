"""What follows a lost packet of a TCP flow waits for it, so long and no longer; nothing else does."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

import pytest
from oxidized.ffi._oxi import lib

from oxidized.core.plane import Order
from tests.differential.reference import Ack, Prompt
from tests.native.rig import INNER_A, INNER_B, MS, S, Solo, checksum, drops, key, sums_must_hold
from tests.native.threads import Site, make_site, running, udp, until

ACK, PSH, FIN, SYN, RST = 0x10, 0x08, 0x01, 0x02, 0x04
SIZE = 1000
LIMIT_NS = 400 * MS  # three times 1.5 of the RTT that is assumed, and 10 ms each: more than the bound
LIMIT_NS_MAX = 400 * MS


def segment(
    seq: int, *, size: int = SIZE, port: int = 5000, flags: int = ACK, is_v6: bool = False, tag: int = 0
) -> bytes:
    """One packet of the flow `port`, from the peer; checksums of TCP are nobody's business here."""
    tcp = struct.pack(">HHIIBBHHH", port, 443, seq % 2**32, 7, 5 << 4, flags, 500, 0, 0)
    body = tcp + struct.pack(">I", tag)[: min(size, 4)] + b"d" * max(0, size - 4)
    if is_v6:
        ends = ip_address("fd00::1").packed + ip_address("fd00::2").packed
        return struct.pack(">IHBB", 6 << 28, len(body), 6, 64) + ends + body
    ends = ip_address(INNER_A).packed + ip_address(INNER_B).packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, 6, 0) + ends
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


class Flow:
    """A TCP sender behind the peer: its segments one after the other."""

    def __init__(self, *, seq: int = 1000, port: int = 5000, is_v6: bool = False) -> None:
        self.seq, self.port, self.is_v6 = seq, port, is_v6

    def next(self, *, size: int = SIZE, flags: int = ACK) -> bytes:
        made = segment(self.seq, size=size, port=self.port, flags=flags, is_v6=self.is_v6)
        self.seq += size
        return made

    def some(self, count: int) -> list[bytes]:
        return [self.next() for _ in range(count)]


def make(**conf: Any) -> Solo:
    return Solo(order=True, **conf)


def sealed(rig: Solo, packets: list[bytes]) -> list[bytes]:
    return [rig.far.seal(packet) for packet in packets]


def told(rig: Solo) -> dict[str, int]:
    """Counters of the hold, those above 0; all sums hold."""
    stats = sums_must_hold(rig.plane)
    names = ("waiting", "held", "filled", "resolved", "timeout", "full")
    found = {name: stats[f"order_{name}_packets"] for name in names}
    ended = found["waiting"] + sum(found[name] for name in names[2:])
    assert found["held"] == ended + stats["drops"]["receive"]["stopped"]
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("is_v6", [False, True])
@pytest.mark.parametrize("seq", [1000, 2**32 - 2500, 2**31 - 2500])
def test_a_lost_packet_is_waited_for(seq: int, is_v6: bool) -> None:
    rig = make()
    packets = Flow(seq=seq, is_v6=is_v6).some(6)
    first, lost, *rest = sealed(rig, packets)
    rig.receive(first, *rest)
    assert rig.delivered() == packets[:1]
    assert told(rig) == {"waiting": 4, "held": 4}
    rig.receive(lost)
    assert rig.delivered() == packets[1:]
    assert told(rig) == {"held": 4, "filled": 4}
    assert rig.tick(LIMIT_NS) is None or rig.delivered() == []


def test_what_comes_in_one_turn_is_put_in_order() -> None:
    rig = make()
    packets = Flow().some(8)
    datagrams = sealed(rig, packets)
    rig.receive(*(datagrams[n] for n in (0, 3, 2, 1, 7, 6, 4, 5)))
    assert rig.delivered() == packets
    assert told(rig)["filled"] == told(rig)["held"]


def test_what_fills_a_hole_goes_before_what_came_with_it() -> None:
    """It is opened with the others, and behind them on its way: nobody may run ahead because of that."""
    rig = make()
    packets = Flow().some(90)
    datagrams = sealed(rig, packets)
    rig.receive(*datagrams[:5], *datagrams[6:40])
    assert rig.delivered() == packets[:5]
    rig.receive(*datagrams[40:60], datagrams[5], *datagrams[60:])
    assert rig.delivered() == packets[5:]
    assert "resolved" not in told(rig)


def test_other_flows_do_not_wait() -> None:
    rig = make()
    flow, other, third = Flow(), Flow(port=5001), Flow(port=5000, is_v6=True)
    begin = [flow.next(), other.next(), third.next()]
    lost = flow.next()
    rest = [other.next(), flow.next(), third.next(), segment(0, port=9, size=0), other.next()]
    datagrams = sealed(rig, [*begin, lost, *rest])
    rig.receive(*datagrams[:3], *datagrams[4:])
    assert rig.delivered() == [*begin, rest[0], *rest[2:]]
    rig.receive(datagrams[3])
    assert rig.delivered() == [lost, rest[1]]


def test_a_gap_of_the_sender_is_not_waited_for() -> None:
    rig = make()
    flow = Flow()
    first = flow.next()
    flow.seq += SIZE  # lost before it came to the tunnel
    rest = flow.some(3)
    rig.receive(*sealed(rig, [first, *rest]))
    assert rig.delivered() == [first, *rest]
    assert told(rig) == {}


def test_a_hole_before_the_last_one_delivered_is_not_waited_for() -> None:
    """The lost one was of another flow, and before what this flow has seen."""
    rig = make()
    flow = Flow()
    datagrams = sealed(rig, [Flow(port=1).next(), *flow.some(2)])
    rig.receive(datagrams[0])
    rig.far.seal(b"")  # lost
    rig.receive(*sealed(rig, flow.some(2)))
    rig.delivered()
    flow.seq += SIZE
    rig.receive(*sealed(rig, flow.some(1)))
    assert told(rig) == {}


def test_two_holes_are_filled_in_any_order() -> None:
    for order in ((2, 5), (5, 2)):
        rig = make()
        packets = Flow().some(9)
        datagrams = sealed(rig, packets)
        rig.receive(*(datagrams[n] for n in range(9) if n not in order))
        assert rig.delivered() == packets[:2]
        rig.receive(datagrams[order[0]])
        assert rig.delivered() == (packets[2:5] if order[0] == 2 else [])
        rig.receive(datagrams[order[1]])
        assert rig.delivered() == (packets[5:] if order[0] == 2 else packets[2:])
        assert told(rig)["filled"] == told(rig)["held"]


def test_it_waits_no_longer_than_it_may() -> None:
    """Up to the next hole, which is younger, and its time comes later."""
    rig = make()
    packets = Flow().some(9)
    datagrams = sealed(rig, packets)
    rig.receive(datagrams[0], *datagrams[2:4])
    rig.tick(50 * MS)
    rig.receive(*datagrams[5:])
    assert rig.delivered() == packets[:1]
    rig.tick_until(rig.now_ns + LIMIT_NS - 51 * MS)
    assert rig.delivered() == []
    rig.tick_until(rig.now_ns + 1 * MS)
    assert rig.delivered() == packets[2:4]
    assert told(rig) == {"waiting": 4, "held": 6, "timeout": 2}
    rig.tick_until(rig.now_ns + 49 * MS)
    assert rig.delivered() == []
    rig.tick_until(rig.now_ns + 1 * MS)
    assert rig.delivered() == packets[5:]
    rig.receive(datagrams[1], datagrams[4])  # too late to matter, and not lost
    assert rig.delivered() == [packets[1], packets[4]]
    assert told(rig) == {"held": 6, "timeout": 6}


@pytest.mark.parametrize(("runs", "in_20_ms"), [(40, 21), (240, 97)])
def test_gaps_are_shown_one_after_the_other(runs: int, in_20_ms: int) -> None:
    """A TCP that is shown many at once can not tell its sender what came behind them: it tells of three."""
    rig = make(pool_pkts=4096)
    packets = Flow().some(2 * runs + 1)
    rig.receive(*sealed(rig, packets)[::2])
    assert rig.delivered() == packets[:1]
    begin_ns = rig.now_ns + LIMIT_NS
    rig.tick_until(begin_ns - MS)
    assert rig.delivered() == []
    rig.tick_until(begin_ns + 20 * MS)
    found = rig.delivered()
    assert abs(len(found) - in_20_ms) <= in_20_ms // 10
    rig.tick_until(begin_ns + 130 * MS)
    assert found + rig.delivered() == packets[2::2]
    assert told(rig) == {"held": runs, "timeout": runs}


def test_who_sleeps_shows_all_that_is_long_overdue_at_once() -> None:
    rig = make()
    packets = Flow().some(41)
    rig.receive(*sealed(rig, packets)[::2])
    rig.delivered()
    rig.tick(LIMIT_NS + 100 * MS)
    assert rig.delivered() == packets[2::2]


def test_what_comes_while_gaps_are_shown_goes_behind() -> None:
    rig = make()
    packets = Flow().some(24)
    datagrams = sealed(rig, packets)
    rig.receive(*datagrams[:20:2])
    rig.tick_until(rig.now_ns + LIMIT_NS + 3 * MS)
    found = rig.delivered()
    assert 1 < len(found) < 10
    rig.receive(*datagrams[19:])
    rig.tick_until(rig.now_ns + 20 * MS)
    assert found + rig.delivered() == [*packets[:20:2], *packets[19:]]


def test_an_old_hole_holds_nobody_anew() -> None:
    """A flow that was idle while the datagram was lost does not begin to wait for it."""
    rig = make()
    flow = Flow()
    rig.receive(*sealed(rig, flow.some(1)))
    rig.far.seal(flow.next())  # lost
    rig.receive(*sealed(rig, Flow(port=1).some(1)))
    rig.tick(LIMIT_NS)
    rig.receive(*sealed(rig, flow.some(1)))
    assert len(rig.delivered()) == 3
    assert rig.plane.stats()["order_waiting_packets"] == 0


def far_rtt(rig: Solo, rtt_ns: int) -> None:
    """Lets the plane measure this round trip."""
    for _ in range(64):
        rig.send()
        pn = max(opened.pn for opened in rig.opened())
        rig.now_ns += rtt_ns
        rig.hear(Ack(0, pn, 0, pn + 1, 0, 0).pack())
        rig.now_ns += 1


@pytest.mark.parametrize(
    ("rtt_ns", "limit_ns"), [(4 * MS, 48 * MS), (50 * MS, 255 * MS), (800 * MS, LIMIT_NS_MAX)]
)
def test_the_round_trip_says_how_long(rtt_ns: int, limit_ns: int) -> None:
    rig = make(dead_after_ns=3600 * S)
    far_rtt(rig, rtt_ns)
    packets = Flow().some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == packets[:1]
    rig.tick_until(rig.now_ns + limit_ns - 2 * MS)
    assert rig.delivered() == []
    rig.tick_until(rig.now_ns + 2 * MS)
    assert rig.delivered() == packets[2:]


def test_near_paths_are_left_alone() -> None:
    rig = make()
    far_rtt(rig, 1 * MS)
    packets = Flow().some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == [packets[0], packets[2]]


def test_a_peer_that_repairs_nothing_is_not_waited_for() -> None:
    rig = Solo(order=Order.REPAIRED)
    flow = Flow()
    packets = flow.some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == [packets[0], packets[2]]
    rig.hear(Prompt().pack())
    packets = flow.some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == packets[:1]


def test_off_is_off() -> None:
    rig = Solo()
    packets = Flow().some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == [packets[0], packets[2]]


TINY = {"size": 36, "flags": ACK | PSH}


def test_keystrokes_do_not_wait() -> None:
    rig = make()
    flow = Flow()
    packets = [flow.next(**TINY) for _ in range(3)]
    first, lost, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == [packets[0], packets[2]]
    rig.receive(lost)
    assert rig.delivered() == [packets[1]]


@pytest.mark.parametrize("end", [TINY, {"size": 0, "flags": ACK | FIN}, {"size": 500, "flags": ACK | FIN}])
def test_nothing_overtakes_what_waits_of_its_flow(end: dict[str, int]) -> None:
    rig = make()
    flow = Flow()
    packets = [*flow.some(3), flow.next(**end)]
    first, lost, *rest = sealed(rig, packets)
    rig.receive(first, *rest)
    assert rig.delivered() == packets[:1]
    rig.receive(lost)
    assert rig.delivered() == packets[1:]


def test_acknowledgements_do_not_wait() -> None:
    rig = make()
    flow = Flow()
    packets = flow.some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    pure = segment(flow.seq, size=0)
    rig.receive(rig.far.seal(pure))
    assert rig.delivered() == [packets[0], pure]


@pytest.mark.parametrize("flags", [RST, RST | ACK, SYN, SYN | ACK])
def test_a_connection_that_ends_or_begins_lets_go(flags: int) -> None:
    rig = make()
    packets = Flow().some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    end = segment(77, size=0, flags=flags)
    rig.receive(rig.far.seal(end))
    assert rig.delivered() == [packets[0], packets[2], end]
    assert told(rig) == {"held": 1, "resolved": 1}
    fresh = Flow(seq=78).some(3)
    rig.receive(*sealed(rig, fresh))
    assert rig.delivered() == fresh


def test_the_first_packet_of_a_connection_is_waited_for() -> None:
    rig = make()
    syn = segment(999, size=0, flags=SYN | ACK)
    packets = Flow().some(3)
    first, lost, *rest = sealed(rig, [syn, *packets])
    rig.receive(first, *rest)
    assert rig.delivered() == [syn]
    rig.receive(lost)
    assert rig.delivered() == packets


def test_what_is_sent_again_goes_behind_what_was_sent_before() -> None:
    """A receiver that has seen its time stamp at the place it waits for drops what is older (RFC 7323)."""
    rig = make()
    flow = Flow()
    packets = flow.some(8)
    datagrams = sealed(rig, packets)
    rig.receive(*(datagrams[n] for n in (0, 2, 3, 5, 6)))
    rig.delivered()
    rig.receive(*sealed(rig, [packets[1], packets[4], packets[0]]))
    assert rig.delivered() == []
    assert told(rig) == {"waiting": 7, "held": 7}
    rig.receive(datagrams[1])
    assert rig.delivered() == packets[1:4]  # what is behind the other hole goes on waiting
    rig.receive(datagrams[4])
    assert rig.delivered() == [*packets[4:7], packets[1], packets[4], packets[0]]
    assert told(rig) == {"held": 7, "filled": 7}
    rig.receive(rig.far.seal(packets[1]))
    assert rig.delivered() == [packets[1]]  # nothing waits


def test_what_is_sent_again_waits_no_longer_than_what_was_sent_before() -> None:
    rig = make()
    flow = Flow()
    packets = flow.some(3)
    datagrams = sealed(rig, packets)
    again = rig.far.seal(packets[1])
    packets += flow.some(2)
    datagrams += sealed(rig, packets[3:])
    rig.receive(datagrams[0], datagrams[2], again)
    rig.tick_until(rig.now_ns + 100 * MS)
    rig.receive(datagrams[4])
    assert rig.delivered() == packets[:1]
    rig.tick_until(rig.now_ns + LIMIT_NS - 101 * MS)
    assert rig.delivered() == []
    rig.tick_until(rig.now_ns + 2 * MS)
    assert rig.delivered() == [packets[2], packets[1]]
    rig.tick_until(rig.now_ns + 100 * MS)
    assert rig.delivered() == packets[4:]
    assert told(rig) == {"held": 3, "timeout": 3}


def test_what_is_sent_again_says_nothing_of_what_is_missing_behind_it() -> None:
    """It has a newer number than what waits, and there is still a hole before the rest of that."""
    rig = make()
    flow = Flow()
    packets = flow.some(3)
    datagrams = sealed(rig, packets)
    rig.receive(datagrams[0], datagrams[2])
    again = rig.far.seal(packets[1])
    packets += flow.some(2)
    datagrams += sealed(rig, packets[3:])
    rig.receive(again, datagrams[4])
    assert rig.delivered() == packets[:1]
    rig.receive(datagrams[1])
    assert rig.delivered() == [packets[1], packets[2], packets[1]]
    other = sealed(rig, Flow(port=9).some(2))
    rig.receive(*reversed(other))  # a hole is filled, so all who wait are looked at
    assert told(rig) == {"waiting": 1, "held": 3, "filled": 2}
    rig.delivered()
    rig.receive(datagrams[3])
    assert rig.delivered() == packets[3:]


def test_a_new_session_begins_anew() -> None:
    rig = make()
    flow = Flow()
    packets = flow.some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == packets[:1]
    before = rig.far
    rig.far = rig.session(near=0x222222, keys=(key(8), key(9)), tx_index=0x777777)
    rest = flow.some(2)
    rig.receive(before.seal(rest[0]))  # until something comes of the new one, the old one is received
    assert rig.delivered() == []
    rig.receive(rig.far.seal(rest[1]))
    assert rig.delivered() == [packets[2], *rest]
    rig.far, late = before, Flow(port=9)
    packets = late.some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last)
    assert rig.delivered() == [packets[0], packets[2]]
    assert "timeout" not in told(rig)


def test_more_than_there_is_room_for() -> None:
    """Half of the pool waits at most; who has waited longest goes on."""
    rig = make(pool_pkts=256)
    flows = [Flow(port=5000 + n) for n in range(2)]
    rig.receive(*sealed(rig, [flow.next() for flow in flows]))
    lost = sealed(rig, [flow.next() for flow in flows])
    for flow in flows:
        rig.receive(*sealed(rig, flow.some(60)))
    assert len(rig.delivered()) == 2
    assert told(rig) == {"waiting": 120, "held": 120}
    rig.receive(*sealed(rig, flows[1].some(30)))
    assert len(rig.delivered()) == 60
    assert told(rig) == {"waiting": 90, "held": 150, "full": 60}
    rig.receive(*lost)
    assert len(rig.delivered()) == 92
    rig.tick()
    assert rig.plane.stats()["pool_free_pkts"] == rig.pool_pkts


def test_the_flows_that_are_kept_are_bounded() -> None:
    """A thousand flows that each wait: some are given up, all are delivered."""
    rig = make(pool_pkts=8192)
    flows = [Flow(port=n) for n in range(1, 1001)]
    for n in range(0, 1000, 50):
        rig.receive(*sealed(rig, [flow.next() for flow in flows[n : n + 50]]))
    rig.far.seal(b"")
    for flow in flows:
        flow.seq += SIZE
    for n in range(0, 1000, 50):
        rig.receive(*sealed(rig, [flow.next() for flow in flows[n : n + 50]]))
    assert told(rig)["waiting"] <= 512
    rig.tick_until(rig.now_ns + LIMIT_NS_MAX)
    assert len(rig.delivered()) == 2000
    assert told(rig)["held"] > 0


@pytest.mark.parametrize("removed", [False, True])
def test_who_is_removed_waits_no_more(removed: bool) -> None:
    rig = make()
    packets = Flow().some(3)
    first, _, last = sealed(rig, packets)
    rig.receive(first, last, rig.far.seal(packets[1]))
    rig.delivered()
    if removed:
        rig.plane.peer_remove(rig.peer)
        assert drops(rig.plane) == {("receive", "stopped"): 2}
        assert told(rig) == {"held": 2}
        rig.tick()
        assert rig.plane.stats()["pool_free_pkts"] == rig.pool_pkts
    else:
        rig.plane.session_drop(rig.peer)
        rig.tick_until(rig.now_ns + LIMIT_NS_MAX)
        assert rig.delivered() == [packets[2], packets[1]]


def test_many_holes() -> None:
    """More than are remembered: the oldest are given up, and with them what waits for them."""
    rig = make(pool_pkts=8192)
    packets = Flow().some(1200)
    datagrams = sealed(rig, packets)
    for n in range(0, 1200, 100):
        rig.receive(*datagrams[n : n + 100 : 2])
    stats = sums_must_hold(rig.plane)
    assert stats["order_lost_holes"] == 599 - 256
    rig.tick_until(rig.now_ns + 20 * MS)
    assert len(rig.delivered()) == 1 + 599 - 256
    rig.receive(*datagrams[1::2])
    found = rig.delivered()
    assert len(found) == 856 and found[-400:] == packets[-400:]
    assert rig.plane.stats()["order_waiting_packets"] == 0


# ---- with the thread ----


def threaded() -> tuple[Solo, Site]:
    rig = make()
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    return rig, make_site(rig.plane, [udp()])


def test_what_waits_is_not_in_the_buffers_of_the_sockets() -> None:
    """Those are read into again before the lost datagram comes."""
    rig, site = threaded()
    flow = Flow()
    packets = [flow.next(size=SIZE - n) for n in range(40)]
    first, lost, *rest = sealed(rig, packets)
    with udp() as far, running(site):
        to = site.socks[0].getsockname()
        for datagram in (first, *rest):
            far.sendto(datagram, to)
        assert site.read(1) == packets[:1]
        until(lambda: site.counter("order_waiting_packets") == 38, "they wait")
        others = [segment(0, size=0, port=1 + n, tag=n) for n in range(100)]
        for datagram in sealed(rig, others):
            far.sendto(datagram, to)
        assert site.read(100) == others
        far.sendto(lost, to)
        assert site.read(39) == packets[1:]


def test_time_alone_sends_on_what_waits() -> None:
    rig, site = threaded()
    packets = Flow().some(3)
    first, _, last = sealed(rig, packets)
    with udp() as far, running(site):
        for datagram in (first, last):
            far.sendto(datagram, site.socks[0].getsockname())
        assert site.read(2) == [packets[0], packets[2]]
        until(lambda: site.counter("order_timeout_packets") == 1, "it is counted")
