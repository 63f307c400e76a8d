"""Runs added up to settings, by hand."""

from __future__ import annotations

import pytest

from mbjax import errors
from mbjax.sweep import records


def record(number, seed, value, state="finished", model="ease"):
    return records.Record(model, number, seed, {"x": str(number)}, state, "mean:ndcg@5", value)


def test_a_setting_counts_where_all_seeds_finished():
    runs = [record(0, 0, 0.2), record(0, 1, 0.4), record(1, 0, 0.9), record(1, 1, None, "failed"), record(2, 0, 0.8)]
    found = records.lines(runs, (0, 1))
    assert [(line.mean, line.is_whole, line.state) for line in found] == [
        (pytest.approx(0.3), True, "finished"),
        (0.9, False, "failed"),
        (0.8, False, "finished"),
    ]
    assert found[0].deviation == pytest.approx(0.1) and found[1].deviation is None
    assert records.best(found, "ease").number == 0 and records.best(found, "bvae") is None


def test_of_equals_the_earliest():
    found = records.lines([record(0, 0, 0.1), record(1, 0, 0.5), record(2, 0, 0.5)], (0,))
    assert records.best(found, "ease").number == 1


def test_a_run_that_was_given_up_is_not_chosen():
    found = records.lines([record(0, 0, 0.1), record(1, 0, 0.5, "given up")], (0,))
    assert records.best(found, "ease").number == 0 and found[1].mean is None


def test_a_record_is_read_back(tmp_path):
    assert records.read(tmp_path, "ease-000-seed0") is None
    records.write(tmp_path, record(0, 0, 0.2))
    assert records.read(tmp_path, "ease-000-seed0") == record(0, 0, 0.2)
    (tmp_path / "ease-000-seed0.json").write_text("{")
    with pytest.raises(errors.DataError, match="Delete it, and the run is made again"):
        records.read(tmp_path, "ease-000-seed0")
