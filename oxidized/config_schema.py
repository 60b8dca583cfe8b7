"""The configuration as frozen dataclasses, one per table: a field is its own manual.

`key(default, help, ...)` gives what the file may say, what it means and whether `oxidized-ctl reload`
can change it in a running daemon. docs/configuration.md is made from this (`config_docs.py`).
"""

# ruff: noqa: RUF009  (key() makes a field; it is not a default that is shared)
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from oxidized import config_kinds as kinds
from oxidized.config_classes import Classed
from oxidized.config_kinds import Interface, Key, Kind, Network
from oxidized.config_payload import Flows
from oxidized.units import Duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oxidized.core.settings import TunnelSettings

VERSION = 1
REQUIRED = ""


def key(
    default: str,
    help: str,
    kind: Kind,
    *,
    low: Any = None,
    high: Any = None,
    limit: str = "",
    reloadable: bool = True,
    inheritable: bool = False,
) -> Any:
    """A field. `default` as the file would have it (TOML), or in words where it depends; REQUIRED: none.

    `inheritable`: `[defaults.peer]` may set it for all peers.
    """
    manual = Key(kind, default, help, low, high, limit, reloadable, inheritable)
    return dataclasses.field(metadata={"key": manual})


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceConfig:
    """The TUN device: what the applications of this host see of the tunnel."""

    name: str = key(
        '"oxd-NAME"', "Name of the device. NAME is that of the file.", kinds.INTERFACE_NAME, reloadable=False
    )
    address: tuple[Interface, ...] = key(
        REQUIRED, "Our addresses inside the tunnel, with the length of their prefix.", kinds.ADDRESSES
    )
    mtu: int | Literal["auto"] = key(
        '"auto"',
        'Largest inner packet in bytes. "auto" is 1420, which fits any path of 1500 bytes. On a narrower '
        "path less is sent, by itself: see `oxidized-ctl show path`.",
        kinds.WHOLE_OR_AUTO,
        low=1280,
        high=9000,
        limit="largest inner packet",
    )
    table: int | Literal["auto", "main", "off"] = key(
        '"auto"',
        'Routing table for allowed_ips. "auto": main, but a default route goes to a table of its own '
        'behind a rule, so that our own datagrams find their way out. "off": no routes are made.',
        kinds.TABLE,
        low=1,
        high=4294967295,
        reloadable=False,
    )
    workers: int = key(
        "1",
        "Threads of the packet path, each with a queue of the device and sockets of its own. More than one "
        "helps a hub with several edges and processors to spare; one edge's packets stay with one thread.",
        kinds.WHOLE,
        low=1,
        high=16,
        reloadable=False,
    )
    fwmark: int = key(
        "0x6f78",
        "Mark of our own datagrams, and number of the table for default routes. 0: none.",
        kinds.WHOLE,
        low=0,
        high=4294967295,
        reloadable=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityConfig:
    """Who we are: the private key, which never stands in this file."""

    key: str = key(
        REQUIRED,
        "Where the private key is. A credential is a file that systemd hands over (LoadCredential=); a file "
        "must belong to root or to the user of the daemon and be closed to all others.",
        kinds.KEY_SOURCE,
        reloadable=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenConfig:
    """Makes this end a hub, which peers call. Without this table it is an edge, which calls its peers."""

    udp: tuple[str, ...] = key(
        REQUIRED, "Addresses and ports for packets and handshakes.", kinds.LISTEN, reloadable=False
    )
    retry: Literal["never", "under-load", "always"] = key(
        '"under-load"',
        "When a caller must first prove its address (QUIC Retry): one round trip more for it, and forged "
        "addresses cost us nothing.",
        kinds.choice("never", "under-load", "always"),
    )
    max_handshakes_per_second: int = key(
        "200",
        "New connections per second; more are refused, so that a flood can not take the processor.",
        kinds.WHOLE,
        low=1,
        high=10000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptoConfig:
    """Packet encryption. Both ends may differ; the defaults need no change."""

    suite: Literal["auto", "aes-256-gcm", "chacha20-poly1305"] = key(
        '"auto"',
        "Cipher we want; auto takes the one this processor does fastest.",
        kinds.choice("auto", "aes-256-gcm", "chacha20-poly1305"),
    )
    library: Literal["auto", "openssl", "ipsec-mb"] = key(
        '"auto"',
        "Who computes it; the bytes are the same. auto: ipsec-mb, which costs less per packet, where its "
        "shared library is installed (Debian: libipsec-mb1) and passes a check at start, else openssl.",
        kinds.choice("auto", "openssl", "ipsec-mb"),
        reloadable=False,
    )
    rekey_after: Duration = key(
        '"120s"',
        "Age at which a session key is replaced, without a gap.",
        kinds.DURATION,
        low="1s",
        high="1h",
    )
    rekey_packets: int = key(
        "67108864",
        "Packets after which a session key is replaced.",
        kinds.WHOLE,
        low=1000,
        high=1 << 26,
        limit="2^26",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """One peer; the table stands once for each. `[defaults.peer]` sets for all what a peer leaves out."""

    name: str = key(REQUIRED, "The name in status, logs and metrics; unique.", kinds.PEER_NAME)
    public_key: str = key(
        REQUIRED, "What `oxidized pubkey` prints for the peer's private key.", kinds.PUBLIC_KEY
    )
    endpoint: tuple[str, ...] = key(
        "none",
        "Where we call the peer, in order of preference. Needed on an edge, forbidden on a hub.",
        kinds.ENDPOINTS,
    )
    allowed_ips: tuple[Network, ...] = key(
        REQUIRED,
        "What lies behind the peer: packets to these go to it, and only from these are taken from it. Of "
        "several peers the longest prefix wins.",
        kinds.PREFIXES,
    )
    resolve: Duration = key(
        '"60s"',
        "How often host names of the endpoints are looked up again (and whenever the peer falls silent).",
        kinds.DURATION,
        low="1s",
        high="1d",
        inheritable=True,
    )
    keepalive: Duration = key(
        '"20s"',
        "When idle for so long, send a packet that keeps NATs and firewalls open.",
        kinds.DURATION_OR_OFF,
        low="1s",
        high="1h",
        inheritable=True,
    )
    dead_after: Duration = key(
        '"5s"',
        "Sent and nothing heard for so long: the peer is silent, and is called again.",
        kinds.DURATION,
        low="1s",
        high="5min",
        inheritable=True,
    )
    transport: Literal["auto", "udp", "quic"] = key(
        '"auto"',
        "udp: packets of our own. quic: inside the QUIC connection, slow, for networks that let nothing else "
        "through. auto: udp, and quic only while udp is proved blocked.",
        kinds.choice("auto", "udp", "quic"),
        inheritable=True,
    )
    enable: bool = key("true", "false: as if the peer were not there.", kinds.BOOLEAN)


def _offload(what: str) -> Any:
    return key(
        '"auto"',
        f'{what} "auto": if the kernel can and a test at start succeeds; "on": do not start without.',
        kinds.choice("auto", "on", "off"),
        reloadable=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadConfig:
    """What the kernel hands over in one piece instead of packet by packet. The defaults need no change; to
    find a fault in a driver, switch them off one by one."""

    tso: Literal["auto", "on", "off"] = _offload("TCP super-packets at the TUN device, both ways.")
    uso: Literal["auto", "on", "off"] = _offload("UDP super-packets at the TUN device, both ways; needs tso.")
    gso: Literal["auto", "on", "off"] = _offload("Trains of equal datagrams to the UDP sockets.")
    gro: Literal["auto", "on", "off"] = _offload("Trains of equal datagrams from the UDP sockets.")


def _bundle_wait(default: str, what: str) -> Any:
    return key(
        default,
        f"How long {what} may wait for others to share a datagram with; each packet leaves by then.",
        kinds.DURATION_OR_OFF,
        low="0.1ms",
        high="5ms",
        reloadable=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionConfig:
    """Fewer bytes for small packets. Headers need no care; payloads do: read [compression.md](compression.md)
    before naming any."""

    headers: Literal["auto", "all", "off"] = key(
        '"auto"',
        'Compress the headers of inner packets. "auto": small packets, and large ones while there are few, '
        "so that it costs no throughput, on paths whose round trip takes 2 ms or more; "
        '"all": every packet.',
        kinds.choice("auto", "all", "off"),
        reloadable=False,
    )
    flows: int = key(
        "128",
        "Flows per peer whose headers are remembered; the longest unused makes room for a new one.",
        kinds.WHOLE,
        low=16,
        high=383,
        reloadable=False,
    )
    payload: tuple[Flows, ...] = key(
        "[]",
        "Flows whose payload we compress, by name (with the usual ports) or by port, which counts at either "
        "end. Behind = stands a dictionary (none, sip, syslog, mqtt, http, generic), generic unless set.",
        kinds.PAYLOAD,
        reloadable=False,
    )
    payload_unsafe: bool = key(
        "false",
        "true: also flows in which the text of several people meets (web, mail, telephony). Whoever sees the "
        "sizes of packets and can have text of his own beside a secret may find out that secret.",
        kinds.BOOLEAN,
        reloadable=False,
    )
    accept_payload: bool = key(
        "true",
        "false: peers are told to send us no compressed payload, whatever they have configured.",
        kinds.BOOLEAN,
        reloadable=False,
    )
    bundle: bool = key(
        "true",
        "Small packets may share a datagram, when they are there together or may wait for each other.",
        kinds.BOOLEAN,
        reloadable=False,
    )
    bundle_wait_voip: Duration = _bundle_wait('"1ms"', "packets of calls")
    bundle_wait_gaming: Duration = _bundle_wait('"off"', "packets of games")
    bundle_wait_other: Duration = _bundle_wait('"off"', "all other small packets")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairConfig:
    """Lost packets come back in time: see [repair.md](repair.md). What is lost to a full queue of the network
    is not repeated, as its sender must hear of it."""

    mode: Literal["auto", "arq", "fec", "off"] = key(
        '"auto"',
        'How what we send is repaired. "arq": lost packets are repeated; "fec": with the packets go '
        'others that repair them, before anything is known to be lost; "auto": of calls, games and control '
        "arq where that comes in time, otherwise fec; of all else both.",
        kinds.choice("auto", "arq", "fec", "off"),
    )
    max_overhead: int = key(
        "120",
        "Repair packets per 100 packets of calls, games and control traffic, at the most.",
        kinds.WHOLE,
        low=0,
        high=400,
    )
    max_overhead_bulk: int = key(
        "15", "The same of all other traffic.", kinds.WHOLE, low=0, high=400
    )
    metered: bool = key(
        "false", "true: bytes cost money on the way, so repair counts double.", kinds.BOOLEAN
    )
    order: bool = key(
        "true",
        "TCP flows that come in wait for what of them is lost until the peer has repeated it, 400 ms at the "
        "most (500 where there are hundreds of gaps), so that their senders see no loss.",
        kinds.BOOLEAN,
        reloadable=False,
    )
    predictor: Literal["auto", "lstm", "ge", "ewma", "off"] = key(
        '"auto"',
        'What foretells loss. "ge": a two-state filter of bursts; "ewma": an average; "lstm": a learned '
        'model (extra `ml`); "auto": what has done best, which is "ge"; "off": nothing, so that repair goes '
        "by what was lost.",
        kinds.choice("auto", "lstm", "ge", "ewma", "off"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficConfig:
    """What kind of traffic a flow is: [flows.md](flows.md) says how that is found out, and what it is for."""

    classes: tuple[Classed, ...] = key(
        "[]",
        "Rules, before anything else is asked: the first one that applies decides. Ports and prefixes count "
        "at either end. Classes: voip, gaming, web, streaming, bulk, control.",
        kinds.CLASSES_OF_TRAFFIC,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """How this daemon is looked at and steered."""

    socket: str = key(
        '"/run/oxidized/NAME/ctl.sock"',
        "Socket of oxidized-ctl. Its group may look, root and the daemon's own user may change.",
        kinds.SOCKET_PATH,
        reloadable=False,
    )
    metrics: str = key(
        '""', "Where Prometheus may scrape /metrics: a loopback address or a unix socket.", kinds.METRICS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What is logged and how. `oxidized-ctl log LEVEL` changes the level for 15 minutes."""

    level: str = key('"info"', 'Level, and per module after commas: "info,driver=debug".', kinds.LOG_LEVEL)
    format: Literal["auto", "journal", "console", "json"] = key(
        '"auto"',
        "auto: fields for journald under systemd, lines on a terminal, else JSON lines.",
        kinds.choice("auto", "journal", "console", "json"),
        reloadable=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration, checked. `name`: the stem of the file; `NAME_line`: where that key stands."""

    name: str
    file: str
    identity_line: int
    library_line: int
    interface: InterfaceConfig
    identity: IdentityConfig
    listen: ListenConfig | None
    crypto: CryptoConfig
    offload: OffloadConfig
    compression: CompressionConfig
    repair: RepairConfig
    traffic: TrafficConfig
    peers: tuple[PeerConfig, ...]
    control: ControlConfig
    log: LogConfig

    def to_settings(self, environ: Mapping[str, str] | None = None) -> TunnelSettings:
        """What the core works with. Reads the private key; ConfigError names `identity.key`."""
        from oxidized.config_settings import settings_of

        return settings_of(self, environ)


TABLES: dict[str, type[Any]] = {
    "interface": InterfaceConfig,
    "identity": IdentityConfig,
    "listen": ListenConfig,
    "crypto": CryptoConfig,
    "offload": OffloadConfig,
    "compression": CompressionConfig,
    "repair": RepairConfig,
    "traffic": TrafficConfig,
    "control": ControlConfig,
    "log": LogConfig,
}
OPTIONAL_TABLES = ("listen",)


def keys_of(table: type[Any]) -> dict[str, Key]:
    """The keys of a table in the order of the manual."""
    return {field.name: field.metadata["key"] for field in dataclasses.fields(table)}
