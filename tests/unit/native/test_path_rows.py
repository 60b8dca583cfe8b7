"""What the control plane reads of all paths at once, to steer repair."""

from __future__ import annotations

from oxidized.core.plane import PathCounters, PathRow, RepairMode
from tests.native.rig import Solo

ROOM = 1 << 16
SHARED = [name for name in PathRow.__dataclass_fields__ if name in PathCounters.__dataclass_fields__]


def test_a_path_that_keeps_nothing_has_no_row() -> None:
    rig = Solo(repair_bytes=ROOM)
    rig.send()
    assert rig.plane.path_rows(0) == []
    rig.plane.repair_set(RepairMode.AUTO)
    rig.send()
    assert len(rig.plane.path_rows(0)) == 1


def test_rows_are_those_of_the_path() -> None:
    rig = Solo(repair_bytes=ROOM)
    rig.plane.repair_set(RepairMode.AUTO)
    for _ in range(5):
        rig.send()
    (row,) = rig.plane.path_rows(0)
    counters = rig.plane.peer_counters(rig.peer).paths[0]
    assert (row.peer, row.path) == (rig.peer, 0)
    assert row.repairable_packets == 5 and len(SHARED) == len(PathRow.__dataclass_fields__) - 2
    assert [getattr(row, name) for name in SHARED] == [getattr(counters, name) for name in SHARED]


def test_a_peer_that_nothing_was_sent_to_since_has_no_row() -> None:
    rig = Solo(repair_bytes=ROOM)
    rig.plane.repair_set(RepairMode.AUTO)
    rig.send()
    assert len(rig.plane.path_rows(rig.now_ns)) == 1
    assert rig.plane.path_rows(rig.now_ns + 1) == []
