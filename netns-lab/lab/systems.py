"""The tunnel systems that the lab can put between the two sites, and how each is started.

A system brings the inner addresses of topology.py up at both sites with the lab's inner MTU (1420 bytes on
a link of 1500), so that every one carries the same packets. `direct` is none: traffic takes the link itself.
The same system may stand in the table several times: another binary, or another configuration of our daemon.
"""

from __future__ import annotations

import json
import os
import re
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
SPEEDER_PORT = 4096
KCP_PORT = 29900
STREAM_PORT = 5201  # the one TCP port that kcptun carries: iperf3's
TCP_LISTEN = "0A"  # the state in /proc/net/tcp
WIREGUARD_SOCKETS = Path("/var/run/wireguard")
# Our daemon with other settings, as a system of its own: "table.key" of the configuration file -> TOML value.
VARIANTS: dict[str, dict[str, str]] = {
    "oxidized-openssl": {"crypto.library": '"openssl"'},
    "oxidized-chacha20": {"crypto.suite": '"chacha20-poly1305"'},
}
# Short words for the settings that repair is compared by: the key of the configuration, and what it may be.
SHORT_SETTINGS = {
    "repair": ("repair.mode", ("off", "arq", "fec", "auto")),
    "predictor": ("repair.predictor", ("off", "ewma", "ge", "lstm")),
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
    is_tcp_only: bool = False  # carries streams to STREAM_PORT, and no packets

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
    packages = {"wg": "wireguard-tools", "ping": "iputils-ping", "ip": "iproute2", "sysctl": "procps",
                "kcptun-client": "kcptun", "kcptun-server": "kcptun"}  # fmt: skip
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


def is_listening(table: str, port: int) -> bool:
    """Whether a TCP socket listens on the port, by the text of /proc/net/tcp or tcp6 (proc(5))."""
    rows = (line.split() for line in table.splitlines()[1:])
    return any(row[3] == TCP_LISTEN and int(row[1].rpartition(":")[2], 16) == port for row in rows if row)


def wait_listening(site: Site, port: int, daemon: Process) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while not any(is_listening(site.run("cat", f"/proc/net/{kind}"), port) for kind in ("tcp", "tcp6")):
        daemon.expect_alive()
        if time.monotonic() > deadline:
            raise LabError(f"{daemon.name} does not listen on port {port}:\n{daemon.log_tail()}")
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

    def endpoint(self, lab: Lab) -> str:
        """Where the edge sends to: the hub's listening port, or what stands before it."""
        return f"{lab.hub.link4}:{WIREGUARD_PORT}"

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
                out.write(f"Endpoint = {self.endpoint(lab)}\nPersistentKeepalive = 5\n")
        site.run("wg", "setconf", device, str(path))


class UdpSpeeder(WireguardGo):
    """UDPspeeder around wireguard-go: block Reed-Solomon, by default 10 repair packets to 20 (its -f20:10).

    No distribution has it. Its program is `speederv2` on PATH, or --peer-binary udpspeeder=PATH.
    """

    def __init__(self, name: str = "udpspeeder", speeder: str = "speederv2",
                 options: Sequence[str] = ("-f20:10",)) -> None:  # fmt: skip
        super().__init__(name)
        self.speeder = speeder
        self.options = tuple(options)

    def check(self) -> None:
        if "/" not in self.speeder and shutil.which(self.speeder) is None:
            raise MissingError(
                f"not installed: {self.speeder} (no distribution has it: build UDPspeeder, and put it on PATH"
                " or name it by --peer-binary udpspeeder=PATH)"
            )
        need_program(self.speeder)
        super().check()

    def version(self) -> str:
        """Of its help "git version:HASH", where it has that; and the version of wireguard-go."""
        found = re.search(r"git version:\s*(\S+)", run([self.speeder, "-h"], check=False))
        own = found[1] if found else "unknown"
        return f"{own} {' '.join(self.options)}, wireguard-go {super().version()}"

    def endpoint(self, lab: Lab) -> str:
        return f"127.0.0.1:{SPEEDER_PORT}"

    def start(self, lab: Lab, settings: Mapping[str, str]) -> Tunnel:
        server, inner = f"{lab.hub.link4}:{SPEEDER_PORT}", f"127.0.0.1:{WIREGUARD_PORT}"
        words = {
            "hub": ["-s", "-l", server, "-r", inner],
            "edge": ["-c", "-l", self.endpoint(lab), "-r", server],
        }
        speeders = [
            lab.start(f"{self.name}-{site.name}", [self.speeder, *words[site.name], *self.options], site)
            for site in (lab.hub, lab.edge)
        ]
        try:
            tunnel = super().start(lab, settings)
        except LabError as error:
            logs = "\n".join(f"--- {speeder.name}\n{speeder.log_tail(LOG_LINES)}" for speeder in speeders)
            raise LabError(f"{error}\n{logs}") from None
        for speeder in speeders:
            speeder.expect_alive()
        tunnel.daemons += speeders
        tunnel.port = SPEEDER_PORT
        return tunnel


class Kcptun:
    """kcptun: one TCP port over KCP, with retransmission and Reed-Solomon 10:3. No packets, no UDP.

    TCP ends at its client and begins again at its server, so the congestion control of a flow is of the
    loopback only. Compression is off: what iperf3 sends repeats itself.
    """

    def __init__(self, name: str = "kcptun", options: Sequence[str] = ("--mode", "fast")) -> None:
        self.name = name
        self.options = (*options, "--ds", "10", "--ps", "3", "--nocomp", "--quiet")

    def check(self) -> None:
        need("kcptun-client", "kcptun-server")

    def version(self) -> str:
        """The package's where there is one: the program built for Debian does not know its own."""
        package = ""
        if shutil.which("dpkg-query"):
            package = run(["dpkg-query", "-W", "-f", "${Version}", "kcptun"], check=False).strip()
        return f"{package or run(['kcptun-client', '--version']).split()[-1]} {' '.join(self.options)}"

    def start(self, lab: Lab, settings: Mapping[str, str]) -> Tunnel:
        server = f"{lab.hub.link4}:{KCP_PORT}"
        tunnel = Tunnel(
            self.name, "127.0.0.1", "::1", "127.0.0.1", "::1", {}, port=KCP_PORT, is_tcp_only=True
        )
        words = {
            "hub": ["kcptun-server", "-l", server, "-t", f"127.0.0.1:{STREAM_PORT}"],
            "edge": ["kcptun-client", "-l", f"127.0.0.1:{STREAM_PORT}", "-r", server],
        }
        for site in (lab.hub, lab.edge):
            command = [*words[site.name], "--key", lab.prefix, *self.options]
            tunnel.daemons.append(lab.start(f"{self.name}-{site.name}", command, site))
        wait_listening(lab.edge, STREAM_PORT, tunnel.daemons[1])
        tunnel.expect_alive()
        return tunnel


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
        UdpSpeeder(), UdpSpeeder("udpspeeder-mode1", options=("-f20:10", "--mode", "1")),
        Kcptun(), Kcptun("kcptun-tuned", ("--mode", "fast3", "--sndwnd", "1024", "--rcvwnd", "1024")),
        *(Oxidized(name, extra) for name, extra in VARIANTS.items()),
    )
}  # fmt: skip
FROM_BINARY: dict[str, Callable[[str, str], System]] = {
    "wireguard-go": WireguardGo, "openvpn": Openvpn, "udpspeeder": UdpSpeeder,
}  # fmt: skip


