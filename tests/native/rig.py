"""Planes for tests: one plane against the reference, two planes on a virtual link, and inner packets.

Time is a number here; nothing waits. Datagrams move only when a test says so.
"""

from __future__ import annotations

import heapq
import struct
import weakref
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from oxidized.core.plane import Address, Compression, PlaneEvent, SessionKeys, Suite
from oxidized.ffi.dataplane import DataPlane
from tests.differential.reference import End, Opened

MS = 10**6
S = 10**9
START_NS = 1000 * S
EDGE = Address("192.0.2.1", 1000)
HUB = Address("192.0.2.2", 443)
ELSEWHERE = Address("198.51.100.7", 2000)
KEY_A = bytes(range(32))
KEY_B = bytes(range(32, 64))
PAYLOAD_MAX = 1444
INNER_A = "10.0.0.1"
INNER_B = "10.0.0.2"


def checksum(header: bytes) -> int:
    """RFC 1071 over an even number of bytes."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    source: str = INNER_A, target: str = INNER_B, payload: bytes = b"x" * 80, *, ecn: int = 0, ident: int = 0
) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, ecn, 20 + len(payload), ident, 0, 64, 17, 0,
        ip_address(source).packed, ip_address(target).packed,
    )  # fmt: skip
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(
    source: str = "fd00::1", target: str = "fd00::2", payload: bytes = b"x" * 80, *, ecn: int = 0
) -> bytes:
    head = struct.pack(">IHBB", 6 << 28 | ecn << 20, len(payload), 17, 64)
    return head + ip_address(source).packed + ip_address(target).packed + payload


def numbered(n: int, source: str = INNER_A, target: str = INNER_B) -> bytes:
    """An inner packet that tells which one it is."""
    return ipv4(source, target, struct.pack(">I", n) + b"y" * 60)


def number_of(packet: bytes) -> int:
    return int(struct.unpack_from(">I", packet, 20)[0])


def key(n: int) -> bytes:
    """A key that is like no other."""
    return bytes([n]) * 32


def drops(plane: DataPlane) -> dict[tuple[str, str], int]:
    """(direction, reason) -> packets, those above 0."""
    found = plane.stats()["drops"]
    return {(way, why): n for way, row in found.items() for why, n in row.items() if n}


def sums_must_hold(plane: DataPlane) -> dict[str, Any]:
    """The identities that oxi.h promises of its counters; returns the counters."""
    st = plane.stats()
    lost = {way: sum(row.values()) for way, row in st["drops"].items()}
    sent = st["inner_sent_packets"]
    assert st["inner_in_packets"] == sent + lost["transmit"] + st["inner_held_packets"]
    opened = st["opened_datagrams"]
    assert st["outer_in_datagrams"] == st["control_in_datagrams"] + opened + lost["receive_datagram"]
    assert st["found_packets"] == st["inner_out_packets"] + lost["receive"] + st["deliver_held_packets"]
    inner_datagrams = st["inner_sent_packets"] - st["bundled_out_packets"] + st["bundles_out"]
    assert st["outer_out_datagrams"] == inner_datagrams + st["own_out_datagrams"]
    return st


def events(plane: DataPlane, kind: int) -> list[PlaneEvent]:
    """Takes all events; those of one type."""
    return [event for event in plane.poll_events() if event.type == kind]


WHOLE = Compression()  # nothing is compressed either way


class Solo:
    """One plane with one peer, and the reference as that peer."""

    def __init__(
        self, *, suite: Suite = Suite.AES_256_GCM, is_initiator: bool = False, may_send: bool = True,
        keepalive_ns: int = 0, dead_after_ns: int = 5 * S, address: Address | None = EDGE,
        library: str = "auto", may_bundle: bool = False, compression: Compression = WHOLE, **conf: Any,
    ) -> None:  # fmt: skip
        self.now_ns = START_NS
        self.may_bundle, self.compression = may_bundle, compression
        self.plane = DataPlane(library=library, **conf)
        self.pool_pkts = self.plane.stats()["pool_free_pkts"]
        weakref.finalize(self, self.plane.close)
        self.peer = self.plane.peer_add(
            keepalive_ns=keepalive_ns, dead_after_ns=dead_after_ns, is_initiator=is_initiator
        )
        self.plane.routes_set(
            [(ip_network("10.0.0.1/32"), self.peer), (ip_network("fd00::1/128"), self.peer)]
        )
        if address is not None:
            self.plane.path_set(self.peer, 0, address, PAYLOAD_MAX)
        self.far = self.session(suite=suite, may_send=may_send)

    def session(
        self, *, suite: Suite = Suite.AES_256_GCM, may_send: bool = True, near: int = 0x123456,
        keys: tuple[bytes, bytes] = (KEY_A, KEY_B), tx_index: int = 0xABCDEF,
    ) -> End:  # fmt: skip
        """A new session of the peer; the reference end of it."""
        index = self.plane.index_pick(near)
        self.plane.session_install(
            self.now_ns,
            self.peer,
            SessionKeys(
                index, tx_index, suite, keys[0], keys[1], may_send, self.may_bundle, self.compression
            ),
        )
        return End(suite, index, tx_index, {0: keys[0]}, {0: keys[1]})

    def epoch(self, epoch: int, *, end: End | None = None) -> None:
        """Keys of the next epoch on both sides; nobody sends under them yet."""
        end = end or self.far
        end.send_keys[epoch], end.receive_keys[epoch] = key(2 * epoch), key(2 * epoch + 1)
        self.plane.epoch_install(self.now_ns, self.peer, epoch, key(2 * epoch), key(2 * epoch + 1))

    def receive(self, *datagrams: bytes, source: Address = EDGE) -> None:
        """Datagrams from the network, in batches."""
        for start in range(0, len(datagrams), 64):
            self.plane.outer_push(self.now_ns, [(d, source) for d in datagrams[start : start + 64]])

    def hear(self, frames: bytes = b"", *, source: Address = EDGE, path: int = 0) -> None:
        """The next datagram of the peer."""
        self.receive(self.far.seal(frames, path=path), source=source)

    def send(self, *packets: bytes) -> None:
        """Inner packets from the TUN; without any, one to the peer."""
        self.plane.inner_push(self.now_ns, packets or [ipv4(INNER_B, INNER_A)])

    def sent(self) -> list[tuple[bytes, Address]]:
        """All datagrams that wait for the network."""
        found: list[tuple[bytes, Address]] = []
        while batch := self.plane.outer_pop():
            found += batch
        return found

    def opened(self, end: End | None = None) -> list[Opened]:
        return [(end or self.far).open(datagram) for datagram, _ in self.sent()]

    def delivered(self) -> list[bytes]:
        found: list[bytes] = []
        while batch := self.plane.inner_pop():
            found += [packet for _, packet in batch]
        return found

    def tick(self, after_ns: int = 0) -> int | None:
        self.now_ns += after_ns
        return self.plane.tick(self.now_ns)

    def tick_until(self, until_ns: int) -> list[tuple[int, bytes]]:
        """Runs every timer up to then, as the io thread would; (time, datagram) of what went out."""
        wake = self.tick()
        found = [(self.now_ns, datagram) for datagram, _ in self.sent()]
        while wake is not None and wake <= until_ns:
            assert wake > self.now_ns, "a timer that is due again at once would spin"
            self.now_ns = wake
            wake = self.tick()
            found += [(self.now_ns, datagram) for datagram, _ in self.sent()]
        self.now_ns = until_ns
        return found


Fate = Callable[[str, int], int | None]  # ("up"|"down", which datagram) -> delay in ns, None: lost


class Pair:
    """An edge and a hub on a virtual link with `delay_ns` each way; `fate` decides otherwise per datagram."""

    def __init__(
        self, *, delay_ns: int = 10 * MS, fate: Fate | None = None, suite: Suite = Suite.AES_256_GCM,
        keepalive_ns: int = 0, dead_after_ns: int = 5 * S, may_bundle: bool = False,
        compression: Compression = WHOLE, **conf: Any,
    ) -> None:  # fmt: skip
        self.now_ns = START_NS
        self.may_bundle, self.compression = may_bundle, compression
        self.fate: Fate = fate or (lambda way, n: delay_ns)
        self.edge, self.hub = DataPlane(**conf), DataPlane(**conf)
        weakref.finalize(self, self.edge.close)
        weakref.finalize(self, self.hub.close)
        timers = {"keepalive_ns": keepalive_ns, "dead_after_ns": dead_after_ns}
        self.edge_peer = self.edge.peer_add(**timers, is_initiator=True)
        self.hub_peer = self.hub.peer_add(**timers, is_initiator=False)
        self.edge.routes_set([(ip_network(net), self.edge_peer) for net in ("10.0.0.2/32", "fd00::2/128")])
        self.hub.routes_set([(ip_network(net), self.hub_peer) for net in ("10.0.0.1/32", "fd00::1/128")])
        self.edge.path_set(self.edge_peer, 0, HUB, PAYLOAD_MAX)
        self.hub.path_set(self.hub_peer, 0, EDGE, PAYLOAD_MAX)
        self.edge_source = EDGE
        self.readers: dict[tuple[str, int], End] = {}  # (way, index): the reference opens what goes there
        self.session(suite)
        self._wire: list[tuple[int, int, str, bytes, Address]] = []
        self._counts = {"up": 0, "down": 0}
        self.lost = {"up": 0, "down": 0}
        self.at_hub: list[bytes] = []
        self.at_edge: list[bytes] = []

    def session(self, suite: Suite = Suite.AES_256_GCM, *, seed: int = 0) -> None:
        """A new session on both ends, both sending at once."""
        up, down = key(100 + seed), key(200 + seed)
        at_edge = self.edge.index_pick(0x1000 + 7 * seed)
        at_hub = self.hub.index_pick(0x2000 + 5 * seed)
        self.readers["up", at_hub] = End(suite, at_edge, at_hub, {}, {0: up})
        self.readers["down", at_edge] = End(suite, at_hub, at_edge, {}, {0: down})
        self.edge.session_install(
            self.now_ns,
            self.edge_peer,
            SessionKeys(at_edge, at_hub, suite, down, up, True, self.may_bundle, self.compression),
        )
        self.hub.session_install(
            self.now_ns,
            self.hub_peer,
            SessionKeys(at_hub, at_edge, suite, up, down, True, self.may_bundle, self.compression),
        )

    def up(self, packets: Sequence[bytes]) -> None:
        """Inner packets into the edge's TUN."""
        self.edge.inner_push(self.now_ns, packets)

    def down(self, packets: Sequence[bytes]) -> None:
        self.hub.inner_push(self.now_ns, packets)

    def _collect(self) -> None:
        for way, plane, source in (("up", self.edge, self.edge_source), ("down", self.hub, HUB)):
            while batch := plane.outer_pop():
                for datagram, _ in batch:
                    self._launch(way, datagram, source)

    def _launch(self, way: str, datagram: bytes, source: Address) -> None:
        n = self._counts[way]
        self._counts[way] += 1
        delay_ns = self.fate(way, n)
        if delay_ns is None:
            self.lost[way] += 1
            return
        order = sum(self._counts.values())
        heapq.heappush(self._wire, (self.now_ns + delay_ns, order, way, datagram, source))

    def _deliver(self) -> None:
        while self._wire and self._wire[0][0] <= self.now_ns:
            _, _, way, datagram, source = heapq.heappop(self._wire)
            (self.hub if way == "up" else self.edge).outer_push(self.now_ns, [(datagram, source)])
        for plane, inbox in ((self.hub, self.at_hub), (self.edge, self.at_edge)):
            while batch := plane.inner_pop():
                inbox += [packet for _, packet in batch]

    def run(self, for_ns: int) -> None:
        """Lets the link and all timers run."""
        until_ns = self.now_ns + for_ns
        while True:
            self._deliver()
            wakes = [wake for plane in (self.edge, self.hub) if (wake := plane.tick(self.now_ns)) is not None]
            self._collect()
            wakes += [self._wire[0][0]] if self._wire else []
            next_ns = min([wake for wake in wakes if wake > self.now_ns], default=until_ns)
            if next_ns >= until_ns:
                self.now_ns = until_ns
                self._deliver()
                return
            self.now_ns = next_ns
