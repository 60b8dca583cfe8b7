"""bench/loss.py on sample documents: the sections' tables, the points of the plot, its command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import loss
from bench import report as bench_report


def document_of(scenario: str, **cells: list[dict[str, Any]]) -> dict[str, Any]:
    runs = [{"system": name, "version": "1", "results": {"cells": found}, "checks": [], "rounds": [{}, {}]}
            for name, found in cells.items()]  # fmt: skip
    link = {"edge_to_hub": {"ge-time": "40ms/600ms/0.8"}, "hub_to_edge": {"loss": "1%"}}
    return {"scenario": scenario, "seconds": 30.0, "link": link, "runs": runs, "daemon_settings": {}}


def call(rtt_ms: int, residual: float, extra: float) -> dict[str, Any]:
    return {"cell": f"{rtt_ms}ms", "rtt_seconds": rtt_ms / 1e3, "residual_loss_ratio": residual,
            "extra_packets_ratio": extra, "delay_p99_seconds": 0.0824, "offered_packets": 3000}  # fmt: skip


@pytest.fixture
def calls() -> dict[str, Any]:
    return document_of("burst-loss-voip", oxidized=[call(20, 0.0, 0.094), call(80, 0.003, 0.153)],
                       direct=[call(20, 0.05, 0.0)])  # fmt: skip


def test_the_section_of_calls(calls: dict[str, Any]) -> None:
    calls["runs"][0]["checks"] = [{"name": "20ms-content", "ok": False, "detail": "1 wrong"}]
    lines = loss.render_voip(calls, "x.svg").splitlines()
    assert "| 20ms | 0.00 % | 9.4 % | 82 ms | 5.00 % | 0.0 % | 82 ms |" in lines
    assert "| 80ms | 0.30 % | 15.3 % | 82 ms | - | - | - |" in lines
    assert "- 2 rounds of 30 s in each cell" in lines
    assert any("40ms/600ms/0.8" in line and "loss 1%" in line for line in lines)
    assert "- check failed: oxidized: 20ms-content: 1 wrong" in lines


def test_the_section_of_flows() -> None:
    flow = {"cell": "0.01/cubic", "goodput_bps": 9.22e7, "goodput_of_lossless_ratio": 0.958}
    left_out = {"cell": "0.01/cubic/beside", "goodput_bps": None, "left_out": "carries no UDP"}
    found = loss.render_random(document_of("random-loss", oxidized=[flow], kcptun=[left_out]))
    assert "| 0.01/cubic | 92.2 Mbit/s | 0.96 | - | - | - | - |" in found.splitlines()
    assert "| 0.01/cubic/beside | - | - | - | - | - | - |" in found.splitlines()


def test_points_are_told_apart_by_settings_and_none_lost_has_a_place(calls: dict[str, Any]) -> None:
    other = document_of("burst-loss-voip", oxidized=[call(20, 0.01, 1.0)], direct=[call(20, 0.05, 0)])
    other["daemon_settings"] = {"repair.mode": '"fec"', "log.level": '"info"'}
    flows = document_of("random-loss", oxidized=[{"cell": "0/cubic"}])
    points = loss.points_of([calls, flows, other])
    names = ["oxidized", "oxidized", "direct", "oxidized, repair fec", "direct"]
    assert [point.system for point in points] == names
    assert points[0].height == pytest.approx(0.5 / 3000)
    assert points[1].height == 0.003


def test_the_plot_is_the_same_each_time(calls: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only ./dev bench installs it")
    source = tmp_path / "calls.json"
    source.write_text(json.dumps(calls))
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        assert loss.main(["--plot", str(path), str(source)]) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "round trip 80 ms" in paths[0].read_text()


def test_nothing_to_draw_is_exit_code_2(tmp_path: Path) -> None:
    source = tmp_path / "flow.json"
    source.write_text(json.dumps(document_of("random-loss")))
    assert loss.main(["--plot", str(tmp_path / "a.svg"), str(source)]) == 2
    assert not (tmp_path / "a.svg").exists()


def test_each_scenario_has_its_section(calls: dict[str, Any], tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    with pytest.raises(ValueError, match="hello"):
        bench_report.section({"scenario": "hello"})
    assert "## One TCP flow" in bench_report.section(document_of("random-loss", oxidized=[]))
    pytest.importorskip("matplotlib", reason="only ./dev bench installs it")
    monkeypatch.setattr(bench_report, "LOSS_PLOT", tmp_path / "burst-loss-voip.svg")
    assert "](burst-loss-voip.svg)" in bench_report.section(calls)
    assert (tmp_path / "burst-loss-voip.svg").exists()
