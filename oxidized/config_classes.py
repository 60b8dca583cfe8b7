"""`traffic.classes`: which flows are of which class, from the words of the file to rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network

from oxidized.config_payload import PROTOCOLS
from oxidized.core.flows import TRAFFIC_CLASSES, ClassRule

# RFC 2474, 2597, 3246, 5865, 8622.
DSCPS = {
    "be": 0, "le": 1, "va": 44, "ef": 46,
    **{f"cs{n}": 8 * n for n in range(8)},
    **{f"af{n}{drop}": 8 * n + 2 * drop for n in range(1, 5) for drop in range(1, 4)},
}  # fmt: skip
_UNKNOWN = 'names neither "tcp/PORT", "udp/PORT", "dscp/NAME" nor an IP prefix'
_PORT = re.compile(r"(tcp|udp)/([0-9]{1,5})")
_DSCP = re.compile(r"dscp/([a-z0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Classed:
    """One element of the list. `text`: as the file has it."""

    text: str
    rule: ClassRule

    def __str__(self) -> str:
        return self.text


def classed(text: str) -> Classed:
    """Of "udp/3074=gaming", "dscp/ef=voip", "10.0.7.0/24=bulk". ValueError: the rest of a line about it."""
    what, equals, name = text.partition("=")
    if not equals or name not in TRAFFIC_CLASSES:
        raise ValueError(f"needs a class behind its =; there are {', '.join(TRAFFIC_CLASSES)}")
    traffic_class = TRAFFIC_CLASSES.index(name)
    if what in PROTOCOLS:
        return Classed(text, ClassRule(traffic_class, protocol=PROTOCOLS[what]))
    if found := _PORT.fullmatch(what):
        if not 1 <= int(found[2]) <= 65535:
            raise ValueError("has a port outside 1..65535")
        return Classed(text, ClassRule(traffic_class, protocol=PROTOCOLS[found[1]], port=int(found[2])))
    if found := _DSCP.fullmatch(what):
        return Classed(text, ClassRule(traffic_class, dscp=_dscp(found[1])))
    return Classed(text, _of_prefix(what, traffic_class))


def _dscp(word: str) -> int:
    value = int(word) if word.isdigit() else DSCPS.get(word, -1)
    if not 0 <= value <= 63:
        raise ValueError("has no DSCP of 0..63, or a name such as ef, cs4, af41")
    return value


def _of_prefix(what: str, traffic_class: int) -> ClassRule:
    if "/" not in what:
        raise ValueError(_UNKNOWN)
    try:
        network = ip_network(what, strict=False)
    except ValueError:
        raise ValueError(_UNKNOWN) from None
    try:
        ip_network(what)
    except ValueError:
        raise ValueError(f'has bits beyond the prefix length; did you mean "{network}"?') from None
    return ClassRule(traffic_class, network=network)


def selects_same(one: Classed, other: Classed) -> bool:
    """Whether both name the very same packets: then the second one never applies."""
    a, b = one.rule, other.rule
    return (a.protocol, a.port, a.dscp, a.network) == (b.protocol, b.port, b.dscp, b.network)
