"""Payloads as applications send them, seeded: what compression is measured and tested on.

`make(kind, count, seed)` gives UDP or TCP payloads of at most 1,372 bytes, none like another: names,
addresses, identifiers, times and values are drawn anew for each message. The dictionaries
(native/dictionaries) are not made of them, and do not have all of their texts.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.payloads import http, mqtt, sip, sql, syslog

PAYLOAD_BYTES_MAX = 1372  # what an inner packet of 1,412 bytes leaves to TCP
KINDS: dict[str, Callable[[Random], bytes]] = {
    "sip": sip.message,
    "syslog": syslog.message,
    "mqtt": mqtt.message,
    "http": http.message,
    "sql": sql.message,
    "random": lambda r: r.randbytes(r.randrange(100, 1372)),
}


def make(kind: str, count: int, seed: int) -> list[bytes]:
    r = Random(f"{kind} {seed}")
    return [KINDS[kind](r)[:PAYLOAD_BYTES_MAX] for _ in range(count)]
