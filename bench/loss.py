"""What repair does: sections of bench/RESULTS.md from `burst-loss-voip` and `random-loss`, and a plot.

    python -m bench.loss --plot FILE.svg RUN.json [RUN.json ...]

draws residual loss over extra packets for the calls of any number of runs: a point for each system and round
trip, so that settings (`--set repair=...`, `--variant`) can be told apart. Needs matplotlib (extra `bench`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.voice import colours, failed_checks, number, systems_of

VOIP, RANDOM = "burst-loss-voip", "random-loss"
MISSING = 5  # as netns-lab/run
MARKERS = "osD^vPX*"
SETTINGS_SHOWN = {"repair.mode": "repair", "repair.predictor": "predictor"}


@dataclass(frozen=True, slots=True)
class Point:
    """One cell of one system: ratios, and the least residual loss that so many packets can show."""

    system: str
    rtt_seconds: float
    extra: float
    residual: float
    least: float

    @property
    def height(self) -> float:
        """What is drawn: a scale of powers of ten has no zero, so half a packet stands for none."""
        return max(self.residual, self.least)


def system_label(document: dict[str, Any], run: dict[str, Any]) -> str:
    """The system and those settings of the run that tell one ablation from another."""
    chosen = document.get("daemon_settings", {})
    shown = {short: chosen[key].strip('"') for key, short in SETTINGS_SHOWN.items() if key in chosen}
    words = [f"{short} {value}" for short, value in shown.items()]
    return ", ".join([run["system"], *(words if run["system"].startswith("oxidized") else ())])


def points_of(documents: Sequence[dict[str, Any]]) -> list[Point]:
    """Every cell of every burst-loss-voip run; other scenarios have none."""
    return [
        Point(system_label(document, run), cell["rtt_seconds"], cell["extra_packets_ratio"],
              cell["residual_loss_ratio"], 0.5 / cell["offered_packets"])
        for document in documents if document["scenario"] == VOIP
        for run in document["runs"] for cell in run["results"].get("cells", ())
    ]  # fmt: skip


def plot(documents: Sequence[dict[str, Any]], path: Path) -> None:
    """A colour for each system, a sign for each round trip. ImportError: no matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "oxidized", "svg.fonttype": "none", "font.size": 9})
    points = points_of(documents)
    systems = list(dict.fromkeys(point.system for point in points))
    rtts = sorted({point.rtt_seconds for point in points})
    colour_of = dict(zip(systems, colours(systems), strict=True))
    figure, axis = pyplot.subplots(figsize=(7, 4))
    for system, colour in colour_of.items():
        own = [point for point in points if point.system == system]
        line = [100 * p.extra for p in own], [100 * p.height for p in own]
        axis.plot(*line, "-", color=colour, linewidth=0.6)
        axis.plot([], [], "-", color=colour, label=system)
    for place, rtt in enumerate(rtts):
        marker = MARKERS[place % len(MARKERS)]
        for point in (point for point in points if point.rtt_seconds == rtt):
            colour = colour_of[point.system]
            axis.plot([100 * point.extra], [100 * point.height], marker, color=colour, markersize=5)
        axis.plot([], [], marker, color="#888888", label=f"round trip {rtt * 1e3:g} ms")
    axis.set_xscale("symlog", linthresh=20)
    axis.set_yscale("log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter("{x:g}")
    axis.set_xlabel("extra packets, %")
    axis.set_ylabel("lost or too late, %")
    axis.set_title("Calls under burst loss: what is left over what it costs", loc="left", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    if points:
        axis.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def cells_of(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The cells of one system by name; none where it could not be measured."""
    return {cell["cell"]: cell for cell in run["results"].get("cells", ())}


def table(document: dict[str, Any], first: str,
          columns: Sequence[tuple[str, str, float, int, str]]) -> list[str]:  # fmt: skip
    """A row for each cell, and of each system a column for (head, key, scale, places, unit)."""
    runs = document["runs"]
    names = list(dict.fromkeys(name for run in runs for name in cells_of(run)))
    heads = [f"{run['system']}: {head}" for run in runs for head, *_ in columns]
    lines = [f"| {first} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        found = []
        for run in runs:
            for _, key, scale, places, unit in columns:
                value = number(cells_of(run).get(name), key, scale, places)
                found.append(value if value == "-" else f"{value} {unit}".rstrip())
        lines.append(f"| {name} | " + " | ".join(found) + " |")
    return lines


def conditions(document: dict[str, Any]) -> list[str]:
    """How it was measured, and what did not hold."""
    ways = [", ".join(f"{key} {value}" for key, value in document["link"][way].items())
            for way in ("edge_to_hub", "hub_to_edge")]  # fmt: skip
    rounds = max(len(run["rounds"]) for run in document["runs"])
    return [
        f"- scenario `{document['scenario']}`; link to the hub: {ways[0]}; back: {ways[1]}",
        f"- systems: {systems_of(document)}",
        f"- {rounds} rounds of {document['seconds']:g} s in each cell", *failed_checks(document),
    ]  # fmt: skip


def render_voip(document: dict[str, Any], plot_name: str) -> str:
    """The section of calls under burst loss as Markdown."""
    columns = (("left", "residual_loss_ratio", 100.0, 2, "%"),
               ("extra packets", "extra_packets_ratio", 100.0, 1, "%"),
               ("p99", "delay_p99_seconds", 1e3, 0, "ms"))  # fmt: skip
    lines = [
        "", "## Calls under burst loss", "", f"![residual loss over extra packets]({plot_name})", "",
        "Of a call one way: what is lost or too late, packets on the wire over packets offered less 1 (by",
        "the link's count, all that a tunnel sends in that direction), and the delay of what arrived:", "",
        *table(document, "round trip", columns), "", *conditions(document),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def render_random(document: dict[str, Any]) -> str:
    """The section of one TCP flow under independent loss as Markdown."""
    columns = (("goodput", "goodput_bps", 1e-6, 1, "Mbit/s"),
               ("of lossless", "goodput_of_lossless_ratio", 1.0, 2, ""),
               ("extra packets", "extra_packets_ratio", 100.0, 1, "%"))  # fmt: skip
    lines = [
        "", "## One TCP flow under independent loss", "",
        "Goodput, its share of what the same system has without loss, and packets on the wire over the TCP",
        "segments sent less 1:", "", *table(document, "loss and flow", columns), "", *conditions(document),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Writes the plot; MISSING without matplotlib, 2 without a run to draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.loss")
    parser.add_argument("--plot", type=Path, required=True, metavar="FILE.svg")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.json", help="of netns-lab/run --json")
    options = parser.parse_args(arguments)
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in options.runs]
    if not points_of(documents):
        print(f"bench.loss: none of these is a {VOIP} run with results", file=sys.stderr)
        return 2
    try:
        plot(documents, options.plot)
    except ImportError as error:
        print(f"bench.loss: needs matplotlib: ./dev bench installs it ({error})", file=sys.stderr)
        return MISSING
    print(f"wrote {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
