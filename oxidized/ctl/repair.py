"""`oxidized-ctl show repair`: what is lost, what comes back, what it costs, and who decides."""

from __future__ import annotations

from typing import Any

from oxidized.core.repair_health import TIMED_CLASSES, overhead_ratios
from oxidized.ctl.layout import Document, safe, table
from oxidized.units import ratio_text

COLUMNS = (
    ("KEPT", "kept_packets"),
    ("LOST", "lost_packets"),
    ("REPEATS", "repeats_out"),
    ("SYMBOLS", "codes_out"),
    ("REPAIRED", "repaired_packets"),
    ("IN VAIN", "vain_packets"),
    ("TOO LATE", "too_late_packets"),
    ("OVER BUDGET", "over_budget_packets"),
    ("LEFT TO CODE", "left_to_code_packets"),
)
PATH_COLUMNS = ("PATH", "REGIME", "LOSS NOW", "FORETOLD", "REDUNDANCY", "COPIES", "KEPT NOW", "BY")


def repair_text(status: Document) -> str:
    """Paths, what is sent, what is received."""
    found = status["repair"]
    lines = [f"repair: {safe(found['mode'])}", f"predictor: {_predictor_text(found['predictor'])}"]
    lines += [f"  {line}" for line in _paths(status)]
    lines += ["sent:", *(f"  {line}" for line in _classes(found))]
    lines.append(f"  extra packets: {_overhead_text(found)}")
    lines.append(
        f"  lost to a full queue, and not repeated: {found['congestion_packets']}; pushed out "
        f"unacknowledged: {found['crowded_packets']}; could not be sent: {found['unsent_packets']}"
    )
    lines.append("received:")
    lines.append(
        f"  copies: {found['repeats_in']} ({found['restored_in']} restored a packet, {found['known_in']} had "
        "come already)"
    )
    lines.append(
        f"  symbols: {found['codes_in']} ({found['decoded_in']} packets decoded, {found['undecoded_in']} of "
        "no use)"
    )
    lines.append(f"  given up by peers: {found['abandoned_in']}")
    lines.append(f"order: {_order_text(found, status['plane'])}")
    return "\n".join(lines) + "\n"


def _predictor_text(predictor: Document) -> str:
    active, mode = safe(predictor["active"]), safe(predictor["mode"])
    asked = "" if active == mode else f", asked for {mode}"
    reason = f" ({safe(predictor['reason'])})" if predictor["reason"] else ""
    by_reason = ", ".join(f"{safe(why)} {steps}" for why, steps in predictor["fallbacks"].items())
    others = f", of them by another: {by_reason}" if by_reason else ""
    return f"{active}{asked}{reason}; {predictor['steps']} steps{others}"


def _ratio_cell(ratio: float | None) -> str:
    return "-" if ratio is None else ratio_text(ratio)


def _paths(status: Document) -> list[str]:
    rows = [PATH_COLUMNS]
    for peer in status["peers"]:
        for path in peer["paths"]:
            copies = path["repair_copies"]
            rows.append(
                (
                    f"{safe(peer['name'])}/{safe(path['name'])}",
                    safe(path["repair_regime"] or "-"),
                    _ratio_cell(path["repair_loss_ratio"]),
                    _ratio_cell(path["loss_probability"]),
                    _ratio_cell(path["repair_redundancy_ratio"]),
                    "-" if copies is None else str(copies),
                    str(path["kept_packets"]),
                    safe(path["repair_by"]) or "-",
                )
            )
    return table(rows, False) if len(rows) > 1 else []


def _classes(found: Document) -> list[str]:
    rows: list[tuple[str, ...]] = [("CLASS", *(title for title, _ in COLUMNS), "EXTRA")]
    for each, kept in found["kept_packets"].items():
        extra = found["repeats_out"][each] + found["codes_out"][each]
        cells = (str(found[field][each]) for _, field in COLUMNS)
        rows.append((safe(each), *cells, ratio_text(extra / kept) if kept else "-"))
    return table(rows, False)


def _overhead_text(found: Document) -> str:
    timed, others = overhead_ratios(found)
    named = ", ".join(TIMED_CLASSES)
    return (
        f"{named} {ratio_text(timed)} of at most {ratio_text(found['max_overhead_ratio'])}; others "
        f"{ratio_text(others)} of at most {ratio_text(found['max_overhead_bulk_ratio'])}"
    )


def _order_text(found: Document, plane: dict[str, Any]) -> str:
    if not found["order"]:
        return "off"
    return (
        f"on; {plane['order_waiting_packets']} packets of TCP flows wait now, {plane['order_held_packets']} "
        f"have waited: {plane['order_filled_packets']} until the lost one came, "
        f"{plane['order_resolved_packets']} until none was missing, {plane['order_timeout_packets']} too "
        f"long, {plane['order_full_packets']} without room"
    )
