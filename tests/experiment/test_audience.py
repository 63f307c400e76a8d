"""Whose events are not written as those of the run."""

import types

import numpy as np
import pytest

from mbjax.data import moments
from mbjax.experiment import audience

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
    found = audience._of_times(dataset, types.SimpleNamespace(events=parts(new, new + DAY)))
    assert found is None if said is None else said in found
    assert "have no times" in audience._of_times(dataset, types.SimpleNamespace(events=None))
    nobody_says = types.SimpleNamespace(events={"train": {}, "valid": {}})
    assert audience._of_times(nobody_says, types.SimpleNamespace(events=parts(new))) is None
