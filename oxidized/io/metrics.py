"""Prometheus: the status document as exposition text, and a small HTTP server for it.

Names, units and meanings stand in one table (metrics_table.py), from which docs/metrics.md is made. A scrape
reads the same snapshot of counters as `oxidized-ctl status`; it never touches the packet path. How many
series there are depends on the configuration alone, never on what a peer sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oxidized.config_kinds import host_port
from oxidized.core.plane import Regime
from oxidized.errors import Exit
from oxidized.io.failure import StartError, is_permission
from oxidized.io.metrics_table import METRICS
from oxidized.limits import (
    METRICS_CLIENTS_MAX,
    METRICS_PEERS_MAX,
    METRICS_REQUEST_BYTES_MAX,
    METRICS_REQUEST_S,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATH_STATES = ("up", "degraded", "down")
PEER_STATES = ("up", "connecting", "resolving", "silent", "down", "disabled")
KEY_CHARS_SHOWN = 8

_BY_NAME = {metric.name: metric for metric in METRICS}
# Above METRICS_PEERS_MAX peers only these are told of each peer.
_OF_EVERY_PEER = ("oxidized_peer_up", "oxidized_peer_expected")

_PEER_COUNTERS = ("receive_bytes", "transmit_bytes", "receive_packets", "transmit_packets", "rekeys")
_PATH_COUNTERS = (
    "sent_packets",
    "sent_bytes",
    "received_packets",
    "received_bytes",
    "acked_packets",
    "late_packets",
)
_PATH_GAUGES = ("rtt_seconds", "rtt_variation_seconds", "rtt_min_seconds", "mtu_bytes", "lost_packets")

# metric, labels after `interface`, field of "plane" in the status document
_PLANE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("oxidized_inner_packets_total", ("transmit",), "inner_in_packets"),
    ("oxidized_inner_packets_total", ("receive",), "inner_out_packets"),
    ("oxidized_inner_bytes_total", ("transmit",), "inner_in_bytes"),
    ("oxidized_inner_bytes_total", ("receive",), "inner_out_bytes"),
    ("oxidized_inner_sent_packets_total", (), "inner_sent_packets"),
    ("oxidized_inner_found_packets_total", (), "found_packets"),
    ("oxidized_inner_held_packets", ("transmit",), "inner_held_packets"),
    ("oxidized_inner_held_packets", ("receive",), "deliver_held_packets"),
    ("oxidized_inner_handed_packets_total", ("handed",), "inner_handed_packets"),
    ("oxidized_inner_handed_packets_total", ("taken",), "inner_taken_over_packets"),
    ("oxidized_bundled_packets_total", ("transmit",), "bundled_out_packets"),
    ("oxidized_bundled_packets_total", ("receive",), "bundled_in_packets"),
    ("oxidized_class_changes_total", (), "class_changes"),
    ("oxidized_bundles_total", (), "bundles_out"),
    ("oxidized_outer_datagrams_total", ("transmit",), "outer_out_datagrams"),
    ("oxidized_outer_datagrams_total", ("receive",), "outer_in_datagrams"),
    ("oxidized_outer_bytes_total", ("transmit",), "outer_out_bytes"),
    ("oxidized_outer_bytes_total", ("receive",), "outer_in_bytes"),
    ("oxidized_opened_datagrams_total", (), "opened_datagrams"),
    ("oxidized_control_datagrams_total", (), "control_in_datagrams"),
    ("oxidized_own_datagrams_total", (), "own_out_datagrams"),
    ("oxidized_own_dropped_datagrams_total", (), "own_dropped_datagrams"),
    ("oxidized_own_inner_packets_total", (), "own_inner_packets"),
    ("oxidized_own_inner_dropped_packets_total", (), "own_inner_dropped_packets"),
    ("oxidized_kernel_receive_drops_total", (), "kernel_receive_drops"),
    ("oxidized_lost_events_total", (), "lost_events"),
    ("oxidized_tun_reads_total", (), "tun_reads"),
    ("oxidized_tun_writes_total", (), "tun_writes"),
    ("oxidized_tun_refused_supers_total", (), "tun_refused_supers"),
    ("oxidized_udp_sends_total", (), "udp_sends"),
    ("oxidized_udp_reads_total", (), "udp_reads"),
    ("oxidized_udp_refused_trains_total", (), "udp_refused_trains"),
    ("oxidized_udp_train_trials_total", (), "udp_train_trials"),
    ("oxidized_udp_trains_lost_paths_total", (), "udp_trains_lost_paths"),
    ("oxidized_order_waiting_packets", (), "order_waiting_packets"),
    ("oxidized_order_held_packets_total", (), "order_held_packets"),
    ("oxidized_order_packets_total", ("filled",), "order_filled_packets"),
    ("oxidized_order_packets_total", ("resolved",), "order_resolved_packets"),
    ("oxidized_order_packets_total", ("timeout",), "order_timeout_packets"),
    ("oxidized_order_packets_total", ("full",), "order_full_packets"),
    ("oxidized_order_lost_holes_total", (), "order_lost_holes"),
    ("oxidized_pool_free_packets", (), "pool_free_pkts"),
    ("oxidized_datapath_memory_bytes", (), "memory_bytes"),
    ("oxidized_watchdog_heartbeats_total", (), "heartbeats"),
)

# result or kind, field of "repair" in the status document
_REPAIR_BY_CLASS = (
    ("kept", "kept_packets"),
    ("lost", "lost_packets"),
    ("repaired", "repaired_packets"),
    ("in_vain", "vain_packets"),
    ("too_late", "too_late_packets"),
    ("over_budget", "over_budget_packets"),
    ("left_to_code", "left_to_code_packets"),
)
_REPAIR_SENT = (("repeat", "repeats_out"), ("code", "codes_out"))
_REPAIR_NOT = (
    ("congestion", "congestion_packets"),
    ("crowded", "crowded_packets"),
    ("unsent", "unsent_packets"),
)
_REPAIR_IN = (
    ("repeat", "repeats_in"),
    ("restored", "restored_in"),
    ("known", "known_in"),
    ("code", "codes_in"),
    ("undecoded", "undecoded_in"),
    ("decoded", "decoded_in"),
    ("abandoned", "abandoned_in"),
)


class _Page:
    """Samples by family, in the order of METRICS."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._samples: dict[str, list[str]] = {metric.name: [] for metric in METRICS}

    def add(self, name: str, value: float | bool | None, *labels: str) -> None:
        """None is not known, and so no sample."""
        if value is None:
            return
        names = _BY_NAME[name].labels
        assert len(names) == len(labels), name
        pairs = list(zip(names, labels, strict=True))
        if not name.startswith("process_"):
            pairs.insert(0, ("interface", self._interface))
        text = ",".join(f'{label}="{_escape(each)}"' for label, each in pairs)
        number = repr(float(value)) if isinstance(value, float) else str(int(value))
        self._samples[name].append(f"{name}{{{text}}} {number}" if text else f"{name} {number}")

    def text(self) -> str:
        lines: list[str] = []
        for metric in METRICS:
            if samples := self._samples[metric.name]:
                lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
                lines += samples
        return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def render(status: Mapping[str, Any], peers_max: int = METRICS_PEERS_MAX) -> str:
    """Exposition text of a status document; above `peers_max` peers only aggregates and who is up."""
    interface = status["interface"]
    page = _Page(interface["name"])
    page.add("oxidized_build_info", 1, status["version"])
    key = _key_short(interface["public_key"])
    facts = [interface[name] for name in ("role", "suite", "library", "library_version")]
    page.add("oxidized_interface_info", 1, *facts, key)
    page.add("oxidized_interface_mtu_bytes", interface["mtu_bytes"])
    _add_peers(page, status["peers"], peers_max)
    _add_plane(page, status["plane"])
    _add_compression(page, status["compression"])
    _add_repair(page, status["repair"])
    for offload, each in status["offload"].items():
        page.add("oxidized_offload_active", each["active"], offload)
    for stage in status["stages"]:
        page.add("oxidized_stage_packets_total", stage["packets"], stage["path"], stage["stage"])
        page.add("oxidized_stage_seconds_total", stage["ns"] / 1e9, stage["path"], stage["stage"])
    for reason, count in status["control"].items():
        page.add("oxidized_control_events_total", count, reason)
    page.add("oxidized_config_last_reload_successful", bool(status["config"]["last_reload_successful"]))
    reload_seconds = status["config"]["last_reload_timestamp_seconds"]
    page.add("oxidized_config_last_reload_timestamp_seconds", reload_seconds)
    page.add("oxidized_health_messages", len(status["health"]))
    page.add("process_start_time_seconds", status["start_timestamp_seconds"])
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds"):
        page.add(f"process_{name}", status["process"][name])
    return page.text()


