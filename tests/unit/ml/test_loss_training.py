"""Traces, links, judging and training of the loss predictor: small and seeded."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized.core.loss import Row
from oxidized.ml.loss_features import LossFeatures
from oxidized.ml.training import loss_evaluate as evaluate
from oxidized.ml.training import loss_judge as judge
from oxidized.ml.training import loss_links as links
from oxidized.ml.training import loss_onnx
from oxidized.ml.training import loss_samples as samples
from oxidized.ml.training import loss_traces as traces
from tests.unit.ml.loss_models import random_weights, sheet_for, write

ROOT = Path(__file__).resolve().parents[3]
TRACES = ROOT / "../shared/traces/train"
MS = 4000


def steady(pps: float, length: int = MS) -> np.ndarray:
    return np.diff(np.floor(np.arange(length + 1) * pps / 1000)).astype(np.int16)


def link(**changes: object) -> links.Link:
    plain = {"name": "x", "family": "x", "rtt_ms": np.full(MS, 40, np.int16), "constant": steady(200)}
    return links.Link(**{**plain, **changes})  # type: ignore[arg-type]


# ---- files ----


def pkt(rows: int = 40) -> str:
    return "t_ms,rtt_us,lost\n" + "".join(
        f"{i * 20},,1\n" if i % 7 == 3 else f"{i * 20},{30000 + i},0\n" for i in range(rows)
    )


def test_sound_traces_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.pkt.csv").write_text(pkt())
    (tmp_path / "b.csv.gz").write_bytes(
        gzip.compress(b"t_ms,rtt_us,loss_rate\n" + b"".join(b"%d,,0.5\n" % (i * 100) for i in range(30)))
    )
    (tmp_path / "c.mm").write_text("".join(f"{i * 50}\n{i * 50}\n" for i in range(40)))
    (tmp_path / "readme.txt").write_text("no trace")
    assert [path.name for path in traces.files(tmp_path)] == ["a.pkt.csv", "b.csv.gz", "c.mm"]
    a, b, c = (traces.read(path) for path in traces.files(tmp_path))
    assert isinstance(a, traces.PktTrace) and a.is_lost.sum() == 6 and a.rtt_us[0] == 30000
    assert isinstance(b, traces.IvalTrace) and set(b.loss.tolist()) == {0.5} and np.isnan(b.rtt_us).all()
    assert isinstance(c, traces.MmTrace) and c.served.sum() == 80 and c.served[50] == 2


BROKEN = {
    "empty.pkt.csv": ("", "empty.pkt.csv:1: no column t_ms, rtt_us, lost"),
    "short.pkt.csv": (pkt(3), "short.pkt.csv: 3 lines"),
    "word.pkt.csv": (pkt().replace("30005", "many"), "word.pkt.csv:7: rtt_us 'many' is no number"),
    "flag.pkt.csv": (pkt().replace(",1\n", ",2\n", 1), "flag.pkt.csv:5: lost '2' is not 0 or 1"),
    "still.pkt.csv": (pkt().replace("30005", ""), "still.pkt.csv:7: not lost, and no rtt_us"),
    "nan.pkt.csv": (pkt().replace("30005", "nan"), "nan.pkt.csv:7: rtt_us nan is not within"),
    "back.pkt.csv": (pkt().replace("\n100,", "\n10,"), "back.pkt.csv:7: t_ms goes backwards"),
    "untimed.pkt.csv": (pkt().replace("\n100,", "\n,"), "untimed.pkt.csv:7: no t_ms"),
    "ragged.pkt.csv": (pkt() + "1,2\n", "ragged.pkt.csv:42: 2 fields, the header has 3"),
    "bare.csv": ("t_ms,bw_bps\n" + "0,1\n" * 30, "bare.csv: no column loss_rate or retrans_pkts"),
    "void.csv": ("t_ms,loss_rate\n" + "".join(f"{i},\n" for i in range(30)), "void.csv: the columns of loss"),
    "more.csv": ("t_ms,loss_rate\n" + "0,1.5\n" * 30, "more.csv:2: loss_rate 1.5 is not within 0..1"),
    "text.mm": ("1\n2\nthree\n", "text.mm:3: 'three' is no millisecond"),
    "back.mm": ("5\n4\n", "back.mm:2: 4 goes backwards"),
    "brief.mm": ("1\n" * 30, "brief.mm: 30 opportunities"),
    "burst.mm": ("1\n" * 2000 + "5000\n", "burst.mm: 2000 opportunities in one millisecond"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_traces_are_told_by_file_and_line(tmp_path: Path, name: str) -> None:
    text, expected = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises((traces.TraceRefused, traces.TraceWithoutLoss)) as refused:
        traces.read(tmp_path / name)
    assert str(refused.value).startswith(expected) and "\n" not in str(refused.value)


def test_what_is_not_packed_or_not_text_is_refused(tmp_path: Path) -> None:
    for name, data in {
        "a.mm.gz": b"1\n2\n",
        "b.mm.gz": gzip.compress(b"1\n" * 50)[:-9],
        "c.csv": b"t\xff",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(traces.TraceRefused, match=name):
            traces.read(tmp_path / name)


@given(st.binary(max_size=300), st.sampled_from(["x.pkt.csv", "x.csv", "x.mm", "x.mm.gz"]))
def test_any_bytes_are_a_trace_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    try:
        traces.read(path)
    except (traces.TraceRefused, traces.TraceWithoutLoss) as error:
        assert str(error).startswith(name)


def test_the_manifest_tells_when_a_trace_begins(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.md").write_text(
        "# Traces\n- `one`: is locked. It starts\n  at unix time 1694478364.17.\n- `two`: nothing.\n"
    )
    assert traces.start_unix_s(tmp_path, tmp_path / "one.pkt.csv.gz") == 1694478364.17
    assert traces.start_unix_s(tmp_path, tmp_path / "two.pkt.csv.gz") == 0


# ---- links ----


def test_books_of_a_replay_balance() -> None:
    """Without loss on the wire: what is sent arrives, is in the queue or on its way, or was dropped; and the
    sender knows it one round trip later."""
    many = [
        link(served=steady(500), queue=40, flows=2),
        link(wire_loss=np.full(MS, 0.1, np.float32)),
        link(served=steady(100), queue=5),
        link(),
    ]
    seen = links.replay(many, 1)
    sent, queue_lost, wire_lost = (x.sum(axis=0) for x in (seen.sent, seen.queue_lost, seen.wire_lost))
    last = seen.rows[-1]
    assert np.array_equal(last[:, Row.SENT], sent)
    assert np.array_equal(last[:, Row.INFLIGHT], sent - last[:, Row.ACKED] - last[:, Row.LOST])
    assert (last[:, Row.LOST] <= queue_lost + wire_lost).all()
    assert (np.diff(seen.rows[:, :, : Row.ACKED_BYTES + 1], axis=0) >= 0).all()
    assert queue_lost[0] > 0 and wire_lost[0] == 0 and queue_lost[1] == 0
    assert wire_lost[1] / sent[1] == pytest.approx(0.1, abs=0.03)
    assert queue_lost[2] / sent[2] == pytest.approx(0.5, abs=0.03)
    assert queue_lost[3] + wire_lost[3] == 0
    # On an idle link the latest round trip is the link's; behind a full queue of 5 at 100/s, 50 ms more.
    assert last[3, Row.RTT_LATEST_US] == pytest.approx(41_000, abs=2_000)
    assert last[2, Row.RTT_LATEST_US] == pytest.approx(90_000, abs=15_000)
    # In flight on the idle link: a round trip's worth.
    assert last[3, Row.INFLIGHT] == pytest.approx(8, abs=1)
    # TCP fills the link.
    assert last[0, Row.ACKED] / (MS / 1000) > 400


def test_bursts_have_the_length_and_share_that_was_asked_for() -> None:
    is_bad = samples.ge_states(400_000, 40, 0.1, np.random.default_rng(1))
    begins = np.flatnonzero(np.diff(is_bad.astype(int)) == 1)
    assert is_bad.mean() == pytest.approx(0.1, abs=0.02)
    assert is_bad.sum() / len(begins) == pytest.approx(40, rel=0.15)


def test_probes_become_rows() -> None:
    t = np.arange(0, 2000, 20.0)
    lost = np.zeros(100, bool)
    lost[50] = True
    seen = samples.seen_of_probes(traces.PktTrace(t, np.where(lost, 0, 30_000.0), lost), 5.0)
    assert seen.sent.sum() == 100 and seen.wire_lost.sum() == 1 and seen.wire_lost[100, 0] == 1
    rows = seen.rows[:, 0]
    assert rows[-1, Row.ACKED] == 98 and rows[-1, Row.RTT_LATEST_US] == 30_000
    known = int(np.argmax(rows[:, Row.LOST] > 0))
    assert known * 10 + 10 >= 1000 + 30 + 10 and known * 10 <= 1000 + 30 + 30


def test_the_time_of_a_probe_tells_nothing_of_its_fate() -> None:
    """A ping that waits for replies writes a lost one down 5 s late: times up to it are as if it had come."""
    dice = np.random.default_rng(1)
    gaps = 200 + dice.integers(0, 40, 60).astype(float)
    lost = np.zeros(60, bool)
    lost[30] = True
    late = gaps.copy()
    late[30] += 5000
    calm, paused = (
        traces.PktTrace(np.cumsum(g), np.full(60, 1e5), is_lost)
        for g, is_lost in ((gaps, np.zeros(60, bool)), (late, lost))
    )
    a, b = samples.even(calm), samples.even(paused)
    assert np.array_equal(a[:31], b[:31]) and (np.diff(b) > 0).all()
    assert np.abs(a - calm.t_ms).max() < 100
    # After the pause it goes on where the ping went on.
    assert np.abs(b[31:] - paused.t_ms[31:]).max() < 100


def test_samples_tell_what_is_lost_50_to_100_ms_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """One loss, of what is sent in [2000, 2010) ms: true for moments 50..100 ms before, and no other."""
    wire = np.zeros(MS, np.float32)
    wire[2000:2010] = 1
    found = samples.observe(links.replay([link(wire_loss=wire)], 1), warm=100, every=1)
    moments = (np.flatnonzero(found.lost > 0) + 101) * 10
    assert moments.tolist() == [1910, 1920, 1930, 1940, 1950]
    soon = (np.flatnonzero(found.any_soon) + 101) * 10
    assert soon.tolist() == [*range(1910, 2010, 10)]
    assert (found.sent == 10).all() and found.queue_lost.sum() == 0


def test_a_guess_of_congestion_by_the_queue() -> None:
    many = [link(served=steady(500), queue=40, flows=2), link(wire_loss=np.full(MS, 0.05, np.float32))]
    seen = links.replay(many, 1)
    state = LossFeatures(2)
    for step, rows in enumerate(seen.rows):
        state.step(step * 0.01, rows)
    assert state.congestive[0] > 0.5 and state.congestive[1] == 0


def test_intervals_become_links() -> None:
    loss = np.array([0.0, np.nan, 0.5] * 10)
    trace = traces.IvalTrace(np.arange(30) * 1000.0, np.full(30, 80_000.0), loss)
    (one,) = samples.interval_links(trace, "x")
    assert len(one.constant) == samples.LENGTH_MS and one.rtt_ms[0] == 80
    assert one.wire_loss is not None and one.wire_loss[500] == 0 and one.wire_loss[1500] == 0
    assert one.wire_loss[2500] == 0.5


# ---- judging ----


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_average_precision_by_its_definition(pairs: list[tuple[bool, int]]) -> None:
    truth = np.array([t for t, _ in pairs])
    score = np.array([float(s) for _, s in pairs])
    expected, recall_before = 0.0, 0.0
    for limit in sorted(set(score.tolist()), reverse=True):
        chosen = score >= limit
        recall = (truth & chosen).sum() / max(truth.sum(), 1)
        expected += (recall - recall_before) * (truth & chosen).sum() / chosen.sum()
        recall_before = recall
    found = judge.auc_pr(truth, score)
    assert found == pytest.approx(expected) if truth.any() else np.isnan(found)


def some_samples(count: int, seed: int = 1) -> samples.Samples:
    dice = np.random.default_rng(seed)
    loss = np.where(dice.random(count) < 0.2, dice.integers(1, 10, count), 0).astype(np.float32)
    zeros = np.zeros(count, np.float32)
    return samples.Samples(
        zeros[:, None, None], zeros[:, None], zeros + 10, loss, zeros, loss > 0, zeros, zeros[:, None], zeros,
        np.zeros(count, np.int64),
    )  # fmt: skip


def test_knowing_beats_guessing_in_every_figure() -> None:
    data = some_samples(4000)
    truth, noise = data.lost, np.random.default_rng(2).random(4000)
    assert judge.auc_pr(truth > 0, truth) == 1 and judge.auc_pr(truth > 0, noise) < 0.3
    assert judge.log_loss(truth > 0, truth) < 0.02 < 0.4 < judge.log_loss(truth > 0, noise)
    assert judge.repair_area(data, truth) < 0.3 < 0.6 < judge.repair_area(data, noise) <= 1


# ---- the whole way, small ----


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "LENGTH_MS", MS)
    monkeypatch.setattr(samples, "WARM_STEPS", 100)
    monkeypatch.setattr(samples, "clock_trace", lambda dice: (clocked(dice), 0.0))
    monkeypatch.setattr(samples, "CLOCK_JUDGE", 2)
    monkeypatch.setattr(samples, "CLOCK_LEARN", 2)

    def few(seed: int, *, is_judged: bool) -> list[links.Link]:
        dice = np.random.default_rng(seed)
        ge = [samples._ge(f"g{i}", (40, 0.8, 0.1, 0.0), 20, 200, dice) for i in range(9)]
        queue = [samples._queue(f"q{i}", 500, 20, 1.0, 2, 0.1) for i in range(9)]
        return ge + queue

    monkeypatch.setattr(samples, "generated", few)

    def clocked(dice: np.random.Generator) -> traces.PktTrace:
        t = np.arange(0, 5000, 20.0)
        lost = dice.random(len(t)) < 0.05
        return traces.PktTrace(t, np.where(lost, 0, 30_000.0), lost)


@pytest.mark.usefixtures("small")
def test_a_folder_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, models = tmp_path / "traces", tmp_path / "models"
    folder.mkdir()
    models.mkdir()
    model = loss_onnx.model_of(random_weights(1))
    write(models, model, sheet_for(model, learned_from={"known": 1.0}))
    (folder / "probes.pkt.csv").write_text(pkt(300))
    (folder / "known.mm").write_text("".join(f"{i * 3}\n" for i in range(1500)))
    (folder / "cell.mm").write_text("".join(f"{i * 3}\n" for i in range(1500) if i % 300 > 60))
    (folder / "broken.pkt.csv").write_text("t_ms,rtt_us,lost\n0,x,0\n")
    (folder / "steady.csv").write_text("t_ms,bw_bps\n" + "0,1\n" * 30)
    out = tmp_path / "found.json"
    options = ["--traces", str(folder), "--json", str(out), "--models", str(models), "--no-tree"]
    assert evaluate.main(options, tmp_path) == 0
    found = json.loads(out.read_text())
    assert found["schema"] == evaluate.SCHEMA and found["gbdt"] == "left out"
    assert found["model"]["digest"] == hashlib.sha256(model).hexdigest()
    assert set(found["files"]) == {"probes", "known", "cell"}
    assert found["files"]["known"]["learned"] == 1 and found["files"]["cell"]["family"] == "cellular"
    # What was learned from does not judge its family.
    assert found["families"]["cellular"]["samples"] == found["files"]["cell"]["samples"]
    assert set(found["families"]) == {"ge", "queue", "clock", "cellular", "pkt"}
    assert found["skipped"] == [
        "passed over: broken.pkt.csv:2: rtt_us 'x' is no number",
        "passed over: steady.csv: no column loss_rate or retrans_pkts",
    ]
    for row in (*found["families"].values(), *found["files"].values()):
        assert set(row["predictors"]) == {"last", "ewma", "ge", "lstm"}
    ge = found["families"]["ge"]["predictors"]
    assert ge["ge"]["auc_pr"] > found["families"]["ge"]["base"]
    assert "known (learned from)" in capsys.readouterr().out


def test_without_folder_or_model_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--traces", str(tmp_path / "none")], tmp_path) == 1
    assert "no folder" in capsys.readouterr().err
    assert evaluate.main(["--models", str(tmp_path)], tmp_path) == 1
    assert "the model:" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_small_training_learns_and_repeats(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch (extra `train`, 800 MB) is not installed")
    from oxidized.ml import loss_predictor as shipped
    from oxidized.ml.training import loss

    plan = loss.Plan(1, (0, 1), 60, False)
    sheets = [loss.write(tmp_path / name, None, plan, lambda _: None) for name in ("one", "other")]
    assert sheets[0] == sheets[1]
    files = [
        tmp_path / name / f"{shipped.NAME}{end}"
        for end in (".onnx", ".json", ".md")
        for name in ("one", "other")
    ]
    contents = [path.read_bytes() for path in files]
    assert contents[0::2] == contents[1::2]
    session, sheet = shipped.check(contents[0], contents[2])
    assert session and sheet.fallback in ("ewma", "ge")
    ge = sheets[0]["families"]["ge"]
    assert ge["predictors"]["lstm"]["auc_pr"] > 1.5 * ge["base"]


def test_held_out_networks_are_there_and_not_learned_from() -> None:
    if not TRACES.is_dir():
        pytest.skip(f"{TRACES} is not there")
    names = {traces.stem_of(path) for path in traces.files(TRACES)}
    assert names >= samples.HELD_OUT
    sheet = json.loads((ROOT / "models/loss_predictor.json").read_text("utf-8"))
    assert not set(sheet["learned_from"]) & samples.HELD_OUT
