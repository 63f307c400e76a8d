"""The aggregation schemes of Table 4 of COPF, with the products and blocks of every pair written out."""

from __future__ import annotations

import numpy as np
import pairwise
import pytest
import usual

from mbjax.heads import aggregation

SCHEMES = ("summation", "linear", "vanilla")


def formula(case, scheme, shared):
    def score(task, u, v):
        own = case.product(task, u, v)
        which = 0 if shared else task
        total = own.copy()
        for j in range(len(case.encoding.behaviors)):
            if j == task:
                continue
            other = case.product(j, u, v)
            if scheme == "summation":
                total += other
            elif scheme == "linear":
                total += other @ case.param("kernel")[which]
            else:
                blocks = [own, other, own - other, own * other]
                logits = np.concatenate(blocks) @ case.param("kernel")[which] + case.param("bias")[which]
                total += sum(w * block for w, block in zip(pairwise.softmax(logits), blocks, strict=True))
        return total.sum()

    return score


@pytest.mark.parametrize("num_behaviors", usual.cases([1, 2, 3, 4], {1, 3}.__contains__))
@pytest.mark.parametrize("scheme", SCHEMES)
def test_scores(num_behaviors, scheme):
    case = pairwise.trial(aggregation.AggregationConfig(scheme=scheme), num_behaviors)
    pairwise.check_scores(case, formula(case, scheme, True))


@pytest.mark.parametrize("scheme", ["linear", "vanilla"])
def test_weights_of_each_task(scheme):
    case = pairwise.trial(aggregation.AggregationConfig(scheme=scheme, shared=False), 3)
    assert case.params["kernel"].shape[0] == 3
    pairwise.check_scores(case, formula(case, scheme, False))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_penalty(scheme):
    case = pairwise.trial(aggregation.AggregationConfig(scheme=scheme), 3)
    expected = 0.0 if scheme == "summation" else pairwise.squares(case, "kernel")
    assert pairwise.penalty(case) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_at_zero_rows(scheme):
    pairwise.check_gradients(aggregation.AggregationConfig(scheme=scheme), 2)
