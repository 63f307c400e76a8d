"""MMOE: experts, gates and towers of every pair written out."""

from __future__ import annotations

import jax
import numpy as np
import pairwise
import pytest

from mbjax.heads import mmoe
from mbjax.ops import pairs


def gate(case):
    def weights(task, u, v):
        return pairwise.softmax(case.merged(u, v) @ case.param("gate_kernel")[task] + case.param("gate_bias")[task])

    return weights


@pytest.mark.parametrize("num_behaviors", [1, 2, 3, 4])
@pytest.mark.parametrize("experts", [1, 3])
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


def test_an_expert_that_the_gate_prefers_is_the_one_named():
    case = pairwise.trial(mmoe.MmoeConfig(), 2)
    bias = case.params["gate_bias"].at[1, 2].set(60.0)
    case = case._replace(params=case.params | {"gate_bias": bias})
    found = case.call(lambda head: head.gates(1, case.sides(1), pairs.Block()))
    assert case.head.slots(1)[int(found[0, 0].argmax())] == "expert 3"
    assert float(found[..., 2].min()) > 0.99


def test_initial_kernels_have_the_limits_of_one_expert():
    head = pairwise.trial(mmoe.MmoeConfig(experts=64), 2)
    params = head.head.init(
        jax.random.key(1),
        method=lambda module: module.score(0, module.sides(head.encoding, {}, 0), pairs.Block()),
    )["params"]
    largest = float(np.abs(params["expert_kernel"]).max())
    assert np.sqrt(6 / (4 * pairwise.SIZE)) * 0.95 < largest <= np.sqrt(6 / (4 * pairwise.SIZE))
    assert not params["expert_bias"].any() and not params["gate_bias"].any() and not params["tower_bias"].any()


def test_penalty_and_gradients():
    case = pairwise.trial(mmoe.MmoeConfig(), 3)
    kernels = pairwise.squares(case, "expert_kernel", "gate_kernel", "tower_kernel")
    assert pairwise.penalty(case) == pytest.approx(kernels, rel=1e-5)
    pairwise.check_gradients(mmoe.MmoeConfig(), 3)
