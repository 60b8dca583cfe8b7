"""Reload, phase one: which keys change, which of them wait for a restart, in which order peers go over."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from oxidized import keys
from oxidized.config import Config, load
from oxidized.core.settings import PeerSettings, TunnelSettings
from oxidized.io.reload import Bounds, Target, changes, compare, peer_steps

PRIVATE = bytes(range(32))
BOUNDS = Bounds(mtu_bytes=1420, rekey_after_ns=120 * 10**9, rekey_packets=1 << 26, peers=3, routes=1024)

BASE = """
version = 1
[interface]
address = ["10.70.0.1/24"]
[identity]
key = "file:{folder}/key"
[listen]
udp = ["0.0.0.0:443"]
[crypto]
[control]
metrics = ""
[log]
level = "info"
"""


def peer(name: str, number: int, allowed: str, more: str = "") -> str:
    public = keys.public_text(keys.public_of(bytes([number]) * 32))
    return f'[[peer]]\nname = "{name}"\npublic_key = "{public}"\nallowed_ips = [{allowed}]\n{more}\n'


TWO = peer("a", 1, '"10.1.0.0/16"') + peer("b.c", 2, '"10.2.0.0/16"', 'keepalive = "20s"')


class Files:
    """Configurations as the daemon reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key(PRIVATE)

    def key(self, private: bytes) -> None:
        path = self.folder / "key"
        path.write_text(keys.private_text(private))
        path.chmod(0o600)

    def read(self, *swaps: tuple[str, str], peers: str = TWO) -> tuple[Config, TunnelSettings]:
        text = BASE.format(folder=self.folder) + peers
        for before, after in swaps:
            assert before in text
            text = text.replace(before, after, 1)
        path = self.folder / "hub.toml"
        path.write_text(text)
        config = load(str(path))
        return config, config.to_settings()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def outcome(target: Target) -> dict[str, list[Any]]:
    document = target.outcome.document()
    assert document["schema"] == "oxidized.reload/1" and document["failed"] == []
    return {name: [change["key"] for change in document[name]] for name in ("applied", "needs_restart")}


def test_nothing_changed(files: Files) -> None:
    target = compare(files.read(), files.read(), BOUNDS)
    assert outcome(target) == {"applied": [], "needs_restart": []}
    assert (target.config, target.settings) == files.read()


@pytest.mark.parametrize(
    ("before", "after", "key", "waits"),
    [
        ("[interface]", '[interface]\nname = "other"', "interface.name", True),
        ("[interface]", "[interface]\ntable = 7", "interface.table", True),
        ("[interface]", "[interface]\nfwmark = 7", "interface.fwmark", True),
        ("[interface]", "[interface]\nmtu = 1300", "interface.mtu", False),
        ("[interface]", "[interface]\nmtu = 1421", "interface.mtu", True),
        ("10.70.0.1/24", "10.70.0.9/24", "interface.address", False),
        ("0.0.0.0:443", "0.0.0.0:444", "listen.udp", True),
        ("[listen]", '[listen]\nretry = "always"', "listen.retry", False),
        ("[listen]", "[listen]\nmax_handshakes_per_second = 7", "listen.max_handshakes_per_second", False),
        ("[crypto]", '[crypto]\nrekey_after = "60s"', "crypto.rekey_after", False),
        ("[crypto]", '[crypto]\nrekey_after = "121s"', "crypto.rekey_after", True),
        ("[crypto]", "[crypto]\nrekey_packets = 5000", "crypto.rekey_packets", True),
        ("[crypto]", '[crypto]\nsuite = "chacha20-poly1305"', "crypto.suite", False),
        ("[crypto]", '[crypto]\nlibrary = "openssl"', "crypto.library", True),
        ("[control]", '[offload]\ntso = "off"\n[control]', "offload.tso", True),
        ("[control]", '[offload]\ngro = "off"\n[control]', "offload.gro", True),
        ("[control]", '[repair]\nmode = "arq"\n[control]', "repair.mode", False),
        ("[control]", "[repair]\nmax_overhead = 10\n[control]", "repair.max_overhead", False),
        ("[control]", "[repair]\nmax_overhead_bulk = 9\n[control]", "repair.max_overhead_bulk", False),
        ("[control]", "[repair]\nmetered = true\n[control]", "repair.metered", False),
        ("[control]", '[repair]\npredictor = "ge"\n[control]', "repair.predictor", False),
        ("[control]", "[repair]\norder = false\n[control]", "repair.order", True),
        ("[control]", '[control]\nsocket = "/run/other"', "control.socket", True),
        ('metrics = ""', 'metrics = "127.0.0.1:1"', "control.metrics", False),
        ('level = "info"', 'level = "debug"', "log.level", False),
        ("[log]", '[log]\nformat = "json"', "log.format", True),
        ('keepalive = "20s"', 'keepalive = "off"', "peer.b.c.keepalive", False),
    ],
)
def test_each_key_is_applied_or_waits(files: Files, before: str, after: str, key: str, waits: bool) -> None:
    old = files.read()
    target = compare(old, files.read((before, after)), BOUNDS)
    expected = {"applied": [], "needs_restart": [key]} if waits else {"applied": [key], "needs_restart": []}
    assert outcome(target) == expected
    lines = {name: getattr(old[0], name) for name in ("identity_line", "library_line")}
    config = dataclasses.replace(target.config, **lines)
    is_kept = config == old[0] and target.settings == old[1]
    assert is_kept == waits, "what waits is not in what the daemon goes on with"


