"""The table of states: complete, reachable, and the only place where a state changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import oxidized.core
from oxidized.core.session import TABLES, Machine, Role, State, Trigger, mermaid

CORE = Path(oxidized.core.__file__).parent


def _reachable(role: Role) -> set[State]:
    seen, todo = {State.DISABLED}, [State.DISABLED]
    while todo:
        for after in TABLES[role][todo.pop()].values():
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return seen


@pytest.mark.parametrize("role", Role)
def test_every_state_of_a_row_has_a_row_and_is_reachable(role: Role) -> None:
    assert set(TABLES[role]) == _reachable(role)


def test_every_state_belongs_to_some_role() -> None:
    assert set(State) == set(TABLES[Role.DIALLED]) | set(TABLES[Role.AWAITED])


def test_an_edge_uses_all_states_and_a_hub_never_looks_up() -> None:
    assert set(TABLES[Role.DIALLED]) == set(State)
    assert set(TABLES[Role.AWAITED]) == set(State) - {State.RESOLVING}


@pytest.mark.parametrize("role", Role)
def test_every_wanted_peer_can_be_stopped_and_closed(role: Role) -> None:
    for state, row in TABLES[role].items():
        if state is State.DISABLED or not row:
            continue
        assert row[Trigger.STOP] is State.DISABLED
        assert row[Trigger.CLOSE] is State.DOWN


@pytest.mark.parametrize("role", Role)
def test_what_a_remote_can_cause_has_a_cell_in_every_state_with_a_session(role: Role) -> None:
    for state in (State.CONNECTING, State.UP, State.SILENT):
        for trigger in (Trigger.ESTABLISHED, Trigger.SILENT, Trigger.HEARD, Trigger.LOST):
            assert trigger in TABLES[role][state]


@pytest.mark.parametrize("role", Role)
def test_only_a_packet_leads_up_and_only_from_where_a_session_can_be(role: Role) -> None:
    for state, row in TABLES[role].items():
        ways = {trigger for trigger, after in row.items() if after is State.UP and state is not State.UP}
        expected = {Trigger.HEARD} if state in (State.CONNECTING, State.SILENT) else set()
        assert ways == expected


def test_a_missing_cell_is_our_bug() -> None:
    machine = Machine(Role.AWAITED, 0)
    with pytest.raises(AssertionError):
        machine.apply(Trigger.HEARD, 1)


def test_since_moves_only_with_the_state() -> None:
    machine = Machine(Role.AWAITED, 5)
    machine.apply(Trigger.START, 7)
    machine.apply(Trigger.ESTABLISHED, 8)
    machine.apply(Trigger.HEARD, 9)
    machine.apply(Trigger.ESTABLISHED, 11)
    assert (machine.state, machine.since_ns) == (State.UP, 9)


def test_no_other_file_sets_a_state() -> None:
    writes = re.compile(r"\bstate\s*=\s*State\.|_machine\.state\s*=[^=]")
    for file in CORE.glob("*.py"):
        if file.name != "session.py":
            assert not writes.search(file.read_text()), file


@pytest.mark.parametrize("role", Role)
def test_the_diagram_shows_every_change_once(role: Role) -> None:
    drawn = re.findall(r"^    (\w+) --> (\w+): (\w+)$", mermaid(role), re.M)
    table = [
        (state.value, after.value, trigger.value)
        for state, row in TABLES[role].items()
        for trigger, after in row.items()
        if after is not state
    ]
    assert sorted(drawn) == sorted(table)
    assert len(set(drawn)) == len(drawn)
