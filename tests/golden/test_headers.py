"""The coded headers are those of header_vectors.json: the compressor writes them, the restorer reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oxidized.ffi.headers import Headers
from tests.golden.header_vectors import FILE, vectors

VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_there_and_back(vector: dict[str, Any]) -> None:
    sender, receiver = Headers(4), Headers(4)
    for step in vector["steps"]:
        for pn in step["acked"]:
            sender.ack(pn)
        pn, packet = step["packet_number"], bytes.fromhex(step["packet"])
        item, row = sender.compress(pn, packet)
        assert (None if item is None else item.hex(), row.kind) == (step["item"], step["form"])
        if item is not None and pn % 5 != 3:
            assert receiver.restore(pn, item).restored == packet


def test_the_file_is_what_the_generator_writes() -> None:
    assert vectors() == VECTORS


def test_every_form_is_there() -> None:
    forms = {step["form"] for vector in VECTORS for step in vector["steps"]}
    assert forms == {"whole", "setup", "base", "extended"}
