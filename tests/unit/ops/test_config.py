"""The configuration: what is read, and for every mistake the file, the line and the key."""

from __future__ import annotations

import dataclasses
import os
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized import config, keys, limits
from oxidized.errors import ConfigError
from oxidized.units import Duration
from tests.unit.ops.samples import EDGE, HUB, PRIVATE, PUBLIC, write

ROOT = Path(__file__).resolve().parents[3]
SECRET = keys.private_text(PRIVATE)


def problems_of(path: str) -> list[str]:
    """Each as "FILE:LINE: key: message", with the file's name alone."""
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    return [str(problem).replace(os.path.dirname(path) + "/", "") for problem in caught.value.problems]


def test_defaults(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, EDGE))
    assert found.name == "edge"
    assert found.interface == config.InterfaceConfig(
        name="oxd-edge",
        address=(ip_interface("10.70.0.2/24"), ip_interface("fd70::2/64")),
        mtu="auto",
        table="auto",
        workers=1,
        fwmark=0x6F78,
    )
    assert found.listen is None
    assert found.crypto == config.CryptoConfig(
        suite="auto", library="auto", rekey_after=Duration(120 * 10**9), rekey_packets=1 << 26
    )
    assert found.offload == config.OffloadConfig(tso="auto", uso="auto", gso="auto", gro="auto")
    assert found.control == config.ControlConfig(socket="/run/oxidized/edge/ctl.sock", metrics="")
    assert found.log == config.LogConfig(level="info", format="auto")
    assert found.peers == (
        config.PeerConfig(
            name="hub",
            public_key=PUBLIC[0],
            endpoint=("hub.example.net:443",),
            allowed_ips=(ip_network("10.70.0.0/24"),),
            resolve=Duration(60 * 10**9),
            keepalive=Duration(20 * 10**9),
            dead_after=Duration(5 * 10**9),
            transport="auto",
            enable=True,
        ),
    )


