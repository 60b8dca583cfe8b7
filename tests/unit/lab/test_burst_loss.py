"""burst-loss-voip and random-loss without a network: cells, the link's words, counts into ratios, rounds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LAB_FOLDER = Path(__file__).resolve().parents[3] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab import build  # noqa: E402
from lab.errors import UsageError  # noqa: E402
from lab.load import sent_segments  # noqa: E402
from lab.scenarios import random_loss  # noqa: E402
from lab.scenarios.burst_loss_voip import (  # noqa: E402
    BurstLossVoip,
    cell_results,
    loss_words,
    wanted_cells,
)


def way(packets: int, dropped: int = 0, full: int = 0, size: int = 200) -> dict[str, Any]:
    drops = {"burst-loss": {"packets": dropped}, "queue-full": {"packets": full}}
    return {"in_packets": packets, "in_bytes": packets * size, "drops": drops}


def cell(sent: int, received: int, late: int, wire: int, dropped: int, back: int = 0) -> dict[str, Any]:
    """A cell of the first round trip, when 10 packets each way had passed before."""
    found = {
        "ab": {"sent_packets": sent, "received_packets": received, "wrong_packets": 0, "late_packets": 3,
               "duplicate_packets": 0, "over_budget_packets": late},
        "delay_p50_seconds": 0.01, "delay_p95_seconds": 0.02, "delay_p99_seconds": 0.03,
        "delay_max_seconds": 0.04, "send_late_p99_seconds": 0.001,
    }  # fmt: skip
    before = {"ab": way(10, 1, 1), "ba": way(10)}
    after = {"ab": way(10 + wire, 1 + dropped, 1), "ba": way(10 + back)}
    return cell_results(20.0, 1, found, before, after)


@pytest.mark.parametrize(
    ("text", "rtts"),
    [("all", [20, 40, 80, 160]), ("0", [20]), ("3", [160]), ("80ms", [80]), ("100ms,20ms,0", [100, 20])],
)
def test_cells_are_round_trips(text: str, rtts: list[float]) -> None:
    assert wanted_cells(text) == rtts


@pytest.mark.parametrize("text", ["4", "80", "", "ms", "-5ms", "20ms,", "20 ms"])
def test_cells_that_are_not_there(text: str) -> None:
    with pytest.raises(UsageError, match="100ms"):
        wanted_cells(text)


GE = {"ge-time": "40ms/600ms/0.8"}


@pytest.mark.parametrize(
    ("text", "there", "back"),
    [
        ("ge", GE, {"loss": "1%"}),
        ("ge:0.05,40,0.8", GE, {"loss": "1%"}),
        ("both", GE, GE),
        ("ge/both", GE, GE),
        ("ge:0.02,15,1/both", {"ge-time": "15ms/735ms/1"}, {"ge-time": "15ms/735ms/1"}),
        ("iid:0.03", {"loss": "0.03"}, {"loss": "1%"}),
        ("none", {}, {"loss": "1%"}),
        ("none/both", {}, {}),
    ],
)
def test_loss_of_each_direction(text: str, there: dict[str, str], back: dict[str, str]) -> None:
    """The good state is as long as makes the mean: of 640 ms 40 lose 0.8, which is 5 %."""
    assert loss_words(text) == (there, back)


@pytest.mark.parametrize(
    "text",
    ["ge:0.05,40", "ge:0.9,40,0.8", "ge:0,40,0.8", "ge:0.05,0,0.8", "ge:0.05,40,1.1", "ge:a,b,c",
     "ge:nan,1,1", "iid:1", "iid:0", "iid:0.1,2", "ge/", "ge/one", "both/both", "5%", ""],
)  # fmt: skip
def test_loss_that_makes_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="LOSS-IN-BAD"):
        loss_words(text)


@pytest.mark.parametrize(
    "chosen",
    [{"dscp": "af41"}, {"dscp": "64"}, {"calls": "0"}, {"calls": "129"}, {"delay": "5ms"},
     {"ab.delay": "5ms"}, {"cell": "x"}, {"loss": "5%"}],
)  # fmt: skip
def test_settings_are_checked_before_anything_is_started(chosen: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        BurstLossVoip().settings(chosen)


def test_the_link_of_the_document_says_both_losses() -> None:
    there, back = BurstLossVoip().directions({"rate": "10M", "ba.queue": "5ms"})
    assert there.words == {"rate": "10M", "delay": "10ms", "queue": "100ms", "ge-time": "40ms/600ms/0.8"}
    assert back.words == {"rate": "10M", "delay": "10ms", "queue": "5ms", "loss": "1%"}


def test_the_emulator_loses_five_per_cent_in_bursts_of_forty_milliseconds() -> None:
    """In virtual time, at the pace of a call, and at ten times that: a burst is as long, so it takes more."""
    words = loss_words("ge")[0]["ge-time"]
    runs = {}
    for gap_ms, packets in ((20, 100_000), (2, 1_000_000)):
        command = [str(build.helper("link-emulator")), "--simulate", str(packets), "--gap", f"{gap_ms}ms"]
        done = subprocess.run([*command, "--both", f"ge-time={words}"], capture_output=True, check=True)
        report = json.loads(done.stdout)
        runs[gap_ms] = report["ab"]["drops"]["burst-loss"]["packets"] / packets
    # Some 3,100 bursts in both: five standard deviations are 0.65 %.
    assert all(abs(ratio - 0.05) < 0.0065 for ratio in runs.values()), runs
    assert abs(runs[20] - runs[2]) < 0.003, "the same seed has the same bursts, whatever is sent"


def test_ratios_are_of_what_was_offered_and_of_what_was_on_the_wire() -> None:
    found = cell(sent=1000, received=990, late=5, wire=1100, dropped=55, back=40)
    assert found["cell"] == "20ms"
    assert found["rtt_seconds"] == 0.02
    assert found["residual_loss_ratio"] == 0.015
    assert found["lost_ratio"] == 0.01
    assert found["extra_packets_ratio"] == pytest.approx(0.1)
    assert found["extra_bytes_ratio"] == pytest.approx(0.1)
    assert found["raw_loss_ratio"] == 0.05
    assert found["feedback_packets_ratio"] == 0.04
    assert found["delay_p99_seconds"] == 0.03


def test_rounds_are_pooled_not_averaged() -> None:
    """One packet lost of 1000 in one of three rounds is 1 in 3000; a median would say none."""
    one = {"cells": [cell(1000, 1000, 0, 1100, 10)]}
    other = {"cells": [cell(1000, 998, 1, 1400, 30)]}
    pooled = BurstLossVoip().merge([one, one, other])["cells"][0]
    assert pooled["offered_packets"] == 3000
    assert pooled["residual_loss_ratio"] == pytest.approx(3 / 3000)
    assert pooled["extra_packets_ratio"] == pytest.approx(0.2)
    assert pooled["raw_loss_ratio"] == pytest.approx(50 / 3600)
    assert pooled["rtt_seconds"] == 0.02
    assert BurstLossVoip().merge([one, {}]) == {}, "a round that could not be measured"


def test_the_cells_of_random_loss() -> None:
    names = [cell.name for cell in random_loss.wanted_cells("all")]
    assert names[:3] == ["0/cubic", "0/bbr", "0.001/cubic"]
    assert names[-2:] == ["0/cubic/beside", "0.01/cubic/beside"]
    assert len(names) == 12
    some = random_loss.wanted_cells("1,0.05/bbr/beside,0/bbr")
    assert [cell.name for cell in some] == ["0/bbr", "0.05/bbr/beside"]
    for text in ("12", "0.03/cubic", "0.01/reno", "", "0.01/cubic/besides"):
        with pytest.raises(UsageError, match=r"0\.01/cubic"):
            random_loss.RandomLoss().settings({"cell": text})


def test_goodput_is_set_against_the_same_flow_without_loss() -> None:
    def one(loss: float, name: str, bps: float | None) -> dict[str, Any]:
        return {"cell": f"{loss:g}/{name}", "loss_ratio": loss, "goodput_bps": bps}

    cells = [one(0, "cubic", 80), one(0.01, "cubic", 20), one(0.01, "bbr", 30), one(0, "cubic/beside", 40),
             one(0.01, "cubic/beside", 30), one(0.02, "cubic", None)]  # fmt: skip
    random_loss.add_lossless_ratios(cells)
    assert [cell.get("goodput_of_lossless_ratio") for cell in cells] == [1, 0.25, None, 1, 0.75, None]


def test_segments_are_those_sent_first_and_those_sent_again() -> None:
    text = "Ip: OutRequests\nIp: 7\nTcp: InSegs OutSegs RetransSegs\nTcp: 5 100 3\nUdp: NoPorts\nUdp: 9\n"
    assert sent_segments(text) == 103
