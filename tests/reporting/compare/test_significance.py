"""The tests give the p-values that one works out by hand, and Holm's correction its textbook numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbjax.reporting.compare import significance

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_by_hand():
    # Ascending: 4 x .005 = .02, 3 x .01 = .03, 2 x .03 = .06, and 1 x .04 is raised to the .06 before it.
    np.testing.assert_allclose(significance.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(significance.holm([0.6, 0.5]), [1.0, 1.0])
    np.testing.assert_allclose(significance.holm([0.03]), [0.03])
    assert significance.holm([]).size == 0


@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(values):
    corrected = significance.holm(values)
    assert (np.diff(corrected[np.argsort(values, kind="stable")]) >= 0).all()
    assert (corrected >= values).all()
    assert (corrected <= np.minimum(1, len(values) * np.array(values)) + 1e-15).all()
    assert corrected.min() == min(1, len(values) * min(values))


def test_both_tests_by_hand():
    # Differences -1, -2, -3: mean -2, deviation 1, t = -2 / (1 / sqrt 3), t^2 = 12. Student's distribution with two
    # degrees of freedom has P(|T| > t) = 1 - t / sqrt(2 + t^2), so its two-sided 5 % point is sqrt(2 a / (1 - a)),
    # a = .95^2. Three ranks of one sign have probability 2 / 2^3.
    best, other = np.array([1.0, 3.0, 4.0]), np.array([0.0, 1.0, 1.0])
    found = significance.paired(best, other)
    half = np.sqrt(2 * 0.9025 / 0.0975) / np.sqrt(3)
    np.testing.assert_allclose((found.difference, found.low, found.high), (-2, -2 - half, -2 + half))
    np.testing.assert_allclose(found.t_test, 1 - np.sqrt(12 / 14))
    np.testing.assert_allclose(found.wilcoxon, 0.25)
    assert (found.better, found.worse) == (0, 3)
    turned = significance.paired(other, best)
    assert (turned.difference, turned.t_test, turned.better) == (2, found.t_test, 3)


def test_against_corrects_over_all_that_are_compared():
    best = np.array([1.0, 3.0, 4.0])
    found = significance.against(best, {"lower": np.array([0.0, 1.0, 1.0]), "same": best})
    np.testing.assert_allclose(found["lower"].t_test_holm, 2 * (1 - np.sqrt(12 / 14)))
    np.testing.assert_allclose(found["lower"].wilcoxon_holm, 0.5)
    assert found["same"] == (0, 0, 0, 0, 0, 1, 1, 1, 1)


def test_differences_by_rounding_are_none():
    values = np.array([0.1 + 0.2, 0.5, 0.7])
    found = significance.paired(values, np.array([0.3, 0.5, 0.7]))
    assert (found.t_test, found.wilcoxon, found.better, found.worse) == (1, 1, 0, 0)


def test_the_same_difference_everywhere():
    found = significance.paired(np.zeros(5), np.full(5, 0.25))
    assert (found.difference, found.low, found.high, found.t_test) == (0.25, 0.25, 0.25, 0)
    np.testing.assert_allclose(found.wilcoxon, 2 / 2**5)


@pytest.mark.parametrize("other", [np.zeros(3), np.zeros((2, 1)), np.zeros(1)])
def test_users_must_be_the_same(other):
    with pytest.raises(ValueError, match="equal lists"):
        significance.paired(np.zeros(1 if other.size == 1 else 2), other)
