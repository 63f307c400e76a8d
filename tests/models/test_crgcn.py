"""CRGCN's regime: lengths of tables, users without a behavior, negatives that no behavior knows."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import toy

from mbjax import config, models, types
from mbjax.models import crgcn, objectives
from mbjax.ops import graph


def test_the_loss_by_hand(key):
    # Without layers every T^k is E0, so the scores are those of the tables.
    source = toy.dataset(2, num_users=2, num_items=3)
    made = crgcn.CrgcnConfig(embedding_size=2, backbone={"name": "crgcn", "layers": [0]}, l2_weight=0.5)
    model = crgcn.build(made, source.info, 2)
    graphs = graph.from_train(model.graphs, source.train)
    # Rows of E0; a convolution of no layers is the row itself, which is added at length 1.
    params = {"params": {"user": jnp.array([[2.0, 0], [0, 0]]), "item": jnp.array([[1.0, 0], [0, 3], [0, 0]])}}

    def drawn(positive, negative, weight):
        weight = jnp.array([weight], jnp.float32).T
        return types.Triples(jnp.array([positive]).T, jnp.array([negative]).T, weight, jnp.sum(weight))

    triples = {"view": drawn([0, 0], [1, 0], [1, 0]), "buy": drawn([0, 0], [2, 1], [1, 1])}
    batch = objectives.probe_batch(triples).replace(
        user=jnp.array([0, 1]), weight=jnp.ones(2), total=jnp.float32(2), triples=triples
    )
    loss, parts = model.loss(params, graphs, batch, key, 0)
    # View: T^1 of user 0 is (3, 0), of item 0 (2, 0): 6 to 0. User 1 has no view and counts in the mean.
    np.testing.assert_allclose(parts["bpr_view"], np.log1p(np.exp(-6)) / 2, rtol=1e-4)
    # Buy: (4, 0) and (3, 0): 12 to 0. User 1 is (0, 0): equal scores.
    np.testing.assert_allclose(parts["bpr_buy"], (np.log1p(np.exp(-12)) + np.log(2)) / 2, rtol=1e-6)
    # Lengths of whole tables: sqrt(4) and sqrt(1 + 9), over three items and one.
    np.testing.assert_allclose(parts["l2"], 0.5 * (2 + 10**0.5) / 4, rtol=1e-6)
    np.testing.assert_allclose(loss, sum(parts.values()), rtol=1e-6)


def test_all_behaviors_are_trained_with_negatives_that_none_knows():
    behaviors = toy.BEHAVIORS[4]
    model = crgcn.build(crgcn.CrgcnConfig(), types.DatasetInfo("toy", 5, 6, behaviors), 4)
    assert model.tasks == behaviors
    assert model.batch.triples == {name: types.PairSet(name, known=behaviors) for name in behaviors}
    assert (model.batch.per_user, model.batch.steps_per_epoch, model.batch.pass_over) == (1, 0, None)


def test_the_shipped_values_are_those_of_the_released_program():
    made = config.load("crgcn", "tmall", models.MODELS["crgcn"].config)
    assert (made.train.learning_rate, made.train.batch_size, made.train.epochs, made.train.patience) == (
        0.01,
        1024,
        200,
        20,
    )
    assert (made.model.l2_weight, made.model.embedding_size, made.train.monitor) == (1e-3, 64, "mean:hr@20")
