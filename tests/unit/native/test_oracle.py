"""What the oracle remembers of flows: verdicts, for how long, what it learns, and that nothing grows."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from oxidized.core.oracle import FEATURES, HIDDEN, OracleWeights, Verdict
from oxidized.errors import NativeError
from oxidized.ffi.dataplane import DataPlane
from oxidized.ffi.oracle import oracle_is_worth
from tests.native.rig import ipv4, ipv6

SKIPPED_PKTS = 64
PRESSED_PKTS = 256
TEXT = b"the quick brown fox jumps over the lazy dog, and over it again. " * 30
NOISE = Random(1).randbytes(2000)


def always(verdict: Verdict) -> OracleWeights:
    """A net that says this of every packet."""
    scores = tuple(1.0 if v is verdict else 0.0 for v in Verdict)
    return OracleWeights(
        (0.0,) * (FEATURES * HIDDEN), (0.0,) * HIDDEN, (0.0,) * (HIDDEN * len(Verdict)), scores
    )


def udp(payload: bytes, *, port: int = 1000, source: str = "10.0.0.1") -> bytes:
    return ipv4(source, payload=struct.pack(">HHHH", port, 2000, 8 + len(payload), 0) + payload)


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    made = DataPlane()
    yield made
    made.close()


def ask(plane: DataPlane, packet: bytes, **how: bool | int) -> Verdict:
    return plane.oracle_ask(packet, 28, **how)[0]


def looked(plane: DataPlane) -> int:
    return plane.oracle_counters().looked_packets


def test_heuristic_by_content_and_size(plane: DataPlane) -> None:
    assert ask(plane, udp(TEXT[:300])) is Verdict.AGGRESSIVE
    assert ask(plane, udp(TEXT[:1300])) is Verdict.LIGHT
    assert ask(plane, udp(NOISE[:1300], port=4)) is Verdict.SKIP
    assert ask(plane, udp(NOISE[:300], port=2)) is Verdict.ROHC_ONLY
    assert ask(plane, udp(b"\x17\x03\x03" + TEXT[:300], port=3)) is Verdict.ROHC_ONLY


def test_without_permission_the_payload_is_not_looked_at(plane: DataPlane) -> None:
    for weights in (None, always(Verdict.AGGRESSIVE)):
        plane.oracle_set(weights, 1)
        assert ask(plane, udp(TEXT[:300]), is_allowed=False) is Verdict.ROHC_ONLY
        assert ask(plane, udp(TEXT[:1300]), is_allowed=False) is Verdict.SKIP
    assert looked(plane) == 0


@pytest.mark.parametrize(("size", "looks"), [(0, 0), (31, 0), (32, 1)])
def test_short_payload_is_left_alone(plane: DataPlane, size: int, looks: int) -> None:
    plane.oracle_set(always(Verdict.LIGHT), 1)
    assert ask(plane, udp(TEXT[:size])) is (Verdict.LIGHT if looks else Verdict.ROHC_ONLY)
    assert looked(plane) == looks


@pytest.mark.parametrize(
    ("verdict", "lives"),
    [(Verdict.LIGHT, PRESSED_PKTS), (Verdict.AGGRESSIVE, PRESSED_PKTS), (Verdict.SKIP, SKIPPED_PKTS)],
)
def test_verdict_lives_for_so_many_packets(plane: DataPlane, verdict: Verdict, lives: int) -> None:
    plane.oracle_set(always(verdict), 1)
    for turn in range(3):
        for _ in range(lives):
            ask(plane, udp(TEXT[:200]))
            assert looked(plane) == turn + 1


def test_remembered_verdict_is_used_whatever_comes(plane: DataPlane) -> None:
    assert ask(plane, udp(TEXT[:300])) is Verdict.AGGRESSIVE
    assert ask(plane, udp(NOISE[:300])) is Verdict.AGGRESSIVE
    assert looked(plane) == 1


@pytest.mark.parametrize(
    "other",
    [
        udp(TEXT[:200], port=1001),
        udp(TEXT[:200], source="10.0.0.3"),
        udp(TEXT[:1200]),
        udp(TEXT[:200]).replace(b"\x40\x11", b"\x40\x06", 1),
        ipv4("10.0.0.1", "10.0.0.9", udp(TEXT[:200])[20:]),
        ipv6(payload=udp(TEXT[:200])[20:]),
    ],
    ids=["port", "source", "large", "protocol", "target", "version"],
)
def test_flows_are_told_apart(plane: DataPlane, other: bytes) -> None:
    ask(plane, udp(TEXT[:200]))
    ask(plane, other)
    assert looked(plane) == 2
    ask(plane, other)
    assert looked(plane) == 2


@pytest.mark.parametrize("at", [8, 15, 16, 23, 24, 31, 32, 39, 40, 43])
def test_every_part_of_an_ipv6_flow_counts(plane: DataPlane, at: int) -> None:
    packet = bytearray(ipv6(payload=udp(TEXT[:200])[20:]))
    ask(plane, bytes(packet))
    packet[at] ^= 1
    ask(plane, bytes(packet))
    assert looked(plane) == 2


def test_peers_have_flows_of_their_own(plane: DataPlane) -> None:
    ask(plane, udp(TEXT[:200]), peer=1)
    ask(plane, udp(TEXT[:200]), peer=2)
    assert looked(plane) == 2


def test_fragments_are_one_flow(plane: DataPlane) -> None:
    """Behind the first fragment there are no ports: what stands in their place must not count."""
    one, other = bytearray(udp(TEXT[:200])), bytearray(udp(TEXT[:200], port=7))
    one[6] = other[6] = 0x20
    ask(plane, bytes(one))
    ask(plane, bytes(other))
    assert looked(plane) == 1


@pytest.mark.parametrize(("size", "bare"), [(200, Verdict.ROHC_ONLY), (1200, Verdict.SKIP)])
def test_flow_that_saves_nothing_is_given_up_until_the_next_look(
    plane: DataPlane, size: int, bare: Verdict
) -> None:
    plane.oracle_set(always(Verdict.LIGHT), 1)
    packet = udp(TEXT[:size])

    def attempt(*, has_saved: bool) -> Verdict:
        verdict, ticket = plane.oracle_ask(packet, 28)
        if verdict is Verdict.LIGHT:
            plane.oracle_learn(ticket, has_saved=has_saved)
        return verdict

    assert [attempt(has_saved=False), attempt(has_saved=True), attempt(has_saved=False)] == [
        Verdict.LIGHT
    ] * 3
    assert attempt(has_saved=False) is Verdict.LIGHT
    assert [attempt(has_saved=False) for _ in range(SKIPPED_PKTS)] == [bare] * SKIPPED_PKTS
    # Looked at again and tried again, one more failure is enough.
    assert attempt(has_saved=False) is Verdict.LIGHT
    assert [attempt(has_saved=False) for _ in range(SKIPPED_PKTS)] == [bare] * SKIPPED_PKTS
    assert attempt(has_saved=True) is Verdict.LIGHT
    assert attempt(has_saved=False) is attempt(has_saved=False) is Verdict.LIGHT
    counters = plane.oracle_counters()
    assert (counters.given_up_flows, counters.missed_attempts) == (3, 6)


def test_old_tickets_teach_nothing(plane: DataPlane) -> None:
    """The flow's place may be another's by now, or the flow may have been given up."""
    plane.oracle_set(always(Verdict.LIGHT), 1)
    _, ticket = plane.oracle_ask(udp(TEXT[:200]), 28)
    for _ in range(9):
        plane.oracle_learn(ticket, has_saved=False)
    assert plane.oracle_counters().missed_attempts == 2
    tickets = (plane.oracle_ask(udp(TEXT[:200], port=port), 28)[1] for port in range(2, 65536))
    assert any(other.slot == ticket.slot and other.tag != ticket.tag for other in tickets)
    plane.oracle_learn(ticket, has_saved=False)
    _, nobody = plane.oracle_ask(udp(TEXT[:200]), 28, is_allowed=False)
    plane.oracle_learn(nobody, has_saved=False)
    assert plane.oracle_counters().missed_attempts == 2


def test_many_flows_only_make_others_be_looked_at_again(plane: DataPlane) -> None:
    plane.oracle_set(always(Verdict.LIGHT), 1)
    mine = udp(TEXT[:200])
    memory = plane.stats()["memory_bytes"]
    for port in range(20000):
        ask(plane, udp(TEXT[:64], port=port % 65536, source=f"10.9.{port % 256}.{port >> 8}"))
    before = looked(plane)
    assert before > 19000
    assert ask(plane, mine) is Verdict.LIGHT
    assert looked(plane) <= before + 1
    assert plane.stats()["memory_bytes"] == memory


def test_flows_spread_over_the_table_and_by_the_seed(plane: DataPlane) -> None:
    """1,000 flows that differ in a port alone, in 2,048 places: at random they would take 790 of them."""
    again: list[list[int]] = []
    for seed in (1, 2):
        plane.oracle_set(always(Verdict.LIGHT), seed)
        before = looked(plane)
        slots = [plane.oracle_ask(udp(TEXT[:64], port=port), 28)[1].slot for port in range(1000)]
        assert looked(plane) == before + 1000
        assert len(set(slots)) > 700 and max(Counter(slots).values()) < 9
        again.append(slots)
    assert sum(one == other for one, other in zip(*again, strict=True)) < 20


@pytest.mark.parametrize(("traffic_class", "urgent"), [(0x00, 0), (0x7C, 0), (0x80, 1), (0xB8, 1)])
@pytest.mark.parametrize("is_v6", [False, True])
def test_urgency_comes_from_the_caller_or_the_traffic_class(
    plane: DataPlane, traffic_class: int, urgent: int, is_v6: bool
) -> None:
    """A net that presses only what is urgent."""
    last = FEATURES - 1
    hidden = [0.0] * (FEATURES * HIDDEN)
    hidden[last * HIDDEN] = 2.0
    scores = [0.0] * (HIDDEN * len(Verdict))
    scores[Verdict.LIGHT] = 1.0
    weights = OracleWeights(tuple(hidden), (0.0,) * HIDDEN, tuple(scores), (1.0, 0.0, 0.0, 0.0))
    plane.oracle_set(weights, 1)
    packet = bytearray(ipv6(payload=udp(TEXT[:200])[20:]) if is_v6 else udp(TEXT[:200]))
    if is_v6:
        packet[0] |= traffic_class >> 4
        packet[1] |= traffic_class << 4 & 0xFF
    else:
        packet[1] = traffic_class
    at = 48 if is_v6 else 28
    assert plane.oracle_ask(bytes(packet), at)[0] is (Verdict.LIGHT if urgent else Verdict.ROHC_ONLY)
    assert plane.oracle_ask(bytes(packet), at, peer=3, is_urgent=True)[0] is Verdict.LIGHT


@pytest.mark.parametrize(
    ("packet", "payload", "saved", "is_worth"),
    [
        (200, 100, 7, False), (200, 100, 8, True), (999, 900, 44, False), (999, 900, 45, True),
        (1000, 900, 111, False), (1000, 900, 112, True), (9000, 8900, 444, False), (9000, 8900, 445, True),
    ],
)  # fmt: skip
def test_what_is_worth_sending_compressed(packet: int, payload: int, saved: int, is_worth: bool) -> None:
    assert oracle_is_worth(packet, payload, saved) is is_worth


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.1e4, -1.1e4])
@pytest.mark.parametrize("field", OracleWeights.__dataclass_fields__)
def test_unsound_weights_are_refused_at_the_boundary(plane: DataPlane, field: str, value: float) -> None:
    good = always(Verdict.LIGHT)
    row = (*getattr(good, field)[:-1], value)
    bad = OracleWeights(
        **{name: getattr(good, name) for name in OracleWeights.__dataclass_fields__} | {field: row}
    )
    with pytest.raises(NativeError, match="bad argument"):
        plane.oracle_set(bad, 1)
    assert ask(plane, udp(TEXT[:300])) is Verdict.AGGRESSIVE


@pytest.mark.parametrize("packet", [b"", b"\x45", bytes(40), udp(TEXT[:50])[:-1], ipv6()[:39]])
def test_what_is_no_packet_is_refused_at_the_boundary(plane: DataPlane, packet: bytes) -> None:
    with pytest.raises(NativeError, match="bad argument"):
        plane.oracle_ask(packet, 28)


class Memory(RuleBasedStateMachine):
    """The slow, obvious version: a dictionary from flow to (packets left, misses); few flows, so no place is
    shared (checked)."""

    def __init__(self) -> None:
        super().__init__()
        self.plane = DataPlane()
        self.plane.oracle_set(always(Verdict.AGGRESSIVE), 7)
        slots = {self.plane.oracle_ask(self.packet(flow, 99), 28)[1].slot for flow in range(4)}
        assert len(slots) == 4
        self.plane.oracle_set(always(Verdict.AGGRESSIVE), 7)
        self.looks = looked(self.plane)
        self.flows: dict[int, tuple[Verdict, int, int]] = {}
        self.asked = 4

    @staticmethod
    def packet(flow: int, size: int) -> bytes:
        return udp(TEXT[:size], port=flow)

    @rule(flow=st.integers(0, 3), times=st.integers(1, 150), has_saved=st.booleans())
    def send(self, flow: int, times: int, has_saved: bool) -> None:
        for _ in range(times):
            verdict, left, misses = self.flows.get(flow, (Verdict.AGGRESSIVE, 0, 0))
            if left == 0:
                verdict, left, misses = Verdict.AGGRESSIVE, PRESSED_PKTS, int(misses == 2)
                self.looks += 1
            found, ticket = self.plane.oracle_ask(self.packet(flow, 99), 28)
            self.asked += 1
            assert found is verdict
            left -= 1
            if verdict is Verdict.AGGRESSIVE:
                self.plane.oracle_learn(ticket, has_saved=has_saved)
                misses = 0 if has_saved else misses + 1
                if misses == 2:
                    verdict, left = Verdict.ROHC_ONLY, SKIPPED_PKTS
            self.flows[flow] = (verdict, left, misses)

    @rule()
    def forget(self) -> None:
        self.plane.oracle_set(always(Verdict.AGGRESSIVE), 7)
        self.flows.clear()

    @invariant()
    def counts(self) -> None:
        counters = self.plane.oracle_counters()
        assert counters.looked_packets == self.looks
        assert sum(counters.verdicts.values()) == self.asked

    def teardown(self) -> None:
        self.plane.close()


TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
