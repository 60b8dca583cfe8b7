"""The messages of the control stream, both directions (PROTOCOL.md section 5).

A message is type (1), length (2), body. Decoding is total: bytes become messages or a MessageError,
never anything else. Bodies are kept beside the fields where a signature covers them.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from oxidized.core.plane import Address

VERSION = 1
BODY_BYTES_MAX = 1024  # PROTOCOL.md: five times the longest message of version 1, room for later ones
HEADER_BYTES = 3
STREAM_READ_BYTES_MAX = 16384  # what the flow control of one stream lets a peer have in flight

KNOCK_BYTES = 16
SIGNATURE_BYTES = 64
EPHEMERAL_BYTES = 32
STATIC_BYTES = 32
INDEX_MAX = (1 << 24) - 1
MTU_BYTES_MIN = 1280  # RFC 8200, section 5
EPOCH_MAX = (1 << 32) - 1

TYPE_HELLO = 1
TYPE_WELCOME = 2
TYPE_PROOF = 3
TYPE_ACCEPT = 4
TYPE_REKEY = 5
TYPE_REKEY_REPLY = 6
TYPE_REKEY_DONE = 7
TYPE_REKEY_WANTED = 8

_HELLO = struct.Struct(">BBBIHHI32s16s")
_WELCOME = struct.Struct(">BBIHHI32s32s64s")
_PROOF = struct.Struct(">32s64s")
_ACCEPT = struct.Struct(">B16sH")
_REKEY = struct.Struct(">I32s")
_EPOCH = struct.Struct(">I")


class MessageError(Exception):
    """The other side sent something that is no message; `args[0]` says what, for the log."""


class VersionError(MessageError):
    """The other side speaks another version of the protocol."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Edge to hub. `suites`: bit 0 = suite 1, bit 1 = suite 2.

    What the edge takes: `flows` contexts for headers (0: they come whole), `dictionaries`: the digest of
    those it restores payloads with (0: they come as they are).
    """

    version: int
    suites: int
    preferred_suite: int
    index: int
    mtu_bytes: int
    flows: int
    dictionaries: int
    ephemeral: bytes
    knock: bytes

    def body(self) -> bytes:
        return _HELLO.pack(
            self.version,
            self.suites,
            self.preferred_suite,
            self.index,
            self.mtu_bytes,
            self.flows,
            self.dictionaries,
            self.ephemeral,
            self.knock,
        )

    def knocked(self) -> bytes:
        """The part of the body that the knock covers."""
        return self.body()[:-KNOCK_BYTES]


@dataclass(frozen=True, slots=True)
class Welcome:
    """Hub to edge: the hub proves itself; `flows` and `dictionaries` as in HELLO, of what the hub takes."""

    version: int
    suite: int
    index: int
    mtu_bytes: int
    flows: int
    dictionaries: int
    ephemeral: bytes
    static: bytes
    signature: bytes

    def body(self) -> bytes:
        return _WELCOME.pack(
            self.version,
            self.suite,
            self.index,
            self.mtu_bytes,
            self.flows,
            self.dictionaries,
            self.ephemeral,
            self.static,
            self.signature,
        )

    def signed(self) -> bytes:
        """The part of the body that the signature covers."""
        return self.body()[:-SIGNATURE_BYTES]


@dataclass(frozen=True, slots=True)
class Proof:
    """Edge to hub: the edge proves itself."""

    static: bytes
    signature: bytes

    def body(self) -> bytes:
        return _PROOF.pack(self.static, self.signature)


@dataclass(frozen=True, slots=True)
class Accept:
    """Hub to edge: keys are installed; `address` is where the hub sees the edge."""

    address: Address

    def body(self) -> bytes:
        ip = ipaddress.ip_address(self.address.ip)
        return _ACCEPT.pack(ip.version, ip.packed, self.address.port)


@dataclass(frozen=True, slots=True)
class Rekey:
    """Edge to hub: a new ephemeral for this epoch."""

    epoch: int
    ephemeral: bytes

    def body(self) -> bytes:
        return _REKEY.pack(self.epoch, self.ephemeral)


@dataclass(frozen=True, slots=True)
class RekeyReply:
    """Hub to edge: its ephemeral; it opens packets of this epoch by now."""

    epoch: int
    ephemeral: bytes

    def body(self) -> bytes:
        return _REKEY.pack(self.epoch, self.ephemeral)


@dataclass(frozen=True, slots=True)
class RekeyDone:
    """Edge to hub: it opens packets of this epoch by now."""

    epoch: int

    def body(self) -> bytes:
        return _EPOCH.pack(self.epoch)


@dataclass(frozen=True, slots=True)
class RekeyWanted:
    """Hub to edge: the hub's key is worn, please rekey to this epoch."""

    epoch: int

    def body(self) -> bytes:
        return _EPOCH.pack(self.epoch)


