"""The judge of compression: it costs no packet, its books balance over all nodes, and it comes back.

Coded and restored. What was coded and never restored was lost, so there are at least as many packets that
never arrived; and where every datagram was opened, every coded packet was restored, but for those that came
so late that what they refer to was forgotten (accounts.py).

Liveness. In the calm there are calls each way. After a while every packet of theirs is coded in hardly more
than two bytes, wherever both ends have contexts enough, and none comes later than its wait allows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oxidized.core.settings import CompressionSettings
from tests.sim import compression
from tests.sim.accounts import CountedPlane
from tests.sim.ledger import Sent, SimFailure
from tests.sim.link import GRID_NS, MS, S
from tests.sim.plan import HUB
from tests.sim.watches import classes_of

if TYPE_CHECKING:
    from tests.sim.world import World

CALL_GAP_NS = 20 * MS
CALL_NS = 4 * S
CALL_SETTLE_NS = 2 * S  # from the first packet of a call in the calm until it is coded as it should be
CALL_BYTES_MAX = 2.5  # of a coded header, on average: 2, and now and then some more for a new reference
SETUPS_MAX = 3  # of a call, when a session begins in the calm: until the first acknowledgement comes
SETUP_BYTES = 60
LONG_PACKETS = 24  # at once; in CALL_NS more than HDR_REFRESH_PACKETS of native/core/hdr_context.h
DELAY_NS = 10 * MS  # of a healed link
OTHER_FLOWS = 8  # that last: of numbered packets, two address families with and without DF
FROM_STATS = ("bundled_out_packets", "bundled_in_packets", "bundles_out", "opened_datagrams",
              "outer_out_datagrams")  # fmt: skip
WAYS = (("header_packets", "restored_packets"), ("payload_packets", "payloads_restored"),
        ("bundled_out_packets", "bundled_in_packets"))  # fmt: skip


def counted(plane: CountedPlane) -> Counter[str]:
    """Of compression and bundles, arrays as "name key"."""
    found: Counter[str] = Counter()
    for name, value in plane.compression_stats().items():
        if isinstance(value, dict):
            found.update({f"{name} {key}": n for key, n in value.items()})
            found[name] = sum(value.values())
        else:
            found[name] = value
    stats = plane.stats()
    found.update({name: stats[name] for name in FROM_STATS})
    found["no-context"] = stats["drops"]["receive"]["no-context"]
    found.update({f"no-context {why}": n for why, n in plane.missed.items()})
    return found


class CompressionJudge:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._gone: Counter[str] = Counter()  # counters of planes that ended
        self._calls: list[tuple[tuple[str, str], Sent]] = []
        self._calls_until_ns = 0
        self._before: dict[str, Counter[str]] = {}

    def plane_ends(self, plane: CountedPlane) -> None:
        self._gone.update(counted(plane))

    # ---- calls ----

    def begin_calm(self) -> None:
        world = self._world
        self._calls_until_ns = world.now_ns + CALL_NS
        world.at(world.now_ns + CALL_SETTLE_NS, self._settled)
        world.at(world.now_ns + CALL_SETTLE_NS, self._call)
        world.at(world.now_ns, self._call_first)
        if world.flows.long_one:
            world.at(world.now_ns, self._go_on)

    def _call_first(self) -> None:
        """Until they are settled."""
        if not self._before:
            self._speak()
            self._world.at(self._world.now_ns + CALL_GAP_NS, self._call_first)

    def _go_on(self) -> None:
        """One flow of so many packets that its context is renewed on the way."""
        world = self._world
        assert world.flows.long_one is not None
        world.feed_flow(world.flows.long_one, LONG_PACKETS)
        if world.now_ns < self._calls_until_ns:
            world.at(world.now_ns + CALL_GAP_NS, self._go_on)

    def _settled(self) -> None:
        self._calls.clear()
        self._before = {name: counted(node.plane) for name, node in self._world.nodes.items()}

    def _call(self) -> None:
        world = self._world
        if world.now_ns < self._calls_until_ns:
            self._speak()
            world.at(world.now_ns + CALL_GAP_NS, self._call)
        else:
            world.at(world.now_ns + CALL_GAP_NS, self._check_calls)

    def _speak(self) -> None:
        for way, call in self._world.flows.calls.items():
            (entry,) = self._world.feed_flow(call, 1)
            self._calls.append((way, entry))

    def _settings(self, name: str) -> CompressionSettings:
        return self._world.plan.knobs[name].compression

    def _is_coded(self, way: tuple[str, str]) -> bool:
        """Whether both ends have a context for this call; those in use are not given away at once."""
        flows = min(compression.flows_of(self._settings(name)) for name in way)
        lasting = self._world.flows.lasting
        edge = way[0] if way[1] == HUB else way[1]
        through = sum(lasting(edge, e) + lasting(e, edge) for e in self._world.plan.edges if e != edge)
        return flows >= lasting(*way) + through + OTHER_FLOWS * len(self._world.plan.edges)

    def _check_calls(self) -> None:
        world = self._world
        for name, node in world.nodes.items():
            now = counted(node.plane)
            ways = [way for way in world.flows.calls if way[0] == name]
            coded = now["header_packets rtp"] - self._before[name]["header_packets rtp"]
            spoken = sum(way[0] == name and self._is_coded(way) for way, _ in self._calls)
            if coded < spoken:
                raise SimFailure(f"{name}: of {spoken} packets of calls {coded} have a coded header")
            if not coded or not all(self._is_coded(way) for way in ways):
                continue
            coded_bytes = now["coded_bytes rtp"] - self._before[name]["coded_bytes rtp"]
            world.seen["calls coded"] += coded
            world.seen["calls bytes"] += coded_bytes
            setups = min(now["setups"] - self._before[name]["setups"], SETUPS_MAX * len(ways))
            if coded_bytes > CALL_BYTES_MAX * coded + SETUP_BYTES * setups:
                raise SimFailure(f"{name}: headers of calls take {coded_bytes / coded:.2f} bytes")

    def _check_delays(self) -> None:
        """Where no QUIC has its own pace."""
        for way, entry in self._calls:
            edge = way[0] if way[1] == HUB else way[1]
            if self._world.judge.wanted_transport(edge) != "udp":
                continue
            holds_ns = compression.holds_of(self._settings(way[0]))
            wait_ns = max(holds_ns[c] for c in classes_of(entry.packet))
            late_ns = entry.arrived_at[way[1]] - entry.at_ns - DELAY_NS - 2 * GRID_NS - wait_ns
            if late_ns > 0:
                raise SimFailure(
                    f"a packet of a call {' -> '.join(way)} comes {late_ns / MS:.1f} ms too late"
                )

    # ---- the end ----

    def end(self) -> None:
        """Nothing is under way any more."""
        world = self._world
        self._check_delays()
        total = self._gone.copy()
        for node in world.nodes.values():
            total.update(counted(node.plane))
        world.seen.update({f"compression {name}": n for name, n in total.items() if n})
        never = sum(len(entry.carried_by) - len(entry.arrived_at) for entry in world.ledger.sent.values())
        never += world.seen["told too big"]  # not in the ledger, and forwarded
        has_lost = total["opened_datagrams"] < total["outer_out_datagrams"]
        world.seen["runs that lost nothing"] += not has_lost
        for sent, received in WAYS:
            keys = [key for key in total if key == sent or key.startswith(sent + " ")]
            for key in keys if sent == "header_packets" else [sent]:
                lost = total[key] - total[key.replace(sent, received)]
                if lost < 0 or (lost > never and sent != "bundled_out_packets"):
                    raise SimFailure(
                        f"{key}: of {total[key]} {lost} did not come, {never} packets are missing"
                    )
                if lost > total["no-context"] and not has_lost:
                    raise SimFailure(f"{key}: of {total[key]} {lost} did not come, though all datagrams did")
