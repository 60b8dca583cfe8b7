"""ONNX files and sheets for tests, made with the `onnx` package: good ones, and such as must be refused."""

from __future__ import annotations

import hashlib
import json
from random import Random
from typing import Any

from onnx import TensorProto, helper

from oxidized.core.oracle import FEATURES, HIDDEN, OracleWeights, Verdict
from oxidized.ffi.oracle import ORACLE_FEATURES, ORACLE_VERDICTS, oracle_scores
from oxidized.ml import oracle

SHAPES = {"a": [FEATURES, HIDDEN], "b": [HIDDEN], "c": [HIDDEN, len(Verdict)], "d": [len(Verdict)]}


def random_weights(seed: int, size: float = 1.0) -> OracleWeights:
    dice = Random(seed)
    counts = (FEATURES * HIDDEN, HIDDEN, HIDDEN * len(Verdict), len(Verdict))
    # What binary32 can hold, or the file would hold other numbers.
    return OracleWeights(
        *(tuple(round(dice.uniform(-size, size) * 256) / 256 for _ in range(n)) for n in counts)
    )


def random_rows(seed: int, count: int) -> list[list[float]]:
    """Features within their ranges."""
    dice = Random(seed)
    return [[round(dice.uniform(0, f.maximum) * 256) / 256 for f in ORACLE_FEATURES] for _ in range(count)]


def model_of(
    weights: OracleWeights,
    *,
    shapes: dict[str, list[int]] = SHAPES,
    schema: str = oracle.SCHEMA,
    operations: tuple[str, str, str] = ("Gemm", "Relu", "Gemm"),
    opset: int = 13,
    data_type: int = TensorProto.FLOAT,
    attributes: dict[str, Any] | None = None,
    spare: bool = False,
) -> bytes:
    values = (weights.hidden_weights, weights.hidden_bias, weights.score_weights, weights.score_bias)
    tensors = [
        helper.make_tensor(name, data_type, shape, row)
        for (name, shape), row in zip(shapes.items(), values, strict=True)
    ]
    if spare:
        tensors.append(helper.make_tensor("spare", TensorProto.FLOAT, [1], [0.0]))
    nodes = [
        helper.make_node(operations[0], ["x", "a", "b"], ["h"], **(attributes or {})),
        helper.make_node(operations[1], ["h"], ["r"]),
        helper.make_node(operations[2], ["r", "c", "d"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, w]) for n, w in (("x", FEATURES), ("y", 4))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, {"schema": schema})
    return bytes(model.SerializeToString())


def sheet_for(model: bytes, weights: OracleWeights, **changes: Any) -> dict[str, Any]:
    rows = random_rows(1, 40)
    return {
        "schema": oracle.SCHEMA,
        "digest": hashlib.sha256(model).hexdigest(),
        "features": [feature.name for feature in ORACLE_FEATURES],
        "verdicts": list(ORACLE_VERDICTS),
        "wins": True,
        "golden": {"features": rows, "scores": oracle_scores(weights, rows)},
        **changes,
    }


def as_bytes(sheet: dict[str, Any]) -> bytes:
    return json.dumps(sheet).encode()
