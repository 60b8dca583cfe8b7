"""random-loss: what is left of one TCP flow when the link loses packets at random.

Beside some flows goes one call from the edge to the hub: what repairs a flow must not delay another. The
flow is held at a rate there that leaves the link's queue empty, so that a late packet of the call is late for
another reason than the queue.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.calls import CODECS, Calls, Plan
from lab.errors import UsageError
from lab.load import iperf, iperf_server, tcp_sent_segments
from lab.scenarios.base import Outcome, Parameter, Run, Scenario

LOSS_RATIOS = (0.0, 0.001, 0.01, 0.02, 0.05)
INNER = ("cubic", "bbr")
BESIDE_LOSS_RATIOS = (0.0, 0.01)
DRAIN_SECONDS = 1.0
CONGESTION_CONTROLS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
RESULT_KEYS = ("goodput_bps", "wire_overhead_ratio")


@dataclass(frozen=True, slots=True)
class Cell:
    """One flow at one loss; `beside`: with a call next to it."""

    loss: float
    inner: str
    beside: bool = False

    @property
    def name(self) -> str:
        return f"{self.loss:g}/{self.inner}" + ("/beside" if self.beside else "")


EVERY_CELL = (
    *(Cell(loss, inner) for loss in LOSS_RATIOS for inner in INNER),
    *(Cell(loss, "cubic", True) for loss in BESIDE_LOSS_RATIOS),
)


def wanted_cells(text: str) -> list[Cell]:
    """The cells of `--set cell=`: all, or a list of a number from 0, LOSS/INNER or LOSS/INNER/beside."""
    if text == "all":
        return list(EVERY_CELL)
    known = {
        cell.name: cell
        for cell in (*EVERY_CELL, *(Cell(loss, inner, True) for loss in LOSS_RATIOS for inner in INNER))
    }
    cells = []
    for word in text.split(","):
        if word.isdigit() and int(word) < len(EVERY_CELL):
            cells.append(EVERY_CELL[int(word)])
        elif word in known:
            cells.append(known[word])
        else:
            raise UsageError(f"--set cell={word}: there is 0..{len(EVERY_CELL) - 1} or {', '.join(known)}")
    return list(dict.fromkeys(cells))


def dropped_full(direction: Mapping[str, Any]) -> int:
    """Packets of one direction for which the queue had no room, from the emulator's counters."""
    count: int = direction["drops"]["queue-full"]["packets"]
    return count


def add_lossless_ratios(cells: list[dict[str, Any]]) -> None:
    """Writes `goodput_of_lossless_ratio` into each cell that has a fellow without loss."""
    clean = {cell["cell"].partition("/")[2]: cell["goodput_bps"] for cell in cells if not cell["loss_ratio"]}
    for cell in cells:
        most = clean.get(cell["cell"].partition("/")[2])
        if most and cell["goodput_bps"] is not None:
            cell["goodput_of_lossless_ratio"] = cell["goodput_bps"] / most


