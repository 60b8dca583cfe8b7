"""Kinds of payloads that the compression oracle does not learn from; see `packets`.

WATCHED: the training was changed until it did well on these, too. JUDGED: looked at once, when all else was
fixed; whoever changes the training after a look at them needs new ones.
"""

from __future__ import annotations

import base64
import bz2
import lzma
import math
import struct
import zlib
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


WATCHED: Final = (
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

# ---- looked at once ----


def _ber(tag: int, body: bytes) -> bytes:
    return bytes([tag, 0x82]) + struct.pack(">H", len(body)) + body


def directory(dice: Random) -> bytes:
    """Like an LDAP answer."""
    rows = b"".join(
        _ber(0x30, _ber(4, name.encode()) + _ber(0x31, _ber(4, words(dice, 2).encode())))
        for name in ("objectClass", "cn", "sn", "mail", "memberOf", "uidNumber")
        for _ in range(dice.randrange(1, 4))
    )
    return _ber(
        0x30, _ber(0x64, _ber(4, b"uid=" + words(dice, 1).encode() + b",ou=people,dc=example") + rows)
    )


def packed_objects(dice: Random) -> bytes:
    """Like a Git pack: small deflated objects behind each other."""
    bodies = (zlib.compress(words(dice, dice.randrange(10, 60)).encode()) for _ in range(60))
    return cut(
        dice, b"".join(bytes([0xB0 | dice.randrange(16), dice.randrange(128)]) + body for body in bodies)
    )


def audio_frames(dice: Random) -> bytes:
    """Like MPEG audio: a header, side information with many zeros, coded data."""
    frames = (b"\xff\xfb\x90\x64" + bytes(dice.randrange(4, 20)) + dice.randbytes(390) for _ in range(5))
    return cut(dice, b"".join(frames))


def track(dice: Random) -> bytes:
    lat, lon, points = dice.uniform(-60, 60), dice.uniform(-170, 170), []
    for _ in range(60):
        lat, lon = lat + dice.gauss(0, 1e-4), lon + dice.gauss(0, 1e-4)
        points.append(f"[{lon:.6f},{lat:.6f},{dice.uniform(0, 200):.1f}]")
    head = '{"type":"Feature","geometry":{"type":"LineString","coordinates":['
    return cut(dice, (head + ",".join(points)).encode())


def mail(dice: Random) -> bytes:
    """Headers, text, and a part in base64."""
    bound = f"{dice.randrange(16**16):016x}"
    text = (
        f"Received: from mx{dice.randrange(9)}.example.org by mail.example.net; {stamp(dice)}\r\n"
        f"Message-ID: <{bound}@example.org>\r\nContent-Type: multipart/mixed; boundary={bound}\r\n\r\n"
        f"--{bound}\r\n\r\n"
        f"{words(dice, 60)}\r\n--{bound}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    return cut(dice, text.encode() + base64.encodebytes(dice.randbytes(900)))


def ssh(dice: Random) -> bytes:
    return b"".join(dice.randbytes(dice.choice((36, 52, 68, 532))) for _ in range(dice.randrange(1, 4)))[
        :TCP_PAYLOAD
    ]


def binary_copy(dice: Random) -> bytes:
    """Like PostgreSQL's COPY in binary: counts and lengths around small numbers."""
    first = dice.randrange(1 << 24)
    rows = (
        struct.pack(
            ">hiiiqid",
            3,
            4,
            first + i,
            8,
            7 * 10**14 + i * 10**6 + dice.randrange(10**6),
            8,
            dice.gauss(20, 3),
        )
        for i in range(dice.choice((1, 10, 40)))
    )
    return b"".join(rows)


def time_query(dice: Random) -> bytes:
    return b"\x24\x02\x06\xe9" + struct.pack(">II", 900, 700) + bytes([192, 0, 2, 1]) + dice.randbytes(32)


def manifest(dice: Random) -> bytes:
    """Like YAML of a cluster."""
    items = "".join(
        f"  - name: {words(dice, 1)}\n    image: registry.example.com/{words(dice, 1)}:"
        f"{dice.randrange(9)}.{dice.randrange(40)}\n"
        f"    resources:\n      limits:\n        cpu: {dice.randrange(100, 2000)}m\n"
        f"        memory: {dice.randrange(64, 999)}Mi\n"
        for _ in range(10)
    )
    return cut(dice, f"apiVersion: apps/v1\nkind: Deployment\nspec:\n  containers:\n{items}".encode())


def masked(dice: Random) -> bytes:
    """A WebSocket message of a client: text under a mask of four bytes (RFC 6455 section 5.3)."""
    body, mask = words(dice, dice.choice((6, 30, 120))).encode()[:1200], dice.randbytes(4)
    return (
        b"\x81\xfe" + struct.pack(">H", len(body)) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(body))
    )


def columns(dice: Random) -> bytes:
    """Lines of a fixed layout, filled with blanks."""
    rows = (
        f"{dice.randrange(10**8):010d}{words(dice, 1)[:20]:<20}{words(dice, 1)[:14]:<14}"
        f"{dice.randrange(10**5):>9}{dice.choice('EUX')}\n"
        for _ in range(dice.choice((1, 6, 30)))
    )
    return "".join(rows).encode()[:TCP_PAYLOAD]


def ideographs(dice: Random) -> bytes:
    """Text of three bytes a sign, some signs far more frequent."""
    return cut(dice, "".join(chr(0x4E00 + int(3000 ** dice.random())) for _ in range(700)).encode())


def bit_packed(dice: Random) -> bytes:
    """Numbers of an odd number of bits, as compact time series have them."""
    width, bits = dice.choice((5, 7, 11, 13)), 0
    count = dice.choice((200, 600))
    for _ in range(count):
        bits = bits << width | min((1 << width) - 1, int(abs(dice.gauss(0, 2 ** (width - 2)))))
    return bits.to_bytes((count * width + 7) // 8)


def firmware(dice: Random) -> bytes:
    """Like a microcontroller's image: instructions of two bytes, tables, erased flash."""
    code = b"".join(
        struct.pack("<H", dice.choice((0x4600, 0x2000, 0x6800, 0xB500, 0xD000, 0xF000)) | dice.randrange(256))
        for _ in range(900)
    )
    return cut(
        dice,
        code
        + b"".join(struct.pack("<I", 0x08000000 + 4 * dice.randrange(4096)) for _ in range(200))
        + b"\xff" * 600,
    )


JUDGED: Final = (
    Kind("directory", directory),
    Kind("packed-objects", packed_objects),
    Kind("audio-frames", audio_frames),
    Kind("track", track, "http"),
    Kind("mail", mail),
    Kind("ssh", ssh),
    Kind("binary-copy", binary_copy),
    Kind("time-query", time_query, is_udp=True),
    Kind("manifest", manifest),
    Kind("masked", masked),
    Kind("columns", columns),
    Kind("ideographs", ideographs),
    Kind("bit-packed", bit_packed, is_udp=True),
    Kind("firmware", firmware),
)
