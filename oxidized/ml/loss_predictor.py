"""The loss predictor of a daemon: one call every 10 ms for all paths, and always an answer.

Modes: `lstm` (the model, through onnxruntime), `ge` (online Gilbert-Elliott filter), `ewma` (average of
recent loss), `off` (predicts nothing). A model is used only if its sheet fits it and this program: digest,
schema, the names of features and context, and golden vectors as onnxruntime computes them here. When it is
missing, refused, late or failing, the fallback that the sheet names answers at once, with the reason counted
and shown. Everything but `ewma` and `off` needs numpy, `lstm` onnxruntime too (extra `ml`); without numpy the
averages are kept in plain Python, which is meant for a few paths.

No clock here: the caller says what time it is, and how long the last step took.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oxidized.core.loss import EWMA_SCALE, STEP_S, Row
from oxidized.core.steering import PlainPredictor
from oxidized.ml.model_file import ModelRefused, model_read, sheet_parsed

try:
    import numpy as np

    from oxidized.ml.loss_features import CONTEXT, FEATURE_UNITS, FEATURES, STEPS, LossFeatures
except ImportError:  # the extra `ml` is not there
    HAS_NUMPY = False
else:
    HAS_NUMPY = True

SCHEMA: Final = "oxidized.loss_predictor/1"
NAME: Final = "loss_predictor"
MODES: Final = ("off", "ewma", "ge", "lstm")
MODEL_BYTES_MAX: Final = 256 << 10
SHEET_BYTES_MAX: Final = 1 << 20
GOLDEN_MIN: Final = 8
GOLDEN_MAX: Final = 256
# 20 steps of an LSTM in binary32, which two programs add up in different orders.
TOLERANCE: Final = 2e-4
DEADLINE_S: Final = STEP_S / 2  # of a step with inference; one that took longer was late
LATE_MAX: Final = 3  # in a row, then the fallback answers
RETRY_STEPS: Final = 1000  # and the model is tried again after so many
PATHS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class LossDescription:
    """For status and metrics. `mode` was asked for, `active` answers now; `trouble` says why they differ.
    `fallbacks`: steps answered by the fallback, by reason."""

    mode: str
    active: str
    trouble: str
    digest: str
    paths: int
    steps: int
    fallbacks: dict[str, int]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What of NAME.json the check needs."""

    digest: str
    fallback: str
    golden: dict[str, Any]


def sheet_of(text: bytes) -> Sheet:
    """Reads NAME.json; ModelRefused where it is not for this program. Needs numpy."""
    found = sheet_parsed(text, SCHEMA)
    described = {
        "features": list(FEATURES),
        "feature_units": list(FEATURE_UNITS),
        "steps": STEPS,
        "context": list(CONTEXT),
    }
    for name, wanted in described.items():
        if found.get(name) != wanted:
            raise ModelRefused(f"sheet: {name}: not those that this program has")
    if found.get("fallback") not in ("ewma", "ge"):
        raise ModelRefused("sheet: no fallback")
    golden = found.get("golden")
    if not isinstance(golden, dict):
        raise ModelRefused("sheet: no golden vectors")
    return Sheet(str(found.get("digest")), found["fallback"], golden)


def golden_of(sheet: Sheet) -> tuple[Any, Any, Any]:
    """window [20, n, 8], context [n, contexts], probabilities [n, 2] as float32 arrays."""
    rows = sheet.golden.get("context")
    count = len(rows) if isinstance(rows, list) else 0
    if not GOLDEN_MIN <= count <= GOLDEN_MAX:
        raise ModelRefused("sheet: no golden vectors, or too few or too many")
    shapes = {
        "window": (STEPS, count, len(FEATURES)),
        "context": (count, len(CONTEXT)),
        "probabilities": (count, 2),
    }
    arrays = []
    for name, shape in shapes.items():
        try:
            array = np.array(sheet.golden.get(name), dtype=np.float32)
        except (ValueError, TypeError):
            raise ModelRefused(f"sheet: golden {name}: no numbers") from None
        if array.shape != shape or not np.isfinite(array).all():
            raise ModelRefused(f"sheet: golden {name}: shape {array.shape}, or what is no number")
        arrays.append(array)
    window, context, probabilities = arrays
    if window.min() < -1 or context.min() < -1 or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ModelRefused("sheet: golden vectors out of their range")
    return window, context, probabilities


