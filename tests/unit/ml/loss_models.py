"""Models of the loss predictor for tests, of random weights, and sheets that fit or must be refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from oxidized.ml import loss_predictor as shipped
from oxidized.ml.loss_features import CONTEXT, FEATURE_UNITS, FEATURES, STEPS
from oxidized.ml.training import loss_onnx


def random_weights(seed: int, hidden: int = 8, dense: int = 4) -> dict[str, Any]:
    dice = np.random.default_rng(seed)
    shapes = loss_onnx.shapes(hidden, dense)
    return {name: (dice.standard_normal(shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}


def random_inputs(seed: int, count: int) -> tuple[Any, Any]:
    """window [20, count, 8] and context [count, contexts]."""
    dice = np.random.default_rng(seed)
    window = dice.random((STEPS, count, len(FEATURES))) * 0.1
    return window.astype(np.float32), dice.random((count, len(CONTEXT))).astype(np.float32)


def sheet_for(model: bytes, **changes: Any) -> bytes:
    window, context = random_inputs(1, 10)
    (found,) = shipped.session_of(model).run(None, {"window": window, "context": context})
    sheet = {
        "schema": shipped.SCHEMA,
        "digest": hashlib.sha256(model).hexdigest(),
        "features": list(FEATURES),
        "feature_units": list(FEATURE_UNITS),
        "steps": STEPS,
        "context": list(CONTEXT),
        "fallback": "ge",
        "golden": {"window": window.tolist(), "context": context.tolist(), "probabilities": found.tolist()},
        **changes,
    }
    return json.dumps(sheet).encode()


def write(folder: Path, model: bytes, sheet: bytes) -> None:
    (folder / f"{shipped.NAME}.onnx").write_bytes(model)
    (folder / f"{shipped.NAME}.json").write_bytes(sheet)
