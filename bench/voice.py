"""The part of bench/RESULTS.md that a `voice-trunk` run fills, and its plot: bytes of a packet over calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

OWN_COLOUR, BARE_COLOUR = "#b7410e", "#444444"
PEER_COLOURS = ("#4c78a8", "#72a276", "#9a7fb8", "#c2a83e", "#6b7680")
BARE = "direct"
NAMES = {"g711": "G.711", "g729": "G.729", "opus": "Opus"}


def label_of(cell: dict[str, Any]) -> str:
    """Codec and payload for people; cells of one label differ in their calls."""
    return f"{NAMES.get(cell['codec'], cell['codec'])}, {cell['payload_bytes']} bytes"


def cells_of(run: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """The cells of one system by label and calls; none where it could not be measured."""
    return {(label_of(cell), int(cell["calls"])): cell for cell in run["results"].get("cells", ())}


def keys_of(document: dict[str, Any]) -> list[tuple[str, int]]:
    """Label and calls of all cells that any system has, in the order of the run."""
    return list(dict.fromkeys(key for run in document["runs"] for key in cells_of(run)))


def number(cell: dict[str, Any] | None, key: str, scale: float, places: int) -> str:
    value = (cell or {}).get(key)
    return "-" if value is None else f"{value * scale:.{places}f}"


def render(document: dict[str, Any], plot_name: str) -> str:
    """The section as Markdown: bytes on the wire for each packet, then the delay added to the bare link."""
    runs = document["runs"]
    lines = [
        "", "## Voice trunks", "", f"![bytes on the wire per RTP packet]({plot_name})", "",
        "IP bytes on the wire per RTP packet, with all that a tunnel sends besides, by the link's count; and",
        "how much later than on the bare link the 99th percentile of the packets comes:", "",
    ]  # fmt: skip
    tunnels = [run for run in runs if run["system"] != BARE]
    has_bare = len(tunnels) < len(runs)
    heads = [run["system"] for run in runs]
    if has_bare:
        heads += [f"{run['system']}, added p99" for run in tunnels]
    lines += ["| codec | calls | " + " | ".join(heads) + " |", "|---" * (len(heads) + 2) + "|"]
    for key in keys_of(document):
        found = [number(cells_of(run).get(key), "wire_bytes_per_packet", 1.0, 1) for run in runs]
        if has_bare:
            delays = [number(cells_of(run).get(key), "delay_added_p99_seconds", 1e3, 2) for run in tunnels]
            found += [delay if delay == "-" else f"{delay} ms" for delay in delays]
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(found) + " |")
    return "\n".join([*lines, "", *conditions(document)]) + "\n"


def systems_of(document: dict[str, Any]) -> str:
    return ", ".join(f"{run['system']} {run['version']}" for run in document["runs"])


def failed_checks(document: dict[str, Any]) -> list[str]:
    """What did not hold, a line each."""
    return [f"- check failed: {run['system']}: {check['name']}: {check['detail']}"
            for run in document["runs"] for check in run["checks"] if not check["ok"]]  # fmt: skip


def conditions(document: dict[str, Any]) -> list[str]:
    """How it was measured, and what did not hold."""
    link = ", ".join(f"{key} {value}" for key, value in document["link"]["edge_to_hub"].items())
    settings = ", ".join(f"{key} {document['settings'][key]}" for key in ("pattern", "ip", "dscp"))
    rounds = max(len(run["rounds"]) for run in document["runs"])
    return [
        f"- scenario `{document['scenario']}`: {settings}; each direction of the link: {link}",
        f"- systems: {systems_of(document)}",
        f"- {rounds} alternating rounds of {document['seconds']:g} s, medians", *failed_checks(document),
    ]  # fmt: skip


def lines_of(run: dict[str, Any], label: str) -> tuple[list[int], list[float]]:
    """Calls and bytes per packet of one system and codec, fewest calls first."""
    points = sorted((calls, cell["wire_bytes_per_packet"])
                    for (found, calls), cell in cells_of(run).items() if found == label)  # fmt: skip
    return [calls for calls, _ in points], [size for _, size in points]


def colours(systems: Sequence[str]) -> list[str]:
    """The first system's, the bare link's, and one for each peer."""
    found, peers = [], iter(PEER_COLOURS * len(systems))
    for place, system in enumerate(systems):
        found.append(OWN_COLOUR if place == 0 else BARE_COLOUR if system == BARE else next(peers))
    return found


def plot(document: dict[str, Any], path: Path) -> None:
    """A panel for each codec, a line for each system. ImportError: no matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "oxidized", "svg.fonttype": "none", "font.size": 9})
    labels = list(dict.fromkeys(label for label, _ in keys_of(document))) or ["nothing measured"]
    figure, axes = pyplot.subplots(1, len(labels), figsize=(3.5 * len(labels), 3.2), squeeze=False)
    for axis, label in zip(axes[0], labels, strict=True):
        names = [run["system"] for run in document["runs"]]
        ticks: set[int] = set()
        for run, colour in zip(document["runs"], colours(names), strict=True):
            calls, sizes = lines_of(run, label)
            ticks.update(calls)
            style = "--" if run["system"] == BARE else "-"
            axis.plot(calls, sizes, style, marker="o", markersize=3, color=colour, label=run["system"])
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(ticks), [str(tick) for tick in sorted(ticks)])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel("calls at once")
        axis.set_title(f"{label}: bytes on the wire per packet", loc="left", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][-1].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
