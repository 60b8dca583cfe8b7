"""Fuzz targets of the Python side: whatever bytes come from a peer, an operator's file or a local client.

Each target states its invariant; any exception beyond the one it names is a finding.
`python -m tests.fuzz.python_targets --inputs 4000 TARGET` tries the same inputs each time;
`--replay FILE TARGET` runs one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import json
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from unittest import mock

from oxidized import config, config_kinds, keys
from oxidized.core import channel, messages
from oxidized.core.plane import Address
from oxidized.errors import Absent, ConfigError
from oxidized.ffi.dataplane import DataPlane
from oxidized.io import capture
from oxidized.io.control_socket import ControlSocket, Document
from oxidized.ml import oracle
from tests.fuzz.engine import Target, fuzz
from tests.native.headers_rig import ipv4, ipv6
from tests.unit.core.world import DELAY_NS, SECOND_NS, Packet, World
from tests.unit.ops.test_headers import pcap, pcapng

# ---- messages of the control stream ----------------------------------------------------------------------


def message_seeds() -> list[bytes]:
    one = bytes(range(32))
    examples: list[messages.Message] = [
        messages.Hello(1, 3, 1, 0x123456, 1420, 128, 7, one, bytes(16)),
        messages.Welcome(1, 1, 0x654321, 1420, 128, 7, one, one, bytes(64)),
        messages.Proof(one, bytes(64)),
        messages.Accept(Address("203.0.113.9", 443)),
        messages.Accept(Address("2001:db8::9", 443)),
        messages.Rekey(1, one),
        messages.RekeyReply(1, one),
        messages.RekeyDone(1),
        messages.RekeyWanted(7),
    ]
    encoded = [messages.encode(message) for message in examples]
    return [*encoded, b"".join(encoded)]


def read_messages(chunks: list[bytes]) -> tuple[list[messages.Message], str]:
    """What a reader makes of a stream that comes in these pieces, and how it ended."""
    reader = messages.MessageReader()
    found: list[messages.Message] = []
    try:
        for chunk in chunks:
            found.extend(reader.feed(chunk))
    except messages.MessageError as error:
        return found, f"{type(error).__name__}: {error}"
    return found, ""


def run_messages(data: bytes) -> None:
    whole, why = read_messages([data])
    bytewise, why_bytewise = read_messages([data[i : i + 1] for i in range(len(data))])
    assert (whole, why) == (bytewise, why_bytewise), "read whole = read bytewise"
    encoded = b"".join(messages.encode(message) for message in whole)
    assert data.startswith(encoded), "what was read is what was sent"


# ---- datagrams to a tunnel -------------------------------------------------------------------------------

HEAL_S = 90.0  # a close, a backoff of at most 8 s, an attempt of at most 6 s, and all that again
STRANGER = Address("198.51.100.66", 6666)  # says things of its own
RELAY = Address("198.51.100.77", 7777)  # repeats what others said
AMPLIFICATION_MAX = 3  # RFC 9000, section 8.1
FAULTS_MAX = 64


class Attacker:
    """Sits on the wire and does what the input says, datagram by datagram; then keeps still.

    A rule of the virtual network: True takes the datagram away.
    """

    def __init__(self, world: World, script: bytes) -> None:
        self.world = world
        self.script = script
        self.steps = 0
        self.stranger_bytes = 0

    def take(self, count: int) -> bytes:
        taken, self.script = self.script[:count], self.script[count:]
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(1), "big")

    def __call__(self, packet: Packet) -> bool:
        if not self.script or self.steps == FAULTS_MAX:
            return False
        self.steps += 1
        match self.number() % 8:
            case 0:
                return True
            case 1:
                self.later(packet.data, packet.source, packet.target)
            case 2:
                data = bytearray(packet.data)
                data[int.from_bytes(self.take(2), "big") % len(data)] ^= self.number()
                self.later(bytes(data), packet.source, packet.target)
                return True
            case 3:
                self.later(packet.data[: self.number()], packet.source, packet.target)
                return True
            case 4:  # bytes of the input's own, in QUIC's half of the first byte
                data = self.take(self.number())
                data = bytes([0x40 | (data[0] if data else 0)]) + data[1:]
                self.stranger_bytes += len(data)
                self.later(data, STRANGER, packet.target)
            case 5:  # the same datagram from elsewhere
                self.later(packet.data, RELAY, packet.target)
            case 6:  # reflected
                self.later(packet.data, packet.target, packet.source)
        return False

    def later(self, data: bytes, source: Address, target: Address) -> None:
        if data:
            packet = Packet(data, source, target)
            self.world.at(self.world.now_ns + DELAY_NS, lambda: self.world.deliver(packet))


def tunnel_seeds() -> list[bytes]:
    return [
        b"\x00" + bytes([7]) * 8,
        b"\x01" + bytes([0, 7, 1, 7]) * 4,
        b"\x02" + bytes([7, 2, 0, 40, 1, 7, 3, 60]) * 3,
        b"\x00" + bytes([4, 40, 0xC3, 0, 0, 0, 1, 8]) + bytes(34) + bytes([5, 6, 7]) * 5,
    ]


def run_tunnel(data: bytes) -> None:
    world = World()
    attacker = Attacker(world, data[1:])
    world.rules.append(attacker)
    retry = ("never", "under-load", "always")[data[0] % 3 if data else 0]
    hub, edge = world.pair(hub={"retry": retry})
    world.run(HEAL_S, until=lambda: not attacker.script or attacker.steps == FAULTS_MAX)
    attacker.script = b""
    are_up = world.run(HEAL_S, until=lambda: hub.state() == edge.state() == "up")
    assert are_up, "the wire healed, not the tunnel"
    answered = sum(len(packet.data) for packet in hub.sent if packet.target.ip == STRANGER.ip)
    assert answered <= AMPLIFICATION_MAX * attacker.stranger_bytes, f"{answered} bytes to a stranger"


# ---- what an authenticated peer says on its stream -------------------------------------------------------

REKEY_S = 2
TALK_S = 8.0  # a handshake and some rekeys


class Liar:
    """Stands between a channel and its connection: says other bytes than the channel meant."""

    def __init__(self, script: bytes) -> None:
        self.script = script

    def take(self, count: int) -> bytes:
        taken, self.script = self.script[:count], self.script[count:]
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(1), "big")

    def encode(self, message: messages.Message) -> bytes:
        genuine = messages.encode(message)
        if not self.script:
            return genuine
        match self.number() % 6:
            case 0:
                data = bytearray(genuine)
                data[self.number() % len(data)] ^= self.number()
                return bytes(data)
            case 1:
                return genuine + genuine
            case 2:  # a message that is well cut, of any type, before the one that was meant
                body = self.take(self.number())
                return bytes([self.number() % 10, 0, len(body)]) + body + genuine
            case 3:
                return self.take(1 + self.number()) or genuine
        return genuine


def stream_seeds() -> list[bytes]:
    return [
        bytes([5]) * 12,
        bytes([5, 0, 9, 1, 5]),
        bytes([5, 5, 1, 5, 5]),
        bytes([5, 5, 5, 5, 2, 4, 0, 0, 0, 9, 7]),
    ]


def run_stream(data: bytes) -> None:
    world = World()
    liar = Liar(data)
    settings = {"rekey_after_ns": REKEY_S * SECOND_NS}
    with mock.patch.object(channel, "encode", liar.encode):
        hub, edge = world.pair(hub=settings, edge=settings)
        world.run(TALK_S, until=lambda: not liar.script)
        liar.script = b""
        are_up = world.run(HEAL_S, until=lambda: hub.state() == edge.state() == "up")
        assert are_up, "the truth did not mend it"
        payload = b"\x45 after all that"
        arrives = world.run(HEAL_S, until=lambda: edge.data(payload) and payload in hub.payloads())
        assert arrives, "no data passes"


# ---- the configuration file ------------------------------------------------------------------------------


@cache
def folder() -> Path:
    """Of this process, removed with it."""
    made = Path(tempfile.mkdtemp(prefix="oxidized-fuzz-"))
    atexit.register(shutil.rmtree, made)
    return made


def config_seeds() -> list[bytes]:
    one = keys.public_text(bytes(range(32)))
    two = keys.public_text(bytes(range(1, 33)))
    edge = f"""version = 1
