"""A run: the heap of what is to happen, the nodes, the network, and everything that goes wrong.

First come the bad times of the plan; then everything heals, and the judge (judge.py) says whether what
was promised comes true. Safety is judged at every step.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TextIO

from oxidized.core.events import HandshakeRejected, PeerDown, Resolve, TransportChanged, TunnelEvent
from oxidized.core.plane import Address
from oxidized.core.tunnel import Tunnel
from tests.sim import accounts, compression, keyed, repair, too_big
from tests.sim.accounts import CountedPlane
from tests.sim.clock import NodeClock
from tests.sim.dice import seeded
from tests.sim.flows import Flow, Flows
from tests.sim.judge import Judge
from tests.sim.ledger import Ledger, Sent, SimFailure
from tests.sim.link import MS, S
from tests.sim.load import Load, inside
from tests.sim.network import Network, Where
from tests.sim.node import Node
from tests.sim.pcap import PcapWriter
from tests.sim.plan import HUB, PATH_PAYLOADS_MAX, Happening, Plan
from tests.sim.reloads import Step, reload
from tests.sim.setup import Identities, keyed_peers, tunnel_settings

BOOKS_NS = 250 * MS
FLOOD_PACKETS = 300  # so small that a few datagrams bring more than the smallest pool has buffers
KEY_AGE_NS_MAX = 600 * S
STEPS_MAX = 2_000_000  # things that happen in one run, about a hundred times the usual


class World:
    """One run of one plan. `run()` once; SimFailure or an exception of the system is a failure."""

    def __init__(
        self,
        plan: Plan,
        rng: random.Random,
        *,
        plane_class: type[CountedPlane] = CountedPlane,
        tunnel_class: type[Tunnel] = Tunnel,
        log: TextIO | None = None,
        pcap: PcapWriter | None = None,
    ) -> None:
        self.plan = plan
        self.rng = rng
        self._plane_class = plane_class
        self._tunnel_class = tunnel_class
        self._log = log
        self._pcap = pcap
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        self._digest = hashlib.sha256()
        self._is_done = False
        self._pairs: dict[str, keyed.Pair] = {}
        self._changing: set[str] = set()  # nodes in the middle of a reload
        identities = Identities((HUB, *plan.edges))
        self.settings = {name: tunnel_settings(plan, name, identities) for name in (HUB, *plan.edges)}
        self.is_healed = False
        self.now_ns = 0
        self.steps = 0
        self.seen: Counter[str] = Counter()  # what the run has shown, so that a test can tell it shows enough
        self.ledger = Ledger()
        self.load = Load(plan, rng, self.ledger)
        self._flow_dice = random.Random(f"flows of {plan.seed}")
        self._wish_dice = random.Random(f"wishes of {plan.seed}")
        ways = [way for edge in plan.edges for way in ((edge, HUB), (HUB, edge))]
        addresses = {name: inside(name).addresses for name in (HUB, *plan.edges)}
        self.flows = Flows(addresses, ways, self._flow_dice)
        self._boots = dict.fromkeys(addresses, 0)
        self.network = Network(plan, rng, self)
        self.nodes: dict[str, Node] = {}
        self.judge = Judge(self)

    # ---- the loop ----

    def at(self, at_ns: int, run: Callable[[], None]) -> None:
        assert at_ns >= self.now_ns
        self._serial += 1
        heapq.heappush(self._heap, (at_ns, self._serial, run))

    @property
    def digest(self) -> str:
        """Of all that was sent and delivered so far, with its time, place and bytes."""
        return self._digest.hexdigest()

    def run(self) -> None:
        """Runs to the end."""
        with seeded(self.rng):
            try:
                self._begin()
                while not self._is_done:
                    self.now_ns, _, run = heapq.heappop(self._heap)
                    self.steps += 1
                    if self.steps > STEPS_MAX:
                        raise SimFailure("far more happens than ever should")
                    run()
            finally:
                for node in self.nodes.values():
                    self._note_seen(node)
                    node.plane.close()

    def _begin(self) -> None:
        plan = self.plan
        for name in (HUB, *plan.edges):
            knobs = plan.knobs[name]
            clock = NodeClock(0, knobs.offset_ns + S, knobs.drift_ppm)
            self.nodes[name] = Node(name, self, clock, self._plane(name), knobs.lag_ns)
        for name in self.nodes:
            self._boot(name)
        for happening in plan.happenings:
            self.at(happening.at_ns, lambda h=happening: self._happen(h))  # type: ignore[misc]
        for kind in plan.rates:
            self._attack_later(kind)
        self._load_later()
        self._flows_later()
        self._wish_later()
        self.at(plan.chaos_ns, self._heal)
        self.at(BOOKS_NS, self._books)

    def _plane(self, name: str) -> CountedPlane:
        knobs = self.plan.knobs[name]
        repairs = repair.draw(self.plan.seed, name, self._boots[name])
        plane = self._plane_class(
            peers_max=len(self.plan.edges),
            routes_max=32,
            pool_pkts=knobs.pool_pkts,
            workers=knobs.workers,
            mtu_bytes=knobs.mtu_bytes,
            rekey_packets=knobs.rekey_packets,
            # A control connection that a NAT has cut is noticed when the edge speaks, once a minute at least:
            # with the short rekey times of these runs keys must not be worn before that.
            key_age_ns_max=KEY_AGE_NS_MAX,
            order=True,
            repair_bytes=repairs.arena_bytes,
            **compression.plane_conf(knobs.compression, name),
        )
        overheads = {"overhead": repairs.overhead, "overhead_ordered": repairs.overhead_ordered}
        plane.repair_set(repairs.mode, **overheads)
        if knobs.compression.rules:
            plane.compression_set(knobs.compression.rules)
            plane.oracle_set(None, self._boots[name])
        return plane

    def say(self, text: str) -> None:
        if self._log is not None:
            self._log.write(f"{self.now_ns / S:10.6f} {text}\n")

    # ---- nodes come and go ----

    def _boot(self, name: str) -> None:
        plan, node = self.plan, self.nodes[name]
        local_ns = node.clock.local_ns(self.now_ns)
        if not plan.has_handshakes:
            node.brain = keyed.KeyedTunnel(node.plane, keyed_peers(plan, name))
            for edge in plan.edges if name == HUB else (name,):
                self._courier(edge)
        else:
            node.brain = self._tunnel_class(self.settings[name], node.plane, self.rng.randbytes, local_ns)
            node.emit()
        self.wake(node, self.now_ns)

    def _keyed(self, name: str, peer: str) -> tuple[keyed.KeyedTunnel, str, int] | None:
        node = self.nodes[name]
        if not isinstance(node.brain, keyed.KeyedTunnel) or node.is_down:
            return None
        return node.brain, peer, node.clock.local_ns(self.now_ns)

    def _payload_max(self, edge: str) -> int:
        """A bundle is as large as the path carries, so each end must know what the other takes."""
        knobs = self.plan.knobs
        return min(knobs[name].mtu_bytes for name in (HUB, edge)) + accounts.OVERHEAD_BYTES

    def _courier(self, edge: str) -> None:
        """New keys for an edge and the hub, if both are there."""
        ends = (self._keyed(edge, HUB), self._keyed(HUB, edge))
        if ends[0] is not None and ends[1] is not None:
            payload_max = self._payload_max(edge)
            where = self._hub_address(edge)
            settings = self.plan.knobs[edge].compression, self.plan.knobs[HUB].compression
            self._pairs[edge] = keyed.courier(self.rng, ends[0], ends[1], where, payload_max, settings)
            self.wake(self.nodes[HUB], self.now_ns)
            self.wake(self.nodes[edge], self.now_ns)

    def _rekey(self, edge: str) -> None:
        ends = (self._keyed(edge, HUB), self._keyed(HUB, edge))
        if ends[0] is not None and ends[1] is not None:
            keyed.rekey(self.rng, self._pairs[edge], ends[0], ends[1])

    def _restart(self, h: Happening) -> None:
        """Down now, by bye or by kill; up again after `for_ns` with nothing but its identity."""
        node = self.nodes[h.target]
        if node.is_down or node.is_suspended:
            return
        self.judge.check_books(node)
        if h.amount & 1 and node.brain is not None:
            node.brain.close(node.clock.local_ns(self.now_ns))
            node.emit()
        node.is_down = True
        node.inbox.clear()
        node.outbox.clear()
        self.at(self.now_ns + h.for_ns, lambda: self._start(h.target))

    def _start(self, name: str) -> None:
        old, plan = self.nodes[name], self.plan
        self._note_seen(old)
        self.judge.compression.plane_ends(old.plane)
        self._boots[name] += 1
        plan.knobs[name] = knobs = replace(
            plan.knobs[name], compression=compression.draw(plan.seed, name, self._boots[name])
        )
        self.settings[name] = replace(self.settings[name], compression=compression.bounded(knobs.compression))
        old.plane.close()
        local_ns = old.clock.local_ns(self.now_ns)
        clock = NodeClock(self.now_ns, local_ns + self.rng.randrange(S), knobs.drift_ppm)
        lag_ns = 0 if self.is_healed else knobs.lag_ns
        self.nodes[name] = Node(name, self, clock, self._plane(name), lag_ns)
        self.say(f"{name} starts")
        self._boot(name)

    def _suspend(self, h: Happening) -> None:
        node = self.nodes[h.target]
        if node.is_down or node.is_suspended:
            return
        node.is_suspended = True
        node.keeps_datagrams = bool(h.amount & 1)
        if h.amount & 2:
            node.clock.freeze(self.now_ns)
        self.at(self.now_ns + h.for_ns, lambda: self._resume(node, is_frozen=bool(h.amount & 2)))

    def _resume(self, node: Node, *, is_frozen: bool) -> None:
        if is_frozen:
            node.clock.thaw(self.now_ns)
        node.is_suspended = False
        node.is_disturbed = True
        self.say(f"{node.name} resumes")
        self.wake(node, self.now_ns)

    # ---- what goes wrong ----

    def _happen(self, h: Happening) -> None:
        self.say(f"{h.kind} of {h.target} for {h.for_ns / S} s")
        getattr(self, "_begin_" + h.kind.replace("-", "_"))(h)

    def _until(self, h: Happening, end: Callable[[], None]) -> None:
        self.at(self.now_ns + h.for_ns, end)

    def _begin_outage(self, h: Happening) -> None:
        self._flag(h, ("up", "down"), "is_cut")

    def _begin_one_way(self, h: Happening) -> None:
        self._flag(h, (("up", "down")[h.amount & 1],), "is_cut")

    def _begin_quic_only(self, h: Happening) -> None:
        ways = (("up", "down"), ("up", "down"), ("up",), ("down",))[h.amount & 3]
        self._flag(h, ways, "is_quic_only")

    def _flag(self, h: Happening, ways: tuple[str, ...], flag: str) -> None:
        links = [self.network.links[h.target, way] for way in ways]
        for link in links:
            setattr(link, flag, True)
        self._until(h, lambda: [setattr(link, flag, False) for link in links] and None)

    def _begin_path_mtu(self, h: Happening) -> None:
        for way in (("up", "down"), ("up",), ("down",))[h.amount >> 8]:
            self.network.links[h.target, way].payload_max = PATH_PAYLOADS_MAX[h.amount & 0xFF]

    def _begin_rebind(self, h: Happening) -> None:
        self.network.rebind(h.target, is_new_host=bool(h.amount & 1))

    def _begin_hub_move(self, h: Happening) -> None:
        self.network.hub_move()
        for edge in self.plan.edges:
            end = self._keyed(edge, HUB)
            if end is not None:
                where = self._hub_address(edge)
                end[0].plane.path_set(end[0].handles[HUB], 0, where, self._payload_max(edge))

    def _begin_replace(self, h: Happening) -> None:
        """By courier at once; tunnels do it when they notice that their control connection is gone."""
        if self.plan.has_handshakes:
            self.network.rebind(h.target, is_new_host=False)
            return
        for way, call in self.flows.calls.items():
            if h.target in way:
                self.feed_flow(call, 1)
        self.at(self.now_ns + MS // 5, lambda: self._courier(h.target))  # while they are held

    def _begin_hub_restart(self, h: Happening) -> None:
        self._restart(h)

    def _begin_edge_restart(self, h: Happening) -> None:
        self._restart(h)

    def _begin_jump(self, h: Happening) -> None:
        node = self.nodes[h.target]
        if not node.is_suspended:
            node.clock.jump(self.now_ns, h.for_ns)
            node.is_disturbed = True
            self.wake(node, self.now_ns)

    def _begin_suspend(self, h: Happening) -> None:
        self._suspend(h)

    def _begin_reload(self, h: Happening) -> None:
        node = self.nodes[h.target]
        tunnel, name = node.brain, h.target
        if not isinstance(tunnel, Tunnel) or node.is_down or node.is_suspended or name in self._changing:
            return
        peer = HUB if name != HUB else self.plan.edges[h.amount % len(self.plan.edges)]
        local_ns = node.clock.local_ns(self.now_ns)
        settings, rest = reload(tunnel, self.settings[name], peer, h.amount >> 4, local_ns)
        self.settings[name] = settings
        node.emit()
        self.wake(node, self.now_ns)
        if rest is not None:
            self._changing.add(name)
            self._until(h, lambda: self._reload_rest(node, rest))

    def _reload_rest(self, node: Node, rest: Step) -> None:
        """The second half; a daemon that was started since has the settings already."""
        if self.nodes[node.name] is node and node.is_suspended:
            self.at(self.now_ns + 100 * MS, lambda: self._reload_rest(node, rest))
            return
        self._changing.discard(node.name)
        if self.nodes[node.name] is node and not node.is_down:
            assert isinstance(node.brain, Tunnel)
            rest(node.brain, node.clock.local_ns(self.now_ns))
            node.emit()
            self.wake(node, self.now_ns)

    def _attack_later(self, kind: str) -> None:
        gap_ns = int(self.rng.expovariate(self.network.rates[kind]) * S)
        self.at(self.now_ns + gap_ns, lambda: self._attack(kind))

    def _attack(self, kind: str) -> None:
        if kind in self.network.rates:
            self.network.attack(kind, self.now_ns)
            self._attack_later(kind)

    def _load_later(self) -> None:
        gap_ns = int(self.rng.expovariate(1.0) * self.plan.burst_gap_ns)
        self.at(self.now_ns + gap_ns, self._burst)

    def _burst(self) -> None:
        if self.is_healed:
            return
        name, packets = self.load.burst(self.now_ns)
        self.feed(name, packets)
        if not self.plan.has_handshakes and self.rng.random() < 0.02:
            self._rekey(self.rng.choice(self.plan.edges))
        if self.rng.random() < 0.05:
            self.judge.ping(name)
        self._load_later()

    def _wish_later(self) -> None:
        gap_ns = int(self._wish_dice.expovariate(1.0) * repair.WISH_GAP_NS)
        self.at(self.now_ns + gap_ns, self._wish)

    def _wish(self) -> None:
        """Some node wants this or that of some path; where nothing goes wrong it has no reason to."""
        if self.is_healed or not self.plan.faults:
            return
        node = self.nodes[self._wish_dice.choice(sorted(self.nodes))]
        wanted = repair.wish(self._wish_dice)
        if not (node.is_down or node.is_suspended):
            for peer in tuple(node.plane.sessions.peers()):
                node.plane.repair_wish(node.clock.local_ns(self.now_ns), peer, 0, **wanted)
        self._wish_later()

    def _flows_later(self) -> None:
        gap_ns = int(self._flow_dice.expovariate(1.0) * self.flows.gap_ns)
        self.at(self.now_ns + gap_ns, self._flow_burst)

    def _flow_burst(self) -> None:
        if not self.is_healed:
            self.feed_flow(*self.flows.draw(), shuffled=self._flow_dice.random() < 0.1)
            if "flood" in self.plan.faults and self._flow_dice.random() < 0.02:
                self.feed_flow(self._flow_dice.choice(list(self.flows.calls.values())), FLOOD_PACKETS)
            self._flows_later()

    def feed_flow(self, flow: Flow, count: int, *, shuffled: bool = False) -> list[Sent]:
        """The next packets of a flow, from its sender."""
        made = [self.ledger.add(flow.packet, flow.owner, self.now_ns, may_arrive=True) for _ in range(count)]
        for entry in made:
            entry.carried_by.add(flow.sender)
        if shuffled:
            self._flow_dice.shuffle(made)
        self.feed(flow.sender, [entry.packet for entry in made])
        return made

    def feed(self, name: str, packets: list[bytes]) -> None:
        node = self.nodes[name]
        if not (node.is_down or node.is_suspended):
            node.outbox += packets
            self.wake(node, self.now_ns)

    # ---- what nodes and network call ----

    def wake(self, node: Node, at_ns: int) -> None:
        if node.wake_ns is None or at_ns < node.wake_ns:
            node.wake_ns = at_ns
            self.at(at_ns, lambda: self._wake(node, at_ns))

    def _wake(self, node: Node, at_ns: int) -> None:
        if node.wake_ns == at_ns:
            node.wake_ns = None
            if self.nodes[node.name] is node:
                node.step(self.now_ns)

    def transmit(self, node: Node, to: Address, data: bytes) -> None:
        self.network.send(node.name, to, data, self.now_ns)

    def arrive(self, at_ns: int, source: Where, target: Where, data: bytes) -> None:
        self.at(at_ns, lambda: self._arrived(source, target, data))

    def _arrived(self, source: Where, target: Where, data: bytes) -> None:
        name = self.network.owner(target)
        if name is None or (":" in source[0]) != (":" in target[0]):
            return
        node = self.nodes[name]
        address = Address(source[0], source[1], sock=int(":" in target[0]), local=self._local(name, target))
        if node.take(data, address):
            self.trace("a", self.now_ns, source, target, data)
            self.network.delivered(source, target, data)
            self.wake(node, self.now_ns)

    def _local(self, name: str, target: Where) -> str:
        """The own address a datagram came to; an edge behind a NAT has a private one that never changes."""
        if name == HUB:
            return target[0]
        return "fd00::2" if ":" in target[0] else "192.168.0.2"

    def _books(self) -> None:
        for node in self.nodes.values():
            self.judge.check_books(node)
        self.at(self.now_ns + BOOKS_NS, self._books)

    def trace(self, kind: str, now_ns: int, source: Where, target: Where, data: bytes) -> None:
        self._digest.update(struct.pack(">QcII", now_ns, kind.encode(), len(data), zlib.crc32(data)))
        self._digest.update(f"{source}{target}".encode())
        if self._pcap is not None and kind != "a":
            self._pcap.write(now_ns, source, target, data)

    def delivered(self, node: Node, peer: int, packet: bytes) -> None:
        name = self._peer_name(node, peer)
        answer = too_big.answer_of(packet)
        if answer is not None:
            self._too_big(node, answer, packet)
            return
        entry = self.ledger.deliver(node.name, name, packet, self.now_ns)
        self._digest.update(struct.pack(">QI", self.now_ns, zlib.crc32(packet)))
        if node.name != HUB and entry.target != node.name:
            raise SimFailure(f"{node.name} got a packet for {entry.target or 'nobody'}")
        if node.name == HUB and entry.target != HUB:
            entry.carried_by.add(HUB)
            node.outbox.append(packet)  # the kernel of the hub routes it back into the tunnel

    def _too_big(self, node: Node, answer: too_big.Answer, packet: bytes) -> None:
        """From the node's own plane; or from the hub's, about what the hub could not forward."""
        too_big.check(node.name, answer, self.ledger)
        self._digest.update(struct.pack(">QI", self.now_ns, zlib.crc32(packet)))
        self.seen["told too big"] += 1
        if node.name == HUB and answer.target not in inside(HUB).addresses:
            node.outbox.append(packet)

    def _peer_name(self, node: Node, peer: int) -> str:
        if node.name != HUB:
            return HUB
        brain = node.brain
        if isinstance(brain, keyed.KeyedTunnel):
            return next(name for name, handle in brain.handles.items() if handle == peer)
        assert isinstance(brain, Tunnel)
        for status in brain.status(node.clock.local_ns(self.now_ns)):
            if status.plane_peer == peer:
                return status.name
        raise SimFailure(f"the hub delivered a packet of peer {peer}, which it does not have")

    def told(self, node: Node, event: TunnelEvent) -> None:
        self.say(f"{node.name}: {event}")
        self.seen[_kind_of(event)] += 1
        if isinstance(event, Resolve):
            self._resolve(node, event)
        self.judge.told(node.name, event)

    def _resolve(self, node: Node, event: Resolve) -> None:
        edge = node.name
        address: Address | None = self._hub_address(edge)
        delay_ns = 20 * MS
        if "bad-resolver" in self.plan.faults and not self.is_healed:
            delay_ns = self.rng.choice((0, 100 * MS, 3 * S))
            if self.rng.random() < 0.3:
                address = None
        self.at(self.now_ns + delay_ns, lambda: self._resolved(node, event, address))

    def _resolved(self, node: Node, event: Resolve, address: Address | None) -> None:
        if self.nodes[node.name] is not node or node.is_suspended:
            return  # its daemon is gone; or sleeps, and asks again
        node.tell_resolved(event, address, self.now_ns)

    def _hub_address(self, edge: str) -> Address:
        ip, port = self.network.hub_at(edge)
        return Address(ip, port, sock=int(":" in ip))

    # ---- the end ----

    def _note_seen(self, node: Node) -> None:
        """At the end of a plane's life."""
        for direction, reasons in node.plane.stats()["drops"].items():
            self.seen.update({f"drop {direction} {reason}": n for reason, n in reasons.items() if n})
        for what, told in node.plane.repair_stats().items():
            if number := sum(told.values()) if isinstance(told, dict) else told:
                self.seen[f"repair {what}"] += number
        if isinstance(node.brain, Tunnel):
            self.seen.update({f"control {name}": n for name, n in node.brain.counters.items() if n})

    def _heal(self) -> None:
        self.say("everything heals")
        self.is_healed = True
        self.network.heal()
        if not self.plan.has_handshakes:
            for link in self.network.links.values():
                link.payload_max = 0  # a plane alone searches for nothing
        for node in self.nodes.values():
            node.lag_ns = 0
        self.judge.healed()

    def end(self) -> None:
        """The judge has seen enough."""
        self._is_done = True


def _kind_of(event: TunnelEvent) -> str:
    match event:
        case PeerDown(reason=reason):
            return f"event PeerDown {reason}"
        case TransportChanged(transport=transport, reason=reason):
            return f"event TransportChanged {transport} {reason}".rstrip()
        case HandshakeRejected(reason=reason):
            return f"event HandshakeRejected {reason}"
        case _:
            return f"event {type(event).__name__}"
