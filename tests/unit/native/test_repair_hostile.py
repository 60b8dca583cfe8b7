"""A peer that says absurd things of repair, or says nothing: bounded, named, and nobody else is harmed."""

from __future__ import annotations

import random
import struct

import pytest

from oxidized.core.plane import Regime, RepairMode
from tests.differential.reference import Abandon, Ack, Ping, Prompt, Repair, Repeat, Source
from tests.native.repair_rig import udp
from tests.native.rig import INNER_A, INNER_B, MS, S, Solo, drops, ipv4, key, sums_must_hold
from tests.unit.native.test_order import Flow

FIRST = Ack(0, 0, 0, 1, 0, 0)


def sender(mode: RepairMode = RepairMode.ARQ, *, repair_bytes: int = 65536) -> Solo:
    """A plane that knows of a round trip of 40 ms and, for 1.5 s, that its path loses. It sent one packet."""
    rig = Solo(repair_bytes=repair_bytes)
    rig.plane.repair_set(mode)
    rig.send()
    rig.now_ns += 40 * MS
    rig.hear(FIRST.pack())
    rig.plane.repair_wish(rig.now_ns, rig.peer, 0, regime=Regime.RANDOM, redundancy=1.0, copies=3)
    rig.sent()
    return rig


def back(n: int) -> bytes:
    """A packet of a call to the peer."""
    return ipv4(INNER_B, INNER_A, udp(n)[20:], ecn=46 << 2)


def told(rig: Solo, name: str) -> int:
    value = rig.plane.repair_stats()[name]
    return sum(value.values()) if isinstance(value, dict) else int(value)


def kept(rig: Solo) -> int:
    return rig.plane.peer_counters(rig.peer).paths[0].kept_packets


# ---- acknowledgements ----


def test_who_acknowledges_what_never_came_gets_nothing_again() -> None:
    rig = sender()
    rig.send(*[back(n) for n in range(10)])
    rig.hear(Ack(0, 10, 0, 11, 0, 10).pack())
    assert kept(rig) == 0
    rig.tick_until(rig.now_ns + 1 * S)
    assert told(rig, "repeats_out") == told(rig, "lost_packets") == 0


@pytest.mark.parametrize(
    "ack",
    [
        Ack(0, 11, 0, 12, 0, 11),  # one more than was sent
        Ack(1, 10, 0, 11, 0, 10),  # of a path that nothing was sent on
        Ack(0, 10, 0, 1, 0, 1),  # names more than it says it got
        Ack(0, 10, 0, 10, 0, 8, ((0, 0),), repaired=2),  # more repaired than missing
    ],
    ids=["never-sent", "other-path", "too-many", "too-many-repaired"],
)
def test_a_bad_acknowledgement_is_dropped(ack: Ack) -> None:
    rig = sender()
    rig.send(*[back(n) for n in range(10)])
    rig.hear(ack.pack())
    assert drops(rig.plane) == {("receive", "bad-ack"): 1}
    assert rig.plane.peer_counters(rig.peer).paths[0].acks_received == 1, "the first, that was good"


def test_an_acknowledgement_of_the_session_before_means_nothing() -> None:
    rig = sender()
    rig.send(*[back(n) for n in range(10)])
    old = rig.far
    rig.far = rig.session(near=0x777, keys=(key(5), key(6)))
    rig.send(*[back(n) for n in range(10)])
    assert kept(rig) == 10
    rig.receive(old.seal(Ack(0, 9, 0, 10, 0, 9).pack()))
    assert kept(rig) == 10 and not drops(rig.plane)