Message = Hello | Welcome | Proof | Accept | Rekey | RekeyReply | RekeyDone | RekeyWanted

Greeting = TypeVar("Greeting", Hello, Welcome)

TYPE_OF: dict[type[Message], int] = {
    Hello: TYPE_HELLO,
    Welcome: TYPE_WELCOME,
    Proof: TYPE_PROOF,
    Accept: TYPE_ACCEPT,
    Rekey: TYPE_REKEY,
    RekeyReply: TYPE_REKEY_REPLY,
    RekeyDone: TYPE_REKEY_DONE,
    RekeyWanted: TYPE_REKEY_WANTED,
}


def encode(message: Message) -> bytes:
    """One message as it goes on the stream."""
    body = message.body()
    assert len(body) <= BODY_BYTES_MAX
    return struct.pack(">BH", TYPE_OF[type(message)], len(body)) + body


def decode(kind: int, body: bytes) -> Message:
    """The message of this type; raises MessageError for any body that is not exactly one."""
    if kind in (TYPE_HELLO, TYPE_WELCOME) and body[:1] not in (b"", bytes([VERSION])):
        raise VersionError(f"version {body[0]}")
    try:
        if kind == TYPE_HELLO:
            return _checked(Hello(*_HELLO.unpack(body)))
        if kind == TYPE_WELCOME:
            return _checked(Welcome(*_WELCOME.unpack(body)))
        if kind == TYPE_PROOF:
            return Proof(*_PROOF.unpack(body))
        if kind == TYPE_ACCEPT:
            return Accept(_address(*_ACCEPT.unpack(body)))
        if kind == TYPE_REKEY:
            return Rekey(*_REKEY.unpack(body))
        if kind == TYPE_REKEY_REPLY:
            return RekeyReply(*_REKEY.unpack(body))
        if kind == TYPE_REKEY_DONE:
            return RekeyDone(*_EPOCH.unpack(body))
        if kind == TYPE_REKEY_WANTED:
            return RekeyWanted(*_EPOCH.unpack(body))
    except struct.error:
        raise MessageError(f"type {kind} with {len(body)} bytes") from None
    raise MessageError(f"unknown type {kind}")


def _checked(greeting: Greeting) -> Greeting:
    # Index 0 is nobody's: the packet path uses it for "no session".
    if not 0 < greeting.index <= INDEX_MAX:
        raise MessageError(f"receiver index {greeting.index}")
    if greeting.mtu_bytes < MTU_BYTES_MIN:
        raise MessageError(f"inner MTU {greeting.mtu_bytes}")
    return greeting


def _address(family: int, packed: bytes, port: int) -> Address:
    if family == 4 and packed[4:] == bytes(12):
        return Address(str(ipaddress.IPv4Address(packed[:4])), port)
    if family == 6:
        return Address(str(ipaddress.IPv6Address(packed)), port)
    raise MessageError(f"address family {family}")


class MessageReader:
    """Cuts the byte stream of one connection into messages; holds at most one unfinished one."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes; raises MessageError at the first bad byte."""
        held = self._held + data
        while len(held) >= HEADER_BYTES:
            kind, length = struct.unpack_from(">BH", held)
            if length > BODY_BYTES_MAX:
                raise MessageError(f"type {kind} announces {length} bytes")
            end = HEADER_BYTES + length
            if len(held) < end:
                break
            body, held = held[HEADER_BYTES:end], held[end:]
            self._held = held
            yield decode(kind, body)
        self._held = held
