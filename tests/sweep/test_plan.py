"""Plans: what each model of a sweep is given, and what cannot go together."""

from __future__ import annotations

import pytest

from mbjax import config, errors, models
from mbjax.sweep import plan


def section_of(name):
    return models.entry(name).config


def members(names=("ease",), fields=None, **given):
    return plan.members(plan.Plan(names, "demo", fields or {}, **given), section_of)


def test_a_plan_is_read_back(tmp_path):
    made = plan.Plan(("ease", "bvae"), "demo", {"train.epochs": "3"}, ("seed=0,1",), search=4, seed=None)
    (tmp_path / "sweep.json").write_text(made.text())
    assert plan.read(tmp_path / "sweep.json") == made
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(errors.DataError, match="is damaged"):
        plan.read(tmp_path / "sweep.json")
    with pytest.raises(errors.ConfigError, match="no sweep in"):
        plan.read(tmp_path / "elsewhere.json")


def test_a_run_has_what_was_given_and_what_varies():
    (member,) = members(
        ("bvae",), {"train.epochs": "3"}, grid=("dropout_rate=0.1,0.2", "ablation=none,wo_tff", "seed=4,5")
    )
    assert member.seeds == (4, 5) and [axis.field for axis in member.axes] == ["model.dropout_rate", "ablation"]
    made = member.config({"model.dropout_rate": "0.2", "ablation": "wo_tff"}, 5)
    assert (made.train.epochs, made.model.dropout_rate, made.model.use_tff, made.seed) == (3, 0.2, False, 5)
    assert member.config({"ablation": "none"}, 5).ablation is None


def test_a_field_of_one_model_is_left_out_for_the_others():
    ease, bvae = members(("ease", "bvae"), {"kl_cap": "0.1"}, grid=("penalty=1,2",))
    assert ease.lacks == ("kl_cap",) and bvae.lacks == ("penalty",)
    assert ease.fields == {} and bvae.axes == ()


def test_what_varies_training_is_left_out_where_there_is_none():
    ease, bvae = members(("ease", "bvae"), {"train.epochs": "3"}, grid=("learning_rate=0.1,0.2",))
    assert ease.axes == () and ease.lacks == ("learning_rate",) and ease.fields == {"train.epochs": "3"}
    assert [axis.field for axis in bvae.axes] == ["train.learning_rate"]


def test_a_search_looks_where_the_files_of_the_models_say():
    ease, copf = members(("ease", "copf"), search=3)
    assert "model.penalty" in [space.field for space in ease.spaces]
    rate = copf.config({}, 0).train.learning_rate
    (space,) = copf.spaces
    assert (space.field, space.low, space.high) == ("train.learning_rate", rate / 10, rate * 10)
    (ease,) = members(("ease",), {"model.penalty": "1"}, search=3)
    assert "model.penalty" not in [space.field for space in ease.spaces]


@pytest.mark.parametrize("name", [name for name in config.model_names() if config.model_file(name).get("search")])
def test_the_spaces_of_the_files_hold(name):
    members((name,), search=2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing varies: give --grid"),
        ({"grid": ("penalti=1,2",)}, "unknown option '--penalti'. Did you mean '--model.penalty'"),
        ({"grid": ("learning_rate=1,2",)}, "learning_rate varies training, and none of the models has any"),
        ({"grid": ("penalty=1,x",)}, "model.penalty"),
        ({"grid": ("penalty=1,2",), "fields": {"model.penalty": "3"}}, "model.penalty varies, and is given one value"),
        (
            {
                "grid": (
                    "rank=1,2",
                    "rank=3",
                )
            },
            "rank varies twice",
        ),
        ({"grid": ("seed=0,1",), "seed": 3}, "--seed=3 and a grid of seeds"),
        ({"grid": ("seed=0,a",)}, "--grid=seed=a: a seed must be"),
        ({"grid": ("evaluate.ks=5,10",)}, "evaluate.ks changes what is measured"),
        ({"grid": ("rank=1,2",), "search": 3}, "of a grid a search takes the seeds only"),
        ({"space": ("penalty=1..2",)}, "needs --search=N"),
        ({"search": 3, "minutes": 2.0}, "--search=3 and --minutes=2 each say how many"),
        ({"grid": ("rank=1,2",), "minutes": 2.0}, "beside --minutes=2: of a grid a search takes the seeds only"),
        ({"space": ("seed=1..2",), "search": 3}, "seeds stand in --grid"),
        ({"space": ("kl_cap=1..2",), "search": 3}, "names no field that model 'ease' has"),
        ({"space": ("activity_exponent=1..9",), "search": 3}, "model.activity_exponent"),
        ({"grid": ("rank=0,1",), "fields": {"data.valid": "none"}}, "data.valid"),
        ({"grid": ("own_columns=kept,left_out",), "ablation": "left_out"}, "and ablation left_out sets it"),
        ({"grid": ("own_columns=kept,left_out", "ablation=none,left_out")}, "and ablation left_out sets it"),
        ({"space": ("own_columns=kept,left_out",), "search": 2, "ablation": "left_out"}, "ablation left_out sets it"),
        ({"grid": ("penalty=1,1.0",)}, "--grid=model.penalty: 1 and 1.0 are the same value"),
        ({"grid": ("seed=0,00",)}, "--grid=seed=0,00: a seed stands there twice"),
    ],
)
def test_what_does_not_fit_is_said(given, words):
    with pytest.raises(errors.ConfigError) as error:
        members(**given)
    assert words in str(error.value)


def test_a_model_without_anything_to_search():
    with pytest.raises(errors.ConfigError, match="'popularity' has nothing that a search would vary"):
        members(("popularity",), search=3)


def test_within_a_time_a_model_without_anything_to_search_has_its_own_setting():
    popularity, ease = members(("popularity", "ease"), minutes=1.0)
    assert popularity.spaces == () and ease.spaces and not popularity.is_trained
    assert members(("bvae",), minutes=1.0)[0].is_trained


def test_a_search_leaves_what_an_ablation_sets():
    (plain,), (left_out,) = members(("ease",), search=2), members(("ease",), search=2, ablation="left_out")
    fields, others = ({space.field for space in member.spaces} for member in (plain, left_out))
    assert fields - others == {"model.own_columns"}
