"""The control socket: its verbs, who may do what, and what hostile or clumsy clients get."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxidized.errors import ConfigError, Exit, Problem
from oxidized.io import control_socket, logs
from oxidized.io.control_socket import ControlSocket
from oxidized.io.failure import StartError
from oxidized.limits import CONTROL_CLIENTS_MAX, CONTROL_REQUEST_BYTES_MAX
from tests.unit.ops.fake_control import FakeControl

Work = Callable[[str, FakeControl], Awaitable[None]]


def serve(folder: Path, work: Work) -> None:
    """Run `work` with the control socket at folder/ctl.sock."""

    async def life() -> None:
        path, control = str(folder / "ctl.sock"), FakeControl()
        server = ControlSocket(path, control)
        await server.start()
        try:
            await work(path, control)
        finally:
            await server.close()
        assert not os.path.exists(path)

    asyncio.run(life())


async def raw(path: str, content: bytes) -> list[Any]:
    """All answers to what was sent, until the daemon hangs up."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
    writer.write(content)
    writer.write_eof()
    answers = [json.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()
    return answers


async def ask(path: str, **request: Any) -> list[Any]:
    return await raw(path, json.dumps(request).encode() + b"\n")


def code_of(answers: list[Any]) -> str:
    assert len(answers) == 1 and set(answers[0]) == {"error"}, answers
    return str(answers[0]["error"]["code"])


def test_reading_verbs(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        assert await ask(path, verb="status") == [control.document]
        assert await ask(path, verb="show") == [control.document]
        assert await ask(path, verb="metrics") == [
            {"schema": "oxidized.metrics/1", "text": control.metrics()}
        ]
        assert await ask(path, verb="version") == [
            {"schema": "oxidized.version/1", "name": "edge", "version": "0.1.0", "pid": 4242}
        ]

    serve(tmp_path, work)


def test_several_requests_on_one_connection(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        answers = await raw(path, b'{"verb":"version"}\n{"verb":"x"}\n{"verb":"wait"}\n')
        assert [answer.get("schema") for answer in answers] == ["oxidized.version/1", None, "oxidized.wait/1"]

    serve(tmp_path, work)


def test_ping(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        control.rtts = [0.01, None, 0.03]
        answers = await ask(path, verb="ping", peer="hub", count=3, interval_seconds=0.01)
        assert [answer.get("rtt_seconds") for answer in answers[:3]] == [0.01, None, 0.03]
        assert answers[3] == {
            "schema": "oxidized.ping/1",
            "peer": "hub",
            "summary": True,
            "sent": 3,
            "received": 2,
            "loss_ratio": 0.333333,
            "rtt_min_seconds": 0.01,
            "rtt_mean_seconds": 0.02,
            "rtt_max_seconds": 0.03,
        }
        assert code_of(await ask(path, verb="ping", peer="nobody")) == "absent"

    serve(tmp_path, work)


def test_wait(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        assert (await ask(path, verb="wait", peer="hub", timeout_seconds=5))[0]["up"] is True
        control.is_up = False
        assert code_of(await ask(path, verb="wait", timeout_seconds=0.5)) == "timeout"
        assert code_of(await ask(path, verb="wait", peer="nobody")) == "absent"
        assert control.waits == [("hub", 5), (None, 0.5)]

    serve(tmp_path, work)


def test_reload(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        assert await ask(path, verb="reload", dry_run=True) == [control.outcome]
        assert await ask(path, verb="reload") == [control.outcome]
        assert control.reloads == [True, False]
        control.error = ConfigError(Problem("/etc/oxidized/edge.toml", 3, "interface.mtu", "is wrong"))
        answers = await ask(path, verb="reload")
        assert answers == [
            {"error": {"code": "config", "message": "/etc/oxidized/edge.toml:3: interface.mtu: is wrong"}}
        ]

    serve(tmp_path, work)


def test_wait_ends_when_the_client_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "GONE_CHECK_S", 0.01)
    ended: list[str] = []

    async def work(path: str, control: FakeControl) -> None:
        started, gone = asyncio.Event(), asyncio.Event()

        async def wait_for_ever(peer: str | None, timeout_s: float) -> bool:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")
                gone.set()
            return False

        control.wait = wait_for_ever  # type: ignore[method-assign]
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"verb":"wait","timeout_seconds":86400}\n')
        await started.wait()
        writer.close()
        await gone.wait()

    serve(tmp_path, work)
    assert ended == ["cancelled"]


def test_log_level_is_set_for_a_while(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        logs.set_level("warning")
        (answer,) = await ask(path, verb="log", level="debug")
        assert (answer["level"], answer["returns_to"]) == ("debug", "warning")
        (answer,) = await ask(path, verb="log", level="info,driver=debug")
        assert (answer["level"], answer["returns_to"]) == ("info,driver=debug", "warning")
        assert code_of(await ask(path, verb="log", level="loud")) == "usage"
        (answer,) = await ask(path, verb="log")
        assert answer["level"] == "info,driver=debug"

    try:
        serve(tmp_path, work)
    finally:
        logs.set_level("info")


def test_log_follow_ends_when_the_client_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "GONE_CHECK_S", 0.01)

    async def work(path: str, control: FakeControl) -> None:
        logs._state.ring.append({"message": "old"})
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"verb":"log-follow"}\n')
        assert json.loads(await reader.readline()) == {"schema": "oxidized.record/1", "message": "old"}
        while not logs._state.followers:
            await asyncio.sleep(0)
        logs._state.followers[0].put({"message": "new"})
        assert json.loads(await reader.readline())["message"] == "new"
        writer.close()
        while logs._state.followers:
            await asyncio.sleep(0)

    try:
        serve(tmp_path, work)
    finally:
        logs._state.ring.clear()


@pytest.mark.parametrize("request_", [{"verb": "reload"}, {"verb": "log", "level": "debug"}])
def test_only_root_and_our_own_user_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any]
) -> None:
    monkeypatch.setattr(control_socket, "peer_uid", lambda writer: 12345)

    async def work(path: str, control: FakeControl) -> None:
        assert code_of(await ask(path, **request_)) == "permission"
        assert control.reloads == []
        assert (await ask(path, verb="log"))[0]["schema"] == "oxidized.log/1"
        assert (await ask(path, verb="status"))[0]["schema"] == "oxidized.status/1"

    serve(tmp_path, work)


def test_uid_of_the_client_is_the_kernels_word(tmp_path: Path) -> None:
    seen: list[int] = []

    async def life() -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(control_socket.peer_uid(writer))
            writer.close()

        server = await asyncio.start_unix_server(connected, str(tmp_path / "s"))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        await reader.read()
        writer.close()
        server.close()

    asyncio.run(life())
    assert seen == [os.geteuid()]


# ---- hostile input ----

HOSTILE = [
    b"\n",
    b"{\n",
    b"[]\n",
    b'"status"\n',
    b"null\n",
    b"\xff\xfe\x00\n",
    b"GET / HTTP/1.1\n",
    b"[" * 4000 + b"\n",
    b"{}\n",
    b'{"verb":"no"}\n',
    b'{"verb":["status"]}\n',
    b'{"verb":"__class__"}\n',
    b'{"verb":"ping"}\n',
    b'{"verb":"ping","peer":5}\n',
    b'{"verb":"ping","peer":"hub","count":0}\n',
    b'{"verb":"ping","peer":"hub","count":1e400}\n',
    b'{"verb":"ping","peer":"hub","count":true}\n',
    b'{"verb":"ping","peer":"hub","interval_seconds":-1}\n',
    b'{"verb":"ping","peer":"hub","interval_seconds":NaN}\n',
    b'{"verb":"ping","peer":"a\\u0000b"}\n',
    b'{"verb":"wait","timeout_seconds":1e9}\n',
    b'{"verb":"wait","peer":""}\n',
    b'{"verb":"reload","dry_run":"yes"}\n',
    b'{"verb":"log","level":5}\n',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_line_is_refused_and_the_next_one_answered(tmp_path: Path, line: bytes) -> None:
    async def work(path: str, control: FakeControl) -> None:
        answers = await raw(path, line + b'{"verb":"version"}\n')
        assert code_of(answers[:1]) == "usage"
        assert answers[1]["schema"] == "oxidized.version/1"
        assert control.reloads == [] and control.waits == []

    serve(tmp_path, work)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=8).map(b"\n".join))
