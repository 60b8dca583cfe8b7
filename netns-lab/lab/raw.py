"""Sockets in a site's namespace, held by this process: raw packets out, captured packets in, offloads off."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence

from lab.errors import LabError
from lab.topology import NETNS_FOLDER, Site

CLONE_NEWNET = 0x40000000
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
CAPTURE_BYTES = 64 << 20
IDLE_SECONDS = 2.0
ETH_P_ALL = 3
PACKET_HOST = 0
# linux/ethtool.h, linux/sockios.h. Without checksums of its own a device gets whole, finished packets.
SIOCETHTOOL = 0x8946
OFFLOADS = {"tx-checksum": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}

_libc = ctypes.CDLL(None, use_errno=True)


def socket_in(site: Site, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that lives in the namespace of the site, whoever uses it: setns(2) is for one thread."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            with open(NETNS_FOLDER / site.netns) as netns:
                if _libc.setns(netns.fileno(), CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            made.append(socket.socket(family, kind, protocol))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise LabError(f"no socket in {site.netns}: {made[0]}")
    return made[0]


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def offloads_off(site: Site, device: str) -> None:
    """Lets the kernel cut and finish packets before the device has them, as `ethtool -K` would."""
    with socket_in(site, socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for name, command in OFFLOADS.items():
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(handle, SIOCETHTOOL, request)
            except OSError as error:
                raise LabError(f"{site.name} {device}: {name} can not be turned off: {error}") from None


class RawSender:
    """Sends whole IP packets of either version from a site (raw(7), IP_HDRINCL by IPPROTO_RAW)."""

    def __init__(self, site: Site) -> None:
        self.sockets = {
            4: socket_in(site, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
            6: socket_in(site, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        }
        for handle in self.sockets.values():
            handle.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, CAPTURE_BYTES)

    def send(self, data: bytes) -> None:
        """The kernel sends it as it is, but for the IPv4 header checksum, which it computes."""
        version = data[0] >> 4
        at = slice(16, 20) if version == 4 else slice(24, 40)
        target = socket.inet_ntop(socket.AF_INET if version == 4 else socket.AF_INET6, data[at])
        self.sockets[version].sendto(data, (target, 0))

    def close(self) -> None:
        for handle in self.sockets.values():
            handle.close()


class Capture:
    """What arrives on a device for certain addresses, as whole IP packets (packet(7), SOCK_DGRAM)."""

    def __init__(self, site: Site, device: str, targets: Sequence[str]) -> None:
        self.targets = {socket.inet_pton(family_of(target), target) for target in targets}
        self.socket = socket_in(site, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, CAPTURE_BYTES)
        self.socket.bind((device, ETH_P_ALL))
        self.socket.setblocking(False)

    def take(self, count: int, idle_seconds: float = IDLE_SECONDS) -> list[bytes]:
        """Packets until there are so many, or until none has come for so long."""
        found: list[bytes] = []
        deadline = time.monotonic() + idle_seconds
        while len(found) < count and (left := deadline - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                break
            data, address = self.socket.recvfrom(1 << 17)
            if address[2] == PACKET_HOST and self._wanted(data):
                found.append(data)
                deadline = time.monotonic() + idle_seconds
        return found

    def _wanted(self, data: bytes) -> bool:
        target = data[16:20] if data[:1] and data[0] >> 4 == 4 else data[24:40]
        return target in self.targets

    def close(self) -> None:
        self.socket.close()
