"""Offloads with real devices: daemons with each of them off, and a device that is slow."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from oxidized.ffi._oxi import lib

from oxidized.core.plane import Address, Offload
from tests.native.rig import INNER_A, INNER_B, PAYLOAD_MAX, Solo, drops, ipv4, numbered, sums_must_hold
from tests.native.threads import PATIENCE_S, make_site, running, udp, until
from tests.netns.harness import Daemon, Namespace, veth
from tests.netns.test_daemon import EDGE, HUB, Pair, edge_peer, hub_peer

pytestmark = pytest.mark.netns

TRANSFER_BYTES = 8 << 20
ALL_OFF = 'tso = "off"\nuso = "off"\ngso = "off"\ngro = "off"\n'


def transfer(pair: Pair, data: bytes) -> bytes:
    """What the hub's side reads of a TCP connection on which the edge's side writes `data`."""
    with pair.hub_ns.entered():
        server = socket.create_server(("10.70.0.1", 0))
    with pair.edge_ns.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    came = bytearray()
    with server, client:
        server.settimeout(PATIENCE_S)
        client.settimeout(PATIENCE_S)
        client.connect(server.getsockname())
        accepted, _ = server.accept()

        def write() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        with accepted:
            accepted.settimeout(PATIENCE_S)
            writer.start()
            while part := accepted.recv(1 << 16):
                came += part
            writer.join()
    return bytes(came)


@pytest.mark.parametrize(
    ("at_edge", "at_hub"),
    [
        ("", ""),
        ('tso = "off"\n', ""),
        ("", 'tso = "off"\n'),
        ('gso = "off"\n', 'gro = "off"\n'),
        (ALL_OFF, ALL_OFF),
    ],
    ids=["auto", "edge-tso-off", "hub-tso-off", "no-trains", "all-off"],
)
def test_daemons_with_offloads_off(
    namespace: Callable[[str], Namespace], tmp_path: Path, at_edge: str, at_hub: str
) -> None:
    pair = Pair(namespace("hub"), namespace("edge"), tmp_path)
    pair.hub.write(f"{HUB}[offload]\n{at_hub}" + hub_peer(pair.edge))
    pair.edge.write(f"{EDGE}[offload]\n{at_edge}" + edge_peer(pair.hub))
    try:
        pair.start()
        data = Random(1).randbytes(TRANSFER_BYTES)
        assert transfer(pair, data) == data
        for daemon, text in ((pair.edge, at_edge), (pair.hub, at_hub)):
            document = daemon.ask("status")
            # One datagram at a time, TCP fills the socket's buffer now and then: that is said, but no fault.
            assert [line for line in document["health"] if not line.startswith("the kernel dropped")] == []
            for name, told in document["offload"].items():
                if f'{name} = "off"' in text:
                    assert told == {"active": False, "reason": "switched off"}
                elif told["active"]:
                    assert told["reason"] == ""
        edge, hub = (daemon.ask("status") for daemon in (pair.edge, pair.hub))
        packets = edge["plane"]["inner_in_packets"]
        if edge["offload"]["tso"]["active"]:
            assert edge["plane"]["tun_reads"] < packets / 2
        else:
            assert edge["plane"]["tun_reads"] == packets
        if hub["offload"]["tso"]["active"]:
            assert hub["plane"]["tun_writes"] < hub["plane"]["inner_out_packets"]
        assert hub["plane"]["tun_refused_supers"] == edge["plane"]["udp_refused_trains"] == 0
    finally:
        pair.edge.kill()
        pair.hub.kill()


def test_an_offload_that_must_be_and_can_not_be(
    namespace: Callable[[str], Namespace], tmp_path: Path
) -> None:
    ns = namespace("start")
    daemon = Daemon(ns, tmp_path / "hub", HUB + '[offload]\ntso = "off"\nuso = "on"\n')
    daemon.start(is_ready=False)
    assert daemon.process.wait(20) == 1
    (line,) = daemon.log().splitlines()
    assert json.loads(line)["message"] == '[offload] uso = "on", but it does not work here: needs tso'
    assert [link["ifname"] for link in ns.ip_json("link")] == ["lo"]


def solo(offload: Offload) -> Solo:
    rig = Solo()
    rig.now_ns = int(lib.oxi_clock_ns())
    rig.far = rig.session(near=5)
    rig.plane.offload_set(offload)
    return rig


@pytest.mark.parametrize("offload", [Offload(0), Offload.GSO])
def test_a_blocked_socket_loses_nothing(namespace: Callable[[str], Namespace], offload: Offload) -> None:
    """A slow device and a small buffer: what does not go waits, and the TUN is not read meanwhile."""
    near, there = namespace("near"), namespace("there")
    veth(near, there)
    slow = ("tbf", "rate", "4mbit", "burst", "70kb", "limit", "1mb")
    near.run("tc", "qdisc", "add", "dev", "eth0", "root", *slow)
    with there.entered():
        far = udp("0.0.0.0")
    with near.entered():
        sock = udp("0.0.0.0")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    rig = solo(offload)
    rig.plane.path_set(rig.peer, 0, Address("10.9.0.1", far.getsockname()[1]), PAYLOAD_MAX)
    site = make_site(rig.plane, [sock])
    packets = [ipv4(INNER_B, INNER_A, n.to_bytes(4, "big") * 250) for n in range(600)]
    for start in range(0, len(packets), 64):
        rig.send(*packets[start : start + 64])
    with far, running(site):
        more = [numbered(n, INNER_B, INNER_A) for n in range(50)]
        for packet in more:
            site.tun.send(packet)
        expected = [*packets, *more]
        first = rig.far.open(far.recv(65536)).inner
        assert site.counter("inner_held_packets") > 0, "or this test shows nothing"
        assert [first, *(rig.far.open(far.recv(65536)).inner for _ in expected[1:])] == expected
        until(lambda: site.counter("inner_sent_packets") == len(expected), "all is counted")
        assert (site.counter("inner_held_packets"), drops(rig.plane)) == (0, {})
        sums_must_hold(rig.plane)