[interface]
name = "oxd0"
address = ["10.70.0.2/24", "fd70::2/64"]
mtu = 1280
table = "auto"
fwmark = 0x6f78
[identity]
key = "credential:key"
[crypto]
suite = "chacha20-poly1305"
rekey_after = "120s"
[defaults.peer]
keepalive = "20s"
[[peer]]
name = "hub"
public_key = "{one}"
endpoint = ["hub.example.net:443", "[2001:db8::10]:443"]
allowed_ips = ["10.70.0.0/24", "::/0"]
transport = "quic"
[control]
metrics = "127.0.0.1:19586"
[log]
level = "info,session=debug"
"""
    hub = f"""version = 1
include = ["*.toml.d"]
[interface]
address = ["10.70.0.1/24"]
[identity]
key = "file:/etc/oxidized/keys/hub.key"
[listen]
udp = ["0.0.0.0:443", "[::]:443"]
retry = "always"
max_handshakes_per_second = 200
[[peer]]
name = "a"
public_key = "{one}"
allowed_ips = ["10.70.0.2/32"]
[[peer]]
name = "b"
public_key = "{two}"
allowed_ips = ["10.70.0.3/32"]
enable = false
"""
    return [edge.encode(), hub.encode()]


def load(data: bytes) -> config.Config:
    path = folder() / "fuzz.toml"
    path.write_bytes(data)
    return config.load(str(path))


def run_config(data: bytes) -> None:
    try:
        read = load(data)
    except ConfigError as error:
        for problem in error.problems:
            assert str(problem).isprintable(), "one line that a terminal can show"
            assert 0 <= problem.line <= data.count(b"\n") + 1, "a line of the file"
        return
    effective = config.effective(read)
    assert config.effective(load(effective.encode())) == effective, "the effective form means the same"


# ---- requests on the control socket ----------------------------------------------------------------------

ERROR_CODES = {"usage", "absent", "timeout", "permission", "config", "busy"}
QUIET_S = 0.05  # then nothing more comes: log-follow goes on for as long as its reader stays


class Daemon:
    """Stands in for the daemon behind the socket: answers at once, knows one peer."""

    def status(self) -> Document:
        return {"schema": "oxidized.status/1", "name": "fuzz", "version": "0", "pid": 1, "peers": []}

    async def ping(self, peer: str, timeout_s: float) -> float | None:
        if peer != "hub":
            raise Absent(f"no peer {peer!r}")
        return 0.01

    async def wait(self, peer: str | None, timeout_s: float) -> bool:
        return peer == "hub"

    async def reload(self, dry_run: bool) -> Document:
        return {"schema": "oxidized.reload/1", "applied": [], "needs_restart": [], "failed": []}

    def set_log_level(self, spec: str) -> None:
        config_kinds.log_levels(spec)

    def metrics(self) -> str:
        return "# EOF\n"


@cache
def control_server() -> tuple[asyncio.Runner, str]:
    """One server for all inputs of this process."""
    runner = asyncio.Runner()
    path = str(folder() / "ctl.sock")
    server = ControlSocket(path, Daemon())
    runner.run(server.start())
    atexit.register(lambda: (runner.run(server.close()), runner.close()))
    return runner, path


async def ask(path: str, data: bytes) -> bytes:
    """What the socket answers to one client who says this and no more."""
    reader, writer = await asyncio.open_unix_connection(path)
    answer = b""
    try:
        writer.write(data)
        writer.write_eof()
        while True:
            async with asyncio.timeout(QUIET_S):
                part = await reader.read(65536)
            if not part:
                return answer
            answer += part
    except (ConnectionError, TimeoutError):
        # Hung up in mid-sentence, which is allowed; or quiet. A line that is not whole says nothing.
        return answer[: answer.rfind(b"\n") + 1]
    finally:
        writer.close()


def control_seeds() -> list[bytes]:
    requests: list[dict[str, object]] = [
        {"verb": "status"},
        {"verb": "ping", "peer": "hub", "count": 2, "interval_seconds": 0.2},
        {"verb": "ping", "peer": "nobody"},
        {"verb": "wait", "peer": "hub", "timeout_seconds": 1},
        {"verb": "reload", "dry_run": True},
        {"verb": "log", "level": "info,session=debug"},
        {"verb": "log-follow"},
        {"verb": "metrics"},
        {"verb": "version"},
    ]
    return [json.dumps(request).encode() + b"\n" for request in requests]


def run_control(data: bytes) -> None:
    runner, path = control_server()
    rest = asyncio.sleep

    async def no_rest(_: float) -> None:
        await rest(0)

    # Between two pings the daemon waits as long as it was asked to.
    with mock.patch.object(asyncio, "sleep", no_rest):
        answer = runner.run(ask(path, data))
    for line in answer.splitlines():
        document = json.loads(line)
        if "error" in document:
            assert document["error"]["code"] in ERROR_CODES, document
        else:
            assert document["schema"].startswith("oxidized."), document


# ---- key texts -------------------------------------------------------------------------------------------


def key_seeds() -> list[bytes]:
    one = bytes(range(32))
    return [keys.private_text(one).encode() + b"\n", keys.public_text(one).encode()]


def run_keys(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for parse, show in ((keys.private_parse, keys.private_text), (keys.public_parse, keys.public_text)):
        try:
            key = parse(text)
        except ValueError as error:
            # Whatever stands there may be somebody's secret: no message may repeat it.
            secret = text.strip().removeprefix(keys.PRIVATE_PREFIX).removeprefix(keys.PUBLIC_PREFIX)
            assert len(secret) < 12 or secret not in str(error), "a message shows what it refused"
            assert "\n" not in str(error), "one line"
        else:
            assert show(key) == text.strip(), "one key has one text"


# ---- models ----------------------------------------------------------------------------------------------

MODELS = Path(__file__).resolve().parents[2] / "models"


def model_seeds() -> list[bytes]:
    """The shipped model and its sheet, each behind a byte that says which it is."""
    model = (MODELS / "compression_oracle.onnx").read_bytes()
    sheet = json.loads((MODELS / "compression_oracle.json").read_text("utf-8"))
    sheet["golden"] = {name: rows[:32] for name, rows in sheet["golden"].items()}
    short = {name: value for name, value in sheet.items() if name not in ("by_kind", "figures")}
    small = short | {"golden": {name: [[0.0] * len(row) for row in v] for name, v in sheet["golden"].items()}}
    return [b"m" + model, b"s" + json.dumps(small).encode(), b"s" + json.dumps(sheet["golden"]).encode()]


@cache
def model_plane() -> DataPlane:
    plane = DataPlane()
    atexit.register(plane.close)
    return plane


def run_model(data: bytes) -> None:
    """Weights that are read are such as C takes, too."""
    try:
        if data[:1] == b"s":
            sheet = oracle.sheet_of(data[1:])
            assert len(sheet.features) == len(sheet.scores) <= oracle.GOLDEN_MAX
        else:
            model_plane().oracle_set(oracle.weights_of(data[1:]), 1)
    except oracle.ModelRefused as error:
        assert "\n" not in str(error) and len(str(error)) < 500


# ---- captures --------------------------------------------------------------------------------------------


def capture_seeds() -> list[bytes]:
    frames = [ipv4(17, bytes(12), (bytes(4), bytes(4))), ipv6(59, b"body", (bytes(16), bytes(16))), b""]
    ethernet = [bytes(12) + b"\x81\x00\x00\x07\x08\x00" + frames[0]]
    files = [pcap(frames), pcap(ethernet, 1, ">"), pcap(frames, 0), pcap(frames, 276)]
    return files + [pcapng(frames, kind=kind) for kind in (2, 3, 6)] + [pcapng(ethernet, 1, ">")]


def run_capture(data: bytes) -> None:
    try:
        found = capture.parse(data, "x")
    except capture.CaptureError as error:
        assert str(error).startswith("x: at byte ") and "\n" not in str(error)
        return
    assert all(len(packet) <= capture.PACKET_BYTES_MAX for packet in found.packets)
    assert sum(map(len, found.packets)) + found.not_ip <= len(data)


TARGETS: dict[str, Target] = {
    "python_messages": Target(
        run_messages,
        message_seeds,
        "a stream becomes messages or a MessageError, the same whole and bytewise",
    ),
    "python_tunnel": Target(
        run_tunnel,
        tunnel_seeds,
        "nothing on the wire raises; a stranger gets thrice its bytes at most; a healed wire heals all",
        cost=10,
    ),
    "python_stream": Target(
        run_stream,
        stream_seeds,
        "whatever an authenticated peer says raises nothing, and does not outlast its saying",
        cost=20,
    ),
    "python_config": Target(
        run_config,
        config_seeds,
        "a configuration loads, its effective form to the same; or each problem is one line with its place",
        cost=4,
    ),
    "python_control": Target(
        run_control,
        control_seeds,
        "each request gets a document or a named error in JSON, never an internal one",
        cost=4,
    ),
    "python_model": Target(
        run_model, model_seeds, "a model and its sheet are read, or refused in one line"
    ),
    "python_capture": Target(
        run_capture, capture_seeds, "a file is packets of IP's size, or an error with its offset"
    ),
    "python_keys": Target(
        run_keys, key_seeds, "a key has one text; a refusal shows nothing of what it refused"
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.python_targets", description=__doc__)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--inputs", type=int, help="so many inputs")
    how.add_argument("--seconds", type=float, help="for so long")
    how.add_argument("--replay", type=Path, help="this input alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("target", choices=TARGETS)
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]
    if arguments.replay:
        target.run(arguments.replay.read_bytes())
        print("clean")
        return 0
    bounds = {"count": arguments.inputs, "seconds": arguments.seconds}
    tried = fuzz(arguments.target, target, **bounds, seed=arguments.seed)
    print(f"{tried} inputs: {target.invariant}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
