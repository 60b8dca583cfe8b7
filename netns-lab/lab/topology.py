"""Two sites as network namespaces, and what joins them: a bare veth pair or an emulated link.

netns oxlab-PID-edge                              netns oxlab-PID-hub
  inner 10.70.0.2  fd70::2   <-- the tunnel -->     inner 10.70.0.1  fd70::1
  link0 10.201.0.2 fd00:201::2 <-- the link -->     link0 10.201.0.1 fd00:201::1

A scenario may have a host behind the hub: netns oxlab-PID-far, 10.72.0.2 and fd72::2 on a veth pair `far0`.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import build
from lab.errors import LabError
from lab.processes import Process, Processes, run

NAME_PREFIX = "oxlab"
LINK_DEVICE = "link0"
FAR_DEVICE = "far0"
LINK_MTU_BYTES = 1500
# What a tunnel may put around a packet: WireGuard's 80 bytes over IPv6, the largest of the systems here.
TUNNEL_OVERHEAD_BYTES = 80
# The inner packets that our daemon can be set to: 1,280 to 9,000 bytes.
LINK_MTU_BYTES_MIN, LINK_MTU_BYTES_MAX = 1280 + TUNNEL_OVERHEAD_BYTES, 9000 + TUNNEL_OVERHEAD_BYTES
NETNS_FOLDER = Path("/run/netns")
SYSCTLS = {
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.default.addr_gen_mode": "1",
    "net.ipv6.conf.all.disable_ipv6": "0",
}


@dataclass(frozen=True, slots=True)
class Site:
    """One host of the lab: its namespace and its addresses on the link and in the tunnel."""

    name: str
    netns: str
    link4: str
    link6: str
    inner4: str
    inner6: str
    behind: tuple[str, ...] = ()  # networks that this site forwards to

    def run(self, *command: str, timeout: float = 60.0, check: bool = True) -> str:
        return run(command, self.netns, timeout=timeout, check=check)


@dataclass(frozen=True, slots=True)
class Direction:
    """Settings of one direction of the emulated link, as words of `link-emulator --help`."""

    words: Mapping[str, str]

    def text(self) -> str:
        return " ".join(f"{key.partition('#')[0]}={value}" for key, value in self.words.items())


class EmulatedLink:
    """The link emulator between the two sites, obeying commands on its standard input."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def command(self, text: str) -> str:
        """One line to the emulator, one line back; LabError when it refuses."""
        self.process.write_line(text)
        answer = self.process.read_line()
        if answer.startswith("error"):
            raise LabError(f"link-emulator: {text}: {answer}")
        return answer

    def counters(self) -> dict[str, Any]:
        """What the link has carried and dropped so far (schema oxidized.link/1)."""
        counters: dict[str, Any] = json.loads(self.command("report"))
        return counters


def dropped_packets(direction: Mapping[str, Any]) -> int:
    """Packets of one direction that the emulator dropped, for whatever reason, from its counters."""
    return sum(int(drop["packets"]) for drop in direction["drops"].values())


def unaccounted(counters: Mapping[str, Any]) -> int:
    """Packets of the emulator that are neither out, held nor counted as dropped: 0."""
    total = 0
    for name in ("ab", "ba"):
        d = counters[name]
        gone = d["out_packets"] + d["held_packets"] + dropped_packets(d)
        total += abs(d["in_packets"] + d["duplicated_packets"] - gone)
    return total


