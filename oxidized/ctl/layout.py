"""The status document as text: the table of `status`, the blocks of `show`, tab-separated `--dump`.

For people binary units and ages, for programs (`--dump`) raw numbers in base units and epoch seconds, "-"
where there is none; columns of a dump are only ever added at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from oxidized.units import age_text, bytes_text, ratio_text, rtt_text, span_text

Document = Mapping[str, Any]

GREEN, YELLOW, RED, BOLD, PLAIN = "\033[32m", "\033[33m", "\033[31m", "\033[1m", "\033[0m"
COLORS = {
    "up": GREEN,
    "degraded": YELLOW,
    "connecting": YELLOW,
    "resolving": YELLOW,
    "silent": RED,
    "down": RED,
}
COLUMNS = ("PEER", "STATE", "TRANSPORT", "PATHS", "RTT", "LOSS", "RX", "TX", "HANDSHAKE")
STATE_COLUMN = 1

PEER_DUMP = (
    "name",
    "state",
    "transport",
    "endpoint",
    "last_handshake_timestamp_seconds",
    "last_receive_timestamp_seconds",
    "receive_bytes",
    "transmit_bytes",
    "receive_packets",
    "transmit_packets",
    "keepalive_seconds",
    "public_key",
    "allowed_ips",
)
PATH_DUMP = (
    "peer",
    "name",
    "state",
    "local",
    "remote",
    "rtt_seconds",
    "rtt_variation_seconds",
    "rtt_min_seconds",
    "loss_ratio",
    "mtu_bytes",
    "sent_packets",
    "sent_bytes",
    "received_packets",
    "received_bytes",
    "acked_packets",
    "lost_packets",
    "late_packets",
    "repair_regime",
    "repair_loss_ratio",
)
REGIMES = ("clean", "random", "bursty", "congested")  # from the best to the worst


def safe(value: Any) -> str:
    """One line without control characters, whatever the daemon was told by a peer."""
    text = str(value)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def now_seconds(status: Document) -> float:
    """The daemon's own clock when it answered: ages do not depend on ours."""
    return datetime.fromisoformat(status["time"]).timestamp()


def _since(moment: float | None, now: float) -> str:
    return "-" if moment is None else span_text(now - moment) + " ago"


# ---- status ----


def status_text(status: Document, color: bool = False) -> str:
    """Header, one line per peer, health."""
    interface = status["interface"]
    header = (
        interface["name"],
        interface["role"],
        f"up {span_text(status['uptime_seconds'])}",
        f"mtu {interface['mtu_bytes']}",
        interface["suite"],
    )
    lines = ["  ".join(safe(part) for part in header)]
    now = now_seconds(status)
    lines += table([COLUMNS, *(_peer_row(peer, now) for peer in status["peers"])], color)
    if status["health"]:
        lines += ["# Health:", *(f"#   - {safe(line)}" for line in status["health"])]
    return "\n".join(lines) + "\n"


def _peer_row(peer: Document, now: float) -> tuple[str, ...]:
    return (
        safe(peer["name"]),
        safe(peer["state"]),
        safe(peer["transport"]),
        _paths_cell(peer["paths"]),
        rtt_text(peer_rtt_seconds(peer)),
        _loss_cell(peer["paths"]),
        bytes_text(peer["receive_bytes"]),
        bytes_text(peer["transmit_bytes"]),
        _since(peer["last_handshake_timestamp_seconds"], now),
    )


def _paths_cell(paths: Sequence[Document]) -> str:
    """`fiber,lte* (1/2)`: a star on those that are not up."""
    if not paths:
        return "-"
    names = ",".join(safe(path["name"]) + ("" if path["state"] == "up" else "*") for path in paths)
    return f"{names} ({sum(path['state'] == 'up' for path in paths)}/{len(paths)})"


def peer_rtt_seconds(peer: Document) -> float | None:
    """Of the best path that is up."""
    known = (path["rtt_seconds"] for path in peer["paths"] if path["state"] != "down")
    return min((rtt for rtt in known if rtt is not None), default=None)


