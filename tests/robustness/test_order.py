"""Calls of the boundary in orders that nobody should make: no crash, and nothing impossible afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ORDERS: dict[str, str] = {
    "rekey twice without moving": """
d.epoch_install(2, p, 1, k, k)
try:
    d.epoch_install(2, p, 2, k, k)
except NativeError as error:
    assert error.code == -1, error.code
d.inner_push(3, [packet])
""",
    "rekey twice, the hub slower": """
for epoch in range(1, 9):
    d.epoch_install(2, p, epoch, k, k)
    d.inner_push(3, [packet])
    d.epoch_send(3, p, epoch)
    d.inner_push(3, [packet])
""",
    "back to the epoch before, and on": """
d.epoch_install(2, p, 1, k, k)
d.epoch_send(2, p, 1)
d.epoch_send(2, p, 0)
try:
    d.epoch_install(2, p, 2, k, k)
except NativeError as error:
    assert error.code == -1, error.code
d.inner_push(3, [packet])
""",
    "time runs backwards": """
d.tick(10**12)
d.inner_push(10**9, [packet])
d.tick(5)
d.ping(1, p, 0, token=1)
d.tick(2**64 - 1)
d.tick(0)
""",
    "session after session": """
for n in range(50):
    d.session_install(n, p, SessionKeys(d.index_pick(n), n, Suite.AES_256_GCM, k, k, n % 3 > 0))
    d.inner_push(n, [packet])
    if n % 7 == 0:
        d.session_drop(p)
    d.tick(n)
""",
    "peers come and go with packets inside": """
for n in range(20):
    d.inner_push(n, [packet] * 5)
    d.peer_remove(p)
    d.tick(n)
    p = d.peer_add(keepalive_ns=1, dead_after_ns=1, is_initiator=True)
    d.routes_set([(ip_network("10.0.0.0/8"), p)])
    d.session_install(n, p, SessionKeys(d.index_pick(n), n, Suite.AES_256_GCM, k, k, True))
    d.path_set(p, 0, Address("192.0.2.1", 5), 1444)
    d.outer_pop()
""",
    "contexts of a peer that is gone": """
d.close()
d = DataPlane(peers_max=2, flows=4, compress_payload=True, hold_ns=(10**6, 10**6, 10**6))
full = Compression(tx_flows=383, rx_flows=383, tx_dictionaries=LZ_DIGEST, rx_dictionaries=LZ_DIGEST)
for n in range(20):
    p = d.peer_add(keepalive_ns=1, dead_after_ns=1, is_initiator=True)
    d.routes_set([(ip_network("10.0.0.0/8"), p)])
    keys = SessionKeys(d.index_pick(n), n, Suite.AES_256_GCM, k, k, True, True, full)
    d.session_install(n, p, keys)
    d.path_set(p, 0, Address("192.0.2.1", 5), 1444)
    d.inner_push(n, [packet] * 40)
    d.compression_set([PayloadRule(n + 1, 17, 0)])
    if n % 3 == 0:
        d.session_drop(p)
    d.tick(n)
    d.oracle_set(None, n)
    d.peer_remove(p)
""",
    "freed twice": "d.close()",
}
PROLOGUE = """
import tests.conftest  # loads the build that this run is about
from ipaddress import ip_network
from oxidized.core.plane import Address, Compression, PayloadRule, SessionKeys, Suite
from oxidized.errors import NativeError
from oxidized.ffi.dataplane import DataPlane
from oxidized.ffi.lz import LZ_DIGEST
from tests.native.rig import ipv4
d = DataPlane(peers_max=2)
p = d.peer_add(keepalive_ns=10**9, dead_after_ns=10**9, is_initiator=True)
d.routes_set([(ip_network("10.0.0.0/8"), p)])
d.path_set(p, 0, Address("192.0.2.1", 5), 1444)
k, packet = bytes(32), ipv4()
d.session_install(1, p, SessionKeys(d.index_pick(9), 4, Suite.AES_256_GCM, k, k, True))
"""


@pytest.mark.parametrize("name", ORDERS)
def test_wrong_order_does_not_crash(name: str) -> None:
    """In a process of its own: an assertion of the core ends the process."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + ORDERS[name] + "\nd.close()\n"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
