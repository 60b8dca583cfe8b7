"""The repair code in numpy, written from PROTOCOL.md section 11 and not from the C code.

The field is made of logarithms; equations are solved all at once, from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

POLYNOMIAL = 0x11D


def _powers() -> NDArray[np.uint8]:
    """The powers of 2, which has the order 255."""
    found, x = [], 1
    for _ in range(255):
        found.append(x)
        x = x << 1 ^ (POLYNOMIAL if x & 0x80 else 0)
    return np.array(found * 2, dtype=np.uint8)


EXP = _powers()
LOG = np.zeros(256, dtype=np.int64)
LOG[EXP[:255]] = np.arange(255)


def times(coefficient: int, row: Bytes) -> Bytes:
    if coefficient == 0:
        return np.zeros_like(row)
    found: Bytes = np.where(row == 0, 0, EXP[LOG[row] + LOG[coefficient]]).astype(np.uint8)
    return found


def inverse(element: int) -> int:
    return int(EXP[255 - LOG[element]])


def coefficient(seed: int, sequence: int) -> int:
    x = (seed + (sequence & 0xFFFF) * 0x9E3779B1) & 0xFFFFFFFF
    x = (x ^ x >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    x = (x ^ x >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    x ^= x >> 16
    return 1 + ((x >> 16) * 255 >> 16)


def symbol(pn: int, content: bytes) -> bytes:
    return (pn & 0xFFFF).to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def content_of(found: bytes) -> tuple[int, bytes] | None:
    """(packet number, content); None: it is no symbol."""
    length = int.from_bytes(found[2:4], "big")
    if not 0 < length <= len(found) - 4 or any(found[4 + length :]):
        return None
    return int.from_bytes(found[:2], "big"), found[4 : 4 + length]


def padded(data: bytes, length: int) -> Bytes:
    return np.frombuffer(data.ljust(length, b"\0"), dtype=np.uint8)


def frame(seed: int, newest: int, symbols: Sequence[bytes]) -> bytes:
    """The body of a REPAIR frame; symbols of the members newest, newest - 1, ..."""
    length = max(map(len, symbols))
    total = np.zeros(length, dtype=np.uint8)
    for i, member in enumerate(symbols):
        total = total ^ times(coefficient(seed, newest - i), padded(member, length))
    return (newest & 0xFFFF).to_bytes(2, "big") + bytes([len(symbols)]) + total.tobytes()


@dataclass(frozen=True)
class Equation:
    seed: int
    newest: int
    count: int
    symbol: bytes


def solve(equations: Sequence[Equation], known: Mapping[int, bytes]) -> dict[int, bytes]:
    """sequence -> symbol, zeros behind it: what the equations and the known symbols determine."""
    if not equations:
        return {}
    length = max(len(one.symbol) for one in equations)
    members = [range(one.newest - one.count + 1, one.newest + 1) for one in equations]
    unknown = sorted({number for row in members for number in row if number not in known})
    matrix = np.zeros((len(equations), len(unknown) + length), dtype=np.uint8)
    for i, one in enumerate(equations):
        matrix[i, len(unknown) :] = padded(one.symbol, length)
        for number in members[i]:
            c = coefficient(one.seed, number)
            if number in known:
                matrix[i, len(unknown) :] ^= times(c, padded(known[number], length))
            else:
                matrix[i, unknown.index(number)] = c
    rank = 0
    for column in range(len(unknown)):
        below = np.flatnonzero(matrix[rank:, column])
        if not below.size:
            continue
        matrix[[rank, rank + below[0]]] = matrix[[rank + below[0], rank]]
        matrix[rank] = times(inverse(int(matrix[rank, column])), matrix[rank])
        for other in np.flatnonzero(matrix[:, column]):
            if other != rank:
                matrix[other] ^= times(int(matrix[other, column]), matrix[rank])
        rank += 1
    found = {}
    for row in matrix[:rank]:
        columns = np.flatnonzero(row[: len(unknown)])
        if len(columns) == 1:
            found[unknown[columns[0]]] = row[len(unknown) :].tobytes()
    return found
