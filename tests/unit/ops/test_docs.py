"""The pages that are made from the code say what the code says."""

from __future__ import annotations

import os
import re
from pathlib import Path

from docs import generate
from oxidized.io.metrics_table import METRICS
from tests.unit.ops.samples import status_document


def test_pages_are_not_stale() -> None:
    assert generate.stale() == [], "python -m docs.generate --write"


def test_staleness_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/metrics.md").write_text(generate.metrics_page() + "x")
    assert generate.stale(tmp_path) == ["docs/configuration.md", "docs/metrics.md", "docs/states.md"]


def test_every_drop_reason_of_the_core_is_found() -> None:
    text = (generate.ROOT / "native/core/drop.h").read_text()
    assert len(generate.drop_reasons()) == len(re.findall(r"^\s*X\([A-Z]", text, re.MULTILINE)) > 10


def test_alerts_name_only_metrics_that_exist() -> None:
    text = (generate.ROOT / "systemd/oxidized-alerts.yml").read_text()
    used = set(re.findall(r"\b(?:oxidized|process)_\w+", text))
    assert used and used <= {metric.name for metric in METRICS}


def test_alerts_name_only_labels_that_exist() -> None:
    labels = {metric.name: {"interface", *metric.labels} for metric in METRICS}
    text = (generate.ROOT / "systemd/oxidized-alerts.yml").read_text()
    for name, selector in re.findall(r"(oxidized_\w+)\{(\w+)", text):
        assert selector in labels[name]
    reasons = re.findall(r'reason!~"([^"]+)"', text)[0].split("|")
    assert set(reasons) <= set(generate.drop_reasons())


def test_page_tells_of_every_counter_of_the_sample() -> None:
    page = (generate.ROOT / "docs/metrics.md").read_text()
    drops = status_document()["plane"]["drops"]
    assert {reason for reasons in drops.values() for reason in reasons if f"`{reason}`" not in page} == set()
    assert os.path.exists(generate.ROOT / "examples/hub.toml")
