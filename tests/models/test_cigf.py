"""CIGF's regime: equal weights of 1, scores times 300, whole tables and kernels regularized."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import toy

from mbjax import config, models, types
from mbjax.models import cigf
from mbjax.ops import graph


def test_every_behavior_has_weight_one_and_scores_are_times_300(key):
    source = toy.dataset(3)
    model = cigf.build(cigf.CigfConfig(embedding_size=4), source.info, 8)
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.jit(model.init)(key, graphs)
    one = toy.batch(model, source, key)
    loss, parts = jax.jit(model.loss)(params, graphs, one, key, 0)
    numbers = range(source.info.num_behaviors)
    ranked = jax.jit(lambda p, t: [model.score(p, t, one.user, 0, 31, k) for k in numbers])
    for name, scores in zip(source.info.behaviors, ranked(params, jax.jit(model.encode)(params, graphs)), strict=True):
        scores = np.asarray(scores, np.float64) * 300
        drawn, rows = one.triples[name], np.arange(8)[:, None]
        margin = scores[rows, drawn.positive] - scores[rows, drawn.negative]
        expected = np.sum(drawn.weight * np.logaddexp(0, -margin)) / np.sum(drawn.weight)
        np.testing.assert_allclose(parts[f"bpr_{name}"], expected, rtol=1e-4)
    kernels = [
        leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if "bias" not in jax.tree_util.keystr(path)
    ]
    assert len(kernels) == 6  # two tables, three attention maps, the gate
    np.testing.assert_allclose(parts["l2"], 0.01 * sum(jnp.sum(k**2) for k in kernels), rtol=1e-5)
    np.testing.assert_allclose(loss, sum(parts.values()), rtol=1e-6)


def test_the_shipped_values_are_those_of_the_released_program():
    load = lambda *names, **more: config.load("cigf", *names, models.MODELS["cigf"].config, **more)  # noqa: E731
    made = load("beibei")
    assert (made.train.batch_size, made.train.decay_rate, made.train.decay_steps) == (256, 0.96, 39)
    assert (made.train.epochs, made.train.eval_every, made.train.learning_rate) == (100, 3, 1e-3)
    assert (made.model.users_per_epoch, made.model.pairs_per_user, made.model.l2_weight) == (10_000, 40, 0.01)
    assert made.model.backbone.layers == (2,) and load("tmall").model.backbone.layers == (4,)
    assert load("beibei", ablation="size_16").model.embedding_size == 16
    info = types.DatasetInfo("beibei", 9, 9, ("view", "cart", "buy"))
    assert cigf.build(made.model, info, 4).tasks == info.behaviors
