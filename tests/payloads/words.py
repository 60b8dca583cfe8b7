"""Names, addresses and numbers for payloads."""

from __future__ import annotations

import base64
from random import Random

FIRST = (
    "amelia noah olivia liam ava mateo zoe yusuf chloe hiro ines pavel greta omar leila sven priya dmitri "
    "fatima jonas ruth marek wanda tobias nina kofi elif bruno selma arturo"
).split()
LAST = (
    "okafor lindqvist moreau tanaka petrov haddad novak silva jensen kowalski adeyemi rossi schneider dubois "
    "nakamura oconnor papadakis ivanova castillo bergstrom demir fischer horvat maki nguyen"
).split()
NOUNS = (
    "harbor lantern quarry meadow copper falcon juniper granite willow ember summit orchard tundra coral "
    "marble saffron cobalt thistle beacon prairie walnut glacier pepper magnet violet canyon"
).split()
TLDS = ("com", "net", "org", "io", "de", "co.uk", "fr", "local", "internal", "example")


def pick(r: Random, *options: str) -> str:
    return r.choice(options)


def hex_id(r: Random, digits: int) -> str:
    return f"{r.getrandbits(4 * digits):0{digits}x}"


def uuid(r: Random) -> str:
    h = hex_id(r, 32)
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"


def token(r: Random, count: int) -> str:
    return base64.urlsafe_b64encode(r.randbytes(count)).decode().rstrip("=")


def domain(r: Random) -> str:
    return f"{r.choice(NOUNS)}{pick(r, '', '-' + r.choice(NOUNS))}.{r.choice(TLDS)}"


def host(r: Random) -> str:
    return f"{r.choice(NOUNS)}{r.randrange(1, 100):02}"


def user(r: Random) -> str:
    first, last = r.choice(FIRST), r.choice(LAST)
    return pick(r, f"{first}.{last}", first[0] + last, first, f"{last}{r.randrange(100)}")


def ip(r: Random) -> str:
    net = pick(r, "10.{}.{}.{}", "192.168.{1}.{2}", "172.16.{1}.{2}", "203.0.113.{2}", "{}.{}.{}.7")
    return net.format(r.randrange(1, 224), r.randrange(256), r.randrange(1, 255))


def port(r: Random) -> int:
    return r.randrange(1024, 65536)


def day(r: Random) -> tuple[int, int, int, int, int, int]:
    return (
        r.randrange(2024, 2028), r.randrange(1, 13), r.randrange(1, 29),
        r.randrange(24), r.randrange(60), r.randrange(60),
    )  # fmt: skip


def iso(r: Random, fraction: int = 3, zone: str = "Z") -> str:
    y, mo, d, h, mi, s = day(r)
    part = f".{r.randrange(10**fraction):0{fraction}}" if fraction else ""
    return f"{y}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}{part}{zone}"


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def bsd_time(r: Random) -> str:
    _, mo, d, h, mi, s = day(r)
    return f"{MONTHS[mo - 1]} {d:2} {h:02}:{mi:02}:{s:02}"


def http_date(r: Random) -> str:
    y, mo, d, h, mi, s = day(r)
    return f"{r.choice(DAYS)}, {d:02} {MONTHS[mo - 1]} {y} {h:02}:{mi:02}:{s:02} GMT"
