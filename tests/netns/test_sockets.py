"""The UDP sockets: what is set on them, our own address on what they send, refusals counted by name."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from oxidized.core.plane import Address
from oxidized.errors import Exit
from oxidized.io.failure import StartError
from oxidized.io.sockets import BUFFER_BYTES, UdpSockets
from tests.netns.harness import Namespace

pytestmark = pytest.mark.netns


def test_options_and_families(namespace: Callable[[str], Namespace]) -> None:
    with namespace("udp").entered():
        edge = UdpSockets([], fwmark=0x6F78)
    try:
        assert edge.families() == {socket.AF_INET: 0, socket.AF_INET6: 1}
        assert [ip for ip, _port in edge.bound] == ["0.0.0.0", "::"] and all(port for _ip, port in edge.bound)
        for udp in edge.sockets:
            assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0x6F78
            assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * BUFFER_BYTES
            assert not udp.getblocking() and not udp.get_inheritable()
    finally:
        edge.close()


def test_the_port_is_in_use(namespace: Callable[[str], Namespace]) -> None:
    with namespace("udp").entered():
        first = UdpSockets([("0.0.0.0", 4443), ("::", 4443)], fwmark=0)
        try:
            with pytest.raises(StartError, match=r"UDP port 0\.0\.0\.0:4443 is in use by another process"):
                UdpSockets([("::1", 4444), ("0.0.0.0", 4443)], fwmark=0)
            UdpSockets([("::1", 4444)], fwmark=0).close()  # the first of the two was let go
        finally:
            first.close()
        with pytest.raises(StartError, match=r"UDP address 192\.0\.2\.1:1 is none of this host's") as raised:
            UdpSockets([("192.0.2.1", 1)], fwmark=0)
        assert raised.value.exit_code == Exit.FAILURE


def test_our_own_address_is_chosen_and_a_lost_one_is_no_loss(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("udp")
    for address in ("10.9.0.1/32", "10.9.0.2/32", "fd09::1/128", "fd09::2/128"):
        ns.ip("address", "add", address, "dev", "lo")
    with ns.entered():
        hub = UdpSockets([("0.0.0.0", 4443), ("::", 4443)], fwmark=0)
        try:
            for index, target, locals_ in (
                (0, "10.9.0.1", ("", "10.9.0.2", "10.9.0.99")),
                (1, "fd09::1", ("", "fd09::2", "fd09::99")),
            ):
                for local in locals_:
                    assert hub.send(b"x", Address(target, 4443, sock=index, local=local)), hub.drops
                    source = hub.sockets[index].recvfrom(16)[1][0]
                    assert source == (local if local.endswith("2") else target)
            assert sum(hub.drops.values()) == 0
        finally:
            hub.close()


def test_what_can_not_be_sent_is_counted_and_never_raised(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("udp")
    ns.run("nft", "add table inet t")
    ns.run("nft", "add chain inet t out { type filter hook output priority 0; }")
    ns.run("nft", "add rule inet t out udp dport 7 drop")
    with ns.entered():
        edge = UdpSockets([], fwmark=0)
        try:
            refused = [
                ("send-unreachable", b"x", Address("192.0.2.1", 443)),
                ("send-unreachable", b"x", Address("2001:db8::1", 443, sock=1)),
                ("send-unreachable", b"x", Address("2001:db8::1", 443, sock=0)),
                ("send-denied", b"x", Address("127.0.0.1", 7)),
                ("send-too-big", b"x" * 65600, Address("127.0.0.1", 443)),
                ("send-failed", b"x", Address("127.0.0.1", 443, sock=2)),
                ("send-failed", b"x", Address("127.0.0.1", 443, local="nonsense")),
            ]
            for reason, datagram, address in refused:
                before = edge.drops[reason]
                assert not edge.send(datagram, address)
                assert edge.drops[reason] == before + 1, (reason, dict(edge.drops))
            assert sum(edge.drops.values()) == len(refused)
        finally:
            edge.close()
