"""The daemon's loss predictor: what it refuses, and that something answers every time, whatever fails."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxidized.core.loss import EWMA_SCALE, EwmaLoss
from oxidized.ml import loss_predictor as shipped
from oxidized.ml.loss_features import CONTEXT, STEPS, LossFeatures
from oxidized.ml.loss_predictor import LossPredictor, ModelRefused
from oxidized.ml.training import loss_onnx
from tests.unit.ml.loss_models import random_inputs, random_weights, sheet_for, write
from tests.unit.ml.test_loss_features import START, walk

MODELS = Path(__file__).resolve().parents[3] / "models"
MODEL = loss_onnx.model_of(random_weights(1))
ROWS = np.array([walk(seed, 150) for seed in range(3)]).transpose(1, 0, 2)


def loaded(tmp_path: Path, mode: str = "lstm", **changes: Any) -> LossPredictor:
    write(tmp_path, MODEL, sheet_for(MODEL, **changes))
    return LossPredictor.load(tmp_path, mode)


def reference(weights: dict[str, Any], window: Any, context: Any) -> Any:
    """The net written down once more, from the head of loss_onnx.py and ONNX's definition of LSTM."""

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    w = {name: value.astype(np.float64) for name, value in weights.items()}
    k, b = np.array(loss_onnx.WINDOW_RESCALE).T
    x = np.log(window.astype(np.float64) * k + b)
    k, b = np.array(loss_onnx.CONTEXT_RESCALE).T
    c = np.log(context.astype(np.float64) * k + b)
    h, d = np.split(np.tanh(c @ w["start"] + w["start_bias"]), 2, axis=1)
    bias = np.split(w["lstm_bias"][0], 2)
    for step in x:
        gates = step @ w["lstm_in"][0].T + h @ w["lstm_again"][0].T + bias[0] + bias[1]
        i, o, f, g = np.split(gates, 4, axis=1)
        d = sigmoid(f) * d + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(d)
    dense = np.maximum(np.concatenate([h, c], axis=1) @ w["dense"] + w["dense_bias"], 0)
    return sigmoid(dense @ w["out"] + w["out_bias"])


def test_the_graph_computes_the_net() -> None:
    window, context = random_inputs(3, 5)
    (found,) = shipped.session_of(MODEL).run(None, {"window": window, "context": context})
    assert found == pytest.approx(reference(random_weights(1), window, context), abs=1e-5)
    assert loss_onnx.model_of(random_weights(1)) == MODEL != loss_onnx.model_of(random_weights(2))


def test_all_paths_in_one_batch_as_each_alone(tmp_path: Path) -> None:
    predictor = loaded(tmp_path)
    state = LossFeatures(3)
    for step, rows in enumerate(ROWS[:60]):
        now = START + step * 0.01
        p_loss, p_congestive = predictor.step(now, rows)
        state.step(now, rows)
        expected = reference(random_weights(1), state.window, state.context)
        assert p_loss == pytest.approx(expected[:, 0], abs=1e-4)
        assert p_congestive == pytest.approx(expected[:, 1], abs=1e-4)
    found = predictor.describe()
    assert (found.active, found.trouble, found.paths, found.steps) == ("lstm", "", 3, 60)
    assert found.fallbacks == {} and len(found.digest) == 64


def test_the_same_each_time(tmp_path: Path) -> None:
    one, other = loaded(tmp_path), loaded(tmp_path)
    for step, rows in enumerate(ROWS):
        assert one.step(START + step * 0.01, rows) == other.step(START + step * 0.01, rows)


def test_simple_modes_are_what_the_features_say(tmp_path: Path) -> None:
    state = LossFeatures(3)
    ge, ewma, off = (LossPredictor.load(tmp_path, mode) for mode in ("ge", "ewma", "off"))
    for step, rows in enumerate(ROWS):
        now = START + step * 0.01
        state.step(now, rows)
        assert ge.step(now, rows) == (state.ge_any.tolist(), state.congestive.tolist())
        simple = state.ewma_any(EWMA_SCALE).tolist(), state.congestive.tolist()
        assert ewma.step(now, rows) == simple
        assert off.step(now, rows) == ([0.0] * 3, [0.0] * 3)
    assert ge.describe().fallbacks == {} and ge.describe().active == "ge" and off.active == "off"
    with pytest.raises(ValueError):
        LossPredictor.load(tmp_path, "oracle")


def test_paths_come_and_go(tmp_path: Path) -> None:
    predictor = loaded(tmp_path)
    assert predictor.step(START, []) == ([], [])
    for step, count in enumerate((3, 1, 2, 3, 0, 3)):
        p_loss, p_congestive = predictor.step(START + step * 0.01, ROWS[step][:count])
        assert len(p_loss) == len(p_congestive) == count
        assert all(0 <= p <= 1 for p in (*p_loss, *p_congestive))
    predictor.forget(1)
    predictor.forget(99)
    assert len(predictor.step(START + 1, ROWS[10])[0]) == 3


def test_without_a_model_the_fallback_answers(tmp_path: Path) -> None:
    predictor = LossPredictor.load(tmp_path, "lstm")
    ge = LossPredictor.load(tmp_path, "ge")
    for step, rows in enumerate(ROWS):
        assert predictor.step(START + step * 0.01, rows) == ge.step(START + step * 0.01, rows)
    found = predictor.describe()
    assert found.active == "ge" and found.fallbacks == {"missing": 150}
    assert found.trouble == "loss_predictor.onnx: No such file or directory"


def test_the_sheet_names_the_fallback(tmp_path: Path) -> None:
    predictor = loaded(tmp_path, fallback="ewma")
    predictor.step(START, ROWS[0])
    predictor._rest("late")
    assert predictor.active == "ewma"


