"""One control connection and what is said on it, from TLS to the last rekey.

    edge:  TLS -> HELLO out  -> WELCOME in -> PROOF out  -> ACCEPT in -> open
    hub:   TLS -> HELLO in -> WELCOME out -> PROOF in -> ACCEPT out -> open

`EdgeChannel` and `HubChannel` own the order of messages; any other order is a protocol error. A
session and its epochs live and die with the channel that made them; the keys in the packet path stay
until the peer drops them or a newer session replaces them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from oxidized.core.context import Context
from oxidized.core.events import HandshakeRejected, Rekeyed
from oxidized.core.handshake import Agreed, EdgeHandshake, HubHandshake, Rejected
from oxidized.core.keychain import EpochKeys
from oxidized.core.messages import (
    Accept,
    Hello,
    Message,
    MessageError,
    MessageReader,
    Proof,
    Rekey,
    RekeyDone,
    RekeyReply,
    RekeyWanted,
    VersionError,
    Welcome,
    encode,
)
from oxidized.core.plane import Address
from oxidized.core.quic import (
    CLOSE_NONE,
    CLOSE_PROTOCOL,
    CLOSE_REJECTED,
    CLOSE_REPLACED,
    CLOSE_VERSION,
    CarrierPacket,
    Closed,
    Established,
    LinkEvent,
    Misused,
    PingAnswered,
    QuicLink,
    StreamBytes,
)
from oxidized.core.rekey import Epochs, OutOfOrder

AUTHENTICATE_NS_MAX = 6_000_000_000  # ten round trips of a satellite link; then it is not coming
ANSWER_NS_MAX = 15_000_000_000  # QUIC has repeated a frame about five times by then
PING_INTERVAL_NS = 60_000_000_000  # a third of QUIC's idle timeout
HUB_ASKS_LATER = (5, 4)  # the hub asks for new keys at 5/4 of rekey_after: the edge comes first
NOBODY = Address(ip="::", port=0)  # the source of a connection that never had a valid datagram


class Phase(Enum):
    """How far the connection has come."""

    TLS = "tls"
    HELLO = "hello"  # hub: waits for HELLO
    WELCOME = "welcome"  # edge: waits for WELCOME
    PROOF = "proof"  # hub: waits for PROOF
    ACCEPT = "accept"  # edge: waits for ACCEPT
    OPEN = "open"
    CLOSED = "closed"


class ChannelPeer(Protocol):
    """What a channel needs of the peer it serves."""

    name: str

    @property
    def handle(self) -> int:
        """The peer in the packet path."""

    def receive_ready(self, agreed: Agreed, now_ns: int) -> None:
        """Edge: the hub is proved; install the keys for receiving."""

    def channel_open(self, channel: Channel, agreed: Agreed, observed: Address | None, now_ns: int) -> None:
        """Both sides are proved: this is the session from now on."""

    def channel_failed(self, channel: Channel, result: str, now_ns: int) -> None:
        """An attempt of ours did not get to open; `result`: failed or rejected."""

    def channel_lost(self, channel: Channel, code: int, now_ns: int) -> None:
        """An open channel is gone; `code` is how it was closed."""

    def control_answered(self, now_ns: int) -> None:
        """The other side answered on the control connection."""

    def rekeyed(self, now_ns: int) -> None:
        """We seal under a new epoch."""


class Channel(ABC):
    """What both sides have in common."""

    peer: ChannelPeer | None

    def __init__(self, core: Context, link: QuicLink, now_ns: int) -> None:
        self._core = core
        self._reader = MessageReader()
        self._packets: list[bytes] = []
        self._deadline = core.timers.new(self._too_late)
        self._deadline.set(now_ns + AUTHENTICATE_NS_MAX)
        self._rekey = core.timers.new(self._rekey_due)
        self._epoch_since_ns = 0
        self.link = link
        self.phase = Phase.TLS
        self.epochs: Epochs | None = None
        self.peer = None

    # -- what the connection reports

    def link_event(self, event: LinkEvent, now_ns: int) -> None:
        if self.phase is Phase.CLOSED:
            return
        match event:
            case StreamBytes(data=data):
                self._judge(lambda: self._stream(data, now_ns), now_ns)
            case CarrierPacket(data=packet):
                if self.phase is Phase.OPEN:
                    self._packets.append(packet)
                else:
                    self._core.counters.count("carrier-early")
            case Established():
                self._judge(lambda: self._established(now_ns), now_ns)
            case PingAnswered():
                self._ping_answered(now_ns)
            case Misused():
                self.fail("quic-misused", CLOSE_PROTOCOL, now_ns)
            case Closed(code=code, is_application=is_application):
                result = "rejected" if is_application and code == CLOSE_REJECTED else ""
                if result:
                    self._core.counters.count(result)
                self._end(result, code if is_application else CLOSE_NONE, now_ns)
            case _:
                raise AssertionError(event)  # connection ids are the server's business

    def link_settled(self, now_ns: int) -> None:
        if self._packets:
            packets, self._packets = self._packets, []
            if self.phase is Phase.OPEN:
                assert self.peer is not None
                self._core.plane.carrier_push(now_ns, self.peer.handle, packets)

    def _stream(self, data: bytes, now_ns: int) -> None:
        for message in self._reader.feed(data):
            self._message(message, now_ns)
            if self.phase is Phase.CLOSED:
                return

    def _judge(self, call: Callable[[], None], now_ns: int) -> None:
        """Run what a remote's bytes cause; each thing wrong with them has its counter and close code."""
        try:
            call()
        except VersionError:
            self.fail("version", CLOSE_VERSION, now_ns)
        except (MessageError, OutOfOrder):
            self.fail("message-bad", CLOSE_PROTOCOL, now_ns)
        except Rejected as rejected:
            self.fail(rejected.reason, CLOSE_REJECTED, now_ns)

    @abstractmethod
    def _message(self, message: Message, now_ns: int) -> None: ...

    @abstractmethod
    def _established(self, now_ns: int) -> None: ...

    def _ping_answered(self, now_ns: int) -> None:
        """The QUIC PING of `prove` came back; a hub sends none."""
        return

    @abstractmethod
    def _rekey_due(self, now_ns: int) -> None: ...

    @abstractmethod
    def _ended(self, result: str, code: int, now_ns: int) -> None:
        """The subclass tells the peer; `self.phase` is still the one it ended in."""

    # -- what the owner does

    def send(self, message: Message) -> None:
        self.link.send_message(encode(message))

    def close(self, code: int) -> None:
        """Close without a word to the peer object: it knows."""
        self.link.close(code)
        self._stop()

    def fail(self, counter: str, code: int, now_ns: int) -> None:
        """Close because of something the other side did or did not do."""
        self._core.counters.count(counter)
        self.link.close(code)
        self._end(counter, code, now_ns)

    def prove(self, now_ns: int) -> None:
        """Make the other side answer on the control connection; only edges ask."""
        return

    def worn(self, epoch: int, now_ns: int) -> None:
        """The packet path has sealed enough under this epoch."""
        if self.epochs is not None and epoch == self.epochs.epoch:
            self._rekey_due(now_ns)

    def rekey_time_changed(self) -> None:
        """The operator changed `rekey_after`."""
        if self.phase is Phase.OPEN:
            self._rekey.set(self._epoch_since_ns + self._rekey_after_ns())

    def _rekey_after_ns(self) -> int:
        return self._core.rekey_after_ns

    def _open(self, agreed: Agreed, now_ns: int, *, is_edge: bool) -> None:
        self.phase = Phase.OPEN
        self.epochs = Epochs(agreed.chain, is_edge=is_edge)
        self._deadline.cancel()
        self._epoch_begins(now_ns)

    def _epoch_begins(self, now_ns: int) -> None:
        self._epoch_since_ns = now_ns
        self._rekey.set(now_ns + self._rekey_after_ns())

    def _install(self, keys: EpochKeys, now_ns: int, *, is_edge: bool) -> None:
        assert self.peer is not None
        handle, plane = self.peer.handle, self._core.plane
        plane.epoch_install(now_ns, handle, keys.epoch, keys.rx(is_edge), keys.tx(is_edge))

    def _seal_under(self, epoch: int, now_ns: int) -> None:
        assert self.peer is not None
        self._core.plane.epoch_send(now_ns, self.peer.handle, epoch)
        self._epoch_begins(now_ns)
        self.peer.rekeyed(now_ns)
        self._core.emit(Rekeyed(self.peer.name, epoch))

    def _too_late(self, now_ns: int) -> None:
        if self.phase is Phase.OPEN:
            self.fail("control-silent", CLOSE_REPLACED, now_ns)
        elif self.phase is Phase.TLS and not self.link.is_client:
            # Its address is not proved: another word could be the one that makes us an amplifier.
            self._core.counters.count("handshake-timeout")
            self._core.quic.abandon(self.link)
            self._end("handshake-timeout", CLOSE_NONE, now_ns)
        else:
            self.fail("handshake-timeout", CLOSE_REJECTED, now_ns)

    def _end(self, result: str, code: int, now_ns: int) -> None:
        if self.phase is not Phase.CLOSED:
            self._ended(result, code, now_ns)
            self._stop()

    def _stop(self) -> None:
        self.phase = Phase.CLOSED
        self._deadline.cancel()
        self._rekey.cancel()
        self._packets.clear()

    def _rejected(self, reason: str) -> None:
        who = self.peer.name if self.peer is not None else None
        self._core.emit(HandshakeRejected(who, reason, self.link.remote or NOBODY))


