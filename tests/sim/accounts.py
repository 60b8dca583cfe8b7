"""Books of one plane: each packet that went in came out, is held, or was dropped under one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from oxidized.ffi._oxi import ffi, lib

from oxidized.core.plane import Address, Offload, SessionKeys
from oxidized.ffi.dataplane import DataPlane
from oxidized.ffi.names import BATCH_MAX, DROP_REASONS, OVERHEAD_BYTES
from tests.sim.ledger import SimFailure
from tests.sim.watches import REPLACED, SLACK_NS, HoldWatch, OrderWatch, RepairWatch, SessionWatch

__all__ = ["OVERHEAD_BYTES", "CountedPlane", "check", "check_idle", "equations"]

# What only a peer that breaks the protocol, or a bug, brings about: all peers here are honest.
# A restorer keeps the six references with the highest numbers, and a compressor names one of the latest four.
# So a header may come too late when three more have overtaken it, each 8 packets of its flow from the next.
OVERTAKEN_MIN = 24
NO_CONTEXT, NO_SESSION = DROP_REASONS.index("no-context"), DROP_REASONS.index("no-session")
CONTENTS_MAX = 4096  # kept for repair by each worker
NEVER_DROPPED = ("bad-frame", "bad-ack", "bad-repair", "bad-header", "bad-lz", "lz-too-long", "lz-refused")


class CountedPlane(DataPlane):
    """The real plane, with our own count of what passed its door, and what follows from that."""

    def __init__(self, **conf: Any) -> None:
        super().__init__(**conf)
        self.pool_pkts = conf["pool_pkts"] * conf["workers"]
        self.offload_set(Offload.TSO | Offload.USO)
        self.passed: Counter[str] = Counter()
        self.holds = HoldWatch(conf.get("hold_ns", (0, 0, 0)))
        self.orders = OrderWatch()
        self.repairs = RepairWatch()
        self._repair_stats = ffi.new("oxi_repair_stats *")
        self._memory_bytes = 0
        self._kept_max = conf["workers"] * CONTENTS_MAX
        self.sessions = SessionWatch()
        self._no_context = 0
        self._repaired = 0
        self.missed: Counter[str] = Counter()  # headers that had no context, and why
        self._no_session = 0

    # ---- sessions ----

    def peer_add(self, **how: Any) -> int:
        peer = super().peer_add(**how)
        self.sessions.peer(peer)
        return peer

    def peer_remove(self, peer: int) -> None:
        super().peer_remove(peer)
        self.sessions.peer_gone(peer)

    def session_install(self, now_ns: int, peer: int, keys: SessionKeys) -> None:
        super().session_install(now_ns, peer, keys)
        self.sessions.installed(peer, keys.rx_index, may_send=keys.may_send)

    def session_send(self, now_ns: int, peer: int) -> None:
        super().session_send(now_ns, peer)
        self.sessions.sends(peer)

    def session_drop(self, peer: int) -> None:
        super().session_drop(peer)
        self.sessions.dropped(peer)

    # ---- what may be at any time ----

    def check_contexts(self, overtaken: int) -> None:
        """After a push: every header was restored, but for what was overtaken by too many.

        What comes by repair stands under its first number: all that was sent since has overtaken it.
        """
        missed = int(self._read().drops[lib.OXI_DIR_IN_PACKET][NO_CONTEXT])
        lib.oxi_repair_stats_read(self._dp, self._repair_stats)
        repaired = int(self._repair_stats.restored_in + self._repair_stats.decoded_in)
        lost, late = missed - self._no_context, repaired - self._repaired
        self._no_context, self._repaired = missed, repaired
        if lost == 0:
            return
        came_late = "repaired" if late > 0 else "overtaken"  # all of a bundle at once
        cause = "replaced" if overtaken == REPLACED else came_late
        self.missed[cause] += lost
        if cause == "overtaken" and overtaken < OVERTAKEN_MIN:
            raise SimFailure(
                f"{lost} headers of a session that lives have no context, overtaken by {overtaken}"
            )

    def _read(self) -> Any:
        """`oxi_stats` as it is, for what is looked at in each turn."""
        lib.oxi_stats_read(self._dp, self._stats)
        return self._stats

    def check_held(self, local_ns: int) -> None:
        """After a tick."""
        held = self._read().inner_held_packets
        if held and held > (most := self.holds.may_hold(local_ns)):
            raise SimFailure(f"{held} packets are held, {most} may be")
        waiting = self._stats.order_waiting_packets
        if waiting and waiting > (most := self.orders.may_wait(local_ns)):
            raise SimFailure(f"{waiting} packets wait for a lost one, {most} may")

    def check_woken(self, local_ns: int) -> None:
        """Before a tick, of a node that had all its turns: it asked to be woken in time."""
        self.check_held(local_ns - SLACK_NS)

    def check_turn(self, local_ns: int) -> None:
        """At its end: is too much held, was something dropped for want of a session though there was one?"""
        self.check_held(local_ns)
        told = self._repair_stats
        lib.oxi_repair_stats_read(self._dp, told)
        for which in self.repairs.BUDGETS_NS:
            sent = int(told.repeats_out[which] + told.codes_out[which])
            if late := self.repairs.too_many(local_ns, which, sent):
                raise SimFailure(f"{late} packets repair what is too old, of class {which}")
        missed = int(self._stats.drops[lib.OXI_DIR_OUT][NO_SESSION])
        if self.sessions.all_could_send() and missed != self._no_session:
            raise SimFailure(
                f"{missed - self._no_session} packets have no session, though every peer has one"
            )
        self._no_session = missed

    def check_bounds(self) -> None:
        """All memory was there at the start, and no more is kept than there is room for."""
        memory_bytes = int(self._read().memory_bytes)
        if self._memory_bytes not in (0, memory_bytes):
            raise SimFailure(f"the plane grew from {self._memory_bytes} to {memory_bytes} bytes")
        self._memory_bytes = memory_bytes
        peers = [self.peer_counters(peer) for peer in self.sessions.peers()]
        kept = sum(path.kept_packets for counters in peers for path in counters.paths)
        if kept > self._kept_max:
            raise SimFailure(f"{kept} packets are kept, there is room for {self._kept_max}")

    # ---- counted ----

    def inner_push(self, now_ns: int, packets: Sequence[bytes]) -> None:
        self.holds.pushed(now_ns, packets)
        self.repairs.pushed(now_ns, packets)
        self.passed["inner_in"] += len(packets)
        super().inner_push(now_ns, packets)

    def inner_pop(self) -> list[tuple[int, bytes]]:
        found = super().inner_pop()
        self.passed["inner_out"] += len(found)
        return found

    def outer_push(self, now_ns: int, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        self.passed["outer_in"] += len(datagrams)
        for run, overtaken in self.sessions.runs(datagrams, [data for data, _ in datagrams]):
            super().outer_push(now_ns, run)
            self.check_contexts(overtaken)
            self.orders.came(now_ns, self._stats.found_packets)

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
        for run, overtaken in self.sessions.runs(datagrams, datagrams):
            for start in range(0, len(run), BATCH_MAX):
                super().carrier_push(now_ns, peer, run[start : start + BATCH_MAX])
            self.check_contexts(overtaken)
            self.orders.came(now_ns, self._stats.found_packets)


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
        *((f"dropped as {name} = 0", stats["drops"]["receive"][name], 0) for name in NEVER_DROPPED),
    ]  # fmt: skip


def check(name: str, plane: CountedPlane) -> None:
    """Raises SimFailure when a sum is wrong."""
    for what, left, right in equations(plane.stats(), plane.passed):
        if left != right:
            raise SimFailure(f"{name}: books do not balance: {what}: {left} != {right}")
    plane.check_bounds()


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
