"""The configuration file: read strictly, whole, and either good or refused with file, line and key.

`load(path)` is all that others need. It collects every problem it can find, so that an operator mends
a file in one go. Nothing here has an effect on the system, and the private key is not touched before
`Config.to_settings()`.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from oxidized import config_schema as schema
from oxidized import limits
from oxidized.config_kinds import Interface, Key, Mistake, Network, shown, type_name
from oxidized.config_payload import Flows
from oxidized.config_schema import (
    CompressionConfig,
    Config,
    ControlConfig,
    CryptoConfig,
    IdentityConfig,
    InterfaceConfig,
    ListenConfig,
    LogConfig,
    OffloadConfig,
    PeerConfig,
    RepairConfig,
)
from oxidized.errors import ConfigError, Problem
from oxidized.toml_lines import Path, lines_of
from oxidized.units import Duration

__all__ = [
    "CompressionConfig",
    "Config",
    "ControlConfig",
    "CryptoConfig",
    "IdentityConfig",
    "InterfaceConfig",
    "ListenConfig",
    "LogConfig",
    "OffloadConfig",
    "PeerConfig",
    "RepairConfig",
    "effective",
    "load",
]

_TOML_PLACE = re.compile(r" \((?:at line (\d+), column \d+|at end of document)\)$")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TOP_LEVEL = ("version", "include", *schema.TABLES, "defaults", "peer")
_OF_INCLUDED = ("version", "peer")
_PROBLEMS_MAX = 50  # shown; more of them say nothing new


def load(path: str) -> Config:
    """Read and check a file and what it includes. Raises ConfigError with every problem found."""
    return _Loader(path).load()


@dataclass(slots=True)
class _Source:
    """One file as read: its data and where things stand in it."""

    file: str
    data: dict[str, Any]
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Of the key, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 0


@dataclass(slots=True)
class _PeerRead:
    source: _Source
    path: Path
    values: dict[str, Any]

    @property
    def label(self) -> str:
        return f"peer.{self.values['name']}" if "name" in self.values else _key_text(self.path)


def _key_text(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Loader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._problems: list[Problem] = []
        self._files: dict[str, int] = {}  # in the order they were read
        # What is left out stands for its default; these depend on the file's name.
        self._name = os.path.basename(path).removesuffix(".toml")

    def load(self) -> Config:
        source = self._source(self._path)
        if source is None:
            raise self._error()
        self._version(source)
        self._unknown(source, (), source.data, _TOP_LEVEL)
        tables = {name: self._table(source, name) for name in schema.TABLES}
        defaults = self._defaults(source)
        peers = self._peers(source, defaults)
        for included in self._included(source):
            self._version(included, is_required=False)
            self._unknown(included, (), included.data, _OF_INCLUDED, where=" in an included file")
            peers += self._peers(included, defaults)
        self._check_peers(peers, source)
        if not self._problems:
            self._check_together(source, tables, peers)
        if self._problems:
            raise self._error()
        return self._config(source, tables, peers)

    def _error(self) -> ConfigError:
        problems = list(dict.fromkeys(self._problems))
        problems.sort(key=lambda problem: (self._files[problem.file], problem.line))
        if len(problems) > _PROBLEMS_MAX:
            more = len(problems) - _PROBLEMS_MAX
            problems[_PROBLEMS_MAX:] = [Problem(self._path, 0, "", f"and {more} more problems")]
        return ConfigError(*problems)

    def _wrong(self, source: _Source, path: Path, message: str, key: str = "") -> None:
        self._problems.append(Problem(source.file, source.line(path), key or _key_text(path), message))

    # ---- files ----

    def _source(self, path: str) -> _Source | None:
        self._files.setdefault(path, len(self._files))
        try:
            text = _read_text(path)
        except OSError as error:
            self._problems.append(Problem(path, 0, "", f"can not be read: {error.strerror or error}"))
            return None
        except ValueError as error:
            self._problems.append(Problem(path, *_line_and_message(error)))
            return None
        try:
            data = tomllib.loads(text)
            return _Source(path, data, lines_of(text))
        except tomllib.TOMLDecodeError as error:
            self._problems.append(_toml_problem(path, text, error))
        except RecursionError:
            self._problems.append(Problem(path, 0, "", "is nested too deeply"))
        except ValueError:
            # Numbers and dates that fit the grammar and no number or calendar.
            self._problems.append(Problem(path, 0, "", "holds a number or date that can not be represented"))
        return None

    def _included(self, source: _Source) -> list[_Source]:
        patterns = source.data.get("include", [])
        if not isinstance(patterns, list):
            self._wrong(source, ("include",), f"is {type_name(patterns)}, not a list of strings")
            return []
        paths: dict[str, None] = {}
        for index, pattern in enumerate(patterns):
            at: Path = ("include", index)
            if not isinstance(pattern, str) or not pattern or "\0" in pattern:
                self._wrong(source, at, f"{shown(pattern)} is no path or pattern", "include")
                continue
            found = sorted(glob.glob(os.path.join(os.path.dirname(self._path), pattern)))
            if not found and not glob.has_magic(pattern):
                self._wrong(source, at, f"{shown(pattern)} does not exist", "include")
            paths.update(dict.fromkeys(found))
        if len(paths) > limits.CONFIG_FILES_MAX:
            self._wrong(source, ("include",), f"names {len(paths)} files; at most {limits.CONFIG_FILES_MAX}")
            return []
        return [included for path in paths if (included := self._source(path)) is not None]

    # ---- tables ----

    def _version(self, source: _Source, *, is_required: bool = True) -> None:
        version = source.data.get("version")
        if version is None and not is_required:
            return
        if version is None:
            message = f"is missing: put `version = {schema.VERSION}` before all tables"
            self._wrong(source, ("version",), message)
        elif isinstance(version, bool) or version != schema.VERSION:
            message = f"{shown(version)} is not {schema.VERSION}, the version known here"
            self._wrong(source, ("version",), message)

    def _unknown(
        self,
        source: _Source,
        path: Path,
        data: dict[str, Any],
        known: Iterable[str],
        label: str = "",
        where: str = "",
    ) -> None:
        """A problem for each key of `data` that is not known. `label`: what messages call the table."""
        names = list(known)
        for name in data:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(names)}"
                visible = "".join(sign if sign.isprintable() else "?" for sign in name[:64])
                key = f"{label}.{visible}" if label else _key_text((*path, visible))
                self._wrong(source, (*path, name), f"unknown key{where}{hint}", key)

    def _table(self, source: _Source, name: str) -> dict[str, Any] | None:
        """What the table sets, by key; None: it is not there."""
        data = source.data.get(name)
        if data is None and name in schema.OPTIONAL_TABLES:
            return None
        if not isinstance(data, dict | None):
            self._wrong(source, (name,), f"is {type_name(data)}, not a table")
            return {}
        return self._values(source, (name,), data or {}, schema.keys_of(schema.TABLES[name]))

    def _values(
        self, source: _Source, path: Path, data: dict[str, Any], keys: dict[str, Key], label: str = ""
    ) -> dict[str, Any]:
        """What `data` sets. Missing required keys and unknown ones are problems too."""
        label = label or _key_text(path)
        self._unknown(source, path, data, keys, label)
        found: dict[str, Any] = {}
        for name, key in keys.items():
            if name not in data:
                if key.default == schema.REQUIRED:
                    self._wrong(source, path, "is missing", f"{label}.{name}")
                continue
            try:
                found[name] = key.read(data[name])
            except Mistake as error:
                at: Path = (*path, name) if error.index is None else (*path, name, error.index)
                self._wrong(source, at, str(error), f"{label}.{name}")
        return found

    def _defaults(self, source: _Source) -> dict[str, Any]:
        """`[defaults.peer]`."""
        data = source.data.get("defaults", {})
        if not isinstance(data, dict):
            self._wrong(source, ("defaults",), f"is {type_name(data)}, not a table")
            return {}
        self._unknown(source, ("defaults",), data, ("peer",))
        data = data.get("peer", {})
        if not isinstance(data, dict):
            self._wrong(source, ("defaults", "peer"), f"is {type_name(data)}, not a table")
            return {}
        keys = {name: key for name, key in schema.keys_of(PeerConfig).items() if key.inheritable}
        return self._values(source, ("defaults", "peer"), data, keys)

    def _peers(self, source: _Source, defaults: dict[str, Any]) -> list[_PeerRead]:
        tables = source.data.get("peer", [])
        if not isinstance(tables, list):
            self._wrong(source, ("peer",), f"is {type_name(tables)}; each peer begins with [[peer]]")
            return []
        found = []
        keys = schema.keys_of(PeerConfig)
        for index, table in enumerate(tables):
            path: Path = ("peer", index)
            if not isinstance(table, dict):
                self._wrong(source, path, f"is {type_name(table)}, not a table")
                continue
            name = table.get("name")
            label = f"peer.{name}" if isinstance(name, str) and name.isascii() and name.isprintable() else ""
            values = self._values(source, path, table, keys, label[:40])
            found.append(_PeerRead(source, path, {**defaults, **values}))
        return found

    # ---- what must fit together ----

    def _check_peers(self, peers: list[_PeerRead], source: _Source) -> None:
        if len(peers) > limits.PEERS_MAX:
            self._wrong(source, ("peer",), f"there are {len(peers)} peers; at most {limits.PEERS_MAX}")
        self._check_unique(peers, "name", "is also the name of another peer")
        self._check_unique(peers, "public_key", "is also the key of")
        owners: dict[Network, _PeerRead] = {}
        for peer in peers:
            for index, prefix in enumerate(peer.values.get("allowed_ips", ())):
                owner = owners.setdefault(prefix, peer)
                if owner is not peer:
                    message = f"{prefix} also belongs to {_said(owner, 'allowed_ips')}; it needs one owner"
                    at = (*peer.path, "allowed_ips", index)
                    self._wrong(peer.source, at, message, f"{peer.label}.allowed_ips")
        if len(owners) > limits.PREFIXES_MAX:
            self._wrong(source, ("peer",), f"{len(owners)} allowed_ips; at most {limits.PREFIXES_MAX}")

    def _check_unique(self, peers: list[_PeerRead], name: str, message: str) -> None:
        first: dict[str, _PeerRead] = {}
        for peer in peers:
            if name not in peer.values:
                continue
            owner = first.setdefault(peer.values[name], peer)
            if owner is not peer:
                said = f"({_place(owner, name)})" if name == "name" else _said(owner, name)
                self._wrong(peer.source, (*peer.path, name), f"{message} {said}", f"{peer.label}.{name}")

    def _check_together(
        self, source: _Source, tables: dict[str, dict[str, Any] | None], peers: list[_PeerRead]
    ) -> None:
        interface = tables["interface"] or {}
        self._check_name(source, tables)
        self._check_payload(source, tables["compression"] or {})
        has_default = any(p.prefixlen == 0 for peer in peers for p in peer.values["allowed_ips"])
        if has_default and interface.get("table", "auto") == "auto" and interface.get("fwmark") == 0:
            message = '0 does not go with a default route in allowed_ips and table = "auto": our own '
            self._wrong(source, ("interface", "fwmark"), message + "datagrams would go into the tunnel")
        for peer in peers:
            is_dialled = "endpoint" in peer.values
            if is_dialled and tables["listen"] is not None:
                message = "a hub (there is a [listen] table) is called by its peers and calls none"
                self._wrong(peer.source, (*peer.path, "endpoint"), message, f"{peer.label}.endpoint")
            if not is_dialled and tables["listen"] is None:
                message = "is missing: an edge (there is no [listen] table) must know where to call its peer"
                self._wrong(peer.source, peer.path, message, f"{peer.label}.endpoint")

    def _check_payload(self, source: _Source, compression: dict[str, Any]) -> None:
        if compression.get("payload_unsafe"):
            return
        for index, named in enumerate(compression.get("payload", ())):
            if named.is_unsafe:
                message = f"{shown(named.text)} is not safe: sizes of packets would tell of secrets in them "
                message += "(docs/compression.md); it takes payload_unsafe = true as well"
                self._wrong(source, ("compression", "payload", index), message, "compression.payload")

    def _check_name(self, source: _Source, tables: dict[str, dict[str, Any] | None]) -> None:
        """What comes from the file's name must fit where it goes."""
        if not _NAME.fullmatch(self._name):
            message = f"its name names the tunnel, and {shown(self._name)} is not of A-Z a-z 0-9 . _ -"
            self._problems.append(Problem(source.file, 0, "", message))
            return
        for table, name, value in (
            ("interface", "name", self._interface_name()),
            ("control", "socket", self._socket()),
        ):
            if name in (tables[table] or {}):
                continue
            try:
                schema.keys_of(schema.TABLES[table])[name].read(value)
            except Mistake as error:
                self._wrong(source, (table,), f"is left out, and its default {error}", f"{table}.{name}")

    # ---- the result ----

    def _interface_name(self) -> str:
        return f"oxd-{self._name}"

    def _socket(self) -> str:
        return f"/run/oxidized/{self._name}/ctl.sock"

    def _config(
        self, source: _Source, tables: dict[str, dict[str, Any] | None], peers: list[_PeerRead]
    ) -> Config:
        derived: dict[str, dict[str, Any]] = {
            "interface": {"name": self._interface_name()},
            "control": {"socket": self._socket()},
        }
        built: dict[str, Any] = {}
        for name, table in schema.TABLES.items():
            values = tables[name]
            if values is None:
                built[name] = None
                continue
            built[name] = table(**_with_defaults(table, {**derived.get(name, {}), **values}))
        return Config(
            name=self._name,
            file=source.file,
            identity_line=source.line(("identity", "key")),
            library_line=source.line(("crypto", "library")),
            peers=tuple(
                PeerConfig(**_with_defaults(PeerConfig, {"endpoint": (), **peer.values})) for peer in peers
            ),
            **built,
        )


