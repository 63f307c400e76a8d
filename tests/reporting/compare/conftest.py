"""Runs to compare: made-up results files, and tiny runs trained once in a session."""

from __future__ import annotations

import contextlib
import json

import pytest
import trial

from mbjax import compilation, experiment
from mbjax.reporting import plots

METRICS = ("ndcg@5", "hr@5")


@pytest.fixture
def make_record():
    """``make_record(purchase=0.5, seed=1, ...)``: a results file of BVAE on JD, as a dict; a number is every metric."""

    def make(purchase=0.5, click=0.25, selection="valid", protocol="honest", **changes):
        def row(value):
            part = {"users": 2, **dict.fromkeys(METRICS, value / 2)}
            values = {"epoch": 7, "users": 4, "pairs": 9, **dict.fromkeys(METRICS, value)}
            return values | {"visited": {"pairs": 2, **part}, "unvisited": {"pairs": 7, **part}}

        if isinstance(protocol, str):
            valid = "none" if protocol == "paper" else "file"
            protocol = {"name": protocol, "valid": valid, "mask": "same_behavior", "mask_valid": False}
        record = {
            "model": "bvae",
            "dataset": "jd",
            "ablation": None,
            "overrides": {},
            "seed": 0,
            "protocol": protocol,
            "behaviors": ["click", "purchase"],
            "epochs": 10,
            "dataset_fingerprint": "ab" * 32,
            "selection": {selection: {"click": row(click), "purchase": row(purchase)}},
        }
        return record | changes

    return make


@pytest.fixture
def write(tmp_path, make_record):
    """``write("a.json", purchase=0.5, ...)`` writes a results file and returns its path as text."""

    def make(name, **changes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make_record(**changes)))
        return str(path)

    return make


@pytest.fixture
def anchor(make_record):
    """The changes that make a record one of popularity."""
    return {"model": "popularity", "epochs": 0, "selection": "last"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Runs on the toy data, in folders ``multivae0``, ``multivae1`` (Mult-VAE of two seeds) and ``popularity``."""
    root = tmp_path_factory.mktemp("trained")
    data = trial.write_data(root / "toy")
    with trial.compiled_once(root / "cache"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "per_behavior", lambda *args, **options: None)
        patch.setattr(plots, "learning_curve", lambda *args, **options: None)
        for seed in (0, 1):
            config = trial.config(data, "multivae", train__epochs=2).model_copy(update={"seed": seed})
            experiment.train(config, root / "runs" / f"multivae{seed}")
        experiment.train(trial.config(data, "popularity"), root / "runs" / "popularity")
    return root / "runs"


@pytest.fixture
def compiled(trained, monkeypatch):
    """Programs that were compiled for ``trained`` are used again, and the user's cache is left alone."""
    monkeypatch.setattr(compilation, "keep", lambda: None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(trial.compiled_once(trained.parent / "cache"))
        yield
