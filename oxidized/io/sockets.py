"""The UDP sockets: opened here, read and written by the C thread, and by us for QUIC datagrams.

Index i of the list is `Address.sock` i on both sides of the boundary. A datagram that can not be
sent is counted by reason and forgotten, as the network would have done: QUIC sends it again.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address

from oxidized.core.plane import Address
from oxidized.errors import Exit
from oxidized.io.failure import StartError, is_permission

# 4 ms at 1 Gbit/s (the kernel allows twice of it for its own records). More only makes a queue of which
# nothing is known: with 4 MB a ping beside a saturating stream took three times as long, and the stream was
# no faster.
BUFFER_BYTES = 1 << 19
SOCKETS_MAX = 8  # OXI_SOCKETS_MAX in oxi.h

# What Python's socket module does not name: asm-generic/socket.h, linux/in.h, linux/in6.h.
SO_RXQ_OVFL = 40
SO_ATTACH_REUSEPORT_CBPF = 51
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
IP_PKTINFO = 8
IP_MTU_DISCOVER = 10
IP_PMTUDISC_PROBE = 3
IPV6_MTU_DISCOVER = 23
IPV6_PMTUDISC_PROBE = 3

# linux/bpf_common.h: class, size and mode, or operation and source, of the instructions used here.
BPF_LD_B_ABS = 0x30
BPF_LD_W_ABS = 0x20
BPF_JSET = 0x45
BPF_AND = 0x54
BPF_MOD = 0x94
BPF_RET_K = 0x06
BPF_RET_A = 0x16

ANYWHERE = (("0.0.0.0", 0), ("::", 0))

_REASONS = {
    errno.ENETUNREACH: "send-unreachable",
    errno.EHOSTUNREACH: "send-unreachable",
    errno.ENETDOWN: "send-unreachable",
    errno.EADDRNOTAVAIL: "send-unreachable",
    errno.ECONNREFUSED: "send-unreachable",
    errno.EINVAL: "send-unreachable",
    errno.EPERM: "send-denied",
    errno.EACCES: "send-denied",
    errno.EAGAIN: "send-full",
    errno.ENOBUFS: "send-full",
    errno.EMSGSIZE: "send-too-big",
}
REASONS = (*sorted(set(_REASONS.values())), "send-failed")

# Our own address may be gone (the edge moved): the kernel then chooses another one.
_LOCAL_GONE = (errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH)


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


class UdpSockets:
    """All UDP sockets of one tunnel. `drops` counts what the kernel refused to send."""

    def __init__(self, listen: Sequence[tuple[str, int]], fwmark: int, workers: int = 1) -> None:
        """Bind every (ip, port) of `listen`; when empty, one socket per family on a port of the
        kernel's choice (a host without IPv6 gets the one). Each `workers` times. Raises StartError."""
        assert len(listen) <= SOCKETS_MAX, "config allows no more"
        self.sockets: list[socket.socket] = []  # those of the first worker; we send by these
        self._further: list[list[socket.socket]] = [[] for _ in range(workers - 1)]
        self.drops: Counter[str] = Counter({reason: 0 for reason in REASONS})
        try:
            for ip, port in listen or ANYWHERE:
                udp = _open(ip, port, fwmark, is_optional=not listen, is_shared=workers > 1)
                if udp is not None:
                    self.sockets.append(udp)
                    self._share(udp, fwmark)
        except BaseException:
            self.close()
            raise
        if not self.sockets:
            raise StartError("no UDP socket could be opened: this host has neither IPv4 nor IPv6")

    def _share(self, first: socket.socket, fwmark: int) -> None:
        """The same address for the other workers, and who gets what."""
        ip, port = first.getsockname()[:2]
        for sockets in self._further:
            udp = _open(ip, port, fwmark, is_optional=False, is_shared=True)
            assert udp is not None
            sockets.append(udp)
        if self._further:
            steer(first, 1 + len(self._further))

    @property
    def all(self) -> list[socket.socket]:
        return [udp for sockets in (self.sockets, *self._further) for udp in sockets]

    @property
    def fds(self) -> list[list[int]]:
        """The descriptors of each worker."""
        return [[udp.fileno() for udp in sockets] for sockets in (self.sockets, *self._further)]

    @property
    def bound(self) -> list[tuple[str, int]]:
        """(ip, port) of each socket as the kernel has it."""
        return [udp.getsockname()[:2] for udp in self.sockets]

    def families(self) -> dict[socket.AddressFamily, int]:
        """The socket index to use towards each family: the first one of it."""
        first: dict[socket.AddressFamily, int] = {}
        for index, udp in enumerate(self.sockets):
            first.setdefault(socket.AddressFamily(udp.family), index)
        return first

    def send(self, datagram: bytes, to: Address) -> bool:
        """Send one datagram; False: it was not sent, and counted in `drops`."""
        if to.sock >= len(self.sockets):
            self.drops["send-failed"] += 1
            return False
        udp = self.sockets[to.sock]
        try:
            target = _target(udp, to)
            try:
                udp.sendmsg((datagram,), _pktinfo(to), 0, target)
            except OSError as error:
                if not to.local or error.errno not in _LOCAL_GONE:
                    raise
                udp.sendmsg((datagram,), (), 0, target)
        except OSError as error:
            self.drops[_REASONS.get(error.errno or 0, "send-failed")] += 1
            return False
        except (ValueError, OverflowError):
            self.drops["send-failed"] += 1
            return False
        return True

    def close(self) -> None:
        for udp in self.all:
            udp.close()
        self.sockets.clear()
        self._further.clear()


