"""Trains the net of the compression oracle, judges it against the heuristic, writes model, sheet and card.

The label of a packet is not a class but what each of the four verdicts is worth (`costs.Worth`): the net is
trained to lose as little of that as it can. Plain numpy, one thread, fixed seeds: the same weights each
time on
the same numpy and liblz4. Some twenty seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oxidized.core.oracle import FEATURES, HIDDEN, OracleWeights, Verdict
from oxidized.ffi.oracle import (
    ORACLE_FEATURES,
    ORACLE_TRAIN_BYTES_MIN,
    ORACLE_VERDICTS,
    oracle_features,
    oracle_judge,
    oracle_scores,
)
from oxidized.ml import oracle as shipped
from oxidized.ml.training import costs
from oxidized.ml.training.kinds_judged import JUDGED, WATCHED
from oxidized.ml.training.kinds_learned import LEARNED
from oxidized.ml.training.packets import Kind, Packet, make, varied

Array = npt.NDArray[np.float32]

LEARN_SEED: Final = 1
SELECT_SEED: Final = 2
JUDGE_SEED: Final = 3
PACKETS_LEARNED: Final = 400  # of each kind
PACKETS_JUDGED: Final = 300
STARTS: Final = 2  # nets from different first weights; the best on other packets of the learned kinds is kept
STEPS: Final = 3000
RATE: Final = 0.02
DECAY: Final = 1e-3  # of weights, and
NOISE: Final = 0.1  # on features, in their standard deviations: for kinds that are not learned
REGRET_US_MAX: Final = 20.0  # more is no worse: or large packets alone would be learned
GOLDEN: Final = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """Packets with all that is known of them. features [n, 8]; by verdict, [n, 4]: values and spent in ns,
    saved
    in bytes. What a net says of SKIP or ROHC_ONLY means the one of the two that fits the size (oracle_judge).
    """

    packets: list[Packet]
    features: Array
    values: Array
    saved: Array
    spent: Array


def sample(kinds_and_packets: Sequence[tuple[Kind, Packet]], known: costs.Dictionaries) -> Sample:
    kept = [(kind, packet) for kind, packet in kinds_and_packets if costs.is_judged(packet)]
    worth = [costs.worth(packet, kind, known) for kind, packet in kept]
    packets = [packet for _, packet in kept]
    rows = [oracle_features(p.data, p.payload_at, is_urgent=p.is_urgent) for p in packets]
    return Sample(
        packets,
        np.array(rows, dtype=np.float32),
        np.array([w.values for w in worth], dtype=np.float32),
        np.array([w.saved for w in worth], dtype=np.float32),
        np.array([w.spent for w in worth], dtype=np.float32),
    )


def as_said(data: Sample) -> Array:
    """Values [n, 4] of what a net may say."""
    is_large = np.array([len(packet.data) >= ORACLE_TRAIN_BYTES_MIN for packet in data.packets])
    values = data.values.copy()
    bare = np.where(is_large, values[:, Verdict.SKIP], values[:, Verdict.ROHC_ONLY])
    values[:, Verdict.SKIP] = values[:, Verdict.ROHC_ONLY] = bare
    return values


# ---- training ----


def _forward(net: list[Array], x: Array) -> tuple[Array, Array]:
    hidden = np.maximum(x @ net[0] + net[1], 0)
    return hidden, hidden @ net[2] + net[3]


def _regret_us(values: Array) -> Array:
    """What each verdict loses against the best one, in microseconds; [n, 4]."""
    best = values.max(axis=1, keepdims=True)
    regret: Array = np.minimum((best - values) / 1000, REGRET_US_MAX).astype(np.float32)
    return regret


def train_once(data: Sample, seed: int) -> list[Array]:
    """Adam (Kingma, Ba 2015) on the expected regret of a softmax over the scores, all packets in each
    step."""
    dice = np.random.default_rng(seed)
    shapes = ((FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, len(Verdict)), (len(Verdict),))
    net = [
        (dice.standard_normal(shape) * (2 / shape[0]) ** 0.5 if len(shape) == 2 else np.zeros(shape)).astype(
            np.float32
        )
        for shape in shapes
    ]
    first, second = [np.zeros_like(w) for w in net], [np.zeros_like(w) for w in net]
    mean, spread = data.features.mean(axis=0), data.features.std(axis=0) + np.float32(1e-3)
    x = (data.features - mean) / spread
    seen = x
    # Roots first: small losses are many, and would not be heard beside the large ones.
    true_regret = _regret_us(as_said(data))
    regret = np.sqrt(true_regret)
    count = np.float32(len(regret))
    for step in range(1, STEPS + 1):
        if step == 2 * STEPS // 3:
            regret = true_regret
        if step % 10 == 1:
            seen = x + np.float32(NOISE) * dice.standard_normal(x.shape, dtype=np.float32)
        hidden, scores = _forward(net, seen)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        expected = (chances * regret).sum(axis=1, keepdims=True)
        slope = chances * (regret - expected) / count
        back = (slope @ net[2].T) * (hidden > 0)
        slopes = [seen.T @ back + DECAY * net[0], back.sum(axis=0)]
        slopes += [hidden.T @ slope + DECAY * net[2], slope.sum(axis=0)]
        rate = RATE * (1 - step / (STEPS + 1))
        for i, g in enumerate(slopes):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g * g
            shift = first[i] / (1 - 0.9**step)
            net[i] = (net[i] - rate * shift / (np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)).astype(
                np.float32
            )
    # Back to features as C has them.
    net[1] = net[1] - (mean / spread) @ net[0]
    net[0] = net[0] / spread[:, None]
    return net


def train(known: costs.Dictionaries) -> OracleWeights:
    """The best of a few starts, by packets of the learned kinds that it was not trained on."""
    data = sample(varied(LEARNED, PACKETS_LEARNED, LEARN_SEED), known)
    other = sample(varied(LEARNED, PACKETS_LEARNED // 4, SELECT_SEED), known)
    best: tuple[float, list[Array]] | None = None
    for seed in range(STARTS):
        net = train_once(data, seed)
        chosen = _forward(net, other.features)[1].argmax(axis=1)
        gain = float(as_said(other)[np.arange(len(chosen)), chosen].mean())
        if best is None or gain > best[0]:
            best = (gain, net)
    assert best is not None
    return OracleWeights(*(tuple(float(v) for v in w.ravel()) for w in best[1]))


# ---- judging ----


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One way to decide, over a sample; means per packet."""

    accuracy: float  # the best verdict, or one worth less than 1 % or 100 ns less
    value_ns: float
    saved_bytes: float
    spent_ns: float

    def as_dict(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 4) for name in self.__slots__}