class RandomLoss(Scenario):
    name = "random-loss"
    summary = "100 Mbit/s, 50 ms round trip, independent loss 0 to 5 % both ways; one Cubic, one BBR flow"
    seconds = 10.0
    link = {"rate": "100M", "delay": "25ms", "queue": "50ms", "loss": "0"}
    parameters = {
        "cell": Parameter(
            "all", "some: number from 0, LOSS/INNER as in 0.01/cubic, LOSS/INNER/beside; or A,B"
        ),
        "beside-rate": Parameter("40M", "what a flow with a call beside it may send, in bits per second"),
        "warm-up": Parameter("4", "seconds of another flow before: each cell is a new path; 0: none"),
        "start-up": Parameter("3", "seconds of each flow before its goodput counts"),
        "settle": Parameter("5", "seconds for the tunnel to find the path's MTU before the first cell"),
    }
    is_tcp_only = True
    shown = frozenset(
        {"goodput_bps", "goodput_of_lossless_ratio", "start_up_bps", "wire_overhead_ratio",
         "extra_packets_ratio", "beside_delay_p50_seconds", "beside_delay_p99_seconds", "beside_lost_ratio"}
    )  # fmt: skip

    def settings(self, chosen: Mapping[str, str]) -> dict[str, str]:
        found = super().settings(chosen)
        wanted_cells(found["cell"])
        return found

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        iperf_server(run.lab, run.lab.hub)
        run.settle(run.number("settle"))
        cells = [self._cell(run, cell) for cell in wanted_cells(run.settings["cell"])]
        add_lossless_ratios(cells)
        outcome.results["cells"] = cells
        assert run.link is not None, "this scenario has an emulated link"
        outcome.check_link(run.link)
        for cell in cells:
            if "left_out" not in cell:
                outcome.check(
                    cell["cell"], cell["goodput_bps"] > 0, f"{cell['goodput_bps'] / 1e6:.1f} Mbit/s"
                )
            wrong = cell.get("beside_wrong_packets", 0)
            outcome.check(
                f"{cell['cell']}-content", wrong == 0, f"{wrong} packets of the call wrong or doubled"
            )
        return outcome

    def _cell(self, run: Run, wanted: Cell) -> dict[str, Any]:
        """One flow. `wire_overhead_ratio`: bytes offered to the link per byte of goodput, less 1."""
        cell: dict[str, Any] = {"cell": wanted.name, "loss_ratio": wanted.loss, "inner": wanted.inner}
        if wanted.inner not in CONGESTION_CONTROLS.read_text().split():
            return {**cell, **dict.fromkeys(RESULT_KEYS), "left_out": f"this kernel has no {wanted.inner}"}
        if wanted.beside and run.tunnel.is_tcp_only:
            return {**cell, **dict.fromkeys(RESULT_KEYS), "left_out": f"{run.tunnel.system} carries no UDP"}
        assert run.link is not None, "this scenario has an emulated link"
        run.say(f"{wanted.name}, {run.seconds:g} s")
        run.link.command(f"both loss={wanted.loss:g}")
        if run.number("warm-up") > 0:
            iperf(run.lab.edge, run.tunnel.hub4, run.number("warm-up"), congestion=wanted.inner)
            time.sleep(DRAIN_SECONDS)
        before, segments = run.link.counters()["ab"], tcp_sent_segments(run.lab.edge)
        call = self._call(run) if wanted.beside else None
        found = iperf(
            run.lab.edge, run.tunnel.hub4, run.seconds, congestion=wanted.inner,
            bitrate=run.settings["beside-rate"] if wanted.beside else "0",
            start_up_seconds=int(run.number("start-up")),
        )  # fmt: skip
        beside = self._beside(call.finish()) if call is not None else {}
        time.sleep(DRAIN_SECONDS)
        after = run.link.counters()["ab"]
        segments = tcp_sent_segments(run.lab.edge) - segments + beside.get("beside_sent_packets", 0)
        run.link.command("both loss=0")
        wire, packets = after["in_bytes"] - before["in_bytes"], after["in_packets"] - before["in_packets"]
        return {
            **cell, "goodput_bps": found.bps, "wire_overhead_ratio": wire / max(found.all_bytes, 1) - 1,
            "start_up_bps": (found.all_bytes - found.received_bytes) * 8 / max(run.number("start-up"), 1),
            "wire_bytes": wire, "wire_packets": packets,
            "inner_packets": None if run.tunnel.is_tcp_only else segments,
            "extra_packets_ratio": None if run.tunnel.is_tcp_only else packets / max(segments, 1) - 1,
            "received_bytes": found.received_bytes, "retransmits": found.retransmits,
            "queue_full_packets": dropped_full(after) - dropped_full(before), **beside,
        }  # fmt: skip

    def _call(self, run: Run) -> Calls:
        plan = Plan(CODECS["g711"], 1, run.seconds + run.number("start-up"), ways="ab")
        return Calls(run.lab, run.tunnel, plan, run.seed, "rtp-beside")

    def _beside(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The results of the call beside the flow."""
        way = found["ab"]
        lost = way["sent_packets"] - way["received_packets"]
        return {
            "beside_sent_packets": way["sent_packets"], "beside_lost_packets": lost,
            "beside_lost_ratio": lost / way["sent_packets"],
            "beside_wrong_packets": way["wrong_packets"] + way["duplicate_packets"],
            **{f"beside_{key}": found[key] for key in ("delay_p50_seconds", "delay_p95_seconds",
                                                       "delay_p99_seconds", "delay_max_seconds")},
        }  # fmt: skip
