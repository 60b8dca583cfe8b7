"""The model of the compression oracle: found, checked, and refused in one line when anything is wrong.

Beside NAME.onnx lies its sheet NAME.json, written by the training: digest, schema, the features it was
trained on, golden vectors and the judgement on held-out traffic. A model is used only if all of that holds
here: the digest; the names of features and verdicts that the C core has; weights and golden features within
their ranges; the golden scores as onnxruntime computes them and as C does; and a judgement that it beats the
heuristic. Otherwise the heuristic is used, which needs none of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import oxidized
from oxidized.core.oracle import FEATURES, HIDDEN, OracleWeights, Verdict
from oxidized.ffi.oracle import ORACLE_FEATURES, ORACLE_VERDICTS, oracle_scores
from oxidized.ml import onnx_reference, onnx_weights
from oxidized.ml.model_file import ModelRefused, model_read, sheet_parsed

SCHEMA: Final = "oxidized.compression_oracle/1"
NAME: Final = "compression_oracle"
DIRECTORY_VARIABLE: Final = "OXIDIZED_MODEL_DIR"
SHEET_BYTES_MAX: Final = 256 << 10
GOLDEN_MIN: Final = 32
GOLDEN_MAX: Final = 1024
GOLDEN_ABS_MAX: Final = 1e9
# As native/core/oracle.c (oracle_model_is_sound).
WEIGHT_MAX: Final = 1e4
# Scores are sums of some 150 products in binary32, which three programs add up in different orders.
TOLERANCE: Final = 1e-4
REFERENCE_S_MAX: Final = 30.0

Rows = list[list[float]]
Reference = Callable[[bytes, Rows], Rows]


@dataclass(frozen=True, slots=True)
class OracleChoice:
    """What the oracle goes by. `weights` None: the heuristic, and `trouble` says why.

    `digest`: SHA-256 of the model, "" if there is none.
    """

    weights: OracleWeights | None
    digest: str
    path: str
    trouble: str


def model_directory(environ: Mapping[str, str]) -> Path:
    """OXIDIZED_MODEL_DIR, or what was installed with the program, or models/ of the source tree."""
    if chosen := environ.get(DIRECTORY_VARIABLE):
        return Path(chosen)
    package = Path(oxidized.__file__).parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def weights_of(model: bytes) -> OracleWeights:
    """The weights in an ONNX file. ModelRefused: it is none, or another net, or a weight out of range."""
    try:
        layers = onnx_weights.read(model)
    except onnx_weights.OnnxError as error:
        raise ModelRefused(f"not read: {error}") from None
    if layers.metadata.get("schema") != SCHEMA:
        raise ModelRefused(f"schema {layers.metadata.get('schema', '')[:60]!r}, not {SCHEMA!r}")
    shapes = tuple(tensor.shape for tensor in layers.weights)
    if shapes != ((FEATURES, HIDDEN), (HIDDEN, len(Verdict))):
        raise ModelRefused(f"a net of shape {shapes}")
    tensors = (layers.weights[0], layers.biases[0], layers.weights[1], layers.biases[1])
    for tensor in tensors:
        if not all(abs(value) <= WEIGHT_MAX for value in tensor.values):  # false of a NaN
            raise ModelRefused(f"a weight that is no number of at most {WEIGHT_MAX:g}")
    return OracleWeights(*(tensor.values for tensor in tensors))


@dataclass(frozen=True, slots=True)
class Sheet:
    """What of NAME.json the check needs. Rows of `features` and `scores` belong together."""

    digest: str
    wins: bool
    features: Rows
    scores: Rows


def _rows(value: Any, width: int) -> Rows:
    if not isinstance(value, list) or not GOLDEN_MIN <= len(value) <= GOLDEN_MAX:
        raise ModelRefused("sheet: no golden vectors, or too few or too many")
    for row in value:
        if not isinstance(row, list) or len(row) != width:
            raise ModelRefused(f"sheet: a golden vector without {width} numbers")
        if not all(type(number) in (int, float) and abs(number) <= GOLDEN_ABS_MAX for number in row):
            raise ModelRefused("sheet: a golden vector with something that is no number")
    return [[float(number) for number in row] for row in value]


def sheet_of(text: bytes) -> Sheet:
    """Reads NAME.json; ModelRefused where it is not for this program."""
    found = sheet_parsed(text, SCHEMA)
    names = [feature.name for feature in ORACLE_FEATURES]
    if found.get("features") != names or found.get("verdicts") != list(ORACLE_VERDICTS):
        raise ModelRefused("sheet: trained on other features or verdicts than this program has")
    golden = found.get("golden")
    if not isinstance(golden, dict):
        raise ModelRefused("sheet: no golden vectors")
    features, scores = _rows(golden.get("features"), FEATURES), _rows(golden.get("scores"), len(Verdict))
    if len(features) != len(scores):
        raise ModelRefused("sheet: golden features without their scores")
    for row in features:
        pairs = zip(row, ORACLE_FEATURES, strict=True)
        if not all(-1 <= value <= feature.maximum for value, feature in pairs):
            raise ModelRefused("sheet: golden features out of their range")
    return Sheet(str(found.get("digest")), found.get("wins") is True, features, scores)


def _differs(found: Sequence[Sequence[float]], expected: Rows) -> bool:
    if len(found) != len(expected) or any(len(row) != len(Verdict) for row in found):
        return True
    pairs = zip((v for row in found for v in row), (v for row in expected for v in row), strict=True)
    return not all(abs(a - b) <= TOLERANCE * max(1.0, abs(b)) for a, b in pairs)  # a NaN differs


def check(model: bytes, sheet_text: bytes, reference: Reference) -> OracleWeights:
    """The weights, if all that the head of this file lists holds; else ModelRefused with the first reason.

    `reference` computes the scores of rows of features by another program; what it raises is passed on.
    """
    sheet = sheet_of(sheet_text)
    digest = hashlib.sha256(model).hexdigest()
    if digest != sheet.digest:
        raise ModelRefused(f"digest {digest[:16]}..., the sheet is for {sheet.digest[:16]!r}...")
    weights = weights_of(model)
    if not sheet.wins:
        raise ModelRefused("does not beat the heuristic on held-out traffic")
    if _differs(oracle_scores(weights, sheet.features), sheet.scores):
        raise ModelRefused("golden vectors: C computes other scores")
    if _differs(reference(model, sheet.features), sheet.scores):
        raise ModelRefused("golden vectors: onnxruntime computes other scores")
    return weights


def run_reference(model: bytes, rows: Rows) -> Rows:
    """Scores by onnxruntime, in a process that ends with it (some 0.3 s). ModelRefused: it can not be had."""
    request = json.dumps({"model": base64.b64encode(model).decode(), "rows": rows})
    kept = ("PATH", "PYTHONPATH", "HOME", "TMPDIR")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "oxidized.ml.onnx_reference"],
            input=request.encode(),
            capture_output=True,
            timeout=REFERENCE_S_MAX,
            env={name: os.environ[name] for name in kept if name in os.environ},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelRefused(f"onnxruntime: {type(error).__name__}") from None
    if done.returncode == onnx_reference.MISSING:
        raise ModelRefused("onnxruntime is not installed, so the model can not be checked (extra `ml`)")
    try:
        found = json.loads(done.stdout)["rows"] if done.returncode == 0 else None
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ModelRefused(f"onnxruntime refuses it: {''.join(said)[:200] or done.returncode}")
    return found


def choose(environ: Mapping[str, str], reference: Reference = run_reference) -> OracleChoice:
    """The model of this machine, or the heuristic and the reason. Blocks while the reference runs."""
    path = model_directory(environ) / f"{NAME}.onnx"
    digest = ""
    try:
        model = model_read(path, onnx_weights.BYTES_MAX)
        digest = hashlib.sha256(model).hexdigest()
        weights = check(model, model_read(path.with_suffix(".json"), SHEET_BYTES_MAX), reference)
    except ModelRefused as error:
        return OracleChoice(None, digest, str(path), str(error))
    return OracleChoice(weights, digest, str(path), "")
