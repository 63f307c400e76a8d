"""The residual head: the formula, what is regularized, gradients."""

from __future__ import annotations

import numpy as np
import pairwise
import pytest

from mbjax.heads import residual


@pytest.mark.parametrize("num_behaviors", [3])
def test_scores(num_behaviors):
    case = pairwise.trial(residual.ResidualConfig(scale=2.0), num_behaviors)

    def formula(task, u, v):
        x = 2.0 * case.product(task, u, v)
        hidden = np.maximum(x @ case.param("kernel")[task] + case.param("bias")[task], 0)
        return (x + hidden) @ case.param("unit")[task][:, 0]

    pairwise.check_scores(case, formula)


def test_the_bias_is_free():
    case = pairwise.trial(residual.ResidualConfig(), 2)
    assert pairwise.penalty(case) == pytest.approx(pairwise.squares(case, "kernel", "unit"), rel=1e-5)


@pytest.mark.exhaustive
def test_gradients_at_zero_rows():
    pairwise.check_gradients(residual.ResidualConfig(scale=1.0), 2)
