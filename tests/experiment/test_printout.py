"""The final table: which anchors stand beside a model, and that none of them can cost a run its numbers."""

from __future__ import annotations

import json

import pytest
import toy
import trial

from mbjax import config as configuration
from mbjax import errors, experiment, models, results
from mbjax.experiment import printout, wiring


def built(num_behaviors=3, model="popularity", **overrides):
    overrides = {"evaluate.ks": "5", **{name.replace("__", "."): value for name, value in overrides.items()}}
    config = configuration.load(model, "demo", models.entry(model).config, overrides=overrides)
    return wiring.build(config, toy.dataset(num_behaviors))


def test_anchors_are_the_models_of_that_name():
    made = built(model="cascading_rank")
    found = printout.references(made, "test", ("cart", "buy"))
    assert found.keys() == {"popularity", "own_items"}
    for name, table in found.items():
        other = built(model=name)
        expected = other.evaluator("test")(other.model, {}, other.graphs).table
        assert table == {behavior: expected[behavior] for behavior in ("cart", "buy")}


@pytest.mark.parametrize(
    ("num_behaviors", "model", "anchors", "names"),
    [
        (3, "popularity", None, ["own_items"]),
        (3, "own_items", None, ["popularity"]),
        (1, "itemknn", None, ["popularity"]),  # own_items would be the same
        (3, "itemknn", "own_items", ["own_items"]),
        (3, "itemknn", "()", []),
    ],
)
def test_which_anchors_stand_beside_a_model(num_behaviors, model, anchors, names):
    made = built(num_behaviors, model, **({} if anchors is None else {"evaluate__anchors": anchors}))
    assert list(printout.references(made, "test", ("buy",))) == names


def test_an_anchor_that_fails_is_named_and_left_out(monkeypatch, capsys):
    made = built(model="itemknn")

    def build(*arguments):
        raise MemoryError("no room")

    broken = models.MODELS["own_items"]._replace(build=build)
    monkeypatch.setitem(models.MODELS, "own_items", broken)
    assert list(printout.references(made, "test", ("buy",))) == ["popularity"]
    assert capsys.readouterr().out == "own_items is left out of the table: MemoryError: no room\n"


def test_numbers_are_written_before_anything_else_is_computed(folder, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(printout, "references", stop)
    config = trial.config(folder, model="own_items")
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config, tmp_path / "run", record=tmp_path / "results")
    (recorded,) = (tmp_path / "results").iterdir()
    assert json.loads(recorded.read_text()) == json.loads((tmp_path / "run" / "results.json").read_text())


def test_the_final_table_tells_visited_from_unvisited_pairs(folder, tmp_path, capsys):
    outcome = experiment.train(trial.config(folder, model="own_items"), tmp_path / "run")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    row = outcome.tables["last"]["buy"]
    start = next(n for n, line in enumerate(lines) if line[:1] == ["buy"])
    assert lines[start][1:3] == [str(row["users"]), "own_items"]
    for line, part in zip(lines[start + 1 : start + 3], ("visited", "unvisited"), strict=True):
        assert line[:3] == [str(row[part]["users"]), str(row[part]["pairs"]), part]
    assert row["visited"]["pairs"] > 0 and row["unvisited"]["pairs"] > 0


def test_the_choice_of_anchors_is_no_setting_of_a_result():
    made = built(evaluate__anchors="()")
    assert made.config.overrides["evaluate.anchors"] == ()
    row = results.record(made.config, made.dataset, [], parameters=0)
    assert "evaluate.anchors" not in row["overrides"]


def test_unknown_anchors_are_refused():
    with pytest.raises(errors.ConfigError, match=r"evaluate\.anchors=.*'popularity' or 'own_items'"):
        built(evaluate__anchors="bvae")
