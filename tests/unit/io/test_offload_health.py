"""What the status document says of an offload that the packet path has given up."""

from __future__ import annotations

import pytest

from oxidized.core.plane import Offload
from oxidized.io.offload import Offloads
from oxidized.io.status import REASON_LOST, REASON_REFUSED, offload_health, offload_states

ALL = Offload.TSO | Offload.USO | Offload.GSO | Offload.GRO


@pytest.mark.parametrize(("lost_paths", "reason"), [(0, REASON_REFUSED), (1, REASON_LOST)])
def test_refused_and_lost_are_told_apart(lost_paths: int, reason: str) -> None:
    offloads = Offloads(ALL & ~Offload.USO, {"uso": "switched off"})
    plane = {"offload": int(Offload.GRO), "udp_trains_lost_paths": lost_paths}
    assert offload_states(offloads, plane) == {
        "tso": {"active": False, "reason": REASON_REFUSED},
        "uso": {"active": False, "reason": "switched off"},
        "gso": {"active": False, "reason": reason},
        "gro": {"active": True, "reason": ""},
    }
    assert offload_health(offloads, plane) == [f"offload tso: {REASON_REFUSED}", f"offload gso: {reason}"]
