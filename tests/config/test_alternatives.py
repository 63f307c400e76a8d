"""Sections that are one of several, from the files to the command line and back."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import config, errors, models
from mbjax.backbones import pkf
from mbjax.cli import reading
from mbjax.config import files
from mbjax.heads import pme


class Base(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class PlainConfig(Base):
    name: Literal["plain"] = "plain"


class TowerConfig(Base):
    name: Literal["tower"] = "tower"
    layers: tuple[int, ...] = pydantic.Field((1,), min_length=1)
    rate: float = 0.1

    @pydantic.model_validator(mode="after")
    def _deep(self):
        if len(self.layers) > 3:
            raise ValueError("at most three layers")
        return self


class ExpertsConfig(Base):
    name: Literal["experts"] = "experts"
    layers: int = pydantic.Field(2, ge=1)
    experts: int = 4


class PartConfig(Base):
    weight: float = 0.0
    temperature: float = 0.1


class ToyConfig(Base):
    head: Annotated[PlainConfig | TowerConfig | ExpertsConfig, pydantic.Field(discriminator="name")] = TowerConfig(
        rate=0.5
    )
    part: PartConfig = PartConfig(weight=1.0)
    size: int = 4


class RequiredConfig(Base):
    head: Annotated[PlainConfig | TowerConfig, pydantic.Field(discriminator="name")]


FILE = """
summary: a toy
model: {head: {layers: [2, 2]}}
datasets: {tiny: {model.head.layers: [3], size: 5}}
protocols: {paper: {head: {rate: 0.7}}}
ablations:
  nested: {model: {head: {name: experts, experts: 8}}}
  dotted: {model.head.name: experts, model.head.experts: 8}
  short: {head: {name: experts}, head.experts: 8}
  same: {head: {name: tower, layers: [1]}}
  foreign: {head.experts: 8}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of configurations with one model and one data set."""
    (tmp_path / "models").mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "models" / "toy.yaml").write_text(FILE)
    (tmp_path / "datasets" / "tiny.yaml").write_text("")
    monkeypatch.setattr(files, "config_dir", lambda: tmp_path)
    return tmp_path


def load(ablation=None, protocol="honest", model_class=ToyConfig, **overrides):
    overrides = {name.replace("__", "."): value for name, value in overrides.items()}
    return config.load("toy", "tiny", model_class, ablation=ablation, protocol=protocol, overrides=overrides)


def message(call, *args, **given):
    with pytest.raises(errors.ConfigError) as caught:
        call(*args, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_section_without_a_name_keeps_the_defaults_of_its_field(folder):
    assert load().model.head == TowerConfig(layers=(3,), rate=0.5)
    assert load(protocol="paper").model.head == TowerConfig(layers=(3,), rate=0.7)
    assert load(part__temperature=0.2).model.part == PartConfig(weight=1.0, temperature=0.2)


@pytest.mark.parametrize("ablation", ["nested", "dotted", "short"])
def test_another_name_drops_what_earlier_layers_set(folder, ablation):
    made = load(ablation, protocol="paper")
    assert made.model.head == ExpertsConfig(layers=2, experts=8)
    assert made.model.size == 5
    assert load(ablation, head__layers="6").model.head == ExpertsConfig(layers=6, experts=8)


def test_the_same_name_drops_nothing(folder):
    assert load("same", protocol="paper").model.head == TowerConfig(layers=(1,), rate=0.7)
    assert load(head__name="tower").model.head == TowerConfig(layers=(3,), rate=0.5)


def test_a_switch_back_does_not_bring_the_files_back(folder):
    assert load("nested", head__name="tower").model.head == TowerConfig()


def test_the_order_within_a_layer_is_free(folder):
    one = load(head__layers="7", head__name="experts")
    other = load(head__name="experts", head__layers="7")
    assert one == other
    assert one.model.head == ExpertsConfig(layers=7)  # a tuple in the tower, a number here


def test_override_switches_too(folder):
    first = load(head__rate=0.3, size=9)
    second = config.override(first, {"head.name": "experts", "head.layers": "6"})
    assert second.model == ToyConfig(head=ExpertsConfig(layers=6), size=9)
    # The rate of the tower is gone, and is no longer said to have been set by hand.
    assert second.overrides == {"model.size": 9, "model.head.name": "experts", "model.head.layers": 6}
    assert config.override(second, {"head.experts": 1}).model.head == ExpertsConfig(layers=6, experts=1)
    assert config.difference(first, second) == [
        "model.head.name: tower -> experts",
        "model.head.layers: 3 -> 6",
        "model.head.rate: 0.3 -> absent",
        "model.head.experts: absent -> 4",
    ]


@pytest.mark.parametrize("ablation", [None, "nested", "same"])
@pytest.mark.parametrize("head", [{}, {"head.name": "plain"}, {"head.name": "experts", "head.experts": 1}])
def test_dump_and_parse(folder, ablation, head):
    made = config.override(load(ablation), head)
    assert config.parse(config.dump(made), ToyConfig) == made


def reloaded(made):
    """What the printed command makes."""
    _, program, *argv = shlex.split(config.command(made))
    assert program == "train.py"
    given = reading.read(argv, "train")
    header = {name: given.options[name] for name in ("protocol", "ablation") if name in given.options}
    return config.load("toy", given.options["dataset"], ToyConfig, overrides=given.fields, **header)


CHANGES = st.sampled_from(
    [
        {"head.name": "plain"},
        {"head.name": "experts"},
        {"head.experts": 3, "head.name": "experts"},
        {"head.layers": (5, 6), "head.name": "tower"},
        {"head.name": "tower"},
        {"size": 6},
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([None, "nested", "same"]), st.lists(CHANGES, max_size=4))
def test_the_command_makes_the_configuration(folder, ablation, changes):
    made = load(ablation)
    for change in changes:
        made = config.override(made, change)
    again = reloaded(made)
    assert again.values() == made.values()
    assert again.header() == made.header()


def test_the_command_names_the_section_before_its_fields(folder):
    made = load("same", size=1, head__experts=3, head__name="experts")
    assert config.command(made) == (
        "python train.py --model=toy --dataset=tiny --ablation=same "
        "--model.head.name=experts --model.size=1 --model.head.experts=3"
    )


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            {"head.experts": 3},
            "model.head.experts=3: the head tower has no field 'experts'; its fields are layers, rate. It is a field "
            "of experts: set model.head.name=experts too.",
        ),
        (
            {"head": {"name": "plain", "layers": (1, 2)}},
            "model.head.layers=1,2: the head plain has no field 'layers'; it has no fields. It is a field of tower, "
            "experts: set model.head.name=tower too.",
        ),
        (
            {"head.name": "expert"},
            "model.head.name=expert: must be 'plain', 'tower' or 'experts'. Did you mean 'experts'?",
        ),
        ({"head.name": ""}, "model.head.name=: must be 'plain', 'tower' or 'experts'."),
        ({"head": "experts"}, "option 'head' is a section: give its fields, such as model.head.name."),
        ({"head.expert": 3}, "unknown option 'head.expert'. Did you mean 'model.head.experts'?"),
        ({"head.layers": "x"}, "model.head.layers=x: must be a whole number."),
        ({"head.layers": "()"}, "model.head.layers=(): needs at least one value."),
        ({"head.name": "experts", "head.layers": "x"}, "model.head.layers=x: must be a whole number."),
        ({"head.name": "experts", "head.layers": 0}, "model.head.layers=0: must be greater than or equal to 1."),
        ({"head.layers": "1,1,1,1"}, "model.head: at most three layers."),
    ],
)
def test_mistakes_are_one_line(folder, overrides, line):
    assert message(load, **{key.replace(".", "__"): value for key, value in overrides.items()}) == line


def test_mistakes_in_files_name_the_file(folder):
    origin = "configs/models/toy.yaml, ablations.foreign"
    assert message(load, "foreign").startswith(f"model.head.experts=8 ({origin}): the head tower has no field 'exper")
    (folder / "models" / "toy.yaml").write_text("model: {head: {name: towre}}")
    assert message(load) == (
        "model.head.name=towre (configs/models/toy.yaml): must be 'plain', 'tower' or 'experts'. Did you mean 'tower'?"
    )
    (folder / "models" / "toy.yaml").write_text("model: {head: {name: experts, layers: many}}")
    assert message(load) == "model.head.layers=many (configs/models/toy.yaml): must be a whole number."
    dumped = config.dump(config.Config(model_name="toy", dataset="tiny", model=ToyConfig()))
    text = dumped.replace("name: tower", "name: experts")
    assert message(config.parse, text, ToyConfig, "run.yaml").startswith(
        "model.head.rate=0.5 (run.yaml): the head experts has no field 'rate'; its fields are layers, experts."
    )


def test_a_default_of_the_new_section_has_no_origin(folder):
    (folder / "models" / "toy.yaml").write_text(
        "model: {head: {layers: [1, 1, 1]}}\nablations: {x: {head.name: experts}}"
    )
    made = load("x")
    assert made.model.head == ExpertsConfig()
    assert (
        message(config.override, made, {"head.layers": "0"})
        == "model.head.layers=0: must be greater than or equal to 1."
    )


def test_a_section_that_must_be_chosen(folder):
    (folder / "models" / "toy.yaml").write_text("")
    assert message(load, model_class=RequiredConfig) == "model.head.name is missing: must be 'plain' or 'tower'."
    assert load(model_class=RequiredConfig, head__name="plain").model.head == PlainConfig()


def test_known_fields_follow_the_choice(folder):
    every = config.known_fields(ToyConfig)
    chosen = config.known_fields(ToyConfig, config.defaults("toy", "tiny", ToyConfig, ablation="nested"))
    assert config.type_name(every["model.head.name"].annotation) == "plain | tower | experts"
    assert config.type_name(chosen["model.head.name"].annotation) == "plain | tower | experts"
    assert config.type_name(every["model.head.layers"].annotation) == "INT, ... | INT"
    assert config.type_name(chosen["model.head.layers"].annotation) == "INT"
    assert set(every) - set(chosen) == {"model.head.rate"}


def test_copf_takes_another_head_and_backbone():
    model_class = models.MODELS["copf"].config
    published = config.load("copf", "tmall", model_class).model
    assert (published.backbone.name, published.head.name) == ("cogcn", "dfme")
    made = config.load(
        "copf", "tmall", model_class, overrides={"head.level": "product", "head.name": "pme", "backbone.name": "pkf"}
    )
    # Everything but the two sections is as published for the data set.
    changed = {"head": pme.PmeConfig(level="product"), "backbone": pkf.PkfConfig()}
    assert made.model == published.model_copy(update=changed)
    assert config.parse(config.dump(made), model_class) == made
    back = config.override(made, {"head.name": "dfme"})
    assert back.model.head == type(published.head)()
    line = message(config.override, made, {"head.stop_gradient": "all"})
    assert line.startswith(
        "model.head.stop_gradient=all: the head pme has no field 'stop_gradient'; its fields are level"
    )
