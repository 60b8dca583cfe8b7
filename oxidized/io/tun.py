"""The TUN device: made at start, gone with its file descriptor.

Because the kernel removes the device (and every address and route on it) when the descriptor is
closed, even a killed daemon leaves no interface behind. Name, addresses and MTU: `netlink.py`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from oxidized.errors import Exit
from oxidized.io.failure import StartError, is_permission

DEVICE = "/dev/net/tun"

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_MULTI_QUEUE = 0x0100
IFF_TUN_EXCL = 0x8000

_IFREQ = struct.Struct("16sH22x")


def tun_open(name: str, *, queues: int = 1, has_header: bool = False) -> list[int]:
    """Create the interface `name`; returns its non-blocking descriptors, one a queue, the caller's to close.

    `has_header`: a struct virtio_net_hdr of 10 bytes stands before each packet.
    Raises StartError: no /dev/net/tun, no permission, or the name is taken.
    """
    flags = IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL
    flags |= (IFF_VNET_HDR if has_header else 0) | (IFF_MULTI_QUEUE if queues > 1 else 0)
    fds: list[int] = []
    try:
        for _ in range(queues):
            fds.append(_device_open())
            fcntl.ioctl(fds[-1], TUNSETIFF, _IFREQ.pack(name.encode(), flags))
            flags &= ~IFF_TUN_EXCL  # the further queues join what the first has made
    except BaseException as error:
        for fd in fds:
            os.close(fd)
        if isinstance(error, OSError):
            raise _refused(name, error) from error
        raise
    return fds


def _device_open() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if is_permission(error):
            raise StartError(
                f"no permission to open {DEVICE}: run as root or with CAP_NET_ADMIN", Exit.PERMISSION
            ) from error
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise StartError(
                f"{DEVICE} is missing: load the module (modprobe tun), or give the container the device"
            ) from error
        raise StartError(f"{DEVICE}: {error.strerror}") from error


def _refused(name: str, error: OSError) -> StartError:
    if is_permission(error):
        why = f"no permission to create interface {name}: CAP_NET_ADMIN is needed"
        return StartError(why, Exit.PERMISSION)
    if error.errno in (errno.EBUSY, errno.EINVAL, errno.EEXIST):
        return StartError(f"interface {name} exists already: stop what uses it, or set another name")
    return StartError(f"interface {name}: {error.strerror}")
