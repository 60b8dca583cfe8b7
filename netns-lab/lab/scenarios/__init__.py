"""The scenarios by name. Each module says what it measures and what must hold."""

from __future__ import annotations

from lab.scenarios.base import Scenario
from lab.scenarios.burst_loss_voip import BurstLossVoip
from lab.scenarios.cellular import Cellular
from lab.scenarios.hello import Hello
from lab.scenarios.line_rate import LineRate
from lab.scenarios.odd_packets import OddPackets
from lab.scenarios.random_loss import RandomLoss
from lab.scenarios.stress import Stress
from lab.scenarios.text_classes import TextClasses
from lab.scenarios.voice_trunk import VoiceTrunk

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Hello(), RandomLoss(), LineRate(), Stress(), OddPackets(), VoiceTrunk(), TextClasses(),
        BurstLossVoip(), Cellular(),
    )
}  # fmt: skip
