"""The compression oracle without a plane, seen from Python: its features, net and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oxidized.core.oracle import OracleWeights, Verdict
from oxidized.ffi._oxi import ffi, lib
from oxidized.ffi.names import check, names_of


@dataclass(frozen=True, slots=True)
class OracleFeature:
    """A row of the table in native/core/oracle_features.h: values lie in -1..maximum."""

    name: str
    maximum: float
    help: str


ORACLE_FEATURES: Final = tuple(
    OracleFeature(name, float(lib.oxi_oracle_feature_max(i)), text)
    for i, (name, text) in enumerate(
        zip(names_of(lib.oxi_oracle_feature_name), names_of(lib.oxi_oracle_feature_help), strict=True)
    )
)
ORACLE_PAYLOAD_MIN: Final = int(lib.OXI_ORACLE_PAYLOAD_MIN)
ORACLE_TRAIN_BYTES_MIN: Final = int(lib.OXI_ORACLE_TRAIN_BYTES_MIN)
ORACLE_VERDICTS: Final = dict(zip(names_of(lib.oxi_oracle_verdict_name), Verdict, strict=True))


def oracle_features(packet: bytes, payload_at: int, *, is_urgent: bool = False) -> tuple[float, ...]:
    """What the oracle sees of any bytes, in the order of ORACLE_FEATURES."""
    out = ffi.new("float[]", len(ORACLE_FEATURES))
    check(lib.oxi_oracle_features(packet, len(packet), payload_at, is_urgent, out), "oracle_features")
    return tuple(out)


def oracle_is_worth(packet_bytes: int, payload_bytes: int, saved_bytes: int) -> bool:
    """Whether a payload that got so much shorter is sent as such."""
    return bool(lib.oxi_oracle_is_worth(packet_bytes, payload_bytes, saved_bytes))


def oracle_model(weights: OracleWeights | None) -> Any:
    """As C takes it; None: NULL, the heuristic."""
    if weights is None:
        return ffi.NULL
    fields = OracleWeights.__dataclass_fields__
    return ffi.new("oxi_oracle_model *", {name: list(getattr(weights, name)) for name in fields})


def oracle_scores(weights: OracleWeights, rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """The net in C, for each row of features."""
    model = oracle_model(weights)
    out = ffi.new("float[]", len(Verdict))
    found = []
    for row in rows:
        assert len(row) == len(ORACLE_FEATURES)
        check(lib.oxi_oracle_scores(model, ffi.new("float[]", list(row)), out), "oracle_scores")
        found.append(list(out))
    return found


def oracle_judge(weights: OracleWeights | None, features: Sequence[float], packet_bytes: int) -> Verdict:
    """What the net, or without weights the heuristic, makes of a packet of this size."""
    out = ffi.new("uint32_t *")
    native = ffi.new("float[]", list(features))
    check(lib.oxi_oracle_judge(oracle_model(weights), native, packet_bytes, out), "oracle_judge")
    return Verdict(out[0])