def _with_defaults(table: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """All keys of the table; those that are left out by what the manual says."""
    return {
        name: values[name] if name in values else key.read(tomllib.loads(f"value = {key.default}")["value"])
        for name, key in schema.keys_of(table).items()
    }


def _place(peer: _PeerRead, name: str) -> str:
    return f"{peer.source.file}:{peer.source.line((*peer.path, name))}"


def _said(peer: _PeerRead, name: str) -> str:
    return f"{peer.label.replace('peer.', 'peer ')} ({_place(peer, name)})"


def _read_text(path: str) -> str:
    """OSError, or ValueError(line, message)."""
    # O_NONBLOCK: a named pipe must not make us wait.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(0, "is not a regular file")
        content = file.read(limits.CONFIG_BYTES_MAX + 1)
    if len(content) > limits.CONFIG_BYTES_MAX:
        raise ValueError(0, f"is larger than {limits.CONFIG_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(content.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None


def _line_and_message(error: ValueError) -> tuple[int, str, str]:
    line, message = error.args
    return int(line), "", str(message)


def _toml_problem(path: str, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    message = str(error)
    found = _TOML_PLACE.search(message)
    if found is None:
        return Problem(path, 0, "", message)
    line = int(found.group(1)) if found.group(1) else text.rstrip().count("\n") + 1
    message = message[: found.start()]
    return Problem(path, line, "", "".join(sign if sign.isprintable() else "?" for sign in message)[:200])


# ---- back to TOML ----


def effective(config: Config) -> str:
    """The whole configuration with every default filled in: TOML that loads to the same again."""
    parts = [f"version = {schema.VERSION}\n"]
    for name, table in schema.TABLES.items():
        values = getattr(config, name)
        if values is not None:
            parts.append(f"[{name}]\n" + _lines(values, schema.keys_of(table)))
    parts += ["[[peer]]\n" + _lines(peer, schema.keys_of(PeerConfig)) for peer in config.peers]
    return "\n".join(parts)


def _lines(values: Any, keys: dict[str, Key]) -> str:
    lines = []
    for name in keys:
        value = getattr(values, name)
        if value != ():
            lines.append(f"{name} = {_toml(value)}\n")
    return "".join(lines)


def _toml(value: bool | int | str | Duration | Flows | Interface | Network | tuple[Any, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    # Every string that passes the checks is printable; only the quote and the backslash need care.
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
