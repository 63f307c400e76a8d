"""S-MBRec: a user and two items by hand, the formula on dense matrices, initial weights, the loss of five negatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.models import smbrec
from mbjax.ops import graph


def test_a_user_and_two_items_by_hand(tiny):
    # Without layers H is E0. The user (2) views both items (3, 5) and buys the first: shares 2/3 and 1/3 of his pairs.
    source = tiny([[1, 1]], [[1, 0]])
    params = {"weight": [1.5, 3.0], "user_map": [[2.0]], "item_map": [[1.0], [10.0]]}
    view, buy = source.encode([[2.0], [3.0], [5.0]], params, name="smbrec", num_layers=0)
    np.testing.assert_allclose(view, [[2.0], [3.0], [5.0]])
    # Either logit is 1; the mixture of equal rows is the row: 2 * 2. Items: 3 + 30, 5 + 50.
    np.testing.assert_allclose(buy, [[4.0], [33.0], [55.0]], rtol=1e-6)


@pytest.mark.parametrize("num_behaviors", [3, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_it_is_the_formula(drawn, num_behaviors):
    source, rng = drawn(num_behaviors), np.random.default_rng(4)
    base = rng.normal(size=(6, 2))
    params = {"weight": rng.normal(size=num_behaviors, scale=2.0), "user_map": rng.normal(size=(2, 2))}
    params["item_map"] = rng.normal(size=(2 * num_behaviors, 2))
    views = []
    for k in range(num_behaviors):
        states = [base]
        for _ in range(2):
            states.append(source.adjacency(k, "symmetric") @ states[-1])
        views.append(np.mean(states, axis=0))
    users = []
    for u in range(3):
        counts = np.array([matrix[u].sum() for matrix in source.matrices])
        logits = params["weight"] * counts / max(counts.sum(), 1)
        shares = np.exp(logits) / np.exp(logits).sum()
        users.append(sum(share * view[u] for share, view in zip(shares, views, strict=True)) @ params["user_map"])
    items = np.concatenate([view[3:] for view in views], axis=1) @ params["item_map"]
    made = source.encode(base, params, name="smbrec", num_layers=2)
    for table, expected in zip(made, [*views[:-1], np.concatenate([users, items])], strict=True):
        np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-5)
    # All behaviors' own tables are what is aligned.
    module, graphs = source.module(name="smbrec", num_layers=2)
    variables = {"params": {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}}
    encoding = module.apply(variables, graphs, jnp.asarray(base, jnp.float32))
    np.testing.assert_allclose(encoding.views, views, rtol=1e-4, atol=1e-5)
    squares = np.square(encoding.regularized).sum(axis=1)
    np.testing.assert_allclose(squares, np.square(base).sum(axis=1) * ([1] * 3 + [num_behaviors] * 3), rtol=1e-5)


def test_initial_weights(drawn, key):
    rows = jnp.ones((6, 2))
    for options, expected in (({}, [0.3, 0.3, 0.4]), ({"weights": (1.0, 2.0, 3.0)}, [1, 2, 3])):
        module, graphs = drawn(3).module(name="smbrec", num_layers=0, **options)
        np.testing.assert_allclose(module.init(key, graphs, rows)["params"]["weight"], expected, rtol=1e-6)


@pytest.mark.exhaustive
def test_a_positive_is_to_be_ahead_of_five(key):
    source = toy.dataset(1)
    config = smbrec.SmbrecConfig(embedding_size=4, pairs_per_user=2)
    model = smbrec.build(config, source.info, 8)
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.tree.map(lambda x: 3 * x, jax.jit(model.init)(key, graphs))
    batch = toy.batch(model, source, key)
    drawn = batch.triples["buy"]
    assert drawn.positive.shape == (8, 2) and drawn.negative.shape == (8, 10) and drawn.everyone is None
    _, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    tables = jax.jit(model.encode)(params, graphs)
    scores = np.asarray(model.score(params, tables, jnp.arange(23), 0, 31, 0), np.float64)
    inside, total, rows = params["params"], 0.0, 0.0
    squares = {side: np.square(inside[side]).sum(axis=1) for side in ("user", "item")}
    for b, m in np.argwhere(np.asarray(drawn.weight) > 0):
        user, positive, negatives = batch.user[b], drawn.positive[b, m], np.asarray(drawn.negative[b, m::2])
        assert negatives.shape == (5,) and not source.train["buy"].toarray()[user][negatives].any()
        total += np.log1p(np.exp(scores[user, negatives] - scores[user, positive]).sum())
        rows += squares["user"][user] + squares["item"][positive] + squares["item"][negatives].sum()
    np.testing.assert_allclose(parts["bpr_buy"], total / drawn.total, rtol=1e-5)
    np.testing.assert_allclose(parts["l2"], 1e-4 / 2 * rows / batch.total, rtol=1e-5)
