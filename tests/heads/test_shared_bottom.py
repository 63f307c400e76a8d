"""The shared bottom, with and without hidden layers."""

from __future__ import annotations

import itertools

import numpy as np
import pairwise
import pytest
import usual

from mbjax import errors
from mbjax.heads import shared_bottom
from mbjax.ops import pairs

HIDDEN = [(), (20,), (4, 3), (4, 3, 2)]


@pytest.mark.parametrize(
    ("num_behaviors", "hidden"),
    usual.cases(
        itertools.product([1, 2, 3, 4], HIDDEN), lambda case: (case[0] + HIDDEN.index(case[1])) % 2 == 0 or case[0] == 3
    ),
)
def test_scores(num_behaviors, hidden, monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK_TILE", 4)  # 9 items: the last tile is padded
    case = pairwise.trial(shared_bottom.SharedBottomConfig(hidden=hidden), num_behaviors)

    def formula(task, u, v):
        state = case.merged(u, v)
        for i in range(len(hidden)):
            state = pairwise.leaky(state @ case.param(f"hidden_{i}_kernel")[0] + case.param(f"hidden_{i}_bias")[0])
        return (state @ case.param("tower_kernel")[task] + case.param("tower_bias")[task])[0]

    pairwise.check_scores(case, formula)


def test_without_hidden_layers_all_users_get_one_order():
    case = pairwise.trial(shared_bottom.SharedBottomConfig(), 3)
    scores = case.scores(2)
    np.testing.assert_allclose(
        scores - scores[:, :1], np.tile(scores[0] - scores[0, 0], (pairwise.USERS, 1)), atol=1e-5
    )


@pytest.mark.parametrize("weights", [(0.5, 2.0, 0.0), (0.5,)])
def test_merge_weights(weights):
    case = pairwise.trial(shared_bottom.SharedBottomConfig(merge_weights=weights), 3)
    each = weights if len(weights) == 3 else weights * 3

    def formula(task, u, v):
        return case.merged(u, v, each) @ case.param("tower_kernel")[task][:, 0] + case.param("tower_bias")[task][0]

    pairwise.check_scores(case, formula)


def test_merge_weights_must_be_one_for_each():
    with pytest.raises(errors.ConfigError, match="head.merge_weights=1.0,2.0 has 2 values for 3 behaviors"):
        pairwise.trial(shared_bottom.SharedBottomConfig(merge_weights=(1.0, 2.0)), 3)


def test_biases_are_free():
    case = pairwise.trial(shared_bottom.SharedBottomConfig(hidden=(4, 3)), 2)
    kernels = pairwise.squares(case, "hidden_0_kernel", "hidden_1_kernel", "tower_kernel")
    assert pairwise.penalty(case) == pytest.approx(kernels, rel=1e-5)
    assert pairwise.squares(case, "hidden_0_bias") > 0.1


@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradients_at_zero_rows(hidden):
    pairwise.check_gradients(shared_bottom.SharedBottomConfig(hidden=hidden), 2)
