"""Turns the JSON of a `line-rate` run into bench/RESULTS.md: ratios first, absolute values beside them.

    python bench/report.py build/bench/line-rate.json

Machines differ and are noisy, so what is claimed is a ratio within one run of alternating rounds.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("RESULTS.md")
ROWS = (
    ("tcp1_bps", "one TCP stream", "Mbit/s", 1e-6),
    ("tcp4_bps", "four TCP streams", "Mbit/s", 1e-6),
    ("cpu_seconds_per_gb", "CPU seconds per GB, both daemons", "s", 1.0),
    ("udp200_received_pps", "200-byte UDP received", "k/s", 1e-3),
    ("rtt_idle_p50_seconds", "idle ping, p50", "ms", 1e3),
    ("rtt_idle_p99_seconds", "idle ping, p99", "ms", 1e3),
    ("rtt_loaded_p50_seconds", "ping beside one stream, p50", "ms", 1e3),
    ("rtt_loaded_p99_seconds", "ping beside one stream, p99", "ms", 1e3),
    ("rss_bytes", "resident memory of the larger daemon", "MB", 1e-6),
)


def cpu_model() -> str:
    """The processor as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def ratio(document: dict[str, Any], key: str, other: str) -> str:
    """oxidized over `other`, the median of the ratios within the rounds."""
    for entry in document.get("ratios", []):
        if entry["result"] == key and entry["systems"] == ["oxidized", other]:
            return f"{entry['ratio']:.2f}"
    return "-"


def digits(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def render(document: dict[str, Any]) -> str:
    runs = document["runs"]
    others = [run["system"] for run in runs if run["system"] != "oxidized"]
    rounds = len(runs[0]["rounds"])
    head = [*(f"ratio to {other}" for other in others), *(run["system"] for run in runs)]
    lines = [
        "# Results",
        "",
        "Made by `./dev bench`; every figure is of one run on one machine. Claims are the ratios: oxidized",
        "divided by the other system, median over rounds of the ratio within a round.",
        "",
        f"- machine: {cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}; all daemons on it",
        "- systems: " + ", ".join(f"{run['system']} {run['version']}" for run in runs),
        f"- scenario `line-rate`: bare veth, inner MTU 1420, {rounds} alternating rounds of"
        f" {document['seconds']:g} s, seed {document['seed']}",
        "",
        "| | " + " | ".join(head) + " |",
        "|---|" + "---|" * len(head),
    ]
    for key, label, unit, scale in ROWS:
        values = [run["results"].get(key) for run in runs]
        cells = ["-" if value is None else f"{digits(value * scale)} {unit}" for value in values]
        lines.append(" | ".join([f"| {label}", *(ratio(document, key, o) for o in others), *cells]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    RESULTS.write_text(render(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"wrote {RESULTS}")
