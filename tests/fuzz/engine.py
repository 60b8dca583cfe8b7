"""The mutation engine of the Python fuzz targets: seeded, so the same inputs come each time.

Any exception a target lets out is a finding: its input is left in crash-TARGET of the working directory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

INPUT_BYTES_MAX = 4096
# Bytes that mean something in TOML, JSON, addresses and key texts.
WORDS = (
    b"\x00", b"\xff", b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b'"', b"'", b"\\", b"\n", b"-1",
    b"0", b"1e999", b"99999999999999999999", b"nan", b"inf", b"true", b"null", b"\xc3\x28",
    b"\xed\xa0\x80", b"\\ud800", b"..", b":", b"::", b"/", b"/0", b"/33", b"%", b"s", b"ms",
    b"=" * 8, b"A" * 300, b"[" * 200, b"{" * 200, b"#",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes one input and lets pass what the invariant allows; `seeds` are good inputs.

    `cost`: of one input, in cheap ones; where inputs are counted, so many times fewer are tried.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    invariant: str
    cost: int = 1


def mutate(dice: Random, data: bytes, others: list[bytes]) -> bytes:
    """One to eight small changes; at most INPUT_BYTES_MAX bytes."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(7):
            case 0 if out:
                out[at % len(out)] = dice.randrange(256)
            case 1 if out:
                out[at % len(out)] ^= 1 << dice.randrange(8)
            case 2:
                out[at:at] = dice.choice(WORDS)
            case 3:
                del out[at : at + dice.randrange(1, 16)]
            case 4:
                del out[at:]
            case 5:
                out[at:at] = out[at // 2 : at // 2 + dice.randrange(1, 64)]
            case _:
                other = dice.choice(others)
                out[at:] = other[dice.randrange(len(other) + 1) :]
    return bytes(out[:INPUT_BYTES_MAX])


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """The seeds, then mutations of them without end."""
    known = target.seeds()
    yield from known
    dice = Random(seed)
    while True:
        yield mutate(dice, dice.choice(known), known)


def fuzz(name: str, target: Target, *, count: int | None, seconds: float | None, seed: int) -> int:
    """How many inputs were tried; a finding is left in crash-NAME and raised."""
    wanted = None if count is None else max(1, count // target.cost)
    end_s = None if seconds is None else time.monotonic() + seconds
    tried = 0
    for data in inputs(target, seed):
        if tried == wanted or (end_s is not None and time.monotonic() >= end_s):
            break
        try:
            target.run(data)
        except BaseException:
            Path(f"crash-{name}").write_bytes(data)
            raise
        tried += 1
    return tried
