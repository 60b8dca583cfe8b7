"""`oxidized check|keygen|pubkey`: outputs, exit statuses, and no heavy imports for a check."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from oxidized import cli, config, keys
from oxidized.errors import Exit
from tests.unit.ops.samples import EDGE, HUB, PRIVATE, write


@pytest.fixture
def good(tmp_path: Path) -> str:
    keys.write_new(str(tmp_path / "edge.key"), PRIVATE)
    return write(tmp_path, EDGE.replace("credential:key", f"file:{tmp_path}/edge.key"))


def test_check_good(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", good]) == Exit.OK
    assert capsys.readouterr().out == f"{good}: good (edge oxd-edge, 1 peer)\n"


def test_check_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, EDGE.replace("[interface]", "[interface]\nmtu = 99999"))
    assert cli.main(["check", "-c", path]) == 78
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"{path}:3: interface.mtu: 99999 is outside 1280..9000 (largest inner packet)\n"


def test_check_looks_at_the_key_file(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "edge.key").chmod(0o640)
    assert cli.main(["check", "-c", good]) == 78
    assert (
        f"{good}:5: identity.key: key file {tmp_path}/edge.key is open to others" in capsys.readouterr().err
    )


def test_check_of_a_credential(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, HUB, "hub.toml")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert cli.main(["check", "-c", path]) == Exit.OK
    assert "not checked" in capsys.readouterr().err
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert cli.main(["check", "-c", path]) == 78
    assert "hub.toml:5: identity.key: can not read key file" in capsys.readouterr().err


def test_show_effective_is_a_configuration(
    good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", "-c", good, "--show-effective"]) == Exit.OK
    text = capsys.readouterr().out
    assert 'rekey_after = "2min"' in text and keys.private_text(PRIVATE) not in text
    assert config.load(write(tmp_path, text, "again.toml")).peers == config.load(good).peers


def test_keygen_and_pubkey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new.key"
    assert cli.main(["keygen", "--out", str(path)]) == Exit.OK
    public = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n " + path.read_bytes())))
    assert cli.main(["pubkey"]) == Exit.OK
    assert (
        capsys.readouterr().out
        == public
        == keys.public_text(keys.public_of(keys.read(f"file:{path}"))) + "\n"
    )


def test_keygen_does_not_overwrite(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keygen", "--out", f"{tmp_path}/edge.key"]) == Exit.FAILURE
    assert capsys.readouterr().err == f"oxidized: {tmp_path}/edge.key: File exists\n"
    assert keys.read(f"file:{tmp_path}/edge.key") == PRIVATE


def test_pubkey_of_garbage_does_not_show_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hunter2\xff")))
    assert cli.main(["pubkey"]) == 78
    shown = capsys.readouterr()
    assert shown.out == "" and "is no private key" in shown.err and "hunter2" not in shown.err


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run"], ["check"], ["keygen", "--mode", "1"]])
def test_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == Exit.USAGE


def test_check_imports_nothing_heavy(good: str) -> None:
    code = (
        "import sys; from oxidized import cli; status = cli.main(['check', '-c', sys.argv[1]]);"
        "print(status, sorted({'aioquic', 'pyroute2', 'uvloop', 'asyncio', 'cffi'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, good], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.splitlines()[-1] == "0 []"


def test_whole_program(good: str) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "oxidized", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert run("--version").stdout.startswith("oxidized 0.")
    assert run("run", "--config", "/nonexistent/edge.toml").returncode == 78
    assert run("check", "--config", good).returncode == 0
