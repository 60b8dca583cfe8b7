"""`oxidized-ctl show flows [COUNT]`: the flows we send, the fastest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oxidized.ctl import layout
from oxidized.ctl.client import Failure
from oxidized.limits import FLOWS_SHOWN_MAX
from oxidized.units import bytes_text, span_text

Document = Mapping[str, Any]

COLUMNS = ("CLASS", "WHY", "PROTO", "SOURCE", "TARGET", "PEER", "PACKETS", "BYTES", "RATE", "IDLE")


def request_of(words: Sequence[str]) -> dict[str, Any]:
    """What to ask the daemon for `show flows [COUNT]`; Failure: it is no such thing."""
    if len(words) > 1 or not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
        raise Failure("usage", "show flows takes one number, how many")
    limit = int(words[0]) if words else 20
    if not 1 <= limit <= FLOWS_SHOWN_MAX:
        raise Failure("usage", f"show flows: {limit} is outside 1..{FLOWS_SHOWN_MAX}")
    return {"verb": "flows", "limit": limit}


def text(found: Document) -> str:
    """A table; below it, how many more there are."""
    if not found["known"]:
        return "no flows yet\n"
    rows = [COLUMNS]
    for flow in found["flows"]:
        rows.append(
            (
                layout.safe(flow["class"]), layout.safe(flow["why"]),
                layout.safe(flow["protocol"]) + ("/frag" if flow["fragments"] else ""),
                _end(flow["source"], flow["source_port"]), _end(flow["target"], flow["target_port"]),
                layout.safe(flow["peer"]) or "-", str(flow["packets"]), bytes_text(flow["bytes"]),
                rate_text(flow["rate_bps"]), span_text(flow["idle_seconds"]),
            )
        )  # fmt: skip
    rest = found["known"] - len(found["flows"])
    more = f"and {rest} more\n" if rest else ""
    return "\n".join(layout.table(rows, False)) + "\n" + more


def dump(found: Document) -> str:
    return "".join(layout.dump_line(flow.values()) for flow in found["flows"])


def _end(address: str, port: int | None) -> str:
    shown = layout.safe(address)
    if port is None:
        return shown
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


def rate_text(rate_bps: float) -> str:
    """`1.5 Mbit/s`"""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate_bps >= size:
            return f"{rate_bps / size:.1f} {unit}"
    return f"{rate_bps:.0f} bit/s"
