"""The choice between UDP and the QUIC carrier, step by step."""

from __future__ import annotations

import itertools

from oxidized.core.transport import PROBE_INTERVAL_NS, SETTLE_PINGS, Step, Transport

SECOND_NS = 1_000_000_000


def run(
    transport: Transport, start_ns: int, end_ns: int, control: bool = True, answers: bool = False
) -> list[tuple[float, Step]]:
    """Step at every due time; the network answers as told."""
    steps = []
    while transport.next_ns is not None and transport.next_ns <= end_ns:
        now_ns = max(transport.next_ns, start_ns)
        step = transport.step(now_ns)
        steps.append((now_ns / SECOND_NS, step))
        if step.ping_control and control:
            transport.control_answered()
        if step.probe_udp and answers:
            transport.probe_answered()
    return steps


def test_udp_that_works_is_left_alone() -> None:
    transport = Transport("auto")
    transport.session_started(SECOND_NS)
    assert transport.step(SECOND_NS) == Step(ping=True, ping_control=True)
    transport.udp_answered(SECOND_NS)
    assert [step for _, step in run(transport, 0, 99 * SECOND_NS)] == [Step(ping=True)] * SETTLE_PINGS
    assert transport.next_ns is None
    assert transport.step(100 * SECOND_NS) == Step()
    assert transport.mode == "udp"


def test_udp_is_called_blocked_after_three_seconds_with_a_living_control_connection() -> None:
    transport = Transport("auto")
    transport.session_started(0)
    steps = run(transport, 0, 3 * SECOND_NS)
    assert [at for at, step in steps if step.ping] == [number / 4 for number in range(12)]
    assert [at for at, step in steps if step.switched] == [3]
    assert (transport.mode, transport.reason) == ("quic", "udp blocked")


def test_a_dead_network_is_not_a_blocked_one() -> None:
    transport = Transport("auto")
    transport.session_started(0)
    steps = run(transport, 0, 60 * SECOND_NS, control=False)
    assert transport.mode == "udp"
    assert len(steps) == 12 + 58


def test_when_the_network_comes_back_udp_gets_its_chance() -> None:
    transport = Transport("auto")
    transport.session_started(0)
    run(transport, 0, 20 * SECOND_NS, control=False)
    transport.control_answered()
    for _ in range(3):
        assert transport.step(transport.next_ns or 0).ping
    transport.udp_answered(25 * SECOND_NS)
    run(transport, 0, 99 * SECOND_NS)
    assert transport.mode == "udp" and transport.next_ns is None


def test_an_answer_from_before_the_watch_proves_nothing() -> None:
    transport = Transport("auto")
    transport.control_answered()
    transport.session_started(0)
    run(transport, 0, 10 * SECOND_NS, control=False)
    assert transport.mode == "udp"


def test_the_way_back_takes_two_answers_in_a_row() -> None:
    transport = Transport("auto")
    transport.session_started(0)
    run(transport, 0, 4 * SECOND_NS)
    assert transport.mode == "quic"
    probes = run(transport, 0, 200 * SECOND_NS)
    assert transport.mode == "quic"
    probes = [(at, step) for at, step in probes if step.probe_udp]
    assert [b - a for (a, _), (b, _) in itertools.pairwise(probes)] == [30] * (len(probes) - 1)
    assert len(probes) == 6

    now_ns = transport.next_ns or 0
    assert transport.step(now_ns).probe_udp
    transport.probe_answered()
    assert transport.step(now_ns + PROBE_INTERVAL_NS).probe_udp  # this one is lost: start over
    assert transport.step(now_ns + 2 * PROBE_INTERVAL_NS).probe_udp
    transport.probe_answered()
    assert transport.step(now_ns + 3 * PROBE_INTERVAL_NS).probe_udp
    transport.probe_answered()
    assert transport.mode == "quic"
    assert transport.step(now_ns + 4 * PROBE_INTERVAL_NS).switched
    assert (transport.mode, transport.reason) == ("udp", "udp answers again")


def test_an_answer_counts_once() -> None:
    transport = Transport("auto")
    transport.session_started(0)
    run(transport, 0, 6 * SECOND_NS)
    now_ns = transport.next_ns or 0
    transport.step(now_ns)
    for _ in range(5):
        transport.probe_answered()
    assert transport.step(now_ns + PROBE_INTERVAL_NS).probe_udp
    assert transport.mode == "quic"


def test_forced_ways_are_kept() -> None:
    udp, quic = Transport("udp"), Transport("quic")
    for transport in (udp, quic):
        transport.session_started(0)
    assert not any(step.switched for _, step in run(udp, 0, 30 * SECOND_NS))
    assert [step for _, step in run(quic, 0, 300 * SECOND_NS)] == [Step(ping=True)] * SETTLE_PINGS
    assert (udp.mode, quic.mode) == ("udp", "quic")


def test_a_new_session_stays_on_the_way_that_worked() -> None:
    transport = Transport("auto")
    transport.session_started(0)
    run(transport, 0, 4 * SECOND_NS)
    transport.session_started(10 * SECOND_NS)
    assert transport.mode == "quic"


def test_the_operator_can_change_his_mind() -> None:
    transport = Transport("auto")
    assert transport.change_policy("quic", 0) is True
    assert transport.mode == "quic"
    assert transport.change_policy("auto", 0) is False
    assert any(step.probe_udp for _, step in run(transport, 0, 40 * SECOND_NS))
    assert transport.change_policy("udp", 0) is True
