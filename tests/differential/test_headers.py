"""The restorer in C against the one that was written from PROTOCOL.md section 9 alone."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from oxidized.ffi.headers import HeaderRow, Headers
from tests.differential.header_reference import Refused, Restorer
from tests.golden.test_headers import VECTORS
from tests.native.headers_rig import Channel


class Both(Headers):
    """Restores each item twice, and compares."""

    def __init__(self, flows: int, hash_key: int = 0) -> None:
        super().__init__(flows, hash_key)
        self.reference = Restorer(flows)

    def restore(self, pn: int, item: bytes, path: int = 0, cap: int = 65535) -> HeaderRow:
        row = super().restore(pn, item, path, cap)
        try:
            assert row.restored == self.reference.restore(path, pn, item)
        except Refused as refused:
            assert row.verdict == str(refused)
        return row


@pytest.fixture(autouse=True)
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.native.headers_rig.Headers", Both)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vectors(vector: dict[str, Any]) -> None:
    reference = Restorer(4)
    for step in vector["steps"]:
        if step["item"] is not None and step["packet_number"] % 5 != 3:
            item = bytes.fromhex(step["item"])
            assert reference.restore(0, step["packet_number"], item).hex() == step["packet"]


@pytest.mark.parametrize("seed", range(100, 116))
def test_over_links(seed: int) -> None:
    dice = Random(seed)
    run = Channel(
        seed=seed,
        flows=dice.choice((1, 3, 20)),
        contexts=dice.choice((1, 4, 128)),
        paths=dice.choice((1, 2, 4)),
        is_spread=dice.random() < 0.5,
        flight=dice.choice((2, 20, 100)),
        loss=dice.choice((0, 0.05, 0.3)),
        bursts=(0, 0, 10),
        late=dice.choice((0, 0.05, 0.3)),
        late_by=(1, 3, 10, 100),
        churn=dice.choice((0, 0.01, 0.1)),
        bundle=dice.choice((1, 3)),
    ).run(1200)
    assert run.restored > 0
