"""MMOE: experts, gates and towers of every pair written out."""

from __future__ import annotations

import itertools

import numpy as np
import pairwise
import pytest
import usual

from mbjax.heads import mmoe


def gate(case):
    def weights(task, u, v):
        return pairwise.softmax(case.merged(u, v) @ case.param("gate_kernel")[task] + case.param("gate_bias")[task])

    return weights


@pytest.mark.parametrize(
    ("num_behaviors", "experts"),
    usual.cases(itertools.product([1, 2, 3, 4], [1, 3]), {(1, 3), (2, 1), (3, 3), (4, 1)}.__contains__),
)
def test_scores_and_gates(num_behaviors, experts):
    case = pairwise.trial(mmoe.MmoeConfig(experts=experts), num_behaviors)
    weights = gate(case)
    pairwise.check_gates(case, weights)

    def formula(task, u, v):
        x = case.merged(u, v)
        outputs = [
            pairwise.leaky(x @ kernel + bias)
            for kernel, bias in zip(case.param("expert_kernel"), case.param("expert_bias"), strict=True)
        ]
        mixture = sum(g * h for g, h in zip(weights(task, u, v), outputs, strict=True))
        return (mixture @ case.param("tower_kernel")[task] + case.param("tower_bias")[task])[0]

    pairwise.check_scores(case, formula)


def test_slots():
    assert pairwise.trial(mmoe.MmoeConfig(experts=2), 3).head.slots(1) == ("expert 1", "expert 2")


def test_initial_kernels_have_the_limits_of_one_expert():
    case = pairwise.trial(mmoe.MmoeConfig(experts=8), 2)
    params = pairwise.initial(case)
    limit = np.sqrt(6 / (4 * pairwise.SIZE))
    assert 0.95 * limit < float(np.abs(params["expert_kernel"]).max()) <= limit
    assert not params["expert_bias"].any() and not params["gate_bias"].any() and not params["tower_bias"].any()


def test_penalty_and_gradients():
    case = pairwise.trial(mmoe.MmoeConfig(), 3)
    kernels = pairwise.squares(case, "expert_kernel", "gate_kernel", "tower_kernel")
    assert pairwise.penalty(case) == pytest.approx(kernels, rel=1e-5)
    pairwise.check_gradients(mmoe.MmoeConfig(), 2)
