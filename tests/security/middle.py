"""A man in the middle: ends the TLS connection of an edge and opens another one to the hub.

He uses our own classes, knows all public keys, and passes stream messages on, changed as he likes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from oxidized.core.counters import Counters
from oxidized.core.messages import Message, MessageReader, encode
from oxidized.core.plane import Address
from oxidized.core.quic import CarrierPacket, Established, LinkEvent, QuicLink, StreamBytes
from oxidized.core.quic_server import QuicServer
from oxidized.core.timers import Timers
from tests.unit.core.world import Packet, World


@dataclass
class Leg:
    """One of his two connections. `change` sees each message that came in on it."""

    middle: Middle
    link: QuicLink
    is_to_hub: bool
    waiting: list[bytes] = field(default_factory=list)
    is_ready: bool = False
    seen: list[Message] = field(default_factory=list)
    reader: MessageReader = field(default_factory=MessageReader)

    def link_event(self, event: LinkEvent, now_ns: int) -> None:
        match event:
            case Established():
                self.is_ready = True
                for data in self.waiting:
                    self.link.send_message(data)
                self.waiting.clear()
                self.middle.on_ready(self)
            case StreamBytes(data=data):
                for message in self.reader.feed(data):
                    self.seen.append(message)
                    for answer in self.middle.change(self, message):
                        self.middle.other(self).send(encode(answer))
            case CarrierPacket(data=data):
                self.middle.other(self).link.send_carrier(data)
            case _:
                pass

    def link_settled(self, now_ns: int) -> None:
        pass

    def send(self, data: bytes) -> None:
        if self.is_ready:
            self.link.send_message(data)
        else:
            self.waiting.append(data)


Change = Callable[[Leg, Message], list[Message]]


class Middle:
    """The host between. Bind it where the edge believes the hub to be."""

    def __init__(self, world: World, address: Address, hub: Address, change: Change) -> None:
        self.world = world
        self.address = address
        self.hub = hub
        self.change = change
        self.is_dead = False
        self.timers = Timers()
        self.server = QuicServer(
            timers=self.timers,
            counters=Counters(),
            entropy=random.Random(666).randbytes,
            accept=self._called,
            retry="never",
            handshakes_per_second=1000,
            now_ns=world.now_ns,
        )
        self.to_edge: Leg | None = None
        self.to_hub: Leg | None = None
        self.on_ready: Callable[[Leg], None] = lambda leg: None
        world._places[address.ip, address.port] = self

    def _called(self, link: QuicLink, now_ns: int) -> Leg:
        self.to_edge = Leg(self, link, is_to_hub=False)
        self.dial(now_ns)
        return self.to_edge

    def dial(self, now_ns: int) -> Leg:
        def leg(link: QuicLink) -> Leg:
            self.to_hub = Leg(self, link, is_to_hub=True)
            return self.to_hub

        self.server.dial(self.hub, leg, now_ns)
        assert self.to_hub is not None
        return self.to_hub

    def other(self, leg: Leg) -> Leg:
        other = self.to_edge if leg.is_to_hub else self.to_hub
        assert other is not None
        return other

    def receive(self, packet: Packet) -> None:
        if packet.is_quic:
            self.server.receive(packet.data, packet.source, self.world.now_ns)
        self.pump()

    def pump(self) -> None:
        self.timers.run_due(self.world.now_ns)
        self.server.flush(self.world.now_ns)
        while self.server.out:
            data, where = self.server.out.popleft()
            self.world.send(Packet(data, self.address, Address(where.ip, where.port)))
        at_ns = self.timers.next_ns()
        if at_ns is not None:
            self.world.at(max(at_ns, self.world.now_ns + 1_000_000), self.pump)
