"""Runs that the end-to-end tests share; each is trained once in a session."""

from __future__ import annotations

import functools
import math

import pytest
import trial

from mbjax import experiment
from mbjax.experiment import anchor_cache
from mbjax.reporting import plots


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The folder of compiled programs."""
    return tmp_path_factory.mktemp("compiled") / "cache"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The data set, a prepared folder."""
    return trial.write_data(tmp_path_factory.mktemp("data") / "toy")


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, cache, folder):
    """``uninterrupted(epochs)``: the Outcome of a run that nothing disturbs."""

    @functools.cache
    def run(epochs):
        with trial.compiled_once(cache):
            workdir = tmp_path_factory.mktemp("whole") / str(epochs)
            return experiment.train(trial.config(folder, train__epochs=epochs), workdir)

    return run


@pytest.fixture(scope="session")
def four(uninterrupted):
    """Four epochs."""
    return uninterrupted(4)


@pytest.fixture(scope="session")
def two(tmp_path_factory, cache, folder):
    """The folder of a run of two epochs, saved after each of them. Tests work on copies."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    with trial.compiled_once(cache):
        experiment.train(trial.config(folder, train__epochs=2, **trial.SAVE), workdir)
    return workdir


@pytest.fixture(autouse=True)
def frugal(cache, four, monkeypatch):
    """Compiles nothing twice; the plots are tested on the run ``four``, which comes first, and left out elsewhere.

    No test finds tables of anchors that another one has left.
    """
    monkeypatch.setattr(anchor_cache, "LEAST_SECONDS", math.inf)
    monkeypatch.setattr(plots, "per_behavior", lambda *args, **options: None)
    monkeypatch.setattr(plots, "learning_curve", lambda *args, **options: None)
    with trial.compiled_once(cache):
        yield
