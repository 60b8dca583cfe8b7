"""The unit: hardened as promised, and good in the eyes of systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "systemd/oxidized@.service"
EXPOSURE_MAX = 2.5

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze here: apt-get install systemd (./dev test does)",
)


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


@needs_analyze
def test_exposure() -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    threshold = ["--threshold", str(int(EXPOSURE_MAX * 10)), str(UNIT)]
    found = subprocess.run([*command, *threshold], capture_output=True, text=True, timeout=60, check=False)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)
    assert score is not None, found.stderr
    assert float(score.group(1)) <= EXPOSURE_MAX and found.returncode == 0


@needs_analyze
def test_verify(tmp_path: Path) -> None:
    """With programs that are there, since ours are only at /usr/bin where a package put them."""
    text = re.sub(r"/usr/bin/oxidized(?:-ctl)?", "/bin/true", UNIT.read_text())
    (tmp_path / UNIT.name).write_text(text)
    shutil.copy(ROOT / "systemd/oxidized.target", tmp_path)
    units = [str(tmp_path / "oxidized@edge.service"), str(tmp_path / "oxidized.target")]
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in found.stderr.splitlines() if "oxidized" in line]
    assert (found.returncode, said) == (0, [])


def test_unit_says_what_the_daemon_relies_on() -> None:
    lines = lines_of(UNIT)
    for line in (
        "Type=notify",
        "WatchdogSec=15s",
        "RestartPreventExitStatus=2 78",
        "RuntimeDirectory=oxidized/%i",
        "LoadCredential=key:/etc/oxidized/keys/%i.key",
        "DeviceAllow=/dev/net/tun rw",
        "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE",
        "User=oxidized",
    ):
        assert line in lines
    assert not [
        line for line in lines if line.startswith(("PrivateDevices=", "PrivateNetwork=", "PrivateUsers="))
    ]


def test_commands_of_the_unit_exist() -> None:
    """The programs are those the package installs, and they take these arguments."""
    from oxidized import cli
    from oxidized.ctl.command import parser_make

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for line in lines_of(UNIT):
        found = re.fullmatch(r"Exec\w+=/usr/bin/(\S+) (.*)", line)
        if line.startswith("Exec"):
            assert found is not None and found.group(1) in scripts
            arguments = found.group(2).replace("%i", "edge").split()
            parser = cli._parser() if found.group(1) == "oxidized" else parser_make()
            assert callable(parser.parse_args(arguments).run)


def test_user_of_the_unit_is_made() -> None:
    assert [line.split()[:2] for line in lines_of(ROOT / "systemd/oxidized.sysusers")] == [["u", "oxidized"]]


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="no systemd-tmpfiles here")
def test_tmpfiles_make_the_folders(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\noxidized:x:999:999::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\noxidized:x:999:\n")
    conf = tmp_path / "oxidized.conf"
    shutil.copy(ROOT / "systemd/oxidized.tmpfiles", conf)
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}", str(conf)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("etc/oxidized", "etc/oxidized/keys")}
    assert modes == {"etc/oxidized": 0o750, "etc/oxidized/keys": 0o700}


def test_sysctl_sample_changes_nothing() -> None:
    assert lines_of(ROOT / "systemd/oxidized.sysctl") == []
