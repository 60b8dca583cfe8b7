"""The training of the oracle: costs, packets, and that a net learns what it is shown; small and seeded."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from random import Random

import lz4.block
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized.core.oracle import OracleWeights, Verdict
from oxidized.ml import oracle as shipped
from oxidized.ml.training import costs, field, oracle
from oxidized.ml.training.kinds_judged import JUDGED, WATCHED
from oxidized.ml.training.kinds_learned import LEARNED
from oxidized.ml.training.packets import Kind, Packet, framed, make, varied

KNOWN = {"generic": b"the quick brown fox " * 20}
TEXT = b"so it goes, and so it goes, and so it goes; " * 40


def packet_of(payload: bytes, *, is_urgent: bool = False) -> tuple[Kind, Packet]:
    kind = Kind("test", lambda dice: payload, is_urgent=is_urgent)
    return kind, framed(kind, payload, Random(1))


def shape_by_expansion(block: bytes, size: int) -> int:
    """Literal bytes, found by what decompression needs: the sum of all matches is the rest."""
    out, at, literals_sum = 0, 0, 0
    while at < len(block):
        token = block[at]
        at += 1
        literals, match = token >> 4, (token & 15) + 4
        if literals == 15:
            while True:
                literals += block[at]
                at += 1
                if block[at - 1] != 255:
                    break
        at += literals
        literals_sum += literals
        out += literals
        if at == len(block):
            break
        at += 2
        if match == 19:
            while True:
                match += block[at]
                at += 1
                if block[at - 1] != 255:
                    break
        out += match
    assert out == size
    return literals_sum


@given(st.lists(st.sampled_from([b"abcdefgh", b"x", b"0" * 300, bytes(range(250)), b"zz"]), max_size=40))
def test_shape_of_a_block(parts: list[bytes]) -> None:
    data = b"".join(parts)
    block = lz4.block.compress(data, store_size=False)
    literals, sequences = costs.shape_of(block)
    assert literals == shape_by_expansion(block, len(data))
    assert sequences >= 1 and literals + 3 * (sequences - 1) <= len(block)


def test_kinds_of_learning_and_judging_share_nothing() -> None:
    groups = [{kind.name for kind in kinds} for kinds in (LEARNED, WATCHED, JUDGED)]
    makers = [{kind.make for kind in kinds} for kinds in (LEARNED, WATCHED, JUDGED)]
    for i in range(3):
        assert len(groups[i]) == len((LEARNED, WATCHED, JUDGED)[i])
        assert not groups[i] & groups[i - 1] and not makers[i] & makers[i - 1]


def test_packets_are_the_same_each_time_and_fit() -> None:
    every = [*LEARNED, *WATCHED, *JUDGED]
    assert make(every, 2, 5) == make(every, 2, 5) != make(every, 2, 6)
    assert [p.data for _, p in varied(LEARNED, 4, 5)] == [p.data for _, p in varied(LEARNED, 4, 5)]
    for kind, packet in make(every, 4, 7):
        assert len(packet.data) <= 1500, kind.name
        total = packet.data[2:4] if packet.data[0] >> 4 == 4 else packet.data[4:6]
        assert int.from_bytes(total) + (0 if packet.data[0] >> 4 == 4 else 40) == len(packet.data)


def test_worth_of_text_and_of_noise() -> None:
    kind, small = packet_of(TEXT[:400])
    worth = costs.worth(small, kind, KNOWN)
    assert worth.values[Verdict.LIGHT] > worth.values[Verdict.ROHC_ONLY] > worth.values[Verdict.SKIP] == 0
    kind, noise = packet_of(bytes(np.random.default_rng(1).bytes(1300)))
    worth = costs.worth(noise, kind, KNOWN)
    assert max(worth.values) == worth.values[Verdict.SKIP] == 0
    # An attempt in vain costs its time, and nothing else: the packet then goes as it would have gone.
    assert worth.saved[Verdict.LIGHT] == 0 and 0 < worth.spent[Verdict.LIGHT] < 2000


def test_time_counts_fourfold_where_somebody_waits() -> None:
    kind, calm = packet_of(TEXT[:400])
    hasty_kind, hasty = packet_of(TEXT[:400], is_urgent=True)
    one, other = costs.worth(calm, kind, KNOWN), costs.worth(hasty, hasty_kind, KNOWN)
    assert other.saved == one.saved
    assert other.spent == pytest.approx([costs.URGENT * ns for ns in one.spent])


def test_a_net_learns_what_is_worth_it() -> None:
    """Text against noise: after a short training it does as well as can be, on packets it has not seen."""
    kinds = [kind for kind in LEARNED if kind.name in ("logs", "tls-middle", "g729")]
    data = oracle.sample(make(kinds, 60, 1), KNOWN)
    other = oracle.sample(make(kinds, 60, 2), KNOWN)
    net = oracle.train_once(data, seed=0)
    weights = OracleWeights(*(tuple(float(v) for v in w.ravel()) for w in net))
    found = oracle.judge(other, weights)
    assert found["model"]["accuracy"] > 0.95
    assert found["model"]["value_ns"] > 0.97 * found["best"]["value_ns"]
    assert all(row["value_ns"] <= found["best"]["value_ns"] for row in found.values())


def test_what_is_written_is_what_is_read() -> None:
    path = Path(shipped.choose({}).path)
    weights = shipped.weights_of(path.read_bytes())
    assert oracle.onnx_of(weights) == path.read_bytes()
    rows = json.loads(path.with_suffix(".json").read_text("utf-8"))["golden"]["features"]
    assert len(rows) == oracle.GOLDEN


def test_captures_are_read(tmp_path: Path) -> None:
    _, packet = packet_of(TEXT[:100])
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    record = struct.pack("<IIII", 0, 0, len(packet.data), len(packet.data)) + packet.data
    path = tmp_path / "one.pcap.gz"
    path.write_bytes(gzip.compress(head + record * 3))
    assert [found for _, found in field.captured(path)] == [
        Packet("one", packet.data, packet.payload_at, False)
    ] * 3
