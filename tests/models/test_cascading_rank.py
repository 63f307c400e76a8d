"""CascadingRank: the closed form on dense arrays, one step by hand, and users that do not see one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
import scipy.sparse
import toy

from mbjax import types
from mbjax.models import cascading_rank
from mbjax.ops import graph, platforms


def make(info, train, **config):
    model = cascading_rank.build(cascading_rank.CascadingRankConfig(**config), info)
    tables = jax.jit(model.encode)({}, graph.from_train(model.graphs, train))
    score = jax.jit(model.score, static_argnums=(4, 5))
    return lambda users, start, size, k: np.asarray(score({}, tables, jnp.asarray(users), start, size, k))


def dense(train, behaviors, alpha, beta):
    """r_i of all users and stages, float64: r = (1 - g A)^-1 (alpha q + beta c), A the bipartite matrix of a stage."""
    num_users, num_items = next(iter(train.values())).shape
    cascade, stages = None, []
    for name in behaviors:
        matrix = train[name].toarray().astype(float)
        users, items = (np.maximum(matrix.sum(axis=axis), 1) for axis in (1, 0))
        scaled = matrix / np.sqrt(users)[:, None] / np.sqrt(items)
        whole = np.block([[np.zeros((num_users,) * 2), scaled], [scaled.T, np.zeros((num_items,) * 2)]])
        query = np.concatenate([np.eye(num_users), (matrix / users[:, None]).T])
        right = alpha * query + beta * (query if cascade is None else cascade)
        cascade = np.linalg.solve(np.eye(len(whole)) - (1 - alpha - beta) * whole, right)
        stages.append(cascade[num_users:].T)
    return stages


@pytest.mark.parametrize(
    ("num_behaviors", "stage", "alpha", "beta"),
    [(3, 2, 0.0, 0.9), (3, 2, 0.7, 0.2), (3, 1, 0.2, 0.3), (3, 0, 0.2, 0.3), (1, 0, 0.4, 0.0)],
)
def test_the_closed_form(num_behaviors, stage, alpha, beta):
    source = toy.dataset(num_behaviors)
    score = make(source.info, source.train, alpha=alpha, beta=beta, tolerance=1e-6, max_steps=500)
    users = np.array([5, 0, 22, 5, 9])  # user 0 has no auxiliary pair
    expected = dense(source.train, source.info.behaviors, alpha, beta)[stage]
    np.testing.assert_allclose(score(users, 0, 31, stage), expected[users], rtol=1e-4, atol=3e-6)


def test_the_published_tolerance_is_near_enough_to_rank():
    source = toy.dataset()
    expected = dense(source.train, source.info.behaviors, 0.0, 0.9)[-1]
    found = make(source.info, source.train)(np.arange(23), 0, 31, 2)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    gaps = -np.diff(np.sort(expected, axis=1)[:, ::-1], axis=1)[:, 0]
    clear = gaps > 2e-4
    assert clear.sum() > 15
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])


def test_one_step_by_hand():
    # User 0 met items 0 and 1, user 1 item 1. S = [[1/sqrt 2, 1/2], [0, 1/sqrt 2]], alpha = .25, beta = .25, g = .5.
    matrix = scipy.sparse.csr_array(np.array([[1, 1], [0, 1]], np.float32))
    score = make(
        types.DatasetInfo("hand", 2, 2, ("buy",)), {"buy": matrix}, alpha=0.25, beta=0.25, max_steps=1, tolerance=0.0
    )
    # User 0: q_i = c_i = (1/2, 1/2). r_u = .5 (1/sqrt 8 + 1/4, 1/sqrt 8) + (.5, 0), then
    # r_i = .5 S^T r_u + .5 (1/2, 1/2).
    root = 2**0.5
    user = np.array([0.5 * (0.5 / root + 0.25) + 0.5, 0.25 / root])
    item = [0.5 * user[0] / root + 0.25, 0.5 * (user[0] / 2 + user[1] / root) + 0.25]
    np.testing.assert_allclose(score([0], 0, 2, 0), [item], rtol=1e-6)


def test_users_stop_for_themselves():
    """User 0, who stops at once, is the same alone and beside one that goes on."""
    source = toy.dataset()
    score = make(source.info, source.train, alpha=0.1, beta=0.2, tolerance=1e-2)
    together = score(np.arange(23), 0, 31, 2)
    for user in (0, 4, 11):
        np.testing.assert_allclose(score([user], 0, 31, 2)[0], together[user], rtol=1e-5, atol=1e-7)
    final = make(source.info, source.train, alpha=0.1, beta=0.2, tolerance=1e-6)(np.arange(23), 0, 31, 2)
    assert np.abs(together - final).max() > 1e-4  # the tolerance was felt


@pytest.mark.parametrize(
    ("alpha", "beta", "tolerance", "passive"),
    [
        (0.0, 0.9, 1e-4, True),
        pytest.param(0.0, 0.9, 1e-4, False, marks=pytest.mark.exhaustive),
        pytest.param(0.3, 0.3, 1e-3, False, marks=pytest.mark.exhaustive),
        pytest.param(0.3, 0.3, 1e-3, True, marks=pytest.mark.exhaustive),
        pytest.param(0.1, 0.0, 1e-4, False, marks=pytest.mark.exhaustive),
    ],
)
def test_accelerators_take_as_many_steps_as_anyone_needs(alpha, beta, tolerance, passive, monkeypatch):
    """The walk whose end the values decide and the one of a known number of steps are the same walk."""
    source = toy.dataset()
    config = cascading_rank.CascadingRankConfig(alpha=alpha, beta=beta, tolerance=tolerance)
    model = cascading_rank.build(config, source.info)
    # Users who read alone, of the fullest and the emptiest rows there are, and more of them than of the others.
    read_only = {name: scipy.sparse.csr_array(scipy.sparse.vstack([m, m])) for name, m in source.train.items()}
    graphs = graph.from_train(model.graphs, source.train, read_only if passive else None)
    users, stages = jnp.array([1, 0, 22] + [23, 60] * passive), [graphs[name] for name in source.info.behaviors]
    most = cascading_rank.steps_of(config, stages)
    assert max(most) < config.max_steps

    # What a CPU does is no less and no more with as many steps at most.
    expected = cascading_rank.cascade(config, stages, users)
    monkeypatch.setattr(platforms, "choose", lambda *given, cpu, default: default(*given))
    monkeypatch.setattr(graph, "_product", lambda matrix, ptr, dense: graph.gathered(matrix, dense))
    found = cascading_rank.cascade(config, stages, users)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_steps_by_hand():
    """One user and one item, S = 1: with gamma .5 changes of at most 2 and 2, then 1 and 1/2, then 1/4 and 1/8."""
    matrix = scipy.sparse.csr_array(np.ones((1, 1), np.float32))
    for tolerance, steps in ((4.0, 1), (1.5, 2), (1.4, 3), (0.375, 3), (0.374, 4)):
        config = cascading_rank.CascadingRankConfig(alpha=0.25, beta=0.25, tolerance=tolerance)
        assert cascading_rank.steps_of(config, [graph.build(matrix)]) == [steps]


def test_blocks_and_tiles_change_nothing():
    source = toy.dataset()
    users = np.arange(22, -1, -1)
    whole = make(source.info, source.train, users_at_once=64)(users, 0, 31, 2)
    found = make(source.info, source.train, users_at_once=5)(users, 9, 13, 2)
    np.testing.assert_allclose(found, whole[:, 9:22], rtol=1e-5, atol=1e-7)


def test_weights_that_are_none_or_above_one_are_refused():
    with pytest.raises(pydantic.ValidationError, match="alpha=0 and beta=0 give all users one list"):
        cascading_rank.CascadingRankConfig(alpha=0.0, beta=0.0)
    with pytest.raises(pydantic.ValidationError, match="add up to more than 1"):
        cascading_rank.CascadingRankConfig(alpha=0.5, beta=0.6)
