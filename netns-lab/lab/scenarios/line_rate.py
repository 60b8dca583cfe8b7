"""line-rate: what a tunnel costs on this machine, between two sites joined by a bare veth pair."""

from __future__ import annotations

from lab.load import GIGABYTE, TRAFFIC_PORT, CheckedUdp, CostMeter, iperf, iperf_server, ping, start_iperf
from lab.scenarios.base import Outcome, Parameter, Run, Scenario

PING_INTERVAL_SECONDS = 0.01
WARM_UP_SECONDS = 1.0


class LineRate(Scenario):
    name = "line-rate"
    summary = "bare veth; 1 and 4 TCP streams, 200-byte UDP at 400 k/s offered, idle and loaded ping"
    seconds = 5.0
    rounds = 3
    parameters = {
        "pps": Parameter("400000", "UDP packets per second offered"),
        "udp-bytes": Parameter("200", "UDP payload"),
        "gso": Parameter("1", "UDP packets given to the kernel in one send (UDP_SEGMENT), up to 64"),
        "mtu": Parameter("1500", "of the veth pair; the tunnel's is 80 less"),
        "pings": Parameter("300", "echo requests, idle and again under load"),
    }

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        iperf_server(run.lab, run.lab.hub)
        self._idle_ping(run, outcome)
        self._tcp(run, outcome)
        self._loaded_ping(run, outcome)
        self._udp(run, outcome)
        run.tunnel.expect_alive()
        if run.tunnel.is_tunnel:
            outcome.results["rss_bytes"] = run.tunnel.rss_bytes()
        memory = run.tunnel.datapath_memory_bytes()
        if memory is not None:
            outcome.results["datapath_memory_bytes"] = memory
        return outcome

    def _idle_ping(self, run: Run, outcome: Outcome) -> None:
        run.say("idle ping")
        pings = ping(run.lab.edge, run.tunnel.hub4, int(run.number("pings")), PING_INTERVAL_SECONDS)
        outcome.results["rtt_idle_p50_seconds"] = pings.quantile(0.5)
        outcome.results["rtt_idle_p99_seconds"] = pings.quantile(0.99)
        outcome.check("idle-ping", pings.lost == 0, f"{pings.lost} of {pings.sent} lost")

    def _tcp(self, run: Run, outcome: Outcome) -> None:
        iperf(run.lab.edge, run.tunnel.hub4, WARM_UP_SECONDS)
        for streams in (1, 4):
            run.say(f"TCP, {streams} streams, {run.seconds:g} s")
            with CostMeter(run.tunnel) as meter:
                found = iperf(run.lab.edge, run.tunnel.hub4, run.seconds, streams=streams)
            outcome.results[f"tcp{streams}_bps"] = found.bps
            gigabytes = found.received_bytes / GIGABYTE
            outcome.check(f"tcp{streams}", found.received_bytes > 0, f"{found.received_bytes} bytes received")
            if streams == 1 and gigabytes > 0:
                outcome.results["cpu_seconds_per_gb"] = meter.daemon_seconds / gigabytes
                outcome.results["machine_cpu_seconds_per_gb"] = meter.machine_seconds / gigabytes

    def _loaded_ping(self, run: Run, outcome: Outcome) -> None:
        count = int(run.number("pings"))
        run.say("ping beside one TCP stream")
        load = start_iperf(run.lab, run.lab.edge, run.tunnel.hub4, count * PING_INTERVAL_SECONDS + 2)
        pings = ping(run.lab.edge, run.tunnel.hub4, count, PING_INTERVAL_SECONDS)
        outcome.results["rtt_loaded_p50_seconds"] = pings.quantile(0.5)
        outcome.results["rtt_loaded_p99_seconds"] = pings.quantile(0.99)
        load.wait(30)

    def _udp(self, run: Run, outcome: Outcome) -> None:
        run.say(f"UDP, {run.settings['udp-bytes']} bytes, {run.settings['pps']} per second offered")
        flow = CheckedUdp(
            run.lab, run.lab.edge, run.lab.hub, run.tunnel.hub4, port=TRAFFIC_PORT, seed=run.seed,
            sizes=run.settings["udp-bytes"], pps=run.number("pps"), seconds=min(run.seconds, 5.0),
            segments=int(run.number("gso")),
        )  # fmt: skip
        found = flow.finish()
        received, sent = found["received_packets"], found["sender_sent_packets"]
        outcome.results["udp200_received_pps"] = received / found["sender_seconds"]
        outcome.results["udp200_offered_pps"] = sent / found["sender_seconds"]
        outcome.results["udp200_loss_ratio"] = 1 - received / sent
        wrong = found["wrong_packets"] + found["duplicate_packets"]
        outcome.check("udp-content", wrong == 0, f"{wrong} packets wrong or doubled")