@pytest.mark.parametrize("mode", [RepairMode.ARQ, RepairMode.FEC, RepairMode.AUTO])
@pytest.mark.parametrize("seed", range(4))
def test_acknowledgements_at_will(mode: RepairMode, seed: int) -> None:
    """Of what was sent, in any order, with holes, forward and back in time: bounded, and it goes on."""
    dice = random.Random(seed)
    rig = sender(mode)
    count, sent = 1, 0
    for _ in range(150):
        packets = [back(n) if dice.random() < 0.7 else Flow().next() for n in range(dice.randrange(8))]
        packets = [p if p[12:16] == bytes([10, 0, 0, 2]) else turned(p) for p in packets]
        rig.send(*packets) if packets else None
        largest = dice.randrange(count)
        first = dice.randrange(min(largest + 1, 20))
        ranges: tuple[tuple[int, int], ...] = ()
        left = largest - first
        while left > 10 and len(ranges) < 30 and dice.random() < 0.8:
            gap, length = dice.randrange(4), dice.randrange(4)
            ranges += ((gap, length),)
            left -= gap + length + 2
        named = first + 1 + sum(length + 1 for _, length in ranges)
        rig.hear(Ack(0, largest, dice.randrange(5000), named, 0, first, ranges).pack())
        rig.now_ns += dice.randrange(30 * MS)
        rig.tick()
        for opened in rig.opened():
            count = max(count, opened.pn + 1)
            sent += 1
        assert kept(rig) <= 64 * 16
        if dice.random() < 0.05:
            rig.plane.repair_wish(
                rig.now_ns, rig.peer, 0, regime=dice.choice(list(Regime)), redundancy=dice.random(), copies=2
            )
    assert {why for _, why in drops(rig.plane)} <= {"bad-ack"}
    assert sent < 150 * 8 + 150 + 512 * 2 + 1500
    sums_must_hold(rig.plane)
    rig.tick_until(rig.now_ns + 5 * S)
    assert not rig.sent()


