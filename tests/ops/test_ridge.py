"""Ridge regressions from one inverse against regressions solved one by one in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy
import usual

from mbjax.ops import platforms, ridge

USERS, ITEMS, BEHAVIORS = 23, 31, 3


def blocks(scaled: bool = False):
    """The toy's training pairs, each user's row divided by the root of its pairs if ``scaled``."""
    train = [matrix.astype(np.float32) for matrix in toy.dataset(BEHAVIORS).train.values()]
    if scaled:
        root = np.sqrt(np.maximum(sum(np.asarray(m.sum(axis=1)) for m in train), 1)).astype(np.float32)
        train = [scipy.sparse.csr_array(scipy.sparse.diags_array(1 / root) @ m).astype(np.float32) for m in train]
    return train


WEIGHTS = {
    "one": np.ones(BEHAVIORS),
    "of behaviors": np.array([0.3, 1.0, 2.0]),
    "no target": np.array([1.0, 0.5, 0.0]),
    "of columns": np.random.default_rng(3).uniform(0.2, 1.5, (BEHAVIORS, ITEMS)),
}


def regression(train, weights, penalty: float, target: int, item: int, leave: str, drop: int | None = None):
    """Weights of all columns [K, I] by ``numpy.linalg.lstsq`` on the columns outside S_j; without a user if asked."""
    weights = ridge.column_weights(weights, BEHAVIORS, ITEMS).astype(np.float64)
    dense = np.concatenate([m.toarray().astype(np.float64) * w for m, w in zip(train, weights, strict=True)], axis=1)
    y = train[target].toarray()[:, item].astype(np.float64)
    gone = [b * ITEMS + item for b in (range(BEHAVIORS) if leave == "all" else [target])]
    rest = np.setdiff1d(np.arange(BEHAVIORS * ITEMS), gone)
    stay = np.arange(USERS) != (-1 if drop is None else drop)
    system = np.concatenate([dense[stay][:, rest], np.sqrt(penalty) * np.eye(len(rest))])
    found = np.zeros(BEHAVIORS * ITEMS)
    found[rest] = np.linalg.lstsq(system, np.concatenate([y[stay], np.zeros(len(rest))]), rcond=None)[0]
    return dense, found


def absolute(train, weights, penalty):
    whole = ridge.weighted(train, ridge.column_weights(weights, BEHAVIORS, ITEMS))
    return penalty * (whole.toarray().astype(np.float64) ** 2).sum() / USERS


@pytest.mark.parametrize(
    ("which", "leave"),
    usual.cases(
        itertools.product(WEIGHTS, ["own", "all"]), set(zip(WEIGHTS, itertools.cycle(["own", "all"]))).__contains__
    ),
)
def test_every_regression_is_lstsqs(which, leave):
    train, weights, penalty = blocks(scaled=which == "of columns"), WEIGHTS[which], 0.3
    dual = ridge.invert(train, weights, penalty)
    assert float(dual.penalty) == pytest.approx(absolute(train, weights, penalty), rel=1e-5)
    products = ridge.gram(train, dual)
    graphs = ridge.place(train)
    users = jnp.arange(USERS, dtype=jnp.int32)
    dense = ridge.rows(dual, graphs, users, 0, ITEMS)
    mine = ridge.entries(graphs, users, 0, ITEMS)
    project = ridge.rows(dual, graphs, ridge.project(dual, graphs, mine), 0, ITEMS)
    for target in range(BEHAVIORS):
        k = ridge.coefficients(products, target, leave, weights)
        q = ridge.corrections(products, target, leave, weights)
        alpha = ridge.combine(dense, k, target)
        inside = np.asarray(mine[target] - dual.penalty * alpha)
        outside = np.asarray(ridge.combine(project - mine, k, None) + project[target])
        left_out = np.asarray(ridge.without_user(dual, users, dense, mine[target], k, q, target))
        for item in (0, 1, 7, 12, 20, 29, 30):  # 30 has no pairs
            x, found = regression(train, weights, float(dual.penalty), target, item, leave)
            np.testing.assert_allclose(inside[:, item], x @ found, atol=2e-5)
            np.testing.assert_allclose(outside[:, item], x @ found, atol=2e-5)
            # Dual to primal: the weights themselves are X^T alpha, and zero on S_j.
            weight = x.T @ np.asarray(alpha[:, item], np.float64)
            own = [b * ITEMS + item for b in range(BEHAVIORS) if leave == "all" or b == target]
            weight[own] = 0
            np.testing.assert_allclose(weight, found, atol=1e-4)
            x, found = regression(train, weights, float(dual.penalty), target, item, leave, drop=7)
            np.testing.assert_allclose(left_out[7, item], x[7] @ found, atol=5e-5)


def test_fold_in_of_a_new_user_is_the_regressions():
    train, weights = blocks(), WEIGHTS["of behaviors"]
    dual = ridge.invert(train, weights, 0.5)
    products, graphs = ridge.gram(train, dual), ridge.place(train)
    histories = (np.random.default_rng(5).random((BEHAVIORS, 4, ITEMS)) < 0.2).astype(np.float32)
    v = ridge.project(dual, graphs, jnp.asarray(histories))
    for leave in ("own", "all"):
        k = ridge.coefficients(products, 2, leave, weights)
        g = ridge.rows(dual, graphs, v, 0, ITEMS)
        found = np.asarray(g[2] + ridge.combine(g - histories, k, None))
        for item in (0, 3, 30):
            _, expected = regression(train, weights, float(dual.penalty), 2, item, leave)
            x = (histories * weights[:, None, None]).transpose(1, 0, 2).reshape(4, -1)
            np.testing.assert_allclose(found[:, item], x @ expected, atol=2e-5)


def test_tiles_dense_products_and_an_accelerators_way_agree(monkeypatch):
    train = blocks()
    dual = ridge.invert(train, np.ones(BEHAVIORS), 1.0)
    graphs = ridge.place(train)
    users = jnp.array([3, 3, 0], jnp.int32)
    whole = ridge.rows(dual, graphs, users, 0, ITEMS)
    tile = jax.jit(ridge.rows, static_argnums=4)(dual, graphs, users, jnp.int32(5), 9)
    np.testing.assert_allclose(tile, whole[:, :, 5:14], rtol=1e-6)
    monkeypatch.setattr(platforms, "choose", lambda cpu, default: default())
    np.testing.assert_allclose(ridge.rows(dual, graphs, users, jnp.int32(5), 9), whole[:, :, 5:14], atol=1e-6)
    np.testing.assert_allclose(ridge.rows(dual, graphs, users, 0, ITEMS), whole, atol=1e-6)
    monkeypatch.undo()
    products = ridge.gram(train, dual)
    monkeypatch.setattr(ridge, "CELLS", BEHAVIORS * ITEMS * 5)  # tiles of 5 users, the last one of 3
    np.testing.assert_allclose(ridge.gram(graphs, dual), products, atol=1e-6)
    x = np.concatenate([m.toarray() for m in train], axis=1)
    expected = x.T @ np.linalg.inv(x @ x.T + float(dual.penalty) * np.eye(USERS)) @ x
    own = np.arange(BEHAVIORS) * ITEMS
    for item in range(ITEMS):
        np.testing.assert_allclose(products[item], expected[np.ix_(own + item, own + item)], atol=1e-5)


def test_items_without_pairs_have_zeros():
    train = blocks()
    assert not train[0][:, [30]].nnz
    dual = ridge.invert(train, np.ones(BEHAVIORS), 1.0)
    for leave in ("own", "all"):
        assert not ridge.coefficients(ridge.gram(train, dual), 2, leave, np.ones(BEHAVIORS))[30].any()
