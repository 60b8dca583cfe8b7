"""Turns the JSON of a `line-rate` run into bench/RESULTS.md and bench/line-rate.svg: ratios first.

    python -m bench.report build/bench/line-rate.json [build/bench/voice-trunk.json ...]

Machines differ and are noisy, so what is claimed is a ratio within one run of alternating rounds. The plots
need matplotlib (the extra `bench`); the same JSON gives the same files to the byte. Runs of `voice-trunk`,
`burst-loss-voip` and `random-loss` add their sections and plots.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import loss, voice

FOLDER = Path(__file__).parent
RESULTS, PLOT, VOICE_PLOT, LOSS_PLOT = (
    FOLDER / name for name in ("RESULTS.md", "line-rate.svg", "voice-trunk.svg", "burst-loss-voip.svg")
)
BARE = "direct"
MISSING = 5  # as netns-lab/run: something is not there


@dataclass(frozen=True, slots=True)
class Row:
    """A result of line-rate: its name for people, the unit and scale to show it in, which way is better."""

    key: str
    label: str
    unit: str
    scale: float
    is_more_better: bool = False


ROWS = (
    Row("tcp1_bps", "one TCP stream", "Mbit/s", 1e-6, True),
    Row("tcp4_bps", "four TCP streams", "Mbit/s", 1e-6, True),
    Row("cpu_seconds_per_gb", "CPU seconds per GB, both daemons", "s", 1.0),
    Row("machine_cpu_seconds_per_gb", "CPU seconds per GB, whole machine", "s", 1.0),
    Row("udp200_received_pps", "200-byte UDP received", "k/s", 1e-3, True),
    Row("rtt_idle_p50_seconds", "idle ping, p50", "ms", 1e3),
    Row("rtt_idle_p99_seconds", "idle ping, p99", "ms", 1e3),
    Row("rtt_loaded_p50_seconds", "ping beside one stream, p50", "ms", 1e3),
    Row("rtt_loaded_p99_seconds", "ping beside one stream, p99", "ms", 1e3),
    Row("rss_bytes", "resident memory of the larger daemon", "MB", 1e-6),
    Row("datapath_memory_bytes", "of it the packet path", "MB", 1e-6),
)
PANELS = ("tcp1_bps", "cpu_seconds_per_gb", "udp200_received_pps", "rtt_loaded_p50_seconds")


def digits(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def median_ratio(document: dict[str, Any], table: str, key: str, systems: Sequence[str]) -> float | None:
    """Of the document's ratios the one of these two systems, None when it was not measured."""
    for entry in document.get(table, ()):
        if entry["result"] == key and entry["systems"] == list(systems):
            return float(entry["ratio"])
    return None


def rounds_of(run: dict[str, Any], row: Row) -> list[float]:
    """The result of each round, scaled; rounds in which it could not be measured are left out."""
    values = (one["results"].get(row.key) for one in run["rounds"])
    return [value * row.scale for value in values if value is not None]


def claims(document: dict[str, Any]) -> list[str]:
    """The table of ratios: the first system over each tunnel and over the bare link; whether it is best."""
    runs = document["runs"]
    first, others = runs[0]["system"], [r["system"] for r in runs[1:] if r["system"] != BARE]
    has_bare = any(run["system"] == BARE for run in runs)
    head = [f"to {other}" for other in others] + (["to the bare link"] if has_bare else [])
    head += ["best is", f"{first} is best"]
    lines = ["| " + " | ".join([f"{first}, ratio", *head]) + " |", "|---" * (len(head) + 1) + "|"]
    for row in ROWS:
        ratios = [median_ratio(document, "ratios", row.key, (first, other)) for other in others]
        bare = median_ratio(document, "bare_ratios", row.key, (first, BARE))
        known = [ratio for ratio in ratios if ratio is not None]
        if not known and bare is None:
            continue
        cells = ["-" if r is None else f"{r:.2f}" for r in [*ratios, *([bare] if has_bare else [])]]
        is_best = all(ratio > 1 if row.is_more_better else ratio < 1 for ratio in known)
        cells += ["most" if row.is_more_better else "least"]
        cells += ["-" if not known else "yes" if is_best else "no"]
        lines.append("| " + " | ".join([row.label, *cells]) + " |")
    return lines


def values(document: dict[str, Any]) -> list[str]:
    """The table of absolute values: medians, with the least and the most of the rounds."""
    runs = document["runs"]
    lines = ["| | " + " | ".join(run["system"] for run in runs) + " |", "|---" * (len(runs) + 1) + "|"]
    for row in ROWS:
        cells = []
        for run in runs:
            value, found = run["results"].get(row.key), rounds_of(run, row)
            text = "-" if value is None else f"{digits(value * row.scale)} {row.unit}"
            spread = f" ({digits(min(found))} to {digits(max(found))})" if len(found) > 1 else ""
            cells.append(text + spread if value is not None else text)
        lines.append("| " + " | ".join([row.label, *cells]) + " |")
    return lines


