"""The judge: books that balance all the time, and promises kept once everything is well again.

Liveness. From the moment everything heals, the judge waits for every edge to be up with packets both
ways, for the transport that the settings want, and for packets as large as the links carry. Then comes the
calm: packets and pings go both ways for a while, as large as each sender says that they may be, and not one
may be lost, nobody called silent, no buffer left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxidized.core.events import PeerDown, Pong, TunnelEvent
from oxidized.core.plane import PathCounters
from oxidized.core.pmtu import BASE_PAYLOAD_BYTES, GRANULE_BYTES, OVERHEAD_BYTES, REPEAT_ROOM_BYTES
from oxidized.core.tunnel import Tunnel
from tests.sim import accounts, keyed
from tests.sim.compressed import CompressionJudge
from tests.sim.ledger import SimFailure
from tests.sim.link import MS, S
from tests.sim.node import Node
from tests.sim.plan import HUB

if TYPE_CHECKING:
    from tests.sim.world import World

UP_NS_MAX = 30 * S  # from heal to every edge up, with packets both ways
UDP_NS_MAX = 130 * S  # from heal to UDP in use: up, three probes 30 s apart, and their answers
MTU_NS_MAX = 150 * S  # from UDP in use to full-size packets: a search upwards comes by then
SETTLE_NS = 5 * S  # from heal to the first moment at which nothing may be lost any more
CALM_NS = 12 * S  # how long nothing is lost and nobody called silent; more than twice dead_after
KNOWN_NS = 5 * S  # a loss is known after some acknowledgements, which come twice a second then
QUIET_NS = 2 * S  # for the last packets and acknowledgements to arrive
CHECK_NS = 500 * MS
RTT_NS_MIN = 19 * MS  # the healed network has 20 ms, clocks drift by 300 ppm
RTT_NS_MAX = 100 * MS  # what a smoothed RTT has come down to at the end of the calm
PING_NS_MAX = 40 * MS
EXTRA_SHARE_MAX = 0.01
ACKED_SHARE_MIN = 0.5  # of what was sent in the calm; the last ones wait for an ACK that need not come

PathKey = tuple[str, str]


class Judge:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._healed_ns = 0
        self._udp_ns = 0
        self._calm_since_ns: int | None = None
        self._first_good_uid = 0
        self._tokens: dict[int, tuple[str, bool]] = {}  # PINGs under way: who asked, whether in the calm
        self._token = 0
        self._before: dict[PathKey, PathCounters] = {}
        self.compression = CompressionJudge(world)

    # ---- at any time ----

    def check_books(self, node: Node) -> None:
        """Every packet is accounted for, and no path was acknowledged more than it sent."""
        if node.is_down:
            return
        accounts.check(node.name, node.plane)
        for peer, path in self._paths(node).items():
            if path.acked_packets + path.lost_packets > path.tx_packets:
                raise SimFailure(f"{node.name}: more acknowledged and lost than sent to {peer}: {path}")

    def ping(self, name: str) -> None:
        """As an operator would, to any peer that is up."""
        world, node = self._world, self._world.nodes[name]
        if not isinstance(node.brain, Tunnel) or node.is_down or node.is_suspended:
            return
        local_ns = node.clock.local_ns(world.now_ns)
        for status in node.brain.status(local_ns):
            self._token += 1
            if node.brain.ping(status.name, self._token, local_ns):
                self._tokens[self._token] = (name, self._calm_since_ns is not None)
        world.wake(node, world.now_ns)

    def told(self, name: str, event: TunnelEvent) -> None:
        """What a tunnel says."""
        is_calm = self._calm_since_ns is not None
        if isinstance(event, PeerDown) and is_calm:
            raise SimFailure(f"{name} gives {event.peer} up ({event.reason}) on a perfect network")
        if isinstance(event, Pong):
            asked = self._tokens.pop(event.token, None)
            if asked is None or asked[0] != name:
                raise SimFailure(f"{name} hears an answer to a PING that is not open: {event}")
            if asked[1] and not RTT_NS_MIN <= event.rtt_ns <= PING_NS_MAX:
                raise SimFailure(f"{name} measures {event.rtt_ns / MS} ms on a network of 20 ms")

    # ---- once everything is healed ----

    def healed(self) -> None:
        world = self._world
        self._healed_ns = world.now_ns
        self._first_good_uid = len(world.ledger.sent) + 1
        world.at(world.now_ns + CHECK_NS, self._check_up)

    def _ways(self) -> list[tuple[str, str]]:
        edges = self._world.plan.edges
        return [(e, HUB) for e in edges] + [(HUB, e) for e in edges]

    def _fresh(self, size: int) -> None:
        """One packet each way."""
        world = self._world
        for sender, target in self._ways():
            world.feed(sender, [world.load.packet(sender, target, world.now_ns, size)])

    def _states(self) -> list[tuple[str, str, str, str]]:
        """(node, peer, state, transport), as each node's operator sees it."""
        found = []
        for node in self._world.nodes.values():
            brain, local_ns = node.brain, node.clock.local_ns(self._world.now_ns)
            if isinstance(brain, keyed.KeyedTunnel):
                for peer, handle in brain.handles.items():
                    counters = node.plane.peer_counters(handle)
                    found.append((node.name, peer, "silent" if counters.is_silent else "up", "udp"))
            elif isinstance(brain, Tunnel):
                found += [(node.name, s.name, s.state, s.transport) for s in brain.status(local_ns)]
        return found

    def _arrived_since_heal(self) -> set[tuple[str, str]]:
        ways, sent = set(), self._world.ledger.sent
        for uid in range(self._first_good_uid, len(sent) + 1):
            entry = sent[uid]
            if entry.target in entry.arrived_at:
                ways.add((next(iter(entry.carried_by)), entry.target))
        return ways

    def _check_up(self) -> None:
        """Waits for everybody to be up with packets both ways."""
        world = self._world
        missing = [f"{n}: {p} is {state}" for n, p, state, _ in self._states() if state != "up"]
        missing += [f"{a} -> {b}: nothing" for a, b in sorted(set(self._ways()) - self._arrived_since_heal())]
        since_ns = world.now_ns - self._healed_ns
        if not missing and since_ns >= SETTLE_NS:
            world.say("everybody is up")
            self._check_udp()
        elif missing and since_ns >= UP_NS_MAX:
            raise SimFailure(f"{UP_NS_MAX // S} s after everything healed: {'; '.join(missing)}")
        else:
            self._fresh(100)
            world.at(world.now_ns + CHECK_NS, self._check_up)

    def wanted_transport(self, edge: str) -> str:
        is_quic = self._world.plan.has_handshakes and self._world.settings[edge].peers[0].transport == "quic"
        return "quic" if is_quic else "udp"

    def _check_udp(self) -> None:
        """Waits for the transport that the settings want, on both sides, with everybody up."""
        world = self._world
        wrong = [
            f"{n}: {peer} is {state}, by {transport}"
            for n, peer, state, transport in self._states()
            if state != "up" or transport != self.wanted_transport(peer if n == HUB else n)
        ]
        if not wrong:
            self._udp_ns = world.now_ns
            self._first_good_uid = len(world.ledger.sent) + 1
            self._check_mtu()
        elif world.now_ns - self._healed_ns >= UDP_NS_MAX:
            raise SimFailure(f"{UDP_NS_MAX // S} s after everything healed: {'; '.join(wrong)}")
        else:
            self._fresh(100)
            world.at(world.now_ns + CHECK_NS, self._check_udp)

    def _link_payload_max(self, sender: str, target: str) -> int:
        edge, way = (target, "down") if sender == HUB else (sender, "up")
        return self._world.network.links[edge, way].payload_max

    def _full_size(self, sender: str, target: str) -> int:
        """What must get through from one to the other in the end: what both take and the link carries."""
        world, edge = self._world, target if sender == HUB else sender
        if self.wanted_transport(edge) == "quic":
            return BASE_PAYLOAD_BYTES - OVERHEAD_BYTES
        agreed = min(world.plan.knobs[name].mtu_bytes for name in (HUB, edge))
        link = self._link_payload_max(sender, target)
        room = agreed + OVERHEAD_BYTES + REPEAT_ROOM_BYTES
        if link == 0 or link >= room or agreed + OVERHEAD_BYTES == BASE_PAYLOAD_BYTES:
            return agreed
        found = link + 1 - GRANULE_BYTES - REPEAT_ROOM_BYTES
        return max(found, BASE_PAYLOAD_BYTES) - OVERHEAD_BYTES

    def _check_mtu(self) -> None:
        """Waits for packets of full size, both ways, and for nobody to promise more than passes."""
        world, sizes = self._world, self._sizes_arrived()
        missing = []
        for way in self._ways():
            told = self._told_size(*way)
            if told < self._full_size(*way) or sizes.get(way, 0) < told:
                passed = f"{sizes.get(way, 0)} of {self._full_size(*way)}"
                missing.append(f"{' -> '.join(way)}: {passed}, told {told}")
        if not missing:
            self._ask_too_much()
        elif world.now_ns - self._udp_ns >= MTU_NS_MAX:
            raise SimFailure(f"{MTU_NS_MAX // S} s after everything healed, bytes pass: {'; '.join(missing)}")
        else:
            self._fresh_full()
            world.at(world.now_ns + CHECK_NS, self._check_mtu)

    def _sizes_arrived(self) -> dict[tuple[str, str], int]:
        """The largest packet each way since UDP is in use."""
        found: dict[tuple[str, str], int] = {}
        sent = self._world.ledger.sent
        for uid in range(self._first_good_uid, len(sent) + 1):
            entry = sent[uid]
            if entry.target in entry.arrived_at:
                way = (next(iter(entry.carried_by)), entry.target)
                found[way] = max(found.get(way, 0), len(entry.packet))
        return found

    def _told_size(self, sender: str, target: str) -> int:
        """What the sender says that it may be."""
        world, node = self._world, self._world.nodes[sender]
        if not isinstance(node.brain, Tunnel):
            return self._full_size(sender, target)
        statuses = node.brain.status(node.clock.local_ns(world.now_ns))
        return next(status.mtu_bytes for status in statuses if status.name == target)

    def _too_big_drops(self) -> int:
        nodes = self._world.nodes.values()
        return sum(node.plane.stats()["drops"]["transmit"]["too-big"] for node in nodes)

    def _ask_too_much(self) -> None:
        """One packet each way of one byte more than its sender says that it may have: it goes nowhere."""
        world, before = self._world, self._too_big_drops()
        if not world.plan.has_handshakes:
            self._begin_calm()
            return
        for sender, target in self._ways():
            size = self._told_size(sender, target) + 1
            world.feed(sender, [world.load.packet(sender, target, world.now_ns, size)])
        world.at(world.now_ns + CHECK_NS, lambda: self._asked_too_much(before + len(self._ways())))

    def _asked_too_much(self, wanted: int) -> None:
        if self._too_big_drops() != wanted:
            raise SimFailure(f"of {wanted} packets that are too big {self._too_big_drops()} were refused")
        self._begin_calm()

    def _fresh_full(self) -> None:
        """One packet each way, as large as its sender says it may be."""
        world = self._world
        for sender, target in self._ways():
            size = self._told_size(sender, target)
            world.feed(sender, [world.load.packet(sender, target, world.now_ns, size)])

    # ---- the calm ----

    def _begin_calm(self) -> None:
        world = self._world
        world.say("calm begins")
        self._calm_since_ns = world.now_ns
        self._first_good_uid = len(world.ledger.sent) + 1
        world.at(world.now_ns + KNOWN_NS, self._remember)
        self.compression.begin_calm()
        self._calm()

    def _remember(self) -> None:
        """From here on the packet path knows of all that was lost before."""
        for node in self._world.nodes.values():
            self._before.update({(node.name, peer): path for peer, path in self._paths(node).items()})

    def _calm(self) -> None:
        world = self._world
        assert self._calm_since_ns is not None
        if world.now_ns - self._calm_since_ns >= CALM_NS:
            world.at(world.now_ns + QUIET_NS, self._end)
            return
        self._fresh(world.rng.choice((60, 1000, 1280)))
        self._fresh_full()
        for flow in world.flows.calm():
            world.feed_flow(flow, 3)
        for name in world.nodes:
            self.ping(name)
        world.at(world.now_ns + CHECK_NS, self._calm)

    def _end(self) -> None:
        """Everything sent since the calm began has arrived, nothing is left anywhere."""
        world = self._world
        for uid in range(self._first_good_uid, len(world.ledger.sent) + 1):
            entry = world.ledger.sent[uid]
            if entry.target not in entry.arrived_at:
                raise SimFailure(
                    f"packet {uid} for {entry.target}, sent {(world.now_ns - entry.at_ns) / S} s ago on a "
                    f"perfect network by {', '.join(entry.carried_by)}, never arrived"
                )
        silent = [token for token, (_, is_calm) in self._tokens.items() if is_calm]
        if silent:
            raise SimFailure(f"{len(silent)} PINGs on a perfect network were never answered")
        for node in world.nodes.values():
            node.step(world.now_ns)
            accounts.check_idle(node.name, node.plane)
            for peer, path in self._paths(node).items():
                self._check_path(node.name, peer, self._before.get((node.name, peer)), path)
            if not world.plan.faults:
                self._check_extra(node)
        self.compression.end()
        world.end()

    def _check_extra(self, node: Node) -> None:
        """Where nothing was ever lost, next to nothing is sent to repair it."""
        told, sent = node.plane.repair_stats(), node.plane.stats()["outer_out_datagrams"]
        extra = sum(told["repeats_out"].values()) + sum(told["codes_out"].values())
        if extra > EXTRA_SHARE_MAX * sent:
            raise SimFailure(f"{node.name}: {extra} of {sent} datagrams repair what was never lost")

    def _check_path(self, name: str, peer: str, before: PathCounters | None, after: PathCounters) -> None:
        """What the packet path says of the network is what the network was."""
        if before is None:
            raise SimFailure(f"{name}: the path to {peer} is new since the calm began")
        sent = after.tx_packets - before.tx_packets
        acked = after.acked_packets - before.acked_packets
        # On a narrow link the search upwards loses its PINGs, as it must.
        is_narrow = self._link_payload_max(name, peer) != 0
        if after.lost_packets != before.lost_packets and not is_narrow:
            raise SimFailure(f"{name}: calls packets to {peer} lost on a perfect network")
        if acked < ACKED_SHARE_MIN * sent:
            raise SimFailure(f"{name}: {peer} acknowledged {acked} of {sent} packets on a perfect network")
        # The latest sample: the smoothed one may still remember seconds of suspension.
        if not RTT_NS_MIN <= after.rtt_latest_ns <= RTT_NS_MAX:
            raise SimFailure(f"{name}: takes {peer} for {after.rtt_latest_ns / MS} ms away; it is 20 ms")

    def _paths(self, node: Node) -> dict[str, PathCounters]:
        """The first path to each peer."""
        brain, local_ns = node.brain, node.clock.local_ns(self._world.now_ns)
        handles: dict[str, int] = {}
        if isinstance(brain, keyed.KeyedTunnel):
            handles = brain.handles
        elif isinstance(brain, Tunnel):
            statuses = brain.status(local_ns)
            handles = {s.name: s.plane_peer for s in statuses if s.plane_peer is not None}
        return {peer: node.plane.peer_counters(handle).paths[0] for peer, handle in handles.items()}
