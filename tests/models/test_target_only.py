"""The regime of BPR, LightGCN and MB-CGCN: the loss by hand, what is trained, how long an epoch is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import config, models, types
from mbjax.models import bpr_mf, lightgcn, lightgcn_m, mbcgcn, objectives
from mbjax.ops import graph, sampling

MODELS = {"bpr_mf": bpr_mf, "lightgcn": lightgcn, "lightgcn_m": lightgcn_m, "mbcgcn": mbcgcn}
INFO = types.DatasetInfo("tiny", 2, 3, ("view", "buy"))


def batch(positive, negative, weight):
    """Users 0 and 1 with one triple each; a weight of 0 is padding."""
    column = lambda values: jnp.array(values)[:, None]  # noqa: E731
    weight = column(weight).astype(jnp.float32)
    drawn = types.Triples(column(positive), column(negative), weight, jnp.sum(weight))
    given = {"user": jnp.arange(2), "weight": jnp.ones(2), "total": jnp.float32(2), "triples": {"buy": drawn}}
    return objectives.probe_batch(("buy",)).replace(**given)


def test_the_loss_of_bpr_mf_by_hand(key):
    model = bpr_mf.build(bpr_mf.BprMfConfig(embedding_size=2), INFO, 2)
    params = {"params": {"user": jnp.array([[1.0, 0], [0, 2]]), "item": jnp.array([[3.0, 0], [0, 1], [1, 1]])}}
    assert model.graphs == {} and jax.tree.structure(params) == jax.tree.structure(model.init(key, {}))
    loss, parts = model.loss(params, {}, batch([0, 2], [1, 0], [1, 1]), key, 0)
    # User 0 likes item 0 (3) to item 1 (0), user 1 item 2 (2) to item 0 (0).
    ranking = (np.log1p(np.exp(-3)) + np.log1p(np.exp(-2))) / 2
    squares = 1e-4 / 2 * ((1 + 9 + 1) + (4 + 2 + 9)) / 2
    np.testing.assert_allclose(parts["bpr_buy"], ranking, rtol=1e-6)
    np.testing.assert_allclose(parts["l2"], squares, rtol=1e-6)
    np.testing.assert_allclose(loss, ranking + squares, rtol=1e-6)
    # A triple of weight 0 counts neither in the mean nor among the squares.
    _, parts = model.loss(params, {}, batch([0, 2], [1, 0], [1, 0]), key, 0)
    np.testing.assert_allclose(parts["bpr_buy"], np.log1p(np.exp(-3)), rtol=1e-6)
    np.testing.assert_allclose(parts["l2"], 1e-4 / 2 * 11 / 2, rtol=1e-6)
    tables = model.encode(params, {})
    np.testing.assert_allclose(model.score(params, tables, jnp.array([1]), 1, 2, 1), [[2.0, 2.0]])


def test_the_maps_of_mbcgcn_count_like_a_row_of_the_batch(key):
    source = toy.dataset(2, num_users=2, num_items=3)
    model = mbcgcn.build(mbcgcn.MbcgcnConfig(embedding_size=2), source.info, 2)
    graphs = graph.from_train(model.graphs, source.train)
    params = model.init(key, graphs)
    one = batch([0, 2], [1, 0], [1, 1])
    before = model.loss(params, graphs, one, key, 0)[1]["l2"]
    backbone = params["params"]["backbone"]
    squares = sum(float(jnp.sum(kernel**2)) for kernel in backbone.values())
    params["params"]["backbone"] = {name: jnp.zeros_like(kernel) for name, kernel in backbone.items()}
    after = model.loss(params, graphs, one, key, 0)[1]["l2"]
    assert len(backbone) == 2 and squares > 0
    np.testing.assert_allclose(before - after, 1e-4 / 2 * squares / 2, rtol=1e-3)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_behaviors", [1, 3])
def test_only_the_target_is_trained_and_ranked(name, num_behaviors):
    source = toy.dataset(num_behaviors)
    model = MODELS[name].build(models.MODELS[name].config(), source.info, 8)
    assert model.tasks == ("buy",)
    assert model.batch == types.BatchSpec(8, triples={"buy": types.PairSet("buy")}, per_user=1, pass_over="buy")
    sampler, _ = sampling.user_sampler(model.batch, source.train)
    assert sampler.steps_per_epoch == source.train["buy"].nnz // 8 + 1


def test_other_behaviors_and_a_fixed_length_can_be_asked_for():
    made = lightgcn_m.LightgcnMConfig(behavior_weights=(0.5, 1.0), steps_per_epoch=7)
    model = lightgcn_m.build(made, INFO, 2)
    assert model.tasks == ("view", "buy") and model.batch.steps_per_epoch == 7 and model.batch.pass_over is None


def test_lightgcn_sees_the_targets_pairs_alone():
    model = lightgcn.build(lightgcn.LightgcnConfig(), INFO, 2)
    assert [spec.behaviors for spec in model.graphs.values()] == [("buy",)]
    model = lightgcn_m.build(lightgcn_m.LightgcnMConfig(), INFO, 2)
    assert [spec.behaviors for spec in model.graphs.values()] == [("view", "buy")]


@pytest.mark.parametrize("name", MODELS)
def test_the_shipped_values_are_those_of_the_reference_programs(name):
    made = config.load(name, "taobao", models.MODELS[name].config, protocol="paper")
    assert (made.train.batch_size, made.train.learning_rate, made.train.epochs) == (2048, 1e-3, 1000)
    assert (made.model.embedding_size, made.model.score_scale, made.model.loss_factor) == (64, 1.0, 1.0)
    assert (made.model.l2_on, made.model.l2_weight, made.model.pairs_per_user) == ("batch", 1e-4, 1)
    assert made.model.backbone.init_std == 0.01
    assert getattr(made.model.backbone, "num_layers", 3) == 3
    assert getattr(made.model.backbone, "layers", (1, 5, 3)) == (1, 5, 3)
