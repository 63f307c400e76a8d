"""MESI: a gate in funnel order over the products of all behaviors."""

from __future__ import annotations

import numpy as np
import pairwise
import pytest
import usual

from mbjax.heads import mesi


def gate(case, shared):
    def weights(task, u, v):
        which = 0 if shared else task
        both = np.concatenate(case.pair(task, u, v))
        return pairwise.softmax(both @ case.param("gate_kernel")[which] + case.param("gate_bias")[which])

    return weights


@pytest.mark.parametrize("num_behaviors", usual.cases([1, 2, 3, 4], {1, 3}.__contains__))
@pytest.mark.parametrize("shared", [True, False])
def test_scores_and_gates(num_behaviors, shared):
    case = pairwise.trial(mesi.MesiConfig(shared_gate=shared), num_behaviors)
    weights = gate(case, shared)
    pairwise.check_gates(case, weights)

    def formula(task, u, v):
        return sum(g * case.product(j, u, v).sum() for j, g in enumerate(weights(task, u, v)))

    pairwise.check_scores(case, formula)


def test_slots_are_behaviors_whatever_the_task():
    case = pairwise.trial(mesi.MesiConfig(), 3)
    assert [case.head.slots(task) for task in range(3)] == [("view", "cart", "buy")] * 3


def test_one_gate_serves_all_tasks_unless_told():
    assert pairwise.trial(mesi.MesiConfig(), 3).params["gate_kernel"].shape == (1, 2 * pairwise.SIZE, 3)
    assert pairwise.trial(mesi.MesiConfig(shared_gate=False), 3).params["gate_kernel"].shape[0] == 3


def test_penalty_and_gradients():
    case = pairwise.trial(mesi.MesiConfig(), 3)
    assert pairwise.penalty(case) == pytest.approx(pairwise.squares(case, "gate_kernel"), rel=1e-5)
    pairwise.check_gradients(mesi.MesiConfig(), 2)
