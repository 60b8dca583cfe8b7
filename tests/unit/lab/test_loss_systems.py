"""UDPspeeder and kcptun without them: their commands, what is said when they are missing; short settings."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

LAB_FOLDER = Path(__file__).resolve().parents[3] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab import systems  # noqa: E402
from lab.errors import LabError, MissingError, UsageError  # noqa: E402
from lab.main import split_daemon  # noqa: E402
from lab.systems import (  # noqa: E402
    SYSTEMS,
    Kcptun,
    UdpSpeeder,
    WireguardGo,
    from_binary,
    is_listening,
    variant,
)


class FakeLab:
    """Records what is started; its processes live for ever."""

    prefix = "oxlab-1"

    def __init__(self) -> None:
        self.edge = SimpleNamespace(name="edge", link4="10.201.0.2")
        self.hub = SimpleNamespace(name="hub", link4="10.201.0.1")
        self.started: dict[str, list[str]] = {}

    def start(self, name: str, command: list[str], site: Any) -> Any:
        self.started[f"{name} at {site.name}"] = command
        return SimpleNamespace(name=name, expect_alive=lambda: None, log_tail=lambda lines: f"log of {name}")


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_speeder_stands_between_the_two_wireguards(monkeypatch: pytest.MonkeyPatch) -> None:
    lab: Any = FakeLab()
    inner = SimpleNamespace(daemons=["wg"], port=51820)
    monkeypatch.setattr(WireguardGo, "start", lambda self, lab, settings: inner)
    mode1 = SYSTEMS["udpspeeder-mode1"]
    tunnel = mode1.start(lab, {})
    server, options = "10.201.0.1:4096", ["-f20:10", "--mode", "1"]
    assert lab.started == {
        "udpspeeder-mode1-hub at hub":
            ["speederv2", "-s", "-l", server, "-r", "127.0.0.1:51820", *options],
        "udpspeeder-mode1-edge at edge":
            ["speederv2", "-c", "-l", "127.0.0.1:4096", "-r", server, *options],
    }  # fmt: skip
    assert UdpSpeeder().endpoint(lab) == "127.0.0.1:4096"
    assert WireguardGo().endpoint(lab) == "10.201.0.1:51820"
    assert tunnel.port == 4096
    assert len(tunnel.daemons) == 3


def test_the_last_words_of_speeder_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: Any) -> None:
        raise LabError("no ping")

    monkeypatch.setattr(WireguardGo, "start", fail)
    lab: Any = FakeLab()
    with pytest.raises(LabError, match=r"(?s)no ping.*log of udpspeeder-edge"):
        UdpSpeeder().start(lab, {})


def test_speeder_that_is_missing_and_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MissingError, match="--peer-binary udpspeeder=PATH"):
        SYSTEMS["udpspeeder"].check()
    program(tmp_path / "wireguard-go", "echo wireguard-go v0.0.1")
    program(tmp_path / "wg", "")
    own = program(tmp_path / "mine", "echo 'UDPspeeder V2\ngit version:17694ecfa1    build date: x'; exit 1")
    made = from_binary(f"udpspeeder={own}")
    made.check()
    assert made.name == "udpspeeder-new"
    assert made.version() == "17694ecfa1 -f20:10, wireguard-go v0.0.1"
    with pytest.raises(MissingError, match="nosuch is not an executable"):
        from_binary(f"udpspeeder={tmp_path / 'nosuch'}").check()


def test_kcptun_carries_one_port_of_tcp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab: Any = FakeLab()
    monkeypatch.setattr(systems, "wait_listening", lambda site, port, daemon: None)
    tunnel = Kcptun().start(lab, {})
    options = ["--key", "oxlab-1", "--mode", "fast", "--ds", "10", "--ps", "3", "--nocomp", "--quiet"]
    assert lab.started == {
        "kcptun-hub at hub": ["kcptun-server", "-l", "10.201.0.1:29900", "-t", "127.0.0.1:5201", *options],
        "kcptun-edge at edge":
            ["kcptun-client", "-l", "127.0.0.1:5201", "-r", "10.201.0.1:29900", *options],
    }  # fmt: skip
    assert tunnel.is_tcp_only
    assert tunnel.hub4 == "127.0.0.1"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match=r"kcptun-client, kcptun-server \(apt-get install kcptun"):
        Kcptun().check()


def test_a_listening_port_is_read_from_the_kernel_s_table() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue"
    table = f"{head}\n   0: 0100007F:1451 00000000:0000 0A 0:0\n   1: 0100007F:1452 0100007F:9 01 0:0\n"
    assert is_listening(table, 5201)
    assert not is_listening(table, 5202), "connected, not listening"
    assert not is_listening(head, 5201)


def test_short_words_become_keys_of_the_configuration() -> None:
    rest, daemon = split_daemon(
        {"repair": "arq", "predictor": "ge", "cell": "0", "daemon.repair.copies": "2"}
    )
    assert rest == {"cell": "0"}
    assert daemon == {"repair.mode": '"arq"', "repair.predictor": '"ge"', "repair.copies": "2"}
    made: Any = variant(["none:repair=off", "none:predictor=off", "code:repair=fec"])
    assert made["none"].extra == {"repair.mode": '"off"', "repair.predictor": '"off"'}
    assert made["code"].extra == {"repair.mode": '"fec"'}


@pytest.mark.parametrize(("key", "value"), [("repair", "on"), ("predictor", "auto"), ("repair", '"arq"')])
def test_short_words_that_are_not_known(key: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{key}="):
        split_daemon({key: value})
    with pytest.raises(UsageError, match=f"{key}="):
        variant([f"mine:{key}={value}"])
