"""iALS of several behaviors: sweeps against normal equations by numpy, the optimum, planted groups, who is asked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy

from mbjax import errors, types
from mbjax.models import als

ITEMS, SIZE = 31, 3
WEIGHTS = (0.5, 0.0, 2.0)
FIELDS = {"embedding_size": SIZE, "sweeps": 2, "unobserved": 0.2, "penalty": 0.05, "frequency_exponent": 0.7}
dataset = functools.cache(toy.dataset)


def prepared(passive=None, seed=0, alone=False, train=None, **config):
    source = dataset()
    model = als.build(als.AlsConfig(**FIELDS | config), source.info)
    return model.prepare(types.Evidence(train or source.train, passive, seed=seed, alone=alone))


def dense():
    return [matrix.toarray().astype(float) for matrix in dataset().train.values()]


def user_factors(items, weights, pairs):
    """Of each user by ``numpy.linalg.solve``, every weight written out."""
    out = []
    for user in range(len(pairs[0])):
        left, right, frequency = np.zeros((SIZE, SIZE)), np.zeros(SIZE), 0.0
        for w, matrix, q in zip(weights, pairs, items, strict=True):
            for i in range(ITEMS):
                left += w * (matrix[user, i] + 0.2) * np.outer(q[i], q[i])
                right += w * matrix[user, i] * q[i]
                frequency += w * (matrix[user, i] + 0.2)
        out.append(np.linalg.solve(left + 0.05 * frequency**0.7 * np.eye(SIZE), right))
    return np.array(out)


def item_factors(users, pairs):
    out = np.zeros((len(pairs), ITEMS, SIZE))
    for b, matrix in enumerate(pairs):
        for i in range(ITEMS):
            confidence = matrix[:, i] + 0.2
            left = (users.T * confidence) @ users + 0.05 * confidence.sum() ** 0.7 * np.eye(SIZE)
            out[b, i] = np.linalg.solve(left, users.T @ matrix[:, i])
    return out


def test_sweeps_are_the_normal_equations():
    first = 0.1 / np.sqrt(SIZE) * jax.random.normal(jax.random.key(5), (3 * ITEMS, SIZE))
    items, pairs = np.asarray(first, float).reshape(3, ITEMS, SIZE), dense()
    for _ in range(2):
        items = item_factors(user_factors(items, WEIGHTS, pairs), pairs)
    found = prepared(seed=5, steps=0, behavior_weights=WEIGHTS)
    np.testing.assert_allclose(found["items"], items, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(found["users"], user_factors(items, WEIGHTS, pairs), rtol=2e-3, atol=2e-4)


def objective(users, items, weights):
    """L of the module's first lines."""
    total, frequency = 0.0, np.zeros(len(users))
    for w, matrix, q in zip(weights, dense(), items, strict=True):
        scores = users @ q.T
        total += w * ((matrix * (scores - 1) ** 2).sum() + 0.2 * (scores**2).sum())
        total += w * 0.05 * ((matrix.sum(0) + 0.2 * len(users)) ** 0.7 * (q**2).sum(1)).sum()
        frequency += w * (matrix.sum(1) + 0.2 * ITEMS)
    return total + 0.05 * (frequency**0.7 * (users**2).sum(1)).sum()


def test_both_solvers_end_where_nothing_lowers_the_objective():
    weights, lowest = (0.5, 1.0, 2.0), []
    for steps in (0, 3):
        found = prepared(sweeps=300, steps=steps, behavior_weights=weights)
        users, items = (np.asarray(found[name], float) for name in ("users", "items"))
        lowest.append(objective(users, items, weights))
        rng = np.random.default_rng(0)
        for _ in range(5):
            near = [x + 1e-2 * rng.normal(size=x.shape) for x in (users, items)]
            assert objective(*near, weights) > lowest[-1]
    np.testing.assert_allclose(lowest[1], lowest[0], rtol=1e-4)


def test_planted_groups_are_found_through_another_behavior():
    """Who viewed items of a group is offered for buying what others of the group bought."""
    group = np.repeat([0, 1], 20)
    rng = np.random.default_rng(0)
    own = group[:, None] == (np.arange(ITEMS) >= 15)
    view, buy = own & (rng.random(own.shape) < 0.4), own & (rng.random(own.shape) < 0.3)
    buy[::4] = False  # those asked about have bought nothing
    train = {"view": view, "buy": buy}
    info = types.DatasetInfo("planted", 40, ITEMS, ("view", "buy"))
    model = als.build(als.AlsConfig(embedding_size=2), info)
    tables = model.prepare(types.Evidence({b: scipy.sparse.csr_array(m.astype(np.uint8)) for b, m in train.items()}))
    scores = np.asarray(model.score({}, tables, jnp.arange(0, 40, 4), 0, ITEMS, 1))
    assert scores.shape == (10, ITEMS)
    for row, mine in zip(scores, own[::4], strict=True):
        assert mine[np.argsort(-row)[:10]].all()
    tile = model.score({}, tables, jnp.array([8]), jnp.int32(3), 5, 1)
    np.testing.assert_allclose(tile[0], scores[2, 3:8], rtol=1e-5)


def test_the_seed_decides_and_nothing_else():
    first, again, other = prepared(), prepared(), prepared(seed=1)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_strangers_get_their_own_solution_alone_or_with_all():
    known, source = prepared(), dataset()
    passive = {name: matrix[[5, 9]] for name, matrix in source.train.items()}
    for alone in (False, True):
        found = prepared(passive, alone=alone)
        np.testing.assert_array_equal(found["items"], known["items"])
        np.testing.assert_allclose(found["users"][23:], known["users"][np.array([5, 9])], rtol=1e-4, atol=1e-6)
        assert alone or np.allclose(found["users"][:23], known["users"], rtol=1e-4, atol=1e-6)


def test_weights_that_do_not_fit_are_refused():
    for weights, problem in (((1.0,), "1 values for 3 behaviors"), ((0.0, 0.0, 0.0), "are all 0")):
        with pytest.raises(errors.ConfigError, match=problem):
            als.build(als.AlsConfig(behavior_weights=weights), dataset().info)
