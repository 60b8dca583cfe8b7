"""A hub with several workers and three edges, each a real daemon in a namespace of its own.

edge n ── veth ── hub        10.9.n.2/24 ── 10.9.n.1/24, fd09:n::2/64 ── fd09:n::1/64; the second dials IPv6
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.netns.harness import Daemon, Namespace, shell

pytestmark = pytest.mark.netns

EDGES = 3
HUB_INNER = ("10.70.0.1", "fd70::1")
PORT = 7000
TRANSFER_BYTES = 4 << 20
PATIENCE_S = 30.0
TRIES_MAX = 8  # the worker of a new session is drawn: (1/2)^8 never to change it
NEVER = ("no-session", "worker-full", "tun-write", "pool-empty", "forged", "wrong-source")


def inner(edge: int) -> tuple[str, str]:
    return f"10.70.0.{edge + 2}", f"fd70::{edge + 2}"


def link(edge: Namespace, hub: Namespace, number: int) -> None:
    edge.ip("link", "add", "eth0", "type", "veth", "peer", "name", f"eth{number}", "netns", hub.name)
    for namespace, device, host in ((edge, "eth0", 2), (hub, f"eth{number}", 1)):
        namespace.ip("address", "add", f"10.9.{number}.{host}/24", "dev", device)
        namespace.ip("address", "add", f"fd09:{number}::{host}/64", "dev", device, "nodad")
        namespace.ip("link", "set", device, "up")


class Star:
    """Hub and edges, configured, not started."""

    def __init__(self, workers: int, folder: Path, namespace: Callable[[str], Namespace]) -> None:
        self.hub_ns = namespace("hub")
        self.edge_ns = [namespace(f"edge{n}") for n in range(EDGES)]
        self.hub_ns.run("sysctl", "-q", "net.ipv4.ip_forward=1")
        crypto = '[crypto]\nrekey_after = "1s"\n'
        self.hub = Daemon(self.hub_ns, folder / "hub", "")
        self.edges = []
        hub = (
            f'[interface]\nname = "oxd0"\nworkers = {workers}\naddress = ["10.70.0.1/24", "fd70::1/64"]\n'
            f'[listen]\nudp = ["0.0.0.0:4443", "[::]:4443"]\n{crypto}'
        )
        for n, ns in enumerate(self.edge_ns):
            link(ns, self.hub_ns, n)
            edge = Daemon(ns, folder / f"edge{n}", "")
            self.edges.append(edge)
            endpoint = "[fd09:1::1]:4443" if n == 1 else f"10.9.{n}.1:4443"
            v4, v6 = inner(n)
            edge.write(
                f'[interface]\nname = "oxd0"\naddress = ["{v4}/24", "{v6}/64"]\n{crypto}'
                f'[[peer]]\nname = "hub"\npublic_key = "{self.hub.public_key}"\nendpoint = ["{endpoint}"]\n'
                'allowed_ips = ["10.70.0.0/24", "fd70::/64"]\nkeepalive = "1s"\ndead_after = "1s"\n'
            )
            hub += (
                f'[[peer]]\nname = "edge{n}"\npublic_key = "{edge.public_key}"\n'
                f'allowed_ips = ["{v4}/32", "{v6}/128"]\n'
            )
        self.hub.write(hub)

    @property
    def all(self) -> list[Daemon]:
        return [self.hub, *self.edges]

    def start(self) -> None:
        for daemon in self.all:
            daemon.start()
        self.up()

    def up(self) -> None:
        for daemon in self.all:
            answer = daemon.ask("wait", timeout_seconds=20)
            assert "error" not in answer, daemon.log()

    def pings(self, edge: int, target: str) -> bool:
        text = self.edge_ns[edge].run("ping", "-c", "3", "-i", "0.05", "-W", "2", target, check=False)
        return "3 received" in text

    def drops(self) -> dict[str, int]:
        """Of all daemons, those that no working tunnel has."""
        found: dict[str, int] = {}
        for daemon in self.all:
            for row in daemon.ask("status")["plane"]["drops"].values():
                for why in NEVER:
                    found[why] = found.get(why, 0) + row.get(why, 0)
        return {why: count for why, count in found.items() if count}


@pytest.fixture(params=[2, 3])
def star(
    request: pytest.FixtureRequest, namespace: Callable[[str], Namespace], tmp_path: Path
) -> Iterator[Star]:
    made = Star(request.param, tmp_path, namespace)
    yield made
    for daemon in made.all:
        daemon.kill()


def tcp(ns: Namespace, ip: str) -> socket.socket:
    with ns.entered():
        sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE_S)
    return sock


def pump(sock: socket.socket, data: bytes) -> bytes:
    """Sends `data` and an end, meanwhile reads to the end of the other's; its digest."""
    digest = hashlib.sha256()

    def take() -> None:
        while chunk := sock.recv(1 << 16):
            digest.update(chunk)

    with ThreadPoolExecutor(1) as reader, sock:
        reading = reader.submit(take)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        reading.result()
    return digest.digest()


