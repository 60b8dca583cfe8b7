"""The stages of `./dev test`: all run, a failure of one is the failure of all, and what it said is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import lanes

PYTEST_LOG = """\
....F
=================================== FAILURES ===================================
    assert 1 == 2
=========================== short test summary info ============================
FAILED tests/a.py::test_a - assert 1 == 2
1 failed, 4 passed in 0.10s
"""


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def run(folder: Path, **scripts: str) -> tuple[list[lanes.Outcome], str]:
    told: list[str] = []
    commands: dict[str, Sequence[str]] = {name: shell(script) for name, script in scripts.items()}
    return lanes.run_all(commands, folder / "log", told.append), "\n".join(told)


def test_all_pass(tmp_path: Path) -> None:
    outcomes, told = run(tmp_path, a="echo quiet", b="echo too >&2", c="true")
    assert [(each.name, each.returncode) for each in outcomes] == [("a", 0), ("b", 0), ("c", 0)]
    assert [each.lines() for each in outcomes] == [["quiet"], ["too"], []]
    assert "quiet" not in told and told.count("begins") == told.count("passed") == 3


@pytest.mark.parametrize("place", range(4))
def test_one_failure_is_told_and_ends_nothing(tmp_path: Path, place: int) -> None:
    scripts = {f"s{n}": "echo ran" for n in range(4)} | {f"s{place}": "echo no good; exit 3"}
    outcomes, told = run(tmp_path, **scripts)
    assert [each.returncode for each in outcomes] == [3 if n == place else 0 for n in range(4)]
    assert "no good" in told and told.count("FAILED") == 1
    assert all(each.lines() == ["ran"] for each in outcomes if not each.returncode)


def test_two_at_once_and_no_more(tmp_path: Path) -> None:
    """The first waits for the second; the third and the fourth find one of two places free."""
    fifo = tmp_path / "fifo"
    scripts = {"a": f"mkfifo {fifo}; cat {fifo}",
               "b": f"while ! test -p {fifo}; do :; done; echo met >{fifo}"}  # fmt: skip
    count = f"mkdir {tmp_path}/in-$$; ls -d {tmp_path}/in-* | wc -l; rmdir {tmp_path}/in-$$"
    outcomes, _ = run(tmp_path, **scripts, c=count, d=count, e=count)
    assert outcomes[0].lines() == ["met"]
    assert all(int(each.lines()[0]) <= 2 for each in outcomes[2:])


def test_all_but_the_first_stand_back(tmp_path: Path) -> None:
    outcomes, _ = run(tmp_path, a="nice", b="nice", c="nice")
    mine, *others = (int(each.lines()[0]) for each in outcomes)
    assert [other - mine for other in others] == [min(lanes.NICENESS, 19 - mine)] * 2


def test_the_account_of_a_failure() -> None:
    lines = PYTEST_LOG.splitlines()
    assert lanes.why(lines) == lines[1:]
    assert lanes.why([f"line {n}" for n in range(100)]) == [f"line {n}" for n in range(60, 100)]
    long = lanes.why([*lines[:2], *map(str, range(1000)), *lines[2:]])
    assert len(long) == lanes.TOLD_LINES_MAX + 1 and long[-2:] == lines[-2:] and "[805 lines]" in long


def test_the_summary_names_the_tests_that_failed(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(PYTEST_LOG)
    (tmp_path / "empty").write_text("")
    told = lanes.summary(
        [lanes.Outcome("unit", 1, 12.3, tmp_path / "log"), lanes.Outcome("lint", 0, 4.0, tmp_path / "empty")]
    )
    assert re.sub(" +", " ", told).splitlines() == [
        "unit FAILED 12 s 1 failed, 4 passed in 0.10s",
        " FAILED tests/a.py::test_a - assert 1 == 2",
        "lint passed 4 s ",
    ]


@pytest.mark.parametrize(("codes", "code"), [((0, 0, 0), 0), ((0, 0, 1), 1), ((2, 0, 0), 1)])
def test_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    codes: tuple[int, ...], code: int,
) -> None:  # fmt: skip
    """With a ./dev of our own, whose stages are exit codes."""
    (tmp_path / "dev").write_text('#!/bin/sh\necho "$1 $2"; exit "${2#*-}"\n')
    (tmp_path / "dev").chmod(0o755)
    monkeypatch.setattr(lanes, "ROOT", tmp_path)
    names = [f"s{n}-{each}" for n, each in enumerate(codes)]
    assert lanes.main(names) == code
    said = capsys.readouterr().out
    assert all(re.search(rf"{name} +(passed|FAILED) +\d+ s  stage {name}", said) for name in names)