def session_of(model: bytes) -> Any:
    """An onnxruntime session on one thread. ModelRefused: it can not be had, or has other inputs."""
    try:
        import onnxruntime
    except ImportError:
        raise ModelRefused("onnxruntime is not installed (extra `ml`)") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        shapes = {value.name: list(value.shape) for value in (*session.get_inputs(), *session.get_outputs())}
        schema = session.get_modelmeta().custom_metadata_map.get("schema")
    except Exception as error:  # onnxruntime's own exceptions have no common name
        raise ModelRefused(f"onnxruntime refuses it: {_line(error)}") from None
    if schema != SCHEMA:
        raise ModelRefused(f"schema {str(schema)[:60]!r}, not {SCHEMA!r}")
    wanted = {
        "window": [STEPS, "paths", len(FEATURES)], "context": ["paths", len(CONTEXT)],
        "probabilities": ["paths", 2],
    }  # fmt: skip
    if shapes != wanted:
        raise ModelRefused(f"inputs and outputs {str(shapes)[:200]}")
    return session


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def check(model: bytes, sheet_text: bytes) -> tuple[Any, Sheet]:
    """A session that computes what the sheet says; else ModelRefused with the first reason."""
    sheet = sheet_of(sheet_text)
    digest = hashlib.sha256(model).hexdigest()
    if digest != sheet.digest:
        raise ModelRefused(f"digest {digest[:16]}..., the sheet is for {sheet.digest[:16]!r}...")
    window, context, expected = golden_of(sheet)
    session = session_of(model)
    try:
        (found,) = session.run(None, {"window": window, "context": context})
    except Exception as error:
        raise ModelRefused(f"golden vectors: onnxruntime fails: {_line(error)}") from None
    if found.shape != expected.shape or not (np.abs(found - expected) <= TOLERANCE).all():
        raise ModelRefused("golden vectors: onnxruntime computes other probabilities")
    return session, sheet


class _Runner:
    """A session with its buffers bound once, for one number of paths: that takes 10 us off a call."""

    def __init__(self, session: Any, paths: int) -> None:
        self.session = session
        self.window = np.zeros((STEPS, paths, len(FEATURES)), dtype=np.float32)
        self.context = np.zeros((paths, len(CONTEXT)), dtype=np.float32)
        self.found = np.zeros((paths, 2), dtype=np.float32)
        self.binding = session.io_binding()
        for name, array in (("window", self.window), ("context", self.context)):
            self.binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self.binding.bind_output(
            "probabilities", "cpu", 0, np.float32, self.found.shape, self.found.ctypes.data
        )

    def run(self) -> Any:
        """Probabilities [paths, 2] of what stands in `window` and `context`; the next run overwrites them."""
        self.session.run_with_iobinding(self.binding)
        return self.found


