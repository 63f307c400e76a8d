"""What varies, as it is written; numbers by hand."""

from __future__ import annotations

import pytest

from mbjax import config, errors, models
from mbjax.sweep import axes

KNOWN = config.known_fields(models.entry("ease").config)


def test_an_axis_as_written():
    assert axes.read_axis("model.x=0.01, 0.1") == axes.Axis("model.x", ("0.01", "0.1"))
    assert axes.read_axis("train.seed=0,1") == axes.Axis("seed", ("0", "1"))
    assert axes.read_axis("model.features=(a,b),(c)").values == ("(a,b)", "(c)")
    assert axes.read_axis("data.subsample={view=0.5,cart=1},none").values == ("{view=0.5,cart=1}", "none")
    assert axes.read_axis('x="a,b",c').values == ('"a,b"', "c")


@pytest.mark.parametrize("text", ["", "x", "x=", "=1", "x=,", "x=1,1"])
def test_an_axis_that_is_none(text):
    with pytest.raises(errors.ConfigError, match=r"^--grid="):
        axes.read_axis(text)


def test_a_space_as_written():
    assert axes.read_space("x=1e-2..1") == axes.Space("x", 0.01, 1.0)
    assert axes.read_space("x=a,b") == axes.Space("x", choices=("a", "b"))


@pytest.mark.parametrize("text", ["x=1..1", "x=2..1", "x=a..b", "x=1..2,3", "x=1..", "x=1..inf"])
def test_a_range_that_is_none(text):
    with pytest.raises(errors.ConfigError, match=r"^--space="):
        axes.read_space(text)


def test_a_field_says_which_numbers_are_drawn():
    assert axes.resolved(axes.Space("rank", 0, 8), KNOWN) == axes.Space("model.rank", 0, 8, is_whole=True)
    assert not axes.resolved(axes.Space("penalty", 1, 8), KNOWN).is_whole
    with pytest.raises(errors.ConfigError, match=r"--space=form=1\.\.2: the field takes auto \| dual \| primal; give"):
        axes.resolved(axes.Space("form", 1, 2), KNOWN)


def test_drawn_values_are_written_with_four_digits():
    assert axes.Space("x", 0, 1).text(0.123456) == "0.1235"
    assert axes.Space("x", 1, 9, is_whole=True).text(3) == "3"


def test_a_range_of_a_decade_is_drawn_from_by_its_logarithm():
    assert axes.Space("x", 0.1, 1.0).is_log and not axes.Space("x", 0.2, 1.0).is_log
    assert not axes.Space("x", 0.0, 1.0).is_log and not axes.Space("x", choices=("a",)).is_log


def test_which_values_a_search_could_draw():
    assert axes.Space("x", 0, 1).holds(1) and not axes.Space("x", 0, 1).holds("auto")
    assert not axes.Space("x", 0, 1).holds(True) and axes.Space("x", choices=("true",)).holds(True)
    assert axes.resolved(axes.Space("learning_rate", choices=("1e-3", "1e-2")), KNOWN).holds(0.001)


def test_what_changes_the_measure_does_not_vary():
    axes.check("model.rank"), axes.check("data.behaviors")
    for path in ("evaluate.ks", "train.monitor", "data.valid"):
        with pytest.raises(errors.ConfigError, match=path):
            axes.check(path)


def test_all_combinations_the_last_axis_fastest():
    found = axes.product([axes.Axis("a", ("1", "2")), axes.Axis("b", ("x", "y"))])
    assert [tuple(setting.values()) for setting in found] == [("1", "x"), ("1", "y"), ("2", "x"), ("2", "y")]
    assert axes.product([]) == [{}]


def test_two_texts_of_one_value():
    for field, texts in (("train.learning_rate", ("0.001", "1e-3")), ("train.lazy", ("yes", "true"))):
        with pytest.raises(errors.ConfigError, match=f"--grid={field}: {texts[0]} and {texts[1]} are the same value"):
            axes.distinct(field, texts, KNOWN, "grid")


def test_paths_do_not_depend_on_the_folder_that_a_sweep_goes_on_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert axes.at_home("init_from=a,b/c", KNOWN) == f"init_from={tmp_path / 'a'},{tmp_path / 'b' / 'c'}"
    assert axes.at_home("penalty=1,2", KNOWN) == "penalty=1,2"
    assert axes.at_home("seed=0,1", KNOWN) == "seed=0,1"
