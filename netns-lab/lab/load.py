"""What is sent through a tunnel and how it is measured: ping, iperf3, checked TCP and UDP, CPU and memory."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import build
from lab.errors import LabError
from lab.processes import Process
from lab.systems import Tunnel
from lab.topology import Lab, Site

IPERF_PORT = 5201
TRAFFIC_PORT = 7000
GIGABYTE = 1e9
IP4_ICMP_HEADERS = 28
IP6_ICMP_HEADERS = 48


def quantile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank quantile; None of nothing."""
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1 if share else 0)]


@dataclass(frozen=True, slots=True)
class Pings:
    """Echo requests sent and the round trips of those answered, in seconds."""

    sent: int
    rtts_seconds: tuple[float, ...]

    @property
    def lost(self) -> int:
        return self.sent - len(self.rtts_seconds)

    def quantile(self, share: float) -> float | None:
        return quantile(self.rtts_seconds, share)


def ping(site: Site, address: str, count: int, interval_seconds: float, *, packet_bytes: int = 84,
         dont_fragment: bool = False) -> Pings:  # fmt: skip
    """Pings `address` with IP packets of `packet_bytes`; the answers of iputils ping are read one by one."""
    headers = IP6_ICMP_HEADERS if ":" in address else IP4_ICMP_HEADERS
    flags = ["-M", "do"] if dont_fragment else []
    command = ["ping", "-n", "-c", str(count), "-i", f"{interval_seconds:g}", "-W", "2"]
    command += ["-s", str(packet_bytes - headers), *flags, address]
    text = site.run(*command, check=False, timeout=count * interval_seconds + 30)
    found = re.search(r"(\d+) packets transmitted", text)
    if not found:
        raise LabError(f"ping {address} failed:\n{text}")
    answers = re.findall(r"icmp_seq=(\d+) .*time=([\d.]+) ms(?! \(DUP)", text)
    first = {number: float(ms) / 1e3 for number, ms in reversed(answers)}
    return Pings(int(found[1]), tuple(first.values()))


@dataclass(frozen=True, slots=True)
class Throughput:
    """One iperf3 measurement, as its receiver saw it; all_bytes: with those of the start-up."""

    bps: float
    received_bytes: int
    all_bytes: int
    seconds: float
    retransmits: int


def iperf_server(lab: Lab, site: Site) -> Process:
    process = lab.start(
        "iperf3-server", ["iperf3", "-s", "-p", str(IPERF_PORT), "--forceflush"], site, stdout=True
    )
    while "Server listening" not in process.read_line():
        continue
    return process


def iperf(site: Site, address: str, seconds: float, *, streams: int = 1, congestion: str = "cubic",
          reverse: bool = False, bitrate: str = "0", start_up_seconds: int = 0) -> Throughput:  # fmt: skip
    """TCP for so long to the iperf3 server at `address`, after so long that does not count; `bitrate` as
    iperf3 -b, 0: as fast as it goes."""
    command = ["iperf3", "-c", address, "-p", str(IPERF_PORT), "-t", f"{seconds:g}", "-P", str(streams), "-J",
               "-C", congestion, "-b", bitrate, "-O", str(start_up_seconds),
               *(("-R",) if reverse else ())]  # fmt: skip
    answer = json.loads(site.run(*command, timeout=seconds + start_up_seconds + 60, check=False))
    if "error" in answer:
        raise LabError(f"iperf3: {answer['error']}")
    end = answer["end"]
    got = end["sum_received"]
    omitted = sum(i["sum"]["bytes"] for i in answer["intervals"] if i["sum"]["omitted"])
    return Throughput(
        got["bits_per_second"], got["bytes"], omitted + got["bytes"], got["seconds"],
        end["sum_sent"].get("retransmits", 0),
    )  # fmt: skip


