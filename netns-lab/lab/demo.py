"""The guided tour: edge and hub on a lossy, slow link, real daemons, real traffic, and what it proves."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from lab.errors import LabError
from lab.load import TRAFFIC_PORT, CheckedUdp, ping, tcp_transfer
from lab.main import check_privileges, on_signal
from lab.scenarios.stress import unaccounted_packets
from lab.systems import Oxidized, Tunnel, ctl_command, python, wait_up
from lab.topology import Direction, EmulatedLink, Lab, remove_stale, unaccounted

SEED = 7
LINK = {"rate": "50M", "delay": "20ms", "queue": "100ms", "loss": "1%"}
METRICS = "127.0.0.1:19586"
TRANSFER_BYTES = 3_000_000
UDP_SECONDS = 3.0
SETTLE_SECONDS = 1.0
SHOWN_METRICS = ("oxidized_peer_", "oxidized_path_", "oxidized_handshakes", "oxidized_dropped")
SHOWN_METRICS_MAX = 14

TOPOLOGY = r"""
   site "edge"  (network namespace)                       site "hub"  (network namespace)
  +--------------------------------+                     +--------------------------------+
  |  ping, TCP, UDP                |                     |                ping, TCP, UDP  |
  |      |                         |                     |                         |      |
  |  oxd0  10.70.0.2  fd70::2      |                     |      oxd0  10.70.0.1  fd70::1  |
  |      |                         |                     |                         |      |
  |  oxidized run edge.toml        |                     |         oxidized run hub.toml  |
  |      |                         |   link-emulator     |                         |      |
  |  link0 10.201.0.2 -------------+-- 50 Mbit/s --------+------------- link0 10.201.0.1  |
  +--------------------------------+   40 ms round trip  +--------------------------------+
                                       1 % lost each way
