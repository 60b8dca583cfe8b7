"""stress: everything a bad network does, at once; nothing wrong may come out and the tunnel must come back.

Over the load's time S: 5 % loss, reordering, duplicates and flipped bits all along; a short outage at 0.15 S,
a NAT rebind at 0.30 S, a long outage at 0.45 S, a rebind at 0.70 S, an outage of one direction at 0.80 S; and
the daemon rekeys every few seconds. Then the link heals.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.load import TRAFFIC_PORT, CheckedTcp, CheckedUdp, ping
from lab.scenarios.base import Outcome, Parameter, Run, Scenario
from lab.systems import wait_up

SETTLE_SECONDS = 1.5
SNAPSHOT_TRIES = 10
SNAPSHOT_SECONDS = 0.3
REKEYS_EXPECTED_AFTER_SECONDS = 30
# The sums of oxi.h: what was taken = where it went (named counters) + its drops.
SUMS = (
    ("inner_in_packets", ("inner_sent_packets", "inner_held_packets"), "transmit"),
    ("outer_in_datagrams", ("control_in_datagrams", "opened_datagrams"), "receive_datagram"),
    ("found_packets", ("inner_out_packets", "deliver_held_packets"), "receive"),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the link is down and when the NAT forgets, in seconds from the start of the load."""

    both_down: tuple[tuple[float, float], ...]
    up_down: tuple[float, float]
    rebinds: tuple[float, ...]

    @property
    def ends(self) -> tuple[float, ...]:
        """The moments from which the tunnel is expected back."""
        return (*(end for _, end in self.both_down), self.up_down[1], *self.rebinds)


def schedule(seconds: float) -> Schedule:
    """The faults of a load of so many seconds."""

    def span(share: float, length: float) -> tuple[float, float]:
        return (share * seconds, share * seconds + length)

    return Schedule(
        both_down=(span(0.15, min(1.0, 0.05 * seconds)), span(0.45, min(8.0, 0.15 * seconds))),
        up_down=span(0.80, min(2.0, 0.05 * seconds)),
        rebinds=(0.30 * seconds, 0.70 * seconds),
    )


def unaccounted_packets(status: Mapping[str, Any]) -> int:
    """Packets of one daemon that are in no counter of where they went (oxi.h, oxi_stats): 0."""
    plane = status["plane"]
    total = 0
    for taken, went, direction in SUMS:
        known = sum(plane[name] for name in went) + sum(plane["drops"][direction].values())
        total += abs(plane[taken] - known)
    return total


def longest_recovery(gaps_ns: Iterable[tuple[int, int]], origin_ns: int, ends: Iterable[float]) -> float:
    """Seconds from the end of a fault to the next packet that got through, at worst; 0: none was missed."""
    worst = 0.0
    gaps = list(gaps_ns)
    for end in ends:
        moment_ns = origin_ns + int(end * 1e9)
        worst = max([worst, *((to - moment_ns) / 1e9 for start, to in gaps if start <= moment_ns < to)])
    return worst


