"""Trains the loss predictor (`./dev train loss`): samples, three nets, the best one as ONNX, sheet and card.

PyTorch on one thread of a CPU, fixed seeds: the same command gives the same bytes on the same machine. Needs
the extra `train`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oxidized.core.loss import STEP_S, WINDOW_STEPS
from oxidized.ml import loss_predictor as shipped
from oxidized.ml.loss_features import CONTEXT, FEATURE_UNITS, FEATURES, STEPS
from oxidized.ml.training import loss_evaluate as evaluate
from oxidized.ml.training import loss_onnx as net
from oxidized.ml.training.loss_card import card
from oxidized.ml.training.loss_judge import auc_pr
from oxidized.ml.training.loss_samples import Samples, Say, join, learned

Floats = npt.NDArray[np.float32]

HIDDEN: Final = 64
DENSE: Final = 32
BATCH: Final = 512
RATE: Final = 3e-3
TRAIN_STEPS: Final = 8000
VALIDATION: Final = 8  # every so manieth link
TIMES: Final = 3
FAMILY_SAMPLES_MAX: Final = 300_000
GOLDEN: Final = 40
ABOUT: Final = "Trains the loss predictor and writes model, sheet and card."


@dataclass(frozen=True, slots=True)
class Plan:
    """times: runs of the generators; seeds: of the nets; has_trees: compare with boosted trees."""

    times: int
    seeds: tuple[int, ...]
    steps: int
    has_trees: bool


@dataclass(frozen=True, slots=True)
class Task:
    """Normalised inputs [n, 20, 8] and [n, contexts], targets and weights [n]; mean and spread of inputs."""

    x: Floats
    c: Floats
    is_loss: Floats
    is_queue: Floats
    weight: Floats
    family: npt.NDArray[np.int64]
    is_validation: npt.NDArray[np.bool_]
    moments: tuple[Floats, Floats, Floats, Floats]


def task_of(families: dict[str, Samples]) -> Task:
    """Families count by the root of their size, so that none is drowned, and no more than so many samples."""
    dice = np.random.default_rng(0)
    parts = [
        data.pick(np.sort(dice.permutation(len(data))[:FAMILY_SAMPLES_MAX])) for data in families.values()
    ]
    data = join(parts)
    sizes = [len(part) for part in parts]
    family = np.repeat(np.arange(len(sizes)), sizes)
    share = np.sqrt(np.array(sizes, dtype=np.float64))
    weight = (share / share.sum() / sizes)[family] * len(data)
    x, c = net.rescaled(data.window, net.WINDOW_RESCALE), net.rescaled(data.context, net.CONTEXT_RESCALE)
    moments = (x.mean(axis=(0, 1)), x.std(axis=(0, 1)) + 1e-3, c.mean(axis=0), c.std(axis=0) + 1e-3)
    return Task(
        (x - moments[0]) / moments[1],
        (c - moments[2]) / moments[3],
        (data.lost > 0).astype(np.float32),
        (data.queue_lost * 2 > data.lost).astype(np.float32),
        weight.astype(np.float32),
        family,
        data.link % VALIDATION == VALIDATION - 1,
        moments,
    )


def _modules(torch: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    nn, contexts = torch.nn, len(CONTEXT)
    return nn.ModuleDict(
        {
            "start": nn.Linear(contexts, 2 * HIDDEN),
            "lstm": nn.LSTM(len(FEATURES), HIDDEN, batch_first=True),
            "dense": nn.Linear(HIDDEN + contexts, DENSE),
            "out": nn.Linear(DENSE, 2),
        }
    )


def _logits(torch: Any, modules: Any, x: Any, c: Any) -> Any:
    h0, d0 = torch.tanh(modules["start"](c)).chunk(2, dim=1)
    _, (h, _) = modules["lstm"](x, (h0[None].contiguous(), d0[None].contiguous()))
    hidden = torch.relu(modules["dense"](torch.cat([h[0], c], dim=1)))
    return modules["out"](hidden)


def train_once(task: Task, seed: int, steps: int, say: Say) -> tuple[float, dict[str, Floats]]:
    """Mean over families of AUC-PR on links that it does not learn from, and the weights as ONNX has them."""
    import torch

    modules = _modules(torch, seed)
    kept = np.flatnonzero(~task.is_validation)
    optimizer = torch.optim.AdamW(modules.parameters(), lr=RATE, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1)
    dice = np.random.default_rng(seed)
    order = np.array([], dtype=np.int64)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    running = 0.0
    for step in range(steps):
        if len(order) < BATCH:
            order = dice.permutation(kept)
        at, order = order[:BATCH], order[BATCH:]
        x, c, is_loss, is_queue, weight = (
            torch.from_numpy(array[at])
            for array in (task.x, task.c, task.is_loss, task.is_queue, task.weight)
        )
        logits = _logits(torch, modules, x, c)
        value = loss_of(logits[:, 0], is_loss, weight=weight)
        value = value + 0.3 * loss_of(logits[:, 1], is_queue, weight=weight * is_loss)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
        rate.step()
        running += 0.01 * (float(value.detach()) - running)
        if step % 500 == 499:
            say(f"seed {seed}: step {step + 1} of {steps}, loss {running:.4f}")
    at = np.flatnonzero(task.is_validation)
    with torch.no_grad():
        found = [
            _logits(torch, modules, torch.from_numpy(task.x[part]), torch.from_numpy(task.c[part]))[
                :, 0
            ].numpy()
            for part in np.array_split(at, max(1, len(at) // 4096))
        ]
    score = np.concatenate(found)
    means = []
    for family in np.unique(task.family):
        which = task.family[at] == family
        value = auc_pr(task.is_loss[at][which] > 0, score[which])
        if not np.isnan(value):
            means.append(value)
    return float(np.mean(means)), weights_of(modules, task)


def weights_of(modules: Any, task: Task) -> dict[str, Floats]:
    """With mean and spread folded in, and the gates in ONNX's order."""
    w = {name: value.detach().double().numpy() for name, value in modules.named_parameters()}
    x_mean, x_spread, c_mean, c_spread = (moment.astype(np.float64) for moment in task.moments)

    def gates(rows: Any) -> Any:  # input, forget, cell, output -> input, output, forget, cell
        i, f, g, o = np.split(rows, 4)
        return np.concatenate([i, o, f, g])

    start = w["start.weight"].T / c_spread[:, None]
    into = w["lstm.weight_ih_l0"] / x_spread
    dense = w["dense.weight"].T.copy()
    dense[HIDDEN:] /= c_spread[:, None]
    found = {
        "start": start,
        "start_bias": w["start.bias"] - c_mean @ start,
        "lstm_in": gates(into)[None],
        "lstm_again": gates(w["lstm.weight_hh_l0"])[None],
        "lstm_bias": np.concatenate(
            [gates(w["lstm.bias_ih_l0"] - into @ x_mean), gates(w["lstm.bias_hh_l0"])]
        )[None],
        "dense": dense,
        "dense_bias": w["dense.bias"] - c_mean @ dense[HIDDEN:],
        "out": w["out.weight"].T,
        "out_bias": w["out.bias"],
    }
    return {name: value.astype(np.float32) for name, value in found.items()}


