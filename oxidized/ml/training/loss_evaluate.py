"""Judges the loss predictor that ships, and every baseline, on generated links and on a folder of traces.

`./dev evaluate loss --traces DIR --json FILE`; the JSON, schema `oxidized.loss_evaluation/1`:

    model        {digest}
    gbdt         why there is no boosted tree, or ""
    families     name -> judgement              of generators JUDGE, and of files that were not learned from
    files        name -> {family, learned} + judgement; learned: the share that the model has seen
    skipped      [one line each]                files that are no trace, or that hold no loss
    judgement    {samples, base, base_100ms, congestive_share, congestive_right, predictors}
    predictors   name -> {auc_pr, auc_pr_100ms, log_loss, area, mean}

base: share of samples with any loss in 50..100 ms; *_100ms: the same predictions against any loss in the next
100 ms; area: residual over raw loss against overhead 0..0.6 (loss_judge.repair_area); congestive_right: share
of lossy samples of which `p_congestive` says rightly whether most was lost to a queue. null: not defined.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oxidized.core.loss import EWMA_SCALE
from oxidized.errors import OxidizedError
from oxidized.ml import loss_predictor as shipped
from oxidized.ml.training import loss_samples as samples
from oxidized.ml.training import loss_traces as traces
from oxidized.ml.training.loss_judge import figures
from oxidized.ml.training.loss_samples import Samples, Say

SCHEMA: Final = "oxidized.loss_evaluation/1"
JUDGE_SEED: Final = 7
LEARN_SEED: Final = 1
PIECES: Final = 3
GBDT_SAMPLES: Final = 120_000
GBDT_TREES: Final = 100
CHUNK: Final = 4096

Floats = npt.NDArray[np.float32]
Judgement = dict[str, Any]
ABOUT: Final = "Judges the loss predictor that ships and every baseline."


def probabilities(session: Any, data: Samples) -> Floats:
    """[n, 2] by the model."""
    parts = [np.zeros((0, 2), np.float32)]
    for at in range(0, len(data), CHUNK):
        window = np.ascontiguousarray(data.window[at : at + CHUNK].transpose(1, 0, 2))
        parts += session.run(None, {"window": window, "context": data.context[at : at + CHUNK]})
    return np.concatenate(parts)


# ---- the boosted tree ----------------------------------------------------------------------


def _tree_inputs(data: Samples) -> Floats:
    found: Floats = np.concatenate([data.window.reshape(len(data), -1), data.context], axis=1)
    return found


def learned_trees(families: dict[str, Samples]) -> Any:
    """Gradient-boosted trees on the same inputs as the net. Needs scikit-learn."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    dice = np.random.default_rng(LEARN_SEED)
    share = np.sqrt([len(data) for data in families.values()])
    counts = (share / share.sum() * GBDT_SAMPLES).astype(int)
    picked = samples.join(
        [
            d.pick(np.sort(dice.permutation(len(d))[:n]))
            for d, n in zip(families.values(), counts, strict=True)
        ]
    )
    trees = HistGradientBoostingClassifier(
        max_iter=GBDT_TREES, max_leaf_nodes=31, learning_rate=0.1, early_stopping=False, random_state=0
    )
    return trees.fit(_tree_inputs(picked), picked.lost > 0)


def _key(folder: Path | None) -> str:
    code = Path(__file__).parent
    parts = [path.read_bytes() for path in sorted(code.glob("loss*.py"))]
    parts.append((code.parent / "loss_features.py").read_bytes())
    names = [f"{path.name} {path.stat().st_size}" for path in traces.files(folder)] if folder else []
    return hashlib.sha256(b"".join(parts) + "\n".join(names).encode()).hexdigest()[:16]


def kept_trees(folder: Path | None, cache: Path, say: Say) -> tuple[Any, str]:
    """The boosted tree of what the model learns from in `folder`, made once and kept in `cache`, a folder of
    our own; or None and why there is none."""
    try:
        import sklearn.ensemble  # noqa: F401
    except ImportError:
        return None, "scikit-learn is not installed (extra `train`)"
    path = cache / f"gbdt-{_key(folder)}.pickle"
    if path.exists():
        return pickle.loads(path.read_bytes()), ""
    say("the boosted tree learns (minutes; kept for the next time)")
    trees = learned_trees(samples.learned(folder, LEARN_SEED, 1, lambda _: None).families)
    cache.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(trees))
    return trees, ""


# ---- judging -------------------------------------------------------------------------------


