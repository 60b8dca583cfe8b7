"""The test vectors of REPAIR frames: `python -m tests.golden.rlc_vectors` writes them.

By the numpy implementation; another one must write the same bodies, as there is but one body for a window,
and refuse the bad ones by the same names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.differential import rlc_reference as reference

FILE = Path(__file__).with_name("rlc_vectors.json")

# name -> seed, number of the oldest member, contents with the low 16 bits of their packet numbers
FRAMES: dict[str, tuple[int, int, list[tuple[int, bytes]]]] = {
    "one-member": (0, 0, [(0, b"one")]),
    "two-lengths": (1, 5, [(1000, b"E" + bytes(9)), (1001, bytes(range(30)))]),
    "numbers-wrap": (0xFFFFFFFF, 65534, [(65535 + i & 0xFFFF, b"content %d" % i) for i in range(4)]),
    "seed-of-32-bits": (0x80000001, 2**32 + 7, [(i, bytes([i]) * 8) for i in range(3)]),
    "widest": (0x12345678, 100, [(i, bytes([i, 255 - i])) for i in range(255)]),
    "longest": (77, 9, [(4, b"x"), (5, bytes(i * 7 & 0xFF for i in range(1536)))]),
}
BAD: dict[str, tuple[str, str]] = {
    "no-content": ("000001" + "00" * 4, "rlc-truncated"),
    "too-long": ("000001" + "00" * 1541, "rlc-bad-length"),
    "no-member": ("000000" + "00" * 5, "rlc-bad-window"),
    "before-the-first": ("000002" + "00" * 5, "rlc-bad-window"),
    "empty-content": ("000001" + "00" * 5, "rlc-bad-symbol"),
    "content-past-the-end": (
        reference.frame(0, 0, [bytes.fromhex("0000000261")]).hex(), "rlc-bad-symbol"
    ),
    "zeros-with-a-bit": (
        reference.frame(0, 0, [bytes.fromhex("00000001610000000001")]).hex(), "rlc-bad-symbol"
    ),
}  # fmt: skip
PRODUCTS = [(2, 128), (3, 7), (142, 2), (255, 255), (0x53, 0xCA)]
COEFFICIENTS = [(0, 0), (0, 1), (1, 0), (0xFFFFFFFF, 65535), (123456789, 4242)]


def vectors() -> dict[str, Any]:
    frames = []
    for name, (seed, oldest, contents) in FRAMES.items():
        newest = oldest + len(contents) - 1
        symbols = [reference.symbol(pn, content) for pn, content in contents]
        frames.append({
            "name": name,
            "seed": seed,
            "oldest": oldest,
            "contents": [{"packet_number": pn, "content": content.hex()} for pn, content in contents],
            "body": reference.frame(seed, newest, symbols[::-1]).hex(),
        })  # fmt: skip
    return {
        "products": [[a, b, int(reference.times(a, reference.padded(bytes([b]), 1))[0])]
                     for a, b in PRODUCTS],
        "coefficients": [[seed, n, reference.coefficient(seed, n)] for seed, n in COEFFICIENTS],
        "frames": frames,
        "bad": [{"name": name, "seed": 0, "body": body, "dropped": why} for name, (body, why) in BAD.items()],
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")
