"""BCIPM: unit, losses and scores pair by pair in numpy, what is ranked, users without purchases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.models import bcipm
from mbjax.ops import graph

logistic = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731


def make(source, **options):
    model = bcipm.build(bcipm.BcipmConfig(embedding_size=4, **options), source.info, 8)
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.jit(model.init)(jax.random.key(1), graphs)
    if "behavior" in params["params"]:  # not the unit matrix
        params["params"]["behavior"] += 0.3 * jax.random.normal(jax.random.key(2), params["params"]["behavior"].shape)
    return model, graphs, params


def unit(params, user, item, task):
    """a of one pair, as printed."""
    x = np.concatenate([user, item, params["behavior"][task]])
    gates = logistic(x @ params["gates"])
    again = np.concatenate([gates[:4] * user, item, params["behavior"][task]])
    return gates[4:] * np.tanh(again @ params["candidate"])


class Literal:
    """G, T and scores of a model, in numpy."""

    def __init__(self, source, model, graphs, params):
        info, self.params = source.info, jax.tree.map(np.asarray, params["params"])
        module = bcipm.Bcipm(bcipm.BcipmConfig(embedding_size=4), info)
        whole, own = map(np.asarray, jax.jit(lambda: module.apply(params, graphs, method="encode"))())
        self.split = info.num_users
        (self.user, self.item), (self.user_both, self.item_both) = (
            (x[: self.split], x[self.split :]) for x in (whole, whole + own)
        )
        self.bought = [np.flatnonzero(row) for row in source.train[info.target].toarray()]
        self.target = info.num_behaviors - 1

    def score(self, u, i):
        taken = self.bought[u]
        general = self.user_both[u] @ self.item_both[i]
        if not len(taken):
            return general
        preference = sum(unit(self.params, self.user[u], self.item[j], self.target) for j in taken)
        share = 1 / len(taken)
        return (1 - share) * (preference @ self.item[i]) + share * general

    def pair(self, u, i, task):
        return unit(self.params, self.user[u], self.item[i], task) @ self.item[i]


def test_losses_and_scores_are_the_formulas(key):
    source = toy.dataset(2)
    buy = source.train["buy"].toarray()
    buy[7] = 0  # a user without purchases
    source.train["buy"] = type(source.train["buy"])(buy)
    model, graphs, params = make(source, negatives=2, pairs_per_user=2, tasks="all")
    batch = toy.batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    literal = Literal(source, model, graphs, params)
    tables = jax.jit(model.encode)(params, graphs)
    made = jax.jit(lambda p, t: [model.score(p, t, jnp.array([3, 7, 0]), 3, 5, k) for k in (0, 1)])(params, tables)
    for row, u in enumerate((3, 7, 0)):
        np.testing.assert_allclose(made[0][row], [literal.pair(u, i, 0) for i in range(3, 8)], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(made[1][row], [literal.score(u, i) for i in range(3, 8)], rtol=1e-4, atol=1e-6)
    losses, total = 0.0, 0.0
    users = np.asarray(batch.user)
    for task, name in enumerate(("view", "buy")):
        for number in (0, 1):
            drawn = jax.tree.map(np.asarray, batch.triples[f"{name}, {number}"])
            for b, m in np.argwhere(drawn.weight):
                s = literal.pair(users[b], drawn.negative[b, m], task)
                losses, total = losses + np.log1p(np.exp(s)), total + 1
                if not number:
                    s = literal.pair(users[b], drawn.positive[b, m], task)
                    losses, total = losses + np.log1p(np.exp(-s)), total + 1
    np.testing.assert_allclose(parts["pairs"], 0.3 * losses / total, rtol=1e-5)
    drawn, ranked = jax.tree.map(np.asarray, batch.triples["bought"]), []
    for b, m in np.argwhere(drawn.weight):
        gap = literal.score(users[b], drawn.negative[b, m]) - literal.score(users[b], drawn.positive[b, m])
        ranked.append(np.log1p(np.exp(gap)))
    np.testing.assert_allclose(parts["bpr"], 0.7 * np.mean(ranked), rtol=1e-5)
    lengths = np.linalg.norm(params["params"]["user"]) / 24 + np.linalg.norm(params["params"]["item"]) / 32
    np.testing.assert_allclose(parts["l2"], 1e-4 * lengths, rtol=1e-5)


@pytest.mark.exhaustive
def test_what_is_left_out(key):
    source = toy.dataset(2)
    model, graphs, params = make(source, pointwise_share=0.0, preference="none")
    batch = toy.batch(model, source, key)
    assert list(batch.triples) == ["bought"] and not batch.history and len(model.graphs) == 2
    assert set(jax.jit(model.loss)(params, graphs, batch, key, 0)[1]) == {"bpr", "l2"}
    tables = jax.jit(model.encode)(params, graphs)
    assert tables["user"].shape == (23, 4) and model.tasks == ("buy",)


@pytest.mark.exhaustive
def test_preferences_in_blocks_are_those_at_once(monkeypatch):
    source = toy.dataset(2)
    model, graphs, params = make(source)
    once = jax.jit(model.encode)(params, graphs)
    monkeypatch.setattr(bcipm, "BLOCK", 16)
    np.testing.assert_allclose(jax.jit(lambda p: model.encode(p, graphs))(params)["user"], once["user"], rtol=1e-5)
