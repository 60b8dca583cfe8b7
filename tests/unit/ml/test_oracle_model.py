"""A model of the oracle is used only if all about it is right; anything else is refused in one line."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized.core.oracle import FEATURES, HIDDEN
from oxidized.ffi.oracle import oracle_scores
from oxidized.ml import onnx_weights, oracle
from oxidized.ml.training.card import card
from tests.unit.ml.models import SHAPES, as_bytes, model_of, random_rows, random_weights, sheet_for

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "models"
WEIGHTS = random_weights(1)
MODEL = model_of(WEIGHTS)
SHEET = sheet_for(MODEL, WEIGHTS)


def agreeing(model: bytes, rows: oracle.Rows) -> oracle.Rows:
    """Stands for onnxruntime."""
    return oracle_scores(oracle.weights_of(model), rows)


def refusal(
    model: bytes = MODEL, sheet: dict[str, Any] | bytes = SHEET, reference: oracle.Reference = agreeing
) -> str:
    text = sheet if isinstance(sheet, bytes) else as_bytes(sheet)
    with pytest.raises(oracle.ModelRefused) as caught:
        oracle.check(model, text, reference)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_good_model_is_taken_with_its_weights() -> None:
    assert oracle.check(MODEL, as_bytes(SHEET), agreeing) == WEIGHTS


def test_weights_are_read_whichever_way_they_are_packed() -> None:
    """raw_data, as most programs write it, instead of float_data."""
    from onnx import ModelProto, numpy_helper

    proto = ModelProto.FromString(MODEL)
    for i, tensor in enumerate(proto.graph.initializer):
        proto.graph.initializer[i].CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
        )
    assert proto.graph.initializer[0].raw_data
    assert oracle.weights_of(proto.SerializeToString()) == WEIGHTS


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shapes": SHAPES | {"a": [HIDDEN, FEATURES]}}, "layers of shapes"),
        ({"shapes": SHAPES | {"a": [1, FEATURES * HIDDEN]}}, "layers of shapes"),
        ({"shapes": SHAPES | {"c": [HIDDEN * 4]}}, "layers of shapes"),
        ({"operations": ("Gemm", "Sigmoid", "Gemm")}, "not Gemm, Relu, Gemm"),
        ({"attributes": {"transB": 1}}, "attributes"),
        ({"attributes": {"alpha": 2.0}}, "attributes"),
        ({"opset": 12}, "operators"),
        ({"spare": True}, "do not fit"),
        ({"schema": "oxidized.loss_predictor/1"}, "schema"),
        ({"data_type": 11}, "not of float32"),
    ],
    ids=str,
)
def test_other_nets_are_refused(changes: dict[str, Any], said: str) -> None:
    model = model_of(WEIGHTS, **changes)
    assert said in refusal(model, sheet_for(model, WEIGHTS))


def test_net_of_other_width_is_refused() -> None:
    halves = {"a": [4, 32], "b": [32], "c": [32, 2], "d": [2]}
    from onnx import TensorProto, helper

    proto = onnx_model(halves, TensorProto, helper)
    assert "a net of shape" in refusal(proto, SHEET | {"digest": hashlib.sha256(proto).hexdigest()})


def onnx_model(shapes: dict[str, list[int]], proto: Any, helper: Any) -> bytes:
    tensors = []
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        tensors.append(helper.make_tensor(name, proto.FLOAT, shape, [0.5] * count))
    nodes = [
        helper.make_node("Gemm", ["x", "a", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "c", "d"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, proto.FLOAT, [None, 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"schema": oracle.SCHEMA})
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.1e4, -1e30])
@pytest.mark.parametrize("at", [0, FEATURES * HIDDEN - 1])
def test_weight_out_of_range_is_refused(value: float, at: int) -> None:
    old = struct.pack("<128f", *WEIGHTS.hidden_weights)
    new = bytearray(old)
    struct.pack_into("<f", new, 4 * at, value)
    assert MODEL.count(old) == 1
    model = MODEL.replace(old, bytes(new))
    assert "a weight" in refusal(model, SHEET | {"digest": hashlib.sha256(model).hexdigest()})


def test_every_truncation_is_refused() -> None:
    for size in range(len(MODEL)):
        model = MODEL[:size]
        assert refusal(model, SHEET | {"digest": hashlib.sha256(model).hexdigest()})


def test_huge_file_is_refused_unread() -> None:
    model = MODEL + bytes(onnx_weights.BYTES_MAX)
    assert "more than" in refusal(model, SHEET | {"digest": hashlib.sha256(model).hexdigest()})


@given(st.integers(0, len(MODEL) - 1), st.integers(1, 255))
def test_changed_byte_is_refused_by_digest(at: int, change: int) -> None:
    model = bytearray(MODEL)
    model[at] ^= change
    assert "digest" in refusal(bytes(model))


def golden(**changes: Any) -> dict[str, Any]:
    return SHEET | {"golden": SHEET["golden"] | changes}


SCORES = SHEET["golden"]["scores"]
ROWS = SHEET["golden"]["features"]


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        (b"", "not JSON"),
        (b"[" * 100000, "not JSON"),
        (b"[]", "not of schema"),
        (SHEET | {"schema": "oxidized.compression_oracle/2"}, "not of schema"),
        (SHEET | {"features": SHEET["features"][::-1]}, "other features"),
        (SHEET | {"verdicts": SHEET["verdicts"][:3]}, "other features or verdicts"),
        (SHEET | {"wins": False}, "does not beat"),
        (SHEET | {"wins": 1}, "does not beat"),
        (SHEET | {"golden": None}, "no golden"),
        (golden(features=ROWS[:5], scores=SCORES[:5]), "too few"),
        (golden(features=ROWS * 30, scores=SCORES * 30), "too many"),
        (golden(scores=SCORES[1:]), "without their scores"),
        (golden(features=[row[1:] for row in ROWS]), "without 8 numbers"),
        (golden(features=[[*row[1:], "1"] for row in ROWS]), "no number"),
        (golden(features=[[*row[1:], float("nan")] for row in ROWS]), "no number"),
        (golden(features=[[*row[1:], 10**400] for row in ROWS]), "no number"),
        (golden(features=[[*row[1:], 7.0] for row in ROWS]), "out of their range"),
        (golden(scores=[[s + 0.01 for s in row] for row in SCORES]), "C computes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sheet_that_does_not_fit_is_refused(sheet: Any, said: str) -> None:
    assert said in refusal(MODEL, sheet)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [[v + 0.01 for v in row] for row in rows],
        lambda rows: [[float("nan")] * 4 for _ in rows],
        lambda rows: rows[1:],
        lambda rows: [row[:3] for row in rows],
        lambda rows: [],
    ],
)
def test_reference_that_disagrees_refuses(change: Any) -> None:
    assert "onnxruntime computes" in refusal(reference=lambda model, rows: change(agreeing(model, rows)))


# ---- where it comes from ----


def put(folder: Path, model: bytes = MODEL, sheet: dict[str, Any] = SHEET) -> dict[str, str]:
    (folder / "compression_oracle.onnx").write_bytes(model)
    (folder / "compression_oracle.json").write_bytes(as_bytes(sheet))
    return {oracle.DIRECTORY_VARIABLE: str(folder)}


def test_choice_from_the_directory_of_the_operator(tmp_path: Path) -> None:
    found = oracle.choose(put(tmp_path), agreeing)
    assert (found.weights, found.trouble) == (WEIGHTS, "")
    assert found.digest == hashlib.sha256(MODEL).hexdigest()


def test_missing_files_mean_the_heuristic(tmp_path: Path) -> None:
    environ = put(tmp_path)
    (tmp_path / "compression_oracle.json").unlink()
    assert "compression_oracle.json" in oracle.choose(environ, agreeing).trouble
    (tmp_path / "compression_oracle.onnx").unlink()
    found = oracle.choose(environ, agreeing)
    assert found.weights is None and "No such file" in found.trouble


def test_refused_model_means_the_heuristic(tmp_path: Path) -> None:
    found = oracle.choose(put(tmp_path, sheet=SHEET | {"digest": "0" * 64}), agreeing)
    assert found.weights is None and found.trouble.startswith("digest ") and found.digest


def test_onnxruntime_itself_agrees_in_a_process_of_its_own() -> None:
    rows = random_rows(5, 40)
    ours, theirs = oracle_scores(WEIGHTS, rows), oracle.run_reference(MODEL, rows)
    assert len(theirs) == 40
    assert all(
        abs(a - b) < 1e-4 for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_what_onnxruntime_refuses_is_refused() -> None:
    with pytest.raises(oracle.ModelRefused, match="onnxruntime refuses it"):
        oracle.run_reference(MODEL[:100], random_rows(5, 1))


def test_without_onnxruntime_there_is_no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package that fails to import stands for one that is not there."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('No module named onnxruntime')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(oracle.ModelRefused, match="not installed"):
        oracle.run_reference(MODEL, random_rows(5, 1))


def test_a_hanging_reference_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("import threading\nthreading.Event().wait()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(oracle, "REFERENCE_S_MAX", 0.5)
    with pytest.raises(oracle.ModelRefused, match="TimeoutExpired"):
        oracle.run_reference(MODEL, random_rows(5, 1))


# ---- what ships ----


def test_shipped_model_is_found_and_good() -> None:
    found = oracle.choose({})
    assert found.trouble == "" and found.weights is not None
    assert Path(found.path) == MODELS / "compression_oracle.onnx"


def test_card_tells_the_figures_of_the_shipped_model() -> None:
    digest = hashlib.sha256((MODELS / "compression_oracle.onnx").read_bytes()).hexdigest()
    sheet = json.loads((MODELS / "compression_oracle.json").read_text("utf-8"))
    page = (MODELS / "compression_oracle.md").read_text("utf-8")
    assert sheet["digest"] == digest
    assert page == card(sheet)
    assert digest in page and f"{sheet['gain']['value_ns']:+.1f} ns per packet" in page


def test_it_ships_because_it_wins() -> None:
    """The verdict of the sheet follows from its figures."""
    sheet = json.loads((MODELS / "compression_oracle.json").read_text("utf-8"))
    figures = sheet["figures"]
    gain = figures["model"]["value_ns"] - figures["heuristic"]["value_ns"]
    assert sheet["wins"] is (gain > 0)
    assert sheet["gain"]["value_ns"] == pytest.approx(gain, abs=1e-3)
    assert figures["best"]["value_ns"] >= figures["model"]["value_ns"]
