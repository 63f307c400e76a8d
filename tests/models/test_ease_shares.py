"""Shares of a score and the worth of events, against regressions solved one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy
import usual

from mbjax import types
from mbjax.models import ease

ITEMS = 31


def regression(source, own_columns, behavior, item, penalty, weights, activity):
    """Weights per raw entry [K, I], by ``numpy.linalg.solve``."""
    train = [matrix.toarray().astype(float) for matrix in source.train.values()]
    row = np.maximum(sum(m.sum(axis=1) for m in train), 1) ** -activity
    scale = np.repeat(weights, ITEMS)
    x = row[:, None] * np.concatenate(train, axis=1) * scale
    rest = np.ones(x.shape[1], bool)
    rest[[b * ITEMS + item for b in range(len(train)) if own_columns == "left_out" or b == behavior]] = False
    gram = x[:, rest].T @ x[:, rest] + penalty * (x**2).sum() / len(x) * np.eye(rest.sum())
    found = np.zeros(x.shape[1])
    found[rest] = np.linalg.solve(gram, x[:, rest].T @ (row * train[behavior][:, item]))
    return (found * scale).reshape(len(train), ITEMS)


IN_TURN = {("dual", "left_out"), ("primal", "kept"), ("low rank", "kept")}


@pytest.mark.parametrize(
    ("form", "own_columns"),
    usual.cases(itertools.product(["dual", "primal", "low rank"], ["kept", "left_out"]), IN_TURN.__contains__),
)
def test_shares_and_worth_are_those_of_the_regressions(form, own_columns):
    source, weights = toy.dataset(), (0.5, 1.0, 2.0)
    options = {"own_columns": own_columns, "penalty": 0.5, "behavior_weights": weights, "activity_exponent": 0.5}
    options |= {"rank": 23} if form == "low rank" else {"form": form}  # of all eigenvectors it is exact
    model = ease.build(ease.EaseConfig(**options), source.info)
    prepared = model.prepare(types.Evidence(source.train))
    tables = jax.jit(model.encode)({}, prepared)
    score = jax.jit(model.score, static_argnums=(4, 5))
    users = jnp.arange(23, dtype=jnp.int32)
    shares = jax.jit(model.explanation.shares, static_argnums=4)
    events = np.stack([matrix.toarray() for matrix in source.train.values()])
    for behavior in (0, 2):
        scores = np.asarray(score({}, tables, users, 0, ITEMS, behavior))
        whole = np.stack([regression(source, own_columns, behavior, j, 0.5, weights, 0.5) for j in range(ITEMS)])
        for user, item in ((0, 3), (7, 7), (22, 30)):
            found = np.asarray(shares({}, tables, user, item, behavior))
            np.testing.assert_allclose(found, events[:, user] * whole[item], atol=1e-4)
            assert found.sum() == pytest.approx(scores[user, item], abs=1e-5)
        for a in range(3):
            mean = events[a].sum(axis=0) / events[a].sum()
            same = sum(mean[i] * whole[i, a, i] for i in range(ITEMS))
            others = sum(mean[i] * (whole[:, a, i].sum() - whole[i, a, i]) for i in range(ITEMS))
            np.testing.assert_allclose(prepared["worth"][behavior, a], [same, others], atol=2e-4)
    (table,) = model.findings({}, prepared)
    assert table.columns[:2] == ("one event of", "speaks for") and len(table.rows) == 9
    assert ("the same item" in table.columns) == (own_columns == "kept")
    assert table.rows[1][:2] == ("view", "cart") and "penalty 0.5" in table.title


@pytest.mark.exhaustive
@pytest.mark.parametrize("own_columns", ["kept", "left_out"])
def test_shares_of_few_eigenvectors_add_up_too(own_columns):
    source = toy.dataset()
    model = ease.build(ease.EaseConfig(penalty=0.5, rank=5, own_columns=own_columns), source.info)
    tables = jax.jit(model.encode)({}, model.prepare(types.Evidence(source.train)))
    users = jnp.arange(23, dtype=jnp.int32)
    for behavior in (0, 2):
        scores = np.asarray(model.score({}, tables, users, 0, ITEMS, behavior))
        for user, item in ((0, 3), (7, 7), (22, 30)):
            found = np.asarray(model.explanation.shares({}, tables, user, item, behavior))
            assert found.sum() == pytest.approx(scores[user, item], abs=1e-5)
            assert not found[slice(None) if own_columns == "left_out" else behavior, item].any()


def test_new_users_are_explained_too():
    source = toy.dataset()
    passive = {name: scipy.sparse.csr_array(matrix[[5]]) for name, matrix in source.train.items()}
    info = source.info._replace(num_users=24)
    model = ease.build(ease.EaseConfig(penalty=0.5), info)
    tables = jax.jit(model.encode)({}, model.prepare(types.Evidence(source.train, passive)))
    shares = jax.jit(model.explanation.shares, static_argnums=4)
    known, new = (np.asarray(shares({}, tables, user, 4, 2)) for user in (5, 23))
    np.testing.assert_allclose(new, known, atol=1e-6)
    assert new.any()
