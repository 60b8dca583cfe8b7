"""The io thread over a network that loses trains: a relay that lets nothing but single datagrams pass."""

from __future__ import annotations

import select
import socket
from ipaddress import ip_network

from oxidized.ffi._oxi import lib

from oxidized.core.plane import Offload, SessionKeys, Suite
from oxidized.ffi.dataplane import DataPlane
from oxidized.io.offload import gro_enable
from tests.native.rig import INNER_A, INNER_B, PAYLOAD_MAX, S, key
from tests.native.threads import address_of, make_site, running, super_packet, udp

UDP_GRO = 104
TURNS_MAX = 3000


class Relay:
    """Between the edge and the hub; what came from the edge in one piece is lost."""

    def __init__(self, hub: tuple[str, int]) -> None:
        self.near, self.far = udp(), udp()
        gro_enable([self.near])
        self.hub = hub
        self.edge: tuple[str, int] | None = None
        self.trains_lost = 0

    def carry(self) -> None:
        """All that waits."""
        while ready := select.select([self.near, self.far], [], [], 0.002)[0]:
            if self.near in ready:
                self._up()
            if self.far in ready and self.edge:
                self.near.sendto(self.far.recv(65536), self.edge)

    def _up(self) -> None:
        data, ancillary, _, self.edge = self.near.recvmsg(65536, 256)
        if any(level == socket.IPPROTO_UDP and kind == UDP_GRO for level, kind, _ in ancillary):
            self.trains_lost += 1
        else:
            self.far.sendto(data, self.hub)


def test_trains_that_the_network_loses_are_given_up() -> None:
    edge, hub = make_site(DataPlane(), [udp()]), make_site(DataPlane(), [udp()])
    relay = Relay(hub.socks[0].getsockname())
    timers = {"keepalive_ns": 0, "dead_after_ns": 60 * S}
    at_edge = edge.plane.peer_add(**timers, is_initiator=True)
    at_hub = hub.plane.peer_add(**timers, is_initiator=False)
    edge.plane.routes_set([(ip_network(INNER_B), at_edge)])
    hub.plane.routes_set([(ip_network(INNER_A), at_hub)])
    edge.plane.path_set(at_edge, 0, address_of(relay.near), PAYLOAD_MAX)
    hub.plane.path_set(at_hub, 0, address_of(relay.far), PAYLOAD_MAX)
    now_ns, up, down = int(lib.oxi_clock_ns()), key(1), key(2)
    index, other = edge.plane.index_pick(64), hub.plane.index_pick(128)
    hub.plane.session_install(now_ns, at_hub, SessionKeys(other, index, Suite.AES_256_GCM, up, down, True))
    edge.plane.session_install(now_ns, at_edge, SessionKeys(index, other, Suite.AES_256_GCM, down, up, True))
    edge.plane.offload_set(Offload.TSO | Offload.USO | Offload.GSO)
    with running(hub), relay.near, relay.far:
        for sock in edge.socks:
            sock.setblocking(False)
        edge.plane.start([edge.device.fileno()], [[edge.socks[0].fileno()]], tun_has_header=True)
        try:
            for _ in range(TURNS_MAX):
                edge.tun.send(super_packet(16))
                relay.carry()
                edge.tun.send(super_packet(1))
                relay.carry()
                if Offload.GSO not in edge.plane.offload:
                    break
            stats = edge.plane.stats()
            assert stats["udp_trains_lost_paths"] == 1 and stats["udp_train_trials"] >= 1
            lost = relay.trains_lost
            assert lost >= 8
            for _ in range(10):
                edge.tun.send(super_packet(16))
                relay.carry()
            assert relay.trains_lost == lost, "none leaves any more"
        finally:
            edge.plane.close()
            for sock in (*edge.socks, edge.tun, edge.device):
                sock.close()
