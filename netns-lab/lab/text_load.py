"""Exchanges of text messages between two sites over UDP or TCP, every byte compared on both sides."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.errors import LabError
from lab.raw import family_of, socket_in
from lab.text_corpus import Exchange
from lab.topology import Site

CHUNK_BYTES = 65536
CONNECT_SECONDS = 10.0
STALL_SECONDS = 10.0  # without a byte, and it is over
DRAIN_SECONDS = 0.5


@dataclass(slots=True)
class Heard:
    """What one side has received: datagrams known by their bytes, a stream by its place."""

    expected: Sequence[bytes]
    is_stream: bool
    whole: int = 0  # messages that came, each counted once
    wrong: int = 0  # messages changed, foreign or doubled
    _missing: set[bytes] = field(default_factory=set)
    _stream: bytes = b""

    def __post_init__(self) -> None:
        self._missing = set(self.expected)
        if len(self._missing) != len(self.expected):
            raise LabError("two messages of a class are the same: they can not be told apart")

    def take(self, data: bytes) -> list[int]:
        """Bytes as they came from the socket; the numbers of the messages that they complete."""
        if self.is_stream:
            return self._take_stream(data)
        if data not in self._missing:
            self.wrong += 1
            return []
        self._missing.remove(data)
        self.whole += 1
        return [self.expected.index(data)]

    def _take_stream(self, data: bytes) -> list[int]:
        self._stream += data
        complete = []
        while self.whole + self.wrong < len(self.expected):
            number = self.whole + self.wrong
            want = self.expected[number]
            if len(self._stream) < len(want):
                return complete
            got, self._stream = self._stream[: len(want)], self._stream[len(want) :]
            self.whole += got == want
            self.wrong += got != want
            complete.append(number)
        self.wrong += bool(self._stream)
        return complete

    @property
    def is_complete(self) -> bool:
        return self.whole + self.wrong >= len(self.expected)


@dataclass(frozen=True, slots=True)
class TextResult:
    """What came of the exchanges of one class."""

    messages: int
    offered_bytes: int  # of the messages that were sent, answers too
    lost: int
    wrong: int


class TextFlow:
    """One client at `source` and one server at `target`, in this process; `run` drives both."""

    def __init__(self, source: Site, target: Site, address: str, port: int, transport: str,
                 exchanges: Sequence[Exchange]) -> None:  # fmt: skip
        is_stream = transport == "tcp"
        self.requests = [exchange.request for exchange in exchanges]
        self.answers = [exchange.answer for exchange in exchanges if exchange.answer]
        self.has_answers = bool(self.answers)
        if self.has_answers and len(self.answers) != len(self.requests):
            raise LabError("a class answers all of its requests, or none")
        kind = socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM
        family = family_of(address)
        self.client, server = (socket_in(site, family, kind) for site in (source, target))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        self.client.settimeout(CONNECT_SECONDS)
        if is_stream:
            server.listen(1)
            server.settimeout(CONNECT_SECONDS)
        try:
            self.client.connect((address, port))
            if is_stream:
                listener = server
                server, _ = listener.accept()
                listener.close()
                for end in (self.client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise LabError(f"no connection to {address} port {port}: {error}") from None
        self.server = server
        self.at_server = Heard(self.requests, is_stream)
        self.at_client = Heard(self.answers, is_stream)
        self.offered_bytes = self.sent = 0
        self.client_address: Any = None

    def run(self, per_second: float) -> TextResult:
        """Sends the requests at this pace, whatever the answers do, and waits until nothing more comes."""
        start = last = time.monotonic()
        while time.monotonic() - last < STALL_SECONDS:
            now = time.monotonic()
            while self.sent < min(len(self.requests), int((now - start) * per_second) + 1):
                self._send(self.client, self.requests[self.sent])
                self.sent += 1
                last = now
            is_over = self.sent == len(self.requests)
            if is_over and self.at_server.is_complete and self.at_client.is_complete:
                break
            due = start + self.sent / per_second if not is_over else now + DRAIN_SECONDS
            if self._receive(max(0.0, due - time.monotonic())):
                last = time.monotonic()
            elif is_over and not self.at_server.is_stream:
                break
        time.sleep(DRAIN_SECONDS)
        for end in (self.client, self.server):
            end.close()
        time.sleep(DRAIN_SECONDS)
        wanted = len(self.requests) + len(self.answers)
        wrong = self.at_server.wrong + self.at_client.wrong
        came = self.at_server.whole + self.at_client.whole
        return TextResult(len(self.requests), self.offered_bytes, wanted - came, wrong)

    def _send(self, end: socket.socket, data: bytes) -> None:
        self.offered_bytes += len(data)
        try:
            if end is self.server and not self.at_server.is_stream:
                end.sendto(data, self.client_address)
            else:
                end.sendall(data)
        except OSError as error:
            raise LabError(f"a message of {len(data)} bytes could not be sent: {error}") from None

    def _receive(self, seconds: float) -> bool:
        """Takes what is there, or comes within so long; False when nothing came."""
        ready, _, _ = select.select([self.client, self.server], [], [], seconds)
        for end in ready:
            data, address = end.recvfrom(CHUNK_BYTES)
            if end is self.client:
                self.at_client.take(data)
                continue
            self.client_address = address
            for number in self.at_server.take(data):
                if self.has_answers:
                    self._send(self.server, self.answers[number])
        return bool(ready)
