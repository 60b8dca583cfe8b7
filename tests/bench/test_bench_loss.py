"""Microseconds of the loss predictor, printed (`./dev bench`): the model alone, and a whole step of a daemon.

Nothing asserts a time; asserted is that everything was measured.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from oxidized.ml import loss_predictor as shipped

MODELS = Path(__file__).resolve().parents[2] / "models"
ROUNDS = 1000


@pytest.mark.parametrize("paths", [1, 8, 64])
def test_loss_predictor(paths: int) -> None:
    predictor = shipped.LossPredictor.load(MODELS, "lstm")
    dice = np.random.default_rng(1)
    rows = np.cumsum(dice.integers(0, 20, (ROUNDS, paths, 10)), axis=0).astype(np.float64)
    rows[:, :, 4:] = dice.random((ROUNDS, paths, 6)) * 5e4
    steps, runs = [], []
    for step in range(ROUNDS):
        begin = time.perf_counter()
        found = predictor.step(1.7e9 + step * 0.01, rows[step])
        steps.append(time.perf_counter() - begin)
        assert len(found[0]) == paths
        begin = time.perf_counter()
        predictor._runner.run()
        runs.append(time.perf_counter() - begin)
    assert predictor.describe().fallbacks == {}
    print(
        f"loss predictor, {paths:2} paths: inference {median(runs) * 1e6:7.1f} us, "
        f"with features {median(steps) * 1e6:7.1f} us"
    )
