"""A stand-in for the work, a run folder, and a user who types ``mbjax``."""

from __future__ import annotations

import sys

import commands
import pytest

import mbjax
from mbjax import config, models


@pytest.fixture
def experiment(monkeypatch):
    recorder = commands.Recorder()
    monkeypatch.setitem(sys.modules, "mbjax.experiment", recorder)
    monkeypatch.setattr(mbjax, "experiment", recorder, raising=False)
    return recorder


@pytest.fixture(autouse=True)
def _(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mbjax"])


@pytest.fixture
def run(tmp_path):
    """A run folder with nothing but its configuration."""
    made = config.load(
        "bvae", "jd", models.MODELS["bvae"].config, ablation="size_50", overrides={"monitor": "mean:ndcg@5"}
    )
    (tmp_path / "config.yaml").write_text(config.dump(made))
    return tmp_path
