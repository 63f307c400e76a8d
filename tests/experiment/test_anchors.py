"""Lists without learning before any run: the same as those of the models by that name."""

from __future__ import annotations

import jax
import pytest
import toy

from mbjax import data, errors, evaluate, models
from mbjax.data import options
from mbjax.experiment import anchors, gathering


@pytest.mark.exhaustive
def test_they_are_the_models_with_these_settings():
    source = toy.dataset(3)
    found = dict(anchors.without_learning(source, "valid", 5))
    assert list(found) == ["popularity", "own_items", "own_items, conversion", "itemknn, behavior"]
    for name, table in found.items():
        model_name, _, ablation = name.partition(", ")
        entry = models.entry(model_name)
        field = {"conversion": {"level": "conversion"}, "behavior": {"history": "behavior"}, "": {}}[ablation]
        model = entry.build(entry.config(**field), source.info, 0)
        graphs = gathering.graphs(model, source)
        expected = evaluate.Evaluator(source, "valid", ks=(5,))(model, model.init(jax.random.key(1), graphs), graphs)
        assert table == expected.table


def test_of_one_behavior_own_items_would_be_popularity_once_more():
    assert list(dict(anchors.without_learning(toy.dataset(1), "test", 5))) == ["popularity", "itemknn, behavior"]


def test_one_that_fails_says_why_and_the_others_stand(monkeypatch):
    def build(config, info, batch_size):
        raise MemoryError("no room")

    broken = models.MODELS["own_items"]._replace(build=build)
    monkeypatch.setitem(models.MODELS, "own_items", broken)
    found = dict(anchors.without_learning(toy.dataset(2), "valid", 5))
    assert found["own_items"] == "MemoryError: no room" and isinstance(found["itemknn, behavior"], dict)


def test_a_split_without_pairs_is_refused():
    pairs = {"train": {"buy": [(0, 0), (1, 1)]}, "test": {"buy": [(0, 1)]}}
    only = data.assemble("only", 2, 2, ("buy",), pairs, choice=options.Options(valid="none"))
    with pytest.raises(errors.ConfigError, match="split 'valid' of data set 'only' holds no pairs"):
        next(anchors.without_learning(only, "valid", 5))
