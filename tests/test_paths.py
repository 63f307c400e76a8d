"""Paths are made absolute in one place, and names of data sets are told from them in one place."""

from __future__ import annotations

import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbjax import errors, paths


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MBJAX_DATA", raising=False)
    return tmp_path


def test_absolute(home):
    for text, meant in (
        ("~/runs", home / "runs"),
        ("~", home),
        ("runs", home / "here/runs"),
        ("../x", home / "x"),
        ("/a/../b", pathlib.Path("/b")),
        ("a~b", home / "here/a~b"),
        ("./~", home / "here/~"),
    ):
        assert paths.absolute(text) == meant
    assert paths.absolute(pathlib.Path("~/runs")) == home / "runs"
    (home / "link").symlink_to(home / "here")
    assert paths.absolute(home / "link" / "x") == home / "link" / "x"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0~"), min_size=1))
def test_what_is_absolute_stays_as_it_is(text):
    once = paths.absolute(text)
    assert once.is_absolute() and paths.absolute(once) == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~nobody-of-this-name/x", "the home folder of '~nobody-of-this-name' is not known"),
        ("a\udcff.csv", r"'a\\udcff.csv': the path is no text in UTF-8. Rename the file or folder."),
        ("a\0b", "no path holds a zero byte"),
    ],
)
def test_paths_that_mean_nothing(text, message):
    with pytest.raises(errors.ConfigError, match=message):
        paths.absolute(text)


def test_short_and_portable(home):
    assert paths.short(home / "here" / "runs" / "a") == paths.portable(home / "here" / "runs" / "a") == "runs/a"
    assert (paths.short(home / "b"), paths.portable(home / "b")) == (str(home / "b"), "b")


@pytest.mark.parametrize("text", ["jd", "my.csv", "with blank"])
def test_names(text):
    assert paths.is_name(text)


@pytest.mark.parametrize("text", ["", ".", "..", "~", "a/b", "/a", "./a", "a/"])
def test_no_names(text):
    assert not paths.is_name(text)


def test_the_search_path(home, monkeypatch):
    monkeypatch.setenv("MBJAX_DATA", os.pathsep.join(["~/one", "", "two"]))
    here = home / "here"
    assert paths.search_path(["~/mine", "own"]) == [
        home / "mine", here / "own", home / "one", here / "two", here / "data", home / "shared" / "data"
    ]  # fmt: skip
    assert paths.named_folder("shop", ["own"]) is None
    (here / "data" / "shop").mkdir(parents=True)
    assert paths.named_folder("shop", ["own"]) == here / "data" / "shop"
    (here / "own" / "shop").mkdir(parents=True)
    assert paths.named_folder("shop", ["own"]) == here / "own" / "shop"
    assert paths.named_folder("shop") == here / "data" / "shop"
    assert paths.named_folder("data/shop") is None
