"""EHCF and GHCF: the loss is the literal sum over all pairs, what is squared, and what does not go together."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import backbones, config, errors, models, types
from mbjax.models import ehcf, ghcf
from mbjax.ops import graph

INFO = types.DatasetInfo("tiny", 2, 3, ("view", "cart", "buy"))


def made(model, source, key):
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.tree.map(lambda x: x + 0.1, jax.jit(model.init)(key, graphs))
    batch = toy.batch(model, source, key, place=2)  # 23 users in batches of 8: the last has a row of padding
    return graphs, params, batch, jax.jit(model.loss)(params, graphs, batch, key, 0)


def literal(model, params, graphs, batch, source, missing):
    """For each behavior the weighted squares over all items of the batch's users."""
    real, found = np.asarray(batch.user)[np.asarray(batch.weight) > 0], {}

    @jax.jit
    def ranked(params):
        tables = model.encode(params, graphs)
        return [model.score(params, tables, jnp.asarray(real), 0, 31, k) for k in range(source.info.num_behaviors)]

    for k, (name, scores) in enumerate(zip(source.info.behaviors, ranked(params), strict=True)):
        scores = np.asarray(scores, np.float64)
        labels = source.train[name][real].toarray()
        found[name] = np.sum(np.where(labels > 0, 1.0, missing[k]) * np.square(labels - scores))
    return found


@pytest.mark.parametrize("kind", ["ehcf", "ghcf"])
def test_the_loss_is_the_sum_over_all_pairs(key, kind):
    source = toy.dataset(3)
    still = {"name": kind, "dropout_rate": 0.0}
    options = {"embedding_size": 4, "missing_weight": (0.1, 0.2, 0.3), "behavior_weights": (0.5, 2.0, 1.0)}
    module = {"ehcf": ehcf, "ghcf": ghcf}[kind]
    section = models.MODELS[kind].config.model_validate(options | {"backbone": still})
    model = module.build(section, source.info, 8)
    assert model.tasks == source.info.behaviors and model.batch.triples == {}
    graphs, params, batch, (loss, parts) = made(model, source, key)
    assert np.sum(batch.weight) == 7
    expected = literal(model, params, graphs, batch, source, (0.1, 0.2, 0.3))
    for name, weight in zip(source.info.behaviors, (0.5, 2.0, 1.0), strict=True):
        np.testing.assert_allclose(parts[f"whole_{name}"], weight * expected[name], rtol=1e-5)
    np.testing.assert_allclose(loss, sum(parts.values()), rtol=1e-6)
    if kind == "ehcf":
        maps = {name: x for name, x in params["params"]["backbone"].items() if name.startswith("map_")}
        squares = 1e-4 / 2 * sum(np.sum(np.square(x)) for x in maps.values())
    else:
        # Rows without the behavior's vector: of the batch's users once, and of all items.
        vector = backbones.ghcf.Ghcf(
            backbones.ghcf.GhcfConfig(dropout_rate=0.0, weights=(0.5, 2.0, 1.0)), source.info
        ).apply(
            {"params": params["params"]["backbone"]},
            graphs,
            jnp.concatenate([params["params"][side] for side in ("user", "item")]),
        )
        user, item = vector.regularized[:23], vector.regularized[23:]
        squares = 0.01 / 2 * (np.sum(np.square(user[batch.user[:7]])) + np.sum(np.square(item)))
    np.testing.assert_allclose(parts["l2"], squares, rtol=1e-5)


def test_any_backbone_can_be_trained_so_and_a_mean_over_users_taken(key):
    source, options = toy.dataset(2), {"embedding_size": 4, "l2_on": "encoded", "missing_weight": (0.5,)}
    for mean_over, share in (("nothing", 1.0), ("users", 1 / 7)):
        section = ehcf.EhcfConfig.model_validate(options | {"backbone": {"name": "cogcn"}, "mean_over": mean_over})
        model = ehcf.build(section, source.info, 8)
        graphs, params, batch, (_, parts) = made(model, source, key)
        expected = literal(model, params, graphs, batch, source, (0.5, 0.5))
        for name, value in expected.items():
            np.testing.assert_allclose(parts[f"whole_{name}"], share / 2 * value, rtol=1e-5)
        tables = jax.jit(model.encode)(params, graphs)
        squares = sum(np.sum(np.square(t.user[batch.user[:7]])) + np.sum(np.square(t.item)) for t in tables)
        np.testing.assert_allclose(parts["l2"], 1e-4 / 2 * squares, rtol=1e-5)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(errors.ConfigError, match=r"head.name=dfme.*closed form for inner products.*--ranking=bpr"):
        ehcf.build(ehcf.EhcfConfig.model_validate({"head": {"name": "dfme"}}), INFO, 2)
    with pytest.raises(errors.ConfigError, match=r"mean_over=triples: there are none.*--mean_over=nothing"):
        ehcf.build(ehcf.EhcfConfig(mean_over="triples"), INFO, 2)
    with pytest.raises(errors.ConfigError, match=r"missing_weight=0.1,0.2 has 2 values for 3 behaviors"):
        ehcf.build(ehcf.EhcfConfig(missing_weight=(0.1, 0.2)), INFO, 2)
    with pytest.raises(errors.ConfigError, match=r"backbone.weights=0.1,0.2 has 2 values for 3 behaviors"):
        ghcf.build(ghcf.GhcfConfig(backbone=backbones.ghcf.GhcfConfig(weights=(0.1, 0.2))), INFO, 2)


def test_the_shipped_values_are_those_of_the_released_programs():
    load = lambda name, *more, **kw: config.load(name, *more, models.MODELS[name].config, **kw)  # noqa: E731
    one = load("ehcf", "beibei", protocol="paper")
    assert (one.train.optimizer, one.train.learning_rate, one.train.batch_size) == ("adagrad", 0.05, 256)
    assert (one.model.missing_weight, one.model.behavior_weights) == ((0.1,), (0.05, 0.8, 0.15))
    assert (one.model.backbone.dropout_rate, one.model.backbone.init_std, one.model.l2_on) == (0.5, 0.01, "weights")
    assert load("ehcf", "jd").model.embedding_size == 100
    other = load("ghcf", "beibei", protocol="paper")
    assert (other.train.optimizer, other.train.learning_rate, other.model.l2_weight) == ("adam", 1e-3, 10.0)
    assert other.model.behavior_weights[0] == 0 and other.model.backbone.num_layers == 4


def test_the_ablations():
    info = toy.dataset(3).info
    for name in ("ehcf", "ghcf"):
        entry = models.MODELS[name]
        sampled = entry.build(config.load(name, "demo", entry.config, ablation="sampled").model, info, 8)
        assert set(sampled.batch.triples) == set(info.behaviors) and sampled.batch.histories == {}
        section = config.load(name, "demo", entry.config, ablation="wo_dropout").model.backbone
        assert section.dropout_rate == 0
    assert config.load("ehcf", "demo", ehcf.EhcfConfig, ablation="wo_transfer").model.backbone.transfer == "none"
    section = config.load("ghcf", "demo", ghcf.GhcfConfig, ablation="paper_sum").model.backbone
    assert (section.aggregate, section.activation) == ("sum", "sum")
