"""Kinds of payloads that the compression oracle learns from; see `packets`."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from random import Random
from typing import Final

from oxidized.ml.training.packets import TCP_PAYLOAD, Kind, cut, stamp, words


def text(dice: Random) -> bytes:
    return cut(dice, (words(dice, 400).capitalize() + ".\n").encode())


def html(dice: Random) -> bytes:
    rows = "".join(
        f'<tr class="row{i % 2}"><td><a href="/item/{dice.randrange(10**5)}">{words(dice, 3)}</a></td>'
        f'<td class="price">{dice.randrange(100)}.{dice.randrange(100):02}</td></tr>\n'
        for i in range(30)
    )
    return cut(dice, f"<!DOCTYPE html>\n<html><head><title>{words(dice, 4)}</title></head>\n{rows}".encode())


def logs(dice: Random) -> bytes:
    levels = ("INFO", "DEBUG", "WARN", "ERROR")
    lines = "".join(
        f"{stamp(dice)}.{dice.randrange(1000):03} {dice.choice(levels)} [worker-{dice.randrange(16)}] "
        f"app.{words(dice, 1, 30)}: {words(dice, 5, 200)} id={dice.randrange(10**6)} "
        f"took {dice.randrange(999)} ms\n"
        for _ in range(30)
    )
    return cut(dice, lines.encode())


def json_records(dice: Random) -> bytes:
    rows = [
        {
            "id": dice.randrange(10**8),
            "name": words(dice, 2),
            "active": dice.random() < 0.5,
            "score": round(dice.random() * 100, 3),
            "tags": words(dice, 3, 50).split(),
        }
        for _ in range(20)
    ]
    return cut(dice, json.dumps(rows).encode())


def mqtt(dice: Random) -> bytes:
    body = json.dumps(
        {
            "device": f"sensor-{dice.randrange(10**4):04}",
            "ts": 1_790_000_000 + dice.randrange(10**6),
            "temperature": round(dice.gauss(21, 4), 2),
            "humidity": round(dice.gauss(50, 10), 1),
            "battery": dice.randrange(101),
        }
    ).encode()
    topic = f"site/{dice.randrange(40)}/room/{dice.randrange(90)}/telemetry".encode()
    rest = struct.pack(">H", len(topic)) + topic + body
    return b"\x30" + bytes([len(rest) & 0x7F | 0x80, len(rest) >> 7]) + rest


def sip(dice: Random) -> bytes:
    method = dice.choice(("INVITE", "REGISTER", "OPTIONS", "BYE", "ACK"))
    user, host = (
        dice.randrange(1000, 9999),
        f"10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)}",
    )
    return (
        f"{method} sip:{user}@pbx.example.net SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{dice.randrange(16**10):010x};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:{user}@pbx.example.net>;tag={dice.randrange(16**8):08x}\r\n"
        f"To: <sip:{dice.randrange(1000, 9999)}@pbx.example.net>\r\n"
        f"Call-ID: {dice.randrange(16**24):024x}@{host}\r\nCSeq: {dice.randrange(9999)} {method}\r\n"
        f"Contact: <sip:{user}@{host}:5060>\r\nUser-Agent: Phone/{dice.randrange(9)}.{dice.randrange(9)}\r\n"
        "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def dns(dice: Random) -> bytes:
    labels = [
        words(dice, 1, 300).encode(),
        dice.choice((b"example", b"shop", b"cdn")),
        dice.choice((b"com", b"net")),
    ]
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    query = struct.pack(">HHHHHH", dice.randrange(1 << 16), 0x8180, 1, 1, 0, 0) + name + b"\0\1\0\1"
    return query + b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", dice.randrange(3600), 4) + dice.randbytes(4)


def modbus(dice: Random) -> bytes:
    count = dice.choice((2, 8, 20, 60))
    level = dice.randrange(1 << 12)
    registers = struct.pack(f">{count}H", *(max(0, level + dice.randrange(-30, 30)) for _ in range(count)))
    return (
        struct.pack(">HHHBBB", dice.randrange(1 << 16), 0, 3 + len(registers), 1, 3, len(registers))
        + registers
    )


def sql_rows(dice: Random) -> bytes:
    found = b""
    for _ in range(dice.choice((1, 4, 20))):
        cells = (
            str(dice.randrange(10**7)), words(dice, 2), f"{words(dice, 1)}@example.com",
            stamp(dice), str(dice.randrange(10**4) / 100),
        )  # fmt: skip
        row = b"".join(struct.pack(">i", len(cell)) + cell.encode() for cell in cells)
        found += b"D" + struct.pack(">ih", len(row) + 6, len(cells)) + row
    return found[:TCP_PAYLOAD]


def http_request(dice: Random) -> bytes:
    return (
        f"GET /{words(dice, 2).replace(' ', '/')}?q={dice.randrange(10**6)} HTTP/1.1\r\n"
        f"Host: www.{words(dice, 1)}.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; "
        f"rv:1{dice.randrange(10, 50)}.0)"
        " Gecko/20100101 Firefox/130.0\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
        "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
        f"Cookie: session={dice.randrange(16**32):032x}\r\n\r\n"
    ).encode()


def http_answer(dice: Random) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\n"
        f"Date: Thu, 26 Nov 2026 {dice.randrange(24):02}:10:{dice.randrange(60):02} GMT\r\n"
        f"Server: nginx\r\nContent-Type: application/json\r\nContent-Length: {dice.randrange(9999)}\r\n\r\n"
    )
    return (head.encode() + json_records(dice))[:TCP_PAYLOAD]


def tls_record(dice: Random) -> bytes:
    size = dice.choice((60, 200, 700, TCP_PAYLOAD))
    return b"\x17\x03\x03" + struct.pack(">H", size) + dice.randbytes(size - 5)


def tls_middle(dice: Random) -> bytes:
    return dice.randbytes(dice.choice((TCP_PAYLOAD, TCP_PAYLOAD, dice.randrange(40, TCP_PAYLOAD))))


def zlib_stream(dice: Random) -> bytes:
    return cut(dice, zlib.compress(words(dice, 1500).encode(), dice.randrange(1, 10)))


def g729(dice: Random) -> bytes:
    return struct.pack(
        ">BBHII", 0x80, 18, dice.randrange(1 << 16), dice.randrange(1 << 32), 7
    ) + dice.randbytes(20)


def g711(dice: Random) -> bytes:
    """160 samples of mu-law, of a voice or of a pause: bytes close to each other, but never a string
    twice."""
    loud = dice.choice((1.0, 4.0, 20.0))
    wave = bytes(
        255 - min(127, int(abs(dice.gauss(0, loud)))) - 128 * (dice.random() < 0.5) for _ in range(160)
    )
    return struct.pack(">BBHII", 0x80, 0, dice.randrange(1 << 16), dice.randrange(1 << 32), 9) + wave


def telemetry(dice: Random) -> bytes:
    """Records of a fixed layout: counters, floats, flags and padding."""
    start = dice.randrange(1 << 20)
    record = struct.Struct("<IIfHBBQ")
    return b"".join(
        record.pack(start + i, 7, dice.gauss(230, 2), dice.randrange(400), 1, 0, 1 << 40)
        for i in range(dice.choice((2, 8, 50)))
    )


def base64_body(dice: Random) -> bytes:
    return cut(dice, base64.encodebytes(dice.randbytes(2000)))


def hex_digits(dice: Random) -> bytes:
    return cut(dice, dice.randbytes(1400).hex().encode())


def source_c(dice: Random) -> bytes:
    names = words(dice, 12, 60).split()
    body = "".join(
        f"    if ({dice.choice(names)}->{dice.choice(names)} == {dice.randrange(64)})\n"
        f"        return {dice.choice(names)}_{dice.choice(names)}"
        f"({dice.choice(names)}, {dice.choice(names)});\n"
        for _ in range(40)
    )
    return cut(dice, f"static int {names[0]}(struct {names[1]} *{names[2]})\n{{\n{body}}}\n".encode())


def _instruction(dice: Random) -> bytes:
    """Like x86-64: few first bytes, small displacements, calls to far places."""
    match dice.randrange(5):
        case 0:
            return b"\x48\x8b" + bytes(
                [dice.choice((0x45, 0x55, 0x7D, 0x4D)), dice.randrange(0x80, 256) & 0xF8]
            )
        case 1:
            return b"\xe8" + struct.pack("<i", dice.randrange(-(1 << 20), 1 << 20))
        case 2:
            return bytes([0x0F, 0x84 + dice.randrange(2)]) + struct.pack("<i", dice.randrange(1 << 10))
        case 3:
            return b"\x48\x89" + bytes([0xC0 + dice.randrange(64)])
        case _:
            return bytes([dice.choice((0x50, 0x53, 0x5D, 0xC3, 0x90)), 0x31, 0xC0 + dice.randrange(8)])


def machine_code(dice: Random) -> bytes:
    """Instructions, and what a compiler writes again and again: prologues, calls to the same few places."""
    idioms = [b"".join(_instruction(dice) for _ in range(dice.randrange(2, 5))) for _ in range(30)]
    habit, out = dice.uniform(0.1, 0.8), bytearray()
    while len(out) < 2 * TCP_PAYLOAD:
        out += dice.choice(idioms) if dice.random() < habit else _instruction(dice)
    return cut(dice, bytes(out))


def object_tables(dice: Random) -> bytes:
    """Like the rest of an executable: symbols, relocations, names, padding."""
    at, address = dice.randrange(1 << 12), dice.randrange(1 << 20)
    symbols, relocations = bytearray(), bytearray()
    for i in range(60):
        size = dice.randrange(1, 60) * 8
        symbols += struct.pack(
            "<IBBHQQ", at, dice.choice((0x12, 0x11, 0x22)), 0, dice.randrange(12, 16), address, size
        )
        relocations += struct.pack("<QQq", address, dice.choice((8, i << 32 | 6)), address + size)
        at, address = at + dice.randrange(6, 24), address + size
    names = words(dice, 80, 500).replace(" ", "\0").encode()
    parts = [bytes(symbols), bytes(relocations), names, bytes(200), machine_code(dice)]
    dice.shuffle(parts)
    return cut(dice, b"".join(parts))


def marshalled(dice: Random) -> bytes:
    """Like compiled scripts: code of two bytes an instruction, names with their lengths, references."""
    out = bytearray()
    while len(out) < 2 * TCP_PAYLOAD:
        for _ in range(dice.randrange(10, 60)):
            out += bytes(
                [dice.choice((100, 124, 116, 106, 131, 1, 0, 171, 83)), min(255, int(dice.expovariate(0.3)))]
            )
        for _ in range(dice.randrange(2, 9)):
            name = words(dice, 1, 400).encode()
            out += (
                (b"\xda" + bytes([len(name)]) + name)
                if dice.random() < 0.5
                else b"r" + struct.pack("<I", dice.randrange(300))
            )
        out += b"\xe3" + bytes(12) + struct.pack("<I", dice.randrange(20)) + b"\xf3"
    return cut(dice, bytes(out))


def video(dice: Random) -> bytes:
    """Like H.264 in MPEG-TS: incompressible but for a header each 188 bytes."""
    cells = (
        b"\x47" + struct.pack(">H", 0x100) + bytes([0x10 | i & 15]) + dice.randbytes(184) for i in range(7)
    )
    return b"".join(cells)


def zeros(dice: Random) -> bytes:
    return bytes(dice.randrange(60, TCP_PAYLOAD)) + dice.randbytes(8)


def exposition(dice: Random) -> bytes:
    """Metrics as they are scraped."""
    name = words(dice, 2, 100).replace(" ", "_")
    rows = "".join(
        f'{name}_seconds_bucket{{instance="node{i % 7}",le="{2 ** (i % 12)}"}} '
        f"{dice.randrange(10 ** dice.randrange(1, 9))}\n"
        for i in range(40)
    )
    return cut(
        dice, f"# HELP {name}_seconds {words(dice, 6)}\n# TYPE {name}_seconds histogram\n{rows}".encode()
    )


def nmea(dice: Random) -> bytes:
    """Sentences of a satellite receiver."""
    rows = (
        f"$GPGGA,{dice.randrange(240000):06}.00,{dice.uniform(0, 9000):09.4f},N,"
        f"{dice.uniform(0, 18000):010.4f},E,1,"
        f"{dice.randrange(4, 13):02},{dice.uniform(0.5, 3):.1f},{dice.uniform(0, 900):.1f},M,46.9,M,,"
        f"*{dice.randrange(256):02X}\r\n"
        for _ in range(dice.choice((1, 3, 12)))
    )
    return "".join(rows).encode()


def flow_export(dice: Random) -> bytes:
    """Like NetFlow: rows of addresses, ports and counters."""
    count, now = dice.randrange(1, 29), dice.randrange(1 << 30)
    head = struct.pack(">HHIII", 5, count, now, 1_790_000_000, dice.randrange(1 << 20)) + bytes(8)
    rows = b"".join(
        bytes([10, 0, dice.randrange(4), dice.randrange(256)]) + dice.randbytes(4) + bytes(4)
        + struct.pack(">HHIIII", 1, 2, dice.randrange(1, 90), dice.randrange(1 << 16), now - 900, now)
        + struct.pack(">HHBBBB", dice.randrange(1024, 65536), dice.choice((53, 80, 443)), 0, 0x18, 6, 0)
        + bytes(8)
        for _ in range(count)
    )  # fmt: skip
    return (head + rows)[:TCP_PAYLOAD]


def difference(dice: Random) -> bytes:
    """Like a patch: lines of prose and code, some of them twice with a change."""
    rows = []
    for _ in range(20):
        line = words(dice, 8, 300)
        rows += [f"-{line}", f"+{line.replace('a', 'o', 1)}"] if dice.random() < 0.3 else [f" {line}"]
    return cut(dice, "\n".join(rows).encode())


def settings(dice: Random) -> bytes:
    rows = (
        f"{words(dice, 1, 200)}.{words(dice, 1, 90)} = {dice.choice(('true', 'off', '12', '/var/lib/x'))}\n"
        for _ in range(50)
    )
    return cut(dice, f"[{words(dice, 1)}]\n{''.join(rows)}".encode())


def pixels(dice: Random) -> bytes:
    """A row of an uncompressed picture: neighbours are alike, seldom equal."""
    noise, value, out = dice.choice((0, 1, 4)), [dice.randrange(256) for _ in range(3)], bytearray()
    for _ in range(TCP_PAYLOAD // 3):
        value = [max(0, min(255, v + dice.randint(-noise, noise))) for v in value]
        out += bytes(value)
    return bytes(out)


def readings(dice: Random) -> bytes:
    """A walk of a sensor in 16 bits, from several channels in turn."""
    levels, width = (
        [dice.randrange(1 << 15) for _ in range(dice.choice((1, 3, 6)))],
        dice.choice((1, 20, 300)),
    )
    out = b""
    for i in range(dice.choice((30, 200, 600))):
        channel = i % len(levels)
        levels[channel] = max(0, min(65535, levels[channel] + int(dice.gauss(0, width))))
        out += struct.pack(">H", levels[channel])
    return out


def doubles(dice: Random) -> bytes:
    """Prices or positions in binary64."""
    level = dice.uniform(1, 1000)
    return struct.pack(
        "<160d", *(round(level + dice.gauss(0, 1), dice.choice((1, 2, 12))) for _ in range(160))
    )


def tokens(dice: Random) -> bytes:
    """Identifiers and hashes in JSON: half of it is random."""
    rows = [
        {"id": f"{dice.randrange(16**32):032x}", "etag": base64.b64encode(dice.randbytes(18)).decode()}
        for _ in range(12)
    ]
    return cut(dice, json.dumps(rows).encode())


def utf8(dice: Random) -> bytes:
    """Text in an alphabet of two bytes a letter."""
    shift = {ord(letter): chr(0x430 + i) for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    return cut(dice, words(dice, 250).translate(shift).encode())


# What no protocol is like, and all are a little: these fill the space between the others.


def letters(dice: Random) -> bytes:
    """Independent draws from an alphabet of any size, even or not."""
    alphabet = bytes(dice.sample(range(256), dice.choice((2, 4, 10, 16, 26, 40, 64, 96))))
    weights = [dice.random() ** dice.choice((0, 1, 3)) for _ in alphabet]
    return bytes(dice.choices(alphabet, weights, k=dice.randrange(40, TCP_PAYLOAD)))


def echoes(dice: Random) -> bytes:
    """Letters, among them copies of what was there before: what LZ4 looks for, more or less of it."""
    fresh = letters(dice) + letters(dice)
    chance, longest = dice.random() ** 2 * 0.3, dice.choice((6, 12, 30))
    out, at, size = bytearray(fresh[:16]), 16, dice.randrange(40, TCP_PAYLOAD)
    while len(out) < size:
        if dice.random() < chance:
            start = dice.randrange(len(out))
            out += out[start : start + dice.randrange(4, longest)]
        else:
            out.append(fresh[at % len(fresh)])
            at += 1
    return bytes(out[:size])


def records(dice: Random) -> bytes:
    """Rows of one layout: fields that stay, that count, that are drawn from few values, that are random."""
    layout = [(dice.choice("scfr"), dice.choice((1, 2, 4, 8))) for _ in range(dice.randrange(2, 9))]
    begin, few = dice.randrange(1 << 30), [dice.randbytes(8) for _ in range(4)]
    rows = bytearray()
    for i in range(dice.randrange(3, 120)):
        for kind, width in layout:
            match kind:
                case "s":
                    rows += few[0][:width]
                case "c":
                    rows += (begin + i).to_bytes(8, "little")[:width]
                case "f":
                    rows += dice.choice(few)[:width]
                case _:
                    rows += dice.randbytes(width)
    return bytes(rows[:TCP_PAYLOAD])


def beside(dice: Random) -> bytes:
    """Two kinds in one packet, as where a header in clear stands in front of what is compressed."""
    one, other = (dice.choice((text, json_records, records, letters, html)) for _ in "12")
    first = one(dice)
    return (first[: dice.randrange(20, max(21, len(first)))] + other(dice))[: dice.randrange(60, TCP_PAYLOAD)]


LEARNED: Final = (
    Kind("text", text),
    Kind("html", html, "http"),
    Kind("logs", logs, "syslog"),
    Kind("json", json_records, "http"),
    Kind("mqtt", mqtt, "mqtt"),
    Kind("sip", sip, "sip", is_udp=True, is_urgent=True),
    Kind("dns", dns, is_udp=True),
    Kind("modbus", modbus, is_urgent=True),
    Kind("sql-rows", sql_rows),
    Kind("http-request", http_request, "http"),
    Kind("http-answer", http_answer, "http"),
    Kind("tls-record", tls_record, is_encrypted=True, share=2),
    Kind("tls-middle", tls_middle, share=3),
    Kind("zlib", zlib_stream, share=2),
    Kind("g729", g729, is_udp=True, is_urgent=True),
    Kind("g711", g711, is_udp=True, is_urgent=True),
    Kind("telemetry", telemetry, is_udp=True),
    Kind("base64", base64_body),
    Kind("hex", hex_digits),
    Kind("source-c", source_c),
    Kind("machine-code", machine_code),
    Kind("object-tables", object_tables),
    Kind("marshalled", marshalled),
    Kind("video", video, is_udp=True, is_urgent=True),
    Kind("zeros", zeros),
    Kind("exposition", exposition, "http"),
    Kind("nmea", nmea, "mqtt", is_udp=True),
    Kind("flow-export", flow_export, is_udp=True),
    Kind("difference", difference),
    Kind("settings", settings),
    Kind("pixels", pixels),
    Kind("readings", readings, is_udp=True, is_urgent=True),
    Kind("doubles", doubles),
    Kind("tokens", tokens, "http"),
    Kind("utf8", utf8),
    Kind("letters", letters, share=0.3),
    Kind("letters-udp", letters, is_udp=True, is_urgent=True, share=0.3),
    Kind("echoes", echoes, share=0.3),
    Kind("echoes-udp", echoes, is_udp=True, share=0.3),
    Kind("records", records, share=0.5),
    Kind("records-udp", records, is_udp=True, is_urgent=True, share=0.5),
    Kind("beside", beside, share=0.3),
)
