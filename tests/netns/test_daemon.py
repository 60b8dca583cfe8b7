"""Two real daemons in two namespaces: from start to SIGTERM, and whatever happens between."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns.harness import Daemon, Namespace, veth

pytestmark = pytest.mark.netns

MEMORY_BYTES_MAX = 120 << 20
NOT_QUIC = "@th,64,8 & 0xc0 == 0"  # nft: the first byte of the payload (PROTOCOL.md section 1)

HUB = """
[interface]
name = "oxd0"
address = ["10.70.0.1/24", "fd70::1/64"]
[listen]
udp = ["0.0.0.0:4443", "[::]:4443"]
"""

EDGE = """
[interface]
name = "oxd0"
address = ["10.70.0.2/24", "fd70::2/64"]
"""


def hub_peer(
    edge: Daemon, name: str = "edge", allowed: str = '"10.70.0.2/32", "fd70::2/128"', more: str = ""
) -> str:
    return f'[[peer]]\nname = "{name}"\npublic_key = "{edge.public_key}"\nallowed_ips = [{allowed}]\n{more}'


def edge_peer(hub: Daemon, allowed: str = '"10.70.0.0/24", "fd70::/64"', more: str = "") -> str:
    return (
        f'[[peer]]\nname = "hub"\npublic_key = "{hub.public_key}"\nendpoint = ["10.9.0.1:4443"]\n'
        f'allowed_ips = [{allowed}]\nkeepalive = "1s"\ndead_after = "1s"\n{more}'
    )


class Pair:
    """Hub and edge, configured, not started."""

    def __init__(self, hub_ns: Namespace, edge_ns: Namespace, folder: Path) -> None:
        veth(edge_ns, hub_ns)
        self.hub_ns, self.edge_ns = hub_ns, edge_ns
        self.hub = Daemon(hub_ns, folder / "hub", HUB)
        self.edge = Daemon(edge_ns, folder / "edge", EDGE)
        self.hub.write(HUB + hub_peer(self.edge))
        self.edge.write(EDGE + edge_peer(self.hub))

    def start(self) -> Pair:
        self.hub.start()
        self.edge.start()
        self.up()
        return self

    def up(self, timeout_seconds: float = 20) -> None:
        for daemon in (self.edge, self.hub):
            answer = daemon.ask("wait", timeout_seconds=timeout_seconds)
            assert "error" not in answer, daemon.log()

    def pings(self, target: str = "10.70.0.1", *options: str) -> bool:
        text = self.edge_ns.run("ping", "-c", "3", "-i", "0.05", "-W", "2", *options, target, check=False)
        return "3 received" in text


@pytest.fixture
def pair(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Pair]:
    made = Pair(namespace("hub"), namespace("edge"), tmp_path)
    yield made
    for daemon in (made.edge, made.hub):
        daemon.kill()


def test_from_start_to_stop(pair: Pair) -> None:
    pair.start()
    for target in ("10.70.0.1", "fd70::1"):
        assert pair.pings(target), pair.edge.log()
        assert pair.pings(target, "-s", "1372"), "fills the MTU"
        assert pair.pings(target, "-s", "8900"), "fragments"
    assert pair.hub_ns.run("ping", "-c", "1", "-W", "2", "10.70.0.2")
    document = pair.edge.ask("status")
    assert document["schema"] == "oxidized.status/1"
    assert document["interface"]["role"] == "edge" and document["health"] == []
    (peer,) = document["peers"]
    assert (peer["name"], peer["state"], peer["transport"]) == ("hub", "up", "udp")
    assert peer["endpoint"] == "10.9.0.1:4443" and peer["handshakes"]["completed"] == 1
    assert peer["receive_packets"] >= 18 and peer["paths"][0]["rtt_seconds"] > 0
    for daemon in (pair.hub, pair.edge):
        assert daemon.ask("status")["process"]["resident_memory_bytes"] < MEMORY_BYTES_MAX
    assert pair.edge.end() == 0
    assert pair.hub.peer()["state"] == "down", "the edge said bye"
    assert pair.hub.end() == 0
    for ns in (pair.hub_ns, pair.edge_ns):
        assert {link["ifname"] for link in ns.ip_json("link")} == {"lo", "eth0"}
    for daemon in (pair.hub, pair.edge):
        assert "Traceback" not in daemon.log()


def test_the_edge_is_ready_without_its_hub_and_finds_it_later(pair: Pair) -> None:
    pair.edge.start()
    assert pair.edge.peer()["state"] in ("resolving", "connecting")
    assert any("trying on" in line for line in pair.edge.ask("status")["health"])
    pair.hub.start()
    pair.up()
    assert pair.pings()


def test_a_killed_hub_comes_back(pair: Pair) -> None:
    pair.start()
    pair.hub.end(signal.SIGKILL)
    pair.hub.start()
    pair.up()
    assert pair.pings(), pair.edge.log()


def test_a_killed_edge_leaves_rules_and_puts_them_right(pair: Pair) -> None:
    pair.edge.write(EDGE + edge_peer(pair.hub, allowed='"0.0.0.0/0", "::/0"'))
    pair.hub.start()
    pair.edge.start()
    before = pair.edge_ns.rules("-4") + pair.edge_ns.rules("-6")
    assert len(before) == 4
    pair.edge.end(signal.SIGKILL)
    assert pair.edge_ns.rules("-4") + pair.edge_ns.rules("-6") == before, "or this test shows nothing"
    pair.edge.start()
    assert pair.edge_ns.rules("-4") + pair.edge_ns.rules("-6") == before
    pair.edge.ask("wait", timeout_seconds=20)
    assert pair.pings(), "a default route through the tunnel does not catch the tunnel's own datagrams"
    assert pair.edge.end() == 0
    assert pair.edge_ns.rules("-4") + pair.edge_ns.rules("-6") == []


def test_roaming(pair: Pair) -> None:
    pair.start()
    pair.edge_ns.ip("address", "add", "10.9.0.22/24", "dev", "eth0")
    pair.edge_ns.ip("address", "del", "10.9.0.2/24", "dev", "eth0")
    pair.edge_ns.ip("address", "replace", "10.9.0.22/24", "dev", "eth0")
    assert pair.pings(), pair.edge.log()
    assert pair.hub.peer()["endpoint"].startswith("10.9.0.22:")
    assert pair.hub.peer()["handshakes"]["completed"] == 1, "the session lived on"


def test_quic_carries_the_data_when_nothing_else_passes(pair: Pair) -> None:
    pair.hub_ns.run("nft", "add table inet t")
    for hook, way in (("input", "dport"), ("output", "sport")):
        pair.hub_ns.run("nft", f"add chain inet t {hook} {{ type filter hook {hook} priority 0; }}")
        pair.hub_ns.run("nft", f"add rule inet t {hook} udp {way} 4443 {NOT_QUIC} drop")
    pair.start()
    pair.edge.follow("transport quic")
    for target in ("10.70.0.1", "fd70::1"):
        assert pair.pings(target), pair.edge.log()
    peer = pair.edge.peer()
    assert (peer["transport"], peer["endpoint"]) == ("quic", "quic") and peer["transport_reason"]
    (route,) = pair.edge_ns.ip_json("route", "show", "10.70.0.0/24")
    assert route["metrics"] == [{"mtu": 1280}]
    assert pair.pings("10.70.0.1", "-s", "1372", "-M", "dont"), "what is too long goes in fragments"


def test_reload_drops_nothing(pair: Pair) -> None:
    pair.start()
    text = HUB + hub_peer(pair.edge)
    pinging = pair.edge_ns.start("ping", "-c", "300", "-i", "0.01", "-W", "2", "10.70.0.1")
    other = Daemon(pair.hub_ns, pair.hub.folder.parent / "other", "")
    mtu_and_mark = text.replace('"oxd0"', '"oxd0"\nmtu = 1400\nfwmark = 7')
    steps: list[tuple[str, list[str], list[str]]] = [
        (text + 'keepalive = "7s"\n', ["peer.edge.keepalive"], []),
        (text.replace('"fd70', '"10.71.0.1/24", "fd70', 1), ["interface.address", "peer.edge.keepalive"], []),
        (mtu_and_mark, ["interface.address", "interface.mtu"], ["interface.fwmark"]),
        (text + hub_peer(other, "other", '"10.72.0.0/16"'), ["interface.mtu", "peer.other"], []),
    ]
    for config, applied, waits in steps:
        pair.hub.write(config)
        outcome = pair.hub.ask("reload")
        assert [change["key"] for change in outcome["applied"]] == applied
        assert [change["key"] for change in outcome["needs_restart"]] == waits
        assert outcome["failed"] == []
    assert any(route["dst"] == "10.72.0.0/16" for route in pair.hub_ns.ip_json("route"))
    assert [peer["name"] for peer in pair.hub.ask("status")["peers"]] == ["edge", "other"]
    pair.hub.write(text)
    pair.hub.process.send_signal(signal.SIGHUP)
    pair.hub.follow("reload: 1 applied", times=2)
    assert all(route["dst"] != "10.72.0.0/16" for route in pair.hub_ns.ip_json("route"))
    assert "300 received" in pinging.communicate(timeout=20)[0].decode()
    assert pair.hub.peer()["handshakes"]["completed"] == 1


def test_reload_of_a_wrong_file_changes_nothing(pair: Pair) -> None:
    pair.start()
    before = pair.hub.ask("status")["interface"]
    pair.hub.write(HUB.replace("10.70.0.1/24", "10.70.0.1/33") + hub_peer(pair.edge))
    outcome = pair.hub.ask("reload")
    assert outcome["applied"] == outcome["needs_restart"] == []
    (failure,) = outcome["failed"]
    assert "hub.toml:" in failure["message"] and "interface.address" in failure["message"]
    document = pair.hub.ask("status")
    assert document["interface"] == before and not document["config"]["last_reload_successful"]
    assert pair.pings()


def test_names_that_do_not_resolve(pair: Pair) -> None:
    pair.edge.write((EDGE + edge_peer(pair.hub)).replace("10.9.0.1:4443", "hub.invalid:4443"))
    pair.edge.start()
    assert pair.edge.peer()["state"] == "resolving"
    assert pair.edge.ask("status")["health"] == ["hub: its name does not resolve; trying on"]
    assert pair.edge.end() == 0


def test_compression(pair: Pair) -> None:
    """Headers by themselves, payloads of the flows that are named, and the model that judges them."""
    rules = '[compression]\nheaders = "all"\npayload = ["syslog"]\n'
    pair.edge.write(EDGE + rules + edge_peer(pair.hub))
    pair.start()
    pair.edge.follow("compression oracle: ")
    with pair.hub_ns.entered():
        collector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        collector.bind(("10.70.0.1", 514))
        collector.settimeout(5)
    with pair.edge_ns.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    pause = threading.Event()
    with collector, sender:
        for n in range(200):
            line = f"<134>1 2026-11-26T10:00:{n % 60:02}Z gate{n % 7} sshd {n} - - session opened for u{n}"
            pause.wait(0.002)  # or a good part is sent before the first acknowledgement
            sender.sendto(line.encode(), ("10.70.0.1", 514))
            assert collector.recv(2000) == line.encode()
    sent, received = (daemon.ask("status")["compression"] for daemon in (pair.edge, pair.hub))
    assert sent["header_packets"]["udp"] > 150
    assert sent["coded_bytes"]["udp"] < sent["header_bytes"]["udp"] / 3
    assert sent["payload_packets"]["syslog"] == received["payloads_restored"] == 200
    assert received["restored_packets"]["udp"] == sent["header_packets"]["udp"]
    assert sent["pressed_bytes"]["syslog"] < 0.8 * sent["payload_bytes"]["syslog"]
    assert (sent["oracle"], sent["oracle_reason"]) == ("model", ""), pair.edge.log()
    assert received["payload_rules"] == 0 and not any(received["payload_packets"].values())


def test_what_the_hub_does_not_take_goes_as_it_is(pair: Pair) -> None:
    refused = '[compression]\naccept_payload = false\nheaders = "off"\nbundle = false\n'
    pair.hub.write(HUB + refused + hub_peer(pair.edge))
    pair.edge.write(EDGE + '[compression]\npayload = ["syslog"]\n' + edge_peer(pair.hub))
    pair.start()
    assert pair.pings()
    sent = pair.edge.ask("status")["compression"]
    assert not any(sent["header_packets"].values()) and not any(sent["payload_packets"].values())
    drops = pair.hub.ask("status")["plane"]["drops"]["receive"]
    assert not any(drops[reason] for reason in ("no-context", "lz-refused", "bad-lz", "bad-header"))
