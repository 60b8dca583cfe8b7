"""The models are found from an installed package as well as from the source tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import oxidized
from oxidized.ml import oracle

ROOT = Path(__file__).resolve().parents[3]
MODELS = ("compression_oracle", "loss_predictor")
FILES = [f"{name}.{end}" for name in MODELS for end in ("json", "md", "onnx")]


def test_a_build_brings_the_models_along(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for name in FILES:
        assert (tmp_path / "oxidized/models" / name).read_bytes() == (ROOT / "models" / name).read_bytes()


def test_installed_models_come_before_those_of_a_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "oxidized"
    package.mkdir()
    monkeypatch.setattr(oxidized, "__file__", str(package / "__init__.py"))
    assert oracle.model_directory({}) == tmp_path / "models"
    (package / "models").mkdir()
    assert oracle.model_directory({}) == package / "models"
    assert oracle.model_directory({"OXIDIZED_MODEL_DIR": "/srv/models"}) == Path("/srv/models")
    assert oracle.model_directory({"OXIDIZED_MODEL_DIR": ""}) == package / "models"