def test_values_are_told_as_the_file_has_them(files: Files) -> None:
    (change,) = changes(files.read()[0], files.read(('keepalive = "20s"', 'keepalive = "2min"'))[0])
    assert change.document() == {"key": "peer.b.c.keepalive", "old": "20s", "new": "2min"}


def test_a_peer_that_comes_or_goes_is_one_change(files: Files) -> None:
    other = TWO.replace('"b.c"', '"d"')
    found = changes(files.read()[0], files.read(peers=other)[0])
    assert [change.document() for change in found] == [
        {"key": "peer.b.c", "old": ["10.2.0.0/16"], "new": None},
        {"key": "peer.d", "old": None, "new": ["10.2.0.0/16"]},
    ]


def test_another_key_in_the_same_file_waits(files: Files) -> None:
    old = files.read()
    files.key(bytes(32))
    target = compare(old, files.read(), BOUNDS)
    assert outcome(target) == {"applied": [], "needs_restart": ["identity.key"]}
    assert target.settings.private_key == PRIVATE
    assert PRIVATE.hex() not in str(target.outcome.document())


def test_a_hub_does_not_become_an_edge(files: Files) -> None:
    old = files.read()
    dialled = peer("a", 1, '"10.1.0.0/16"', 'endpoint = ["192.0.2.1:1"]')
    new = files.read(("[listen]\nudp", "[defaults.peer]\n#"), peers=dialled)
    target = compare(old, new, BOUNDS)
    assert {"listen.udp", "listen.retry"} <= set(outcome(target)["needs_restart"])
    assert target.settings.accept and target.config.listen == old[0].listen
    assert target.settings.peers == old[1].peers, "whoever is called there is not called here"


def test_more_peers_than_there_is_room_for_wait(files: Files) -> None:
    old = files.read()
    many = TWO + "".join(peer(f"p{n}", n, f'"10.{n}.0.0/16"') for n in (3, 4))
    target = compare(old, files.read(peers=many), BOUNDS)
    assert outcome(target) == {"applied": [], "needs_restart": ["peer.p3", "peer.p4"]}
    assert target.settings.peers == old[1].peers and target.config.peers == old[0].peers


def by_name(settings: TunnelSettings) -> dict[str, PeerSettings]:
    return {each.name: each for each in settings.peers}


def test_a_prefix_leaves_one_peer_before_the_other_takes_it(files: Files) -> None:
    old = by_name(files.read()[1])
    new = by_name(files.read(("10.1.0.0", "10.3.0.0"), ("10.2.0.0", "10.1.0.0"))[1])
    steps = peer_steps(tuple(old.values()), tuple(new.values()))
    assert (steps.remove, steps.add) == ((), ())
    assert steps.narrow == tuple(dataclasses.replace(each, allowed_ips=()) for each in old.values())
    assert steps.update == tuple(new.values())
    owned = {name: set(each.allowed_ips) for name, each in old.items()}
    for step in (*steps.narrow, *steps.update):
        owned[step.name] = set(step.allowed_ips)
        assert not owned["a"] & owned["b.c"], "never two owners"


def test_another_key_is_another_peer(files: Files) -> None:
    old, new = (
        files.read()[1].peers,
        files.read(peers=TWO.replace('"a"', '"x"').replace('"b.c"', '"a"'))[1].peers,
    )
    steps = peer_steps(old, new)
    assert steps.remove == ("a", "b.c") and steps.update == ()
    assert [each.name for each in steps.add] == ["x", "a"]
