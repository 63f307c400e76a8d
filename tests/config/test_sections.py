from __future__ import annotations

from typing import Annotated, Literal

import pydantic
import pytest

from mbjax import errors
from mbjax.config import sections


class Inner(pydantic.BaseModel):
    depth: int = pydantic.Field(2, description="layers")


class Other(pydantic.BaseModel):
    width: int = 3


class Outer(pydantic.BaseModel):
    head: Inner | Other = Inner()
    part: Inner = Inner(depth=9)
    note: str | None = None
    rate: Annotated[float, pydantic.Field(gt=0)] = 0.5


class Open(pydantic.BaseModel):
    name: Literal["open"] = "open"


class Shut(pydantic.BaseModel):
    name: Literal["shut"] = "shut"
    lock: int = 1


Gate = Annotated[Open | Shut, pydantic.Field(discriminator="name")]


class Narrow(pydantic.BaseModel):
    name: Literal["narrow"] = "narrow"
    size: int = pydantic.Field(1, description="of the one")
    gate: Gate = Shut(lock=5)


class Wide(pydantic.BaseModel):
    name: Literal["wide", "broad"] = "wide"
    size: float = pydantic.Field(0.5, description="of the other")


class Model(pydantic.BaseModel):
    head: Annotated[Narrow | Wide, pydantic.Field(discriminator="name")] = Narrow(size=7)


def test_walk_lists_leaves_of_nested_and_alternative_sections():
    found = sections.walk({"model": Outer})
    assert list(found) == ["model.head.depth", "model.head.width", "model.part.depth", "model.note", "model.rate"]
    assert found["model.head.depth"] == sections.FieldSpec(int, "layers", 2)


def test_leaves_follow_the_instance():
    assert sections.leaves({"model": Outer(head=Other())}) == {
        "model.head.width": 3,
        "model.part.depth": 9,
        "model.note": None,
        "model.rate": 0.5,
    }


def test_defaults_are_those_of_the_field_not_of_its_class():
    assert sections.defaults({"model": Outer}) == {"model.part.depth": 9}
    assert sections.defaults({"model": Model}) == {
        "model.head.name": "narrow",
        "model.head.size": 7,
        "model.head.gate.name": "shut",
        "model.head.gate.lock": 5,
    }
    assert sections.defaults({"model": Inner}) == {}


def test_walk_without_a_choice_has_the_fields_of_all():
    found = sections.walk({"model": Model})
    assert list(found) == ["model.head.name", "model.head.size", "model.head.gate.name", "model.head.gate.lock"]
    assert found["model.head.name"].annotation == Literal["narrow", "wide", "broad"]
    assert found["model.head.name"].default == "narrow"
    assert found["model.head.name"].description == "which head it is; its other fields depend on that"
    assert found["model.head.size"].annotation == int | float


def test_walk_with_a_choice_has_its_fields_only():
    narrow = sections.walk({"model": Model}, {"model.head.name": "narrow", "model.head.gate.name": "open"})
    assert list(narrow) == ["model.head.name", "model.head.size", "model.head.gate.name"]
    assert narrow["model.head.size"] == sections.FieldSpec(int, "of the one", 1)
    assert narrow["model.head.name"].annotation == Literal["narrow", "wide", "broad"]
    for name in ("wide", "broad"):
        wide = sections.walk({"model": Model}, {"model.head.name": name})
        assert list(wide) == ["model.head.name", "model.head.size"]
        assert wide["model.head.size"] == sections.FieldSpec(float, "of the other", 0.5)


def test_choices_are_found_below_the_chosen_section():
    values = {"model.head.name": "narrow", "model.head.gate.name": "shut"}
    head, gate = sections.choices({"model": Model}, values)
    assert (head.path, head.key, head.names()) == ("model.head", "model.head.name", "'narrow', 'wide' or 'broad'")
    assert (gate.path, gate.names()) == ("model.head.gate", "'open' or 'shut'")
    assert head.chosen(values) is Narrow
    assert gate.chosen({}) is None
    assert [choice.path for choice in sections.choices({"model": Model}, {"model.head.name": "wide"})] == ["model.head"]
    assert list(sections.choices({"model": Outer}, {})) == []


def test_a_switch_drops_what_was_set_below():
    flat = sections.defaults({"model": Model}) | {"model.note": 1}
    assert [choice.path for choice in sections.switch({"model": Model}, flat, {"model.head.name": "wide"})] == [
        "model.head"
    ]
    assert flat == {"model.head.name": "wide", "model.note": 1}


def test_a_switch_back_starts_from_the_class():
    flat = {"model.head.name": "wide", "model.head.size": 0.1}
    sections.switch({"model": Model}, flat, {"model.head.name": "narrow"})
    # Not 7, which is the default of the field model.head; gate.lock is a default of Narrow itself.
    assert flat == {"model.head.name": "narrow", "model.head.gate.name": "shut", "model.head.gate.lock": 5}


def test_the_same_name_drops_nothing():
    flat = sections.defaults({"model": Model})
    before = dict(flat)
    assert sections.switch({"model": Model}, flat, {"model.head.name": "narrow", "model.head.size": 3}) == []
    assert flat == before


def test_an_outer_and_an_inner_switch_in_one_layer():
    flat = {"model.head.name": "wide", "model.head.size": 0.1}
    layer = {"model.head.gate.name": "open", "model.head.name": " narrow"}
    changed = sections.switch({"model": Model}, flat, layer)
    assert [choice.path for choice in changed] == ["model.head", "model.head.gate"]
    assert flat == {"model.head.name": "narrow", "model.head.gate.name": "open"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("widde", "model.head.name=widde (here): must be 'narrow', 'wide' or 'broad'. Did you mean 'wide'?"),
        ("xyz", "model.head.name=xyz (here): must be 'narrow', 'wide' or 'broad'."),
        (None, "model.head.name=None (here): must be 'narrow', 'wide' or 'broad'."),
        (["wide"], "model.head.name=['wide'] (here): must be 'narrow', 'wide' or 'broad'."),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(errors.ConfigError) as caught:
        sections.switch({"model": Model}, {}, {"model.head.name": name}, " (here)")
    assert str(caught.value).startswith(message)


def test_place_leaves_out_indices_and_names_of_alternatives():
    assert sections.place(Model, ("head", "narrow", "gate", "shut", "lock")) == ["head", "gate", "lock"]
    assert sections.place(Model, ("head", "broad")) == ["head"]
    assert sections.place(Outer, ("part", "depth", 0)) == ["part", "depth"]
    assert sections.place(Outer, ("nothing", 1, "at all")) == ["nothing", "at all"]
