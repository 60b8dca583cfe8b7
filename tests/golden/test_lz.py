"""LZ items of the golden vectors, read by the C core (PROTOCOL.md, section 10)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oxidized.ffi.lz import LZ_DIGEST, Compressor
from tests.golden import lz_vectors as golden

FOUND: dict[str, Any] = json.loads(golden.FILE.read_text("utf-8"))


def test_file_is_what_the_writer_makes() -> None:
    assert golden.vectors() == FOUND


def test_digest_is_that_of_the_core() -> None:
    assert FOUND["digest"] == f"{LZ_DIGEST:08x}"


@pytest.mark.parametrize("vector", FOUND["items"], ids=lambda vector: vector["name"])
def test_item_is_read(vector: dict[str, str]) -> None:
    found = Compressor().restore(bytes.fromhex(vector["item"]), FOUND["packet_bytes_max"])
    assert (found if isinstance(found, str) else found.hex()) == vector.get("dropped", vector.get("packet"))
