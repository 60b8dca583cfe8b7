"""`oxidized-ctl`: layouts as they are promised, and the exit statuses scripts rely on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oxidized import ctl
from oxidized.ctl import client, completion, layout
from oxidized.ctl.command import parser_make
from oxidized.errors import Exit
from oxidized.io import logs
from tests.unit.ops.fake_control import FakeControl, served
from tests.unit.ops.samples import path_document, peer_document, status_document

GOLDEN = Path(__file__).parent / "golden"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeControl]:
    """A fake daemon named "edge", the only one here."""
    monkeypatch.setattr(client, "RUN_FOLDER", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    with served(str(tmp_path / "edge/ctl.sock"), FakeControl()) as control:
        yield control


def run(capsys: Capture, *words: str) -> tuple[int, str]:
    """Exit status and standard output."""
    status = ctl.main(words)
    return status, capsys.readouterr().out


GOLDENS = {
    "status.txt": ["status"],
    "status.dump": ["status", "--dump"],
    "show.txt": ["show"],
    "show-peer-hub.txt": ["show", "peer", "hub"],
    "show-path.txt": ["show", "path"],
    "show-path.dump": ["show", "path", "--dump"],
    "show-plane.txt": ["show", "plane"],
    "show-stages.txt": ["show", "stages"],
    "show-compression.txt": ["show", "compression"],
    "show-repair.txt": ["show", "repair"],
    "show-repair.dump": ["show", "repair", "--dump"],
    "show-drops.txt": ["show", "drops"],
    "show-drops.dump": ["show", "drops", "--dump"],
    "show-flows.txt": ["show", "flows"],
    "show-flows.json": ["--json", "show", "flows", "2"],
    "show-flows.dump": ["show", "flows", "1", "--dump"],
    "show-peer.json": ["--json", "show", "peer", "lab"],
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden_layouts(daemon: FakeControl, capsys: Capture, name: str) -> None:
    """OXIDIZED_GOLDEN=write makes the files anew; the difference is for the reviewer."""
    status, out = run(capsys, *GOLDENS[name])
    if os.environ.get("OXIDIZED_GOLDEN") == "write":
        (GOLDEN / name).write_text(out)
    assert (status, out) == (0, (GOLDEN / name).read_text())


def test_no_verb_is_status(daemon: FakeControl, capsys: Capture) -> None:
    assert run(capsys) == run(capsys, "status")


def test_json_is_the_document(daemon: FakeControl, capsys: Capture) -> None:
    for words in (["--json"], ["--json", "status"], ["status", "--json"]):
        assert json.loads(run(capsys, *words)[1]) == daemon.document


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["peer", "hub", "state"], "up\n"),
        (["peer", "hub", "receive_bytes"], "1288490189\n"),
        (["peer", "lab", "endpoint"], "-\n"),
        (["peer", "hub", "allowed_ips"], "10.70.0.0/24,fd70::/64\n"),
        (["peer", "hub", "handshakes"], "completed=2,failed=1,rejected=0\n"),
        (["path", "hub", "rtt_seconds"], "0.0142\n"),
        (["path", "hub/default", "state"], "up\n"),
        (["path", "lab"], ""),
        (["plane", "heartbeats"], "7\n"),
        (["drops", "nothing-such"], None),
        (["stages", "nothing-such"], None),
        (["compression", "nothing-such"], None),
        (["repair", "mode"], "auto\n"),
        (["repair", "lost_packets"], "voip=50,gaming=0,web=3,streaming=0,bulk=90,control=0\n"),
        (["repair", "nothing-such"], None),
        (["path", "hub", "repair_regime"], "bursty\n"),
    ],
)
def test_one_field(daemon: FakeControl, capsys: Capture, words: list[str], out: str | None) -> None:
    status, found = run(capsys, "show", *words)
    assert (status, found) == ((Exit.ABSENT, "") if out is None else (0, out))


def test_json_of_a_field(daemon: FakeControl, capsys: Capture) -> None:
    found = json.loads(run(capsys, "show", "peer", "hub", "rekeys", "--json")[1])
    assert found == {
        "schema": "oxidized.show/1",
        "time": "2026-11-20T09:50:00.000Z",
        "field": "rekeys",
        "values": [31],
    }


def test_check_tells_by_the_exit_status(daemon: FakeControl, capsys: Capture) -> None:
    def check(**changes: Any) -> int:
        daemon.document = status_document(**changes)
        return run(capsys, "status", "--check")[0]

    hub = peer_document()
    assert check() == Exit.DOWN
    assert check(peers=[hub], health=[]) == Exit.OK
    assert check(peers=[hub]) == Exit.PARTLY
    assert check(peers=[peer_document(paths=[path_document(state="degraded")])], health=[]) == Exit.PARTLY
    off = peer_document(name="off", state="disabled", expected=False, paths=[])
    assert check(peers=[hub, off], health=[]) == Exit.OK


def test_color_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    text = layout.status_text(status_document(), color=True)
    assert layout.GREEN in text and layout.YELLOW in text
    plain = layout.status_text(status_document(), color=False)
    assert "\033" not in plain
    for sign in (layout.GREEN, layout.YELLOW, layout.BOLD, layout.PLAIN):
        text = text.replace(sign, "")
    assert [line.rstrip() for line in text.splitlines()] == plain.splitlines()


def test_names_from_outside_can_not_steer_the_terminal(daemon: FakeControl, capsys: Capture) -> None:
    odd = "x\033[2J\ny"
    daemon.document = status_document(
        peers=[
            peer_document(transport_reason=odd, endpoint=odd, paths=[path_document(remote=odd, reason=odd)])
        ],
        health=[odd],
    )
    for words in (["status"], ["show"], ["status", "--dump"], ["show", "path"]):
        out = run(capsys, *words)[1]
        assert "\033" not in out and "\ny" not in out


def test_ping(daemon: FakeControl, capsys: Capture) -> None:
    daemon.rtts = [0.0142, None]
    status, out = run(capsys, "ping", "hub", "-c", "2", "--interval", "0.01")
    assert status == Exit.OK
    assert out.splitlines() == [
        "pong from hub: seq=0 time=14.200 ms",
        "no answer from hub: seq=1",
        "2 sent, 1 answered, 50.00% loss",
        "rtt min/mean/max = 14.200/14.200/14.200 ms",
    ]
    daemon.rtts = [None]
    assert run(capsys, "ping", "hub", "-c", "1")[0] == Exit.DOWN
    daemon.rtts = [0.5]
    documents = [json.loads(line) for line in run(capsys, "ping", "hub", "-c", "1", "--json")[1].splitlines()]
    assert documents[0]["rtt_seconds"] == 0.5 and documents[1]["received"] == 1
    assert run(capsys, "ping", "nobody")[0] == Exit.ABSENT


def test_wait(daemon: FakeControl, capsys: Capture) -> None:
    assert run(capsys, "wait") == (0, "every peer is up\n")
    assert run(capsys, "wait", "--up", "hub", "--timeout", "1.5min") == (0, "hub is up\n")
    daemon.is_up = False
    assert run(capsys, "wait", "hub", "--timeout", "1")[0] == Exit.TIMED_OUT
    assert run(capsys, "wait", "nobody")[0] == Exit.ABSENT
    assert daemon.waits == [(None, 30.0), ("hub", 90.0), ("hub", 1.0)]


CHANGE = {"key": "interface.mtu", "old": "auto", "new": 1400}
FAILED = {"key": "peer.hub", "message": "no room"}


@pytest.mark.parametrize(
    ("outcome", "status", "out"),
    [
        ({}, Exit.OK, "nothing has changed\n"),
        ({"applied": [CHANGE]}, Exit.OK, 'applied: interface.mtu: "auto" -> 1400\n'),
        ({"needs_restart": [CHANGE]}, Exit.PARTLY, 'needs a restart: interface.mtu: "auto" -> 1400\n'),
        ({"applied": [CHANGE], "failed": [FAILED]}, Exit.PARTLY, 'applied: interface.mtu: "auto" -> 1400\n'),
        ({"failed": [{"key": "", "message": "a.toml:3: x: bad"}]}, Exit.CONFIG, ""),
    ],
)
def test_reload(daemon: FakeControl, capsys: Capture, outcome: dict[str, Any], status: int, out: str) -> None:
    daemon.outcome = {**daemon.outcome, **outcome}
    assert run(capsys, "reload") == (status, out)
    assert daemon.reloads == [False]


def test_reload_says_what_failed(daemon: FakeControl, capsys: Capture) -> None:
    daemon.outcome = {**daemon.outcome, "failed": [FAILED]}
    assert ctl.main(["reload", "--dry-run"]) == Exit.PARTLY
    assert capsys.readouterr().err == "failed: peer.hub: no room\n"
    assert daemon.reloads == [True]


def test_log(daemon: FakeControl, capsys: Capture) -> None:
    try:
        logs.set_level("info")
        assert run(capsys, "log") == (0, "level info\n")
        assert run(capsys, "log", "debug") == (0, "level debug, back to info in 15min\n")
        assert run(capsys, "log", "loud")[0] == Exit.USAGE
    finally:
        logs.set_level("info")


def test_log_follow_until_the_daemon_stops(tmp_path: Path, capsys: Capture) -> None:
    record = {"time": "2026-11-20T09:50:00.000Z", "level": "info", "module": "daemon", "message": "hub: up"}
    path = str(tmp_path / "ctl.sock")
    with fake_server(path, [json.dumps({**record, "missed": 3}).encode() + b"\n"]):
        assert ctl.main(["--socket", path, "log", "-f"]) == Exit.NOT_RUNNING
    assert capsys.readouterr().out.splitlines() == [
        "(3 lines missed)",
        "2026-11-20T09:50:00.000Z info    daemon: hub: up",
    ]


def test_metrics_and_version(daemon: FakeControl, capsys: Capture) -> None:
    assert run(capsys, "metrics") == (0, daemon.metrics())
    status, out = run(capsys, "version")
    assert status == 0 and out.splitlines()[1] == "daemon edge 0.1.0 (pid 4242)"
    assert json.loads(run(capsys, "version", "--json")[1])["schema"] == "oxidized.version/1"


def test_watch(daemon: FakeControl, capsys: Capture) -> None:
    status, out = run(capsys, "watch", "-n", "0.001", "--count", "3", "--json", "show", "peer", "hub")
    assert status == 0
    assert [json.loads(line)["peers"][0]["name"] for line in out.splitlines()] == ["hub"] * 3
    assert run(capsys, "watch", "--count", "1") == run(capsys, "status")
    assert run(capsys, "watch", "ping", "hub")[0] == Exit.USAGE


def test_interrupt_ends_a_watch_well(daemon: FakeControl, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oxidized.ctl.command.time.sleep", interrupt)
    assert ctl.main(["watch"]) == 0


# ---- daemons that are not there, not ours, or broken ----


class fake_server:
    """Sends `answers` to one client and hangs up."""

    def __init__(self, path: str, answers: list[bytes]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._answers = answers
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        connection.recv(4096)
        for answer in self._answers:
            connection.sendall(answer)
        connection.close()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._thread.join(10)
        self._listener.close()


def test_not_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(client, "RUN_FOLDER", str(tmp_path / "none"))
    assert ctl.main(["status"]) == Exit.NOT_RUNNING
    assert ctl.main(["-i", "edge", "status"]) == Exit.NOT_RUNNING
    assert ctl.main(["--socket", str(tmp_path / "x.sock"), "--json"]) == Exit.NOT_RUNNING
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["code"] == "not-running"
    assert shown.err.count("oxidized-ctl: ") == 3
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "x.sock"))
    left.close()
    assert ctl.main(["--socket", str(tmp_path / "x.sock")]) == Exit.NOT_RUNNING


def test_several_tunnels(daemon: FakeControl, tmp_path: Path, capsys: Capture) -> None:
    with served(str(tmp_path / "hub/ctl.sock"), FakeControl()):
        assert ctl.main(["status"]) == Exit.USAGE
        assert "-i edge or -i hub" in capsys.readouterr().err
        assert run(capsys, "-i", "hub", "version")[0] == Exit.OK
        assert run(capsys, "version", "-i", "edge")[0] == Exit.OK
    assert run(capsys, "-i", "../edge", "version")[0] == Exit.USAGE


def test_permission(
    daemon: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def refused(self: socket.socket, address: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refused)
    assert run(capsys, "status")[0] == Exit.PERMISSION


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([], Exit.FAILURE),
        ([b"garbage\n"], Exit.FAILURE),
        ([b"[]\n"], Exit.FAILURE),
        ([b'{"schema"'], Exit.FAILURE),
        ([b'{"error":{"code":"busy","message":"full"}}\n'], Exit.FAILURE),
        ([b'{"error":{"code":"permission","message":"no"}}\n'], Exit.PERMISSION),
        ([b'{"error":{"code":"timeout","message":"no"}}\n'], Exit.TIMED_OUT),
        ([b'{"error":{"code":"config","message":"no"}}\n'], Exit.CONFIG),
        ([b'{"error":{}}\n'], Exit.FAILURE),
    ],
    ids=range(9),
)
def test_odd_answers(tmp_path: Path, answers: list[bytes], status: int, capsys: Capture) -> None:
    path = str(tmp_path / "ctl.sock")
    with fake_server(path, answers):
        assert ctl.main(["--socket", path, "status"]) == status
    assert capsys.readouterr().err.startswith("oxidized-ctl: ")


def test_silent_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxidized.ctl.command._ask.__defaults__", (0.05,))
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "ctl.sock"))
        mute.listen(1)
        assert ctl.main(["--socket", str(tmp_path / "ctl.sock"), "status"]) == Exit.TIMED_OUT


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["show", "--bad"],
        ["ping"],
        ["ping", "hub", "-c", "0"],
        ["wait", "--timeout", "x"],
        ["completion", "csh"],
    ],
)
def test_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ctl.main(words)
    assert caught.value.code == Exit.USAGE


# ---- the program ----


def test_program_starts_without_what_it_does_not_need(daemon: FakeControl, tmp_path: Path) -> None:
    code = (
        "import sys; from oxidized import ctl; status = ctl.main(sys.argv[1:]);"
        "print(status, sorted({'asyncio', 'click', 'cryptography', 'aioquic', 'hashlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "--socket", str(tmp_path / "edge/ctl.sock"), "status"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.splitlines()[-1] == "0 []"


def test_module_runs_and_a_closed_pipe_is_no_error(daemon: FakeControl, tmp_path: Path) -> None:
    program = f"{sys.executable} -m oxidized.ctl --socket {tmp_path}/edge/ctl.sock"
    script = f"{program} watch -n 0.01 | head -n 1; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.splitlines()[-1] == "0" and found.stderr == ""


def complete(*words: str) -> list[str]:
    """What bash offers for the last word."""
    script = completion.script("bash", parser_make().get_default("verbs"))
    quoted = " ".join(f"'{word}'" for word in words)
    script += f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _oxidized_ctl; echo ${{COMPREPLY[@]}}"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return found.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completion() -> None:
    assert complete("oxidized-ctl", "st") == ["status"]
    assert complete("oxidized-ctl", "--json", "re") == ["reload"]
    assert complete("oxidized-ctl", "show", "p") == ["peer", "path", "plane"]
    assert complete("oxidized-ctl", "reload", "--d") == ["--dry-run", "--dump"]
    assert complete("oxidized-ctl", "log", "d") == ["debug"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_scripts_know_every_verb(capsys: Capture, shell: str) -> None:
    status, script = run(capsys, "completion", shell)
    verbs = parser_make().get_default("verbs")
    assert status == 0 and len(verbs) == 10
    assert [verb for verb in verbs if verb not in script.split()] == [] or shell != "fish"
    assert all(verb in script for verb in verbs)
    if shell != "fish" and shutil.which("bash"):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)
