"""COPF and PKEF as configured: the released programs' settings, and the learning rate that results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbjax import config as configuration
from mbjax import models, types
from mbjax.experiment import wiring
from mbjax.models import objectives


def load(model, dataset, **options):
    return configuration.load(model, dataset, models.MODELS[model].config, protocol="paper", **options)


@pytest.mark.parametrize(
    ("dataset", "weights", "steps"),
    [
        ("beibei", (0, 2 / 6, 4 / 6), 84),
        ("taobao", (2 / 6, 2 / 6, 2 / 6), 60),
        ("tmall", (1 / 6, 2 / 6, 0, 3 / 6), 163),
    ],
)
def test_published_settings_of_copf(dataset, weights, steps):
    config = load("copf", dataset)
    model, train = config.model, config.train
    np.testing.assert_allclose(model.behavior_weights, weights, atol=1e-6)
    assert (model.embedding_size, model.score_scale, model.loss_factor, model.l2_weight) == (64, 300, 3, 0.01)
    assert (model.pairs_per_user, model.users_per_epoch, model.steps_per_epoch, model.l2_on) == (40, 0, 0, "tables")
    # Layers and temperature are published for beibei alone; those of taobao were searched, and the term's weight.
    layers = {"beibei": (1,), "taobao": (2, 2, 2), "tmall": (1, 1, 1, 1)}
    assert (model.backbone.name, model.backbone.layers) == ("cogcn", layers[dataset])
    assert (model.backbone.cum_graph, model.backbone.graph, model.backbone.start) == (
        "count_sum",
        "upstream",
        "residual",
    )
    head = model.head
    assert (head.name, head.alpha, head.beta, head.expert_scale) == ("dfme", 0.1, 0.001, 0.1)
    assert head.layers == ((1, 1, 1, 1) if dataset == "tmall" else (1,))
    assert (head.relation_on_self, head.expert_index, head.stop_gradient) == (False, "task", "none")
    temperature = 0.5 if dataset == "taobao" else 0.1
    weight = 0.1 if dataset == "taobao" else 1.0
    assert model.contrastive == objectives.ContrastiveConfig(weight=weight, temperature=temperature)
    assert load("copf", dataset, ablation="paper_weight").model.contrastive.weight == 1.0
    assert model.contrastive.reduction == "pairs_over_users" and model.unique.weight == 0
    assert (train.batch_size, train.epochs, train.patience) == (256, 200, 0)
    assert (train.optimizer, train.learning_rate, train.decay_rate, train.decay_steps) == ("adam", 1e-3, 0.96, steps)


@pytest.mark.parametrize(
    ("dataset", "weights", "exclude"),
    [
        ("beibei", (0, 4 / 6, 2 / 6), ()),
        ("taobao", (0, 4 / 6, 2 / 6), ()),
        ("tmall", (0, 4 / 6, 0, 2 / 6), ("cart",)),
    ],
)
def test_published_settings_of_pkef(dataset, weights, exclude):
    config = load("pkef", dataset)
    model, train = config.model, config.train
    np.testing.assert_allclose(model.behavior_weights, weights, atol=1e-6)
    assert (model.embedding_size, model.score_scale, model.loss_factor, model.l2_weight) == (64, 300, 3, 0.01)
    assert (model.pairs_per_user, model.users_per_epoch, model.l2_on) == (40, 10_000, "tables")
    backbone, head = model.backbone, model.head
    assert (backbone.name, backbone.layers, backbone.fusion, backbone.parallel) == ("pkf", None, "projection", True)
    assert (backbone.proj_scale, backbone.proj_source, backbone.self_loops) == (0.3, "layer_out", False)
    assert (head.name, head.level, head.scale, head.shared_gate) == ("pme", "embedding", 0.01, True)
    assert model.unique == objectives.UniqueConfig(weight=1.0, direction="code", scale=0.01, exclude=exclude)
    assert model.contrastive.weight == 0 and model.parallel_weight == 1
    assert (train.batch_size, train.epochs, train.patience) == (256, 100, 0)
    assert (train.optimizer, train.learning_rate, train.decay_rate, train.decay_steps) == ("adam", 1e-3, 0.96, 39)


def rates(config, num_steps):
    """The learning rate of each step: how far Adam moves a weight whose gradient is always 1."""
    optimizer = wiring.Experiment(config, dataset=None, model=None, graphs=None).optimizer()

    def step(state, _):
        update, state = optimizer.update(jnp.ones(()), state)
        return state, -update

    return jax.jit(lambda: jax.lax.scan(step, optimizer.init(jnp.zeros(())), length=num_steps)[1])()


def test_learning_rate_of_copf_on_beibei():
    step = np.arange(3 * 85)
    np.testing.assert_allclose(rates(load("copf", "beibei"), len(step)), 1e-3 * 0.96 ** (step // 84), rtol=1e-4)


def test_learning_rate_of_pkef():
    step = np.arange(100)
    np.testing.assert_allclose(rates(load("pkef", "taobao"), len(step)), 1e-3 * 0.96 ** (step // 39), rtol=1e-4)


# The unique-behavior loss: which terms there are.

FUNNEL = types.DatasetInfo("funnel", 5, 5, ("view", "cart", "buy"))


def alive(info=FUNNEL, weights=(0.0, 4 / 6, 2 / 6), **options):
    sets = objectives.unique_sets(objectives.UniqueConfig(weight=1.0, **options), info, weights)
    return {(s.pairs.behavior, s.pairs.without): (s.part, s.onto, round(6 * s.weight)) for s in sets}


def test_unique_terms_of_the_released_program():
    """The part of j orthogonal to k predicts "k without j", weighted by lambda_k; view has none."""
    assert alive() == {
        ("cart", "view"): (0, 1, 4),
        ("cart", "buy"): (2, 1, 4),
        ("buy", "view"): (0, 2, 2),
        ("buy", "cart"): (1, 2, 2),
    }


def test_unique_terms_of_the_paper():
    """The part of j orthogonal to k predicts "j without k"."""
    assert alive(direction="paper") == {
        ("view", "cart"): (0, 1, 4),
        ("buy", "cart"): (2, 1, 4),
        ("view", "buy"): (0, 2, 2),
        ("cart", "buy"): (1, 2, 2),
    }


def test_excluded_behaviors_take_no_part():
    info = FUNNEL._replace(behaviors=("click", "collect", "cart", "buy"))
    assert set(alive(info, (0.0, 4 / 6, 0.0, 2 / 6), exclude=("cart",))) == {
        ("collect", "click"),
        ("collect", "buy"),
        ("buy", "click"),
        ("buy", "collect"),
    }
    assert objectives.unique_sets(objectives.UniqueConfig(), FUNNEL, (1, 1, 1)) == ()


def test_bpr_by_hand():
    # Differences 1 and -2 of the first row, one of padding; nothing of the second. The total is of all devices.
    scores = jnp.array([[3.0, 0.0, 9.0, 2.0, 2.0, 0.0], [1.0, 1.0, 1.0, 5.0, 5.0, 5.0]])
    weight = jnp.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    drawn = types.Triples(jnp.zeros((2, 3), jnp.int32), jnp.zeros((2, 3), jnp.int32), weight, jnp.float32(4))
    np.testing.assert_allclose(
        objectives.bpr(scores, drawn), (np.log1p(np.exp(-1.0)) + np.log1p(np.exp(2.0))) / 4, rtol=1e-6
    )
