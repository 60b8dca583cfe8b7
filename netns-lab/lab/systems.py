"""The tunnel systems that the lab can put between the two sites, and how each is started.

A system brings the inner addresses of topology.py up at both sites with the lab's inner MTU (1420 bytes on
a link of 1500), so that every one carries the same packets. `direct` is none: traffic takes the link itself.
The same system may stand in the table several times: another binary, or another configuration of our daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab.errors import LabError, MissingError, UsageError
from lab.processes import Process, run
from lab.topology import LINK_DEVICE, Lab, Site

REPOSITORY = Path(__file__).resolve().parents[2]
UP_SECONDS = 20.0
LOG_LINES = 8
WIREGUARD_PORT = 51820
OPENVPN_PORT = 1194
OXIDIZED_PORT = 443
WIREGUARD_SOCKETS = Path("/var/run/wireguard")
# Our daemon with other settings, as a system of its own: "table.key" of the configuration file -> TOML value.
VARIANTS: dict[str, dict[str, str]] = {
    "oxidized-openssl": {"crypto.library": '"openssl"'},
    "oxidized-chacha20": {"crypto.suite": '"chacha20-poly1305"'},
}


@dataclass(slots=True)
class Tunnel:
    """A running system: where its traffic goes and which processes it costs."""

    system: str
    edge4: str
    edge6: str
    hub4: str
    hub6: str
    devices: dict[str, str]
    daemons: list[Process] = field(default_factory=list)
    port: int = 0
    sockets: dict[str, Path] = field(default_factory=dict)
    status: Callable[[], dict[str, dict[str, Any]]] | None = None

    @property
    def is_tunnel(self) -> bool:
        return bool(self.daemons)

    def cpu_seconds(self) -> float:
        return sum(daemon.cpu_seconds() for daemon in self.daemons)

    def rss_bytes(self) -> int:
        """Resident memory of the larger of the two daemons."""
        return max(daemon.rss_bytes() for daemon in self.daemons)

    def datapath_memory_bytes(self) -> int | None:
        """What the larger packet path says that it took at start; None of systems that do not say."""
        if self.status is None:
            return None
        return max(int(document["plane"]["memory_bytes"]) for document in self.status().values())

    def expect_alive(self) -> None:
        for daemon in self.daemons:
            daemon.expect_alive()


class System(Protocol):
    """Something that carries packets between the two sites."""

    @property
    def name(self) -> str: ...

    def check(self) -> None:
        """MissingError when it can not run here."""

    def version(self) -> str: ...

    def start(self, lab: Lab, settings: Mapping[str, str]) -> Tunnel:
        """Brings it up between the sites and returns when a ping has passed."""


def need(*programs: str) -> None:
    """MissingError that names what is not installed."""
    packages = {"wg": "wireguard-tools", "ping": "iputils-ping", "ip": "iproute2", "sysctl": "procps"}
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        names = " ".join(packages.get(program, program) for program in absent)
        raise MissingError(f"not installed: {', '.join(absent)} (apt-get install {names})")


def need_program(program: str) -> None:
    """MissingError when a name is not on PATH, or a path is not a program that may be run."""
    if "/" not in program:
        need(program)
    elif not Path(program).is_file() or not os.access(program, os.X_OK):
        raise MissingError(f"{program} is not an executable file")


def second_word(command: list[str]) -> str:
    """The version in "NAME VERSION ..."; MissingError when the program says nothing of the kind."""
    words = run(command, check=False).split()
    if len(words) < 2:
        raise MissingError(f"no version from {' '.join(command)}")
    return words[1]


def tunnel_through(lab: Lab, system: str, devices: dict[str, str], port: int) -> Tunnel:
    edge, hub = lab.edge, lab.hub
    return Tunnel(system, edge.inner4, edge.inner6, hub.inner4, hub.inner6, devices, port=port)


def wait_up(lab: Lab, tunnel: Tunnel) -> None:
    """Waits until a ping through the tunnel is answered; LabError with the daemons' last words when not."""
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        tunnel.expect_alive()
        answer = lab.edge.run("ping", "-n", "-c", "1", "-W", "1", tunnel.hub4, check=False, timeout=5)
        if " 1 received" in answer:
            return
        time.sleep(0.1)
    logs = "\n".join(f"--- {daemon.name}\n{daemon.log_tail(LOG_LINES)}" for daemon in tunnel.daemons)
    raise LabError(f"{tunnel.system}: no ping through the tunnel within {UP_SECONDS:.0f} s\n{logs}")


def wait_device(site: Site, device: str, daemon: Process) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while device not in site.run("ip", "-o", "link", "show"):
        daemon.expect_alive()
        if time.monotonic() > deadline:
            raise LabError(f"{daemon.name} made no device {device}:\n{daemon.log_tail()}")
        time.sleep(0.05)


