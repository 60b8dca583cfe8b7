"""What values a configuration key takes: one reader per kind, from a TOML value to the value we work with.

A reader raises Mistake with the rest of a sentence whose subject is the value: "is outside 1280..9000".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network
from typing import Any

from oxidized import keys, limits
from oxidized.config_classes import Classed, classed, selects_same
from oxidized.config_payload import CLASSES, Flows, flows, overlap
from oxidized.units import Duration, duration_ns

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

LOG_LEVELS = ("error", "warning", "info", "debug")

_PEER_NAME = re.compile(r"[a-z0-9._-]{1,32}")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LOG_MODULE = re.compile(r"[a-z][a-z0-9_]{0,31}")
# Names of /proc/sys/net/*/conf that are not devices, and those that are directories.
_INTERFACE_NAMES_TAKEN = ("all", "default", "lo", ".", "..")


class Mistake(ValueError):
    """`index`: which element of the list it is about."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, slots=True)
class Key:
    """The manual of one key. `low`, `high` and `default` are in the words of the file; None: no such bound.

    `limit`: why the bounds are where they are. `default` "": required.
    """

    kind: Kind
    default: str
    help: str
    low: Any = None
    high: Any = None
    limit: str = ""
    reloadable: bool = True
    inheritable: bool = False

    @property
    def range_text(self) -> str:
        return f"{self.low}..{self.high}" if self.low is not None else self.kind.values

    def read(self, value: Any) -> Any:
        return self.kind.read(value, self)


@dataclass(frozen=True, slots=True)
class Kind:
    """`name`: for the manual; `values`: the range where it does not depend on the key."""

    name: str
    read: Callable[[Any, Key], Any]
    values: str = field(default="", kw_only=True)


def shown(value: Any) -> str:
    """The operator's value in a message: as TOML has it, short, on one line, without control characters."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        visible = "(a private key)" if keys.PRIVATE_PREFIX in value else value[:41]
        text = '"' + "".join(sign if sign.isprintable() else "?" for sign in visible) + '"'
    else:
        text = repr(value) if isinstance(value, (int, float)) else type_name(value)
    return text if len(text) <= 43 else text[:40] + '..."'


def type_name(value: Any) -> str:
    """How TOML calls the type of a value."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "a list"}
    return names.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


def _string(value: Any, key: Key) -> str:
    if not isinstance(value, str):
        raise Mistake(f"is {type_name(value)}, not a string")
    return value


def _strings(value: Any, count_max: int) -> list[str]:
    if not isinstance(value, list):
        raise Mistake(f"is {type_name(value)}, not a list of strings")
    if not value:
        raise Mistake("is empty")
    if len(value) > count_max:
        raise Mistake(f"has {len(value)} elements; at most {count_max}")
    for index, element in enumerate(value):
        if not isinstance(element, str):
            raise Mistake(f"holds {type_name(element)}, not a string", index)
        if element in value[:index]:
            raise Mistake(f"names {shown(element)} twice", index)
    return value


def _each(value: Any, count_max: int, read: Callable[[str], Any]) -> tuple[Any, ...]:
    found: list[Any] = []
    for index, text in enumerate(_strings(value, count_max)):
        try:
            element = read(text)
        except ValueError as error:
            raise Mistake(f"{shown(text)} {error}", index) from None
        if element in found:
            raise Mistake(f"names {shown(text)} twice", index)
        found.append(element)
    return tuple(found)


def _whole(value: Any, key: Key) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Mistake(f"is {type_name(value)}, not an integer")
    if not key.low <= value <= key.high:
        why = f" ({key.limit})" if key.limit else ""
        # A huge integer has a huge text, and Python refuses to write it.
        number = shown(value) if abs(value) < 10**20 else "the number"
        raise Mistake(f"{number} is outside {key.range_text}{why}")
    return value


def _whole_or(*words: str) -> Callable[[Any, Key], int | str]:
    def read(value: Any, key: Key) -> int | str:
        if isinstance(value, str):
            if value not in words:
                raise Mistake(f"{shown(value)} is neither a number nor " + _one_of(words))
            return value
        return _whole(value, key)

    return read


def _duration(value: Any, key: Key) -> Duration:
    if not isinstance(value, str):
        raise Mistake(f"is {type_name(value)}; a duration is a string with a unit, such as {key.default}")
    if value == "off" and "off" in key.kind.values:
        return Duration(0)
    try:
        ns = duration_ns(value)
    except ValueError as error:
        raise Mistake(f"{shown(value)} {error}") from None
    if not duration_ns(key.low) <= ns <= duration_ns(key.high):
        why = f" ({key.limit})" if key.limit else ""
        raise Mistake(f"{shown(value)} is outside {key.range_text}{why}")
    return Duration(ns)


