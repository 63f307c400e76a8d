"""How many runs fit, by hand."""

from __future__ import annotations

import pytest

from mbjax import errors
from mbjax.sweep import room


def found(**given):
    return {"platform": "gpu", "devices": 1, "free": 80e9, "takes": 10e9, "unknown": []} | given


@pytest.mark.parametrize(
    ("given", "cores", "number"),
    [
        ({}, 16, 6),  # 80 / 11.5
        ({}, 4, 4),
        ({"devices": 2}, 16, 12),
        ({"takes": 200e9}, 16, 1),
        ({"platform": "cpu", "free": 23e9, "takes": 1e9}, 16, 16),
        ({"platform": "cpu", "free": 23e9, "takes": 9e9}, 16, 2),  # 0.9 * 23 / 10.35
        ({"platform": "cpu", "takes": None, "unknown": ["ease"]}, 16, 1),
        ({"devices": 4, "takes": None}, 16, 4),
        ({"platform": "tpu", "devices": 4}, 16, 1),
    ],
)
def test_by_cores_and_memory(given, cores, number):
    fit, why = room.fitting(found(**given), cores)
    assert fit == number and why


def test_what_cannot_be_shared_is_refused():
    room.check(4, "gpu", 1), room.check(4, "cpu", 2), room.check(1, "tpu", 4)
    for given in ((2, "tpu", 1), (2, "gpu", 2)):
        with pytest.raises(errors.IncompatibleError, match="--jobs=2"):
            room.check(*given)
