"""MBGCN: a user and two items by hand, the formula pair by pair, either kind of related items, dropout, the L2 term."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import backbones
from mbjax.models import mbgcn
from mbjax.ops import graph

EYE = np.eye(2)


def test_a_user_and_two_items_by_hand(tiny):
    # The user (2) views both items (3 and 5) and buys the first.
    params = {"strength": [1.0, 1.0], "map": [[3.0]], "related_view": [[2.0]], "related_buy": [[1.0]]}
    params |= {"match_view": EYE, "match_buy": EYE}
    source = tiny([[1, 1]], [[1, 0]])
    table, again = source.encode([[2.0], [3.0], [5.0]], params, name="mbgcn", relevance=2.0)
    np.testing.assert_array_equal(table, again)
    # Shares of views and buys 2/3 and 1/3, their means 4 and 3: x = 11/3, u* = [2, 11]; y = 2 and 0, i* = [3, 6] and
    # [5, 0].
    # By views either item is around the other, t = [3, 10] and [5, 6], their mean [4, 8]; by buys t = [3, 0], [5, 0].
    # 6 + 66 + 2/2 (12 + 80 + 9) = 173, and 10 + 0 + 2/2 (20 + 48 + 15) = 93.
    np.testing.assert_allclose(table[:1] @ table[1:].T, [[173.0, 93.0]], rtol=1e-6)
    # Without relevance the first summand alone.
    (table, _) = source.encode([[2.0], [3.0], [5.0]], params, name="mbgcn", relevance=0.0)
    np.testing.assert_allclose(table, [[2, 11], [3, 6], [5, 0]], rtol=1e-6)


def literal(source, base, params, relevance, related):
    """Scores [U, I], written out for each pair."""
    num, (users, items) = len(source.matrices), (base[:3], base[3:])
    target, scores = source.matrices[-1], np.zeros((3, 3))
    related_rows = []
    for k, name in enumerate(source.info.behaviors):
        rows = []
        for i in range(3):
            total, number = np.zeros(2), 0.0
            for j in range(3):
                together = source.matrices[k][:, i] @ source.matrices[k][:, j]
                weight = 0.0 if i == j else min(together, 1.0) if related == "any" else together
                total, number = total + weight * items[j], number + weight
            mean = total / number if number else total
            rows.append(np.concatenate([items[i], mean @ params[f"related_{name}"]]))
        related_rows.append(np.array(rows))
    for u in range(3):
        counts = [matrix[u].sum() for matrix in source.matrices]
        whole = sum(w * n for w, n in zip(params["strength"], counts, strict=True))
        near = np.zeros(2)
        for k, count in enumerate(counts):
            for i in np.flatnonzero(source.matrices[k][u]):
                near += params["strength"][k] * count / whole * items[i] / count
        user = np.concatenate([users[u], near @ params["map"]])
        for i in range(3):
            item = np.concatenate([items[i], (target[:, i] @ users) @ params["map"]])
            scores[u, i] = user @ item
            for k, name in enumerate(source.info.behaviors):
                if counts[k]:
                    mean = source.matrices[k][u] @ related_rows[k] / counts[k]
                    scores[u, i] += relevance / num * mean @ params[f"match_{name}"] @ related_rows[k][i]
    return scores


@pytest.mark.parametrize(
    ("num_behaviors", "related"), [(3, "any"), (3, "users"), pytest.param(1, "any", marks=pytest.mark.exhaustive)]
)
def test_it_is_the_formula(drawn, num_behaviors, related):
    source, rng = drawn(num_behaviors, seed=3), np.random.default_rng(4)
    base = rng.normal(size=(6, 2))
    params = {"strength": rng.uniform(0.5, 2.0, num_behaviors), "map": rng.normal(size=(2, 2))}
    for name in source.info.behaviors:
        params |= {f"related_{name}": rng.normal(size=(2, 2)), f"match_{name}": rng.normal(size=(4, 4))}
    made = source.encode(base, params, name="mbgcn", relevance=0.7, related=related)
    expected = literal(source, base, params, 0.7, related)
    for table in made:
        np.testing.assert_allclose(table[:3] @ table[3:].T, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.exhaustive
def test_pairs_and_entries_are_dropped_while_training_alone(drawn, key):
    rows = jax.random.normal(key, (6, 4))
    for of_pairs, of_entries in ((0.5, 0.0), (0.0, 0.5)):
        options = {"name": "mbgcn", "edge_dropout_rate": of_pairs, "dropout_rate": of_entries}
        module, graphs = drawn(2).module(**options)
        params = module.init(key, graphs, rows)
        still = module.apply(params, graphs, rows).regularized
        made = module.apply(params, graphs, rows, rngs={"dropout": key}).regularized
        assert np.any(made[:, :4] == 0) == (of_entries > 0)  # a node's own part has no pairs to lose
        assert np.any(made[:, 4:] != still[:, 4:])


@pytest.mark.exhaustive
def test_the_l2_term_has_the_users_row_twice(key):
    source = toy.dataset(2)
    section = backbones.mbgcn.MbgcnConfig(edge_dropout_rate=0.0, dropout_rate=0.0)
    model = mbgcn.build(mbgcn.MbgcnConfig(embedding_size=4, backbone=section), source.info, 8)
    assert model.tasks == ("buy",)
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.jit(model.init)(key, graphs)
    batch = toy.batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    tables = jax.jit(model.encode)(params, graphs)[1]
    assert tables.user.shape == (23, 24)
    drawn, rows = batch.triples["buy"], 0.0
    for b, user in enumerate(batch.user):
        items = (tables.item[drawn.positive[b, 0]], tables.item[drawn.negative[b, 0]])
        rows += drawn.weight[b, 0] * sum(jnp.sum(jnp.square(x[:8])) for x in (*items, *(tables.user[user],) * 2))
    np.testing.assert_allclose(parts["l2"], 1e-4 * rows / batch.total, rtol=1e-5)