def train(families: dict[str, Samples], seeds: Sequence[int], steps: int, say: Say) -> bytes:
    """The model of the seed that does best."""
    task = task_of(families)
    best: tuple[float, dict[str, Floats]] | None = None
    for seed in seeds:
        found = train_once(task, seed, steps, say)
        say(f"seed {seed}: mean AUC-PR of families {found[0]:.4f}")
        if best is None or found[0] > best[0]:
            best = found
    assert best is not None
    return net.model_of(best[1])


def golden_of(session: Any, families: dict[str, Samples]) -> dict[str, Any]:
    """Samples of each family, and what onnxruntime makes of them; numbers as float32 has them."""
    each = -(-GOLDEN // len(families))
    some = join(
        [data.pick(np.linspace(0, len(data) - 1, each).astype(np.int64)) for data in families.values()]
    )
    window, context = some.window.transpose(1, 0, 2), some.context
    (found,) = session.run(None, {"window": np.ascontiguousarray(window), "context": context})
    named = {"window": window, "context": context, "probabilities": found}

    def plain(values: Any) -> Any:  # the shortest text that is the same float32
        return [plain(v) for v in values] if values.ndim else float(str(np.float32(values)))

    return {name: plain(values) for name, values in named.items()}


def fallback_of(families: dict[str, Any]) -> str:
    """The simple predictor that answers when the model does not: the better one over the families."""
    means = {
        name: np.mean([f["predictors"][name]["auc_pr"] or 0 for f in families.values()])
        for name in ("ewma", "ge")
    }
    return max(means, key=lambda name: means[name])


def write(out: Path, folder: Path | None, wanted: Plan, say: Say) -> dict[str, Any]:
    """Trains and writes model, sheet and card; returns the sheet."""
    data = learned(folder, evaluate.LEARN_SEED, wanted.times, say)
    say(", ".join(f"{name}: {len(samples)} samples" for name, samples in data.families.items()))
    model = train(data.families, wanted.seeds, wanted.steps, say)
    session = shipped.session_of(model)
    trees = evaluate.learned_trees(data.families) if wanted.has_trees else None
    say("judging")
    found = evaluate.evaluation(folder, session, trees, data.of, lambda _: None)
    sheet = {
        "schema": shipped.SCHEMA,
        "digest": hashlib.sha256(model).hexdigest(),
        "features": list(FEATURES),
        "feature_units": list(FEATURE_UNITS),
        "steps": STEPS,
        "context": list(CONTEXT),
        "hidden": HIDDEN,
        "predicts_ms": [round(step * STEP_S * 1000) for step in WINDOW_STEPS],
        "fallback": fallback_of(found["families"]),
        "plan": {"times": wanted.times, "seeds": list(wanted.seeds), "steps": wanted.steps},
        "learned_from": data.of,
        "families": found["families"],
        "held_out_files": {name: row for name, row in found["files"].items() if row["learned"] < 1},
        "golden": golden_of(session, data.families),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{shipped.NAME}.onnx"
    path.write_bytes(model)
    path.with_suffix(".json").write_text(text_of(sheet), encoding="utf-8")
    path.with_suffix(".md").write_text(card(sheet, len(model)), encoding="utf-8")
    print(evaluate.table({"families": sheet["families"], "files": sheet["held_out_files"]}))
    return sheet


def text_of(sheet: dict[str, Any]) -> str:
    """JSON with a line per entry; the golden vectors, which nobody reads, on one."""
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in sheet.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: Sequence[str], root: Path) -> int:
    parser = argparse.ArgumentParser(prog="./dev train loss", description=ABOUT)
    parser.add_argument("--traces", type=Path, default=root / "../shared/traces/train", metavar="DIR")
    parser.add_argument("--out", type=Path, default=root / "models", metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=3, help="nets trained, of which the best ships")
    parser.add_argument("--steps", type=int, default=TRAIN_STEPS, help="of each net")
    parser.add_argument("--times", type=int, default=TIMES, help="so often the generators run")
    parser.add_argument("--no-tree", action="store_true", help="without the boosted tree in the comparison")
    wanted = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(f"train: {line}", file=sys.stderr, flush=True)

    folder = wanted.traces if wanted.traces.is_dir() else None
    if folder is None:
        say(f"{wanted.traces}: no such folder; generated links alone")
    plan = Plan(wanted.times, tuple(range(wanted.seeds)), wanted.steps, not wanted.no_tree)
    write(wanted.out, folder, plan, say)
    return 0