def judgement(data: Samples, session: Any, trees: Any) -> Judgement:
    """Every predictor on these samples."""
    scores: dict[str, Any] = {"last": data.last, "ewma": data.ewma[:, EWMA_SCALE], "ge": data.ge}
    if trees is not None:
        scores["gbdt"] = trees.predict_proba(_tree_inputs(data))[:, 1]
    congestive = np.zeros(len(data), np.float32)
    if session is not None:
        found = probabilities(session, data)
        scores["lstm"], congestive = found[:, 0], found[:, 1]
    return figures(data, scores, congestive)


def evaluation(
    folder: Path | None, session: Any, trees: Any, learned_of: dict[str, float], say: Say
) -> Judgement:
    """`families`, `files` and `skipped` as in the head of this file."""
    skipped: list[str] = []

    def skip(line: str) -> None:
        skipped.append(line)
        say(line)

    parts: dict[str, list[Samples]] = {}
    for family, data in samples.judged_by_generators(JUDGE_SEED).items():
        parts.setdefault(family, []).append(data)
    files: dict[str, Judgement] = {}
    found = samples.read_folder(folder, skip) if folder else ()
    for name, (family, data) in samples.judged_by_traces(found, learned_of, PIECES, JUDGE_SEED).items():
        if not len(data):
            skip(f"passed over: {name}: nothing to predict in it")
            continue
        share = learned_of.get(name, 0.0)
        files[name] = {
            "family": family, "learned": share, **judgement(data, session, trees),
        }  # fmt: skip
        if share < 1:
            parts.setdefault(family, []).append(data)
    families = {name: judgement(samples.join(data), session, trees) for name, data in parts.items()}
    return {"families": families, "files": files, "skipped": skipped}


def table(found: Judgement) -> str:
    """AUC-PR / log loss / area by family and file."""
    names = ("last", "ewma", "ge", "gbdt", "lstm")
    lines = [
        f"{'AUC-PR / log loss / area':44} {'samples':>8} {'base':>6}" + "".join(f"{n:>18}" for n in names)
    ]

    def show(value: float | None) -> str:
        return "   -" if value is None else f"{value:.3f}".removeprefix("0")

    for title in ("families", "files"):
        for name, row in found[title].items():
            cells = [
                "/".join(show(row["predictors"][n][what]) for what in ("auc_pr", "log_loss", "area"))
                if n in row["predictors"]
                else "-"
                for n in names
            ]
            mark = " (learned from)" if row.get("learned") == 1 else ""
            head = f"{name[: 44 - len(mark)]}{mark}"
            lines.append(
                f"{head:44} {row['samples']:8} {show(row['base']):>6}" + "".join(f"{c:>18}" for c in cells)
            )
    return "\n".join(lines)


def main(arguments: Sequence[str], root: Path) -> int:
    """Exit status 1: the model that ships can not be used, or the folder can not be read."""
    parser = argparse.ArgumentParser(prog="./dev evaluate loss", description=ABOUT)
    default = root / "../shared/traces/train"
    parser.add_argument(
        "--traces", type=Path, metavar="DIR", help="a folder of traces; none: generators alone"
    )
    parser.add_argument(
        "--learned", type=Path, default=default, metavar="DIR", help="what the tree learns from"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes all figures there")
    parser.add_argument("--models", type=Path, default=root / "models", metavar="FOLDER")
    parser.add_argument(
        "--no-tree", action="store_true", help="without the boosted tree, which takes minutes"
    )
    wanted = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(f"evaluate: {line}", file=sys.stderr, flush=True)

    if wanted.traces is not None and not wanted.traces.is_dir():
        say(f"{wanted.traces}: no folder")
        return 1
    try:
        model = (wanted.models / f"{shipped.NAME}.onnx").read_bytes()
        sheet_text = (wanted.models / f"{shipped.NAME}.json").read_bytes()
        session, sheet = shipped.check(model, sheet_text)
        learned_of = json.loads(sheet_text).get("learned_from", {})
    except (OSError, OxidizedError) as error:
        say(f"the model: {error}")
        return 1
    learned = wanted.learned if wanted.learned.is_dir() else None
    trees, trouble = (None, "left out") if wanted.no_tree else kept_trees(learned, root / "build/loss", say)
    if trouble:
        say(f"no boosted tree: {trouble}")
    try:
        judged = evaluation(wanted.traces, session, trees, learned_of, say)
        found = {"schema": SCHEMA, "model": {"digest": sheet.digest}, "gbdt": trouble, **judged}
        print(table(found))
        if wanted.json:
            wanted.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        say(str(error))
        return 1
    return 0
