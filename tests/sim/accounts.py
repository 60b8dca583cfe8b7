"""Books of one plane: each packet that went in came out, is held, or was dropped under one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from oxidized.core.plane import Address, Offload
from oxidized.ffi.dataplane import DataPlane
from oxidized.ffi.names import BATCH_MAX, OVERHEAD_BYTES
from tests.sim.ledger import SimFailure

__all__ = ["OVERHEAD_BYTES", "CountedPlane", "check", "check_idle", "equations"]


class CountedPlane(DataPlane):
    """The real plane, with our own count of what passed its door."""

    def __init__(self, **conf: int) -> None:
        super().__init__(**conf)
        self.pool_pkts = conf["pool_pkts"] * conf["workers"]
        self.offload_set(Offload.TSO | Offload.USO)
        self.passed: Counter[str] = Counter()

    def inner_push(self, now_ns: int, packets: Sequence[bytes]) -> None:
        self.passed["inner_in"] += len(packets)
        super().inner_push(now_ns, packets)

    def inner_pop(self) -> list[tuple[int, bytes]]:
        found = super().inner_pop()
        self.passed["inner_out"] += len(found)
        return found

    def outer_push(self, now_ns: int, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        self.passed["outer_in"] += len(datagrams)
        super().outer_push(now_ns, datagrams)

    def outer_pop(self) -> list[tuple[bytes, Address]]:
        found = super().outer_pop()
        self.passed["outer_out"] += len(found)
        return found

    def poll_control(self) -> list[tuple[bytes, Address]]:
        found = super().poll_control()
        self.passed["control"] += len(found)
        return found

    def poll_carrier(self) -> list[tuple[int, bytes]]:
        found = super().poll_carrier()
        self.passed["carrier_out"] += len(found)
        return found

    def carrier_push(self, now_ns: int, peer: int, datagrams: Sequence[bytes]) -> None:
        self.passed["outer_in"] += len(datagrams)
        for start in range(0, len(datagrams), BATCH_MAX):
            super().carrier_push(now_ns, peer, datagrams[start : start + BATCH_MAX])


def equations(stats: dict[str, Any], passed: Counter[str]) -> list[tuple[str, int, int]]:
    """(what, one side, other side) of all that must balance at any time."""
    dropped = {direction: sum(reasons.values()) for direction, reasons in stats["drops"].items()}
    own = stats["own_out_datagrams"]
    sent = stats["inner_sent_packets"]
    carrying = sent - stats["bundled_out_packets"] + stats["bundles_out"]
    found = stats["inner_out_packets"] + dropped["receive"] + stats["deliver_held_packets"]
    opened = stats["control_in_datagrams"] + stats["opened_datagrams"] + dropped["receive_datagram"]
    held = stats["inner_held_packets"]
    return [
        ("inner packets taken = sent + dropped + held", stats["inner_in_packets"],
         sent + dropped["transmit"] + held),
        ("datagrams taken = control + opened + dropped", stats["outer_in_datagrams"], opened),
        ("packets found = delivered + dropped + held", stats["found_packets"], found),
        ("datagrams out = with inner packet + own", stats["outer_out_datagrams"], carrying + own),
        ("inner packets taken = pushed by us", stats["inner_in_packets"], passed["inner_in"]),
        ("datagrams taken = pushed by us", stats["outer_in_datagrams"], passed["outer_in"]),
        ("inner packets delivered + our own = popped by us",
         stats["inner_out_packets"] + stats["own_inner_packets"], passed["inner_out"]),
        ("events lost = 0", stats["lost_events"], 0),
    ]  # fmt: skip


def check(name: str, plane: CountedPlane) -> None:
    """Raises SimFailure when a sum is wrong."""
    for what, left, right in equations(plane.stats(), plane.passed):
        if left != right:
            raise SimFailure(f"{name}: books do not balance: {what}: {left} != {right}")


def check_idle(name: str, plane: CountedPlane) -> None:
    """As `check`, and nothing is left inside. The caller has taken everything out and ticked."""
    check(name, plane)
    stats, passed = plane.stats(), plane.passed
    out = passed["outer_out"] + passed["carrier_out"]
    for what, left, right in (
        ("free packet buffers = all", stats["pool_free_pkts"], plane.pool_pkts),
        ("inner packets held = 0", stats["inner_held_packets"], 0),
        ("packets to deliver held = 0", stats["deliver_held_packets"], 0),
        ("datagrams out = popped by us", stats["outer_out_datagrams"], out),
        ("control datagrams = popped by us", stats["control_in_datagrams"], passed["control"]),
    ):
        if left != right:
            raise SimFailure(f"{name}: not idle: {what}: {left} != {right}")