def test_any_bytes_leave_the_daemon_well(tmp_path: Path, content: bytes) -> None:
    async def work(path: str, control: FakeControl) -> None:
        for answer in await raw(path, content):
            assert answer["error"]["code"] == "usage"
        assert (await ask(path, verb="version"))[0]["pid"] == 4242

    serve(tmp_path, work)


def test_long_line(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * (CONTROL_REQUEST_BYTES_MAX + 1))
        assert json.loads(await reader.readline())["error"]["code"] == "usage"
        with pytest.raises(ConnectionError):
            while not reader.at_eof():
                await reader.read()
            raise ConnectionResetError  # the end without a reset is as good
        writer.close()
        assert (await ask(path, verb="version"))[0]["pid"] == 4242

    serve(tmp_path, work)


def test_many_clients(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        idle = [await asyncio.open_unix_connection(path) for _ in range(CONTROL_CLIENTS_MAX)]
        reader, writer = await asyncio.open_unix_connection(path)
        assert json.loads(await reader.readline())["error"]["code"] == "busy"
        assert await reader.read() == b""
        writer.close()
        for reader, writer in idle:
            writer.write(b'{"verb":"version"}\n')
            assert json.loads(await reader.readline())["pid"] == 4242
            writer.close()
            await writer.wait_closed()
        while True:  # until the daemon has seen them go
            answers = await ask(path, verb="version")
            if "error" not in answers[0]:
                break

    serve(tmp_path, work)


def test_idle_clients_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket.limits, "CONTROL_IDLE_S", 0.01)

    async def work(path: str, control: FakeControl) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()

    serve(tmp_path, work)


