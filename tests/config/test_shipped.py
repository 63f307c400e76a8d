"""Every shipped YAML file loads, with every model, data set, protocol and ablation."""

from __future__ import annotations

import functools

import pytest
import usual

from mbjax import config, models

load = functools.cache(config.load)  # what several tests ask for is read once
CASES = [(model, dataset) for model in models.MODELS for dataset in config.dataset_names()]


def test_every_model_has_a_file_and_every_file_a_model():
    assert config.model_names() == sorted(models.MODELS)


def is_usual(case):
    """Data sets of which a model's file says something, the one with its ablations, and of the others one in turn."""
    model, dataset = case
    names = config.dataset_names()
    in_turn = names[list(models.MODELS).index(model) % len(names)]
    return dataset in (*(config.model_file(model).get("datasets") or {}), "jd", in_turn)


@pytest.mark.parametrize(("model", "dataset"), usual.cases(CASES, is_usual))
def test_every_combination_loads(model, dataset):
    model_class = models.MODELS[model].config
    file = config.model_file(model)
    assert set(file.get("datasets") or {}) <= set(config.dataset_names())
    assert file["summary"]
    for protocol in ("honest", "paper"):
        made = load(model, dataset, model_class, protocol=protocol)
        assert config.parse(config.dump(made), model_class) == made
        # Data sets of which the model's file says something of their own, and one that stands for all others.
        is_told = dataset in (*(file.get("datasets") or {}), "jd") and protocol == "honest"
        for ablation in (None, *(file.get("ablations") or {} if is_told else ())):
            made = load(model, dataset, model_class, protocol=protocol, ablation=ablation)
            assert made.overrides == {}
            assert (made.data.valid == "none") == (protocol == "paper")
            assert bool(made.evaluate.selections) == (protocol == "paper" and made.train.epochs > 0)


@pytest.mark.parametrize("model", models.MODELS)
def test_every_ablation_is_another_model(model):
    model_class = models.MODELS[model].config
    default = load(model, "jd", model_class)
    same = [
        name
        for name in config.model_file(model).get("ablations") or {}
        if not config.difference(default, load(model, "jd", model_class, ablation=name))[1:]
    ]
    # the default under the name that the literature gives it, and what is the default on every data set but one
    assert same == {"multivae": ["target"], "copf": ["wo_back", "paper_weight"]}.get(model, [])


@pytest.mark.parametrize("model", models.MODELS)
def test_every_field_has_a_meaning(model):
    specs = config.known_fields(models.MODELS[model].config)
    assert [path for path, spec in specs.items() if not spec.description] == []


@pytest.mark.parametrize("model", models.MODELS)
def test_every_shown_default_can_be_typed(model):
    model_class = models.MODELS[model].config
    made = load(model, "jd", model_class)
    for path, value in made.values().items():
        if value is None and "none" in config.type_name(config.known_fields(model_class)[path].annotation):
            continue
        assert config.override(made, {path: config.show(value)}).values()[path] == value


def test_published_settings_of_bvae():
    # Hyper-parameters of the released program on jd and ub.
    for dataset in ("jd", "ub"):
        made = load("bvae", dataset, models.MODELS["bvae"].config, protocol="paper")
        assert (made.model.embedding_size, made.model.dropout_rate) == (100, 0.5)
        assert (made.model.kl_cap, made.model.anneal_steps) == (0.2, 200_000)
        assert (made.train.epochs, made.train.batch_size, made.train.patience) == (1000, 500, 500)
        assert (made.train.optimizer, made.train.learning_rate) == ("adam", 1e-3)
        assert made.evaluate.ks == (5, 10, 15, 20)
        assert made.evaluate.selections == ("test_per_behavior", "best_test")


def test_rules_of_the_data_sets():
    rules = {
        "jd": ("file", False),
        "ub": ("file", False),
        "taobao": (None, True),  # the copy's: listed pairs, or one drawn of each user in a download
        "tmall": ("file_inside_train", True),
        "beibei": ("random_one", True),
        "retail_rocket": ("random_one", True),
    }
    for dataset, rule in rules.items():
        data = load("bvae", dataset, models.MODELS["bvae"].config).data
        assert (data.valid, data.mask_valid) == rule
