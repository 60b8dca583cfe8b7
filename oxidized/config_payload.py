"""`compression.payload`: which flows may be compressed, from the words of the file to rules by port.

Compression before encryption tells whoever sees the sizes of packets something of what is in them
(docs/compression.md). So a flow is named by the operator, and classes in which the text of several people
meets need a second word of his.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from oxidized.core.plane import DICTIONARIES, PayloadRule

TCP, UDP = 6, 17
PROTOCOLS = {"tcp": TCP, "udp": UDP}
# Name -> where it lives; each has a dictionary of the same name.
CLASSES: dict[str, tuple[tuple[int, int], ...]] = {
    "syslog": ((UDP, 514), (TCP, 514), (TCP, 601)),
    "sip": ((UDP, 5060), (TCP, 5060)),
    "mqtt": ((TCP, 1883),),
    "http": ((TCP, 80), (TCP, 8080)),
}
# Web, mail, telephony and chat in the clear: one sends what another wrote, beside a secret of his own.
UNSAFE_PORTS = frozenset(
    {21, 25, 80, 110, 119, 143, 587, 3128, 5060, 5222, 6667, 8000, 8008, 8080, 8081, 8888}
)
UNSAFE_DICTIONARIES = frozenset({"sip", "http"})
# SSH, DNS over TLS, HTTPS, LDAPS, mail, SIP, MQTT and syslog over TLS, IKE, ESP in UDP, and tunnels.
ENCRYPTED_PORTS = frozenset(
    {22, 443, 465, 500, 636, 853, 989, 990, 993, 995, 1194, 4500, 5061, 5349, 6514, 8443, 8883, 51820}
)
_OWN = re.compile(r"(tcp|udp):([0-9]{1,5})(?:=([a-z]+))?")


@dataclass(frozen=True, slots=True)
class Flows:
    """One element of the list. `text`: as the file has it."""

    text: str
    rules: tuple[PayloadRule, ...]
    is_unsafe: bool

    def __str__(self) -> str:
        return self.text


def flows(text: str) -> Flows:
    """Of "syslog", "tcp:5432" or "udp:1234=sip". ValueError: the rest of a line about it."""
    if text in CLASSES:
        return _flows(text, CLASSES[text], text)
    found = _OWN.fullmatch(text)
    if found is None:
        names = ", ".join(f'"{name}"' for name in CLASSES)
        raise ValueError(f'is neither one of {names} nor such as "tcp:5432" or "udp:1234=syslog"')
    protocol, port, dictionary = found.groups()
    if not 1 <= int(port) <= 65535:
        raise ValueError("has a port outside 1..65535")
    if dictionary is not None and dictionary not in DICTIONARIES:
        raise ValueError(f"has no dictionary behind its =; there are {', '.join(DICTIONARIES)}")
    if int(port) in ENCRYPTED_PORTS:
        raise ValueError("is a port of encrypted packets, which do not get smaller")
    return _flows(text, ((PROTOCOLS[protocol], int(port)),), dictionary or "generic")


def _flows(text: str, places: tuple[tuple[int, int], ...], dictionary: str) -> Flows:
    number = DICTIONARIES.index(dictionary)
    rules = tuple(PayloadRule(port, protocol, number) for protocol, port in places)
    is_unsafe = dictionary in UNSAFE_DICTIONARIES or any(port in UNSAFE_PORTS for _, port in places)
    return Flows(text, rules, is_unsafe)


def overlap(one: Flows, other: Flows) -> str | None:
    """"tcp:80" where both name a port; None: they have none in common."""
    places = {(rule.protocol, rule.port) for rule in one.rules}
    for rule in other.rules:
        if (rule.protocol, rule.port) in places:
            return f"{'tcp' if rule.protocol == TCP else 'udp'}:{rule.port}"
    return None
