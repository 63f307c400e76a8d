from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mbjax import errors
from mbjax.config import fields

KNOWN = ["model.size", "model.head.depth", "train.batch_size", "evaluate.batch_size", "train.epochs"]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("train.epochs", "train.epochs"),
        ("epochs", "train.epochs"),
        ("head.depth", "model.head.depth"),
        ("evaluate.batch-size", "evaluate.batch_size"),
    ],
)
def test_resolve(key, path):
    assert fields.resolve(key, KNOWN) == path


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("batch_size", "option '--batch_size' is ambiguous: write --train.batch_size or --evaluate.batch_size."),
        ("epoch", "unknown option '--epoch'. Did you mean '--train.epochs'?"),
        ("train.size", "unknown option '--train.size'. Did you mean '--train.batch_size'?"),
        ("model.depth", "unknown option '--model.depth'. Did you mean '--model.head.depth'?"),
        ("xyzzy", "unknown option '--xyzzy'."),
        ("head", "option '--head' is a section: give its fields, such as --model.head.depth."),
        ("train", "option '--train' is a section: give its fields, such as --train.batch_size."),
    ],
)
def test_resolve_refuses(key, message):
    with pytest.raises(errors.ConfigError) as caught:
        fields.resolve(key, KNOWN, "--")
    assert str(caught.value) == message


def test_a_bare_name_that_several_sections_have():
    known = [*KNOWN, "model.tail.depth"]
    with pytest.raises(errors.ConfigError) as caught:
        fields.resolve("depth", known, "--")
    assert str(caught.value) == ("unknown option '--depth'. Did you mean '--model.head.depth' or '--model.tail.depth'?")


@pytest.mark.parametrize(
    "head",
    [
        {"head": {"depth": 2}},
        {"head.depth": 2},
        {"model": {"head": {"depth": 2}}},
        {"model": {"head.depth": 2}},
        {"model.head": {"depth": 2}},
        {"model.head.depth": 2},
    ],
)
def test_flatten_takes_nested_dotted_and_short_keys(head):
    tree = {"size": 1, "train": {"epochs": 3}, "evaluate": None} | head
    assert fields.flatten(tree, KNOWN) == {"model.size": 1, "model.head.depth": 2, "train.epochs": 3}


def test_flatten_refuses_one_value_for_a_section():
    with pytest.raises(errors.ConfigError, match="option 'model.head' is a section: give its fields, such as model.he"):
        fields.flatten({"model": {"head": "deep"}}, KNOWN)


def test_nest_is_the_way_back():
    assert fields.nest({"a.b.c": 1, "a.d": 2}) == {"a": {"b": {"c": 1}, "d": 2}}


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("12", int, 12),
        ("1e3", int, 1000),
        ("200_000", int, 200_000),
        ("1.5", int, "1.5"),
        ("ten", int, "ten"),
        ("inf", int, "inf"),
        ("none", int | None, None),
        ("None", str | None, None),
        ("none", str, "none"),
        ("none", Literal["file", "none"] | None, "none"),
        ("5,10", tuple[int, ...], (5, 10)),
        ("(5, 10,)", tuple[int, ...], (5, 10)),
        ("[0.5, 1e-3]", tuple[float, ...], ("0.5", "1e-3")),
        ("()", tuple[int, ...], ()),
        ("none", tuple[str, ...] | None, None),
        ("view, cart", tuple[str, ...] | None, ("view", "cart")),
        ("2,x", tuple[int, str], (2, "x")),
        ("a=1,b:2", dict[str, int], {"a": 1, "b": 2}),
        ("view=0.5", dict[str, float], {"view": 0.5}),
        ("{}", dict[str, float], {}),
        ("\t", str | None, "\t"),
        # A name is no syntax: only a bracket around all of a list is, and only the last sign of a pair.
        ("page view,buy/now,add (cart)", tuple[str, ...], ("page view", "buy/now", "add (cart)")),
        ("(new) view,add (cart)", tuple[str, ...], ("(new) view", "add (cart)")),
        ("[page view, add (cart)]", tuple[str, ...], ("page view", "add (cart)")),
        ('view,"bought, paid", 12" vinyl', tuple[str, ...], ("view", "bought, paid", '12" vinyl')),
        ('" view","say ""hi""",""', tuple[str, ...], (" view", 'say "hi"', "")),
        ('"none"', tuple[str, ...] | None, ("none",)),
        ('"none"', str | None, "none"),
        ('"', str | None, '"'),
        ("page view=0.5, a:b=0.25", dict[str, float], {"page view": 0.5, "a:b": 0.25}),
        ("a:b:0.5", dict[str, float], {"a:b": 0.5}),
        ('"a, b"=1,"a=b": 0.5', dict[str, float], {"a, b": 1.0, "a=b": 0.5}),
        ("- x=0.5,*=0.1,&a=1", dict[str, float], {"- x": 0.5, "*": 0.1, "&a": 1.0}),
        ("yes=0.5,1=0.1", dict[str, float], {"yes": 0.5, "1": 0.1}),
        ("view", dict[str, float], "view"),
        ("view=much", dict[str, float], {"view": "much"}),
    ],
)
def test_read_text(text, annotation, value):
    assert fields.read_text(text, annotation) == value


@given(st.lists(st.integers(-(10**9), 10**9)).map(tuple))
def test_what_is_shown_can_be_read(value):
    assert fields.read_text(fields.show(value), tuple[int, ...]) == value


NAMES = st.text(alphabet="ab '\",=:()[]{}@#|\\\n\u00e4", max_size=6) | st.sampled_from(
    ["none", "NULL", "()", "true", "1"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(NAMES, max_size=4).map(tuple), st.dictionaries(NAMES, st.floats(1e-6, 1), max_size=3))
@example((), {})
def test_odd_names_that_are_shown_can_be_read(names, shares):
    assert fields.read_text(fields.show(names), tuple[str, ...] | None) == names
    assert fields.read_text(fields.show(shares), dict[str, float]) == shares
    for name in names:
        assert fields.read_text(fields.show(name, str | None), str | None) == name
        assert fields.read_text(name, str | None, is_typed=False) == name


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_shown_exactly(value):
    assert float(fields.show(value)) == value


def test_type_names_are_what_one_may_write():
    assert fields.type_name(Literal["a", "b"] | None) == "a | b | none"
    assert fields.type_name(tuple[int, ...]) == "INT, ..."
    assert fields.type_name(bool) == "true | false"
    assert fields.type_name(float | None) == "NUMBER | none"
    assert fields.type_name(dict[str, float]) == "TEXT=NUMBER, ..."


@pytest.mark.parametrize("name", ["(x)", "[y", "a,b", '"q"', " edge", "plain", "add (cart)"])
def test_the_names_that_an_error_lists_can_be_typed(name):
    listed = str(errors.unknown("behavior", name.upper() + "?", [name])).rpartition("Known: ")[2].removesuffix(".")
    assert fields.read_text(listed, tuple[str, ...]) == (name,)
