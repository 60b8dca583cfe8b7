"""The timer heap against a list, and that it does not grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oxidized.core.timers import COMPACT_ABOVE, Timer, Timers

steps = st.lists(
    st.tuples(st.sampled_from(["set", "cancel", "run"]), st.integers(0, 4), st.integers(0, 50)), max_size=80
)


@given(steps)
def test_a_heap_does_what_a_list_does(script: list[tuple[str, int, int]]) -> None:
    timers, now = Timers(), 0
    ran: list[tuple[int, int]] = []
    made: list[Timer] = []
    for who in range(5):
        made.append(timers.new(lambda at, who=who: ran.append((at, who))))
    wanted: dict[int, int] = {}
    expected: list[tuple[int, int]] = []
    for step, who, value in script:
        if step == "set":
            made[who].set(now + value)
            wanted[who] = now + value
        elif step == "cancel":
            made[who].cancel()
            wanted.pop(who, None)
        else:
            now += value
            due = sorted(w for w, at in wanted.items() if at <= now)
            expected += [(now, w) for w in due]
            for w in due:
                del wanted[w]
            timers.run_due(now)
            assert sorted(ran) == sorted(expected)
        assert timers.next_ns() == min(wanted.values(), default=None)


def test_due_timers_run_in_order_of_time() -> None:
    timers, ran = Timers(), []
    for at in (30, 10, 20):
        timers.new(lambda now, at=at: ran.append(at)).set(at)
    timers.run_due(100)
    assert ran == [10, 20, 30]


def test_moving_a_timer_to_and_fro_leaves_nothing_behind() -> None:
    timers = Timers()
    timer = timers.new(lambda now: None)
    other = timers.new(lambda now: None)
    other.set(10**12)
    for now in range(20_000):
        timer.set(now + 10**9)
        timer.set(now + 1)
        timers.run_due(now + 1)
    assert len(timers) <= COMPACT_ABOVE + 1
    assert other.at_ns == 10**12


def test_a_timer_set_by_a_timer_for_now_runs_in_the_same_call() -> None:
    timers, ran = Timers(), []
    second = timers.new(lambda now: ran.append("second"))
    timers.new(lambda now: second.set(now)).set(5)
    timers.run_due(5)
    assert ran == ["second"]
