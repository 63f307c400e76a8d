"""Mult-VAE: what goes in, what comes out, and that it is BVAE of one behavior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.models import bvae, multivae
from mbjax.ops import graph


def make(source, **options):
    model = multivae.build(multivae.MultivaeConfig(embedding_size=4, **options), source.info, 8)
    graphs = graph.from_train(model.graphs, source.train)
    return model, graphs, jax.jit(model.init)(jax.random.key(1), graphs)


@pytest.mark.parametrize(
    ("options", "read", "written", "tasks"),
    [
        ({}, ("buy",), ("buy",), ("buy",)),
        ({"input": "union"}, ("view", "cart", "buy"), ("view", "cart", "buy"), ("view", "cart", "buy")),
        ({"input": "union", "reconstruct": "behavior"}, ("view", "cart", "buy"), ("buy",), ("buy",)),
    ],
)
def test_histories_and_tasks(options, read, written, tasks):
    source = toy.dataset()
    model, _, _ = make(source, **options)
    assert model.batch.histories == {"input": read, "output": written}
    assert model.tasks == tasks


@pytest.mark.exhaustive
def test_of_one_behavior_it_is_bvae_without_uncertainty(monkeypatch, key):
    for module in (bvae, multivae):
        monkeypatch.setattr(module.noise, "normal", lambda words, stream, shape: jnp.zeros((words.shape[0], *shape)))
    source = toy.dataset(1)
    model, graphs, params = make(source, dropout_rate=0.0)
    other = bvae.build(
        bvae.BvaeConfig(embedding_size=4, dropout_rate=0.0, sdwl=False, behavior_weights=(1.0,)), source.info, 8
    )
    kernel, bias = params["params"]["encoder"]["kernel"], params["params"]["encoder"]["bias"]
    same = other.init(key, {})["params"] | {
        "mean_union": {"kernel": kernel[:, :4], "bias": bias[:4]},
        "deviation_buy": {"kernel": kernel[:, 4:], "bias": bias[4:]},
        "decoder_buy": params["params"]["decoder"],
    }
    value, _ = jax.jit(model.loss)(params, {}, toy.batch(model, source, key), key, 5000)
    expected, _ = jax.jit(other.loss)({"params": same}, {}, toy.batch(other, source, key), key, 5000)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    their_graphs = graph.from_train(other.graphs, source.train)
    np.testing.assert_allclose(
        model.score(params, model.encode(params, graphs), jnp.arange(23), 3, 20, 0),
        other.score({"params": same}, other.encode({"params": same}, their_graphs), jnp.arange(23), 3, 20, 0),
        rtol=1e-5,
        atol=1e-6,
    )


def test_l2(key):
    source = toy.dataset()
    model, _, params = make(source, l2_weight=2.0)
    _, parts = jax.jit(model.loss)(params, {}, toy.batch(model, source, key), key, 0)
    expected = 2.0 * sum((np.asarray(params["params"][n]["kernel"]) ** 2).sum() for n in ("encoder", "decoder"))
    np.testing.assert_allclose(parts["l2"], expected, rtol=1e-5)
