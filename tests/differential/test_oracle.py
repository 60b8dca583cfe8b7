"""The compression oracle in C against numpy (features) and onnxruntime (the net)."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core.oracle import FEATURES, HIDDEN, Verdict
from oxidized.ffi.oracle import ORACLE_FEATURES, oracle_features, oracle_judge, oracle_scores
from oxidized.ml import oracle
from oxidized.ml.training.kinds_judged import JUDGED, WATCHED
from oxidized.ml.training.kinds_learned import LEARNED
from oxidized.ml.training.packets import make
from tests.differential import oracle_reference as reference
from tests.unit.ml.models import model_of, random_rows, random_weights


def must_agree(packet: bytes, payload_at: int, *, is_urgent: bool = False) -> None:
    found = oracle_features(packet, payload_at, is_urgent=is_urgent)
    expected = reference.features(packet, payload_at, is_urgent=is_urgent)
    for one, other, feature in zip(found, expected, ORACLE_FEATURES, strict=True):
        assert one == pytest.approx(float(other), abs=1e-6), feature.name
        assert (-1 if feature.name == "magic" else 0) <= one <= feature.maximum, feature.name


def test_features_of_all_kinds_of_packets() -> None:
    for _, packet in make([*LEARNED, *WATCHED, *JUDGED], 12, seed=4):
        must_agree(packet.data, packet.payload_at, is_urgent=packet.is_urgent)


@pytest.mark.parametrize("size", [*range(140), 1499, 1500, 9000])
def test_features_at_every_small_size(size: int) -> None:
    dice = Random(size)
    must_agree(bytes(dice.choices(b"abc\0\xff\n", k=size)), 0)
    must_agree(bytes(28) + dice.randbytes(size), 28)


@given(st.binary(max_size=300), st.integers(0, 320), st.booleans())
def test_features_of_any_bytes(packet: bytes, payload_at: int, is_urgent: bool) -> None:
    must_agree(packet, payload_at, is_urgent=is_urgent)


@given(st.sampled_from(reference.PACKED + reference.TEXT), st.binary(min_size=4, max_size=90))
def test_magic(begin: bytes, rest: bytes) -> None:
    must_agree(begin + rest, 0)
    must_agree(begin[:-1] + rest, 0)


@given(
    st.sampled_from([4, 6]), st.sampled_from([6, 17, 50]), st.sampled_from([443, 444, 53]),
    st.sampled_from([443, 9]), st.sampled_from([0, 0x4000, 0x2000, 0x0001]),
)  # fmt: skip
def test_what_is_encrypted_is_told_by_protocol_and_port(
    version: int, protocol: int, source: int, target: int, fragment: int
) -> None:
    ports = source.to_bytes(2) + target.to_bytes(2) + bytes([0, 0, 0, 0]) + bytes(4) + b"\x50" + bytes(7)
    if version == 4:
        head = b"\x45" + bytes(5) + fragment.to_bytes(2) + bytes([64, protocol]) + bytes(10)
    else:
        head = b"\x60" + bytes(5) + bytes([protocol, 64]) + bytes(32)
    must_agree(head + ports + b"payload " * 9, len(head) + 8)


@pytest.mark.parametrize("seed", range(3))
def test_net_is_the_one_of_onnxruntime(seed: int) -> None:
    weights, rows = random_weights(seed, size=4.0), random_rows(seed, 400)
    rows += [[f.maximum for f in ORACLE_FEATURES], [-1.0] * FEATURES, [0.0] * FEATURES]
    found, expected = oracle_scores(weights, rows), oracle.run_reference(model_of(weights), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([100, 999, 1000, 1400]))
def test_verdict_is_the_largest_score(seed: int, size: int) -> None:
    """Leaving the payload alone is one thing; how the packet then goes is a matter of size."""
    weights, rows = random_weights(seed), random_rows(seed, 8)
    w1 = np.array(weights.hidden_weights, np.float32).reshape(FEATURES, HIDDEN)
    w2 = np.array(weights.score_weights, np.float32).reshape(HIDDEN, len(Verdict))
    x = np.array(rows, np.float32)
    scores = np.maximum(x @ w1 + np.float32(weights.hidden_bias), 0) @ w2 + np.float32(weights.score_bias)
    bare = Verdict.SKIP if size >= 1000 else Verdict.ROHC_ONLY
    for row, line in zip(rows, scores, strict=True):
        top = np.sort(line)[-2:]
        if top[1] - top[0] < 1e-3:
            continue
        best = Verdict(int(line.argmax()))
        assert oracle_judge(weights, row, size) == (best if best in (1, 2) else bare)
