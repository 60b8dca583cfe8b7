"""Rounds become results, results become ratios; one JSON object and a readable table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

SCHEMA = "oxidized.lab/1"
# How several rounds of one result become one; everything else by its median.
SUMMED = frozenset(
    {
        "bytes_compared", "bytes_wrong", "wrong_packets", "unaccounted_packets", "link_unaccounted_packets",
        "odd_sent_packets", "odd_received_packets", "odd_wrong_packets", "odd_lost_packets",
        "odd_reordered_packets", "lost_packets", "duplicate_packets", "refused_packets",
        "lost_messages", "wrong_messages", "beside_wrong_packets",
    }
)  # fmt: skip
WORST_HIGH = frozenset({"recovery_seconds", "recovery_after_heal_seconds", "ping_loss_ratio"})
WORST_LOW = frozenset({"sessions_up"})
PARAMETERS = frozenset({"calls", "payload_bytes"})  # of a cell: the same in all rounds
BARE_SYSTEM = "direct"
# What is set against the bare link, and by which of its results: daemons have a cost of their own, the bare
# link only that of the whole machine.
BARE_RESULTS = {
    "tcp1_bps": "tcp1_bps", "tcp4_bps": "tcp4_bps", "udp200_received_pps": "udp200_received_pps",
    "cpu_seconds_per_gb": "machine_cpu_seconds_per_gb",
    "machine_cpu_seconds_per_gb": "machine_cpu_seconds_per_gb",
}  # fmt: skip


def merge_values(key: str, values: Sequence[Any]) -> Any:
    """One value of several rounds: sum, worst or median by the key; None where a round had none."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], list):
        return [merge(cells) for cells in zip(*values, strict=True)]
    if isinstance(values[0], str):
        return values[0]
    if key in PARAMETERS:
        return values[0]
    combine: Callable[[Sequence[Any]], Any] = statistics.median
    if key in SUMMED:
        combine = sum
    elif key in WORST_HIGH:
        combine = max
    elif key in WORST_LOW:
        combine = min
    return combine(values)


def merge(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The results of several rounds as one, for the keys that all of them have."""
    return {
        key: merge_values(key, [r[key] for r in rounds]) for key in rounds[0] if all(key in r for r in rounds)
    }


def flatten(results: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by name; those of cells as "LOSS/INNER key" or by the cell's number."""
    flat: dict[str, float] = {}
    for key, value in results.items():
        if isinstance(value, list):
            for number, cell in enumerate(value):
                label = cell_label(number, cell)
                flat.update({f"{label} {name}": inner for name, inner in flatten(cell).items()
                             if name not in ("loss_ratio",)})  # fmt: skip
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[key] = value
    return flat


def cell_label(number: int, cell: Mapping[str, Any]) -> str:
    if "cell" in cell:
        return str(cell["cell"])
    if "loss_ratio" in cell and "inner" in cell:
        return f"{cell['loss_ratio']:g}/{cell['inner']}"
    return f"cell {number}"


def ratios(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first system against each other one: the median over rounds of the ratio within a round."""
    found = []
    for other in runs[1:]:
        pairs = list(zip(runs[0]["rounds"], other["rounds"], strict=False))
        flat = [(flatten(mine["results"]), flatten(theirs["results"])) for mine, theirs in pairs]
        for key in flat[0][0] if flat else ():
            values = [mine[key] / theirs[key] for mine, theirs in flat if theirs.get(key) and key in mine]
            if values and any(values):
                found.append({"result": key, "systems": [runs[0]["system"], other["system"]],
                              "ratio": statistics.median(values)})  # fmt: skip
    return found


def bare_ratios(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each tunnel against the bare link, if that was measured: the median of the ratios within a round."""
    found = []
    bare = next((run for run in runs if run["system"] == BARE_SYSTEM), None)
    if bare is None:
        return []
    for run in (run for run in runs if run is not bare):
        for key, over in BARE_RESULTS.items():
            pairs = zip(run["rounds"], bare["rounds"], strict=False)
            flat = [(mine["results"].get(key), theirs["results"].get(over)) for mine, theirs in pairs]
            values = [mine / theirs for mine, theirs in flat if mine is not None and theirs]
            if values:
                found.append({"result": key, "over": over, "systems": [run["system"], BARE_SYSTEM],
                              "ratio": statistics.median(values)})  # fmt: skip
    return found


def scaled(key: str, value: float | None) -> str:
    """A number with a unit a person reads: by the ending of its name."""
    if value is None:
        return "-"
    if key.endswith("_bps"):
        return f"{value / 1e6:.1f} Mbit/s"
    if key.endswith("_pps"):
        return f"{value / 1e3:.1f} k/s"
    if key.endswith("seconds_per_gb"):
        return f"{value:.2f} s/GB"
    if key.endswith("_seconds"):
        return f"{value * 1e3:.3f} ms"
    if key.endswith("_ratio"):
        return f"{value * 100:.3f} %"
    if key in ("rss_bytes", "datapath_memory_bytes"):
        return f"{value / 1e6:.1f} MB"
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def is_shown(name: str, shown: frozenset[str]) -> bool:
    """Whether people see a result: all outside of cells, and of cells what the scenario shows."""
    label, _, key = name.rpartition(" ")
    return not (label and shown) or key in shown


def table(runs: Sequence[Mapping[str, Any]], shown: frozenset[str] = frozenset()) -> str:
    """Results side by side, one column per system, and the checks that failed."""
    columns = [flatten(run["results"]) for run in runs]
    every = dict.fromkeys(name for column in columns for name in column)
    names = [name for name in every if is_shown(name, shown)]
    rows = [["", *(run["system"] for run in runs)]]
    rows += [[name, *(scaled(name, column.get(name)) for column in columns)] for name in names]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, len(row)))])
        for row in rows
    ]
    for run in runs:
        for failed in (check for check in run["checks"] if not check["ok"]):
            lines.append(f"FAILED {run['system']}: {failed['name']}: {failed['detail']}")
    return "\n".join(lines)


def ratio_lines(found: Sequence[Mapping[str, Any]]) -> str:
    """One line each; a pair that was set against another result of the second system names that too."""
    lines = {}
    for r in found:
        over = f" / {r['over']}" if r.get("over", r["result"]) != r["result"] else ""
        name = f"{r['systems'][0]} / {r['systems'][1]}  {r['result']}{over}"
        lines[name] = f"{name}: {r['ratio']:.3g}"
    return "\n".join(lines.values())
