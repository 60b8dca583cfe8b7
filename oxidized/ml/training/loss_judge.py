"""How good a prediction of loss is: area under precision and recall, log loss, what it is worth to repair.

Log loss and worth are taken through the same calibration for all (bins of the score, learned on the other
half of the time), so that predictors are compared and not their scales.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oxidized.ml.training.loss_samples import Samples

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

BINS: Final = 30
BLOCKS: Final = 20  # of time, alternating between the two halves
OVERHEAD_MAX: Final = 0.6
REDUNDANCY: Final = np.array((0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2))
PRICES: Final = np.geomspace(1e-4, 10, 60)


def auc_pr(truth: Bools, score: Scores) -> float:
    """Average precision; equal scores count together. NaN where nothing is true."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits, ranked = truth[order], score[order]
    is_last = np.append(np.diff(ranked) != 0, True)
    found = np.cumsum(hits)[is_last]
    precision = found / (np.flatnonzero(is_last) + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / truth.sum())


def _bins(score: Scores, learn: Bools) -> npt.NDArray[np.int64]:
    """Of each sample, the bin of its score; edges by the half `learn`."""
    edges = np.unique(np.quantile(score[learn], np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, score, side="right")


def _halves(count: int) -> Bools:
    found: Bools = (np.arange(count) * BLOCKS // max(count, 1)) % 2 == 0
    return found


def log_loss(truth: Bools, score: Scores) -> float:
    total = 0.0
    for learn in (_halves(len(truth)), ~_halves(len(truth))):
        at = _bins(score, learn)
        count = np.bincount(at[learn], minlength=BINS) + 2.0
        hits = np.bincount(at[learn], truth[learn], minlength=BINS) + 2 * truth[learn].mean()
        chance = np.clip(hits / count, 1e-6, 1 - 1e-6)[at[~learn]]
        total -= float(np.where(truth[~learn], np.log(chance), np.log(1 - chance)).sum())
    return total / len(truth)


def repair_area(data: Samples, score: Scores) -> float:
    """Area under residual over raw loss against overhead 0..0.6, as a share: 1 repairs nothing. Repair is
    ideal: redundancy r restores a window of n datagrams with at most r n lost."""
    sent, lost = data.sent.astype(np.float64), data.lost.astype(np.float64)
    if not lost.any():
        return float("nan")
    left = np.where(lost[:, None] > REDUNDANCY * sent[:, None] + 1e-9, lost[:, None], 0)
    residual, spent = np.zeros(len(PRICES)), np.zeros(len(PRICES))
    for learn in (_halves(len(sent)), ~_halves(len(sent))):
        at = _bins(score, learn)
        one_hot = np.arange(BINS)[:, None] == at[None, learn]
        left_by_bin = one_hot.astype(np.float32) @ left[learn].astype(np.float32)
        cost_by_bin = (one_hot @ sent[learn])[:, None] * REDUNDANCY
        for i, price in enumerate(PRICES):
            chosen = (left_by_bin + price * cost_by_bin).argmin(axis=1)[at[~learn]]
            residual[i] += left[~learn][np.arange(len(chosen)), chosen].sum()
            spent[i] += (REDUNDANCY[chosen] * sent[~learn]).sum()
    overhead = np.append(0, spent / sent.sum())
    share = np.append(1, residual / lost.sum())
    order = np.argsort(overhead, kind="stable")
    x = np.linspace(0, OVERHEAD_MAX, 121)
    y = np.interp(x, overhead[order], np.minimum.accumulate(share[order]))
    return float(((y[1:] + y[:-1]) / 2).mean())


def figures(data: Samples, scores: dict[str, Scores], congestive: Scores) -> dict[str, object]:
    """What stands in the JSON of an evaluation for a family or a file; NaN becomes None."""
    truth = data.lost > 0
    is_queue = data.queue_lost[truth] * 2 > data.lost[truth]

    def kept(value: float) -> float | None:
        return None if np.isnan(value) else round(value, 4)

    def of(score: Scores) -> dict[str, float | None]:
        return {
            "auc_pr": kept(auc_pr(truth, score)),
            "auc_pr_100ms": kept(auc_pr(data.any_soon, score)),
            "log_loss": kept(log_loss(truth, score)),
            "area": kept(repair_area(data, score)),
            "mean": kept(float(score.mean())),
        }

    return {
        "samples": len(data),
        "base": kept(float(truth.mean())),
        "base_100ms": kept(float(data.any_soon.mean())),
        "predictors": {name: of(score) for name, score in scores.items()},
        "congestive_share": kept(float(is_queue.mean()) if truth.any() else float("nan")),
        "congestive_right": kept(
            float(((congestive[truth] > 0.5) == is_queue).mean()) if truth.any() else float("nan")
        ),
    }