def _key_short(public_key: str) -> str:
    return public_key.partition(":")[2][:KEY_CHARS_SHOWN]


def _add_peers(page: _Page, peers: list[Mapping[str, Any]], peers_max: int) -> None:
    states = dict.fromkeys(PEER_STATES, 0)
    for peer in peers:
        states[peer["state"]] += 1
        page.add("oxidized_peer_up", peer["state"] == "up", peer["name"])
        page.add("oxidized_peer_expected", bool(peer["expected"]), peer["name"])
        if len(peers) <= peers_max:
            _add_peer(page, peer)
    for state, count in states.items():
        page.add("oxidized_peers", count, state)


def _add_peer(page: _Page, peer: Mapping[str, Any]) -> None:
    name = peer["name"]
    key = _key_short(peer["public_key"])
    page.add("oxidized_peer_info", 1, name, key, peer["transport"], peer["endpoint"] or "")
    for moment in ("last_handshake_timestamp_seconds", "last_receive_timestamp_seconds"):
        page.add(f"oxidized_peer_{moment}", peer[moment], name)
    for counter in _PEER_COUNTERS:
        page.add(f"oxidized_peer_{counter}_total", peer[counter], name)
    for result, count in peer["handshakes"].items():
        page.add("oxidized_handshakes_total", count, name, result)
    for path in peer["paths"]:
        for state in PATH_STATES:
            page.add("oxidized_path_state", path["state"] == state, name, path["name"], state)
        for gauge in _PATH_GAUGES:
            page.add(f"oxidized_path_{gauge}", path[gauge], name, path["name"])
        for counter in _PATH_COUNTERS:
            page.add(f"oxidized_path_{counter}_total", path[counter], name, path["name"])
        page.add("oxidized_path_repair_loss_ratio", path["repair_loss_ratio"], name, path["name"])
        for regime in Regime if path["repair_regime"] else ():
            is_in = path["repair_regime"] == regime.name.lower()
            page.add("oxidized_path_repair_regime", is_in, name, path["name"], regime.name.lower())