class Stress(Scenario):
    name = "stress"
    summary = "5 % loss, reorder, duplicates, corruption, outages, rekeys and NAT rebinds together"
    seconds = 60.0
    link = {
        "rate": "50M", "delay": "20ms", "jitter": "5ms/reorders", "queue": "100ms", "loss": "5%",
        "reorder": "2%/15ms", "duplicate": "1%", "corrupt": "1%",
    }  # fmt: skip
    parameters = {
        "pps": Parameter("200", "UDP packets per second each way"),
        "rekey_after": Parameter("5s", "oxidized only: key lifetime"),
        "dead_after": Parameter("3s", "oxidized only: silence after which the edge looks for the hub again"),
    }

    def daemon_settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        return {
            "crypto.rekey_after": json.dumps(settings["rekey_after"]),
            "peer.dead_after": json.dumps(settings["dead_after"]), "peer.keepalive": '"2s"',
        }  # fmt: skip

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        assert run.link is not None, "this scenario has an emulated link"
        plan = schedule(run.seconds)
        run.say(f"{run.seconds:g} s of faults: outages, rebinds and loss while UDP and TCP flow both ways")
        self._arm(run, plan)
        origin_ns = run.link.counters()["origin_ns"]
        udp, tcp = self._load(run)
        time.sleep(run.seconds)
        run.link.command("heal")
        healed = time.monotonic()
        wait_up(run.lab, run.tunnel)
        outcome.results["recovery_after_heal_seconds"] = time.monotonic() - healed
        self._collect_load(outcome, run, udp, tcp, origin_ns, plan)
        time.sleep(SETTLE_SECONDS)
        self._collect_state(outcome, run)
        return outcome

    def _arm(self, run: Run, plan: Schedule) -> None:
        """Starts the schedule of faults; the link's clock starts with it."""
        assert run.link is not None, "this scenario has an emulated link"
        both = [f"{start:.3f}s-{end:.3f}s" for start, end in plan.both_down]
        up = [*both, f"{plan.up_down[0]:.3f}s-{plan.up_down[1]:.3f}s"]
        if "outage" not in run.settings:
            run.link.command(f"ab outage={'/'.join(up)}")
            run.link.command(f"ba outage={'/'.join(both)}")
        if run.tunnel.port and "rebind" not in run.settings:
            times = "/".join(f"{moment:.3f}s" for moment in plan.rebinds)
            run.link.command(f"ab nat-port={run.tunnel.port} rebind={times}")
        run.link.command("origin")

    def _load(self, run: Run) -> tuple[list[CheckedUdp], list[CheckedTcp]]:
        lab, tunnel = run.lab, run.tunnel
        ways = ((lab.edge, lab.hub, tunnel.hub4), (lab.hub, lab.edge, tunnel.edge6))
        udp = [
            CheckedUdp(lab, source, target, address, port=TRAFFIC_PORT, seed=run.seed,
                       sizes=run.udp_sizes(spare_bytes=70), pps=run.number("pps"), seconds=run.seconds)
            for source, target, address in ways
        ]  # fmt: skip
        amount = ["--seconds", f"{max(run.seconds - 2, 1):g}"]
        tcp = [
            CheckedTcp(lab, source, target, address, TRAFFIC_PORT + 1, run.seed + 1, amount)
            for source, target, address in ways
        ]
        return udp, tcp

    def _collect_load(self, outcome: Outcome, run: Run, udp: list[CheckedUdp], tcp: list[CheckedTcp],
                      origin_ns: int, plan: Schedule) -> None:  # fmt: skip
        packets = [flow.finish() for flow in udp]
        transfers = [flow.finish(timeout=120) for flow in tcp]
        wrong = sum(flow["wrong_packets"] + flow["duplicate_packets"] for flow in packets)
        wrong_bytes = sum(transfer.bytes_wrong for transfer in transfers)
        gaps = [tuple(gap) for flow in packets for gap in flow["gaps_ns"]]
        outcome.results.update(
            wrong_packets=wrong, bytes_wrong=wrong_bytes,
            bytes_compared=sum(transfer.bytes_compared for transfer in transfers),
            udp_sent_packets=sum(flow["sender_sent_packets"] for flow in packets),
            udp_received_packets=sum(flow["received_packets"] for flow in packets),
            recovery_seconds=longest_recovery(gaps, origin_ns, plan.ends),
        )  # fmt: skip
        if run.tunnel.is_tunnel:
            outcome.check("wrong-packets", wrong == 0, f"{wrong} packets wrong, foreign or doubled")
        outcome.check("bytes-wrong", wrong_bytes == 0, f"{wrong_bytes} bytes of TCP wrong")
        broken = sum(not transfer.complete for transfer in transfers)
        outcome.check("tcp-complete", broken == 0, f"{broken} of {len(transfers)} transfers broke off")

    def _collect_state(self, outcome: Outcome, run: Run) -> None:
        assert run.link is not None, "this scenario has an emulated link"
        run.tunnel.expect_alive()
        answered = ping(run.lab.edge, run.tunnel.hub4, 10, 0.1)
        outcome.check(
            "ping-at-end", answered.lost == 0, f"{answered.lost} of {answered.sent} lost on the healed link"
        )
        outcome.results["sessions_up"] = int(answered.lost < answered.sent)
        outcome.results["unaccounted_packets"] = None
        if run.tunnel.status is not None:
            self._collect_status(outcome, run)
        outcome.check("sessions-up", outcome.results["sessions_up"] == 1, "at the end")
        outcome.results["link_unaccounted_packets"] = outcome.check_link(run.link)

    def _collect_status(self, outcome: Outcome, run: Run) -> None:
        """The daemons' own books. They are read while packets move, so a difference must last to count."""
        assert run.tunnel.status is not None, "asked only of systems with a status"
        for _ in range(SNAPSHOT_TRIES):
            documents = run.tunnel.status()
            missing = {name: unaccounted_packets(document) for name, document in documents.items()}
            if not any(missing.values()):
                break
            time.sleep(SNAPSHOT_SECONDS)
        outcome.results["unaccounted_packets"] = sum(missing.values())
        outcome.check("unaccounted", not any(missing.values()), f"packets without a fate: {missing}")
        states = [peer["state"] for document in documents.values() for peer in document["peers"]]
        outcome.results["sessions_up"] = int(bool(states) and all(state == "up" for state in states))
        rekeys = sum(peer["rekeys"] for peer in documents["edge"]["peers"])
        outcome.results["rekeys"] = rekeys
        if run.seconds >= REKEYS_EXPECTED_AFTER_SECONDS:
            outcome.check("rekeys", rekeys > 0, f"{rekeys} rekeys")
