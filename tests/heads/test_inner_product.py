"""The inner product of a task's own rows."""

from __future__ import annotations

import pairwise
import pytest

from mbjax.heads import inner_product


@pytest.mark.parametrize("num_behaviors", [1, 3])
def test_scores(num_behaviors):
    case = pairwise.trial(inner_product.InnerProductConfig(), num_behaviors)
    assert case.params == {}
    pairwise.check_scores(case, lambda task, u, v: case.product(task, u, v).sum())


def test_no_gates_no_penalty():
    case = pairwise.trial(inner_product.InnerProductConfig(), 3)
    assert case.call(lambda head: head.gates(0, None, None)) is None
    assert pairwise.penalty(case) == 0.0


def test_gradients_at_zero_rows():
    pairwise.check_gradients(inner_product.InnerProductConfig(), 2)
