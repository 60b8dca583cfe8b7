"""Workers with their threads: a queue each, sockets each, and packets that one reads and another sends."""

from __future__ import annotations

import socket
from ipaddress import ip_network

from oxidized.ffi._oxi import lib

from oxidized.core.plane import Offload, SessionKeys, Suite
from oxidized.ffi.dataplane import DataPlane
from tests.native.rig import PAYLOAD_MAX, S, drops, key, sums_must_hold
from tests.native.threads import address_of, super_packet, udp, until

WORKERS = 3
SUPERS = 400
PER_SUPER = 60


def test_a_worker_that_is_behind_slows_down_who_reads() -> None:
    """All peers are the last worker's, and the first reads far more than a ring holds: nothing is lost."""
    plane = DataPlane(workers=WORKERS)
    far = udp()
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(WORKERS)]
    socks = [udp() for _ in range(WORKERS)]
    peer = plane.peer_add(keepalive_ns=0, dead_after_ns=3600 * S, is_initiator=False)
    plane.routes_set([(ip_network("10.0.0.2/32"), peer)])
    plane.path_set(peer, 0, address_of(far), PAYLOAD_MAX)
    index = plane.index_pick(WORKERS * 1000 + WORKERS - 1)
    now_ns = int(lib.oxi_clock_ns())
    plane.session_install(now_ns, peer, SessionKeys(index, 7, Suite.AES_256_GCM, key(1), key(2), True))
    plane.offload_set(Offload.TSO | Offload.USO | Offload.GSO)
    for sock in (*socks, *(device for device, _ in pairs)):
        sock.setblocking(False)
    try:
        plane.start(
            [device.fileno() for device, _ in pairs], [[sock.fileno()] for sock in socks], tun_has_header=True
        )
        for _ in range(SUPERS):
            pairs[0][1].send(super_packet(PER_SUPER))
        sent = SUPERS * PER_SUPER
        until(lambda: plane.stats()["inner_sent_packets"] == sent, "all of them")
        stats = sums_must_hold(plane)
        assert stats["inner_handed_packets"] == stats["inner_taken_over_packets"] == sent
        assert drops(plane) == {}
    finally:
        plane.close()
        for sock in (far, *socks, *(end for pair in pairs for end in pair)):
            sock.close()
