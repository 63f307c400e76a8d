from __future__ import annotations

import shlex

import pydantic
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mbjax import config, errors


class ToyConfig(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    size: int = 4
    weights: tuple[float, ...] | None = None


BARE = config.Config(model_name="bvae", dataset="jd", model=ToyConfig())


@settings(max_examples=30, deadline=None)
@given(
    st.floats(1e-12, 1e12),
    st.lists(st.floats(-1e9, 1e9), max_size=3).map(tuple) | st.none(),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(rate, weights, column, seed):
    assume(not column.startswith("~"))  # the home folder of somebody, who may not exist
    first = config.override(
        BARE, {"train.learning_rate": rate, "model.weights": weights, "data.dirs": (column,)}, seed=seed
    )
    assert config.parse(config.dump(first), ToyConfig) == first


ODD = st.text(alphabet="ab '\",=:()[]{}@#-\n\u00e4", min_size=1, max_size=6) | st.sampled_from(
    ["none", "null", "1", "yes"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ODD, min_size=1, max_size=3, unique=True).map(tuple), ODD)
def test_odd_names_come_back_from_config_and_command(names, column):
    made = {
        "data.log.behaviors": names,
        "data.log.item": column,
        "data.log.time": column,
        "data.target": names[-1],
        "data.subsample": dict.fromkeys(names, 0.5),
        "train.monitor": f"{names[0]}:ndcg@10",
    }
    first = config.override(BARE, {key: config.show(value, str | None) for key, value in made.items()})
    assert first.data.log.behaviors == names and first.data.target == names[-1] and first.data.log.time == column
    assert config.parse(config.dump(first), ToyConfig) == first
    words = shlex.split(config.command(first))[4:]
    typed = dict(word.removeprefix("--").split("=", 1) for word in words)
    assert config.override(BARE, typed) == first


def test_dump_is_plain_yaml_with_every_field():
    tree = yaml.safe_load(config.dump(BARE))
    assert tree["model_name"] == "bvae"
    assert tree["model"] == {"size": 4, "weights": None}
    assert tree["evaluate"]["ks"] == [5, 10, 15, 20]
    assert set(tree["data"]["log"]) == set(config.LogConfig.model_fields)
    assert config.peek(config.dump(BARE)) == "bvae"


def test_difference_names_fields():
    other = config.override(BARE, {"model.size": 8, "evaluate.ks": "1,2"}, devices=2)
    assert config.difference(BARE, BARE) == []
    assert config.difference(BARE, other) == [
        "devices: 1 -> 2",
        "model.size: 4 -> 8",
        "evaluate.ks: 5,10,15,20 -> 1,2",
    ]


def test_difference_between_models():
    class Other(pydantic.BaseModel):
        depth: int = 1

    other = config.Config(model_name="bvae", dataset="jd", model=Other())
    assert config.difference(BARE, other) == [
        "model.size: 4 -> absent",
        "model.weights: unset -> absent",
        "model.depth: absent -> 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "run.yaml: 'model_name' is missing; is this the config.yaml of a run?"),
        ("model_name: bvae", "run.yaml: 'dataset' is missing; is this the config.yaml of a run?"),
        ("{model_name: a, dataset: b, modle: 1}", "run.yaml: unknown option 'modle'."),
        ("{model_name: a, dataset: b, seed: x}", "seed=x: must be a whole number."),
        ("{model_name: a, dataset: b, model: {size: x}}", "model.size=x (run.yaml): must be a whole number."),
        ("\x00", "run.yaml is not valid YAML: "),
    ],
)
def test_parse_refuses(text, message):
    with pytest.raises(errors.ConfigError) as caught:
        config.parse(text, ToyConfig, "run.yaml")
    assert str(caught.value).startswith(message)


def test_command_has_no_folders():
    made = config.override(
        config.Config(model_name="bvae", dataset="a/b/log.csv", ablation="x", protocol="paper", model=ToyConfig()),
        {"data.dirs": "a/b", "evaluate.ks": "1,2", "data.target": "big buy"},
        seed=3,
    )
    assert config.command(made) == (
        "python train.py --model=bvae --dataset=log.csv --protocol=paper --ablation=x --seed=3 "
        "--evaluate.ks=1,2 '--data.target=big buy'"
    )
