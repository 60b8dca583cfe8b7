"""cellular: a call beside a load, over the delivery opportunities of measured mobile networks.

A trace (mahimahi's format) is the bottleneck from the edge to the hub, behind a queue that drops at its end:
what is lost is lost to that queue, most of it when the network fades. The load is one Cubic flow (`bulk`), or
video at a constant rate, a share of the trace's mean (`video`), which fills the queue in fades alone. The way
back is a plain link. Each round begins at another place of the trace, by its seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab import traces
from lab.calls import CODECS, Calls, Plan
from lab.errors import UsageError
from lab.load import TRAFFIC_PORT, CheckedTcp, CheckedUdp, Transfer, tcp_sent_segments
from lab.scenarios.base import Outcome, Parameter, Run, Scenario
from lab.topology import EmulatedLink, dropped_packets

SHARED = Path(__file__).resolve().parents[4] / "shared/traces/train"
LOADS = ("bulk", "video")
VIDEO_BYTES = 1200
UDP_HEADERS = 28
DRAIN_SECONDS = 1.0
DRAIN_SECONDS_MAX = 60.0  # a network may fade for long
PLACE_MS = 97_000  # from the beginning of one round to that of the next


def drain(link: EmulatedLink) -> None:
    """Returns when nothing is on its way any more: what is left would come in the next cell."""
    end_s = time.monotonic() + DRAIN_SECONDS_MAX
    while any(link.counters()[way]["held_packets"] for way in ("ab", "ba")) and time.monotonic() < end_s:
        time.sleep(0.1)
    time.sleep(DRAIN_SECONDS)


class Cellular(Scenario):
    name = "cellular"
    summary = "a call beside bulk or video over measured mobile networks, 500 ms of queue"
    seconds = 30.0
    rounds = 3
    link = {"rate": "50M", "delay": "20ms", "queue": "500ms"}
    parameters = {
        "traces": Parameter(str(SHARED), "folder of *.mm or *.mm.gz"),
        "cell": Parameter("all", "some traces by name; or A,B,C"),
        "load": Parameter("bulk", "bulk: a Cubic flow; video: constant rate"),
        "video-share": Parameter("0.7", "of the trace's mean rate"),
        "budget": Parameter("150", "ms one way after which a packet of the call is too late"),
        "warm-up": Parameter("12", "seconds of the call before what counts: each cell is a new path"),
        "settle": Parameter("5", "seconds for the tunnel to find the path's MTU before the first cell"),
    }
    shown = frozenset(
        {"utilisation_ratio", "voip_delay_p95_seconds", "voip_late_or_lost_ratio", "voip_lost_ratio",
         "load_lost_ratio", "load_bps", "extra_packets_ratio"}
    )  # fmt: skip

    def settings(self, chosen: Mapping[str, str]) -> dict[str, str]:
        found = super().settings(chosen)
        if found["load"] not in LOADS:
            raise UsageError(f"--set load={found['load']}: {' or '.join(LOADS)} is expected")
        if any(key.rpartition(".")[2] == "trace" for key in chosen):
            raise UsageError("--set trace: it follows from the cell, as in --set traces=DIR cell=NAME")
        traces.chosen(Path(found["traces"]), found["cell"])
        return found

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        assert run.link is not None, "this scenario has an emulated link"
        run.settle(run.number("settle"))
        cells = outcome.results["cells"] = []
        for path in traces.chosen(Path(run.settings["traces"]), run.settings["cell"]):
            trace = traces.read(path).begun_at(PLACE_MS * run.seed)
            run.say(f"{trace.name} ({trace.mean_bps / 1e6:.1f} Mbit/s), {run.settings['load']}")
            found = self._cell(run, trace)
            cells.append(found)
            outcome.check(
                f"{trace.name}-content", found["wrong_packets"] == 0, f"{found['wrong_packets']} wrong"
            )
        run.tunnel.expect_alive()
        outcome.check_link(run.link)
        return outcome

    def _cell(self, run: Run, trace: traces.Trace) -> dict[str, Any]:
        assert run.link is not None, "this scenario has an emulated link"
        plain = run.lab.folder / f"{trace.name}.mm"
        plain.write_text(trace.text())
        plan = Plan(
            CODECS["g711"], 1, run.seconds, ways="ab", budget_seconds=run.number("budget") / 1e3,
            warm_up_seconds=run.number("warm-up"),
        )  # fmt: skip
        run.link.command(f"ab trace={plain}")
        run.link.command("origin")
        call = Calls(run.lab, run.tunnel, plan, run.seed, f"call-{trace.name}")
        call.wait_warm()
        run.link.command("origin")
        before, segments = run.link.counters()["ab"], tcp_sent_segments(run.lab.edge)
        begin_s = time.monotonic()
        finish = self._load(run, trace)
        call.go()
        found = call.finish()
        after, span_ms = run.link.counters()["ab"], (time.monotonic() - begin_s) * 1e3
        loaded = finish()
        drain(run.link)
        way = found["ab"]
        lost = way["sent_packets"] - way["received_packets"]
        offered = way["sent_packets"] + tcp_sent_segments(run.lab.edge) - segments + loaded["udp_packets"]
        wire = run.link.counters()["ab"]["in_packets"] - before["in_packets"]
        return {
            "cell": trace.name, "trace": trace.name, "load": run.settings["load"], "mean_bps": trace.mean_bps,
            "utilisation_ratio": (after["out_bytes"] - before["out_bytes"])
            / max(trace.bytes_between(0, span_ms), 1),
            **{f"voip_{key}": found[key] for key in ("delay_p50_seconds", "delay_p95_seconds",
                                                     "delay_p99_seconds", "delay_max_seconds")},
            "voip_sent_packets": way["sent_packets"], "voip_lost_packets": lost,
            "voip_lost_ratio": lost / way["sent_packets"],
            "voip_late_or_lost_ratio": (lost + way["over_budget_packets"]) / way["sent_packets"],
            "load_bps": loaded["bps"], "load_lost_ratio": loaded["lost_ratio"],
            "offered_packets": offered, "wire_packets": wire, "extra_packets_ratio": wire / offered - 1,
            "dropped_packets": dropped_packets(after) - dropped_packets(before),
            "wrong_packets": way["wrong_packets"] + way["duplicate_packets"] + loaded["wrong"],
        }  # fmt: skip

    def _load(self, run: Run, trace: traces.Trace) -> Callable[[], dict[str, Any]]:
        """Starts the load; what is returned waits for its end and tells what came of it."""
        if run.settings["load"] == "bulk":
            amount = ["--seconds", f"{run.seconds:g}"]
            flow = CheckedTcp(
                run.lab, run.lab.edge, run.lab.hub, run.tunnel.hub4, TRAFFIC_PORT, run.seed, amount
            )
            return lambda: of_bulk(flow.finish(timeout=run.seconds + 60))
        pps = run.number("video-share") * trace.mean_bps / 8 / (VIDEO_BYTES + UDP_HEADERS)
        video = CheckedUdp(
            run.lab, run.lab.edge, run.lab.hub, run.tunnel.hub4, port=TRAFFIC_PORT, seed=run.seed,
            sizes=str(VIDEO_BYTES), pps=pps, seconds=run.seconds,
        )  # fmt: skip
        return lambda: of_video(video.finish(), run.seconds)


def of_bulk(found: Transfer) -> dict[str, Any]:
    return {"udp_packets": 0, "bps": found.bps, "lost_ratio": None, "wrong": found.bytes_wrong}


def of_video(found: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    sent, received = found["sender_sent_packets"], found["received_packets"]
    return {
        "udp_packets": sent, "bps": found["received_bytes"] * 8 / seconds, "lost_ratio": 1 - received / sent,
        "wrong": found["wrong_packets"] + found["duplicate_packets"],
    }  # fmt: skip