def conditions(document: dict[str, Any]) -> list[str]:
    """On what, of which versions, and how: what it takes to do it again."""
    runs, machine = document["runs"], document["machine"]
    settings = ", ".join(f"{key} {value}" for key, value in document["settings"].items())
    seeds = ", ".join(str(one["seed"]) for one in runs[0]["rounds"])
    return [
        f"- machine: {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, scheduler"
        f" autogroups {'on' if machine['has_autogroups'] else 'off'}; daemons, load and kernel share it",
        f"- systems: {voice.systems_of(document)}",
        f"- scenario `{document['scenario']}`: bare veth pair; {settings}",
        f"- {len(runs[0]['rounds'])} alternating rounds of {document['seconds']:g} s, seeds {seeds}",
        *voice.failed_checks(document),
    ]


def render(document: dict[str, Any]) -> str:
    """RESULTS.md as text."""
    first = document["runs"][0]["system"]
    lines = [
        "# Results", "",
        "Made by `./dev bench`; every figure is of one run on one machine. Claims are the ratios: "
        f"{first} divided by", "the other system, median over the rounds of the ratio within a round. To the "
        "bare link: over the same load", "on the veth pair without a tunnel; the CPU of the daemons is set "
        "against the whole machine's there.", "",
        *claims(document), "", f"![line rate]({PLOT.name})", "",
        "Medians, and in brackets the least and the most of the rounds:", "", *values(document), "",
        *conditions(document),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Bar:
    """One system in one panel: the median of its rounds, and their least and most."""

    system: str
    middle: float
    low: float
    high: float


def bar_of(run: dict[str, Any], row: Row) -> Bar | None:
    """None for a system without this result, as the bare link has no daemons."""
    found = rounds_of(run, row)
    value = run["results"].get(row.key)
    if not found or not value:
        return None
    return Bar(run["system"], value * row.scale, min(found), max(found))


def plot(document: dict[str, Any], path: Path) -> None:
    """Four results as bars, one for each system, with the range of the rounds. ImportError: no matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "oxidized", "svg.fonttype": "none", "font.size": 9})
    rows = {row.key: row for row in ROWS}
    runs = document["runs"]
    height = 0.6 + len(PANELS) * (0.5 + 0.22 * len(runs))
    figure, axes = pyplot.subplots(len(PANELS), 1, figsize=(7, height))
    for axis, key in zip(axes, PANELS, strict=True):
        row = rows[key]
        bars = [bar for run in runs if (bar := bar_of(run, row))]
        ranges = [[bar.middle - bar.low for bar in bars], [bar.high - bar.middle for bar in bars]]
        colours = ["#b7410e" if bar.system == runs[0]["system"] else "#9aa5b1" for bar in bars]
        made = axis.barh([bar.system for bar in bars], [bar.middle for bar in bars], color=colours,
                         xerr=ranges, ecolor="#444444")  # fmt: skip
        axis.bar_label(made, [digits(bar.middle) for bar in bars], padding=4)
        axis.margins(x=0.15)
        axis.invert_yaxis()
        better = "more" if row.is_more_better else "less"
        axis.set_title(f"{row.label}, {row.unit}: {better} is better", loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def section(document: dict[str, Any]) -> str:
    """What a run of another scenario adds to RESULTS.md, its plot written. ImportError, ValueError."""
    match document["scenario"]:
        case "voice-trunk":
            voice.plot(document, VOICE_PLOT)
            return voice.render(document, VOICE_PLOT.name)
        case loss.VOIP:
            loss.plot([document], LOSS_PLOT)
            return loss.render_voip(document, LOSS_PLOT.name)
        case loss.RANDOM:
            return loss.render_random(document)
        case other:
            raise ValueError(f"bench/report.py: no section for {other}")


def main(arguments: Sequence[str]) -> int:
    """Writes RESULTS.md and the plots; MISSING, and none of them, without matplotlib."""
    document, *more = (json.loads(Path(name).read_text(encoding="utf-8")) for name in arguments)
    try:
        plot(document, PLOT)
        sections = [section(other) for other in more]
    except ImportError as error:
        print(f"bench/report.py: needs matplotlib: ./dev bench installs it ({error})", file=sys.stderr)
        return MISSING
    text = render(document) + "".join(sections)
    RESULTS.write_text(text, encoding="utf-8")
    print(f"wrote {RESULTS} and its plots")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