def _boolean(value: Any, key: Key) -> bool:
    if not isinstance(value, bool):
        raise Mistake(f"is {type_name(value)}, not true or false")
    return value


def _one_of(words: tuple[str, ...]) -> str:
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


def choice(*words: str) -> Kind:
    def read(value: Any, key: Key) -> str:
        if _string(value, key) not in words:
            raise Mistake(f"{shown(value)} is not {_one_of(words)}")
        return str(value)

    return Kind("string", read, values=", ".join(f'"{word}"' for word in words))


def _interface_name(value: Any, key: Key) -> str:
    name = _string(value, key)
    # dev_valid_name() of the kernel; a percent sign would make it number the name.
    if (
        not 1 <= len(name.encode()) <= limits.INTERFACE_NAME_CHARS_MAX
        or not name.isascii()
        or not name.isprintable()
        or any(sign in "/: %" for sign in name)
        or name in _INTERFACE_NAMES_TAKEN
    ):
        most = limits.INTERFACE_NAME_CHARS_MAX
        raise Mistake(f"{shown(name)} is no interface name (at most {most} characters)")
    return name


def _address(text: str) -> Interface:
    if "/" not in text:
        raise ValueError('needs a prefix length, such as "10.70.0.2/24"')
    try:
        found = ip_interface(text)
    except ValueError:
        raise ValueError("is no IP address with prefix length") from None
    address = found.ip
    if "%" in text:
        raise ValueError("must not name a zone")
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise ValueError("is no address that an interface can have")
    return found


