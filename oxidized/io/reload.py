"""Reload in two phases: first work out every difference, then carry out what needs no restart.

Nothing is touched before the whole new configuration has been read and found good. What can not be
changed in a running daemon keeps its old value and is named. What could be changed is carried out in
an order that never leaves a packet without its route or its session:

    log, limits and rekey times -> peers that go -> prefixes that leave a peer -> peers that change or come
    -> addresses, routes, MTU -> metrics
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from oxidized.config import Config
from oxidized.config_schema import TABLES, keys_of
from oxidized.core.settings import PeerSettings, TunnelSettings

SCHEMA = "oxidized.reload/1"


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the configuration that has another value. None: not there."""

    key: str
    old: Any
    new: Any

    def document(self) -> dict[str, Any]:
        return {"key": self.key, "old": self.old, "new": self.new}


@dataclass(slots=True)
class Outcome:
    """What a reload does, did, or could not do."""

    applied: list[Change] = field(default_factory=list)
    needs_restart: list[Change] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """`oxidized.reload/1`."""
        return {
            "schema": SCHEMA,
            "applied": [change.document() for change in self.applied],
            "needs_restart": [change.document() for change in self.needs_restart],
            "failed": [{"key": key, "message": message} for key, message in self.failed],
        }

    def fail(self, key: str, message: str) -> None:
        self.applied = [change for change in self.applied if change.key != key]
        self.failed.append((key, message))

    def summary(self) -> str:
        parts = [f"{len(self.applied)} applied"]
        if self.needs_restart:
            parts.append("needs a restart: " + ", ".join(change.key for change in self.needs_restart))
        parts.extend(f"failed: {key}: {message}" if key else message for key, message in self.failed)
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What was fixed when the data plane was made: beyond these, a change needs a restart."""

    mtu_bytes: int
    rekey_after_ns: int
    rekey_packets: int
    peers: int
    routes: int


@dataclass(frozen=True, slots=True)
class Target:
    """What the daemon shall run with after a reload: the new values where that can be, else the old."""

    config: Config
    settings: TunnelSettings
    outcome: Outcome


def compare(old: tuple[Config, TunnelSettings], new: tuple[Config, TunnelSettings], bounds: Bounds) -> Target:
    """Phase one: what changes, and what of it waits for a restart. Touches nothing."""
    (old_config, old_settings), (new_config, new_settings) = old, new
    config, settings = new_config, new_settings
    outcome = Outcome()
    # Peers are called or call, by the role; and there is room for so many.
    keeps_peers = new_settings.accept != old_settings.accept or _is_beyond(new_settings, bounds)
    for change in changes(old_config, new_config):
        table, _, name = change.key.partition(".")
        waits = table != "peer" and not _may_change(table, name, old, new, bounds)
        if waits or (table == "peer" and keeps_peers):
            outcome.needs_restart.append(change)
        else:
            outcome.applied.append(change)
        if waits:
            config = _keep(config, old_config, table, name)
    if keeps_peers:
        config = dataclasses.replace(config, peers=old_config.peers)
        settings = dataclasses.replace(settings, peers=old_settings.peers)
    if settings.private_key != old_settings.private_key and new_config.identity == old_config.identity:
        outcome.needs_restart.append(Change("identity.key", "the key read at start", "another key"))
    settings = dataclasses.replace(
        settings,
        private_key=old_settings.private_key,
        accept=old_settings.accept,
        repair=dataclasses.replace(settings.repair, order=old_settings.repair.order),
        mtu_bytes=settings.mtu_bytes if settings.mtu_bytes <= bounds.mtu_bytes else old_settings.mtu_bytes,
        rekey_packets=old_settings.rekey_packets,
        rekey_after_ns=min(settings.rekey_after_ns, bounds.rekey_after_ns),
    )
    return Target(config, settings, outcome)


def _is_beyond(settings: TunnelSettings, bounds: Bounds) -> bool:
    """More peers or prefixes than the data plane was given room for."""
    routes = sum(len(peer.allowed_ips) for peer in settings.peers)
    return len(settings.peers) > bounds.peers or routes > bounds.routes


def _may_change(
    table: str,
    name: str,
    old: tuple[Config, TunnelSettings],
    new: tuple[Config, TunnelSettings],
    bounds: Bounds,
) -> bool:
    """Whether this daemon can take the key's new value: as the manual says, and within the bounds."""
    (old_config, _), (new_config, settings) = old, new
    if getattr(old_config, table) is None or getattr(new_config, table) is None:
        return False  # a hub does not become an edge
    match table, name:
        case "interface", "mtu":
            return settings.mtu_bytes <= bounds.mtu_bytes
        case "crypto", "rekey_after":
            return settings.rekey_after_ns <= bounds.rekey_after_ns
        case "crypto", "rekey_packets":
            return settings.rekey_packets == bounds.rekey_packets
        case _:
            return keys_of(TABLES[table])[name].reloadable