def turned(packet: bytes) -> bytes:
    """The same in the other direction; of TCP nobody looks at the checksum."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


# ---- repetitions ----


def test_a_flood_of_one_content_is_delivered_once() -> None:
    rig = Solo(repair_bytes=65536)
    rig.receive(rig.far.seal(ipv4(), pn=5))
    for _ in range(10):
        rig.receive(*[rig.far.seal(Repeat(0, 2).pack() + udp(7)) for _ in range(64)])
    assert rig.delivered() == [ipv4(), udp(7)]
    assert (told(rig, "repeats_in"), told(rig, "restored_in"), told(rig, "known_in")) == (640, 1, 639)
    assert not drops(rig.plane)
    rig.receive(rig.far.seal(udp(7), pn=2))
    assert drops(rig.plane) == {("receive_datagram", "replayed"): 1} and rig.delivered() == []


def test_what_stands_in_a_repetition_is_judged_as_ever() -> None:
    rig = Solo()
    rig.receive(rig.far.seal(ipv4(), pn=5))
    rig.hear(Repeat(0, 1).pack() + ipv4("10.9.9.9"))
    rig.hear(Repeat(0, 2).pack() + ipv4()[:-1])
    rig.hear(Repeat(0, 3).pack() + b"\x04\x05\x15ello")
    assert len(rig.delivered()) == 1
    assert drops(rig.plane) == {
        ("receive", "wrong-source"): 1, ("receive", "bad-ip"): 1, ("receive", "bad-frame"): 1,
    }  # fmt: skip


def test_a_repetition_holds_no_frames() -> None:
    """Else it could nest, or hide what wants an answer."""
    rig = Solo()
    rig.receive(rig.far.seal(ipv4(), pn=5))
    inner = (
        Repeat(0, 1).pack() + ipv4(),
        Ping(0, 1, 1).pack(),
        FIRST.pack(),
        b"\0",
        Prompt().pack() + ipv4(),
    )
    for frames in inner:
        rig.hear(Repeat(0, 2).pack() + frames)
    assert drops(rig.plane) == {("receive", "bad-repair"): len(inner)}
    assert len(rig.delivered()) == 1 and not rig.sent()


def test_all_numbers_of_all_paths() -> None:
    """Near the ends of the number space, of four bytes and of the window: good, or one of two drops."""
    rig = Solo()
    rig.receive(rig.far.seal(ipv4(), pn=10_000))
    good = 0
    near = [0, 1, 1871, 1872, 1873, 9_999, 10_000, 10_001, 2**31, 2**32 - 1]
    for path in (0, 1, 3, 4, 255):
        for number in near:
            rig.hear(Repeat(path, number).pack() + ipv4())
            good += len(rig.delivered()) > 0
    found = drops(rig.plane)
    assert set(found) <= {("receive", "bad-repair"), ("receive", "too-old")}
    assert told(rig, "restored_in") + 1 == good
    sums_must_hold(rig.plane)


# ---- given up ----


def test_to_abandon_is_not_to_have_seen() -> None:
    """The late original is still taken, and held segments of that path alone go on."""
    rig = Solo(order=True)
    packets = Flow().some(4)
    datagrams = [rig.far.seal(packet) for packet in packets]
    rig.receive(datagrams[0], *datagrams[2:])
    assert rig.delivered() == packets[:1]
    rig.hear(Abandon(1, (1,)).pack())
    assert rig.delivered() == [] and drops(rig.plane) == {("receive", "bad-repair"): 1}
    rig.hear(Abandon(0, (3, 2, 1, 0)).pack())
    assert rig.delivered() == packets[2:]
    rig.receive(datagrams[1])
    assert rig.delivered() == [packets[1]]


@pytest.mark.parametrize(
    "frame",
    [
        Abandon(0, tuple(range(64, -1, -1))).pack(),  # 65 numbers
        b"\x06\x00\x01\x02\x00\x00",  # below 0
        b"\x06\x00\x05\x01\xff\xff\xff\xff\xff\xff\xff\xff",
        Abandon(0, (1 << 40,)).pack(),
        b"\x06\x00\x05\x01",
    ],
)
def test_absurd_lists_are_dropped(frame: bytes) -> None:
    rig = Solo(order=True)
    rig.receive(rig.far.seal(pn=100))
    rig.hear(frame)
    assert drops(rig.plane) == {("receive", "bad-repair"): 1}
    assert told(rig, "abandoned_in") == 0


# ---- prompts, members, symbols ----


def test_prompts_are_answered_at_most_once_a_millisecond() -> None:
    rig = Solo()
    acks = 0
    for _ in range(100):
        rig.receive(*[rig.far.seal(Prompt().pack() + ipv4()) for _ in range(20)])
        rig.now_ns += MS // 10
        rig.tick()
        acks += len(rig.sent())
    assert 5 <= acks <= 11
    rig.tick(1 * S)
    rig.sent()
    rig.hear(Prompt().pack())
    rig.tick_until(rig.now_ns + 1 * S)
    assert rig.sent() == [], "alone it asks for nothing"


def test_symbols_at_will() -> None:
    """Windows of what never came, contradictions, all streams at once: no memory, nothing out of nothing."""
    dice = random.Random(1)
    rig = Solo(repair_bytes=65536)
    before = rig.plane.stats()["memory_bytes"]
    for n in range(600):
        path, stream = dice.randrange(4), dice.randrange(8)
        body = struct.pack(">HB", dice.choice([n, 65535, 0, dice.randrange(65536)]), dice.randrange(256))
        body += dice.randbytes(dice.choice([0, 4, 5, 40, 1372]))
        frames = dice.choice(
            [
                Repair(path, stream, body),
                Repair(0, 0, body),
                Source(stream, n),
                Source(0, dice.randrange(65536)),
            ]
        ).pack()
        if frames[0] < 0x20:
            frames += udp(n)
        rig.hear(frames, path=dice.choice([0, path]))
        rig.now_ns += MS
        rig.tick()
        rig.sent()
    assert rig.plane.stats()["memory_bytes"] == before
    assert {why for _, why in drops(rig.plane)} <= {"bad-repair"}
    sums_must_hold(rig.plane)
    delivered = rig.delivered()
    assert len(delivered) == len(set(delivered)) > 100


def test_a_symbol_of_what_never_came_is_of_no_use_and_no_harm() -> None:
    """Also where there is no room for any, and of a single member."""
    for repair_bytes in (0, 65536):
        rig = Solo(repair_bytes=repair_bytes)
        for count in (1, 2, 255):
            rig.hear(Repair(0, 3, struct.pack(">HB", 7, count) + bytes(64)).pack())
        assert told(rig, "codes_in") == told(rig, "undecoded_in") == 3
        assert not drops(rig.plane) and rig.delivered() == []