def _loss_cell(paths: Sequence[Document]) -> str:
    """`0.8% bursty`: and how the worst path loses, unless it is clean."""
    acked = sum(path["acked_packets"] for path in paths)
    lost = sum(path["lost_packets"] for path in paths)
    worst = max((REGIMES.index(path["repair_regime"] or "clean") for path in paths), default=0)
    kind = f" {REGIMES[worst]}" if worst else ""
    return ratio_text(lost / (acked + lost)) + kind if acked + lost else "-"


def table(rows: Sequence[Sequence[str]], color: bool) -> list[str]:
    """Columns aligned to the left, two spaces between, nothing at the end of a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[-1] = cells[-1].rstrip()
        if color and number == 0:
            cells = [f"{BOLD}{cell}{PLAIN}" for cell in cells]
        elif color:
            state = row[STATE_COLUMN]
            cells[STATE_COLUMN] = f"{COLORS.get(state, '')}{cells[STATE_COLUMN]}{PLAIN}"
        lines.append("  ".join(cells))
    return lines


# ---- show ----


def interface_block(status: Document) -> str:
    interface = status["interface"]
    listen = interface["listen"]
    ports = dict.fromkeys(where.rpartition(":")[2] for where in listen)
    return _block(
        f"interface: {safe(interface['name'])}",
        (
            ("role", safe(interface["role"])),
            ("public key", safe(interface["public_key"])),
            ("addresses", safe(", ".join(interface["addresses"]))),
            ("listening port", safe(", ".join(ports)) or None),
            ("mtu", str(interface["mtu_bytes"])),
            ("suite", safe(interface["suite"])),
            ("offload", safe(offload_text(status["offload"]))),
            ("library", safe(library_text(interface))),
        ),
    )


def offload_text(offload: Mapping[str, Document]) -> str:
    """Those in use; of the others, why not."""
    on = [name for name, each in offload.items() if each["active"]]
    off = [f"{name} off ({each['reason']})" for name, each in offload.items() if not each["active"]]
    return ", ".join([" ".join(on), *off] if on else off)


def library_text(interface: Document) -> str:
    """`openssl 3.0.19 (ipsec-mb: why it is not that)`"""
    reason = f" ({interface['library_reason']})" if interface["library_reason"] else ""
    return f"{interface['library']} {interface['library_version']}{reason}"


def peer_block(peer: Document, now: float, color: bool = False) -> str:
    """As `wg show` has it, with the paths."""
    state = f"{COLORS.get(peer['state'], '')}{safe(peer['state'])}{PLAIN}" if color else safe(peer["state"])
    handshake, received = peer["last_handshake_timestamp_seconds"], peer["last_receive_timestamp_seconds"]
    transfer = f"{bytes_text(peer['receive_bytes'])} received, {bytes_text(peer['transmit_bytes'])} sent"
    keepalive, since = peer["keepalive_seconds"], peer["state_since_timestamp_seconds"]
    reason = f" ({safe(peer['transport_reason'])})" if peer["transport_reason"] else ""
    resolved = peer["resolved_timestamp_seconds"]
    shown_resolved = f" (resolved {_since(resolved, now)})" if resolved is not None else ""
    return _block(
        f"peer: {safe(peer['name'])}",
        (
            ("state", state if since is None else f"{state} for {span_text(now - since)}"),
            ("public key", safe(peer["public_key"])),
            ("endpoint", safe(peer["endpoint"]) + shown_resolved if peer["endpoint"] else None),
            ("transport", safe(peer["transport"]) + reason),
            ("allowed ips", safe(", ".join(peer["allowed_ips"])) or "(none)"),
            ("latest handshake", age_text(now - handshake) if handshake is not None else None),
            ("last received", age_text(now - received) if received is not None else None),
            ("transfer", transfer),
            ("keepalive", f"every {keepalive:g} seconds" if keepalive else "off"),
            *((f"path {safe(path['name'])}", path_line(path)) for path in peer["paths"]),
        ),
    )


def path_line(path: Document) -> str:
    reason = f" ({safe(path['reason'])})" if path["reason"] else ""
    parts = [safe(path["state"]) + reason]
    if path["remote"]:
        parts.append(
            f"{safe(path['local'])} > {safe(path['remote'])}" if path["local"] else safe(path["remote"])
        )
    if path["rtt_seconds"] is not None:
        parts.append(f"rtt {rtt_text(path['rtt_seconds'])}")
    kind = path["repair_regime"] if path["repair_regime"] != "clean" else None
    parts.append(f"loss {ratio_text(path['loss_ratio'])}" + (f" ({safe(kind)})" if kind else ""))
    parts.append(f"mtu {path['mtu_bytes']}")
    return ", ".join(parts)


def _block(title: str, pairs: Iterable[tuple[str, str | None]]) -> str:
    return title + "\n" + "".join(f"  {name}: {text}\n" for name, text in pairs if text is not None)


def plane_text(plane: Document) -> str:
    numbers = {name: value for name, value in plane.items() if name not in ("class_packets", "drops")}
    width = max(map(len, numbers), default=0)
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in numbers.items())


def stages_text(stages: Sequence[Document]) -> str:
    """Where the time of the packet path goes: its stages in order, from those turns that were timed."""
    total_ns = sum(stage["ns"] for stage in stages) or 1
    rows = [("PATH", "STAGE", "PACKETS", "NS/PACKET", "SHARE")]
    for stage in stages:
        each = f"{stage['ns'] / stage['packets']:.0f}" if stage["packets"] else "-"
        share = ratio_text(stage["ns"] / total_ns)
        rows.append((safe(stage["path"]), safe(stage["stage"]), str(stage["packets"]), each, share))
    return "\n".join(table(rows, False)) + "\n"


def compression_text(found: Document) -> str:
    """What headers and payloads cost, before and after; sent, and for headers received."""
    lines = [f"headers: {found['headers']}, {found['flows']} flows per peer, {found['setups']} set up"]
    rows = [("PROFILE", "PACKETS", "HEADER", "CODED", "WHOLE", "RESTORED")]
    for profile, packets in found["header_packets"].items():
        sums = found["header_bytes"][profile], found["coded_bytes"][profile]
        before, after = (f"{total / packets:.2f}" if packets else "-" for total in sums)
        whole, restored = found["whole_packets"][profile], found["restored_packets"][profile]
        rows.append((safe(profile), str(packets), before, after, str(whole), str(restored)))
    lines += [f"  {line}" for line in table(rows, False)]
    lines.append(f"  not looked at (too many at once, no room, path too near): {found['passed_packets']}")
    taken = "taken" if found["accept_payload"] else "refused"
    lines.append(f"payloads: {found['payload_rules']} rules, those of peers are {taken}")
    payloads = [("DICTIONARY", "PACKETS", "PAYLOAD", "SENT")]
    for dictionary, packets in found["payload_packets"].items():
        sums = found["payload_bytes"][dictionary], found["pressed_bytes"][dictionary]
        payloads.append((safe(dictionary), str(packets), str(sums[0]), str(sums[1])))
    lines += [f"  {line}" for line in table(payloads, False)]
    lines.append(f"  did not shrink: {found['payload_misses']}; restored: {found['payloads_restored']}")
    said = ", ".join(f"{safe(name)} {count}" for name, count in found["verdicts"].items())
    reason = f" ({safe(found['oracle_reason'])})" if found["oracle_reason"] else ""
    lines.append(f"oracle: {found['oracle']}{reason}")
    lines.append(f"  {said}; {found['looked_packets']} looked at")
    return "\n".join(lines) + "\n"


def drops_text(drops: Mapping[str, Mapping[str, int]]) -> str:
    """Those that happened, most frequent first."""
    rows = [(d, reason, str(count)) for d, reason, count in drop_rows(drops) if count]
    if not rows:
        return "nothing was dropped\n"
    rows.sort(key=lambda row: -int(row[2]))
    return "\n".join(table([("DIRECTION", "REASON", "PACKETS"), *rows], False)) + "\n"


def drop_rows(drops: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    return [(d, reason, count) for d, reasons in drops.items() for reason, count in reasons.items()]


# ---- for programs ----


def dump_line(values: Iterable[Any]) -> str:
    return "\t".join(dump_cell(value) for value in values) + "\n"


def dump_cell(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (list, tuple)):
        return ",".join(map(dump_cell, value))
    if isinstance(value, dict):
        return ",".join(f"{name}={dump_cell(each)}" for name, each in value.items())
    return safe(value)


def peer_dump(peer: Document) -> str:
    return dump_line(peer[name] for name in PEER_DUMP)


def path_dump(path: Document) -> str:
    return dump_line(path[name] for name in PATH_DUMP)
