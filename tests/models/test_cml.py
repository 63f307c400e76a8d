"""CML: losses row by row, the network of weights in numpy, who follows which gradient, undivided batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import types
from mbjax.backbones import base
from mbjax.models import cml, cml_weights, multiplicity, objectives
from mbjax.ops import graph, sampling

logistic = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731


def make(source, **options):
    model = cml.build(cml.CmlConfig(embedding_size=4, **options), source.info, 8)
    graphs = graph.from_train(model.graphs, source.train)
    return model, graphs, jax.jit(model.init)(jax.random.key(1), graphs)


def test_losses_by_hand():
    users = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [1.0, 1.0]])
    own = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [1.0, 3.0]])
    target = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    encoding = base.Encoding(tuple(map(jnp.asarray, (own, target))), merged=jnp.asarray(users))
    batch = toy_batch(np.array([0, 1, 2, 3]), np.array([1.0, 1.0, 1.0, 0.0]))
    found = multiplicity.contrast(encoding, 0, (jnp.array([2, 0, 1, 3]), jnp.array([0, 0, 1, 1])), batch)
    # Rows are users 2, 0 | 1, 3, and 3 is padding. Of 2: against 1 alone: <(0, 1), (1, 0)> / 2 - <(0, 1), (2, 2)> / 2.
    # Of 0: <(1, 1), (1, 0)> / 2 - <(1, 1), (0, 1)> / 2 = 0. Of 1: against 2 and 0.
    of_one = np.log(np.exp(2.0) + np.exp(0.0)) - 1.0
    np.testing.assert_allclose(found.loss[:3], [-1.0, 0.0, of_one], rtol=1e-6)
    np.testing.assert_array_equal(found.weight, [1, 1, 1, 0])
    info = toy.dataset(2).info._replace(num_users=2, num_items=2)
    drawn = toy_triples([[0], [1]], [[1], [0]], [[1.0], [0.0]])
    ranked = multiplicity.ranking(jnp.asarray(users), jnp.asarray(own), drawn, jnp.array([1, 0]), info)
    # User 1 (0, 2), item 0 (3, 1) before item 1 (1, 1): softplus(2 - 2); user 0 (1, 0), the other way: softplus(3 - 1).
    np.testing.assert_allclose(ranked.loss, [np.log(2), np.log1p(np.exp(2))], rtol=1e-6)
    np.testing.assert_array_equal(ranked.own, own[[1, 0]])
    squares = multiplicity.squares(jnp.asarray(users), drawn, jnp.array([1, 0]), info)
    assert squares == 4 + 10 + 2


def toy_batch(users, weight):
    made = objectives.probe_batch(["buy"])
    return made.replace(user=jnp.asarray(users), weight=jnp.asarray(weight))


def toy_triples(positive, negative, weight):
    made = (jnp.asarray(x) for x in (positive, negative, weight))
    return types.Triples(*made, total=jnp.float32(2))


def test_rows_of_the_contrast_and_their_chunks():
    batch = toy_batch(np.arange(100), np.ones(100))
    rows, chunk = multiplicity.part_of(batch, jax.random.key(0), 0.5, 18)
    assert len(set(rows.tolist())) == 50 and np.bincount(chunk).tolist() == [18, 18, 14]
    rows, chunk = multiplicity.part_of(batch, jax.random.key(0), 0.1, 18)
    assert len(set(rows.tolist())) == 10 and np.bincount(chunk).tolist() == [5, 5]


@pytest.mark.parametrize("kind", ["contrast", pytest.param("rank", marks=pytest.mark.exhaustive)])
def test_the_network(kind):
    rng, size = np.random.default_rng(0), 2
    network = cml_weights.Weights(size, 0.0)
    loss, weight = rng.normal(size=5) ** 2, np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    own, merged = rng.normal(size=(2, 5, size))
    terms = multiplicity.Terms(*(jnp.asarray(x, jnp.float32) for x in (loss, weight, own, merged)))
    params = network.init(jax.random.key(0), terms, kind, jax.random.key(1))["params"]
    params = params | {"scale": jnp.float32(1.5), "shift": jnp.float32(0.3)}
    made = network.apply({"params": params}, terms, kind, jax.random.key(1))
    affine = lambda x, n: x @ params[f"{kind}_{n}"]["kernel"] + params[f"{kind}_{n}"]["bias"]  # noqa: E731
    prelu = lambda x: np.where(x > 0, x, 0.25 * x)  # noqa: E731

    def normal(x):
        mean = np.average(x, weights=weight)
        return 1.5 * (x - mean) / np.sqrt(np.average((x - mean) ** 2, weights=weight) + 1e-5) + 0.3

    both = (own, merged) if kind == "contrast" else (merged, own)
    first = np.sqrt(6) * affine(prelu(affine(np.concatenate([np.tile(loss[:, None], 2), *both], axis=1), 1)), 2)[:, 0]
    second = prelu(affine(loss[:, None] * (np.concatenate(both, axis=1) if kind == "contrast" else merged), 3))[:, 0]
    expected = logistic(normal(first)) + logistic(normal(second))
    np.testing.assert_allclose(made, expected * (0.5 if kind == "contrast" else 1), rtol=1e-4)


@pytest.mark.exhaustive
def test_loss_without_the_network(key):
    """Every part in numpy, from the tables."""
    source = toy.dataset()
    model, graphs, params = make(source, weights=False, contrastive_share=1.0, chunk=3)
    batch = toy.batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    tables = jax.jit(model.encode)(params, graphs)
    user, item = (np.asarray(x, np.float64) for x in tables)
    ranked, rows = [], np.asarray(batch.user)
    for name in source.info.behaviors:
        drawn = jax.tree.map(np.asarray, batch.triples[name])
        gap = (user[rows] * (item[drawn.negative[:, 0]] - item[drawn.positive[:, 0]])).sum(axis=1)
        ranked.append((drawn.weight[:, 0] * np.log1p(np.exp(gap))).sum())
    np.testing.assert_allclose(parts["bpr"], np.mean(ranked) / 8, rtol=1e-5)
    squares = [(x**2).sum() for x in (user[rows], item[drawn.positive[:, 0]], item[drawn.negative[:, 0]])]
    np.testing.assert_allclose(parts["l2"], 1e-3 * sum(squares) / 8, rtol=1e-5)
    np.testing.assert_allclose(
        model.score(params, tables, jnp.arange(5), 3, 7, 0), user[:5] @ item[3:10].T, rtol=1e-4, atol=1e-6
    )
    assert set(parts) == {"bpr", "l2", "contrastive"} and parts["contrastive"] > 0


@pytest.mark.exhaustive
def test_who_follows_which_gradient(key):
    source = toy.dataset(2)
    model, graphs, params = make(source, weights_dropout_rate=0.2)
    batch = toy.batch(model, source, key)

    @jax.jit
    def gradient(params, names):
        def part(params):
            parts = model.loss(params, graphs, batch, key, 0)[1]
            return sum(names[name] * value for name, value in parts.items())

        return jax.grad(part)(params)["params"]

    names = dict.fromkeys(jax.eval_shape(model.loss, params, graphs, batch, key, 0)[1], 0.0)
    assert set(names) == {"bpr", "contrastive", "l2", "weights", "other_pairs"}
    zero = lambda tree: all(not np.any(x) for x in jax.tree.leaves(tree))  # noqa: E731
    for name in names:
        found = gradient(params, names | {name: 1.0})
        of_network, of_encoder = found["weights"], {k: v for k, v in found.items() if k != "weights"}
        is_network = name in ("weights", "other_pairs")
        assert zero(of_network) != is_network and zero(of_encoder) == is_network, name
    # The network's own loss is worth nothing; of a step of nothing the other pairs' loss is that of the encoder here.
    parts = {step: jax.jit(make(source, lookahead=step)[0].loss)(params, graphs, batch, key, 0)[1] for step in (0, 1.0)}
    assert parts[0]["weights"] == 0 and parts[0]["bpr"] == parts[1.0]["bpr"]
    assert parts[0]["other_pairs"] != parts[1.0]["other_pairs"]


def test_every_device_has_the_whole_batch(key):
    source = toy.dataset(2)
    spec = types.BatchSpec(8, triples={"view": types.PairSet("view")}, undivided=True)
    (one, store), (four, _) = (sampling.user_sampler(spec, source.train, n) for n in (1, 4))
    whole, part = (
        jax.jit(lambda s=s: s.batch(store, s.plan(key, 0), key, 0, s.num_devices - 1))() for s in (one, four)
    )
    for a, b in ((whole, part), (whole.triples["view"], part.triples["view"])):
        np.testing.assert_array_equal(a.weight, 4 * b.weight)
        assert a.total == b.total
    np.testing.assert_array_equal(whole.user, part.user)
    np.testing.assert_array_equal(whole.triples["view"].negative, part.triples["view"].negative)
    assert part.share == 0.25
