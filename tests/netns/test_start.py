"""Wrong conditions at start: one clear line, the right exit status, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oxidized.ffi.dataplane import aead_library
from tests.netns.harness import Daemon, Namespace

pytestmark = pytest.mark.netns

NOBODY = 65534

HUB = """
[interface]
name = "oxd0"
address = ["10.70.0.1/24"]
[listen]
udp = ["0.0.0.0:443"]
"""

# As systemd/oxidized@.service has it: an ordinary user, two capabilities, no way to more.
SERVICE = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+net_admin,+net_bind_service",
    "--ambient-caps=-all,+net_admin,+net_bind_service",
    "--bounding-set=-all,+net_admin,+net_bind_service",
    "--no-new-privs",
)
WITHOUT_RIGHTS = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")

# A /dev/net of its own, with a TUN device for everybody; what follows is the command.
OPEN_TUN = (
    "unshare",
    "-m",
    "sh",
    "-c",
    'mount -t tmpfs -o mode=755 none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec "$@"',
    "sh",
)
# As where intel-ipsec-mb is not installed: an empty file stands in its place.
FILES = 'ldconfig -p | sed -n "s/.*libIPSec_MB.so.1 .*=> //p"'
HIDDEN = f'for f in $({FILES}); do mount --bind /dev/null "$f"; done'
NO_IPSEC_MB = ("unshare", "-m", "sh", "-c", f'{HIDDEN}; exec "$@"', "sh")
BEST = "openssl" if aead_library("ipsec-mb").trouble else "ipsec-mb"
NO_TUN = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh")

# prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN): what MemoryDenyWriteExecute= asks of the kernel (Linux 6.3).
NO_NEW_CODE = "import ctypes; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0"


@pytest.fixture
def stranger() -> None:
    """Skips where an ordinary user can not run this Python (a virtual environment in a closed home)."""
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux)")
    if subprocess.run([*WITHOUT_RIGHTS, sys.executable, "-c", "import cffi"], capture_output=True).returncode:
        pytest.skip(f"user {NOBODY} can not run {sys.executable}")


@pytest.fixture
def hub(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []
    ns = namespace("start")

    def make(name: str, config: str = HUB, *wrap: str) -> Daemon:
        made.append(Daemon(ns, tmp_path / name, config, wrap=wrap))
        return made[-1]

    yield make
    for daemon in made:
        daemon.kill()


def refused(daemon: Daemon) -> tuple[int, str]:
    """Exit status and the one line it said."""
    daemon.start(is_ready=False)
    status = daemon.process.wait(20)
    (line,) = daemon.log().splitlines()
    assert [link["ifname"] for link in daemon.namespace.ip_json("link")] == ["lo"]
    return status, line


def test_port_in_use(hub: Callable[..., Daemon]) -> None:
    daemon = hub("a")
    with daemon.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 443))
        status, line = refused(daemon)
    assert status == 1 and "UDP port 0.0.0.0:443 is in use by another process" in line


def test_interface_in_use(hub: Callable[..., Daemon]) -> None:
    first = hub("a").start()
    second = hub("b", HUB.replace(":443", ":444")).start(is_ready=False)
    assert second.process.wait(20) == 1
    assert "interface oxd0 exists already" in second.log()
    assert first.end() == 0


def test_no_tun_device(hub: Callable[..., Daemon]) -> None:
    status, line = refused(hub("a", HUB, *NO_TUN))
    assert status == 1 and "/dev/net/tun is missing" in line


@pytest.mark.parametrize("wrap", [WITHOUT_RIGHTS, (*OPEN_TUN, *WITHOUT_RIGHTS)], ids=["closed", "open"])
@pytest.mark.usefixtures("stranger")
def test_no_permission(hub: Callable[..., Daemon], wrap: tuple[str, ...]) -> None:
    daemon = hub("a", HUB, *wrap)
    own(daemon)
    status, line = refused(daemon)
    assert status == 4 and "CAP_NET_ADMIN" in line


def test_bad_configuration(hub: Callable[..., Daemon]) -> None:
    status, line = refused(hub("a", HUB + "mtu = 7\n"))
    assert status == 78 and "a.toml:" in line and "listen.mtu: unknown key" in line


def test_without_the_faster_crypto_library(hub: Callable[..., Daemon]) -> None:
    daemon = hub("a", HUB, *NO_IPSEC_MB).start()
    interface = daemon.ask("status")["interface"]
    assert interface["library"] == "openssl" and interface["library_reason"].startswith("ipsec-mb: ")
    assert daemon.end() == 0
    assert f"the faster crypto library is not used: {interface['library_reason']}" in daemon.log()


def test_a_crypto_library_that_is_not_there(hub: Callable[..., Daemon]) -> None:
    status, line = refused(hub("a", HUB + '[crypto]\nlibrary = "ipsec-mb"\n', *NO_IPSEC_MB))
    assert status == 78 and "a.toml:" in line
    assert 'crypto.library: "ipsec-mb" can not be used here: ' in line


def test_a_route_that_is_somebody_elses_undoes_everything(hub: Callable[..., Daemon]) -> None:
    daemon = hub("a", HUB.replace('name = "oxd0"', 'name = "oxd0"\ntable = "main"'))
    daemon.namespace.ip("route", "add", "10.70.0.0/24", "dev", "lo")
    peer = f'[[peer]]\nname = "e"\npublic_key = "{hub("b").public_key}"\nallowed_ips = ["10.70.0.0/24"]\n'
    daemon.write(HUB + peer)
    status, line = refused(daemon)
    assert status == 1 and "route 10.70.0.0/24: there is one already" in line


def test_a_strict_reverse_path_filter_is_named(hub: Callable[..., Daemon]) -> None:
    daemon = hub("a")
    peer = f'[[peer]]\nname = "e"\npublic_key = "{hub("b").public_key}"\nallowed_ips = ["0.0.0.0/0"]\n'
    daemon.write(HUB + peer)
    said = []
    for settings in ("all.rp_filter=1", "all.src_valid_mark=1"):
        daemon.namespace.run("sysctl", "-q", f"net.ipv4.conf.{settings}")
        daemon.start()
        assert daemon.end() == 0
        said.append(daemon.log().count("src_valid_mark"))
    assert said == [1, 1], "once, and not again when it is set"


def own(daemon: Daemon) -> None:
    """The daemon's folder is that of its user; the way to it is open."""
    for path in (daemon.folder, *daemon.folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    for folder in daemon.folder.parents:
        if folder != Path("/") and not folder.stat().st_mode & 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)


@pytest.mark.usefixtures("stranger")
def test_as_the_hardened_service(hub: Callable[..., Daemon]) -> None:
    allowed = '["10.70.0.0/24", "0.0.0.0/0"]'
    daemon = hub("a", HUB, *OPEN_TUN, *SERVICE)
    peer = f'[[peer]]\nname = "e"\npublic_key = "{hub("b").public_key}"\nallowed_ips = {allowed}\n'
    daemon.write(HUB + peer)
    own(daemon)
    daemon.start(prelude=NO_NEW_CODE)
    assert len(daemon.namespace.rules("-4")) == 2
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[1] == str(NOBODY) and int(fields["CapEff"], 16) == 1 << 12 | 1 << 10
    assert fields["NoNewPrivs"] == "1"
    document = daemon.ask("status")
    assert document["peers"][0]["state"] == "down"
    assert document["interface"]["library"] == BEST, "no rule of the service keeps it from being loaded"
    assert daemon.end() == 0
    assert daemon.namespace.rules("-4") == []