def transfer(near: Namespace, far: Namespace, target: str) -> None:
    """Bytes both ways at once over one TCP connection; all arrive as they were sent."""
    up, down = os.urandom(TRANSFER_BYTES), os.urandom(TRANSFER_BYTES)
    with tcp(far, target) as listener, ThreadPoolExecutor(1) as other:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((target, PORT))
        listener.listen()
        answering = other.submit(lambda: pump(listener.accept()[0], down))
        client = tcp(near, target)
        client.connect((target, PORT))
        assert pump(client, up) == hashlib.sha256(down).digest()
        assert answering.result() == hashlib.sha256(up).digest()


def transfers(star: Star) -> None:
    """Each edge with the hub, then each with the next one through the hub; IPv4 and IPv6 inside."""
    for kind in (0, 1):
        with ThreadPoolExecutor(EDGES) as pool:
            work = [pool.submit(transfer, star.hub_ns, star.edge_ns[n], inner(n)[kind]) for n in range(EDGES)]
            for each in work:
                each.result()
    with ThreadPoolExecutor(EDGES) as pool:
        work = [
            pool.submit(transfer, star.edge_ns[n - 1], star.edge_ns[n], inner(n)[0]) for n in range(EDGES)
        ]
        for each in work:
            each.result()


TRAIN_PKTS_MAX = 64  # native/core/limits.h


def arrived(sent: dict[str, Any], received: dict[str, Any], kernel_drops: int) -> None:
    """All that was sent was received, but for what the receiver's kernel dropped, a train counting once."""
    assert sent["transmit_packets"] > 1000
    missing = sent["transmit_packets"] - received["receive_packets"]
    assert 0 <= missing <= TRAIN_PKTS_MAX * kernel_drops
    assert (missing == 0) == (sent["transmit_bytes"] == received["receive_bytes"])


def counters_must_agree(star: Star) -> None:
    """What one end has counted of the other; nothing is under way."""
    hub = star.hub.ask("status")
    plane = hub["plane"]
    assert plane["inner_handed_packets"] == plane["inner_taken_over_packets"] > 0
    assert plane["inner_held_packets"] == plane["deliver_held_packets"] == 0
    assert plane["inner_in_packets"] == plane["inner_sent_packets"] + sum(plane["drops"]["transmit"].values())
    for n, edge in enumerate(star.edges):
        there, here = edge.peer(), hub["peers"][n]
        arrived(there, here, plane["kernel_receive_drops"])
        arrived(here, there, edge.ask("status")["plane"]["kernel_receive_drops"])
    assert sum(peer["transmit_packets"] for peer in hub["peers"]) == plane["inner_sent_packets"]


def settled(star: Star) -> None:
    """Until two looks show the same: TCP sends a last word after its end."""
    before: list[Any] = []
    for _ in range(60):
        now = [peer["receive_packets"] for daemon in star.all for peer in daemon.ask("status")["peers"]]
        if now == before:
            return
        before = now
        star.hub_ns.run("sleep", "0.5")


def rekeyed(star: Star, daemon: Any, index: int) -> bool:
    """Keys live for a second here; the transfers may take less."""
    for _ in range(60):
        if daemon.peer(index)["rekeys"] >= 1:
            return True
        star.hub_ns.run("sleep", "0.5")
    return False


def test_all_edges_over_all_workers(star: Star) -> None:
    star.start()
    assert {edge.peer()["transport"] for edge in star.edges} == {"udp"}
    assert star.edges[1].peer()["endpoint"] == "[fd09:1::1]:4443"
    transfers(star)
    settled(star)
    assert star.drops() == {}
    counters_must_agree(star)
    for n, peer in enumerate(star.hub.ask("status")["peers"]):
        assert peer["handshakes"]["completed"] == 1, "the sessions lived on"
        assert rekeyed(star, star.hub, n) and rekeyed(star, star.edges[n], 0)
    shown = shell(
        sys.executable, "-m", "oxidized.ctl", "--socket", str(star.hub.socket_path), "show", "plane"
    )
    assert "inner_handed_packets" in shown
    for daemon in star.all:
        assert "Traceback" not in daemon.log()


def test_edges_that_start_anew_move_between_workers(star: Star) -> None:
    """Each time the worker is drawn; what the one before still gets is opened there."""
    star.start()
    for turn in range(TRIES_MAX):
        edge = star.edges[turn % EDGES]
        edge.end(signal.SIGKILL if turn % 2 else signal.SIGTERM)
        edge.start()
        star.up()
        for n in range(EDGES):
            for target in HUB_INNER:
                assert star.pings(n, target), edge.log()
        assert star.pings(turn % EDGES, inner((turn + 1) % EDGES)[0])
    transfers(star)
    found = star.drops()
    assert set(found) <= {"no-session"}, "what was under way to an edge that was killed"
    assert star.hub.ask("status")["plane"]["drops"]["receive_datagram"]["no-session"] == 0


def test_a_killed_hub_comes_back(star: Star) -> None:
    star.start()
    star.hub.end(signal.SIGKILL)
    star.hub.start()
    star.up()
    for n in range(EDGES):
        assert star.pings(n, HUB_INNER[0]), star.edges[n].log()
    transfers(star)
    assert {why for why in star.drops() if why != "no-session"} == set()
