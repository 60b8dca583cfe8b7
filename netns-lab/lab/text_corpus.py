"""Messages of the text protocols that tunnels of sites carry, made up from a seed: SIP, syslog, MQTT, HTTP.

What a protocol and common programs write is as they write it (RFC 3261, RFC 5424, MQTT 3.1.1, RFC 9112). Who
speaks, of what, with which names, numbers and headers is random; names are made of syllables, so that no
dictionary has them. No message is like another: a receiver tells them apart by their bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

ONSETS = ("b", "br", "d", "dr", "f", "g", "h", "k", "kl", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v")
NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
CODAS = ("", "", "n", "r", "s", "l", "rk", "nd")
HEX = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer; an empty answer where the protocol has none."""

    request: bytes
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class TextClass:
    """A kind of messages: how they travel, to which port, and who writes number n of them."""

    name: str
    transport: str  # "udp" or "tcp"
    port: int
    make: Callable[[Random, World, int], Exchange]


@dataclass(frozen=True, slots=True)
class World:
    """What one site talks of all along, as its devices do: a few hosts, users, addresses, things."""

    number: int  # chooses what a site has only one of, such as its make of telephones
    domain: str
    hosts: tuple[str, ...]
    users: tuple[str, ...]
    addresses: tuple[str, ...]
    things: tuple[str, ...]
    token: str


def word(rng: Random, syllables: int = 2) -> str:
    parts = (ONSETS, NUCLEI, CODAS)
    return "".join(rng.choice(part) for _ in range(syllables) for part in parts)


