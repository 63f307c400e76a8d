"""CMF against its formula: shared sides, both losses."""

import jax
import numpy as np
import pointwise
import pytest
import toy

from mbjax.models import cmf

CASES = [
    (3, {"share": "item", "loss": "log", "l2_weight": 0.2}),
    (2, {"share": "user", "loss": "square"}),
    (4, {"share": "both", "loss": "log", "behavior_weights": (0.0, 0.0, 0.5, 2.0)}),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, (case[0], *case[1].values()))))
def trial(request):
    num_behaviors, options = request.param
    source = toy.dataset(num_behaviors)
    config = cmf.CmfConfig(embedding_size=4, **options)
    model = cmf.build(config, source.info, 24)
    params, literal = pointwise.randomized(jax.eval_shape(model.init, jax.random.key(1), {}))

    def score(user, item, k):
        name = source.info.behaviors[k]
        p = literal["user" if config.share in ("user", "both") else f"user_{name}"]
        q = literal["item" if config.share in ("item", "both") else f"item_{name}"]
        return float(p[user] @ q[item])

    return source, config, model, params, literal, score


def test_the_loss_is_the_formula(trial, key):
    source, config, model, params, literal, score = trial
    behaviors = source.info.behaviors
    batch = pointwise.checked_batch(model, source, key)
    loss, parts = jax.jit(model.loss)(params, {}, batch, key, 0)
    expected = {}
    for k, weight in enumerate(config.behavior_weights or [1 / len(behaviors)] * len(behaviors)):
        rows = [(score(user, item, k), label[k]) for user, item, label, _ in pointwise.rows(batch)]
        if config.loss == "log":
            value = np.mean([pointwise.log_loss(s, y) for s, y in rows])
        else:
            value = sum((y - s) ** 2 for s, y in rows)
        if weight:
            expected[f"{config.loss}_loss_{behaviors[k]}"] = weight * value
    if config.l2_weight:
        expected["l2"] = config.l2_weight * sum((value**2).sum() for value in literal.values())
    assert set(parts) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-4)
    np.testing.assert_allclose(loss, sum(expected.values()), rtol=1e-4)


def test_ranking_is_by_the_formula(trial):
    source, config, model, params, _, score = trial
    for k in (0, source.info.num_behaviors - 1):
        pointwise.assert_ranks(model, params, lambda u, i, k=k: score(u, i, k), k)
    weights = config.behavior_weights or [1] * source.info.num_behaviors
    assert model.tasks == tuple(b for b, w in zip(source.info.behaviors, weights, strict=True) if w)


def test_what_is_shared_has_one_table():
    info = toy.dataset(3).info
    tables = {
        share: set(cmf.build(cmf.CmfConfig(share=share), info, 8).init(jax.random.key(0), {})["params"])
        for share in ("item", "user", "both")
    }
    assert tables == {
        "item": {"user_view", "user_cart", "user_buy", "item"},
        "user": {"user", "item_view", "item_cart", "item_buy"},
        "both": {"user", "item"},
    }