def verdicts_of(data: Sample, chosen: npt.NDArray[np.intp]) -> Verdicts:
    at = (np.arange(len(chosen)), chosen)
    best = data.values.max(axis=1)
    is_good = data.values[at] >= best - np.maximum(100, 0.01 * np.abs(best))
    return Verdicts(
        float(is_good.mean()),
        float(data.values[at].mean()),
        float(data.saved[at].mean()),
        float(data.spent[at].mean()),
    )


def decide(data: Sample, weights: OracleWeights | None) -> npt.NDArray[np.intp]:
    """As C decides."""
    pairs = zip(data.features, data.packets, strict=True)
    return np.array([oracle_judge(weights, row.tolist(), len(p.data)) for row, p in pairs], dtype=np.intp)


def judge(data: Sample, weights: OracleWeights) -> dict[str, dict[str, float]]:
    """Model, heuristic, each verdict for all, and the best that can be."""
    ways = {
        "model": decide(data, weights),
        "heuristic": decide(data, None),
        "best": data.values.argmax(axis=1),
    }
    for verdict in Verdict:
        name = f"always {verdict.name.lower().replace('_', '-')}"
        ways[name] = np.full(len(data.packets), int(verdict), dtype=np.intp)
    return {name: verdicts_of(data, chosen).as_dict() for name, chosen in ways.items()}


