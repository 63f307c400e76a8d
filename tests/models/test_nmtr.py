"""NMTR against its formulas, pair by pair: units, cascades, biases, 2 to 4 behaviors."""

import jax
import numpy as np
import pointwise
import pytest
import toy
import usual

from mbjax import config as configuration
from mbjax import errors
from mbjax.models import MODELS, nmtr

# Each unit, cascade and bias with each number of behaviors at least once.
CASES = [
    (2, {"unit": "gmf", "cascade": "prob", "bias": "per_behavior"}),
    (3, {"unit": "gmf", "cascade": "logit_mean", "bias": "shared"}),
    (4, {"unit": "gmf", "cascade": "prob", "bias": "shared", "gmf_layer": False}),
    (2, {"unit": "mlp", "cascade": "logit_mean", "bias": "per_behavior"}),
    (3, {"unit": "mlp", "cascade": "prob", "bias": "shared", "layers": 1}),
    (4, {"unit": "mlp", "cascade": "logit_mean", "bias": "per_behavior"}),
    (2, {"unit": "neumf", "cascade": "prob", "bias": "shared"}),
    (3, {"unit": "neumf", "cascade": "prob", "bias": "per_behavior", "behavior_weights": (0.2, 0.0, 0.5)}),
    (4, {"unit": "neumf", "cascade": "logit_mean", "bias": "shared", "l2_weight": 0.03, "layers": 3}),
]


def literal_logits(config, params, behaviors, user, item):
    """s_1 ... s_K of a pair (eq. 4 of the paper, or the released program)."""
    p, q, logits = params["user"][user], params["item"][item], []
    for k, name in enumerate(behaviors):
        f = pointwise.unit(config.unit, params[f"unit_{name}"], p, q)
        b = params["bias"][k if config.bias == "per_behavior" else 0, item]
        if k == 0:
            logits.append(f + b)
        elif config.cascade == "prob":
            logits.append(pointwise.sigmoid(logits[-1]) + f + b)
        else:
            logits.append((f + logits[-1]) / 2 + b)
    return logits


# Of each unit, cascade and bias one, and what has options of its own.
USUAL = CASES[:1] + CASES[2:3] + CASES[4:]


@pytest.fixture(
    scope="module",
    params=usual.fixture(CASES, USUAL.__contains__),
    ids=lambda case: "-".join(map(str, (case[0], *case[1].values()))),
)
def trial(request):
    num_behaviors, options = request.param
    source = toy.dataset(num_behaviors)
    config = nmtr.NmtrConfig(embedding_size=4, negatives=3, **options)
    model = nmtr.build(config, source.info, 24)
    params, literal = pointwise.randomized(jax.eval_shape(model.init, jax.random.key(1), {}))
    return source, config, model, params, literal


def test_the_loss_is_the_formula(trial, key):
    source, config, model, params, literal = trial
    batch = pointwise.checked_batch(model, source, key)
    loss, parts = jax.jit(model.loss)(params, {}, batch, key, 0)
    weights = config.behavior_weights or [1 / source.info.num_behaviors] * source.info.num_behaviors
    sums, count = np.zeros(len(weights)), 0
    for user, item, label, _ in pointwise.rows(batch):
        logits = literal_logits(config, literal, source.info.behaviors, user, item)
        sums += [pointwise.log_loss(s, y) for s, y in zip(logits, label, strict=True)]
        count += 1
    assert count == 4 * batch.total
    expected = {
        f"log_loss_{name}": weight * value / count
        for name, weight, value in zip(source.info.behaviors, weights, sums, strict=True)
        if weight
    }
    if config.l2_weight:
        kernels = [v for n in source.info.behaviors for k, v in literal[f"unit_{n}"].items() if k.startswith("kernel")]
        squares = sum((x**2).sum() for x in (literal["user"], literal["item"], *kernels))
        expected["l2"] = config.l2_weight * squares
    assert set(parts) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-4)
    np.testing.assert_allclose(loss, sum(expected.values()), rtol=1e-4)


def test_ranking_is_by_the_formula(trial):
    source, config, model, params, literal = trial
    behaviors = source.info.behaviors
    for behavior in {0, len(behaviors) - 1}:
        pointwise.assert_ranks(
            model, params, lambda u, i, k=behavior: literal_logits(config, literal, behaviors, u, i)[k], behavior
        )


def test_behaviors_without_weight_are_not_ranked():
    model = nmtr.build(nmtr.NmtrConfig(behavior_weights=(0.5, 0.0, 0.5)), toy.dataset(3).info, 8)
    assert model.tasks == ("view", "buy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"behavior_weights": (0.5, 0.5)}, "model.behavior_weights=0.5,0.5 for the 3 behaviors"),
        ({"unit": "mlp", "embedding_size": 2, "layers": 3}, "model.layers=3 halves an input of 4"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        nmtr.build(nmtr.NmtrConfig(**options), toy.dataset(3).info, 8)


def test_defaults_are_those_of_paper_and_program():
    made = configuration.load("nmtr", "taobao", MODELS["nmtr"].config, protocol="paper")
    assert (made.model.cascade, made.model.bias) == ("prob", "per_behavior")
    assert (made.model.embedding_size, made.model.layers, made.model.negatives) == (64, 2, 4)
    assert (made.train.optimizer, made.train.learning_rate, made.train.epochs) == ("adagrad", 0.01, 30)
    # 2,048 rows of a batch, as many as whole pairs with their negatives and four devices allow.
    assert made.train.batch_size * (1 + made.model.negatives) == 2040
