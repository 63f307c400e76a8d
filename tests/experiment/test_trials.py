"""Runs of which only validation is asked."""

from __future__ import annotations

import shutil
import time

import pytest
import trial

from mbjax import experiment


@pytest.mark.exhaustive
def test_a_run_that_is_given_up_ends_there(four, folder, tmp_path):
    seen = []

    def watch(epoch, value):
        seen.append((epoch, value))
        return epoch == 1

    found = experiment.attempt(trial.config(folder), tmp_path / "run", watch=watch)
    assert found.reason == "given up" and [epoch for epoch, _ in seen] == [0, 1]
    assert found.value == max(value for _, value in seen)
    assert not (tmp_path / "run" / "results.json").exists()


def test_the_time_of_a_sweep_counts_what_comes_before_the_first_step(four, folder, tmp_path, cache):
    config = trial.config(folder, train__max_minutes=1.0)
    with trial.compiled_once(cache):
        found = experiment.attempt(config, tmp_path / "run", began=time.perf_counter() - 60)
    assert found.reason == "time" and found.epoch == 0


def test_the_test_split_is_read_as_the_run_was_told(four, tmp_path):
    shutil.copytree(four.workdir, tmp_path / "run")
    assert experiment.tested(tmp_path / "run")["buy"].keys() >= {"groups", "ndcg@5"}
