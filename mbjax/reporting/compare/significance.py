"""Paired tests over users: is a run worse than the best one, or was it unlucky with these users?

The users are the sample: of each, the value under the one run is paired with the value under the other. Student's
paired t-test asks whether the mean difference is 0, Wilcoxon's signed-rank test whether the differences lie evenly
about 0; per-user metrics have few distinct values and long tails, so both are told. All tests are two-sided.

Reference: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6 (1979).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
"""Below it a corrected p-value is called significant."""
DECIMALS = 12
"""Differences are rounded to so many: means over seeds that are equal must not differ by the order of summation."""


class Outcome(NamedTuple):
    """A run compared with the best one.

    Attributes:
      difference: mean over users of the run's value minus the best run's.
      low, high: 95 % confidence interval of it, by the t-test.
      better, worse: users with a larger, a smaller value than under the best run; the rest are equal.
      t_test, wilcoxon: p-values.
      t_test_holm, wilcoxon_holm: the same, corrected for the number of runs compared with the best.
    """

    difference: float
    low: float
    high: float
    better: int
    worse: int
    t_test: float
    wilcoxon: float
    t_test_holm: float = np.nan
    wilcoxon_holm: float = np.nan


def against(best: np.ndarray, others: Mapping[str, np.ndarray]) -> dict[str, Outcome]:
    """Tests several runs against one.

    Args:
      best: float [n], a value for each user.
      others: name -> float [n], the same users in the same order.

    Returns:
      name -> Outcome; both kinds of p-values are corrected over all the names.
    """
    found = {name: paired(best, values) for name, values in others.items()}
    t_test = holm([outcome.t_test for outcome in found.values()])
    wilcoxon = holm([outcome.wilcoxon for outcome in found.values()])
    return {
        name: outcome._replace(t_test_holm=float(t), wilcoxon_holm=float(w))
        for (name, outcome), t, w in zip(found.items(), t_test, wilcoxon, strict=True)
    }


def paired(best: np.ndarray, other: np.ndarray) -> Outcome:
    """Both tests of one pair of runs, not corrected.

    Users with equal values are left out of Wilcoxon's test, as Wilcoxon did. Where all users are equal, both p-values
    are 1. Raises ValueError for less than two users.
    """
    if best.shape != other.shape or best.ndim != 1 or best.size < 2:
        raise ValueError(f"values of shapes {best.shape} and {other.shape}: two equal lists of at least two users.")
    difference = np.round(other - best, DECIMALS)
    counts = {"better": int((difference > 0).sum()), "worse": int((difference < 0).sum())}
    if not difference.any():
        return Outcome(0.0, 0.0, 0.0, **counts, t_test=1.0, wilcoxon=1.0)
    with warnings.catch_warnings():
        # One and the same difference for every user: its spread is 0 and the t-test's p-value too.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        t_test = stats.ttest_1samp(difference, 0.0)
        low, high = t_test.confidence_interval(0.95)
    wilcoxon = stats.wilcoxon(difference, zero_method="wilcox")
    return Outcome(
        float(difference.mean()),
        float(low),
        float(high),
        **counts,
        t_test=float(t_test.pvalue),
        wilcoxon=float(wilcoxon.pvalue),
    )


def holm(values: Sequence[float]) -> np.ndarray:
    """Holm's corrected p-values: the i-th smallest of m times (m - i + 1), never below one before it, at most 1.

    Args:
      values: p-values, in any order.

    Returns:
      float [m], in the order given.
    """
    given = np.asarray(values, np.float64)
    order = np.argsort(given, kind="stable")
    grown = np.maximum.accumulate(given[order] * np.arange(given.size, 0, -1))
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(grown, 1.0)
    return corrected