def from_binary(word: str) -> System:
    """The system of --peer-binary NAME=PATH, called NAME-new; UsageError when the word makes no sense."""
    name, _, path = word.partition("=")
    if name not in FROM_BINARY or not path:
        raise UsageError(f"--peer-binary {word}: NAME=PATH is expected, NAME of {', '.join(FROM_BINARY)}")
    return FROM_BINARY[name](f"{name}-new", str(Path(path).absolute()))


def long_setting(key: str, value: str) -> tuple[str, str]:
    """The "table.key" and the TOML value of one of SHORT_SETTINGS; UsageError for a value it can not be."""
    long, allowed = SHORT_SETTINGS[key]
    if value not in allowed:
        raise UsageError(f"{key}={value}: {', '.join(allowed)} is expected")
    return long, json.dumps(value)


def variant(words: Sequence[str]) -> dict[str, System]:
    """The systems of --variant NAME:TABLE.KEY=TOML, several words of one name being one system.

    A setting may be one of SHORT_SETTINGS, as in `arq:repair=arq`.
    """
    settings: dict[str, dict[str, str]] = {}
    for word in words:
        name, _, setting = word.partition(":")
        key, _, value = setting.partition("=")
        if key in SHORT_SETTINGS:
            key, value = long_setting(key, value)
        if not name or not value or "." not in key or name in SYSTEMS:
            raise UsageError(f"--variant {word}: NEW-NAME:TABLE.KEY=TOML-VALUE is expected")
        settings.setdefault(name, {})[key] = value
    return {name: Oxidized(name, extra) for name, extra in settings.items()}
