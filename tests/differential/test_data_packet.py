"""The plane and the reference talk to each other: what one seals the other opens, and reads the same."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core.plane import Suite
from oxidized.ffi.dataplane import aead_library
from tests.differential import reference as ref
from tests.differential.reference import (
    Abandon,
    Ack,
    Inner,
    Ping,
    Pong,
    Prompt,
    Repair,
    Repeat,
    Source,
    parse,
)  # fmt: skip
from tests.native.rig import (
    EDGE,
    INNER_A,
    INNER_B,
    MS,
    PAYLOAD_MAX,
    Solo,
    drops,
    ipv4,
    ipv6,
    key,
    sums_must_hold,
)  # fmt: skip

SUITES = st.sampled_from(list(Suite))
HERE = [name for name in ("openssl", "ipsec-mb") if not aead_library(name).trouble]
LIBRARIES = st.sampled_from(HERE)
PAYLOADS = st.binary(max_size=1392)


@settings(max_examples=60)
@given(SUITES, LIBRARIES, st.lists(PAYLOADS, min_size=1, max_size=12), st.booleans())
def test_what_the_plane_seals_the_reference_opens(
    suite: Suite, library: str, payloads: list[bytes], is_v6: bool
) -> None:
    rig = Solo(suite=suite, library=library)
    sources = ("fd00::2", "fd00::1") if is_v6 else (INNER_B, INNER_A)
    packets = [(ipv6 if is_v6 else ipv4)(*sources, payload[:1380]) for payload in payloads]
    rig.send(*packets)
    found = rig.opened()
    assert [o.inner for o in found] == packets
    assert [o.pn for o in found] == list(range(len(packets)))
    assert {(o.path, o.phase) for o in found} == {(0, 0)}
    assert not drops(rig.plane)


@settings(max_examples=60)
@given(SUITES, LIBRARIES, st.lists(st.tuples(PAYLOADS, st.integers(0, 3)), min_size=1, max_size=12))
def test_what_the_reference_seals_the_plane_opens(
    suite: Suite, library: str, payloads: list[tuple[bytes, int]]
) -> None:
    rig = Solo(suite=suite, library=library)
    packets = [ipv4(payload=payload) for payload, _ in payloads]
    rig.receive(*[rig.far.seal(p, path=path) for p, (_, path) in zip(packets, payloads, strict=True)])
    assert rig.delivered() == packets
    assert not drops(rig.plane)
    by_path = [path.rx_packets for path in rig.plane.peer_counters(rig.peer).paths]
    assert by_path == [sum(path == n for _, path in payloads) for n in range(4)]


VARINTS = st.one_of(st.integers(0, 70), st.integers(0, 1 << 16), st.integers(0, (1 << 62) - 1))
PAIRS = st.tuples(VARINTS, VARINTS)
NUMBERS = st.one_of(st.integers(0, 12), st.integers(0, (1 << 62) - 1))  # near what has come, or any


def falling(numbers: list[int]) -> tuple[int, ...]:
    return tuple(sorted(numbers, reverse=True))


FRAMES = st.one_of(
    st.just(bytes(1)),
    st.builds(Ping, st.integers(0, 255), st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1)).map(Ping.pack),
    st.builds(Pong, st.integers(0, 255), st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1)).map(Pong.pack),
    st.builds(
        lambda path, largest, us, missing, *rest: Ack(path, largest, us, largest + 1 - missing, *rest),
        st.sampled_from([0, 1, 2, 3, 64, 128]), VARINTS, VARINTS, VARINTS, VARINTS, VARINTS,
        st.lists(PAIRS, max_size=34).map(tuple), st.lists(PAIRS, max_size=18).map(tuple), VARINTS,
    ).map(Ack.pack),
    st.just(Prompt().pack()),
    st.builds(
        Abandon, st.integers(0, 4), st.lists(NUMBERS, min_size=1, max_size=70, unique=True).map(falling)
    ).map(Abandon.pack),
    st.builds(Repeat, st.integers(0, 4), NUMBERS).map(Repeat.pack),
    st.builds(Source, st.integers(0, 7), NUMBERS).map(Source.pack),
    st.builds(Repair, st.integers(0, 3), st.integers(0, 7), st.binary(max_size=20)).map(Repair.pack),
    st.binary(max_size=30),
    st.binary(max_size=60).map(lambda b: ipv4(payload=b)),
)  # fmt: skip


def ack_is_good(ack: Ack, sent: list[int]) -> bool:
    """PROTOCOL.md section 3.1: of what was sent, and not contradicting itself."""
    if ack.path > 3 or ack.largest >= sent[ack.path]:
        return False
    if ack.received > ack.largest + 1 or ack.ce > ack.received:
        return False
    if ack.repaired > ack.largest + 1 - ack.received:
        return False
    if len(ack.ranges) > 32 or len(ack.times) > 16:
        return False
    lowest = ack.largest - ack.first_range - sum(gap + length + 2 for gap, length in ack.ranges)
    named = ack.first_range + 1 + sum(length + 1 for _, length in ack.ranges)
    is_named_well = lowest >= 0 and named <= ack.received + ack.repaired
    return is_named_well and sum(d for d, _ in ack.times) <= ack.largest


# What the plane has seen before: numbers by path; the datagram that is looked at comes as the next of path 0.
SEEN = {0: {0, 1, 2, 5, 8}, 1: {3}, 2: set(), 3: {0, 1}}
SEEN_NEXT = {path: max(numbers, default=-1) + 1 for path, numbers in SEEN.items()}


def is_last(kind: int) -> bool:
    """An item, or a bundle of them."""
    return kind >> 4 in (4, 6) or kind >> 3 == 1 or kind >= 0x80 or kind == ref.BUNDLE


@dataclass
class Expected:
    """What a receiver makes of a plaintext. `why`: name of the drop."""

    answered: list[Ping] = field(default_factory=list)
    inner: Inner | None = None
    why: str | None = None


def expect_last(found: Expected, rest: bytes) -> Expected:
    kind = rest[0]
    if kind >> 4 in (4, 6):
        found.inner = Inner(rest)
    elif kind == ref.BUNDLE:
        found.why = "bundle"
    else:  # compressed, and this end takes none
        found.why = "lz-refused" if kind >> 3 == 1 else "no-context"
    return found


def is_repeatable(path: int, low: int, rest: bytes) -> bool:
    """PROTOCOL.md section 3.2: the content of a number that was sent before this datagram."""
    if path > 3 or not rest or not is_last(rest[0]):
        return False
    here = SEEN_NEXT[path] + (path == 0)  # this datagram is seen by now
    return ref.expand(here, low) < SEEN_NEXT[path]


def expect_repair(plaintext: bytes, at: int, found: Expected) -> int:
    """Where the frame ends; if that is where it begins, so does the rest."""
    kind = plaintext[at]
    try:
        frame, behind = ref.take_repair(plaintext, at)
    except ref.Malformed:
        found.why = "bad-frame" if kind >= ref.SOURCE else "bad-repair"
        return at
    rest = plaintext[behind:]
    is_good = True
    if isinstance(frame, Abandon):
        is_near = frame.path <= 3 and frame.numbers[0] < SEEN_NEXT[frame.path] + (frame.path == 0)
        is_good = is_near and len(frame.numbers) <= 64 and frame.numbers[-1] >= 0
    elif isinstance(frame, Repair):
        is_good = 8 <= len(frame.body) <= 3 + 1540 and frame.body[2] > 0
    elif isinstance(frame, Repeat):
        is_good = is_repeatable(frame.path, frame.number, rest)
        if is_good:
            if ref.expand(SEEN_NEXT[frame.path], frame.number) not in SEEN[frame.path]:
                expect_last(found, rest)
            return len(plaintext)
    found.why = None if is_good else "bad-repair"
    return behind if is_good else at


def expect(plaintext: bytes, sent: list[int]) -> Expected:
    """What a receiver that has sent so many, and has seen SEEN, makes of it."""
    found = Expected()
    at = 0
    while at < len(plaintext):
        kind = plaintext[at]
        if is_last(kind):
            return expect_last(found, plaintext[at:])
        if ref.PROMPT <= kind <= ref.REPEAT or ref.SOURCE <= kind < ref.REPAIR + 32:
            before, at = at, expect_repair(plaintext, at, found)
            if at == before:
                return found
            continue
        size = {ref.PADDING: 1, ref.PING: 18, ref.PONG: 18}.get(kind)
        if kind == ref.ACK:
            try:
                ack, behind = ref.take_ack(plaintext, at)
            except ref.Malformed:
                found.why = "bad-frame-or-ack"
                return found
            if not ack_is_good(ack, sent):
                found.why = "bad-ack"
                return found
            size = behind - at
        if size is None or at + size > len(plaintext) or (kind == ref.PING and found.answered):
            found.why = "bad-frame"
            return found
        if kind == ref.PING:
            found.answered += parse(plaintext[at : at + size])
        at += size
    return found


@settings(max_examples=400)
@given(st.lists(FRAMES, max_size=6), st.integers(0, 60), st.booleans())
def test_frames_mean_the_same(frames: list[bytes], cut: int, has_arena: bool) -> None:
    rig = Solo(repair_bytes=has_arena << 16)
    rig.send(*[ipv4(INNER_B, INNER_A)] * 40)
    rig.opened()
    rig.receive(*[rig.far.seal(path=path, pn=pn) for path, numbers in SEEN.items() for pn in sorted(numbers)])
    plaintext = b"".join(frames)
    plaintext = plaintext[: max(0, len(plaintext) - cut)] if cut % 3 == 0 else plaintext
    expected = expect(plaintext, [40, 0, 0, 0])
    why = expected.why
    rig.hear(plaintext)
    pongs = [frame for opened in rig.opened() for frame in opened.of(Pong)]
    assert pongs == [Pong(ping.flags, ping.token, ping.time) for ping in expected.answered]
    got = {reason for way, reason in drops(rig.plane) if way == "receive"}
    if why is None and expected.inner is None:
        assert got == set()
    elif why == "bad-frame-or-ack":  # cut short, and perhaps wrong before that
        assert got in ({"bad-frame"}, {"bad-ack"})
    elif why == "bundle":  # of whatever
        assert got <= {"bad-frame", "bad-ip", "wrong-source", "lz-refused", "no-context"}
    elif why is not None:
        assert got == {why}
    elif rig.delivered():
        assert got == set()
    else:
        assert got <= {"bad-ip", "wrong-source"} and len(got) == 1
    sums_must_hold(rig.plane)


@settings(max_examples=80)
@given(st.binary(min_size=0, max_size=120), st.data())
def test_one_changed_bit_is_enough(payload: bytes, data: st.DataObject) -> None:
    rig = Solo()
    good = rig.far.seal(ipv4(payload=payload))
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    rig.receive(bytes(bad))
    assert rig.delivered() == []
    assert rig.plane.stats()["opened_datagrams"] == 0
    rig.receive(good)
    assert len(rig.delivered()) == 1, "a forgery does not use up the number"


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("library", HERE)
def test_every_bit_of_the_tag_counts(library: str, suite: Suite) -> None:
    rig = Solo(suite=suite, library=library)
    good = rig.far.seal(ipv4())
    for bit in range(8 * (len(good) - 16), 8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        rig.receive(bytes(bad))
    assert drops(rig.plane) == {("receive_datagram", "forged"): 128}
    rig.receive(good)
    assert len(rig.delivered()) == 1


@settings(max_examples=100)
@given(st.lists(st.integers(0, 1 << 31), min_size=1, max_size=8), st.lists(st.integers(0, 9000), max_size=8))
def test_long_numbers_travel_as_32_bits(steps: list[int], back: list[int]) -> None:
    """Jumps of up to 2^31 ahead, also over multiples of 2^32, then numbers from below the largest."""
    rig = Solo()
    window, pn = ref.Window(), -1
    tries = []
    for step in steps:
        pn += step
        tries.append(max(pn, 0))
    tries += [max(pn - distance, 0) for distance in back]
    for number in tries:
        before = Counter(drops(rig.plane))
        rig.receive(rig.far.seal(pn=number))
        verdict = window.verdict(number)
        new = Counter(drops(rig.plane)) - before
        assert new == ({} if verdict == "new" else {("receive_datagram", verdict): 1})


def test_numbers_go_on_over_32_bits() -> None:
    rig = Solo()
    turn = 1 << 32
    numbers = [
        turn // 2,
        turn - 2,
        turn - 1,
        turn,
        turn + 1,
        turn - 3,
        2 * turn - 1 - turn // 2,
        2 * turn - 1,
    ]
    numbers += [2 * turn, 2 * turn - 2, 2 * turn + turn // 2, 3 * turn]
    for number in numbers:
        rig.receive(rig.far.seal(ipv4(), pn=number))
    assert len(rig.delivered()) == len(numbers)
    assert drops(rig.plane) == {}


@pytest.mark.parametrize("suite", Suite)
def test_keys_are_one_way(suite: Suite) -> None:
    """What the plane sealed does not come back to it as a packet of the peer."""
    rig = Solo(suite=suite)
    rig.send()
    ((datagram, _),) = rig.sent()
    rig.receive(struct.pack(">I", rig.far.send_index) + datagram[4:])
    assert drops(rig.plane) == {("receive_datagram", "forged"): 1}
    with pytest.raises(InvalidTag):
        ref.End(suite, 0, rig.far.receive_index, {}, {0: key(9)}).open(datagram)


def test_packets_of_each_path_are_numbered_apart() -> None:
    rig = Solo()
    for path in range(4):
        rig.plane.path_set(rig.peer, path, EDGE, PAYLOAD_MAX)
    for turn in range(3):
        for path in range(4):
            rig.plane.ping(rig.now_ns + turn, rig.peer, path, token=1)
    assert [(o.path, o.pn) for o in rig.opened()] == [(path, turn) for turn in range(3) for path in range(4)]


def test_a_failed_seal_spends_no_nonce_twice() -> None:
    """Across all that can end a packet behind numbering, no (path, number) is sealed twice under a key."""
    rig = Solo(pool_pkts=256)
    seen: set[tuple[int, int, int]] = set()
    for turn in range(12):
        rig.send(*[ipv4(INNER_B, INNER_A)] * 64)
        rig.hear(Ping(0, turn + 1, 0).pack() + ipv4())
        rig.tick(10 * MS)
        if turn % 4 == 3:
            for opened in rig.opened():
                assert (opened.phase, opened.path, opened.pn) not in seen
                seen.add((opened.phase, opened.path, opened.pn))
    assert len(seen) == rig.plane.stats()["outer_out_datagrams"]
