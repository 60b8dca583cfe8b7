"""The dictionaries of payload compression, from native/dictionaries to C.

A dictionary is text that packets of its class have in common: names of header fields, status lines, keys,
words of log messages, written by hand and drawn from no traffic; before it stand all times of a day, all
numbers of four digits and the like, which save a byte or two each. The same text always gives the same
bytes, and the bytes are part of the wire: another text is another digest, and peers with different digests do
not use dictionaries with each other (PROTOCOL.md, section 10).

`python -m oxidized.ffi.dictionaries --write` writes the C files; without --write it says which are stale.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ROOT / "native" / "dictionaries"
CORE = ROOT / "native" / "core"
BYTES_MAX = 49152
LINE_CHARS = 100
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MADE = "made of native/dictionaries by `python -m oxidized.ffi.dictionaries --write`"


def clock() -> str:
    """Every minute of a day."""
    return "".join(f"{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60))


def digits() -> str:
    """Every number of four digits: a de Bruijn sequence, of Lyndon words (Fredricksen, Maiorana 1978)."""
    found = ""
    word = [-1]
    while word:
        word[-1] += 1
        size = len(word)
        if 4 % size == 0:
            found += "".join(map(str, word))
        word = [word[i % size] for i in range(4)]
        while word and word[-1] == 9:
            word.pop()
    return found + "000"


def networks() -> str:
    """Every network of RFC 1918 that homes and offices have."""
    return "".join(f"192.168.{net}." for net in range(256))


def octets() -> str:
    return "".join(f"{octet:03}." for octet in range(256))


def priorities() -> str:
    """Every priority that RFC 5424 has, section 6.2.1."""
    return "".join(f"<{priority}>" for priority in range(192))


def stamps() -> str:
    """How a message begins in both formats, with the priorities that daemons and switches use."""
    kernel, usual = (4, 5, 6), (13, 14, 22, 30, 34, 38, 46, 78, 85, 86)
    local = tuple(8 * facility + severity for facility in range(16, 24) for severity in (3, 4, 5, 6))
    found = ""
    for priority in (*kernel, *usual, *local):
        found += "".join(f"<{priority}>{month} " for month in MONTHS)
        found += "".join(f"<{priority}>1 {year}-" for year in (2026, 2027))
    return found


@dataclass(frozen=True, slots=True)
class Source:
    """`number`: on the wire; `line_end`: of the text in packets; `before`: what stands in front of it."""

    number: int
    name: str
    line_end: bytes
    before: tuple[Callable[[], str], ...]

    @property
    def text(self) -> bytes:
        """ValueError: too long, or not ASCII."""
        lines = (TEXTS / f"{self.name}.txt").read_bytes().split(b"\n")
        text = "".join(part() for part in self.before).encode() + self.line_end.join(lines)
        if len(text) > BYTES_MAX:
            raise ValueError(f"{self.name}: {len(text)} bytes; at most {BYTES_MAX}")
        return text

    @property
    def symbol(self) -> str:
        return f"LZ_DICT_{self.name.upper()}"


SOURCES = (
    Source(1, "sip", b"\r\n", (digits, networks)),
    Source(2, "syslog", b"", (digits, clock, networks, octets, priorities, stamps)),
    Source(3, "mqtt", b"", (digits,)),
    Source(4, "http", b"\r\n", (digits, clock)),
    Source(5, "generic", b"", (digits, clock, networks)),
)


def digest() -> int:
    """The first four bytes of SHA-256 over number (1), length (4) and text of each, in order."""
    whole = hashlib.sha256()
    for source in SOURCES:
        whole.update(struct.pack(">BI", source.number, len(source.text)) + source.text)
    return int.from_bytes(whole.digest()[:4], "big")


def _quoted(text: bytes) -> str:
    """As C has it: octal, as a hexadecimal escape would swallow digits behind it."""
    special = {0x22: '\\"', 0x5C: "\\\\", 0x0D: "\\r", 0x0A: "\\n"}
    signs = (special.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in text)
    return "".join(signs).replace("??", '?""?')  # no trigraphs


def _text_file(source: Source) -> str:
    rows = [b""]
    for sign in source.text:
        if len(_quoted(rows[-1])) + 4 > LINE_CHARS:
            rows.append(b"")
        rows[-1] += bytes([sign])
    body = "\n".join(f'    "{_quoted(row)}"' for row in rows)
    head = f"/* lz_dict_{source.name}.c - {MADE}. */\n#include \"lz_dictionaries.h\"\n\n"
    return f"{head}const uint8_t {source.symbol}[] =\n{body};\n"


def _table_file() -> str:
    rows = "".join(f'    [{s.number}] = {{ "{s.name}", {s.symbol}, {len(s.text)} }},\n' for s in SOURCES)
    return (
        f"/* lz_dictionaries.c - {MADE}. */\n#include \"lz_dictionaries.h\"\n\n"
        f"const uint32_t LZ_DICTIONARIES_DIGEST = 0x{digest():08x}u;\n\n"
        f"const lz_dictionary LZ_DICTIONARY[LZ_KNOWN] = {{\n{rows}}};\n"
    )


def files() -> dict[Path, str]:
    """What the C files are to hold."""
    found = {CORE / f"lz_dict_{source.name}.c": _text_file(source) for source in SOURCES}
    return {**found, CORE / "lz_dictionaries.c": _table_file()}


def stale() -> list[str]:
    """C files that are not what the texts say now."""
    return [
        path.name
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    if arguments == ["--write"]:
        for path, text in files().items():
            path.write_text(text, encoding="utf-8")
        for source in SOURCES:
            print(f"{source.number} {source.name}: {len(source.text)} bytes")
        print(f"digest 0x{digest():08x}")
        return 0
    for name in stale():
        print(f"{name} is stale: python -m oxidized.ffi.dictionaries --write", file=sys.stderr)
    return 1 if stale() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