class LossPredictor:
    """See the head of this file. `load` makes one."""

    def __init__(self, mode: str, session: Any, fallback: str, digest: str, trouble: str) -> None:
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is none of {', '.join(MODES)}")
        self.mode = mode
        self.fallback = fallback
        self.digest = digest
        self.trouble = trouble
        self._refused = trouble
        self._session = session
        self._runner: Any = None
        self._state: Any = None
        self._plain = PlainPredictor("ewma")  # without numpy
        self._paths = 0
        self._steps = 0
        self._late = 0
        self._resting = 0  # steps until the model is tried again
        self._fallbacks: Counter[str] = Counter()

    @classmethod
    def load(cls, model_dir: Path, mode: str) -> LossPredictor:
        """Never fails for want of a model: then the fallback answers, and `describe` says why. Blocks for
        some 50 ms while the golden vectors are computed. ValueError: no such mode."""
        session, fallback, digest, trouble = None, "ge" if HAS_NUMPY else "ewma", "", ""
        if mode in ("ge", "lstm") and not HAS_NUMPY:
            trouble = "numpy is not installed (extra `ml`)"
        elif mode == "lstm":
            path = model_dir / f"{NAME}.onnx"
            try:
                model = model_read(path, MODEL_BYTES_MAX)
                digest = hashlib.sha256(model).hexdigest()
                session, sheet = check(model, model_read(path.with_suffix(".json"), SHEET_BYTES_MAX))
                fallback = sheet.fallback
            except ModelRefused as error:
                trouble = str(error)
        return cls(mode, session, fallback, digest, trouble)

    @property
    def active(self) -> str:
        """What answers the next step."""
        if self.mode in ("off", "ewma"):
            return self.mode
        if not HAS_NUMPY:
            return "ewma"
        if self.mode == "ge":
            return "ge"
        return "lstm" if self._session is not None and not self._resting else self.fallback

    def forget(self, path: int) -> None:
        """Row `path` of the next step is another path than before. One that was never seen: nothing to do."""
        self._plain.forget(path)
        if self._state is not None and path < self._state.paths:
            self._state.reset(path)

    def step(
        self, now_unix_s: float, rows: Sequence[Sequence[float]] | Any, elapsed_s: float = 0.0
    ) -> tuple[list[float], list[float]]:
        """One step of 10 ms for all paths.

        rows: [paths, 10] as `Row` says, a path always at its place; more or fewer than before: those at the
        end are new or gone. elapsed_s: how long the previous call took, by the caller's clock; too long
        several times in a row counts as late, and the fallback answers for a while. Returns for each path the
        probabilities that anything is lost of what is sent 50..100 ms from now, and that such a loss would
        be congestion (queue overflow). Without the model the second is a guess by the queue at recent
        losses, and 0 without numpy. Mode `off`: zeros.
        """
        paths = min(len(rows), PATHS_MAX)
        self._steps += 1
        none = [0.0] * paths
        if self.mode == "off" or not paths:
            return none, none
        if not HAS_NUMPY:
            if self.mode != "ewma":
                self._fallbacks["no numpy"] += 1
            self._paths = paths
            losses, _ = self._plain.step(now_unix_s, rows[:paths])
            return list(losses), none
        self._fit(paths)
        self._state.step(now_unix_s, np.asarray(rows, dtype=np.float64)[:paths])
        if self.mode == "lstm":
            self._watch(elapsed_s)
        if self.active == "lstm":
            found = self._infer()
            if found is not None:
                return found[:, 0].tolist(), found[:, 1].tolist()
        if self.mode == "lstm":
            self._fallbacks[self._reason()] += 1
        simple = self._state.ewma_any(EWMA_SCALE) if self.active == "ewma" else self._state.ge_any
        return simple.tolist(), self._state.congestive.tolist()

    def describe(self) -> LossDescription:
        return LossDescription(
            self.mode, self.active, self.trouble, self.digest, self._paths, self._steps, dict(self._fallbacks)
        )

    def _fit(self, paths: int) -> None:
        if self._paths == paths:
            return
        old = self._state
        self._state = LossFeatures(paths) if old is None else old.resized(paths)
        self._runner = None
        self._paths = paths

    def _watch(self, elapsed_s: float) -> None:
        """Late and failed models rest, and are tried again."""
        if self._resting:
            self._resting -= 1
            if not self._resting:
                self.trouble, self._late = self._refused, 0
            return
        self._late = self._late + 1 if elapsed_s > DEADLINE_S else 0
        if self._late >= LATE_MAX:
            self._rest(f"late: {LATE_MAX} steps in a row took more than {DEADLINE_S * 1000:g} ms")

    def _rest(self, trouble: str) -> None:
        if self._session is not None:
            self.trouble, self._resting = trouble, RETRY_STEPS

    def _reason(self) -> str:
        """A word or two for a counter."""
        if self._session is None:
            return "refused" if self.digest else "missing"
        return self.trouble.partition(":")[0]

    def _infer(self) -> Any:
        """Probabilities [paths, 2], or None when the model fails."""
        try:
            if self._runner is None:
                self._runner = _Runner(self._session, self._paths)
            self._runner.window[:] = self._state.window
            self._runner.context[:] = self._state.context
            found = self._runner.run()
        except Exception as error:  # onnxruntime's own exceptions have no common name
            self._rest(f"failing: {_line(error)}")
            return None
        if not np.isfinite(found).all():
            self._rest("failing: what it computes is no number")
            return None
        return found


__all__ = [
    "LossDescription",
    "LossPredictor",
    "ModelRefused",
    "Row",
    "check",
    "golden_of",
    "session_of",
    "sheet_of",
]