def set_addresses(site: Site, device: str, mtu_bytes: int) -> None:
    site.run("ip", "addr", "add", f"{site.inner4}/24", "dev", device)
    site.run("ip", "-6", "addr", "add", f"{site.inner6}/64", "dev", device, "nodad")
    site.run("ip", "link", "set", device, "mtu", str(mtu_bytes), "up")


class Direct:
    """No tunnel: the yardstick. The link itself gets the inner MTU."""

    name = "direct"

    def check(self) -> None:
        need("ip", "ping")

    def version(self) -> str:
        return f"Linux {os.uname().release}"

    def start(self, lab: Lab, settings: Mapping[str, str]) -> Tunnel:
        for site in lab.sites:
            site.run("ip", "link", "set", LINK_DEVICE, "mtu", str(lab.inner_mtu_bytes))
        edge, hub = lab.edge, lab.hub
        devices = {site.name: LINK_DEVICE for site in lab.sites}
        tunnel = Tunnel(self.name, edge.link4, edge.link6, hub.link4, hub.link6, devices)
        wait_up(lab, tunnel)
        return tunnel


class WireguardGo:
    """WireGuard in user space, as Debian ships it or from a binary of the user's."""

    def __init__(self, name: str = "wireguard-go", program: str = "wireguard-go") -> None:
        self.name = name
        self.program = program

    def check(self) -> None:
        need_program(self.program)
        need("wg")
        self.version()

    def version(self) -> str:
        return second_word([self.program, "--version"])

    def start(self, lab: Lab, settings: Mapping[str, str]) -> Tunnel:
        devices = {site.name: f"ow{os.getpid()}{site.name[0]}" for site in lab.sites}
        tunnel = tunnel_through(lab, self.name, devices, WIREGUARD_PORT)
        keys = {site.name: run(["wg", "genkey"]).strip() for site in lab.sites}
        public = {name: run(["wg", "pubkey"], text_in=key).strip() for name, key in keys.items()}
        for site in lab.sites:
            device = devices[site.name]
            (WIREGUARD_SOCKETS / f"{device}.sock").unlink(missing_ok=True)
            environment = {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", "LOG_LEVEL": "error"}
            command = [self.program, "-f", device]
            daemon = lab.start(f"{self.name}-{site.name}", command, site, env=environment)
            tunnel.daemons.append(daemon)
            wait_device(site, device, daemon)
            self._configure(lab, site, device, keys[site.name], public["hub" if site is lab.edge else "edge"])
            set_addresses(site, device, lab.inner_mtu_bytes)
        wait_up(lab, tunnel)
        return tunnel

    def _configure(self, lab: Lab, site: Site, device: str, key: str, peer: str) -> None:
        path = lab.folder / f"{device}.conf"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            port = f"ListenPort = {WIREGUARD_PORT}\n" if site is lab.hub else ""
            out.write(f"[Interface]\nPrivateKey = {key}\n{port}[Peer]\nPublicKey = {peer}\n")
            behind = lab.hub.behind if site is lab.edge else ()
            out.write(f"AllowedIPs = {', '.join(('10.70.0.0/24', 'fd70::/64', *behind))}\n")
            if site is lab.edge:
                out.write(f"Endpoint = {lab.hub.link4}:{WIREGUARD_PORT}\nPersistentKeepalive = 5\n")
        site.run("wg", "setconf", device, str(path))


class Openvpn:
    """OpenVPN over UDP with TLS between two pinned certificates and AES-256-GCM, in user space."""

    def __init__(self, name: str = "openvpn", program: str = "openvpn") -> None:
        self.name = name
        self.program = program

    def check(self) -> None:
        need_program(self.program)
        need("openssl")
        self.version()

    def version(self) -> str:
        return second_word([self.program, "--version"])

    def start(self, lab: Lab, settings: Mapping[str, str]) -> Tunnel:
        devices = {site.name: f"ov{site.name}" for site in lab.sites}
        tunnel = tunnel_through(lab, self.name, devices, OPENVPN_PORT)
        prints = {site.name: self._certificate(lab, site.name) for site in lab.sites}
        for site in (lab.hub, lab.edge):
            other = "edge" if site is lab.hub else "hub"
            command = self._command(lab, site, devices[site.name], prints[other])
            tunnel.daemons.append(lab.start(f"{self.name}-{site.name}", command, site))
        for site, daemon in zip((lab.hub, lab.edge), tunnel.daemons, strict=True):
            wait_device(site, devices[site.name], daemon)
        wait_up(lab, tunnel)
        return tunnel

    def _certificate(self, lab: Lab, name: str) -> str:
        key, certificate = lab.folder / f"{name}.key", lab.folder / f"{name}.crt"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        run(["openssl", "req", "-x509", *curve, "-days", "2", "-subj", f"/CN={name}", *files])
        text = run(["openssl", "x509", "-in", str(certificate), "-noout", "-fingerprint", "-sha256"])
        return text.strip().partition("=")[2]

    def _command(self, lab: Lab, site: Site, device: str, fingerprint: str) -> list[str]:
        role = ["--client", "--remote", lab.hub.link4, str(OPENVPN_PORT), "--nobind"]
        if site is lab.hub:
            clients = lab.folder / "openvpn-clients"
            clients.mkdir()
            edge4, edge6 = f"{lab.edge.inner4} 255.255.255.0", f"{lab.edge.inner6}/64 {site.inner6}"
            (clients / "edge").write_text(f"ifconfig-push {edge4}\nifconfig-ipv6-push {edge6}\n")
            role = [
                "--server", "10.70.0.0", "255.255.255.0", "--server-ipv6", "fd70::/64",
                "--topology", "subnet", "--dh", "none", "--lport", str(OPENVPN_PORT),
                "--client-config-dir", str(clients),
            ]  # fmt: skip
        return [
            self.program, "--dev", device, "--dev-type", "tun", "--proto", "udp4", *role,
            "--cert", str(lab.folder / f"{site.name}.crt"), "--key", str(lab.folder / f"{site.name}.key"),
            "--peer-fingerprint", fingerprint, "--data-ciphers", "AES-256-GCM", "--cipher", "AES-256-GCM",
            "--tun-mtu", str(lab.inner_mtu_bytes), "--mssfix", "0", "--ping", "5", "--ping-restart", "60",
            "--auth-nocache", "--disable-dco", "--verb", "2", "--connect-retry", "1",
        ]  # fmt: skip


class Oxidized:
    """The daemon of this repository, with real configuration and key files."""

    def __init__(self, name: str = "oxidized", extra: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.extra = dict(extra or {})

    def with_settings(self, settings: Mapping[str, str]) -> Oxidized:
        """The same system with these below its own ("table.key" -> TOML value)."""
        return Oxidized(self.name, {**settings, **self.extra})

    def check(self) -> None:
        """MissingError when the repository's environment has not been built, or does not know a setting."""
        imports = "import oxidized.ffi._oxi, oxidized.cli, oxidized.io.daemon"
        try:
            run(["env", f"PYTHONPATH={REPOSITORY}", str(python()), "-c", imports], timeout=30)
        except LabError as error:
            reason = str(error).splitlines()[-1]
            raise MissingError(f"oxidized is not built here: ./dev build ({reason})") from None
        if self.extra:
            self._check_extra()

    def _check_extra(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            path, keys = Path(name) / "trial.toml", [Path(name) / "a.key", Path(name) / "b.key"]
            for key in keys:
                run(oxidized_command("keygen", "--out", str(key)))
            public = run(oxidized_command("pubkey"), text_in=keys[1].read_text()).strip()
            tables = {"interface": {"address": '["10.70.0.2/24"]'},
                      "identity": {"key": json.dumps(f"file:{keys[0]}")}}  # fmt: skip
            peer = {"name": '"hub"', "public_key": json.dumps(public), "allowed_ips": '["10.70.0.1/32"]',
                    "endpoint": '["10.201.0.1:443"]'}  # fmt: skip
            path.write_text(toml_text(tables, peer, self.extra))
            try:
                run(oxidized_command("check", "--config", str(path)))
            except LabError as error:
                reason = str(error).splitlines()[-1].replace(f"{path}:", "")
                raise MissingError(f"this oxidized does not take its settings: {reason}") from None

    def version(self) -> str:
        return run(oxidized_command("--version")).split()[-1]

    def start(self, lab: Lab, settings: Mapping[str, str]) -> Tunnel:
        """`settings` are keys of the configuration file as "table.key"; values are TOML."""
        device = "oxd0"
        tunnel = tunnel_through(lab, self.name, {site.name: device for site in lab.sites}, OXIDIZED_PORT)
        public = {site.name: self._make_key(lab, site.name) for site in lab.sites}
        for site in (lab.hub, lab.edge):
            path = lab.folder / f"{site.name}.toml"
            tunnel.sockets[site.name] = lab.folder / f"{site.name}.sock"
            chosen = {**settings, **self.extra}
            path.write_text(configuration(lab, site, public, tunnel.sockets[site.name], chosen))
            shutil.copy(path, lab.logs / f"{site.name}.toml")
            command = [str(python()), "-m", "oxidized", "run", "--config", str(path)]
            environment = {"PYTHONPATH": str(REPOSITORY)}
            tunnel.daemons.append(lab.start(f"{self.name}-{site.name}", command, site, env=environment))
        tunnel.status = lambda: {name: oxidized_status(path) for name, path in tunnel.sockets.items()}
        wait_up(lab, tunnel)
        return tunnel

    def _make_key(self, lab: Lab, name: str) -> str:
        path = lab.folder / f"{name}.key"
        run(oxidized_command("keygen", "--out", str(path)))
        return run(oxidized_command("pubkey"), text_in=path.read_text()).strip()


def python() -> Path:
    """The interpreter of the repository's environment, or the running one."""
    own = REPOSITORY / ".venv/bin/python"
    return own if own.exists() else Path(sys.executable)


def oxidized_command(*words: str) -> list[str]:
    return ["env", f"PYTHONPATH={REPOSITORY}", str(python()), "-m", "oxidized", *words]


def ctl_command(socket: Path, *words: str) -> list[str]:
    module = ["-m", "oxidized.ctl", "--socket", str(socket)]
    return ["env", f"PYTHONPATH={REPOSITORY}", str(python()), *module, *words]


def oxidized_status(socket: Path) -> dict[str, Any]:
    """The daemon's status document (schema oxidized.status/1)."""
    document: dict[str, Any] = json.loads(run(ctl_command(socket, "--json", "status")))
    return document


def configuration(lab: Lab, site: Site, public: Mapping[str, str], socket: Path,
                  settings: Mapping[str, str]) -> str:  # fmt: skip
    """The configuration file of one site."""
    tables: dict[str, dict[str, str]] = {
        "interface": {
            "name": '"oxd0"', "address": json.dumps([f"{site.inner4}/24", f"{site.inner6}/64"]),
            "mtu": str(lab.inner_mtu_bytes),
        },
        "identity": {"key": json.dumps(f"file:{lab.folder / site.name}.key")},
        "control": {"socket": json.dumps(str(socket))},
        "log": {"level": '"info"', "format": '"console"'},
    }  # fmt: skip
    if site is lab.hub:
        tables["listen"] = {"udp": json.dumps([f"0.0.0.0:{OXIDIZED_PORT}", f"[::]:{OXIDIZED_PORT}"])}
    other = lab.edge if site is lab.hub else lab.hub
    peer = {
        "name": json.dumps(other.name), "public_key": json.dumps(public[other.name]),
        "allowed_ips": json.dumps([f"{other.inner4}/32", f"{other.inner6}/128", *other.behind]),
    }  # fmt: skip
    if site is lab.edge:
        peer["endpoint"] = json.dumps([f"{lab.hub.link4}:{OXIDIZED_PORT}"])
    return toml_text(tables, peer, settings)


def toml_text(tables: dict[str, dict[str, str]], peer: dict[str, str], settings: Mapping[str, str]) -> str:
    """A configuration file of one peer; `settings` ("table.key") come over what the tables say."""
    for key, value in settings.items():
        table, _, name = key.rpartition(".")
        (peer if table == "peer" else tables.setdefault(table, {}))[name] = value
    text = "version = 1\n"
    for table, entries in tables.items():
        text += f"\n[{table}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
    return text + "\n[[peer]]\n" + "".join(f"{name} = {value}\n" for name, value in peer.items())


SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        Oxidized(), Direct(), WireguardGo(), Openvpn(),
        *(Oxidized(name, extra) for name, extra in VARIANTS.items()),
    )
}  # fmt: skip
FROM_BINARY: dict[str, Callable[[str, str], System]] = {"wireguard-go": WireguardGo, "openvpn": Openvpn}


def from_binary(word: str) -> System:
    """The system of --peer-binary NAME=PATH, called NAME-new; UsageError when the word makes no sense."""
    name, _, path = word.partition("=")
    if name not in FROM_BINARY or not path:
        raise UsageError(f"--peer-binary {word}: NAME=PATH is expected, NAME of {', '.join(FROM_BINARY)}")
    return FROM_BINARY[name](f"{name}-new", str(Path(path).absolute()))


def variant(words: Sequence[str]) -> dict[str, System]:
    """The systems of --variant NAME:TABLE.KEY=TOML, several words of one name being one system."""
    settings: dict[str, dict[str, str]] = {}
    for word in words:
        name, _, setting = word.partition(":")
        key, _, value = setting.partition("=")
        if not name or not value or "." not in key or name in SYSTEMS:
            raise UsageError(f"--variant {word}: NEW-NAME:TABLE.KEY=TOML-VALUE is expected")
        settings.setdefault(name, {})[key] = value
    return {name: Oxidized(name, extra) for name, extra in settings.items()}
