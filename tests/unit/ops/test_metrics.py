"""The exposition: Prometheus' own parser reads it, names follow the rules, and its size has a bound."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from oxidized.errors import Exit
from oxidized.io import metrics
from oxidized.io.failure import StartError
from oxidized.io.metrics_table import METRICS
from oxidized.limits import METRICS_CLIENTS_MAX
from tests.unit.ops.samples import path_document, peer_document, status_document

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def families(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    if not name.startswith("process_"):
        labels["interface"] = "oxd0"
    return samples(text).get((name, frozenset(labels.items())))


def test_values_of_the_sample() -> None:
    text = metrics.render(status_document())
    expected = [
        (1.0, "oxidized_peer_up", {"peer": "hub"}),
        (0.0, "oxidized_peer_up", {"peer": "lab"}),
        (1.0, "oxidized_peer_expected", {"peer": "lab"}),
        (1.0, "oxidized_peers", {"state": "connecting"}),
        (0.0, "oxidized_peers", {"state": "silent"}),
        (1_288_490_189.0, "oxidized_peer_receive_bytes_total", {"peer": "hub"}),
        (1_795_168_118.0, "oxidized_peer_last_handshake_timestamp_seconds", {"peer": "hub"}),
        (None, "oxidized_peer_last_handshake_timestamp_seconds", {"peer": "lab"}),
        (2.0, "oxidized_handshakes_total", {"peer": "hub", "result": "completed"}),
        (0.0142, "oxidized_path_rtt_seconds", {"peer": "hub", "path": "default"}),
        (1.0, "oxidized_path_state", {"peer": "hub", "path": "default", "state": "up"}),
        (0.0, "oxidized_path_state", {"peer": "hub", "path": "default", "state": "down"}),
        (1.0, "oxidized_offload_active", {"offload": "tso"}),
        (0.0, "oxidized_offload_active", {"offload": "gro"}),
        (2_000.0, "oxidized_stage_packets_total", {"path": "in", "stage": "open"}),
        (0.0007, "oxidized_stage_seconds_total", {"path": "in", "stage": "open"}),
        (10.0, "oxidized_dropped_packets_total", {"direction": "transmit", "reason": "no-route"}),
        (0.0, "oxidized_dropped_packets_total", {"direction": "receive_datagram", "reason": "replayed"}),
        (3.0, "oxidized_control_events_total", {"reason": "knock-bad"}),
        (500_010.0, "oxidized_inner_packets_total", {"direction": "transmit"}),
        (1_000_000.0, "oxidized_inner_packets_total", {"direction": "receive"}),
        (1.0, "oxidized_config_last_reload_successful", {}),
        (None, "oxidized_config_last_reload_timestamp_seconds", {}),
        (50_000_000.0, "process_resident_memory_bytes", {}),
        (90.0, "oxidized_repair_packets_total", {"class": "bulk", "result": "lost"}),
        (25.0, "oxidized_repair_sent_total", {"class": "gaming", "kind": "code"}),
        (5.0, "oxidized_repair_unrepaired_packets_total", {"reason": "congestion"}),
        (8.0, "oxidized_repair_received_total", {"kind": "decoded"}),
        (0.15, "oxidized_repair_overhead_ratio_max", {"group": "bulk"}),
        (0.0123, "oxidized_path_repair_loss_ratio", {"peer": "hub", "path": "default"}),
        (1.0, "oxidized_path_repair_regime", {"peer": "hub", "path": "default", "regime": "bursty"}),
        (0.0, "oxidized_path_repair_regime", {"peer": "hub", "path": "default", "regime": "clean"}),
        (1.0, "oxidized_loss_predictor_info", {"mode": "auto", "active": "ge"}),
        (17.0, "oxidized_loss_predictor_fallbacks_total", {"reason": "late"}),
        (1.0, "oxidized_build_info", {"version": "0.1.0"}),
        (
            1.0,
            "oxidized_peer_info",
            {"peer": "hub", "public_key": "AAAAAAAA", "transport": "udp", "endpoint": "203.0.113.9:443"},
        ),
    ]
    assert [(value(text, name, **labels), name, labels) for _, name, labels in expected] == expected


def test_names_and_types_follow_the_rules() -> None:
    parsed = {family.name: family for family in families(metrics.render(status_document()))}
    for metric in METRICS:
        assert metric.name.startswith(("oxidized_", "process_")) and metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not metric.name.endswith(("_ms", "_kb", "_age", "_percent", "_ns"))
        family = parsed.get(metric.name.removesuffix("_total"))
        assert family is None or family.type == metric.kind


def test_every_metric_of_the_table_is_sent() -> None:
    status = status_document()
    status["config"]["last_reload_timestamp_seconds"] = 1.5
    text = metrics.render(status)
    assert [metric.name for metric in METRICS if f"\n{metric.name}" not in "\n" + text] == []


def test_every_scalar_of_the_plane_is_sent() -> None:
    """A counter that C grows must come here, or it is not seen by anybody."""
    scalars = set(status_document()["plane"]) - {"class_packets", "drops", "offload"}  # sent one by one
    assert scalars == {field for _, _, field in metrics._PLANE}


def test_every_counter_of_repair_is_sent() -> None:
    from oxidized.ffi.dataplane import DataPlane

    plane = DataPlane()
    try:
        found = plane.repair_stats()
    finally:
        plane.close()
    rows = (metrics._REPAIR_BY_CLASS, metrics._REPAIR_SENT, metrics._REPAIR_NOT, metrics._REPAIR_IN)
    assert set(found) == {field for table in rows for _, field in table}
    sample = status_document()["repair"]
    assert all(type(value) is type(sample[name]) for name, value in found.items())


def test_status_document_of_the_tests_has_the_fields_of_the_core() -> None:
    from oxidized.ffi.dataplane import DataPlane

    plane = DataPlane()
    try:
        found = plane.stats()
    finally:
        plane.close()
    assert set(found) == set(status_document()["plane"])
    assert set(found["drops"]) == set(status_document()["plane"]["drops"])


def test_labels_are_escaped() -> None:
    odd = 'a\\b"c\nd'
    text = metrics.render(status_document(peers=[peer_document(transport=odd)]))
    assert (
        value(
            text,
            "oxidized_peer_info",
            peer="hub",
            public_key="AAAAAAAA",
            transport=odd,
            endpoint="203.0.113.9:443",
        )
        == 1
    )


def test_cardinality_has_a_bound() -> None:
    def count(peers: int) -> int:
        paths = [path_document(name=f"p{number}") for number in range(4)]
        many = [peer_document(name=f"e{number}", paths=paths) for number in range(peers)]
        return len(samples(metrics.render(status_document(peers=many), peers_max=10)))

    per_small = (count(10) - count(9), count(11) - count(0), count(40) - count(39))
    assert per_small == (count(1) - count(0), 22, 2)
    assert per_small[0] < 100


def test_known_states_are_those_of_the_core() -> None:
    from oxidized.core.session import State

    assert set(metrics.PEER_STATES) == {str(state.value) for state in State}


# ---- HTTP ----


def with_server(
    where: str, work: Callable[[metrics.MetricsServer], Awaitable[None]], page: str = "up 1\n"
) -> None:
    async def life() -> None:
        server = metrics.MetricsServer(lambda: page)
        await server.listen(where)
        try:
            await work(server)
        finally:
            await server.close()

    asyncio.run(life())


async def exchange(path: str, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    if b"\r\n\r\n" not in request:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


REQUESTS = [
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b"up 1\n"),
    (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200 OK", b"up 1\n"),
    (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK", b""),
    (b"GET / HTTP/1.1\r\n\r\n", b"200 OK", b"oxidized: see /metrics\n"),
    (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404 Not Found", b"see /metrics\n"),
    (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b""),
    (b"\x16\x03\x01 garbage\r\n\r\n", b"400 Bad Request", b""),
    (b"GET /metrics\r\n\r\n", b"400 Bad Request", b""),
    (b"GET /met", b"400 Bad Request", b""),
    (
        b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"431 Request Header Fields Too Large",
        b"",
    ),
]


@pytest.mark.parametrize(("request_bytes", "status", "body"), REQUESTS, ids=range(len(REQUESTS)))
def test_requests(tmp_path: Path, request_bytes: bytes, status: bytes, body: bytes) -> None:
    path = str(tmp_path / "m.sock")

    async def work(server: metrics.MetricsServer) -> None:
        head, _, found = (await exchange(path, request_bytes)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        assert found == body
        assert b"Connection: close" in head

    with_server(f"unix:{path}", work)


def test_too_many_clients_are_told_so(tmp_path: Path) -> None:
    path = str(tmp_path / "m.sock")

    async def work(server: metrics.MetricsServer) -> None:
        idle = [await asyncio.open_unix_connection(path) for _ in range(METRICS_CLIENTS_MAX)]
        assert b"503" in await exchange(path, b"")
        for reader, writer in idle:
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert b"200 OK" in await reader.read()
            writer.close()
        assert b"200 OK" in await exchange(path, b"GET /metrics HTTP/1.1\r\n\r\n")

    with_server(f"unix:{path}", work)


def test_loopback_port_and_moving_to_another(tmp_path: Path) -> None:
    path = str(tmp_path / "m.sock")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def work(server: metrics.MetricsServer) -> None:
            with pytest.raises(StartError, match=f"control.metrics 127.0.0.1:{port}: Address already in use"):
                await server.listen(f"127.0.0.1:{port}")
            assert b"200 OK" in await exchange(path, b"GET /metrics HTTP/1.1\r\n\r\n")  # all as before
            taken.close()
            await server.listen(f"127.0.0.1:{port}")
            assert not os.path.exists(path)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert b"up 1" in await reader.read()
            writer.close()
            await server.listen("")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

        with_server(f"unix:{path}", work)


def test_socket_left_behind_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "m.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()

    async def work(server: metrics.MetricsServer) -> None:
        assert b"200 OK" in await exchange(path, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert os.stat(path).st_mode & 0o777 == 0o660

    with_server(f"unix:{path}", work)
    Path(path).write_text("precious")
    with pytest.raises(StartError) as caught:
        with_server(f"unix:{path}", work)
    assert caught.value.exit_code == Exit.FAILURE and Path(path).read_text() == "precious"


def test_large_pages_come_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "m.sock")
    page: Any = "x 1\n" * 500_000

    async def work(server: metrics.MetricsServer) -> None:
        answer = await exchange(path, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert answer.partition(b"\r\n\r\n")[2].decode() == page

    with_server(f"unix:{path}", work, page)
