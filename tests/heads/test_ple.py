"""PLE: the levels of every pair written out."""

from __future__ import annotations

import numpy as np
import pairwise
import pytest
import usual

from mbjax.heads import ple
from mbjax.ops import pairs


def literal(case):
    """(gate, mixture) of a task on the last level."""
    config, num = case.head.config, len(case.encoding.behaviors)
    own, shared = config.own_experts, config.shared_experts
    kernel = case.param

    def last(task, u, v):
        inputs = [case.merged(u, v)] * (num + 1)  # of the tasks, then of the shared experts
        for level in range(config.levels):
            experts = []
            for e in range(num * own + shared):
                group = e // own if e < num * own else num
                affine = inputs[group] @ kernel(f"expert_{level}_kernel")[e] + kernel(f"expert_{level}_bias")[e]
                experts.append(pairwise.leaky(affine))
            outputs, gates = [], []
            for k in range(num):
                seen = experts[k * own : (k + 1) * own] + experts[num * own :]
                logits = inputs[k] @ kernel(f"gate_{level}_kernel")[k] + kernel(f"gate_{level}_bias")[k]
                gates.append(pairwise.softmax(logits))
                outputs.append(sum(g * h for g, h in zip(gates[-1], seen, strict=True)))
            if level + 1 < config.levels:
                logits = inputs[num] @ kernel(f"shared_gate_{level}_kernel")[0]
                weights = pairwise.softmax(logits + kernel(f"shared_gate_{level}_bias")[0])
                outputs.append(sum(g * h for g, h in zip(weights, experts, strict=True)))
            inputs = outputs
        return gates[task], outputs[task]

    return last


@pytest.mark.parametrize(
    ("num_behaviors", "options"),
    usual.cases(
        [
            (1, {}),
            (2, {}),
            (3, {}),
            (4, {"own_experts": 2}),
            (3, {"own_experts": 2, "shared_experts": 3}),
            (1, {"levels": 2}),
            (3, {"levels": 2}),
            (2, {"levels": 3, "own_experts": 2, "shared_experts": 2}),
        ],
        # The last one has more of everything than those before it.
        lambda case: case in [(1, {}), (4, {"own_experts": 2})] or case[1].get("levels") == 3,
    ),
)
def test_scores_and_gates(num_behaviors, options, monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK_TILE", 4)
    case = pairwise.trial(ple.PleConfig(**options), num_behaviors)
    last = literal(case)
    pairwise.check_gates(case, lambda task, u, v: last(task, u, v)[0])

    def formula(task, u, v):
        return (last(task, u, v)[1] @ case.param("tower_kernel")[task] + case.param("tower_bias")[task])[0]

    pairwise.check_scores(case, formula)


def test_slots():
    head = pairwise.trial(ple.PleConfig(own_experts=2), 3).head
    assert head.slots(0) == head.slots(2) == ("own 1", "own 2", "shared 1")


@pytest.mark.parametrize("levels", [1, 2])
def test_penalty(levels):
    case = pairwise.trial(ple.PleConfig(levels=levels), 2)
    kernels = [name for name in case.params if "kernel" in name]
    assert len(kernels) == {1: 3, 2: 6}[levels]
    assert pairwise.penalty(case) == pytest.approx(pairwise.squares(case, *kernels), rel=1e-5)


@pytest.mark.parametrize("levels", usual.cases([1, 2], {2}.__contains__))
def test_gradients_at_zero_rows(levels):
    pairwise.check_gradients(ple.PleConfig(levels=levels), 2)


def test_another_tasks_own_expert_has_no_say():
    case = pairwise.trial(ple.PleConfig(), 3)

    before, expert = case.scores(2), case.params["expert_0_kernel"]

    def moved(e):
        params = case.params | {"expert_0_kernel": expert.at[e].add(1.0)}
        return not np.allclose(case._replace(params=params).scores(2), before)

    assert [moved(e) for e in range(4)] == [False, False, True, True]
