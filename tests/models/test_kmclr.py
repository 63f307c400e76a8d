"""KMCLR without a knowledge graph: every part of its loss in numpy, two branches that share nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.models import cml, kmclr
from mbjax.ops import graph


def make(source, **options):
    config = kmclr.KmclrConfig(embedding_size=4, edge_dropout_rate=0.0, **options)
    model = kmclr.build(config, source.info, 8)
    graphs = graph.from_train(model.graphs, source.train)
    return model, graphs, jax.jit(model.init)(jax.random.key(1), graphs)


def test_others_by_hand():
    # Cosines of x with y: 1 0 | 0 1 | (1, 1) / sqrt 2 of both; the third row is padding and nobody's candidate.
    x, y = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), jnp.array([[3.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    made = kmclr.others_nce(x, y, jnp.array([1.0, 3.0, 0.0]), 0.5)
    np.testing.assert_allclose(made, (0 - 2) + 3 * (0 - 2), rtol=1e-6)
    assert kmclr.others_nce(x[:1], y[:1], jnp.ones(1), 0.5) == 0  # nobody to be told from


@pytest.mark.exhaustive
def test_it_is_the_formula(key):
    source = toy.dataset(2)
    model, graphs, params = make(source)
    batch = toy.batch(model, source, key)
    value, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    names = {"bpr", "contrastive", "l2", "second_bpr", "views", "second_l2"}
    assert set(parts) == names and np.isclose(value, sum(parts.values()))
    theta = jax.tree.map(np.asarray, params["params"])
    rows = np.concatenate([theta["second_user"], theta["second_item"]])
    buy = source.train["buy"].toarray().astype(float)
    adjacency = np.block([[np.zeros((23, 23)), buy], [buy.T, np.zeros((31, 31))]])
    degree = np.maximum(adjacency.sum(axis=1), 1)
    adjacency /= np.sqrt(np.outer(degree, degree))
    second, state = rows, rows
    for _ in range(3):
        state = adjacency @ state
        second = second + state
    second = second / 4
    other = cml.build(cml.CmlConfig(embedding_size=4, weights=False), source.info, 8)
    encoded = np.concatenate(jax.jit(other.encode)(params, graph.from_train(other.graphs, source.train)))
    tables = 0.9 * encoded + 0.1 * second
    made = np.concatenate(jax.jit(model.encode)(params, graphs))
    np.testing.assert_allclose(made, tables, rtol=1e-4, atol=1e-5)

    users = np.asarray(batch.user)

    def ranked(table, name):
        drawn = jax.tree.map(np.asarray, batch.triples[name])
        gap = table[23:][drawn.negative[:, 0]] - table[23:][drawn.positive[:, 0]]
        losses = np.log1p(np.exp((table[users] * gap).sum(axis=1)))
        return (drawn.weight[:, 0] * losses).sum() / 8

    np.testing.assert_allclose(parts["bpr"], (ranked(tables, "view") + ranked(tables, "buy")) / 2, rtol=1e-5)
    np.testing.assert_allclose(parts["second_bpr"], ranked(second, kmclr.KNOWLEDGE), rtol=1e-5)
    drawn = jax.tree.map(np.asarray, batch.triples[kmclr.KNOWLEDGE])
    items = drawn.positive[:, 0], drawn.negative[:, 0]
    squares = (rows[users] ** 2).sum() + sum((rows[23:][picked] ** 2).sum() for picked in items)
    np.testing.assert_allclose(parts["second_l2"], 0.5e-4 * squares / 64, rtol=1e-5)
    views = 0.0
    for picked in (second[users], second[23:][items[0]]):
        unit = picked / np.linalg.norm(picked, axis=1, keepdims=True)
        logits = unit @ unit.T / 0.2
        others = np.where(np.eye(8, dtype=bool), -np.inf, logits)
        views += (np.log(np.exp(others).sum(axis=1)) - np.diagonal(logits)).sum()
    np.testing.assert_allclose(parts["views"], 0.1 * views / 8, rtol=1e-5)


@pytest.mark.exhaustive
def test_the_branches_share_nothing(key):
    source = toy.dataset(2)
    model, graphs, params = make(source)
    batch = toy.batch(model, source, key)

    @jax.jit
    def gradient(params):
        parts = lambda p: model.loss(p, graphs, batch, key, 0)[1]  # noqa: E731
        return [jax.grad(lambda p, n=n: parts(p)[n])(params)["params"] for n in ("bpr", "views")]

    of_first, of_second = gradient(params)
    moved = lambda tree: {k for k, v in tree.items() if any(np.any(x) for x in jax.tree.leaves(v))}  # noqa: E731
    assert moved(of_first) == {"user", "item", "encoder"} and moved(of_second) == {"second_user", "second_item"}
    alone, _, _ = make(source, knowledge="none")
    assert "second branch" not in alone.batch.triples and len(alone.graphs) == 2