def _target(udp: socket.socket, to: Address) -> tuple[str, int] | tuple[str, int, int, int]:
    """The socket address; OSError EINVAL for an address of the other family."""
    if _family(to.ip) != udp.family:
        raise OSError(errno.EINVAL, "address of another family than the socket's")
    if udp.family == socket.AF_INET6:
        return (to.ip, to.port, 0, to.scope_id)
    return (to.ip, to.port)


def _pktinfo(to: Address) -> list[tuple[int, int, bytes]]:
    """Control message that sets our own address (struct in_pktinfo, in6_pktinfo)."""
    if not to.local:
        return []
    local = ip_address(to.local).packed
    if len(local) == 4:
        return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4x", 0, local))]
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", local, to.scope_id))]


def steer(udp: socket.socket, workers: int) -> None:
    """Tell the kernel which socket of `udp`'s reuse-port group gets a datagram (socket(7)).

    A data packet (first two bits zero) goes to socket number (receiver index modulo `workers`), in the order
    in which they were bound; all else, QUIC that is, to the first. PROTOCOL.md, sections 1 and 2.
    """
    code = (
        (BPF_LD_B_ABS, 0, 0, 0),  # first byte
        (BPF_JSET, 0, 1, 0xC0),
        (BPF_RET_K, 0, 0, 0),
        (BPF_LD_W_ABS, 0, 0, 0),
        (BPF_AND, 0, 0, 0xFFFFFF),
        (BPF_MOD, 0, 0, workers),
        (BPF_RET_A, 0, 0, 0),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    fprog = struct.pack("@HP", len(code), ctypes.addressof(program))
    udp.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, fprog)


def _open(
    ip: str, port: int, fwmark: int, *, is_optional: bool, is_shared: bool = False
) -> socket.socket | None:
    """One bound socket; None when `is_optional` and the host lacks the family."""
    family = _family(ip)
    try:
        udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        if is_optional and error.errno == errno.EAFNOSUPPORT:
            return None
        raise StartError(f"UDP socket for {_shown(ip, port)}: {error.strerror}") from error
    try:
        _configure(udp, fwmark)
        if is_shared:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        udp.bind((ip, port))
    except OSError as error:
        udp.close()
        if is_optional and family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise _refused(ip, port, error) from error
    return udp


def _configure(udp: socket.socket, fwmark: int) -> None:
    """DF on all we send, whatever ICMP says of the path: it may be forged, and pmtu.py finds out by itself.
    Our own address, drops of the queue and ECN marks with all we receive."""
    udp.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        udp.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    for forced, plain in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            udp.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except OSError:
            udp.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
    if fwmark:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, fwmark)


def _refused(ip: str, port: int, error: OSError) -> StartError:
    shown = _shown(ip, port)
    if error.errno == errno.EADDRINUSE:
        return StartError(f"UDP port {shown} is in use by another process (see: ss -lunp)")
    if error.errno == errno.EADDRNOTAVAIL:
        return StartError(f"UDP address {shown} is none of this host's")
    if is_permission(error):
        right = "CAP_NET_BIND_SERVICE" if 0 < port < 1024 and error.errno == errno.EACCES else "CAP_NET_ADMIN"
        return StartError(f"no permission for UDP {shown}: {right} is needed", Exit.PERMISSION)
    return StartError(f"UDP {shown}: {error.strerror}")


def _shown(ip: str, port: int) -> str:
    return str(Address(ip=ip, port=port))