def _add_compression(page: _Page, found: Mapping[str, Any]) -> None:
    for profile in found["header_packets"]:
        for result, field in (("coded", "header_packets"), ("whole", "whole_packets")):
            page.add("oxidized_header_packets_total", found[field][profile], profile, result)
        for form, field in (("before", "header_bytes"), ("after", "coded_bytes")):
            page.add("oxidized_header_bytes_total", found[field][profile], profile, form)
        page.add("oxidized_header_restored_packets_total", found["restored_packets"][profile], profile)
    for dictionary, packets in found["payload_packets"].items():
        page.add("oxidized_payload_packets_total", packets, dictionary)
        for form, field in (("before", "payload_bytes"), ("after", "pressed_bytes")):
            page.add("oxidized_payload_bytes_total", found[field][dictionary], dictionary, form)
    for verdict, packets in found["verdicts"].items():
        page.add("oxidized_oracle_verdicts_total", packets, verdict)
    page.add("oxidized_header_setups_total", found["setups"])
    page.add("oxidized_header_passed_packets_total", found["passed_packets"])
    page.add("oxidized_payload_misses_total", found["payload_misses"])
    page.add("oxidized_payload_restored_total", found["payloads_restored"])
    page.add("oxidized_oracle_model_active", found["oracle"] == "model")


