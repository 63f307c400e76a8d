"""Which cases of a test ``make test`` takes, where all of them take long: the others are of ``make test-all``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

# Backbones and heads that stand for themselves: each in its own tests, in few of those that all go through.
ALONE = {"mbgcn", "rgcn", "gnmr", "smbrec", "residual"}


def cases(every: Iterable[Any], is_usual: Callable[[Any], bool]) -> list[Any]:
    """Parameters of a test, the unusual ones marked ``exhaustive``; several values of a case are a tuple."""

    def rare(case):
        return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.exhaustive)

    return [case if is_usual(case) else rare(case) for case in every]


def fixture(every: Iterable[Any], is_usual: Callable[[Any], bool]) -> list[Any]:
    """Likewise for ``params`` of a fixture, which gets each case as one value."""
    return [pytest.param(case, marks=() if is_usual(case) else pytest.mark.exhaustive) for case in every]