def by_kind(data: Sample, weights: OracleWeights) -> dict[str, tuple[float, float, float]]:
    """Kind -> value in ns per packet of model, heuristic and the best."""
    found = {}
    ways = (decide(data, weights), decide(data, None), data.values.argmax(axis=1))
    kinds = np.array([packet.kind for packet in data.packets])
    values = [data.values[np.arange(len(chosen)), chosen] for chosen in ways]
    for kind in dict.fromkeys(kinds.tolist()):
        model, heuristic, best = (float(v[kinds == kind].mean()) for v in values)
        found[kind] = (model, heuristic, best)
    return found


def judged(known: costs.Dictionaries) -> Sample:
    """What decides whether the model ships."""
    return sample(make(JUDGED, PACKETS_JUDGED, JUDGE_SEED), known)


def watched(known: costs.Dictionaries) -> Sample:
    """What it does not learn from either, but was looked at while the training was made."""
    return sample(make(WATCHED, PACKETS_JUDGED, JUDGE_SEED), known)


# ---- writing ----


def onnx_of(weights: OracleWeights) -> bytes:
    """The model as an ONNX file, the same bytes each time."""
    from onnx import TensorProto, helper

    shapes = {
        "hidden_weights": [FEATURES, HIDDEN],
        "hidden_bias": [HIDDEN],
        "score_weights": [HIDDEN, len(Verdict)],
        "score_bias": [len(Verdict)],
    }
    tensors = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, getattr(weights, name))
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["features", "hidden_weights", "hidden_bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "score_weights", "score_bias"], ["scores"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["packets", width])
        for name, width in (("features", FEATURES), ("scores", len(Verdict)))
    ]
    graph = helper.make_graph(nodes, shipped.NAME, ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="oxidized")
    helper.set_model_props(model, {"schema": shipped.SCHEMA})
    return bytes(model.SerializeToString(deterministic=True))


def dictionary_digest(known: costs.Dictionaries) -> str:
    return hashlib.sha256(b"".join(name.encode() + known[name] for name in sorted(known))).hexdigest()


def sheet_of(model: bytes, weights: OracleWeights, data: Sample, known: costs.Dictionaries) -> dict[str, Any]:
    """All that the daemon checks, and the judgement."""
    rows = data.features[:: max(1, len(data.features) // GOLDEN)][:GOLDEN].tolist()
    figures = judge(data, weights)
    gain = {
        name: round(figures["model"][name] - figures["heuristic"][name], 4)
        for name in ("value_ns", "saved_bytes", "spent_ns")
    }
    return {
        "schema": shipped.SCHEMA,
        "digest": hashlib.sha256(model).hexdigest(),
        "features": [feature.name for feature in ORACLE_FEATURES],
        "verdicts": list(ORACLE_VERDICTS),
        "wins": gain["value_ns"] > 0,
        "gain": gain,
        "figures": figures,
        "by_kind": {kind: [round(v) for v in row] for kind, row in by_kind(data, weights).items()},
        "judged_packets": len(data.packets),
        "watched": judge(watched(known), weights),
        "dictionaries": dictionary_digest(known),
        "golden": {"features": rows, "scores": oracle_scores(weights, rows)},
    }


def write(folder: Path, known: costs.Dictionaries) -> dict[str, Any]:
    """Trains and writes the three files; returns the sheet."""
    from oxidized.ml.training.card import card

    weights = train(known)
    model = onnx_of(weights)
    sheet = sheet_of(model, weights, judged(known), known)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{shipped.NAME}.onnx"
    path.write_bytes(model)
    path.with_suffix(".json").write_text(json.dumps(sheet, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(card(sheet), encoding="utf-8")
    return sheet