def start_iperf(lab: Lab, site: Site, address: str, seconds: float) -> Process:
    command = ["iperf3", "-c", address, "-p", str(IPERF_PORT), "-t", f"{seconds:g}", "-C", "cubic"]
    return lab.start("iperf3-load", command, site)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A TCP transfer whose every byte was compared at the receiver."""

    bytes_sent: int
    bytes_compared: int
    bytes_wrong: int
    seconds: float
    complete: bool

    @property
    def bps(self) -> float:
        return self.bytes_compared * 8 / self.seconds if self.seconds > 0 else 0.0


class CheckedTcp:
    """A transfer in the background, from one site to another; `finish` gives what came of it."""

    def __init__(self, lab: Lab, source: Site, target: Site, address: str, port: int, seed: int,
                 amount: Sequence[str]) -> None:  # fmt: skip
        traffic = str(build.helper("traffic"))
        label = f"tcp-{source.name}-{port}"
        common = ["--port", str(port), "--seed", str(seed)]
        self.sink = lab.start(
            f"{label}-sink", [traffic, "tcp-sink", "--bind", address, *common], target, stdout=True
        )
        if self.sink.read_line() != "ready":
            raise LabError(self.sink.log_tail())
        command = [traffic, "tcp-send", "--to", address, *common, "--congestion", "cubic", *amount]
        self.sender = lab.start(label, command, source, stdout=True)

    def finish(self, timeout: float) -> Transfer:
        """Waits for the end; a transfer that broke off is not complete, but what arrived is compared."""
        self.sender.wait(timeout)
        sent = self.sender.read_rest()
        if not sent:
            self.sink.stop()
            return Transfer(0, 0, 0, 0.0, False)
        told, found = json.loads(sent), json.loads(self.sink.read_rest(timeout))
        complete = told["confirmed"] and found["ended"] and told["sent_bytes"] == found["bytes_compared"]
        return Transfer(
            told["sent_bytes"], found["bytes_compared"], found["bytes_wrong"], found["seconds"], complete
        )


def tcp_transfer(lab: Lab, source: Site, target: Site, address: str, byte_count: int, seed: int) -> Transfer:
    flow = CheckedTcp(lab, source, target, address, TRAFFIC_PORT, seed, ["--bytes", str(byte_count)])
    return flow.finish(timeout=120 + byte_count / 100_000)


class CheckedUdp:
    """A flow of numbered UDP packets in the background, checked by number and content at the receiver."""

    def __init__(self, lab: Lab, source: Site, target: Site, address: str, *, port: int, seed: int,
                 sizes: str, pps: float, seconds: float, segments: int = 1) -> None:  # fmt: skip
        traffic = str(build.helper("traffic"))
        label = f"udp-{source.name}-{port}"
        common = ["--port", str(port), "--seed", str(seed)]
        self.seconds = seconds
        self.sink = lab.start(
            f"{label}-sink",
            [traffic, "udp-sink", "--bind", address, *common],
            target,
            stdin=True,
            stdout=True,
        )
        if self.sink.read_line() != "ready":
            raise LabError(self.sink.log_tail())
        command = [traffic, "udp-send", "--to", address, *common, "--size", sizes, "--pps", f"{pps:g}",
                   "--seconds", f"{seconds:g}", "--gso", str(segments)]  # fmt: skip
        self.sender = lab.start(label, command, source, stdout=True)

    def finish(self, linger_seconds: float = 1.0) -> dict[str, Any]:
        """Sender's and receiver's counts in one dict, after the last packets had time to arrive."""
        self.sender.wait(self.seconds + 30)
        told = json.loads(self.sender.read_rest())
        time.sleep(linger_seconds)
        self.sink.close_stdin()
        found = json.loads(self.sink.read_rest())
        return {**found, **{f"sender_{key}": value for key, value in told.items()}}


def sent_segments(snmp: str) -> int:
    """TCP segments sent, first ones and repeated ones, by the text of /proc/net/snmp (RFC 4022, tcpOutSegs).

    What is handed on in one piece to be cut below counts as what it is cut into.
    """
    names, values = (line.split()[1:] for line in snmp.splitlines() if line.startswith("Tcp:"))
    counts = dict(zip(names, map(int, values), strict=True))
    return counts["OutSegs"] + counts["RetransSegs"]


def tcp_sent_segments(site: Site) -> int:
    return sent_segments(site.run("cat", "/proc/net/snmp"))


class CostMeter:
    """CPU seconds of a tunnel's daemons, and of the whole machine, over the time of a `with` block."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.daemon_seconds = 0.0
        self.machine_seconds = 0.0

    def __enter__(self) -> CostMeter:
        self._start = (self.tunnel.cpu_seconds(), machine_cpu_seconds())
        return self

    def __exit__(self, *error: object) -> None:
        self.daemon_seconds = self.tunnel.cpu_seconds() - self._start[0]
        self.machine_seconds = machine_cpu_seconds() - self._start[1]


def machine_cpu_seconds() -> float:
    """Busy time of all CPUs since boot (proc(5): /proc/stat without idle and iowait)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / 100.0


def machine_facts() -> dict[str, Any]:
    """What a figure of this machine depends on, as the kernel tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    autogroup = Path("/proc/sys/kernel/sched_autogroup_enabled")
    return {
        "cpu": models[0] if models else platform.machine(), "cores": os.cpu_count(),
        "kernel": platform.release(),
        "has_autogroups": autogroup.exists() and autogroup.read_text().strip() == "1",
    }  # fmt: skip
