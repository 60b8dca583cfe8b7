"""voice-trunk without a network: which cells, the arithmetic of bytes and delays, table and figure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bench import voice

LAB_FOLDER = Path(__file__).resolve().parents[3] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab import report as lab_report  # noqa: E402
from lab.errors import UsageError  # noqa: E402
from lab.main import split_daemon  # noqa: E402
from lab.scenarios.voice_trunk import (  # noqa: E402
    EVERY_CELL,
    Cell,
    VoiceTrunk,
    add_delays,
    cell_results,
    wanted_cells,
)
from lab.systems import Oxidized  # noqa: E402


def way(sent: int, received: int, wrong: int = 0) -> dict[str, int]:
    rest = {"duplicate_packets": 0, "late_packets": 0, "refused_packets": 0}
    return {"sent_packets": sent, "received_packets": received, "wrong_packets": wrong, **rest}


def counters(up: tuple[int, int], down: tuple[int, int]) -> dict[str, Any]:
    return {name: {"in_packets": packets, "in_bytes": size}
            for name, (packets, size) in (("ab", up), ("ba", down))}  # fmt: skip


def cell_of(name: str, p50: float, p99: float, size: float = 60.0) -> dict[str, Any]:
    kind, _, calls = name.partition("/")
    payload = {"g711": 160, "g729": 20}[kind]
    return {"cell": name, "codec": kind, "payload_bytes": payload, "calls": int(calls), "lost_packets": 1,
            "wire_bytes_per_packet": size, "delay_p50_seconds": p50, "delay_p99_seconds": p99}  # fmt: skip


def one_round(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"seed": 1, "results": {"cells": list(cells)}}


def test_the_cells_are_codec_by_calls() -> None:
    names = [cell.name for cell in wanted_cells("all")]
    assert names[0] == "g711/1"
    assert len(names) == len(set(names)) == len(EVERY_CELL) == 20
    assert {"g729/1", "g729/8", "opus/16", "opus40/2"} <= set(names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0", ["g711/1"]), ("g729/8", ["g729/8"]), ("g729/3", ["g729/3"]), ("5,g729/1", ["g729/1"]),
        ("g729/8,g711/8", ["g729/8", "g711/8"]), ("opus40", [f"opus40/{n}" for n in (1, 2, 4, 8, 16)]),
    ],
)  # fmt: skip
def test_cells_by_number_name_and_codec(text: str, names: list[str]) -> None:
    assert [cell.name for cell in wanted_cells(text)] == names


@pytest.mark.parametrize("text", ["20", "g722/1", "g729/0", "g729/129", "g729/x", "", "g729/8,", "-1"])
def test_cells_that_are_not_there(text: str) -> None:
    with pytest.raises(UsageError, match="CODEC/CALLS"):
        wanted_cells(text)


@pytest.mark.parametrize("chosen", [{"pattern": "both"}, {"ip": "5"}, {"cell": "g722"}, {"codec": "g729"}])
def test_settings_are_checked_before_anything_is_started(chosen: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        VoiceTrunk().settings(chosen)


def test_bytes_are_all_that_the_link_was_offered() -> None:
    """Per RTP packet sent, of each direction and of both; what was lost does not make the others dearer."""
    delays = {"delay_p50_seconds": 0.02, "delay_p99_seconds": 0.03, "delay_max_seconds": 0.04}
    found = {"ab": way(100, 90), "ba": way(100, 100, wrong=2), **delays, "send_late_p99_seconds": 0.001}
    before, after = counters((10, 1000), (20, 2000)), counters((60, 7000), (90, 10000))
    cell = cell_results(Cell("opus40", 8), found, before, after)
    assert (cell["codec"], cell["payload_bytes"], cell["calls"], cell["cell"]) == ("opus", 40, 8, "opus40/8")
    assert cell["wire_up_bytes_per_packet"] == 60
    assert cell["wire_down_bytes_per_packet"] == 80
    assert cell["wire_bytes_per_packet"] == 70
    assert cell["wire_packets_per_packet"] == 0.6
    assert (cell["sent_packets"], cell["received_packets"], cell["wrong_packets"]) == (200, 190, 2)
    assert (cell["lost_packets"], cell["lost_ratio"]) == (10, 0.05)
    assert (cell["wire_bytes"], cell["wire_packets"]) == (14000, 120)


def test_added_delay_is_against_the_bare_link_of_the_same_round() -> None:
    mine = [one_round(cell_of("g729/1", 0.021, 0.025), cell_of("g729/8", 0.022, 0.026)),
            one_round(cell_of("g729/1", 0.031, 0.036))]  # fmt: skip
    bare = [one_round(cell_of("g729/1", 0.020, 0.022)), one_round(cell_of("g729/1", 0.030, 0.031))]
    add_delays({"oxidized": mine, "direct": bare})
    first, other = mine[0]["results"]["cells"]
    assert first["delay_added_p50_seconds"] == pytest.approx(0.001)
    assert first["delay_added_p99_seconds"] == pytest.approx(0.003)
    assert "delay_added_p99_seconds" not in other, "direct has no such cell"
    assert mine[1]["results"]["cells"][0]["delay_added_p99_seconds"] == pytest.approx(0.005)
    assert "delay_added_p99_seconds" not in bare[0]["results"]["cells"][0]
    merged = lab_report.merge([one["results"] for one in mine[1:]])
    assert merged["cells"][0]["delay_added_p99_seconds"] == pytest.approx(0.005)


def test_without_the_bare_link_no_delay_is_added() -> None:
    mine = [one_round(cell_of("g729/1", 0.021, 0.025))]
    failed = {"seed": 1, "results": {}}
    add_delays({"oxidized": mine})
    add_delays({"oxidized": mine, "direct": [failed]})
    add_delays({"oxidized": [failed], "direct": mine})
    assert "delay_added_p99_seconds" not in mine[0]["results"]["cells"][0]


def test_rounds_become_one_and_the_table_shows_what_people_read() -> None:
    rounds = [{"cells": [cell_of("g729/8", 0.02, p99, size)]} for p99, size in ((0.021, 60.0), (0.029, 62.0))]
    merged = lab_report.merge(rounds)
    cell = merged["cells"][0]
    assert (cell["calls"], cell["payload_bytes"], cell["codec"]) == (8, 20, "g729")
    assert isinstance(cell["calls"], int)
    assert (cell["wire_bytes_per_packet"], cell["lost_packets"]) == (61, 2)
    runs = [{"system": "oxidized", "results": {**merged, "wire_bytes": 5}, "checks": []}]
    lines = lab_report.table(runs, VoiceTrunk.shown).splitlines()
    assert any(line.split() == ["g729/8", "wire_bytes_per_packet", "61"] for line in lines)
    assert not any("payload_bytes" in line for line in lines)
    assert any(line.startswith("wire_bytes ") for line in lines), "outside of cells all is shown"
    assert any("payload_bytes" in line for line in lab_report.table(runs).splitlines())


def test_settings_of_the_daemon_are_taken_out_and_lie_below_those_of_a_variant() -> None:
    rest, daemon = split_daemon({"cell": "0", "daemon.compression.headers": "false", "daemon.a.b": "1"})
    assert rest == {"cell": "0"}
    assert daemon == {"compression.headers": "false", "a.b": "1"}
    made = Oxidized("mine", {"a.b": "2"}).with_settings(daemon)
    assert (made.name, made.extra) == ("mine", {"compression.headers": "false", "a.b": "2"})
    with pytest.raises(UsageError, match="TABLE"):
        split_daemon({"daemon.headers": "1"})


@pytest.fixture
def document() -> dict[str, Any]:
    def run_of(system: str, *cells: dict[str, Any]) -> dict[str, Any]:
        return {"system": system, "version": "1", "results": {"cells": list(cells)}, "checks": [],
                "rounds": [one_round(*cells)] * 3}  # fmt: skip

    own = {**cell_of("g729/8", 0.02, 0.02, 30.25), "delay_added_p99_seconds": 0.0021}
    return {
        "scenario": "voice-trunk", "seed": 1, "seconds": 4.0,
        "settings": {"pattern": "aligned", "ip": "4", "dscp": "46"},
        "link": {"edge_to_hub": {"rate": "100M", "delay": "20ms"}},
        "runs": [run_of("oxidized", own, cell_of("g711/8", 0.02, 0.02, 170)),
                 run_of("wireguard-go", cell_of("g729/8", 0.02, 0.02, 124)),
                 run_of("direct", cell_of("g729/8", 0.02, 0.02, 60))],
    }  # fmt: skip


def test_the_section_of_the_results_says_bytes_delays_and_conditions(document: dict[str, Any]) -> None:
    document["runs"][1]["checks"] = [{"name": "g729/8-lost", "ok": False, "detail": "3 of 9 lost"}]
    lines = voice.render(document, "voice-trunk.svg").splitlines()
    assert "| G.729, 20 bytes | 8 | 30.2 | 124.0 | 60.0 | 2.10 ms | - |" in lines
    assert "| G.711, 160 bytes | 8 | 170.0 | - | - | - | - |" in lines
    assert "- check failed: wireguard-go: g729/8-lost: 3 of 9 lost" in lines
    assert "](voice-trunk.svg)" in "\n".join(lines)
    assert "- 3 alternating rounds of 4 s, medians" in lines
    assert any("aligned" in line and "delay 20ms" in line for line in lines)


def test_lines_of_the_plot_are_by_calls(document: dict[str, Any]) -> None:
    run = document["runs"][0]
    run["results"]["cells"].append(cell_of("g729/2", 0.02, 0.02, 75.0))
    assert voice.lines_of(run, "G.729, 20 bytes") == ([2, 8], [75.0, 30.25])
    assert len(set(voice.colours(["oxidized", "wireguard-go", "openvpn", "direct"]))) == 4


def test_the_plot_is_the_same_each_time(document: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only ./dev bench installs it")
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        voice.plot(document, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "wireguard-go" in paths[0].read_text()


def test_nothing_measured_is_no_exception(document: dict[str, Any], tmp_path: Path) -> None:
    for run in document["runs"]:
        run["results"] = {}
    assert "| codec | calls |" in voice.render(document, "x.svg")
    pytest.importorskip("matplotlib", reason="only ./dev bench installs it")
    voice.plot(document, tmp_path / "a.svg")