def _prefix(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        covering = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("is no IP prefix") from None
    raise ValueError(f'has bits beyond the prefix length; did you mean "{covering}"?')


def host_port(text: str) -> tuple[str, int]:
    """("hub.example.net", 443) of "hub.example.net:443"; IPv6 in brackets. ValueError: the rest of a line."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5:
        raise ValueError('needs a port, such as "hub.example.net:443"')
    if not 1 <= int(port) <= 65535:
        raise ValueError("has a port outside 1..65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if _family(host.partition("%")[0]) != 6:
            raise ValueError("has no IPv6 address in its brackets")
    elif ":" in host:
        raise ValueError('needs brackets around the IPv6 address: "[2001:db8::10]:443"')
    return host, int(port)


def _family(host: str) -> int:
    """4, 6, or 0 for what is no address."""
    try:
        return ip_interface(host).version if "/" not in host else 0
    except ValueError:
        return 0


def _endpoint(text: str) -> str:
    host, _ = host_port(text)
    if _family(host.partition("%")[0]) == 6 or _family(host) == 4:
        return text
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError("has neither a host name nor an IP address before its port")
    return text


def _listen(text: str) -> str:
    host, _ = host_port(text)
    if not _family(host.partition("%")[0]):
        raise ValueError('needs an IP address: "0.0.0.0:443" or "[::]:443" for all')
    return text


def _peer_name(value: Any, key: Key) -> str:
    name = _string(value, key)
    if not _PEER_NAME.fullmatch(name):
        raise Mistake(f"{shown(name)} is not 1 to 32 of a-z 0-9 . _ -")
    return name


def _public_key(value: Any, key: Key) -> str:
    try:
        keys.public_parse(_string(value, key))
    except Mistake:
        raise
    except ValueError as error:
        raise Mistake(str(error)) from None
    return str(value)


def _key_source(value: Any, key: Key) -> str:
    text = _string(value, key)
    try:
        keys.source_check(text)
    except ValueError as error:
        raise Mistake(str(error)) from None
    return text


def _path_check(path: str) -> str:
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise Mistake(f"{shown(path)} is no absolute path of a socket")
    if len(path.encode()) > limits.UNIX_PATH_BYTES_MAX:
        raise Mistake(f"is longer than {limits.UNIX_PATH_BYTES_MAX} bytes, the most for a unix socket")
    return path


def _socket_path(value: Any, key: Key) -> str:
    return _path_check(_string(value, key))


def _metrics(value: Any, key: Key) -> str:
    text = _string(value, key)
    if text == "":
        return text
    if text.startswith("unix:"):
        _path_check(text.removeprefix("unix:"))
        return text
    try:
        host, _ = host_port(text)
    except ValueError as error:
        raise Mistake(f'{shown(text)} {error}, or is to be "unix:/path"') from None
    if not _family(host) or not ip_interface(host).ip.is_loopback:
        raise Mistake(f"{shown(text)} is no loopback address; metrics are for this host alone")
    return text


def log_levels(text: str) -> dict[str, str]:
    """{"": "info", "session": "debug"} of "info,session=debug". ValueError: the rest of a line."""
    found: dict[str, str] = {}
    for part in text.split(","):
        module, equals, level = part.strip().rpartition("=")
        if level not in LOG_LEVELS:
            raise ValueError(f"{shown(level)} is not {_one_of(LOG_LEVELS)}")
        if equals and not _LOG_MODULE.fullmatch(module):
            raise ValueError(f"{shown(module)} is no name of a module")
        if module in found:
            raise ValueError(f"sets the level of {shown(module)} twice" if module else "sets the level twice")
        found[module] = level
    if len(found) > 64:
        raise ValueError("names more than 64 modules")
    return {"": "info", **found}


def _log_level(value: Any, key: Key) -> str:
    text = _string(value, key)
    try:
        log_levels(text)
    except ValueError as error:
        raise Mistake(str(error)) from None
    return text


def _payload(value: Any, key: Key) -> tuple[Flows, ...]:
    """May be empty: then nothing is compressed."""
    found: tuple[Flows, ...] = () if value == [] else _each(value, limits.PAYLOAD_FLOWS_MAX, flows)
    for index, one in enumerate(found):
        for other in found[:index]:
            if place := overlap(one, other):
                raise Mistake(f"{shown(one.text)} names {place}, as {shown(other.text)} does", index)
    return found


def _classes(value: Any, key: Key) -> tuple[Classed, ...]:
    found: tuple[Classed, ...] = () if value == [] else _each(value, limits.CLASS_RULES_MAX, classed)
    for index, one in enumerate(found):
        for other in found[:index]:
            if selects_same(one, other):
                before = shown(other.text)
                raise Mistake(f"{shown(one.text)} never applies: {before} comes before it", index)
    return found


INTERFACE_NAME = Kind("string", _interface_name, values="1 to 15 characters")
ADDRESSES = Kind(
    "list of strings",
    lambda value, key: _each(value, limits.ADDRESSES_MAX, _address),
    values="IP address/prefix length",
)
WHOLE = Kind("integer", _whole)
WHOLE_OR_AUTO = Kind('integer or "auto"', _whole_or("auto"))
TABLE = Kind('integer or "auto", "main", "off"', _whole_or("auto", "main", "off"))
DURATION = Kind("duration", _duration)
DURATION_OR_OFF = Kind('duration or "off"', _duration, values="off")
BOOLEAN = Kind("boolean", _boolean, values="true, false")
KEY_SOURCE = Kind("string", _key_source, values='"credential:NAME", "file:/absolute/path"')
LISTEN = Kind("list of strings", lambda value, key: _each(value, 8, _listen), values="IP address:port")
ENDPOINTS = Kind(
    "list of strings", lambda value, key: _each(value, limits.ENDPOINTS_MAX, _endpoint), values="host:port"
)
PREFIXES = Kind(
    "list of strings", lambda value, key: _each(value, limits.PREFIXES_MAX, _prefix), values="IP prefix"
)
PEER_NAME = Kind("string", _peer_name, values="1 to 32 of a-z 0-9 . _ -")
PUBLIC_KEY = Kind("string", _public_key, values='"ox1pub:" and 44 characters of base64')
PAYLOAD = Kind(
    "list of strings",
    _payload,
    values=", ".join(f'"{name}"' for name in CLASSES) + ', "tcp:PORT", "udp:PORT", "udp:PORT=DICTIONARY"',
)
CLASSES_OF_TRAFFIC = Kind(
    "list of strings",
    _classes,
    values='"tcp/PORT=CLASS", "udp/PORT=CLASS", "tcp=CLASS", "udp=CLASS", "dscp/NAME=CLASS", "PREFIX=CLASS"',
)
SOCKET_PATH = Kind("string", _socket_path, values="absolute path")
METRICS = Kind("string", _metrics, values='"", "127.0.0.1:PORT", "unix:/path"')
LOG_LEVEL = Kind("string", _log_level, values="error, warning, info, debug; MODULE=LEVEL after commas")