"""


class Tour:
    """Prints the steps and keeps count of what did not hold."""

    def __init__(self) -> None:
        self.step_number = 0
        self.proved: list[str] = []
        self.failed: list[str] = []

    def step(self, title: str) -> None:
        self.step_number += 1
        print(f"\n[{self.step_number}] {title}", flush=True)

    def show(self, text: str) -> None:
        for line in text.rstrip("\n").splitlines():
            print(f"    {line}", flush=True)

    def prove(self, claim: str, holds: bool) -> None:
        (self.proved if holds else self.failed).append(claim)


def show_start(tour: Tour, lab: Lab) -> tuple[EmulatedLink, Tunnel]:
    tour.step("Two network namespaces, joined by nothing but a bad link")
    link = lab.join_emulated(Direction(LINK), Direction(LINK), SEED)
    direct = ping(lab.edge, lab.hub.link4, 20, 0.05)
    tour.show(f"ping over the bare link: {describe(direct.sent, direct.lost, direct.quantile(0.5))}")
    tour.step("A key pair and a configuration file for each site, and one daemon each")
    begin = time.monotonic()
    tunnel = Oxidized().start(lab, {"control.metrics": f'"{METRICS}"'})
    tour.show((lab.folder / "edge.toml").read_text().replace(str(lab.folder), "..."))
    tour.show(f"\nup: first ping through the tunnel {time.monotonic() - begin:.1f} s after making the keys")
    return link, tunnel


def describe(sent: int, lost: int, rtt_seconds: float | None) -> str:
    answered = "no answer" if rtt_seconds is None else f"median round trip {rtt_seconds * 1e3:.1f} ms"
    return f"{sent - lost} of {sent} answered, {answered}"


def show_traffic(tour: Tour, lab: Lab, tunnel: Tunnel) -> None:
    tour.step("Ping through the tunnel, IPv4, IPv6 and packets larger than any link carries")
    for address, size in ((tunnel.hub4, 84), (tunnel.hub6, 104), (tunnel.hub4, 9000)):
        pings = ping(lab.edge, address, 20, 0.05, packet_bytes=size)
        tour.show(f"{address:10} {size:5} bytes: {describe(pings.sent, pings.lost, pings.quantile(0.5))}")
        tour.prove(f"pings of {size} bytes to {address} pass", pings.lost < pings.sent)
    tour.step(f"TCP: {TRANSFER_BYTES / 1e6:g} MB each way, every byte compared at the other end")
    for source, target, address in ((lab.edge, lab.hub, tunnel.hub4), (lab.hub, lab.edge, tunnel.edge6)):
        found = tcp_transfer(lab, source, target, address, TRANSFER_BYTES, SEED)
        tour.show(
            f"{source.name} to {target.name}: {found.bytes_compared} bytes compared, "
            f"{found.bytes_wrong} wrong, {found.bps / 1e6:.1f} Mbit/s"
        )
        whole = found.complete and found.bytes_compared == TRANSFER_BYTES and found.bytes_wrong == 0
        tour.prove(f"TCP {source.name} to {target.name}: all {TRANSFER_BYTES} bytes arrive as sent", whole)
    tour.step("UDP: 1000 numbered packets a second, checked by number and content")
    flow = CheckedUdp(lab, lab.edge, lab.hub, tunnel.hub4, port=TRAFFIC_PORT, seed=SEED, sizes="64-1300",
                      pps=1000, seconds=UDP_SECONDS)  # fmt: skip
    counts = flow.finish()
    wrong = counts["wrong_packets"] + counts["duplicate_packets"]
    tour.show(
        f"{counts['received_packets']} of {counts['sender_sent_packets']} arrived, {wrong} wrong or doubled"
    )
    tour.prove("no UDP packet comes out changed or twice", wrong == 0 and counts["received_packets"] > 0)


def show_roaming(tour: Tour, lab: Lab, link: EmulatedLink, tunnel: Tunnel) -> None:
    tour.step("The network changes under it: the NAT gives the edge a new port, then the link dies for 2 s")
    link.command(f"ab nat-port={tunnel.port} rebind=0s outage=1s-3s")
    link.command("ba outage=1s-3s")
    link.command("origin")
    during = ping(lab.edge, tunnel.hub4, 5, 0.1)
    tour.show(f"new port: {describe(during.sent, during.lost, during.quantile(0.5))}")
    time.sleep(3.0)
    wait_up(lab, tunnel)
    after = ping(lab.edge, tunnel.hub4, 10, 0.1)
    tour.show(f"after the outage: {describe(after.sent, after.lost, after.quantile(0.5))}")
    tour.prove("the tunnel outlives a new address and a dead link", after.lost < after.sent)


def show_insight(tour: Tour, lab: Lab, tunnel: Tunnel) -> None:
    tour.step("oxidized-ctl status, at the edge")
    tour.show(lab.edge.run(*ctl_command(tunnel.sockets["edge"], "status")))
    tour.step(f"What Prometheus would scrape from http://{METRICS}/metrics (a part of it)")
    fetch = (
        f"import urllib.request as u; print(u.urlopen('http://{METRICS}/metrics', timeout=5).read().decode())"
    )
    lines = lab.edge.run(str(python()), "-c", fetch).splitlines()
    chosen = [line for line in lines if line.startswith(SHOWN_METRICS) and not line.endswith(" 0")]
    tour.show("\n".join(chosen[:SHOWN_METRICS_MAX]))
    tour.show(f"... {sum(not line.startswith('#') for line in lines)} samples in all")
    tour.prove("the metrics can be scraped", len(chosen) > 0)


def show_books(tour: Tour, link: EmulatedLink, tunnel: Tunnel) -> None:
    tour.step("The books: where did every packet go?")
    counters = link.counters()
    for name, label in (("ab", "edge to hub"), ("ba", "hub to edge")):
        tour.show(f"link, {label}: {link_line(counters[name])}")
    tour.prove("the link: every packet is delivered or counted as dropped", unaccounted(counters) == 0)
    assert tunnel.status is not None, "oxidized has a status"
    for name, status in tunnel.status().items():
        plane = status["plane"]
        drops = {reason: count for kind in plane["drops"].values() for reason, count in kind.items() if count}
        tour.show(
            f"daemon, {name}: {plane['inner_in_packets']} packets in from its site, "
            f"{plane['inner_out_packets']} out to it, drops {drops or 'none'}"
        )
        tour.prove(f"daemon {name}: every packet is accounted for", unaccounted_packets(status) == 0)


def link_line(direction: dict[str, Any]) -> str:
    drops = ", ".join(
        f"{drop['packets']} {reason}" for reason, drop in direction["drops"].items() if drop["packets"]
    )
    return f"{direction['in_packets']} packets in, {direction['out_packets']} out, dropped: {drops or 'none'}"


def tour_of(lab: Lab) -> Tour:
    tour = Tour()
    link, tunnel = show_start(tour, lab)
    show_traffic(tour, lab, tunnel)
    show_roaming(tour, lab, link, tunnel)
    show_insight(tour, lab, tunnel)
    time.sleep(SETTLE_SECONDS)
    show_books(tour, link, tunnel)
    return tour


def main() -> int:
    """Entry point. 0: all that is claimed held; 1: something did not; 5: something is missing."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    begin = time.monotonic()
    print("Oxidized: a tunnel between two hosts on a bad link, all on this machine." + TOPOLOGY, end="")
    try:
        check_privileges()
        Oxidized().check()
        remove_stale()
        with Lab() as lab:
            tour = tour_of(lab)
    except LabError as error:
        print(f"\nnetns-lab/demo: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nnetns-lab/demo: interrupted; everything is removed", file=sys.stderr)
        return 130
    tour.step("What this proves")
    for claim in tour.proved:
        tour.show(f"ok      {claim}")
    for claim in tour.failed:
        tour.show(f"FAILED  {claim}")
    print(f"\n{time.monotonic() - begin:.0f} s; daemons, namespaces and files are gone again.")
    return 1 if tour.failed else 0