def _add_repair(page: _Page, found: Mapping[str, Any]) -> None:
    for metric, rows in (
        ("oxidized_repair_packets_total", _REPAIR_BY_CLASS),
        ("oxidized_repair_sent_total", _REPAIR_SENT),
    ):
        for label, field in rows:
            for traffic_class, packets in found[field].items():
                page.add(metric, packets, traffic_class, label)
    for reason, field in _REPAIR_NOT:
        page.add("oxidized_repair_unrepaired_packets_total", found[field], reason)
    for kind, field in _REPAIR_IN:
        page.add("oxidized_repair_received_total", found[field], kind)
    page.add("oxidized_repair_overhead_ratio_max", found["max_overhead_ratio"], "timed")
    page.add("oxidized_repair_overhead_ratio_max", found["max_overhead_bulk_ratio"], "bulk")
    predictor = found["predictor"]
    page.add("oxidized_loss_predictor_info", 1, predictor["mode"], predictor["active"])
    page.add("oxidized_loss_predictor_steps_total", predictor["steps"])
    for reason, steps in predictor["fallbacks"].items():
        page.add("oxidized_loss_predictor_fallbacks_total", steps, reason)


def _add_plane(page: _Page, plane: Mapping[str, Any]) -> None:
    for name, labels, field in _PLANE:
        page.add(name, plane[field], *labels)
    for traffic_class, packets in plane["class_packets"].items():
        page.add("oxidized_class_packets_total", packets, traffic_class)
    for direction, reasons in plane["drops"].items():
        for reason, count in reasons.items():
            page.add("oxidized_dropped_packets_total", count, direction, reason)


# ---- HTTP ----


class MetricsServer:
    """Serves `GET /metrics` on a loopback port or a unix socket; one request per connection."""

    def __init__(self, page: Callable[[], str]) -> None:
        self._page = page
        self._where = ""
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def listen(self, where: str) -> None:
        """Serve at `where` ("" nowhere, "127.0.0.1:PORT", "unix:/path") and no more where it was before.

        Raises StartError when that can not be; then all is as before.
        """
        if where == self._where:
            return
        server = None
        if where:
            try:
                listener = _listener(where)
            except OSError as error:
                code = Exit.PERMISSION if is_permission(error) else Exit.FAILURE
                raise StartError(f"control.metrics {where}: {os.strerror(error.errno or 0)}", code) from None
            server = await asyncio.start_server(self._serve, sock=listener, limit=METRICS_REQUEST_BYTES_MAX)
        await self.close()
        self._server, self._where = server, where

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            if self._where.startswith("unix:"):
                with contextlib.suppress(OSError):
                    os.unlink(self._where.removeprefix("unix:"))
        for client in list(self._clients):
            client.cancel()
        self._server, self._where = None, ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > METRICS_CLIENTS_MAX:
                writer.write(_response("503 Service Unavailable", "too many scrapes at once\n"))
            else:
                async with asyncio.timeout(METRICS_REQUEST_S):
                    writer.write(await self._answer(reader))
            async with asyncio.timeout(METRICS_REQUEST_S):
                await writer.drain()
        except (TimeoutError, ConnectionError):
            writer.transport.abort()
        except asyncio.CancelledError:
            # Only `close` cancels us, and asyncio's streams take a cancelled client for an error.
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response("431 Request Header Fields Too Large", "")
        except asyncio.IncompleteReadError:
            return _response("400 Bad Request", "")
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response("400 Bad Request", "")
        method, target = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "", ("Allow: GET, HEAD",))
        if target == b"/":
            return _response("200 OK", "oxidized: see /metrics\n", is_head=method == b"HEAD")
        if target != b"/metrics":
            return _response("404 Not Found", "see /metrics\n")
        return _response("200 OK", self._page(), is_head=method == b"HEAD")


def _response(status: str, body: str, headers: Iterable[str] = (), *, is_head: bool = False) -> bytes:
    content = body.encode()
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(content)}",
        *headers,
    ]
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
    return head if is_head else head + content


def _listener(where: str) -> socket.socket:
    """Bound and listening. Raises OSError."""
    if where.startswith("unix:"):
        return _listener_unix(where.removeprefix("unix:"))
    host, port = host_port(where)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(METRICS_CLIENTS_MAX)
    except OSError:
        listener.close()
        raise
    return listener


def _listener_unix(path: str) -> socket.socket:
    """A socket left behind by a daemon that was killed is replaced; anything else is not."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode) and not _answers(path):
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o660)
        listener.listen(METRICS_CLIENTS_MAX)
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: str) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