def test_reader_that_does_not_read_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket.limits, "CONTROL_IDLE_S", 0.05)

    async def work(path: str, control: FakeControl) -> None:
        control.document["health"] = ["x" * 4_000_000]
        with socket.socket(socket.AF_UNIX) as stuck:
            stuck.connect(path)
            stuck.sendall(b'{"verb":"status"}\n')
            found = await asyncio.to_thread(lambda: (stuck.settimeout(10), drain_late(stuck))[1])
        assert found < 4_000_000
        assert (await ask(path, verb="version"))[0]["pid"] == 4242

    def drain_late(stuck: socket.socket) -> int:
        """Bytes that were sent before the daemon gave up; reads only after it has hung up."""
        import select

        poll = select.poll()
        poll.register(stuck, select.POLLHUP)
        assert poll.poll(10_000)
        count = 0
        try:
            while part := stuck.recv(1 << 20):
                count += len(part)
        except ConnectionResetError:
            pass
        return count

    serve(tmp_path, work)


def test_bug_of_ours_is_told_and_survived(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        control.error = ZeroDivisionError("ours")
        (answer,) = await ask(path, verb="status")
        assert answer["error"] == {"code": "internal", "message": "internal error; see the daemon's log"}
        control.error = None
        assert (await ask(path, verb="status"))[0]["pid"] == 4242

    serve(tmp_path, work)


# ---- the socket itself ----


def test_mode_and_folder(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        assert os.stat(path).st_mode & 0o777 == 0o660
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o750
        assert os.listdir(os.path.dirname(path)) == ["ctl.sock"]

    serve(tmp_path / "run", work)


def test_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    for name in ("ctl.sock", "ctl.sock.new"):
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(tmp_path / name))
        left.close()

    async def work(path: str, control: FakeControl) -> None:
        assert (await ask(path, verb="version"))[0]["pid"] == 4242

    serve(tmp_path, work)


def test_second_daemon_is_refused_and_the_first_lives(tmp_path: Path) -> None:
    async def work(path: str, control: FakeControl) -> None:
        with pytest.raises(StartError, match="another daemon answers there") as caught:
            await ControlSocket(path, FakeControl()).start()
        assert caught.value.exit_code == Exit.FAILURE
        assert (await ask(path, verb="version"))[0]["pid"] == 4242

    serve(tmp_path, work)


def test_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "ctl.sock").write_text("precious")

    async def work(path: str, control: FakeControl) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(StartError, match="is there and no socket"):
        serve(tmp_path, work)
    assert (tmp_path / "ctl.sock").read_text() == "precious"


def test_close_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    async def life() -> None:
        path = str(tmp_path / "ctl.sock")
        first, second = ControlSocket(path, FakeControl()), ControlSocket(path, FakeControl())
        await first.start()
        os.unlink(path)
        await second.start()
        await first.close()
        assert (await ask(path, verb="version"))[0]["pid"] == 4242
        await second.close()

    asyncio.run(life())


def test_close_ends_waiting_clients(tmp_path: Path) -> None:
    async def life() -> None:
        path, control = str(tmp_path / "ctl.sock"), FakeControl()
        started = asyncio.Event()

        async def wait_for_ever(peer: str | None, timeout_s: float) -> bool:
            started.set()
            await asyncio.Event().wait()
            return False

        control.wait = wait_for_ever  # type: ignore[method-assign]
        server = ControlSocket(path, control)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"verb":"wait"}\n')
        await started.wait()
        await server.close()
        assert await reader.read() == b""
        writer.close()

    asyncio.run(life())
