"""Mean gate weights of a composed model's tasks: the pairs that are meant, the names, planted preferences."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import toy

from mbjax import config as configuration
from mbjax import errors, experiment, models
from mbjax.experiment import wiring
from mbjax.models import composed


@pytest.fixture(autouse=True)
def frugal():
    """Nothing is trained here: no run is needed."""


def make(head: str, model: str = "copf", **overrides):
    settings = {f"model.{name}": value for name, value in overrides.items()}
    if model == "copf":
        settings |= {"model.head.name": head, "model.embedding_size": "4"}
    config = configuration.load(model, "demo", models.entry(model).config, overrides=settings)
    found = wiring.build(config, toy.dataset(3))
    return found, jax.jit(found.model.init)(jax.random.key(0), found.graphs)


def planted(params, name: str, slot: int):
    """The params with a gate that prefers one slot by far, whatever the pair."""
    gate = params["params"]["head"][name]
    params["params"]["head"][name] = jax.numpy.zeros_like(gate).at[..., slot].set(50.0)
    return params


def test_the_preferred_expert_of_each_task_in_the_order_of_the_gate():
    found, params = make("mesi", behavior_weights="0.5,0,0.5")
    table = experiment.expert_use(found, planted(params, "gate_bias", 1))
    pairs = {task: found.dataset.test[task].nnz for task in ("view", "buy")}
    assert table.columns == ["task", "expert", "pairs", "mean", "sd"]
    assert table.select("task", "expert", "pairs").rows() == [
        (task, expert, pairs[task]) for task in ("view", "buy") for expert in ("view", "cart", "buy")
    ]
    np.testing.assert_allclose(table["mean"], [0, 1, 0] * 2, atol=1e-5)
    np.testing.assert_allclose(table["sd"], np.zeros(6), atol=1e-5)


def test_values_are_those_of_the_pairs():
    found, params = make("ple")
    params = jax.tree.map(lambda x: 3.0 * x, params)
    table = experiment.expert_use(found, params, split="train")
    module = composed.Composed(found.config.model, found.model.info)
    for index, task in enumerate(found.model.tasks):
        sides = module.apply(params, found.graphs, method=composed.Composed.tables)[index]
        user, item = found.dataset.train[task].nonzero()
        logits = np.asarray(sides.user["gate"], float)[user] + np.asarray(sides.item["gate"], float)[item]
        weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        rows = table.filter(task=task)
        assert rows["expert"].to_list() == ["own 1", "shared 1"]
        np.testing.assert_allclose(rows["mean"], weights.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(rows["sd"], weights.std(axis=0), rtol=1e-2)
        assert rows["sd"].min() > 1e-4


def test_a_sample_of_the_pairs():
    found, params = make("mesi")
    table = experiment.expert_use(found, params, split="train", sample=7)
    assert set(table["pairs"]) == {7}
    assert table.equals(experiment.expert_use(found, params, split="train", sample=7))
    assert not table.equals(experiment.expert_use(found, params, split="train", sample=7, seed=1))


@pytest.mark.parametrize(
    ("head", "model", "options", "message"),
    [
        ("bilinear", "copf", {}, "head 'bilinear' has no gates"),
        ("", "popularity", {}, "model 'popularity' has no gates"),
        ("mesi", "copf", {"split": "trian"}, "unknown split 'trian'. Did you mean 'train'"),
        ("mesi", "copf", {"sample": 0}, "sample is 0"),
    ],
)
def test_wrong_choices_are_named(head, model, options, message):
    found, params = make(head, model)
    with pytest.raises(errors.ConfigError, match=message):
        experiment.expert_use(found, params, **options)


def test_a_split_without_pairs_of_the_tasks():
    found, params = make("mesi")
    empty = found.dataset.test | {name: 0 * matrix for name, matrix in found.dataset.test.items()}
    for matrix in empty.values():
        matrix.eliminate_zeros()
    found.dataset.test.clear()
    found.dataset.test.update(empty)
    with pytest.raises(errors.ConfigError, match="split 'test' of data set 'toy' holds no pairs of view, cart, buy"):
        experiment.expert_use(found, params)
