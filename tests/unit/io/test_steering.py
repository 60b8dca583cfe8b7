"""The program at a reuse-port group: which worker's socket the kernel gives a datagram to. No root."""

from __future__ import annotations

import select
import socket
import struct

import pytest

from oxidized.io.sockets import UdpSockets

PATIENCE_S = 20.0


def taken_by(group: UdpSockets, family: int, datagram: bytes) -> int:
    """The worker whose socket it arrives at, sent from a port that the kernel chooses."""
    index = group.families()[socket.AddressFamily(family)]
    socks = {fds[index]: worker for worker, fds in enumerate(group.fds)}
    host, port = group.bound[index]
    with socket.socket(family, socket.SOCK_DGRAM) as far:
        far.sendto(datagram, (host, port))
        (ready,) = select.select(list(socks), [], [], PATIENCE_S)[0]
    (sock,) = (sock for sock in group.all if sock.fileno() == ready)
    assert sock.recv(65536) == datagram
    assert not select.select(list(socks), [], [], 0)[0], "one copy"
    return socks[ready]


def data(index: int, *, flags: int = 0, length: int = 60) -> bytes:
    """First two bits zero, then path and phase, then the receiver index (PROTOCOL.md section 2)."""
    return struct.pack(">I", flags << 24 | index) + bytes(length - 4)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("workers", [2, 3, 16])
def test_data_goes_by_its_receiver_index(workers: int, host: str) -> None:
    group = UdpSockets([(host, 0)], fwmark=0, workers=workers)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        for index in (*range(1, 2 * workers + 1), 0xABCDEF, 0xFFFFFF, 0x800000, 0x10000):
            for flags in (0, 0x3F):
                assert taken_by(group, family, data(index, flags=flags)) == index % workers
        for datagram in (b"\x40" + bytes(40), b"\xc0\xff\xff\xff\xff", b"\x80\0\0\1" + bytes(1200)):
            assert taken_by(group, family, datagram) == 0, "QUIC goes to the first"
        for stunted in (b"\0", b"\0\0\1"):
            assert taken_by(group, family, stunted) in range(workers), "of no session: any one drops it"
    finally:
        group.close()


def test_each_address_is_steered_by_itself() -> None:
    group = UdpSockets([("127.0.0.1", 0), ("::1", 0)], fwmark=0, workers=3)
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            assert [taken_by(group, family, data(n)) for n in range(1, 7)] == [1, 2, 0, 1, 2, 0]
    finally:
        group.close()
