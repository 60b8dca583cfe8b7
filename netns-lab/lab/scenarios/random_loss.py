"""random-loss: what is left of one TCP flow when the link loses packets at random."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.load import iperf, iperf_server
from lab.scenarios.base import Outcome, Parameter, Run, Scenario

LOSS_RATIOS = (0.0, 0.001, 0.01, 0.02, 0.05)
INNER = ("cubic", "bbr")
DRAIN_SECONDS = 1.0
CONGESTION_CONTROLS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def dropped_full(direction: Mapping[str, Any]) -> int:
    """Packets of one direction for which the queue had no room, from the emulator's counters."""
    count: int = direction["drops"]["queue-full"]["packets"]
    return count


class RandomLoss(Scenario):
    name = "random-loss"
    summary = "100 Mbit/s, 50 ms round trip, independent loss 0 to 5 % both ways; one Cubic, one BBR flow"
    seconds = 10.0
    link = {"rate": "100M", "delay": "25ms", "queue": "50ms", "loss": "0"}
    parameters = {
        "cell": Parameter("all", "one cell alone: its number from 0, or LOSS/INNER as in 0.01/cubic")
    }

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        iperf_server(run.lab, run.lab.hub)
        cells = [self._cell(run, loss, inner) for loss, inner in self._wanted(run.settings["cell"])]
        outcome.results["cells"] = cells
        assert run.link is not None, "this scenario has an emulated link"
        outcome.check_link(run.link)
        for cell in cells:
            if "left_out" not in cell:
                label = f"{cell['loss_ratio']:g}/{cell['inner']}"
                outcome.check(label, cell["goodput_bps"] > 0, f"{cell['goodput_bps'] / 1e6:.1f} Mbit/s")
        return outcome

    def _wanted(self, cell: str) -> list[tuple[float, str]]:
        every = [(loss, inner) for loss in LOSS_RATIOS for inner in INNER]
        if cell == "all":
            return every
        names = {f"{loss:g}/{inner}": (loss, inner) for loss, inner in every}
        if cell.isdigit() and int(cell) < len(every):
            return [every[int(cell)]]
        if cell not in names:
            raise UsageError(f"--set cell={cell}: there is 0..{len(every) - 1} or {', '.join(names)}")
        return [names[cell]]

    def _cell(self, run: Run, loss: float, inner: str) -> dict[str, Any]:
        """One flow. `wire_overhead_ratio`: bytes offered to the link per byte of goodput, less 1."""
        cell: dict[str, Any] = {"loss_ratio": loss, "inner": inner}
        if inner not in CONGESTION_CONTROLS.read_text().split():
            return {**cell, "goodput_bps": None, "wire_overhead_ratio": None,
                    "left_out": f"this kernel has no {inner}"}  # fmt: skip
        assert run.link is not None, "this scenario has an emulated link"
        run.say(f"loss {loss:g}, {inner}, {run.seconds:g} s")
        run.link.command(f"both loss={loss:g}")
        before = run.link.counters()["ab"]
        found = iperf(run.lab.edge, run.tunnel.hub4, run.seconds, congestion=inner)
        time.sleep(DRAIN_SECONDS)
        after = run.link.counters()["ab"]
        wire = after["in_bytes"] - before["in_bytes"]
        run.link.command("both loss=0")
        return {
            **cell, "goodput_bps": found.bps, "wire_overhead_ratio": wire / max(found.received_bytes, 1) - 1,
            "wire_bytes": wire, "received_bytes": found.received_bytes, "retransmits": found.retransmits,
            "queue_full_packets": dropped_full(after) - dropped_full(before),
        }  # fmt: skip
