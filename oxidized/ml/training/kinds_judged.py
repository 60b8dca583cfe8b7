"""Kinds of payloads that the compression oracle is judged by, none of which it learns from; see `packets`."""

from __future__ import annotations

import base64
import bz2
import lzma
import math
import struct
from random import Random
from typing import Final

from oxidized.ml.training.packets import TCP_PAYLOAD, Kind, cut, stamp, words


def syslog(dice: Random) -> bytes:
    return (
        f"<{dice.randrange(192)}>1 {stamp(dice)}Z gw{dice.randrange(20)} sshd {dice.randrange(1, 32768)} - - "
        f"Failed password for invalid user {words(dice, 1)} from 203.0.113.{dice.randrange(256)} port "
        f"{dice.randrange(1024, 65536)} ssh2"
    ).encode()


def xml(dice: Random) -> bytes:
    items = "".join(
        f"<ns2:orderLine><ns2:articleNumber>{dice.randrange(10**6)}</ns2:articleNumber><ns2:quantity>"
        f"{dice.randrange(50)}</ns2:quantity><ns2:unitPrice>"
        f"{dice.randrange(10**4) / 100}</ns2:unitPrice></ns2:orderLine>"
        for _ in range(25)
    )
    space = "http://schemas.xmlsoap.org/soap/envelope/"
    head = f'<?xml version="1.0"?><soap:Envelope xmlns:soap="{space}"><soap:Body>'
    return cut(dice, (head + items).encode())


def csv(dice: Random) -> bytes:
    rows = "".join(
        f"{dice.randrange(10**5)};{stamp(dice)[:10]};{dice.gauss(0, 1):.6f};"
        f"{dice.gauss(5, 2):.6f};{dice.choice('ABCD')}\n"
        for _ in range(80)
    )
    return cut(dice, rows.encode())


def smtp(dice: Random) -> bytes:
    body = "\r\n".join(words(dice, 10) for _ in range(20))
    return cut(
        dice, f"From: {words(dice, 1)} <a@example.org>\r\nSubject: {words(dice, 5)}\r\n\r\n{body}".encode()
    )


def image(dice: Random) -> bytes:
    """Like the middle of a JPEG: random, with a zero byte behind each 0xff."""
    return cut(dice, dice.randbytes(3000).replace(b"\xff", b"\xff\0"))


def lzma_stream(dice: Random) -> bytes:
    return cut(dice, lzma.compress(words(dice, 3000).encode(), preset=1))


def bzip2_stream(dice: Random) -> bytes:
    return cut(dice, bz2.compress(words(dice, 3000).encode(), 1))


def opus(dice: Random) -> bytes:
    head = struct.pack(">BBHII", 0x80, 111, dice.randrange(1 << 16), dice.randrange(1 << 32), 5)
    return head + b"\x78" + dice.randbytes(dice.randrange(30, 120))


def protobuf(dice: Random) -> bytes:
    found = b""
    for _ in range(dice.choice((3, 10, 40))):
        name = words(dice, 2).encode()
        inner = b"\x08" + bytes([dice.randrange(128)]) + b"\x12" + bytes([len(name)]) + name
        inner += b"\x19" + struct.pack("<d", dice.gauss(0, 100)) + b"\x20\x01"
        found += b"\x0a" + bytes([len(inner)]) + inner
    return found[:TCP_PAYLOAD]


def pcm(dice: Random) -> bytes:
    """16-bit samples of a tone with noise: smooth, but without a string twice."""
    noise, pitch = dice.choice((2.0, 60.0)), dice.uniform(0.01, 0.2)
    return struct.pack("<480h", *(int(8000 * math.sin(i * pitch) + dice.gauss(0, noise)) for i in range(480)))


def float_matrix(dice: Random) -> bytes:
    return struct.pack("<300f", *(dice.gauss(0, 1) for _ in range(300)))


def game(dice: Random) -> bytes:
    """Positions of a few players: small, binary, changing in all of it."""
    state = b"".join(struct.pack("<Bfff", i, *(dice.uniform(-500, 500) for _ in range(3))) for i in range(6))
    return struct.pack("<IH", dice.randrange(1 << 32), 6) + state


def database_page(dice: Random) -> bytes:
    """Like a page of an index on its way to a replica: pointers, keys in order, much that is zero."""
    first = dice.randrange(1 << 24)
    slots = b"".join(
        struct.pack("<HHQ", 8192 - 24 * i, 24, first + i * dice.randrange(1, 4)) for i in range(60)
    )
    return (slots + bytes(dice.randrange(100, 700)))[:TCP_PAYLOAD]


def url_list(dice: Random) -> bytes:
    lines = (
        f"https://static{dice.randrange(4)}.example.com/assets/{words(dice, 1)}/"
        f"{dice.randrange(16**12):012x}.js\n"
        for _ in range(40)
    )
    return cut(dice, "".join(lines).encode())


def key_values(dice: Random) -> bytes:
    """Like answers of a cache (RESP)."""
    cells = (
        "".join(f"${len(v)}\r\n{v}\r\n" for v in (words(dice, 1), str(dice.randrange(10**9))))
        for _ in range(8)
    )
    return f"*16\r\n{''.join(cells)}".encode()


def source_python(dice: Random) -> bytes:
    names = words(dice, 10, 80).split()
    lines = (
        f"    def {dice.choice(names)}(self, {dice.choice(names)}: int) -> None:\n"
        f"        self._{dice.choice(names)} = [{dice.choice(names)} "
        f"for {dice.choice(names)} in range({dice.randrange(99)})]\n"
        for _ in range(30)
    )
    return cut(dice, f"class {names[0].title()}:\n{''.join(lines)}".encode())


def quic(dice: Random) -> bytes:
    return bytes([0x40 | dice.randrange(64)]) + dice.randbytes(dice.choice((40, 300, 1200, 1200)))


def wireguard(dice: Random) -> bytes:
    return b"\4\0\0\0" + dice.randbytes(4) + struct.pack("<Q", dice.randrange(1 << 24)) + dice.randbytes(1200)


def uuencoded_key(dice: Random) -> bytes:
    body = base64.encodebytes(dice.randbytes(dice.choice((140, 900)))).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()


HELD_OUT: Final = (
    Kind("syslog", syslog, "syslog", is_udp=True),
    Kind("xml", xml, "http"),
    Kind("csv", csv),
    Kind("smtp", smtp),
    Kind("image", image),
    Kind("lzma", lzma_stream),
    Kind("bzip2", bzip2_stream),
    Kind("opus", opus, is_udp=True, is_urgent=True),
    Kind("protobuf", protobuf),
    Kind("pcm", pcm, is_udp=True, is_urgent=True),
    Kind("float-matrix", float_matrix),
    Kind("game", game, is_udp=True, is_urgent=True),
    Kind("database-page", database_page),
    Kind("url-list", url_list),
    Kind("key-values", key_values),
    Kind("source-python", source_python),
    Kind("quic", quic, is_udp=True, is_encrypted=True),
    Kind("wireguard", wireguard, is_udp=True),
    Kind("certificate", uuencoded_key),
)
