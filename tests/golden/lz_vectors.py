"""The test vectors of LZ items: `python -m tests.golden.lz_vectors` writes them.

The blocks are put together by hand, from sequences and text of the dictionaries, not by a compressor: another
one need not write the same blocks, but must read these.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oxidized.ffi import dictionaries

FILE = Path(__file__).with_name("lz_vectors.json")
CAP = 1420
TEXTS = {source.name: source for source in dictionaries.SOURCES}


def sequence(literals: bytes, offset: int, count: int) -> bytes:
    """An LZ4 sequence: literals, and a match of count bytes so far back."""
    return _token(len(literals), count - 4) + literals + offset.to_bytes(2, "little") + _more(count - 4)


def last(literals: bytes) -> bytes:
    return _token(len(literals), 0) + literals


def _token(literals: int, match: int) -> bytes:
    return bytes([min(literals, 15) << 4 | min(match, 15)]) + _more(literals)


def _more(length: int) -> bytes:
    return b"" if length < 15 else b"\xff" * ((length - 15) // 255) + bytes([(length - 15) % 255])


def of_text(name: str, words: bytes, produced: int, literals: bytes) -> bytes:
    """literals, and then words as a match in the dictionary."""
    text = TEXTS[name].text
    at = text.rindex(words)
    return sequence(literals, len(text) - at + produced + len(literals), len(words))


def _good() -> dict[str, tuple[bytes, bytes]]:
    """name -> (item, packet)."""
    run = b"A" * 300 + b"final"
    options = of_text("sip", b"OPTIONS sip:", 0, b"") + last(b"1000@pbx SIP/2.0\r\n\r\n")
    log = of_text("syslog", b"Failed password for invalid user ", 0, b"<38>") + last(b"oracle")
    header = bytes.fromhex("9c0103")
    return {
        "stored": (b"\x08\x00" + last(b"as it is"), b"as it is"),
        "run": (b"\x08\x00" + sequence(b"A", 1, 299) + last(b"final"), run),
        "clear-bytes": (b"\x08\x03" + header + sequence(b"ab", 2, 40) + last(b"final"),
                        header + b"ab" * 21 + b"final"),
        "clear-bytes-long": (b"\x08\x40\x64" + bytes(100) + last(b"x"), bytes(100) + b"x"),
        "sip": (b"\x09\x00" + options, b"OPTIONS sip:1000@pbx SIP/2.0\r\n\r\n"),
        "syslog": (b"\x0a\x00" + log, b"<38>Failed password for invalid user oracle"),
        "mqtt": (b"\x0b\x00" + of_text("mqtt", b'{"temperature":', 0, b"0!") + last(b"21.5}"),
                 b'0!{"temperature":21.5}'),
        "http": (b"\x0c\x00" + of_text("http", b"HTTP/1.1 404 Not Found\r\n", 0, b"") + last(b"\r\nfin"),
                 b"HTTP/1.1 404 Not Found\r\n\r\nfin"),
        "generic": (b"\x0d\x00" + of_text("generic", b"SELECT count(*) FROM ", 0, b"Q") + last(b"users"),
                    b"QSELECT count(*) FROM users"),
    }  # fmt: skip


BAD: dict[str, tuple[bytes, str]] = {
    "no-block": (b"\x08\x02ab", "lz-truncated"),
    "no-such-dictionary": (b"\x0e\x00" + last(b"x"), "lz-dictionary"),
    "offset-zero": (b"\x08\x00" + sequence(b"A", 0, 8) + last(b"final"), "lz-corrupt"),
    "before-the-beginning": (b"\x08\x00" + sequence(b"A", 2, 8) + last(b"final"), "lz-corrupt"),
    "no-literals-at-the-end": (b"\x08\x00" + sequence(b"A", 1, 8) + last(b""), "lz-corrupt"),
    "bomb": (b"\x08\x00" + sequence(b"A", 1, 60000) + last(b"final"), "lz-too-long"),
}


def vectors() -> dict[str, Any]:
    good = [{"name": n, "item": i.hex(), "packet": p.hex()} for n, (i, p) in _good().items()]
    bad = [{"name": n, "item": item.hex(), "dropped": why} for n, (item, why) in BAD.items()]
    return {"digest": f"{dictionaries.digest():08x}", "packet_bytes_max": CAP, "items": good + bad}


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")