def digits(rng: Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def hexadecimal(rng: Random, count: int) -> str:
    return "".join(rng.choice(HEX) for _ in range(count))


def address(rng: Random) -> str:
    return f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def world(rng: Random) -> World:
    domain = f"{word(rng, 3)}.{rng.choice(('example', 'test', 'invalid'))}"
    return World(
        rng.randrange(60), domain, tuple(f"{word(rng)}{rng.randrange(1, 30)}" for _ in range(5)),
        tuple(word(rng) for _ in range(8)), tuple(address(rng) for _ in range(8)),
        tuple(word(rng) for _ in range(8)), hexadecimal(rng, 32),
    )  # fmt: skip


def stamp(number: int) -> str:
    """The time of message `number`, ISO 8601."""
    seconds, milliseconds = divmod(7 * 3600 * 1000 + number * 1117, 1000)
    clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"2031-03-{1 + number // 86400 % 28:02}T{clock}.{milliseconds:03}Z"


# ---- SIP ---------------------------------------------------------------------------------------------------

PHONES = (
    "Yealink SIP-T46U 108.86.0.{}", "snom{}/10.1.175.16", "Grandstream GXP2170 1.0.11.{}", "baresip v3.{}.0",
)  # fmt: skip
ALLOWS = (
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, REFER, SUBSCRIBE, UPDATE, MESSAGE",
    "INVITE,ACK,OPTIONS,BYE,CANCEL,NOTIFY,INFO,REFER,UPDATE,MESSAGE",
    "INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK",
)
STATUSES = ("100 Trying", "180 Ringing", "200 OK", "200 OK", "401 Unauthorized", "486 Busy Here")
EXTRAS = ("Supported: replaces, timer", "Supported: path, outbound", "Session-Expires: 1800")


def sip(rng: Random, about: World, number: int) -> Exchange:
    method = rng.choice(("REGISTER", "OPTIONS", "INVITE", "INVITE", "BYE", "SUBSCRIBE", "NOTIFY"))
    caller, called = (digits(rng, 3) if rng.randrange(2) else rng.choice(about.users) for _ in range(2))
    here, server = f"{rng.choice(about.addresses)}:5060", f"{about.hosts[0]}.{about.domain}"
    branch, tag, to_tag = (hexadecimal(rng, n) for n in (16, 8, 10))
    dialog = [
        f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{branch};rport",
        f'From: "{caller}" <sip:{caller}@{server}>;tag={tag}', f"To: <sip:{called}@{server}>",
        f"Call-ID: {hexadecimal(rng, 24)}@{here.partition(':')[0]}", f"CSeq: {number + 1} {method}",
    ]  # fmt: skip
    rest = [
        f"Contact: <sip:{caller}@{here}>", "Max-Forwards: 70", f"Allow: {ALLOWS[about.number % len(ALLOWS)]}",
        f"User-Agent: {PHONES[about.number % len(PHONES)].format(rng.randrange(10, 90))}",
    ]  # fmt: skip
    if method in ("REGISTER", "SUBSCRIBE"):
        rest += [f"Expires: {rng.choice((60, 300, 600, 3600))}", authorization(rng, about, caller, method)]
    if rng.randrange(2):
        rest.append(rng.choice(EXTRAS))
    body = session(rng, about) if method == "INVITE" else ""
    kind = ["Content-Type: application/sdp"] if body else []
    first, length = f"{method} sip:{called}@{server} SIP/2.0", f"Content-Length: {len(body)}"
    told = [line + (f";tag={to_tag}" if line.startswith("To:") else "") for line in dialog]
    answer = [f"SIP/2.0 {rng.choice(STATUSES)}", *told, f"Server: Asterisk PBX 20.{about.number % 10}.1",
              f"Allow: {ALLOWS[0]}", "Supported: replaces, timer", "Content-Length: 0"]  # fmt: skip
    return Exchange(http_text([first, *dialog, *rest, *kind, length], body), http_text(answer, ""))


def authorization(rng: Random, about: World, user: str, method: str) -> str:
    """An answer to a digest challenge, as it stands in most registrations."""
    return (
        f'Authorization: Digest username="{user}", realm="asterisk", nonce="{hexadecimal(rng, 8)}",'
        f' uri="sip:{about.hosts[0]}.{about.domain}", response="{hexadecimal(rng, 32)}", algorithm=MD5'
    )


def session(rng: Random, about: World) -> str:
    """A session description (RFC 8866)."""
    here, owner = rng.choice(about.addresses), rng.choice(("-", "root", about.users[0]))
    formats = rng.choice(("8 0 18 101", "0 8 101", "18 0 101"))
    return "\r\n".join(
        [
            "v=0", f"o={owner} {digits(rng, 9)} {digits(rng, 9)} IN IP4 {here}",
            f"s={rng.choice(('-', 'call', 'SIP Call', 'Asterisk'))}", f"c=IN IP4 {here}", "t=0 0",
            f"m=audio {rng.randrange(10000, 60000, 2)} RTP/AVP {formats}",
            "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no",
            "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=ptime:20", "a=sendrecv", "",
        ]
    )  # fmt: skip


# ---- syslog ------------------------------------------------------------------------------------------------


def port(rng: Random) -> int:
    return rng.randrange(1024, 65536)


def sshd(rng: Random, about: World) -> str:
    user, peer, number = rng.choice(about.users), rng.choice(about.addresses), rng.randrange(1000, 1100)
    key = f"ED25519 SHA256:{hexadecimal(rng, 20)}"
    return rng.choice(
        (
            f"Accepted publickey for {user} from {peer} port {port(rng)} ssh2: {key}",
            f"Failed password for invalid user {word(rng)} from {address(rng)} port {port(rng)} ssh2",
            f"pam_unix(sshd:session): session opened for user {user}(uid={number}) by (uid=0)",
            f"pam_unix(sshd:session): session closed for user {user}",
            f"Connection closed by authenticating user root {address(rng)} port {port(rng)} [preauth]",
        )
    )


def kernel(rng: Random, about: World) -> str:
    return rng.choice(
        (
            f"[UFW BLOCK] IN=eth0 OUT= SRC={address(rng)} DST={rng.choice(about.addresses)}"
            f" LEN={rng.randrange(40, 80)} TOS=0x00 PREC=0x00 TTL={rng.randrange(30, 250)} ID={port(rng)}"
            f" PROTO=TCP SPT={port(rng)} DPT={rng.choice((22, 23, 445, 3389, 8080))}"
            f" WINDOW={rng.choice((1024, 65535))} RES=0x00 SYN URGP=0",
            f"eth{rng.randrange(4)}: Link is {rng.choice(('Up - 1Gbps/Full - flow control rx/tx', 'Down'))}",
        )
    )


def daemons(rng: Random, about: World) -> tuple[str, str]:
    """A program and what it says."""
    mac = ":".join(hexadecimal(rng, 2) for _ in range(6))
    lease, unit = rng.choice(about.addresses), rng.choice(("logrotate", "fstrim", about.things[0]))
    query = f"{word(rng)}.com IN A + ({lease})"
    path = f"/usr/local/bin/{rng.choice(about.things)}"
    return rng.choice(
        (
            ("sshd", sshd(rng, about)), ("sshd", sshd(rng, about)), ("kernel", kernel(rng, about)),
            ("dhcpd", f"DHCPACK on {lease} to {mac} ({rng.choice(about.hosts)}) via eth{rng.randrange(3)}"),
            ("dhcpd", f"DHCPREQUEST for {lease} from {mac} via eth{rng.randrange(3)}"),
            ("CRON", f"({rng.choice(about.users)}) CMD ({path} --quiet > /dev/null 2>&1)"),
            ("systemd", f"{unit}.service: Deactivated successfully."),
            ("systemd", f"Started {unit}.service - {word(rng, 3)}."),
            ("named", f"client @0x{hexadecimal(rng, 12)} {lease}#{port(rng)}: query: {query}"),
        )
    )  # fmt: skip


def syslog(rng: Random, about: World, number: int) -> Exchange:
    """Half of the senders write as RFC 5424 says, half as devices always have (RFC 3164)."""
    program, text = daemons(rng, about)
    host, process = rng.choice(about.hosts), rng.randrange(300, 32768)
    level = rng.choice((30, 38, 86, 78, 4))
    if about.number % 2:
        old = f"Mar {1 + number // 86400 % 28:2} {stamp(number)[11:19]}"
        return Exchange(f"<{level}>{old} {host} {program}[{process}]: {text} #{number}".encode())
    head = f"<{level}>1 {stamp(number)} {host}.{about.domain} {program} {process} - -"
    return Exchange(f"{head} {text} #{number}".encode())


# ---- MQTT --------------------------------------------------------------------------------------------------


def mqtt(rng: Random, about: World, number: int) -> Exchange:
    """PUBLISH, quality of service 0: readings of a sensor as JSON."""
    place, thing = rng.choice(about.things), rng.choice(("climate", "plug", "motion", "meter"))
    readings: dict[str, object] = {
        "climate": {"temperature": rng.randrange(-200, 400) / 10, "humidity": rng.randrange(2000, 9000) / 100,
                    "pressure": rng.randrange(9700, 10400) / 10},
        "plug": {"state": rng.choice(("ON", "OFF")), "power": rng.randrange(30000) / 10,
                 "current": rng.randrange(1600) / 100, "energy": rng.randrange(10**6) / 100},
        "motion": {"occupancy": rng.randrange(2) == 1, "illuminance": rng.randrange(2000), "tamper": False},
        "meter": {"total_kwh": rng.randrange(10**7) / 1000, "power_w": rng.randrange(9000),
                  "tariff": rng.randrange(1, 3)},
    }[thing]  # fmt: skip
    common: dict[str, object] = {
        "device": f"0x{hexadecimal(rng, 16)}", "timestamp": stamp(number), "seq": number,
        "battery": rng.randrange(101), "linkquality": rng.randrange(256),
        "voltage": rng.randrange(2400, 3300),
    }  # fmt: skip
    keys = rng.sample(list(common), rng.randrange(3, len(common) + 1))
    body = {**readings, **{key: common[key] for key in {**dict.fromkeys(keys), "seq": None}}}
    separators = ((",", ":"), (", ", ": "))[about.number % 2]
    head, tail = rng.choice(("site", "home", "tele")), rng.choice(("state", "sensor"))
    topic = f"{head}/{place}/{thing}{rng.randrange(1, 9)}/{tail}"
    rest = len(topic).to_bytes(2) + topic.encode() + json.dumps(body, separators=separators).encode()
    return Exchange(b"\x30" + mqtt_length(len(rest)) + rest)


def mqtt_length(count: int) -> bytes:
    """Remaining length (MQTT 3.1.1, 2.2.3): seven bits a byte, the lowest first."""
    out = bytearray()
    while True:
        count, low = count >> 7, count & 0x7F
        out.append(low | (0x80 if count else 0))
        if not count:
            return bytes(out)


# ---- HTTP --------------------------------------------------------------------------------------------------

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1{0}.0.0.0"
    " Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:1{0}.0) Gecko/20100101 Firefox/1{0}.0", "python-requests/2.{0}.0",
    "curl/7.{0}.1",
)
ACCEPTS = ("*/*", "application/json", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


def http(rng: Random, about: World, number: int) -> Exchange:
    """A call of a web interface: JSON or a small page comes back."""
    method = rng.choice(("GET", "GET", "GET", "POST", "PUT"))
    base, places = rng.choice(("api/v1", "api/v2", "rest")), rng.sample(about.things, 2)
    path = "/".join(["", base, *places, digits(rng, 4)])
    query = f"?page={number}&limit={rng.choice((10, 25, 50))}&sort={rng.choice(about.things)}"
    body = ""
    if method != "GET":
        description = " ".join(word(rng) for _ in range(rng.randrange(2, 7)))
        body = json.dumps({"name": word(rng, 3), "enabled": rng.randrange(2) == 1, "value": number,
                           "description": description})  # fmt: skip
    head = [
        f"Host: {about.hosts[0]}.{about.domain}",
        f"User-Agent: {AGENTS[about.number % len(AGENTS)].format(number % 30)}",
        f"Accept: {rng.choice(ACCEPTS)}",
        f"Cookie: session={about.token}", "Connection: keep-alive", "Accept-Encoding: identity",
    ]  # fmt: skip
    if rng.randrange(2):
        head += ["Accept-Language: en-US,en;q=0.5", f"X-Request-Id: {hexadecimal(rng, 24)}"]
    kind = ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    is_page = rng.randrange(3) == 0
    page = answer_page(rng, about) if is_page else answer_json(rng, about, number)
    answer = [
        f"HTTP/1.1 {rng.choice(('200 OK', '200 OK', '200 OK', '201 Created', '404 Not Found'))}",
        f"Server: {('nginx/1.24.0', 'Apache/2.4.57 (Debian)')[about.number % 2]}",
        f"Date: Tue, {1 + number // 86400 % 28:02} Mar 2031 {stamp(number)[11:19]} GMT",
        f"Content-Type: {'text/html; charset=utf-8' if is_page else 'application/json'}",
        f"Content-Length: {len(page)}", "Connection: keep-alive", f'ETag: "{hexadecimal(rng, 16)}"',
        f"Cache-Control: {rng.choice(('no-cache', 'max-age=3600', 'no-store, private'))}",
    ]  # fmt: skip
    first = f"{method} {path}{'' if body else query} HTTP/1.1"
    return Exchange(http_text([first, *head, *kind], body), http_text(answer, page))


def answer_json(rng: Random, about: World, number: int) -> str:
    entries = [
        {"id": rng.randrange(10**6), "name": word(rng, 3), "owner": rng.choice(about.users),
         "kind": rng.choice(about.things), "enabled": rng.randrange(2) == 1}
        for _ in range(rng.randrange(2, 8))
    ]  # fmt: skip
    return json.dumps({"total": number, "entries": entries})


def answer_page(rng: Random, about: World) -> str:
    rows = "".join(
        f"<tr><td>{word(rng, 3)}</td><td class={rng.choice(about.things)}>{digits(rng, 4)}</td></tr>\n"
        for _ in range(rng.randrange(3, 12))
    )
    return f"<!doctype html>\n<title>{word(rng, 3)}</title>\n<table>\n{rows}</table>\n"


def http_text(lines: list[str], body: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


CLASSES = {
    text_class.name: text_class
    for text_class in (
        TextClass("sip", "udp", 5060, sip), TextClass("syslog", "udp", 514, syslog),
        TextClass("mqtt", "tcp", 1883, mqtt), TextClass("http", "tcp", 80, http),
    )
}  # fmt: skip


def exchanges(name: str, seed: int, count: int) -> list[Exchange]:
    """`count` exchanges of one class; the same seed gives the same bytes."""
    rng = Random(f"{name} {seed}")
    about = world(rng)
    return [CLASSES[name].make(rng, about, number) for number in range(count)]