def test_settings_in_the_units_of_the_core(tmp_path: Path) -> None:
    keys.write_new(str(tmp_path / "key"), PRIVATE)
    text = HUB + 'keepalive = "off"\n[defaults.peer]\nkeepalive = "1500ms"\ndead_after = "1s"\n'
    settings = config.load(write(tmp_path, text)).to_settings({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (settings.private_key, settings.mtu_bytes, settings.accept) == (PRIVATE, 1420, True)
    assert (settings.retry, settings.max_handshakes_per_second) == ("under-load", 200)
    assert (settings.rekey_after_ns, settings.rekey_packets) == (120 * 10**9, 1 << 26)
    assert [(peer.name, peer.keepalive_ns, peer.dead_after_ns) for peer in settings.peers] == [
        ("edge1", 1_500_000_000, 10**9),
        ("edge2", 0, 10**9),
    ]
    assert settings.peers[0].public_key == bytes([1]) * 32 and settings.peers[0].endpoints == ()


def changed(line: str, text: str = EDGE) -> str:
    """`text` with one line replaced: by the key in it ("interface.mtu = 5" adds to that table)."""
    where, _, value = line.partition(" = ")
    table, _, name = where.rpartition(".")
    header = "[[peer]]" if table == "peer" else f"[{table}]"
    lines = text.splitlines()
    at = lines.index(header)
    for index in range(at + 1, len(lines)):
        if lines[index].startswith("["):
            break
        if lines[index].startswith(f"{name} ="):
            lines[index] = f"{name} = {value}"
            return "\n".join(lines) + "\n"
    lines.insert(at + 1, f"{name} = {value}")
    return "\n".join(lines) + "\n"


# change to the sample -> line, key, message
WRONG_VALUES = [
    ("interface.mtu = 99999", 3, "99999 is outside 1280..9000 (largest inner packet)"),
    ("interface.mtu = 1279", 3, "1279 is outside 1280..9000 (largest inner packet)"),
    ('interface.mtu = "big"', 3, '"big" is neither a number nor "auto"'),
    ("interface.mtu = 1420.0", 3, "is a float, not an integer"),
    ("interface.mtu = true", 3, "is a boolean, not an integer"),
    ("interface.mtu = 1" + "0" * 30, 3, "the number is outside 1280..9000 (largest inner packet)"),
    ("interface.table = 0", 3, "0 is outside 1..4294967295"),
    ('interface.table = "mine"', 3, '"mine" is neither a number nor "auto", "main" or "off"'),
    ("interface.fwmark = -1", 3, "-1 is outside 0..4294967295"),
    ('interface.fwmark = "0x6f78"', 3, "is a string, not an integer"),
    ('interface.name = "a/b"', 3, '"a/b" is no interface name (at most 15 characters)'),
    ('interface.name = "sixteen-letters-"', 3,
     '"sixteen-letters-" is no interface name (at most 15 characters)'),
    ('interface.name = "all"', 3, '"all" is no interface name (at most 15 characters)'),
    ('interface.name = "oxd%d"', 3, '"oxd%d" is no interface name (at most 15 characters)'),
    ('interface.name = ""', 3, '"" is no interface name (at most 15 characters)'),
    ('interface.address = "10.0.0.1/24"', 3, "is a string, not a list of strings"),
    ("interface.address = []", 3, "is empty"),
    ('interface.address = ["10.0.0.1"]', 3, '"10.0.0.1" needs a prefix length, such as "10.70.0.2/24"'),
    ('interface.address = ["10.0.0.256/24"]', 3, '"10.0.0.256/24" is no IP address with prefix length'),
    ('interface.address = ["224.0.0.1/24"]', 3, '"224.0.0.1/24" is no address that an interface can have'),
    ('interface.address = ["fe80::1%eth0/64"]', 3, '"fe80::1%eth0/64" must not name a zone'),
    ('interface.address = ["10.0.0.1/24", 5]', 3, "holds an integer, not a string"),
    ('interface.address = ["fd::1/64", "fd:0::1/64"]', 3, 'names "fd:0::1/64" twice'),
    ('identity.key = "key"', 5, 'is neither "credential:NAME" nor "file:/absolute/path"'),
    ('identity.key = "file:edge.key"', 5, "needs an absolute path: file:/etc/oxidized/keys/NAME.key"),
    (f'identity.key = "{SECRET}"', 5,
     'is a key itself: keys stand in files of their own ("file:/path", "credential:NAME")'),
    ('peer.name = "Hub"', 7, '"Hub" is not 1 to 32 of a-z 0-9 . _ -'),
    ('peer.public_key = "ox1pub:AAAA"', 8,
     'is no public key of the form "ox1pub:" and 44 characters of base64'),
    (f'peer.public_key = "{SECRET}"', 8,
     "is a private key: replace that key, and put what `oxidized pubkey` prints here"),
    ('peer.endpoint = ["hub.example.net"]', 9,
     '"hub.example.net" needs a port, such as "hub.example.net:443"'),
    ('peer.endpoint = ["hub:0"]', 9, '"hub:0" has a port outside 1..65535'),
    ('peer.endpoint = ["2001:db8::1:443"]', 9,
     '"2001:db8::1:443" needs brackets around the IPv6 address: "[2001:db8::10]:443"'),
    ('peer.endpoint = ["[hub]:443"]', 9, '"[hub]:443" has no IPv6 address in its brackets'),
    ('peer.endpoint = ["-x.net:443"]', 9,
     '"-x.net:443" has neither a host name nor an IP address before its port'),
    ('peer.endpoint = ["10.0.0.300:443"]', 9,
     '"10.0.0.300:443" has neither a host name nor an IP address before its port'),
    ('peer.allowed_ips = ["10.0.0.1/24"]', 10,
     '"10.0.0.1/24" has bits beyond the prefix length; did you mean "10.0.0.0/24"?'),
    ('peer.allowed_ips = ["ten"]', 10, '"ten" is no IP prefix'),
    ('peer.allowed_ips = ["10.0.0.0/24", "10.0.0.0/255.255.255.0"]', 10,
     'names "10.0.0.0/255.255.255.0" twice'),
    ("peer.keepalive = 20", 7, 'is an integer; a duration is a string with a unit, such as "20s"'),
    ('peer.keepalive = "20"', 7, '"20" needs a number and a unit of ms, s, min, h or d, such as "20s"'),
    ('peer.keepalive = "20 s"', 7, '"20 s" needs a number and a unit of ms, s, min, h or d, such as "20s"'),
    ('peer.keepalive = "2h"', 7, '"2h" is outside 1s..1h'),
    ('peer.dead_after = "off"', 7, '"off" needs a number and a unit of ms, s, min, h or d, such as "20s"'),
    ('peer.dead_after = "999ms"', 7, '"999ms" is outside 1s..5min'),
    ('peer.transport = "tcp"', 7, '"tcp" is not "auto", "udp" or "quic"'),
    ('peer.enable = "yes"', 7, "is a string, not true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line", "message"), WRONG_VALUES)
def test_wrong_value(tmp_path: Path, change: str, line: int, message: str) -> None:
    key = change.partition(" = ")[0]
    if key.startswith("peer.") and key != "peer.name":
        key = key.replace("peer.", "peer.hub.")
    elif key == "peer.name":
        key = "peer.Hub.name"
    found = problems_of(write(tmp_path, changed(change)))
    assert found == [f"edge.toml:{line}: {key}: {message}"]
    assert SECRET not in found[0]


@pytest.mark.parametrize("name", ["tso", "uso", "gso", "gro"])
def test_offloads_are_auto_on_or_off(tmp_path: Path, name: str) -> None:
    line = EDGE.count("\n") + 2
    default = config.load(write(tmp_path, EDGE)).offload
    for value in ("auto", "on", "off"):
        found = config.load(write(tmp_path, f'{EDGE}[offload]\n{name} = "{value}"\n'))
        assert found.offload == dataclasses.replace(default, **{name: value})
    assert problems_of(write(tmp_path, f'{EDGE}[offload]\n{name} = "yes"\n')) == [
        f'edge.toml:{line}: offload.{name}: "yes" is not "auto", "on" or "off"'
    ]
    assert problems_of(write(tmp_path, f"{EDGE}[offload]\n{name} = true\n")) == [
        f"edge.toml:{line}: offload.{name}: is a boolean, not a string"
    ]


WRONG_TABLES = [
    ("[crypto]\nrekey_after = 120", "crypto.rekey_after", 2, "a duration is a string with a unit"),
    ('[crypto]\nrekey_after = "500ms"', "crypto.rekey_after", 2, '"500ms" is outside 1s..1h'),
    ("[crypto]\nrekey_packets = 999", "crypto.rekey_packets", 2, "999 is outside 1000..67108864 (2^26)"),
    ('[crypto]\nsuite = "aes"', "crypto.suite", 2,
     '"aes" is not "auto", "aes-256-gcm" or "chacha20-poly1305"'),
    ('[control]\nsocket = "ctl.sock"', "control.socket", 2, "is no absolute path of a socket"),
    (f'[control]\nsocket = "/{"x" * 100}"', "control.socket", 2, "is longer than 100 bytes"),
    ('[control]\nmetrics = "0.0.0.0:9100"', "control.metrics", 2, "is no loopback address"),
    ('[control]\nmetrics = "9100"', "control.metrics", 2, "needs a port"),
    ('[control]\nmetrics = "unix:run/x"', "control.metrics", 2, "is no absolute path of a socket"),
    ('[log]\nlevel = "loud"', "log.level", 2, '"loud" is not "error", "warning", "info" or "debug"'),
    ('[log]\nlevel = "info,x=debug,x=info"', "log.level", 2, 'sets the level of "x" twice'),
    ('[log]\nlevel = "info,Bad Module=debug"', "log.level", 2, '"Bad Module" is no name of a module'),
    ('[log]\nformat = "xml"', "log.format", 2, '"xml" is not "auto", "journal", "console" or "json"'),
    ("[listen]\nmax_handshakes_per_second = 0", "listen.max_handshakes_per_second", 2,
     "0 is outside 1..10000"),
    ('[listen]\nudp = ["hub:443"]', "listen.udp", 2, "needs an IP address"),
    ('[listen]\nretry = "often"', "listen.retry", 2, '"often" is not "never", "under-load" or "always"'),
    ("[listen]", "listen.udp", 1, "is missing"),
    ('[defaults.peer]\nname = "x"', "defaults.peer.name", 2, "unknown key; known here: resolve, keepalive"),
    ("[defaults]\nkeepalive = 1", "defaults.keepalive", 2, "unknown key"),
    ('[defaults.peer]\nkeepalive = "0s"', "defaults.peer.keepalive", 2, '"0s" is outside 1s..1h'),
    ("[logs]\nx = 1", "logs", 1, "unknown key; did you mean log?"),
    ("[[peer]]\nnmae = 1", "peer[1].nmae", 2, "unknown key; did you mean name?"),
    ("[crypto.x]\ny = 1", "crypto.x", 1, "unknown key"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "key", "line", "message"), WRONG_TABLES)
def test_wrong_table(tmp_path: Path, table: str, key: str, line: int, message: str) -> None:
    at = EDGE.count("\n") + line
    found = problems_of(write(tmp_path, EDGE + table + "\n"))
    assert [one for one in found if one.startswith(f"edge.toml:{at}: {key}: ") and message in one], found


WHOLE_FILES = [
    ("", ["edge.toml: version: is missing: put `version = 1` before all tables",
          "edge.toml: interface.address: is missing", "edge.toml: identity.key: is missing"]),
    ("version = 2\n" + EDGE.partition("\n")[2], ["edge.toml:1: version: 2 is not 1, the version known here"]),
    ("version = true\n" + EDGE.partition("\n")[2],
     ["edge.toml:1: version: true is not 1, the version known here"]),
    (EDGE + "[interface]\n", ["edge.toml:11: Cannot declare ('interface',) twice"]),
    ("version = 1\nmtu = \n", ["edge.toml:2: Invalid value"]),
    ('version = 1\nx = "', ["edge.toml:2: Unterminated string"]),
    ("version = 1\ninterface = 5\n", ["edge.toml: identity.key: is missing",
                                      "edge.toml:2: interface: is an integer, not a table"]),
    ("version = 1\nx = " + "[" * 5000, ["edge.toml: is nested too deeply"]),
    ("version = 1\nx = 2026-02-30\n", ["edge.toml:2: Invalid date or datetime"]),
    ("version = " + "1" * 5000 + "\n", ["edge.toml: holds a number or date that can not be represented"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WHOLE_FILES, ids=range(len(WHOLE_FILES)))
def test_whole_files(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems_of(write(tmp_path, text)) == expected


def test_every_problem_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = changed("interface.mtu = 1", changed('peer.keepalive = "1d"', changed("interface.adress = 1")))
    found = problems_of(write(tmp_path, text))
    assert [problem.split(": ")[:2] for problem in found] == [
        ["edge.toml:3", "interface.mtu"],
        ["edge.toml:4", "interface.adress"],
        ["edge.toml:9", "peer.hub.keepalive"],
    ]


def test_unknown_key_of_a_peer_is_told_with_its_name(tmp_path: Path) -> None:
    expected = ["edge.toml:7: peer.hub.keepalve: unknown key; did you mean keepalive?"]
    assert problems_of(write(tmp_path, changed('peer.keepalve = "1s"'))) == expected


def test_element_of_a_list_has_its_own_line(tmp_path: Path) -> None:
    text = changed('peer.allowed_ips = [\n  "10.0.0.0/8",\n  # no\n  "10.0.0.1/8",\n]')
    assert problems_of(write(tmp_path, text))[0].startswith("edge.toml:13: peer.hub.allowed_ips: ")


TOGETHER = [
    (HUB.replace(PUBLIC[2], PUBLIC[1]),
     ["hub.toml:14: peer.edge2.public_key: is also the key of peer edge1 (hub.toml:10)"]),
    (HUB.replace('"edge2"', '"edge1"'),
     ["hub.toml:13: peer.edge1.name: is also the name of another peer (hub.toml:9)"]),
    (HUB.replace("10.70.0.3/32", "10.70.0.2/32"),
     ["hub.toml:15: peer.edge2.allowed_ips: 10.70.0.2/32 also belongs to peer edge1 (hub.toml:11); "
      "it needs one owner"]),
    (HUB + 'endpoint = ["a:1"]\n',
     ["hub.toml:16: peer.edge2.endpoint: a hub (there is a [listen] table) is called by its peers and "
      "calls none"]),
    (EDGE.replace('endpoint = ["hub.example.net:443"]\n', ""),
     ["hub.toml:6: peer.hub.endpoint: is missing: an edge (there is no [listen] table) must know where "
      "to call its peer"]),
    (changed("interface.fwmark = 0", EDGE.replace("10.70.0.0/24", "0.0.0.0/0")),
     ['hub.toml:3: interface.fwmark: 0 does not go with a default route in allowed_ips and table = "auto": '
      "our own datagrams would go into the tunnel"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TOGETHER, ids=range(len(TOGETHER)))
def test_what_does_not_fit_together(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = write(tmp_path, text, "hub.toml")
    assert [problem.replace(str(tmp_path) + "/", "") for problem in problems_of(path)] == expected


def test_longer_prefix_of_another_peer_is_fine(tmp_path: Path) -> None:
    assert len(config.load(write(tmp_path, HUB.replace("10.70.0.3/32", "10.70.0.0/24"))).peers) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "a-name-too-long.toml",
            'interface.name: is left out, and its default "oxd-a-name-too-long" is no inter',
        ),
        ("with space.toml", 'its name names the tunnel, and "with space" is not of A-Z a-z 0-9 . _ -'),
    ],
)
def test_names_from_the_file(tmp_path: Path, name: str, message: str) -> None:
    assert message in problems_of(write(tmp_path, EDGE, name))[0]


# ---- included files ----


def include(folder: Path, text: str, *peers: str) -> str:
    (folder / "d").mkdir()
    for index, peer in enumerate(peers):
        (folder / "d" / f"{index}.toml").write_text(peer)
    return write(folder, text.replace("version = 1\n", 'version = 1\ninclude = ["d/*.toml"]\n'), "hub.toml")


def peer_table(number: int, **changes: str) -> str:
    values = {
        "name": f'"edge{number}"',
        "public_key": f'"{PUBLIC[number]}"',
        "allowed_ips": f'["10.70.0.{number + 1}/32"]',
        **changes,
    }
    return "[[peer]]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())


def test_included_peers_take_the_defaults(tmp_path: Path) -> None:
    path = include(tmp_path, HUB + '[defaults.peer]\nkeepalive = "7s"\n', peer_table(3), peer_table(4))
    found = config.load(path)
    assert [peer.name for peer in found.peers] == ["edge1", "edge2", "edge3", "edge4"]
    assert {peer.keepalive.ns for peer in found.peers} == {7 * 10**9}


def test_mistakes_in_included_files_name_them(tmp_path: Path) -> None:
    path = include(tmp_path, HUB, "[interface]\n", peer_table(1, name='"x"'), "[[peer]\n", "version = 3\n")
    found = problems_of(path)
    assert found == [
        "d/0.toml:1: interface: unknown key in an included file; known here: version, peer",
        f"d/1.toml:3: peer.x.public_key: is also the key of peer edge1 ({tmp_path}/hub.toml:11)".replace(
            f"{tmp_path}/", ""
        ),
        "d/1.toml:4: peer.x.allowed_ips: 10.70.0.2/32 also belongs to peer edge1 (hub.toml:12); "
        "it needs one owner",
        "d/2.toml:1: Expected ']]' at the end of an array declaration",
        "d/3.toml:1: version: 3 is not 1, the version known here",
    ]


def test_include_without_a_pattern_must_exist(tmp_path: Path) -> None:
    text = HUB.replace("version = 1\n", 'version = 1\ninclude = [\n"none/*.toml",\n"none.toml", 5]\n')
    assert problems_of(write(tmp_path, text, "hub.toml")) == [
        'hub.toml:4: include: "none.toml" does not exist',
        "hub.toml:4: include: 5 is no path or pattern",
    ]


# ---- files ----


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"version = 1\n\xff\n")
    (tmp_path / "large.toml").write_bytes(b"#" * (limits.CONFIG_BYTES_MAX + 1))
    said = {
        name: problems_of(f"{tmp_path}/{name}.toml") for name in ("none", "pipe", "folder", "binary", "large")
    }
    assert said == {
        "none": ["none.toml: can not be read: No such file or directory"],
        "pipe": ["pipe.toml: is not a regular file"],
        "folder": ["folder.toml: can not be read: Is a directory"],
        "binary": ["binary.toml:2: is not UTF-8"],
        "large": [f"large.toml: is larger than {limits.CONFIG_BYTES_MAX} bytes"],
    }


def test_key_file_problems_name_the_key_of_the_configuration(tmp_path: Path) -> None:
    key = tmp_path / "edge.key"
    keys.write_new(str(key), PRIVATE)
    found = config.load(write(tmp_path, EDGE.replace("credential:key", f"file:{key}")))
    assert found.to_settings().private_key == PRIVATE
    key.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        found.to_settings()
    assert str(caught.value) == (
        f"{tmp_path}/edge.toml:5: identity.key: "
        f"key file {key} is open to others (mode 0644): chmod 0600 {key}"
    )


def test_our_own_key_as_a_peers(tmp_path: Path) -> None:
    keys.write_new(str(tmp_path / "key"), PRIVATE)
    own = keys.public_text(keys.public_of(PRIVATE))
    found = config.load(write(tmp_path, EDGE.replace(PUBLIC[0], own)))
    with pytest.raises(ConfigError, match=r"identity\.key: is also the key of peer hub"):
        found.to_settings({"CREDENTIALS_DIRECTORY": str(tmp_path)})


# ---- the whole ----


@pytest.mark.parametrize("text", [EDGE, HUB])
def test_effective_configuration_loads_to_the_same(tmp_path: Path, text: str) -> None:
    found = config.load(write(tmp_path, text + '[log]\nlevel = "info,driver=debug"\n'))
    again = config.load(write(tmp_path, config.effective(found), "again.toml"))
    where = {name: getattr(found, name) for name in ("name", "file", "identity_line", "library_line")}
    assert dataclasses.replace(again, **where) == found


@pytest.mark.parametrize("name", ["edge.toml", "hub.toml"])
def test_examples_are_good(name: str) -> None:
    assert config.load(str(ROOT / "examples" / name)).peers


pieces = st.sampled_from(
    [*EDGE.splitlines(keepends=True), *HUB.splitlines(keepends=True), "[[peer]]\n", "[defaults.peer]\n",
     'keepalive = "off"\n', "mtu = 1300\n", '[log]\nlevel = "debug"\n', 'include = ["/dev/null"]\n',
     "x = 1\n", "[", "\x00", '"']
)  # fmt: skip


@given(st.lists(pieces, max_size=20).map("".join) | st.text(max_size=80))
def test_any_text_is_a_configuration_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
        found = config.load(str(path))
    except ConfigError as error:
        assert all(
            str(problem).startswith(str(path.parent)) or "/dev/null" in str(problem)
            for problem in error.problems
        )
        assert str(error).isprintable() or str(error).replace("\n", "").isprintable()
    else:
        assert found.interface.address
