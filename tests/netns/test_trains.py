"""A network that takes trains and loses them without a word: real daemons find it out and do without."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oxidized.io.offload import UDP_SEGMENT
from oxidized.io.status import REASON_LOST
from tests.netns.harness import Daemon, Namespace
from tests.netns.test_daemon import Pair

pytestmark = pytest.mark.netns

# On a veth pair a train stays one long packet up to the other end; no single datagram is as long.
TRAIN_BYTES_MIN = 2000


@pytest.fixture
def pair(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Pair]:
    made = Pair(namespace("hub"), namespace("edge"), tmp_path)
    yield made
    for daemon in (made.edge, made.hub):
        daemon.kill()


def counted_rule(ns: Namespace, match: str, verdict: str) -> None:
    ns.run("nft", "add table inet t")
    ns.run("nft", "add chain inet t in { type filter hook input priority 0; }")
    ns.run("nft", f"add rule inet t in iif eth0 udp dport 4443 {match} counter {verdict}")


def dropped(ns: Namespace) -> int:
    """Packets of the first rule."""
    document = json.loads(ns.run("nft", "-j", "list table inet t"))
    (rule,) = (item["rule"] for item in document["nftables"] if "rule" in item)
    return int(next(part["counter"]["packets"] for part in rule["expr"] if "counter" in part))


def plane(daemon: Daemon) -> dict[str, int]:
    found: dict[str, int] = daemon.ask("status")["plane"]
    return found


@contextlib.contextmanager
def pushing(pair: Pair) -> Iterator[None]:
    """iperf3 from the edge to the hub, until the block ends."""
    server = pair.hub_ns.start("iperf3", "-s", "-B", "10.70.0.1")
    listens = "ss -ltn | grep -q :5201"
    pair.hub_ns.run("sh", "-c", f"for i in $(seq 100); do {listens} && exit; sleep 0.05; done; exit 1")
    client = pair.edge_ns.start("iperf3", "-c", "10.70.0.1", "-t", "100")
    try:
        yield
    finally:
        for process in (client, server):
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], seconds: int = 60) -> None:
    for _ in range(4 * seconds):
        if holds():
            return
        select.select([], [], [], 0.25)
    raise AssertionError(f"waited {seconds} s in vain")


def test_trains_that_are_lost_are_given_up_and_traffic_flows(pair: Pair) -> None:
    counted_rule(pair.hub_ns, f"meta length > {TRAIN_BYTES_MIN}", "drop")
    pair.start()
    with pushing(pair):
        until(lambda: plane(pair.edge)["udp_trains_lost_paths"] > 0)
        lost = dropped(pair.hub_ns)
        sent = plane(pair.edge)["inner_sent_packets"]
        until(lambda: plane(pair.edge)["inner_sent_packets"] > sent + 10_000)
    assert 8 <= lost == dropped(pair.hub_ns), "no train leaves any more"
    document = pair.edge.ask("status")
    assert document["offload"]["gso"] == {"active": False, "reason": REASON_LOST}
    assert document["health"] == [f"offload gso: {REASON_LOST}"]
    assert document["plane"]["udp_trains_lost_paths"] == 1 and document["plane"]["udp_refused_trains"] == 0
    assert pair.hub.ask("status")["offload"]["gso"]["active"], "the hub's trains do arrive"


def test_loss_that_hits_all_alike_is_not_blamed_on_trains(pair: Pair) -> None:
    counted_rule(pair.hub_ns, "numgen random mod 100 < 60", "drop")
    pair.start()
    with pair.edge_ns.entered():
        inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    segments = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 1000))]
    with inner:
        for _ in range(4000):
            inner.sendmsg([bytes(8000)], segments, 0, ("10.70.0.1", 9))
            select.select([], [], [], 0.001)
    document = pair.edge.ask("status")
    assert document["plane"]["udp_train_trials"] > 0, "or this test shows nothing"
    assert document["offload"]["gso"]["active"] and document["plane"]["udp_trains_lost_paths"] == 0
