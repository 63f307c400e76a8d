"""Whose events are not written as those of the run."""

import dataclasses
import types

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from mbjax.data import histories, moments
from mbjax.experiment import earlier

DAY = 86_400.0


def parts(*seconds):
    return {"buy": moments.of(np.arange(len(seconds)), np.asarray(seconds, np.float64))}


@pytest.mark.parametrize(
    ("first", "new", "said"),
    [
        (1.7e9, 1.7e9 + 400 * DAY, None),
        (1.7e9, 1.7e9 - 400 * DAY, None),
        (19_723 * DAY, 1.7e9, None),  # a day in seconds is a date, as those are
        (20_240_101, 1.7e9, "53 years after the last that the run knows of"),
        (1.7e9, 20_240_101, "53 years before the first that the run knows of"),
    ],
)
def test_events_that_are_years_from_those_of_the_run_are_said(first, new, said):
    dataset = types.SimpleNamespace(events={"train": parts(first, first + 9 * DAY), "valid": {}})
    found = earlier.of_times(dataset, types.SimpleNamespace(events=parts(new, new + DAY)))
    assert found is None if said is None else said in found
    assert "have no times" in earlier.of_times(dataset, types.SimpleNamespace(events=None))
    nobody_says = types.SimpleNamespace(events={"train": {}, "valid": {}})
    assert earlier.of_times(nobody_says, types.SimpleNamespace(events=parts(new))) is None


def test_pairs_of_a_log_and_of_events_are_one_each():
    """A user who is new in the log, one who is known, and one of whom the log says nothing."""

    def pairs(*rows):
        return {"buy": sparse.csr_array(np.array(rows, np.uint8))}

    def history(users, known, *rows):
        return histories.Histories(pl.Series(users), np.array(known, np.int32), pairs(*rows), pl.Series([]), ())

    log = history(["w", "zz"], [-1, -1], [0, 0, 1], [1, 1, 0])
    given = history(["other", "zz", "ann"], [-1, -1, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0])
    found, added = earlier.with_log(log, given)
    assert added == 1 and found.pairs["buy"].toarray().tolist() == [[0, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert found.pairs["buy"].dtype == np.uint8 and earlier.with_log(None, given) == (given, 0)
    # When they happened: what both have once, also where the events do not say.
    when = {"buy": moments.of(np.array([2, 3, 4]), np.array([5.0, 6.0, 7.0]))}  # w's third item, zz's first two
    timed = dataclasses.replace(log, events=when)
    found, _ = earlier.with_log(timed, given)
    assert (found.events["buy"].keys.tolist(), found.events["buy"].seconds.tolist()) == ([3, 4], [6.0, 7.0])
    now = dataclasses.replace(given, events={"buy": moments.of(np.array([4, 5, 6]), np.array([7.0, 8.0, 9.0]))})
    found, _ = earlier.with_log(timed, now)
    assert (found.events["buy"].keys.tolist(), found.events["buy"].seconds.tolist()) == ([3, 4, 5, 6], [6, 7, 8, 9])