# Results of a handshake that say "not who I expected", as against "did not come through".
PROOF_FAILURES = frozenset(
    {
        "ephemeral-bad",
        "hub-unknown",
        "knock-bad",
        "message-bad",
        "quic-misused",
        "rejected",
        "signature-bad",
        "suite-none",
        "unknown-peer",
        "version",
    }
)


class EdgeChannel(Channel):
    """Our end when we dial. `hub_static` is the key the hub must prove."""

    peer: ChannelPeer

    def __init__(
        self, core: Context, link: QuicLink, peer: ChannelPeer, hub_static: bytes, now_ns: int
    ) -> None:
        super().__init__(core, link, now_ns)
        self.peer = peer
        self._hub_static = hub_static
        self._handshake: EdgeHandshake | None = None
        self._agreed: Agreed | None = None
        self._ping = core.timers.new(self.prove)

    def prove(self, now_ns: int) -> None:
        """Make the other side answer on the control connection, or give the connection up."""
        if self.phase is Phase.OPEN:
            self.link.ping()
            self._expect_answer(now_ns)

    def _expect_answer(self, now_ns: int) -> None:
        if self._deadline.at_ns is None:
            self._deadline.set(now_ns + ANSWER_NS_MAX)

    def _ping_answered(self, now_ns: int) -> None:
        if self.phase is Phase.OPEN:
            self._ping.set(now_ns + PING_INTERVAL_NS)
            if self.epochs is None or not self.epochs.is_under_way:
                self._deadline.cancel()
            self.peer.control_answered(now_ns)

    def _established(self, now_ns: int) -> None:
        core = self._core
        self._handshake = EdgeHandshake(core.identity, self._hub_static, core.offer, self.link.exporter)
        self.send(self._handshake.hello(core.pick_index(), core.entropy))
        self.phase = Phase.WELCOME

    def _message(self, message: Message, now_ns: int) -> None:
        match self.phase, message:
            case Phase.WELCOME, Welcome():
                self._welcome(message, now_ns)
            case Phase.ACCEPT, Accept(address=address):
                assert self._agreed is not None
                agreed, self._agreed = self._agreed, None
                self._open(agreed, now_ns, is_edge=True)
                self._ping.set(now_ns + PING_INTERVAL_NS)
                self.peer.channel_open(self, agreed, address, now_ns)
            case Phase.OPEN, RekeyReply():
                self._rekey_reply(message, now_ns)
            case Phase.OPEN, RekeyWanted():
                assert self.epochs is not None
                if self.epochs.is_wanted_next(message):
                    self._rekey_due(now_ns)
            case _:
                raise MessageError(f"{type(message).__name__} in {self.phase.value}")

    def _welcome(self, welcome: Welcome, now_ns: int) -> None:
        assert self._handshake is not None
        proof, agreed = self._handshake.welcome(welcome)
        self._handshake = None
        self._core.check_index(agreed.rx_index)
        self.peer.receive_ready(agreed, now_ns)
        self._agreed = agreed
        self.send(proof)
        self.phase = Phase.ACCEPT

    def _rekey_due(self, now_ns: int) -> None:
        assert self.epochs is not None
        if self.phase is Phase.OPEN and not self.epochs.is_under_way:
            self.send(self.epochs.begin(self._core.entropy))
            self._expect_answer(now_ns)

    def _rekey_reply(self, reply: RekeyReply, now_ns: int) -> None:
        assert self.epochs is not None
        keys, done = self.epochs.reply(reply)
        self._deadline.cancel()
        self._install(keys, now_ns, is_edge=True)
        self.send(done)
        self._seal_under(keys.epoch, now_ns)

    def _ended(self, result: str, code: int, now_ns: int) -> None:
        if self.phase is Phase.OPEN:
            self.peer.channel_lost(self, code, now_ns)
            return
        if result in PROOF_FAILURES:
            self._rejected(result)
        self.peer.channel_failed(self, "rejected" if result in PROOF_FAILURES else "failed", now_ns)

    def _stop(self) -> None:
        super()._stop()
        self._ping.cancel()


