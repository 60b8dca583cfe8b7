"""REPAIR frames of the golden vectors, written and solved by the C core (PROTOCOL.md, section 11)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.golden import rlc_vectors as golden
from tests.native.rlc_door import Content, RepairCode, gf256_mul_add, rlc_coefficient

FOUND: dict[str, Any] = json.loads(golden.FILE.read_text("utf-8"))


def test_file_is_what_the_writer_makes() -> None:
    assert json.loads(json.dumps(golden.vectors())) == FOUND


def test_products_and_coefficients() -> None:
    for a, b, product in FOUND["products"]:
        assert gf256_mul_add("auto", bytes(64), bytes([b]) * 64, a) == bytes([product]) * 64
    for seed, number, coefficient in FOUND["coefficients"]:
        assert rlc_coefficient(seed, number) == coefficient


@pytest.mark.parametrize("vector", FOUND["frames"], ids=lambda vector: vector["name"])
def test_frame_is_written_and_gives_back_what_is_missing(vector: dict[str, Any]) -> None:
    sender, receiver, seed = RepairCode(), RepairCode(), vector["seed"]
    missing = vector["oldest"] + len(vector["contents"]) // 2
    for number, row in enumerate(vector["contents"], vector["oldest"]):
        content = bytes.fromhex(row["content"])
        sender.known(number, content, row["packet_number"])
        if number == missing:
            wanted = Content(number, row["packet_number"], content)
        else:
            receiver.known(number, content, row["packet_number"])
    newest = vector["oldest"] + len(vector["contents"]) - 1
    body = sender.repair(seed, newest, len(vector["contents"]))
    assert body.hex() == vector["body"]
    assert receiver.add(seed, body, newest) == "rlc-recovered"
    assert receiver.found() == [wanted]


@pytest.mark.parametrize("vector", FOUND["bad"], ids=lambda vector: vector["name"])
def test_bad_frame_is_refused(vector: dict[str, Any]) -> None:
    receiver = RepairCode()
    assert receiver.add(vector["seed"], bytes.fromhex(vector["body"]), 0) == vector["dropped"]
    assert receiver.found() == []
