"""The compression oracle as Python sees it: its verdicts, and the weights of its net."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

FEATURES: Final = 8  # OXI_ORACLE_FEATURES
HIDDEN: Final = 16  # OXI_ORACLE_HIDDEN


class Verdict(IntEnum):
    """What is worth doing to a packet; the numbers are OXI_ORACLE_* of oxi.h and the order of the scores."""

    SKIP = 0
    LIGHT = 1
    AGGRESSIVE = 2
    ROHC_ONLY = 3


@dataclass(frozen=True, slots=True)
class OracleWeights:
    """scores = relu(features @ hidden_weights + hidden_bias) @ score_weights + score_bias; rows first.

    Shapes: [FEATURES, HIDDEN], [HIDDEN], [HIDDEN, verdicts], [verdicts].
    """

    hidden_weights: tuple[float, ...]
    hidden_bias: tuple[float, ...]
    score_weights: tuple[float, ...]
    score_bias: tuple[float, ...]

    def __post_init__(self) -> None:
        assert len(self.hidden_weights) == FEATURES * HIDDEN and len(self.hidden_bias) == HIDDEN
        assert len(self.score_weights) == HIDDEN * len(Verdict) and len(self.score_bias) == len(Verdict)


@dataclass(frozen=True, slots=True)
class OracleCounters:
    """Of all workers. `verdicts`: packets by verdict; see `oxi_oracle_stats` in oxi.h."""

    verdicts: dict[Verdict, int]
    looked_packets: int
    missed_attempts: int
    given_up_flows: int
