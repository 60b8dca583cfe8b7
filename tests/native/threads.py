"""A plane with its io thread over loopback sockets, and a socket pair in place of the TUN device. No root."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from oxidized.core.plane import Address, Super
from oxidized.ffi.dataplane import DataPlane
from oxidized.io.offload import UDP_GRO, UDP_SEGMENT
from tests.differential import segments
from tests.native.rig import INNER_A, INNER_B, ipv4

IP_PKTINFO, IP_RECVTOS, IPV6_RECVPKTINFO, IPV6_TCLASS, SO_RXQ_OVFL = 8, 13, 49, 67, 40
PATIENCE_S = 20.0
SEGMENT_BYTES = 600


def until(holds: Callable[[], Any], what: str) -> Any:
    """Waits for something another thread does; its value. Fails when it does not come at all."""
    for _ in range(int(PATIENCE_S * 1000)):
        if found := holds():
            return found
        select.select([], [], [], 0.001)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s in vain: {what}")


def udp(host: str = "127.0.0.1") -> socket.socket:
    """A bound socket with all that the io thread reads of a datagram switched on."""
    is_v6 = ":" in host
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    if is_v6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)  # a busy machine reads late
    sock.bind((host, 0))
    sock.settimeout(PATIENCE_S)
    return sock


def address_of(sock: socket.socket, index: int = 0) -> Address:
    """Where others reach this socket; they send from their socket number `index`."""
    host, port = sock.getsockname()[:2]
    return Address(host, port, sock=index)


def train_send(sock: socket.socket, datagrams: list[bytes], to: tuple[str, int]) -> None:
    """All in one message; equal but for a shorter last one."""
    size = struct.pack("=H", len(datagrams[0]))
    sock.sendmsg([b"".join(datagrams)], [(socket.IPPROTO_UDP, UDP_SEGMENT, size)], 0, to)


def train_take(sock: socket.socket) -> tuple[list[bytes], int]:
    """One message: its datagrams, and the ECN bits that all of them bear. UDP_GRO may be on."""
    data, ancillary, _, _ = sock.recvmsg(1 << 16, 256)
    size, ecn = len(data), 0
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_UDP, UDP_GRO):
            (size,) = struct.unpack("=i", value[:4])
        elif (level, kind) in ((socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, IPV6_TCLASS)):
            ecn = value[0] & 3
    return [data[at : at + size] for at in range(0, len(data), size)], ecn


@dataclass
class Site:
    """`tun` is our end of the device: what we write the plane reads. `running` starts and ends it.

    `has_header`: an offload header stands before each packet, both ways.
    """

    plane: DataPlane
    socks: list[socket.socket]
    tun: socket.socket
    device: socket.socket
    has_header: bool = False

    def start(self) -> None:
        for sock in self.socks:
            sock.setblocking(False)
        fds = [sock.fileno() for sock in self.socks]
        self.plane.start([self.device.fileno()], [fds], tun_has_header=self.has_header)

    def read(self, count: int) -> list[bytes]:
        """So many packets that the plane wrote to the device; fails when they do not come."""
        return [self.tun.recv(65536) for _ in range(count)]

    def counter(self, name: str) -> int:
        return int(self.plane.stats()[name])


def super_packet(count: int, source: str = INNER_A, target: str = INNER_B) -> bytes:
    """What the TUN gives for so many UDP datagrams in one piece: struct virtio_net_hdr, and the packet."""
    payload = struct.pack(">HHHH", 7, 7, 0, 0) + bytes(SEGMENT_BYTES * count)
    packet = segments.partial(segments.finish(ipv4(source, target, payload), segments.UDP), segments.UDP)
    how = Super(
        kind=3, needs_csum=1, segment_bytes=SEGMENT_BYTES, csum_start=20, csum_offset=6, header_bytes=28
    )
    return struct.pack("=BBHHHH", 1, 5, how.header_bytes, how.segment_bytes, 20, 6) + packet


def make_site(
    plane: DataPlane,
    socks: list[socket.socket],
    *,
    has_header: bool = False,
    pair: tuple[socket.socket, socket.socket] | None = None,
) -> Site:
    """`pair`: another device and our end of it."""
    device, tun = pair or socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    device.setblocking(False)
    tun.settimeout(PATIENCE_S)
    return Site(plane, socks, tun, device, has_header)


@contextmanager
def running(*sites: Site) -> Iterator[None]:
    """Starts the threads; at the end stops them and closes all descriptors."""
    try:
        for site in sites:
            site.start()
        yield
    finally:
        for site in sites:
            site.plane.close()
            for sock in (*site.socks, site.tun, site.device):
                sock.close()