def test_a_late_model_rests_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "RETRY_STEPS", 10)
    predictor = loaded(tmp_path)
    active = []
    for step in range(20):
        slow = 0.02 if step in (2, 4, 5, 6) else 0.0  # the one alone is forgiven
        predictor.step(START + step * 0.01, ROWS[step], slow)
        active.append(predictor.active)
    assert active == ["lstm"] * 6 + ["ge"] * 10 + ["lstm"] * 4
    assert predictor.describe().fallbacks == {"late": 10} and predictor.describe().trouble == ""


def test_a_failing_model_is_replaced_within_the_same_step(tmp_path: Path) -> None:
    class Failing:
        def io_binding(self) -> Any:
            raise RuntimeError("no\nmemory")

    predictor = loaded(tmp_path)
    predictor._session = Failing()
    ge = LossPredictor.load(tmp_path, "ge")
    assert predictor.step(START, ROWS[0]) == ge.step(START, ROWS[0])
    found = predictor.describe()
    assert (found.active, found.trouble, found.fallbacks) == ("ge", "failing: no memory", {"failing": 1})


def test_what_is_no_number_is_no_answer(tmp_path: Path) -> None:
    weights = random_weights(1)
    weights["out_bias"][0] = math.nan
    predictor = loaded(tmp_path)
    predictor._session = shipped.session_of(loss_onnx.model_of(weights))
    p_loss, _ = predictor.step(START, ROWS[0])
    assert all(0 <= p <= 1 for p in p_loss)
    assert predictor.describe().fallbacks == {"failing": 1}


def test_without_numpy_averages_are_kept_in_plain_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "HAS_NUMPY", False)
    predictor, plain = LossPredictor.load(tmp_path, "lstm"), [EwmaLoss() for _ in range(3)]
    for step, rows in enumerate(ROWS.tolist()):
        if step == 50:
            predictor.forget(2)
            plain[2] = EwmaLoss()
        expected = [state.step(0.0, row)[0] for state, row in zip(plain, rows, strict=True)]
        assert predictor.step(START + step * 0.01, rows) == (expected, [0.0] * 3)
    found = predictor.describe()
    assert (found.active, found.fallbacks) == ("ewma", {"no numpy": 150})
    assert found.trouble == "numpy is not installed (extra `ml`)"


def golden_with(name: str, value: Any) -> dict[str, Any]:
    golden = json.loads(sheet_for(MODEL))["golden"]
    return {**golden, name: value}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"digest": "0" * 64}, "digest"),
    ({"schema": "oxidized.loss_predictor/0"}, "schema"),
    ({"features": ["rtt_us"]}, "features: not those"),
    ({"feature_units": [1.0] * 8}, "feature_units: not those"),
    ({"steps": 21}, "steps: not those"),
    ({"context": list(CONTEXT)[::-1]}, "context: not those"),
    ({"fallback": "lstm"}, "no fallback"),
    ({"golden": None}, "no golden vectors"),
    ({"golden": {}}, "no golden vectors"),
    ({"golden": golden_with("context", [[0.0]] * 10)}, "golden context: shape"),
    ({"golden": golden_with("window", [["x"]])}, "golden window: no numbers"),
    ({"golden": golden_with("probabilities", [[0.5, 0.5]] * 10)}, "computes other probabilities"),
    ({"golden": golden_with("probabilities", [[0.5, 1.5]] * 10)}, "out of their range"),
    ({"golden": golden_with("probabilities", [[math.nan, 0.5]] * 10)}, "no number"),
]


@pytest.mark.parametrize(("changes", "why"), REFUSED)
def test_sheets_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    predictor = loaded(tmp_path, **changes)
    assert why in predictor.describe().trouble and "\n" not in predictor.describe().trouble
    predictor.step(START, ROWS[0])
    assert predictor.describe().fallbacks == {"refused": 1}


@pytest.mark.parametrize("sheet", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b"x" * (2 << 20)])
def test_what_is_no_sheet_is_refused(tmp_path: Path, sheet: bytes) -> None:
    write(tmp_path, MODEL, sheet)
    assert LossPredictor.load(tmp_path, "lstm").describe().active == "ge"


def test_other_models_are_refused() -> None:
    oracle = (MODELS / "compression_oracle.onnx").read_bytes()
    for model in (b"", b"nonsense", MODEL[: len(MODEL) // 2], oracle):
        with pytest.raises(ModelRefused):
            shipped.session_of(model)


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    write(tmp_path, bytes(shipped.MODEL_BYTES_MAX + 1), b"{}")
    assert "more than" in LossPredictor.load(tmp_path, "lstm").describe().trouble


def test_what_ships_is_accepted_small_and_told_true() -> None:
    model = (MODELS / "loss_predictor.onnx").read_bytes()
    text = (MODELS / "loss_predictor.json").read_bytes()
    session, sheet = shipped.check(model, text)
    assert len(model) < 128 << 10
    window, context, expected = shipped.golden_of(sheet)
    (found,) = session.run(None, {"window": window, "context": context})
    assert np.abs(found - expected).max() <= shipped.TOLERANCE and window.shape[0] == STEPS
    assert expected[:, 0].max() - expected[:, 0].min() > 0.5
    families = json.loads(text)["families"]
    assert {"ge", "iid", "queue", "mixed", "clock"} <= set(families)
    for name, row in families.items():
        predictors = row["predictors"]
        if row["base"]:
            assert predictors["lstm"]["auc_pr"] >= predictors["ewma"]["auc_pr"], name
    card = (MODELS / "loss_predictor.md").read_text("utf-8")
    assert sheet.digest in card
