"""The states of a peer. Rule 1: whatever changes a peer's state is in this file.

Theory of operation. A peer is *dialled* (it has endpoints: we are its edge) or *awaited* (it calls
us: we are its hub). A peer is up only when a data packet of its session was opened: keys alone do not
show that packets pass. Each role has a table; the cell says where a trigger leads. A cell that is
missing can not happen: meeting one is our bug, and asserts. What a peer or the network can cause at
any time (heard, silent again, a newer session, another answer of the resolver) has its cell, even
where nothing changes. The diagram in the documentation is `mermaid()` of these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Where a peer stands; the values are what `oxidized-ctl status` shows."""

    DISABLED = "disabled"
    DOWN = "down"
    RESOLVING = "resolving"
    CONNECTING = "connecting"
    UP = "up"
    SILENT = "silent"


class Role(Enum):
    """Who calls whom."""

    DIALLED = "dialled"
    AWAITED = "awaited"


class Trigger(Enum):
    """What moves a peer."""

    START = "start"  # the operator wants it
    STOP = "stop"  # the operator does not want it any more
    CLOSE = "close"  # the daemon is going
    RESOLVED = "resolved"  # an address to dial is known
    ESTABLISHED = "established"  # a handshake is complete, keys are installed
    SILENT = "silent"  # we sent, nothing was opened for dead_after
    HEARD = "heard"  # the first data packet of a session was opened, or one after SILENT
    LOST = "lost"  # the session is gone: bye, or silent for too long


Table = Mapping[State, Mapping[Trigger, State]]

DIALLED_TABLE: Table = {
    State.DISABLED: {
        Trigger.START: State.RESOLVING,
    },
    State.RESOLVING: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.RESOLVED: State.CONNECTING,
    },
    State.CONNECTING: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.RESOLVED: State.CONNECTING,
        Trigger.ESTABLISHED: State.CONNECTING,
        Trigger.SILENT: State.SILENT,
        Trigger.HEARD: State.UP,
        Trigger.LOST: State.CONNECTING,
    },
    State.UP: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.RESOLVED: State.UP,
        Trigger.ESTABLISHED: State.UP,
        Trigger.SILENT: State.SILENT,
        Trigger.HEARD: State.UP,
        Trigger.LOST: State.CONNECTING,
    },
    State.SILENT: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.RESOLVED: State.SILENT,
        Trigger.ESTABLISHED: State.SILENT,
        Trigger.SILENT: State.SILENT,
        Trigger.HEARD: State.UP,
        Trigger.LOST: State.CONNECTING,
    },
    State.DOWN: {},  # closed for good
}

AWAITED_TABLE: Table = {
    State.DISABLED: {
        Trigger.START: State.DOWN,
    },
    State.DOWN: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.ESTABLISHED: State.CONNECTING,
    },
    State.CONNECTING: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.ESTABLISHED: State.CONNECTING,
        Trigger.SILENT: State.SILENT,
        Trigger.HEARD: State.UP,
        Trigger.LOST: State.DOWN,
    },
    State.UP: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.ESTABLISHED: State.UP,
        Trigger.SILENT: State.SILENT,
        Trigger.HEARD: State.UP,
        Trigger.LOST: State.DOWN,
    },
    State.SILENT: {
        Trigger.STOP: State.DISABLED,
        Trigger.CLOSE: State.DOWN,
        Trigger.ESTABLISHED: State.SILENT,
        Trigger.SILENT: State.SILENT,
        Trigger.HEARD: State.UP,
        Trigger.LOST: State.DOWN,
    },
}

TABLES: Mapping[Role, Table] = {Role.DIALLED: DIALLED_TABLE, Role.AWAITED: AWAITED_TABLE}


class Machine:
    """The state of one peer and since when."""

    __slots__ = ("_table", "role", "since_ns", "state")

    def __init__(self, role: Role, now_ns: int) -> None:
        self.role = role
        self.state = State.DISABLED
        self.since_ns = now_ns
        self._table = TABLES[role]

    def apply(self, trigger: Trigger, now_ns: int) -> tuple[State, State]:
        """Take one step; returns (before, after). Asserts on a cell that is missing."""
        before = self.state
        after = self._table[before].get(trigger)
        assert after is not None, f"{self.role.value}: {trigger.value} in {before.value}"
        if after is not before:
            self.state = after
            self.since_ns = now_ns
        return before, after


def mermaid(role: Role) -> str:
    """The table of one role as a Mermaid state diagram; cells that change nothing are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.DISABLED.value}"]
    for state, row in TABLES[role].items():
        for trigger, after in row.items():
            if after is not state:
                lines.append(f"    {state.value} --> {after.value}: {trigger.value}")
    return "\n".join(lines) + "\n"
