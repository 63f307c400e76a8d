"""The bilinear head: vectors and full matrices."""

from __future__ import annotations

import numpy as np
import pairwise
import pytest
import usual

from mbjax.heads import bilinear


@pytest.mark.parametrize("num_behaviors", usual.cases([1, 2, 3, 4], {1, 3}.__contains__))
@pytest.mark.parametrize("full", [False, True])
def test_scores(num_behaviors, full):
    case = pairwise.trial(bilinear.BilinearConfig(full=full), num_behaviors)

    def formula(task, u, v):
        user, item = case.pair(task, u, v)
        matrix = case.param("matrix")[task] if full else np.diag(case.param("relation")[task])
        return user @ matrix @ item

    pairwise.check_scores(case, formula)


def test_vectors_are_free_and_matrices_are_not():
    assert pairwise.penalty(pairwise.trial(bilinear.BilinearConfig(), 3)) == 0.0
    case = pairwise.trial(bilinear.BilinearConfig(full=True), 3)
    assert pairwise.penalty(case) == pytest.approx(pairwise.squares(case, "matrix"), rel=1e-5)


@pytest.mark.parametrize("full", [False, True])
def test_gradients_at_zero_rows(full):
    pairwise.check_gradients(bilinear.BilinearConfig(full=full), 2)
