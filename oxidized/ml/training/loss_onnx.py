"""The net of the loss predictor as an ONNX graph: the same weights give the same bytes.

    x = log(k window + b)                         monotone: what is named is tiny or huge (`WINDOW_RESCALE`)
    c = log(k context + b)
    h0, d0 = halves of tanh(c S + s)              the state that the LSTM begins with
    h = LSTM(x; h0, d0) after 20 steps
    logits = relu([h, c] P + p) Q + q
    probabilities = sigmoid(logits)               any loss; if so, whether to a queue

The mean and spread of x and c are folded into the weights behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oxidized.ml import loss_predictor as shipped
from oxidized.ml.loss_features import CONTEXT, FEATURES, STEPS

Floats = npt.NDArray[np.float32]

# k and b of each column.
WINDOW_RESCALE: Final = (
    (1e3, 1.0), (500.0, 1.0), (1e5, 1.0), (20.0, 1.0), (1.0, 1.05), (1e4, 1.0), (1e3, 1.0), (4.0, 1.0),
)  # fmt: skip
_CONTEXT_RESCALE: Final = {
    "ge_bad_now": 100.0, "ge_bad_ahead": 100.0, "ge_any_ahead": 100.0, "ge_to_good": 10.0, "ge_loss_bad": 4.0,
    "clock_sin": 0.5, "clock_cos": 0.5, "packets_ahead": 1.0, "since_loss_s": 100.0,
}  # fmt: skip
CONTEXT_RESCALE: Final = tuple(
    (_CONTEXT_RESCALE.get(name, 1e3), 2.0 if name.startswith("clock") else 1.0) for name in CONTEXT
)

Weights = Mapping[str, Floats]  # names and shapes: `shapes`


def shapes(hidden: int, dense: int) -> dict[str, tuple[int, ...]]:
    c = len(CONTEXT)
    return {
        "start": (c, 2 * hidden), "start_bias": (2 * hidden,),
        "lstm_in": (1, 4 * hidden, len(FEATURES)), "lstm_again": (1, 4 * hidden, hidden),
        "lstm_bias": (1, 8 * hidden),
        "dense": (hidden + c, dense), "dense_bias": (dense,), "out": (dense, 2), "out_bias": (2,),
    }  # fmt: skip


def rescaled(values: Floats, factors: tuple[tuple[float, float], ...]) -> Floats:
    """The first layer, for training."""
    k, b = np.array(factors, dtype=np.float32).T
    found: Floats = np.log(values * k + b)
    return found


def model_of(weights: Weights) -> bytes:
    """`weights`: gates in ONNX's order (input, output, forget, cell)."""
    from onnx import TensorProto, helper, numpy_helper

    hidden = weights["start_bias"].shape[0] // 2
    assert {n: w.shape for n, w in weights.items()} == shapes(hidden, weights["dense_bias"].shape[0])
    constants: dict[str, Any] = {name: np.ascontiguousarray(w, np.float32) for name, w in weights.items()}
    for name, factors in (("window", WINDOW_RESCALE), ("context", CONTEXT_RESCALE)):
        constants[f"{name}_k"], constants[f"{name}_b"] = np.array(factors, dtype=np.float32).T.copy()
    constants["axis"] = np.array([0], dtype=np.int64)
    nodes = []

    def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> None:
        into, out = (["" if name == "-" else name for name in side.split()] for side in (inputs, outputs))
        nodes.append(helper.make_node(kind, into, out, **attributes))

    for name, output in (("window", "x"), ("context", "c")):
        node("Mul", f"{name} {name}_k", f"{name}_times")
        node("Add", f"{name}_times {name}_b", f"{name}_more")
        node("Log", f"{name}_more", output)
    node("Gemm", "c start start_bias", "start_linear")
    node("Tanh", "start_linear", "start_flat")
    node("Unsqueeze", "start_flat axis", "start_both")
    node("Split", "start_both", "h0 d0", axis=2)
    node("LSTM", "x lstm_in lstm_again lstm_bias - h0 d0", "- last", hidden_size=hidden)
    node("Squeeze", "last axis", "h")
    node("Concat", "h c", "hc", axis=1)
    node("Gemm", "hc dense dense_bias", "dense_linear")
    node("Relu", "dense_linear", "dense_active")
    node("Gemm", "dense_active out out_bias", "logits")
    node("Sigmoid", "logits", "probabilities")
    sides: list[tuple[str, list[Any]]] = [
        ("window", [STEPS, "paths", len(FEATURES)]),
        ("context", ["paths", len(CONTEXT)]),
        ("probabilities", ["paths", 2]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sides]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, shipped.NAME, ends[:2], ends[2:], tensors)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="oxidized"
    )
    helper.set_model_props(model, {"schema": shipped.SCHEMA})
    return bytes(model.SerializeToString(deterministic=True))
