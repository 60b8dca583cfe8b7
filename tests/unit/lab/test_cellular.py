"""cellular without a network: traces read and turned, what they could carry, settings that make no sense."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

LAB_FOLDER = Path(__file__).resolve().parents[3] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab import build, traces  # noqa: E402
from lab.errors import MissingError, UsageError  # noqa: E402
from lab.load import Transfer  # noqa: E402
from lab.scenarios.cellular import Cellular, of_bulk, of_video  # noqa: E402

TRACE = traces.Trace("t", (0, 10, 10, 30, 100))


def test_the_mean_is_of_a_whole_round() -> None:
    assert TRACE.mean_bps == 5 * 1500 * 8 / 0.1


def test_what_could_be_sent() -> None:
    assert TRACE.bytes_between(0, 10) == 2 * 1500, "what is at the beginning belongs to before it"
    assert TRACE.bytes_between(10, 30) == 1 * 1500
    assert TRACE.bytes_between(0, 100) == 5 * 1500
    assert TRACE.bytes_between(50, 110) == (1 + 3) * 1500


moments = st.lists(st.integers(0, 500), min_size=1, max_size=40).map(sorted).filter(lambda at: at[-1] > 0)


@given(moments, st.integers(0, 2000), st.integers(0, 1500))
def test_a_trace_begun_later_is_the_same_round(at_ms: list[int], begin_ms: int, span_ms: int) -> None:
    trace = traces.Trace("t", tuple(at_ms))
    turned = trace.begun_at(begin_ms)
    assert len(turned.at_ms) == len(at_ms) and turned.period_ms <= trace.period_ms
    assert list(turned.at_ms) == sorted(turned.at_ms) and turned.at_ms[0] >= 0
    if turned.period_ms == trace.period_ms:
        shifted = trace.bytes_between(begin_ms, begin_ms + span_ms)
        assert abs(turned.bytes_between(0, span_ms) - shifted) <= 1500 * len(at_ms)


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.mm").write_text("0\n5\n9\n")
    (tmp_path / "a.mm.gz").write_bytes(gzip.compress(b"1\n2\n"))
    (tmp_path / "c.csv").write_text("t_ms\n")
    assert list(traces.files(tmp_path)) == ["a", "b"]
    assert traces.read(tmp_path / "a.mm.gz") == traces.Trace("a", (1, 2))
    assert [path.name for path in traces.chosen(tmp_path, "b,a,b")] == ["b.mm", "a.mm.gz"]
    with pytest.raises(UsageError, match="has a, b"):
        traces.chosen(tmp_path, "b,d")
    with pytest.raises(MissingError, match="traces=DIR"):
        traces.files(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"0\n", b"5\n3\n", b"-1\n4\n", b"one\n", b"1.5\n", b"\xff\n"])
def test_files_that_are_no_traces(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mm"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.mm"):
        traces.read(path)
    (tmp_path / "bad.mm.gz").write_bytes(gzip.compress(b"1\n2\n")[:-9])
    with pytest.raises(UsageError, match=r"bad\.mm\.gz"):
        traces.read(tmp_path / "bad.mm.gz")


@pytest.mark.parametrize("chosen", [{"load": "web"}, {"trace": "x.mm"}, {"ab.trace": "x.mm"}, {"cell": "d"}])
def test_settings_are_checked_before_anything_is_started(tmp_path: Path, chosen: dict[str, str]) -> None:
    (tmp_path / "a.mm").write_text("1\n2\n")
    assert Cellular().settings({"traces": str(tmp_path)})["load"] == "bulk"
    with pytest.raises(UsageError):
        Cellular().settings({"traces": str(tmp_path), **chosen})


def test_what_came_of_the_load() -> None:
    assert of_bulk(Transfer(10, 1_000_000, 3, 2.0, True)) == {
        "udp_packets": 0, "bps": 4e6, "lost_ratio": None, "wrong": 3,
    }  # fmt: skip
    found = {"sender_sent_packets": 100, "received_packets": 90, "received_bytes": 90_000, "wrong_packets": 1,
             "duplicate_packets": 2}  # fmt: skip
    told = of_video(found, 9.0)
    assert told.pop("lost_ratio") == pytest.approx(0.1)
    assert told == {"udp_packets": 100, "bps": 80_000, "wrong": 3}


def test_the_emulator_takes_the_written_trace(tmp_path: Path) -> None:
    """An opportunity each ms carries what comes each ms; half as many, half of it, behind a queue of two."""
    delivered = {}
    for every_ms in (1, 2):
        path = tmp_path / f"{every_ms}.mm"
        path.write_text(traces.Trace("t", tuple(range(every_ms, 1001, every_ms))).text())
        command = [str(build.helper("link-emulator")), "--simulate", "10000", "--size", "1500"]
        words = ["--gap", "1ms", "--both", f"trace={path} queue=2p"]
        done = subprocess.run([*command, *words], capture_output=True, check=True)
        delivered[every_ms] = json.loads(done.stdout)["ab"]["out_packets"]
    assert delivered[1] >= 9990 and abs(delivered[2] - 5000) <= 10
