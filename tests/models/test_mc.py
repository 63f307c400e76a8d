"""MC-BPR against its formula, and that all MC models draw from the levels (tests/ops/test_points.py draws them)."""

import jax
import numpy as np
import pointwise
import pytest
import toy

from mbjax.models import mc, ncf
from mbjax.ops import noise


def make(source, size=24, **options):
    config = mc.McBprConfig(embedding_size=4, negatives=2, **options)
    model = mc.build_bpr(config, source.info, size)
    params, literal = pointwise.randomized(jax.eval_shape(model.init, jax.random.key(1), {}))
    return model, params, literal


@pytest.mark.parametrize(
    "options",
    [
        {"dropout_rate": 0.0},
        {"dropout_rate": 0.0, "output_weights": False, "reduction": "mean", "l2_weight": 0.2},
        {"dropout_rate": 0.5},
    ],
)
def test_the_loss_is_the_formula(options, key):
    source = toy.dataset(3)
    model, params, literal = make(source, **options)
    batch = pointwise.checked_batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, {}, batch, key, 0)
    h = literal.get("output", np.ones(4))
    rate = options["dropout_rate"]
    masks = np.asarray(noise.dropout(batch.noise, 0, (3, 2, 4), rate)) if rate else np.ones((24, 3, 2, 4))
    assert set(np.unique(masks)) == ({0.0, 2.0} if rate else {1.0})
    losses = []
    for b in range(int(batch.total)):
        p, (i, *negatives) = literal["user"][batch.user[b]], batch.points.item[b]
        for m, j in enumerate(negatives):
            user, positive, negative = masks[b, :, m]
            margin = h @ ((p * user) * (literal["item"][i] * positive - literal["item"][j] * negative))
            losses.append(-np.log(pointwise.sigmoid(margin)))
    assert len(losses) == 2 * batch.total
    expected = np.mean(losses) if options.get("reduction") == "mean" else np.sum(losses)
    np.testing.assert_allclose(parts["bpr"], expected, rtol=1e-4)
    if "l2_weight" in options:
        squares = (literal["user"] ** 2).sum() + (literal["item"] ** 2).sum()
        np.testing.assert_allclose(parts["l2"], 0.2 * squares, rtol=1e-4)
    pointwise.assert_ranks(model, params, lambda u, i: h @ (literal["user"][u] * literal["item"][i]), 2)


def test_levels_of_the_behaviors():
    info = toy.dataset(4).info
    halving = mc.levels_of(mc.McBprConfig(), info)
    assert halving == (info.behaviors, (0.125, 0.25, 0.5, 1.0), 0.2)
    assert mc.levels_of(mc.McBprConfig(level_weights="harmonic", unobserved=0.8), info)[1:] == (
        (1 / 4, 1 / 3, 1 / 2, 1.0),
        0.8,
    )


def test_mc_bpr_learns_from_all_behaviors_and_the_others_from_the_target():
    info = toy.dataset(3).info
    assert mc.build_bpr(mc.McBprConfig(), info, 8).batch.points.behaviors == ("view", "cart", "buy")
    for build, config in (
        (mc.build_gmf, mc.McGmfConfig),
        (mc.build_mlp, mc.McMlpConfig),
        (mc.build_neumf, mc.McNeumfConfig),
    ):
        model = build(config(), info, 8)
        assert model.batch.points == (("buy",), 4, mc.levels_of(config(), info))
        assert model.tasks == ("buy",)


def test_but_for_the_negatives_mc_gmf_is_gmf(key):
    source = toy.dataset(3)
    model = mc.build_gmf(mc.McGmfConfig(embedding_size=4), source.info, 24)
    same = ncf.build_gmf(ncf.GmfConfig(embedding_size=4, variant="shared_concat"), source.info, 24)
    params, _ = pointwise.randomized(jax.eval_shape(model.init, key, {}))
    batch, other = (toy.batch(m, source, key) for m in (model, same))
    np.testing.assert_array_equal(batch.points.item[:, 0], other.points.item[:, 0])
    assert np.any(batch.points.item != other.points.item)
    np.testing.assert_allclose(
        jax.jit(model.loss)(params, {}, batch, key, 0)[0], jax.jit(same.loss)(params, {}, batch, key, 0)[0], rtol=1e-6
    )
