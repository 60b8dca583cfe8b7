"""What the kernel may hand over in one piece: asked, tried out, and forced on or off by `[offload]`.

Four offloads, each by itself: `tso` and `uso` are TCP and UDP super-packets at the TUN, `gso` and `gro`
trains of equal datagrams at the UDP sockets. An offload that the kernel lacks costs speed and nothing else,
so "auto" goes on without; "on" says that the operator would rather not start. The packet path watches them
while they run, and stops using one that the kernel then refuses (`native/io`).
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxidized.core.plane import Offload
from oxidized.io.failure import StartError

if TYPE_CHECKING:
    from oxidized.config_schema import OffloadConfig

# linux/if_tun.h
TUNSETOFFLOAD = 0x400454D0
TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04
TUN_F_TSO_ECN = 0x08
TUN_F_USO4 = 0x20
TUN_F_USO6 = 0x40
TSO_FLAGS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN
USO_FLAGS = TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6

# linux/udp.h
UDP_SEGMENT = 103
UDP_GRO = 104

_INT = struct.Struct("=i")
_U16 = struct.Struct("=H")
_TEST_SEGMENT_BYTES = 700
_TEST_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Offloads:
    """What is on, and for each that is off the reason."""

    on: Offload
    why_off: dict[str, str]

    def __str__(self) -> str:
        on = [str(each.name).lower() for each in self.on]
        off = [f"{name} off ({why})" for name, why in self.why_off.items()]
        return ", ".join([*on, *off])


def offloads_choose(config: OffloadConfig, tun_fd: int) -> Offloads:
    """Settle all four. `tun_fd`, one queue of the device, has a header (`tun.tun_open`) if `wants_header`.

    Raises StartError when one that is "on" does not work.
    """
    tried: dict[str, Callable[[], str]] = {
        "tso": lambda: _tun_set(tun_fd, TSO_FLAGS),
        # The kernel refuses UDP without TCP, and each call replaces the one before.
        "uso": lambda: _tun_set(tun_fd, TSO_FLAGS | USO_FLAGS) if on & Offload.TSO else "needs tso",
        "gso": _gso_test,
        "gro": _gro_test,
    }
    on = Offload(0)
    why_off: dict[str, str] = {}
    for name, attempt in tried.items():
        wish = getattr(config, name)
        problem = "switched off" if wish == "off" else attempt()
        if not problem:
            on |= Offload[name.upper()]
            continue
        why_off[name] = problem
        if wish == "on":
            raise StartError(f'[offload] {name} = "on", but it does not work here: {problem}')
    return Offloads(on, why_off)


def wants_header(config: OffloadConfig) -> bool:
    """Whether the TUN is to be opened with a header before each packet."""
    return config.tso != "off"


def gro_enable(sockets: list[socket.socket]) -> None:
    """Let the kernel join what comes in on these."""
    for udp in sockets:
        udp.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)


def _tun_set(fd: int, flags: int) -> str:
    """Empty, or why the kernel refused."""
    try:
        fcntl.ioctl(fd, TUNSETOFFLOAD, flags)
    except OSError as error:
        return f"the TUN device refused: {error.strerror}"
    return ""


def _train_test(*, is_joined: bool) -> str:
    """Two and a half equal datagrams as one train over loopback. Empty, or what is wrong with what came.

    `is_joined`: the receiver asks for trains; one that nobody can send is then not its fault.
    """
    payload = bytes(i % 251 for i in range(_TEST_SEGMENT_BYTES * 5 // 2))
    parts = [payload[i : i + _TEST_SEGMENT_BYTES] for i in range(0, len(payload), _TEST_SEGMENT_BYTES)]
    train = [(socket.IPPROTO_UDP, UDP_SEGMENT, _U16.pack(_TEST_SEGMENT_BYTES))]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        try:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(_TEST_TIMEOUT_S)
            if is_joined:
                gro_enable([receiver])
            try:
                sender.sendmsg([payload], train, 0, receiver.getsockname())
            except OSError:
                if not is_joined:
                    raise
                for part in parts:
                    sender.sendto(part, receiver.getsockname())
            came = _datagrams(receiver, len(payload))
        except OSError as error:
            return f"self-test over loopback: {error.strerror or error}"
    return "" if came == parts else "self-test over loopback: what came is not what was sent"


def _datagrams(receiver: socket.socket, payload_bytes: int) -> list[bytes]:
    """So many bytes, each message cut as the kernel says. Raises OSError, TimeoutError among them."""
    came: list[bytes] = []
    while sum(map(len, came)) < payload_bytes:
        data, ancillary, _, _ = receiver.recvmsg(1 << 16, 256)
        size = len(data) or 1
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_UDP and kind == UDP_GRO:
                size = _INT.unpack(value[: _INT.size])[0] or size
        came += [data[i : i + size] for i in range(0, len(data), size)]
    return came


def _gso_test() -> str:
    """Whether the kernel makes datagrams of a train that we send."""
    return _train_test(is_joined=False)


def _gro_test() -> str:
    """Whether a socket may ask for trains, and is told how to cut what it gets."""
    return _train_test(is_joined=True)
