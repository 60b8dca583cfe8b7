"""Prometheus: the status document as exposition text, and a small HTTP server for it.

Names, units and meanings stand in one table, METRICS, from which docs/metrics.md is made. A scrape
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
from dataclasses import dataclass
from typing import Any

from oxidized.config_kinds import host_port
from oxidized.errors import Exit
from oxidized.io.failure import StartError, is_permission
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


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. `labels` come after `interface`, which all but the process have."""

    name: str
    kind: str  # "counter", "gauge"
    help: str
    labels: tuple[str, ...] = ()


_PEER = ("peer",)
_PATH = ("peer", "path")
_DIRECTION = ("direction",)

METRICS: tuple[Metric, ...] = (
    Metric("oxidized_build_info", "gauge", "1; the version that runs.", ("version",)),
    Metric(
        "oxidized_interface_info",
        "gauge",
        "1; what this end is. The key's first 8 characters.",
        ("role", "suite", "library", "library_version", "public_key"),
    ),
    Metric("oxidized_interface_mtu_bytes", "gauge", "Largest inner packet."),
    Metric("oxidized_peers", "gauge", "Configured peers by state.", ("state",)),
    Metric("oxidized_peer_up", "gauge", "1 while the peer answers.", _PEER),
    Metric("oxidized_peer_expected", "gauge", "1 when the peer is enabled and so ought to be up.", _PEER),
    Metric(
        "oxidized_peer_info",
        "gauge",
        "1; text about the peer. The key's first 8 characters.",
        ("peer", "public_key", "transport", "endpoint"),
    ),
    Metric(
        "oxidized_peer_last_handshake_timestamp_seconds",
        "gauge",
        "When keys were last agreed on; absent: never.",
        _PEER,
    ),
    Metric(
        "oxidized_peer_last_receive_timestamp_seconds",
        "gauge",
        "When an authentic packet last came; absent: never.",
        _PEER,
    ),
    Metric("oxidized_peer_receive_bytes_total", "counter", "Inner bytes delivered from the peer.", _PEER),
    Metric("oxidized_peer_transmit_bytes_total", "counter", "Inner bytes sent to the peer.", _PEER),
    Metric("oxidized_peer_receive_packets_total", "counter", "Inner packets delivered from the peer.", _PEER),
    Metric("oxidized_peer_transmit_packets_total", "counter", "Inner packets sent to the peer.", _PEER),
    Metric("oxidized_peer_rekeys_total", "counter", "Keys replaced within sessions.", _PEER),
    Metric(
        "oxidized_handshakes_total",
        "counter",
        "Handshakes with the peer by result: completed, failed (no answer), rejected (refused by one end).",
        ("peer", "result"),
    ),
    Metric(
        "oxidized_path_state", "gauge", "1 for the state the path is in, 0 for the others.", (*_PATH, "state")
    ),
    Metric("oxidized_path_rtt_seconds", "gauge", "Smoothed round-trip time; absent: not known.", _PATH),
    Metric("oxidized_path_rtt_variation_seconds", "gauge", "Mean deviation of it (RFC 9002).", _PATH),
    Metric("oxidized_path_rtt_min_seconds", "gauge", "Smallest round-trip time seen.", _PATH),
    Metric(
        "oxidized_path_mtu_bytes",
        "gauge",
        "Largest inner packet sent on this path, as the search for its MTU stands.",
        _PATH,
    ),
    Metric("oxidized_path_sent_packets_total", "counter", "Datagrams sent.", _PATH),
    Metric("oxidized_path_sent_bytes_total", "counter", "Bytes of UDP payload sent.", _PATH),
    Metric("oxidized_path_received_packets_total", "counter", "Authentic datagrams received.", _PATH),
    Metric("oxidized_path_received_bytes_total", "counter", "Bytes of UDP payload received in them.", _PATH),
    Metric("oxidized_path_acked_packets_total", "counter", "Datagrams the peer said it received.", _PATH),
    Metric(
        "oxidized_path_lost_packets",
        "gauge",
        "Datagrams the peer passed over since the session began, probes of the MTU among them. A late "
        "one is taken back, so it may fall.",
        _PATH,
    ),
    Metric("oxidized_path_late_packets_total", "counter", "Datagrams received out of order.", _PATH),
    Metric(
        "oxidized_inner_packets_total",
        "counter",
        "Packets of users, read from or written to the TUN.",
        _DIRECTION,
    ),
    Metric("oxidized_inner_bytes_total", "counter", "Their bytes.", _DIRECTION),
    Metric("oxidized_inner_sent_packets_total", "counter", "Packets of users sent inside a datagram."),
    Metric("oxidized_inner_found_packets_total", "counter", "Packets of users found in authentic datagrams."),
    Metric("oxidized_inner_held_packets", "gauge", "Packets of users in the daemon now.", _DIRECTION),
    Metric(
        "oxidized_inner_handed_packets_total",
        "counter",
        "Packets of users that one worker read and another sends; and those that the other has taken.",
        ("step",),
    ),
    Metric(
        "oxidized_bundled_packets_total",
        "counter",
        "Packets of users that shared a datagram with others.",
        _DIRECTION,
    ),
    Metric(
        "oxidized_header_packets_total",
        "counter",
        "Packets of users whose header was compressed, or would have been: result is coded or whole.",
        ("profile", "result"),
    ),
    Metric(
        "oxidized_header_bytes_total",
        "counter",
        "Bytes of the headers that were compressed: as they were, and as they were sent.",
        ("profile", "form"),
    ),
    Metric("oxidized_header_setups_total", "counter", "Headers sent in full to make a context known."),
    Metric(
        "oxidized_header_passed_packets_total",
        "counter",
        "Packets whose header was not looked at: too many at once, no room to grow, or a path too near.",
    ),
    Metric("oxidized_header_restored_packets_total", "counter", "Headers restored.", ("profile",)),
    Metric(
        "oxidized_payload_packets_total",
        "counter",
        "Packets of users whose payload was compressed.",
        ("dictionary",),
    ),
    Metric(
        "oxidized_payload_bytes_total",
        "counter",
        "Bytes of those payloads: as they were, and as they were sent.",
        ("dictionary", "form"),
    ),
    Metric("oxidized_payload_misses_total", "counter", "Payloads that did not shrink enough."),
    Metric("oxidized_payload_restored_total", "counter", "Payloads restored."),
    Metric(
        "oxidized_oracle_verdicts_total",
        "counter",
        "What the compression oracle said of packets that may be compressed.",
        ("verdict",),
    ),
    Metric("oxidized_oracle_model_active", "gauge", "1: the oracle goes by its model, 0: by the heuristic."),
    Metric("oxidized_bundles_total", "counter", "Datagrams sent that carry several packets of users."),
    Metric("oxidized_outer_datagrams_total", "counter", "Datagrams sent and received.", _DIRECTION),
    Metric("oxidized_outer_bytes_total", "counter", "Their UDP payload.", _DIRECTION),
    Metric("oxidized_opened_datagrams_total", "counter", "Datagrams received that proved authentic."),
    Metric("oxidized_control_datagrams_total", "counter", "QUIC datagrams received."),
    Metric(
        "oxidized_own_datagrams_total",
        "counter",
        "Datagrams sent that carry no packet of a user (acknowledgements, probes, keepalives).",
    ),
    Metric("oxidized_own_dropped_datagrams_total", "counter", "Those that could not be sent."),
    Metric(
        "oxidized_own_inner_packets_total",
        "counter",
        "Packets of our own written to the TUN: ICMP answers to what is too big for the path.",
    ),
    Metric("oxidized_own_inner_dropped_packets_total", "counter", "Those that could not be written."),
    Metric(
        "oxidized_dropped_packets_total",
        "counter",
        "Packets that ended otherwise than sent or delivered, by reason (listed below). Directions: transmit "
        "(packets of users), receive_datagram (what came from the network), receive (packets found in it).",
        ("direction", "reason"),
    ),
    Metric(
        "oxidized_kernel_receive_drops_total",
        "counter",
        "Datagrams lost because the UDP buffer was full; the kernel counts a train of them once.",
    ),
    Metric(
        "oxidized_lost_events_total", "counter", "Reports of the packet path that the control plane missed."
    ),
    Metric(
        "oxidized_offload_active",
        "gauge",
        "1 while the kernel takes and gives in one piece: TCP and UDP super-packets at the TUN (tso, uso), "
        "trains to and from the sockets (gso, gro).",
        ("offload",),
    ),
    Metric("oxidized_tun_reads_total", "counter", "Packets and super-packets read from the TUN."),
    Metric("oxidized_tun_writes_total", "counter", "Packets and super-packets written to the TUN."),
    Metric(
        "oxidized_tun_refused_supers_total",
        "counter",
        "Super-packets the TUN refused; their packets were then written one by one.",
    ),
    Metric("oxidized_udp_sends_total", "counter", "Datagrams and trains handed to the sockets."),
    Metric("oxidized_udp_reads_total", "counter", "Datagrams and trains taken from the sockets."),
    Metric(
        "oxidized_udp_refused_trains_total",
        "counter",
        "Trains the kernel refused; their datagrams were then sent one by one.",
    ),
    Metric(
        "oxidized_udp_train_trials_total",
        "counter",
        "Times that a path on which trains were lost went without for a while, to see whether more arrives.",
    ),
    Metric(
        "oxidized_udp_trains_lost_paths_total",
        "counter",
        "Paths that go without trains for good: a device on the way takes them and loses their datagrams. "
        "With most paths found so, gso is given up.",
    ),
    Metric(
        "oxidized_stage_packets_total",
        "counter",
        "Packets that went through a stage of the packet path while its time was taken: one turn in 64.",
        ("path", "stage"),
    ),
    Metric("oxidized_stage_seconds_total", "counter", "The time it took for them.", ("path", "stage")),
    Metric("oxidized_pool_free_packets", "gauge", "Free packet buffers."),
    Metric("oxidized_datapath_memory_bytes", "gauge", "Memory of the packet path, all taken at start."),
    Metric("oxidized_watchdog_heartbeats_total", "counter", "Turns of the packet path's loop."),
    Metric(
        "oxidized_control_events_total",
        "counter",
        "What the control plane refused or had to do, by reason (listed below).",
        ("reason",),
    ),
    Metric("oxidized_config_last_reload_successful", "gauge", "1 when all of the last reload was applied."),
    Metric(
        "oxidized_config_last_reload_timestamp_seconds", "gauge", "When it was; absent: none since start."
    ),
    Metric("oxidized_health_messages", "gauge", "Lines that `oxidized-ctl status` shows under Health."),
    Metric("process_start_time_seconds", "gauge", "When the daemon was started."),
    Metric("process_resident_memory_bytes", "gauge", "Resident memory."),
    Metric("process_cpu_seconds_total", "counter", "User and system time of all threads."),
    Metric("process_open_fds", "gauge", "Open file descriptors."),
)
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
    ("oxidized_pool_free_packets", (), "pool_free_pkts"),
    ("oxidized_datapath_memory_bytes", (), "memory_bytes"),
    ("oxidized_watchdog_heartbeats_total", (), "heartbeats"),
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


def _add_plane(page: _Page, plane: Mapping[str, Any]) -> None:
    for name, labels, field in _PLANE:
        page.add(name, plane[field], *labels)
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