class Lab:
    """Namespaces, processes and files of one run. A context: whatever happens, nothing is left."""

    def __init__(self, keep_logs: Path | None = None, link_mtu_bytes: int = LINK_MTU_BYTES) -> None:
        self.prefix = f"{NAME_PREFIX}-{os.getpid()}"
        self.keep_logs = keep_logs
        self.link_mtu_bytes = link_mtu_bytes
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.processes = Processes(self.logs)
        self.edge = self._site("edge", 2)
        self.hub = self._site("hub", 1)
        self.far: Site | None = None
        self.link: EmulatedLink | None = None

    def _site(self, name: str, number: int) -> Site:
        return Site(
            name, f"{self.prefix}-{name}", f"10.201.0.{number}", f"fd00:201::{number}",
            f"10.70.0.{number}", f"fd70::{number}",
        )  # fmt: skip

    @property
    def sites(self) -> tuple[Site, Site]:
        return (self.edge, self.hub)

    @property
    def inner_mtu_bytes(self) -> int:
        """The tunnel's MTU, so that no system here sends fragments."""
        return self.link_mtu_bytes - TUNNEL_OVERHEAD_BYTES

    def __enter__(self) -> Lab:
        try:
            for site in self.sites:
                self._make_site(site)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def _make_site(self, site: Site) -> None:
        run(["ip", "netns", "add", site.netns])
        for key, value in SYSCTLS.items():
            site.run("sysctl", "-q", "-w", f"{key}={value}")
        site.run("ip", "link", "set", "lo", "up")

    def start(self, name: str, command: list[str], site: Site | None = None, **options: Any) -> Process:
        return self.processes.start(name, command, site.netns if site else None, **options)

    def join_veth(self) -> None:
        """A bare veth pair: as fast as this kernel goes."""
        run(["ip", "link", "add", LINK_DEVICE, "netns", self.edge.netns, "type", "veth",
             "peer", "name", LINK_DEVICE, "netns", self.hub.netns])  # fmt: skip
        self._address_link()

    def join_far(self) -> Site:
        """A third host, behind the hub; before a system is started, which has to know what is behind it."""
        far = Site("far", f"{self.prefix}-far", "10.72.0.2", "fd72::2", "10.72.0.2", "fd72::2")
        self.hub = replace(self.hub, behind=("10.72.0.0/24", "fd72::/64"))
        self.far = far
        self._make_site(far)
        run(["ip", "link", "add", FAR_DEVICE, "netns", self.hub.netns, "type", "veth",
             "peer", "name", FAR_DEVICE, "netns", far.netns])  # fmt: skip
        for site, number in ((self.hub, 1), (far, 2)):
            site.run("ip", "addr", "add", f"10.72.0.{number}/24", "dev", FAR_DEVICE)
            # Who forwards asks for neighbours from a link-local address, and the kernel here makes none.
            for address in (f"fd72::{number}/64", f"fe80::{number}/64"):
                site.run("ip", "-6", "addr", "add", address, "dev", FAR_DEVICE, "nodad")
            site.run("ip", "link", "set", FAR_DEVICE, "mtu", str(self.inner_mtu_bytes), "up")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.hub.run("sysctl", "-q", "-w", f"{key}=1")
        far.run("ip", "route", "add", "default", "via", "10.72.0.1")
        far.run("ip", "-6", "route", "add", "default", "via", "fd72::1")
        return far

    def join_emulated(self, edge_to_hub: Direction, hub_to_edge: Direction, seed: int) -> EmulatedLink:
        """Two TUN devices with the link emulator between them; direction ab is edge to hub."""
        command = [
            str(build.helper("link-emulator")), "--control", "--seed", str(seed),
            "--a-netns", self.edge.netns, "--a-dev", LINK_DEVICE,
            "--b-netns", self.hub.netns, "--b-dev", LINK_DEVICE,
            "--ab", self._resolve(edge_to_hub).text(), "--ba", self._resolve(hub_to_edge).text(),
            "--report", str(self.logs / "link.json"),
        ]  # fmt: skip
        process = self.start("link-emulator", command, stdin=True, stdout=True)
        if process.read_line() != "ready":
            raise LabError(f"link-emulator: {process.log_tail()}")
        for site in self.sites:
            site.run("ip", "link", "set", LINK_DEVICE, "multicast", "off", "txqueuelen", "5000")
        self._address_link()
        self.link = EmulatedLink(process)
        return self.link

    def _resolve(self, direction: Direction) -> Direction:
        """The same settings with a packed trace unpacked: the emulator reads plain text."""
        trace = direction.words.get("trace", "")
        if not trace.endswith(".gz"):
            return direction
        plain = self.folder / Path(trace).stem
        try:
            with gzip.open(trace, "rb") as packed, plain.open("wb") as out:
                shutil.copyfileobj(packed, out)
        except OSError as error:
            raise LabError(f"trace {trace}: {error}") from None
        return Direction({**direction.words, "trace": str(plain)})

    def _address_link(self) -> None:
        for site in self.sites:
            site.run("ip", "addr", "add", f"{site.link4}/24", "dev", LINK_DEVICE)
            site.run("ip", "-6", "addr", "add", f"{site.link6}/64", "dev", LINK_DEVICE, "nodad")
            site.run("ip", "link", "set", LINK_DEVICE, "mtu", str(self.link_mtu_bytes), "up")

    def overflowed_packets(self) -> int:
        """Packets that the kernel dropped because the emulator was slow to read them: 0 in a sound run."""
        lines = [
            site.run("cat", f"/sys/class/net/{LINK_DEVICE}/statistics/tx_dropped") for site in self.sites
        ]
        return sum(int(line) for line in lines)

    def capture(self, folder: Path, label: str) -> None:
        """Records all packets of each site, on its link and in its tunnel, to FOLDER/LABEL-SITE.pcap."""
        folder.mkdir(parents=True, exist_ok=True)
        for site in self.sites:
            path = folder.resolve() / f"{label}-{site.name}.pcap"
            command = ["tcpdump", "-i", "any", "-n", "-U", "-Z", "root", "-w", str(path)]
            process = self.start(f"tcpdump-{site.name}", command, site)
            while "listening on" not in process.log_tail():
                process.expect_alive()
                time.sleep(0.05)

    def close(self) -> None:
        """Stops every process and removes namespaces and files; signals wait until it is done."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            self.processes.stop_all()
            for site in (*self.sites, *((self.far,) if self.far else ())):
                remove_netns(site.netns)
            if self.keep_logs is not None:
                shutil.copytree(self.logs, self.keep_logs, dirs_exist_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def remove_netns(netns: str) -> None:
    """Ends what still runs in a namespace of the lab and removes it; nothing when it is not there."""
    if not (NETNS_FOLDER / netns).exists():
        return
    for pid in run(["ip", "netns", "pids", netns], check=False).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    run(["ip", "netns", "del", netns], check=False)


def remove_stale() -> list[str]:
    """Removes namespaces and files of runs that were killed with -9; returns the namespaces' names."""
    stale = []
    for path in sorted(NETNS_FOLDER.glob(f"{NAME_PREFIX}-*")):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            remove_netns(path.name)
            stale.append(path.name)
    for folder in Path(tempfile.gettempdir()).glob(f"{NAME_PREFIX}-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return stale