def _keep(config: Config, old: Config, table: str, name: str) -> Config:
    """`config` with the old value of one key; a table that comes or goes is kept as it was."""
    before, after = getattr(old, table), getattr(config, table)
    if before is None or after is None:
        return dataclasses.replace(config, **{table: before})
    kept = dataclasses.replace(after, **{name: getattr(before, name)})
    return dataclasses.replace(config, **{table: kept})


@dataclass(frozen=True, slots=True)
class PeerSteps:
    """The order in which peers go over from the old settings to the new ones.

    `narrow` comes before `update`: a prefix that moves from one peer to another must leave the first
    one before the second one takes it.
    """

    remove: tuple[str, ...]
    narrow: tuple[PeerSettings, ...]
    update: tuple[PeerSettings, ...]
    add: tuple[PeerSettings, ...]


def peer_steps(old: tuple[PeerSettings, ...], new: tuple[PeerSettings, ...]) -> PeerSteps:
    before = {peer.name: peer for peer in old}
    same = {peer.name for peer in new if _is_same(before.get(peer.name), peer)}
    changed = [(before[peer.name], peer) for peer in new if peer.name in same and peer != before[peer.name]]
    narrow = []
    for was, becomes in changed:
        kept = tuple(prefix for prefix in was.allowed_ips if prefix in becomes.allowed_ips)
        if kept != was.allowed_ips:
            narrow.append(dataclasses.replace(was, allowed_ips=kept))
    return PeerSteps(
        remove=tuple(name for name in before if name not in same),
        narrow=tuple(narrow),
        update=tuple(becomes for _was, becomes in changed),
        add=tuple(peer for peer in new if peer.name not in same),
    )


def _is_same(before: PeerSettings | None, after: PeerSettings) -> bool:
    """The key is the peer: with another key it is another one, and two may change keys with each other."""
    return before is not None and before.public_key == after.public_key


def changes(old: Config, new: Config) -> list[Change]:
    """Every key whose value differs; a peer that comes or goes is one change, named by its prefixes."""
    before, after = _flat(old), _flat(new)
    names = [{peer.name: None for peer in config.peers} for config in (old, new)]
    for name in [name for name in names[0] | names[1] if name not in names[0] or name not in names[1]]:
        for flat in (before, after):
            whole = {key: flat.pop(key) for key in list(flat) if key.startswith(f"peer.{name}/")}
            if whole:
                flat[f"peer.{name}/"] = whole[f"peer.{name}/allowed_ips"]
    keys = dict.fromkeys((*before, *after))
    return [
        Change(key.rstrip("/").replace("/", "."), before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _flat(config: Config) -> dict[str, Any]:
    """`interface.mtu`, `peer.hub/keepalive` (names may hold dots) to values; an absent table has none."""
    flat: dict[str, Any] = {}
    for table in dataclasses.fields(config):
        value = getattr(config, table.name)
        if table.name == "peers":
            for peer in value:
                _flat_table(flat, f"peer.{peer.name}/", peer)
        elif dataclasses.is_dataclass(value):
            _flat_table(flat, f"{table.name}.", value)
    return flat


def _flat_table(flat: dict[str, Any], prefix: str, table: Any) -> None:
    for each in dataclasses.fields(table):
        flat[prefix + each.name] = _plain(getattr(table, each.name))


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
