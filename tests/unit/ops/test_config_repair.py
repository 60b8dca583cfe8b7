"""`[repair]`: defaults, what each key means to the core, and where a mistake stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxidized import config, keys
from oxidized.core.plane import RepairMode
from oxidized.core.settings import RepairSettings
from oxidized.errors import ConfigError
from tests.unit.ops.samples import EDGE, PRIVATE, write

LINE = EDGE.count("\n") + 2  # of the first key of the table


def settings_of(folder: Path, table: str = "") -> RepairSettings:
    if not (folder / "key").exists():
        keys.write_new(str(folder / "key"), PRIVATE)
    path = write(folder, EDGE + (f"[repair]\n{table}\n" if table else ""))
    return config.load(path).to_settings({"CREDENTIALS_DIRECTORY": str(folder)}).repair


def test_defaults(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, EDGE)).repair == config.RepairConfig(
        mode="auto", max_overhead=120, max_overhead_bulk=15, metered=False, order=True, predictor="auto"
    )
    assert settings_of(tmp_path) == RepairSettings()


def test_all_keys(tmp_path: Path) -> None:
    found = settings_of(
        tmp_path,
        'mode = "fec"\nmax_overhead = 400\nmax_overhead_bulk = 0\norder = false\npredictor = "ge"',
    )
    assert found == RepairSettings(
        mode=RepairMode.FEC, overhead=4.0, overhead_ordered=0.0, order=False, predictor="ge"
    )


@pytest.mark.parametrize("mode", ["auto", "arq", "fec", "off"])
def test_each_mode_is_one_of_the_core(tmp_path: Path, mode: str) -> None:
    assert settings_of(tmp_path, f'mode = "{mode}"').mode.name == mode.upper()


def test_metered_bytes_count_double(tmp_path: Path) -> None:
    found = settings_of(tmp_path, "metered = true\nmax_overhead = 100\nmax_overhead_bulk = 10")
    assert (found.overhead, found.overhead_ordered) == (0.5, 0.05)


def test_effective_configuration_loads_to_the_same(tmp_path: Path) -> None:
    table = '[repair]\nmode = "arq"\nmetered = true\norder = false\npredictor = "ewma"\n'
    for source in (EDGE + table, EDGE):
        first = config.load(write(tmp_path, source))
        again = config.load(write(tmp_path, config.effective(first)))
        assert again.repair == first.repair


WRONG = [
    ('mode = "on"', "mode", '"on" is not "auto", "arq", "fec" or "off"'),
    ("mode = false", "mode", "is a boolean, not a string"),
    ("max_overhead = -1", "max_overhead", "-1 is outside 0..400"),
    ("max_overhead = 401", "max_overhead", "401 is outside 0..400"),
    ("max_overhead = 0.5", "max_overhead", "is a float, not an integer"),
    ("max_overhead_bulk = 401", "max_overhead_bulk", "401 is outside 0..400"),
    ('metered = "yes"', "metered", "is a string, not true or false"),
    ("order = 1", "order", "is an integer, not true or false"),
    ('predictor = "gbdt"', "predictor", '"gbdt" is not "auto", "lstm", "ge", "ewma" or "off"'),
    ("predict = 1", "predict", "unknown key; did you mean predictor?"),
]


@pytest.mark.parametrize(("table", "key", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong(tmp_path: Path, table: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, f"{EDGE}[repair]\n{table}\n"))
    found = [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]
    assert len(found) == 1 and found[0].startswith(f"edge.toml:{LINE}: repair.{key}: {message}"), found
