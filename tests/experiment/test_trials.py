"""Runs of which only validation is asked."""

from __future__ import annotations

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
