"""A grid in order; a search where optuna is installed: what it proposes, keeps and gives up."""

from __future__ import annotations

import itertools
import sys

import pytest

from mbjax import errors, models
from mbjax.sweep import plan, proposals


def member(**given):
    made = plan.Plan(("itemknn",), "demo", {}, **given)
    return plan.members(made, lambda name: models.entry(name).config)[0]


def test_a_grid_in_order(tmp_path):
    found = proposals.of(member(grid=("neighbors=10,20", "seed=0,1")), tmp_path)
    assert list(found) == [(0, {"model.neighbors": "10"}), (1, {"model.neighbors": "20"})]
    assert not found.gives_up(0, 0, -1.0)


def test_without_optuna_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(errors.ConfigError, match=r"pip install 'mbjax\[search\]'"):
        proposals.of(member(search=3), tmp_path)


def test_draws_begin_with_the_models_own_setting_and_stay_in_its_spaces(tmp_path):
    found = list(itertools.islice(proposals.of(member(minutes=1.0, space=SPACE), tmp_path), 40))
    assert found[0] == (0, {}) and [number for number, _ in found] == list(range(40))
    settings = [setting for _, setting in found[1:]]
    assert len({tuple(setting.values()) for setting in settings}) == 39
    shrinkage = sorted(float(setting["model.shrinkage"]) for setting in settings)
    assert 0.1 <= shrinkage[0] < 1 and 100 < shrinkage[-1] <= 1000  # by its logarithm
    assert all(5 <= int(setting["model.neighbors"]) <= 300 for setting in settings)
    assert {setting["model.history"] for setting in settings} == {"union", "behavior"}
    again = proposals.of(member(minutes=9.0, space=SPACE), tmp_path)
    assert list(itertools.islice(again, 40)) == found
    other = proposals.of(member(minutes=1.0, space=SPACE, seed=1), tmp_path)
    assert list(itertools.islice(other, 2))[1] != found[1]


def test_draws_end_when_all_settings_were_had(tmp_path):
    found = list(proposals.of(member(minutes=1.0, space=("neighbors=99..101",)), tmp_path))
    assert sorted(setting["model.neighbors"] for _, setting in found[1:]) == ["101", "99"]  # 100 is its own


SPACE = ("shrinkage=0.1..1000", "neighbors=5..300", "history=union,behavior")


def search(tmp_path, count):
    pytest.importorskip("optuna", reason="an extra: pip install 'mbjax[search]'")
    return proposals.of(member(search=count, space=SPACE), tmp_path)


def test_a_search_begins_with_the_models_own_setting_and_keeps_what_it_saw(tmp_path):
    first = search(tmp_path, 4)
    made = []
    for number, setting in first:
        made.append((number, setting))
        if number == 2:
            break  # as if it was stopped here
        first.tell(number, 0.1 * number)
    assert made[0][1] == {"model.shrinkage": "10", "model.neighbors": "100", "model.history": "union"}
    second = search(tmp_path, 5)
    again = []
    for number, setting in second:
        second.tell(number, 0.5)
        second.tell(number, 0.7)  # of one that it was told of, nothing
        again.append((number, setting))
    assert again[:3] == made and [number for number, _ in again] == [0, 1, 2, 3, 4]
    assert len({tuple(setting.items()) for _, setting in again}) == 5
    assert all(5 <= int(setting["model.neighbors"]) <= 300 for _, setting in again)


def test_no_setting_is_tried_twice(tmp_path, monkeypatch):
    """Two neighbors' numbers are two settings, however many are asked for and however often it starts."""
    pytest.importorskip("optuna", reason="an extra: pip install 'mbjax[search]'")
    monkeypatch.setattr(proposals, "TRIES", 12)  # each is a write to the disk
    made = []
    for count in (5, 6):
        found = proposals.of(member(search=count, space=("model.neighbors=100,200",)), tmp_path)
        again = []
        for number, setting in found:
            found.tell(number, 0.1 * int(setting["model.neighbors"]))
            again.append((number, setting))
        made.append(again)
    assert made[0] == made[1] and {setting["model.neighbors"] for _, setting in made[0]} == {"100", "200"}
    assert len(made[0]) == 2
    repeats = [t for t in found._study.trials if proposals.REPEATS in t.user_attrs]
    assert len(repeats) >= 2 * proposals.TRIES
    assert all(t.value == found._study.trials[t.user_attrs[proposals.REPEATS]].value for t in repeats)


def test_the_worst_is_given_up_once_there_are_others(tmp_path):
    found = search(tmp_path, 6)
    given_up = []
    for number, _ in found:
        value = 0.5 if number < 5 else 0.1
        given_up.append(found.gives_up(number, 3, value))
        found.gives_up(number, 3, value)  # told again, after a stop
        found.tell(number, None if given_up[-1] else value, given_up=given_up[-1])
    assert given_up == [False] * 5 + [True]
