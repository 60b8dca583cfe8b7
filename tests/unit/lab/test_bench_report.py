"""bench/report.py on a sample document, and the ratios it is fed from: exact texts, no measuring."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import report as bench_report

LAB_FOLDER = Path(__file__).resolve().parents[3] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab import report as lab_report  # noqa: E402
from lab.errors import UsageError  # noqa: E402
from lab.scenarios import SCENARIOS  # noqa: E402
from lab.systems import SYSTEMS, VARIANTS, from_binary, variant  # noqa: E402


def run_of(system: str, *rounds: dict[str, Any]) -> dict[str, Any]:
    return {
        "system": system, "version": f"{system}-1.0", "checks": [],
        "results": lab_report.merge(rounds),
        "rounds": [{"seed": 1 + n, "results": results} for n, results in enumerate(rounds)],
    }  # fmt: skip


def sample(*runs: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "oxidized.lab/1", "scenario": "line-rate", "seed": 1, "seconds": 5.0,
        "settings": {"pps": "400000", "mtu": "1500"}, "runs": list(runs),
        "machine": {"cpu": "A CPU", "cores": 2, "kernel": "6.1", "has_autogroups": True},
        "ratios": lab_report.ratios(runs), "bare_ratios": lab_report.bare_ratios(runs),
    }  # fmt: skip


@pytest.fixture
def document() -> dict[str, Any]:
    def results(bps: float, cpu: float, machine: float, pps: float) -> dict[str, Any]:
        return {"tcp1_bps": bps * 1e9, "cpu_seconds_per_gb": cpu, "machine_cpu_seconds_per_gb": machine,
                "udp200_received_pps": pps, "rtt_loaded_p50_seconds": 0.001}  # fmt: skip

    ours = run_of("oxidized", *(results(*r) for r in ((6, 2, 3, 3e5), (4, 4, 5, 2e5), (5, 3, 4, 1e5))))
    peer = run_of("wireguard-go", *(results(*r) for r in ((3, 8, 9, 1e5), (1, 8, 9, 1e5), (2, 9, 9, 4e5))))
    bare = run_of("direct", *(results(*r) for r in ((20, 0, 0.5, 4e5), (10, 0, 1, 4e5), (20, 0, 0.5, 4e5))))
    return sample(ours, peer, bare)


def test_ratios_are_medians_of_ratios_within_a_round(document: dict[str, Any]) -> None:
    found = {(r["result"], *r["systems"]): r["ratio"] for r in document["ratios"]}
    assert found["tcp1_bps", "oxidized", "wireguard-go"] == 2.5
    assert found["cpu_seconds_per_gb", "oxidized", "wireguard-go"] == pytest.approx(1 / 3)
    assert ("cpu_seconds_per_gb", "oxidized", "direct") not in found, "the bare link has no daemons"


def test_every_tunnel_is_set_against_the_bare_link(document: dict[str, Any]) -> None:
    found = {(r["result"], r["over"], r["systems"][0]): r["ratio"] for r in document["bare_ratios"]}
    cost = ("cpu_seconds_per_gb", "machine_cpu_seconds_per_gb")
    assert found[(*cost, "oxidized")] == 4
    assert found[(*cost, "wireguard-go")] == 16
    assert found["tcp1_bps", "tcp1_bps", "oxidized"] == 0.3
    assert all(r["systems"][1] == "direct" for r in document["bare_ratios"])
    line = "oxidized / direct  cpu_seconds_per_gb / machine_cpu_seconds_per_gb: 4"
    assert line in lab_report.ratio_lines(document["bare_ratios"])


def test_without_the_bare_link_there_are_no_such_ratios(document: dict[str, Any]) -> None:
    assert lab_report.bare_ratios(document["runs"][:2]) == []


def test_render_says_ratios_values_and_conditions(document: dict[str, Any]) -> None:
    text = bench_report.render(document)
    lines = text.splitlines()
    head = "| oxidized, ratio | to wireguard-go | to the bare link | best is | oxidized is best |"
    assert head in lines
    assert "| one TCP stream | 2.50 | 0.30 | most | yes |" in lines
    assert "| CPU seconds per GB, both daemons | 0.33 | 4.00 | least | yes |" in lines
    assert "| 200-byte UDP received | 2.00 | 0.50 | most | yes |" in lines
    assert "| ping beside one stream, p50 | 1.00 | - | least | no |" in lines
    assert lines.index(head) < lines.index("| | oxidized | wireguard-go | direct |"), "ratios first"
    row = "| one TCP stream | 5000 Mbit/s (4000 to 6000) | 2000 Mbit/s (1000 to 3000) | 20000 Mbit/s (1"
    assert f"{row}0000 to 20000) |" in lines
    assert "- machine: A CPU, 2 cores, Linux 6.1, scheduler autogroups on" in text
    assert "wireguard-go wireguard-go-1.0" in text
    assert "pps 400000, mtu 1500" in text
    assert "- 3 alternating rounds of 5 s, seeds 1, 2, 3" in lines
    assert "](line-rate.svg)" in text
    assert "check failed" not in text
    assert not any(len(line.split("|")) != 7 for line in lines[lines.index(head) :][:4])


def test_render_of_one_system_alone_and_of_a_failed_check(document: dict[str, Any]) -> None:
    alone = sample(document["runs"][0])
    assert "is best" in bench_report.render(alone)
    alone["runs"][0]["checks"] = [{"name": "udp-content", "ok": False, "detail": "3 packets wrong"}]
    assert "- check failed: oxidized: udp-content: 3 packets wrong" in bench_report.render(alone)


def test_render_of_a_run_that_could_not_be_measured(document: dict[str, Any]) -> None:
    """Rounds without results give dashes, not an exception."""
    document["runs"].append(run_of("broken", {}, {}, {}))
    assert "| one TCP stream | 5000 Mbit/s (4000 to 6000) |" in bench_report.render(document)
    assert bench_report.bar_of(document["runs"][-1], bench_report.ROWS[0]) is None


def test_bars_are_medians_with_their_range(document: dict[str, Any]) -> None:
    bar = bench_report.bar_of(document["runs"][0], bench_report.ROWS[0])
    assert bar == bench_report.Bar("oxidized", 5000, 4000, 6000)
    cost = next(row for row in bench_report.ROWS if row.key == "cpu_seconds_per_gb")
    assert bench_report.bar_of(document["runs"][2], cost) is None, "no daemons, no bar"


def test_the_plot_is_the_same_each_time(document: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only ./dev bench installs it")
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        bench_report.plot(document, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    text = paths[0].read_text()
    assert "wireguard-go" in text
    assert "dc:date" not in text


def test_voice_gets_its_section_and_its_plot(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="only ./dev bench installs it")
    cell = {"codec": "g729", "payload_bytes": 20, "calls": 8, "wire_bytes_per_packet": 30.5}
    trunk = sample(run_of("oxidized", {"cells": [cell]}))
    trunk |= {"scenario": "voice-trunk", "link": {"edge_to_hub": {"rate": "100M"}},
              "settings": {"pattern": "aligned", "ip": "4", "dscp": "46"}}  # fmt: skip
    paths = [tmp_path / name for name in ("line-rate.json", "voice-trunk.json")]
    for path, found in zip(paths, (document, trunk), strict=True):
        path.write_text(json.dumps(found))
    names = {"RESULTS": "RESULTS.md", "PLOT": "line-rate.svg", "VOICE_PLOT": "voice-trunk.svg"}
    for name, value in names.items():
        monkeypatch.setattr(bench_report, name, tmp_path / value)
    assert bench_report.main([str(path) for path in paths]) == 0
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.startswith(bench_report.render(document))
    assert "| G.729, 20 bytes | 8 | 30.5 |" in text
    assert (tmp_path / "line-rate.svg").exists()
    assert (tmp_path / "voice-trunk.svg").exists()


def test_without_matplotlib_the_message_says_what_to_do(
    document: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "line-rate.json"
    path.write_text(json.dumps(document))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(bench_report, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(bench_report, "PLOT", tmp_path / "line-rate.svg")
    assert bench_report.main([str(path)]) == bench_report.MISSING
    assert "needs matplotlib: ./dev bench installs it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path], "nothing half done"


def test_systems_from_the_command_line() -> None:
    assert from_binary("wireguard-go=/a/b").name == "wireguard-go-new"
    assert from_binary("openvpn=relative").name == "openvpn-new"
    made = variant(["fast:crypto.suite=1", 'fast:log.level="error"', "slow:crypto.suite=2"])
    assert list(made) == ["fast", "slow"]
    assert made["fast"].extra == {"crypto.suite": "1", "log.level": '"error"'}
    assert VARIANTS.keys() <= SYSTEMS.keys()
    for word in ("direct=/a", "wireguard-go", "wireguard-go="):
        with pytest.raises(UsageError):
            from_binary(word)
    for words in (["oxidized:a.b=1"], ["x:ab=1"], ["x:a.b="], ["a.b=1"]):
        with pytest.raises(UsageError):
            variant(words)


@pytest.mark.parametrize(
    ("scenario", "chosen", "size"),
    [
        ("hello", {}, 1500), ("hello", {"mtu": "9000"}, 9000), ("hello", {"mtu": "1300"}, 1500),
        ("hello", {"ab.mtu": "9080", "ba.mtu": "1500"}, 9080), ("stress", {"mtu": "2000"}, 2000),
        ("line-rate", {}, 1500), ("line-rate", {"mtu": "1360"}, 1360), ("odd-packets", {"mtu": "9080"}, 9080),
    ],
)  # fmt: skip
def test_the_mtu_of_the_link(scenario: str, chosen: dict[str, str], size: int) -> None:
    found = SCENARIOS[scenario]
    assert found.link_mtu_bytes(found.settings(chosen)) == size


@pytest.mark.parametrize("value", ["9081", "1359", "large", "-1"])
def test_an_mtu_that_can_not_be(value: str) -> None:
    found = SCENARIOS["line-rate"]
    with pytest.raises(UsageError, match="mtu="):
        found.link_mtu_bytes(found.settings({"mtu": value}))