class HubChannel(Channel):
    """Our end when we are called. `known` finds a peer that may call by its static key."""

    def __init__(self, core: Context, link: QuicLink, known: dict[bytes, ChannelPeer], now_ns: int) -> None:
        super().__init__(core, link, now_ns)
        self._known = known
        self._handshake: HubHandshake | None = None
        self._asked_for = 0

    def _established(self, now_ns: int) -> None:
        self.phase = Phase.HELLO

    def _message(self, message: Message, now_ns: int) -> None:
        match self.phase, message:
            case Phase.HELLO, Hello():
                self._hello(message)
            case Phase.PROOF, Proof():
                self._proof(message, now_ns)
            case Phase.OPEN, Rekey():
                assert self.epochs is not None
                keys, reply = self.epochs.request(message, self._core.entropy)
                self._install(keys, now_ns, is_edge=False)
                self.send(reply)
            case Phase.OPEN, RekeyDone():
                assert self.epochs is not None
                self._seal_under(self.epochs.done(message), now_ns)
            case _:
                raise MessageError(f"{type(message).__name__} in {self.phase.value}")

    def _hello(self, hello: Hello) -> None:
        core = self._core
        self._handshake = HubHandshake(core.identity, core.offer, self.link.exporter)
        self._handshake.check_knock(hello)
        self.send(self._handshake.welcome(hello, core.pick_index(), core.entropy))
        self.phase = Phase.PROOF

    def _proof(self, proof: Proof, now_ns: int) -> None:
        core = self._core
        assert self._handshake is not None
        agreed = self._handshake.proof(proof, self._known)
        self._handshake = None
        core.check_index(agreed.rx_index)
        self.peer = self._known[agreed.static]
        core.quic.authenticated(self.link)
        self._open(agreed, now_ns, is_edge=False)
        self.peer.channel_open(self, agreed, None, now_ns)
        assert self.link.remote is not None
        self.send(Accept(self.link.remote))

    def _rekey_after_ns(self) -> int:
        times, over = HUB_ASKS_LATER
        return self._core.rekey_after_ns * times // over

    def _rekey_due(self, now_ns: int) -> None:
        epochs = self.epochs
        assert epochs is not None
        if self.phase is Phase.OPEN and not epochs.is_under_way and self._asked_for <= epochs.epoch:
            wanted = epochs.wanted()
            self._asked_for = wanted.epoch
            self.send(wanted)

    def _ended(self, result: str, code: int, now_ns: int) -> None:
        if self.phase is Phase.OPEN:
            assert self.peer is not None
            self.peer.channel_lost(self, code, now_ns)
        elif result in PROOF_FAILURES:
            self._rejected(result)
