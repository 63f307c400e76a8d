"""What a run says at its start and keeps: what it leaves out, draws, and where a default decided."""

from __future__ import annotations

import json

import polars as pl
import pytest
import toy

from mbjax import config as configuration
from mbjax import errors, experiment, models
from mbjax.data import dataset as datasets
from mbjax.experiment import beginning, wiring


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """12 users with purchases, 20 with views alone, and rows of a behavior that is spelled otherwise."""
    rows = [(f"u{u:02d}", f"i{i:02d}", "view", u + i) for u in range(12) for i in range(u % 5, 20)]
    rows += [(f"u{u:02d}", f"i{i:02d}", "buy", 50 + u + i) for u in range(12) for i in range(u % 5, 9)]
    rows += [(f"w{w:02d}", f"i{i:02d}", "view", w + i) for w in range(20) for i in range(6)]
    rows += [(f"u{u:02d}", "i00", "Buy", 90) for u in range(7)]
    path = tmp_path_factory.mktemp("log") / "drop.csv"
    pl.DataFrame(rows, schema=["user", "item", "behavior", "time"], orient="row").write_csv(path)
    return path


def settings(path, model="popularity", **overrides):
    overrides = {"data.log.behaviors": "view,buy", "evaluate.ks": "5"} | overrides
    return configuration.load(model, str(path), models.entry(model).config, overrides=overrides)


def test_a_run_says_whom_it_drops_and_keeps_it(log, tmp_path, capsys):
    experiment.train(settings(log), tmp_path / "run")
    said = capsys.readouterr().err
    assert len(said.splitlines()) <= beginning.MOST
    for words in ("20 users", "7 rows of other behaviors", "Buy", "drawn with data.seed=0"):
        assert words in said
    kept = json.loads((tmp_path / "run" / "dataset.json").read_text())["notes"]
    assert kept == said.splitlines()
    dropped = pl.read_parquet(tmp_path / "run" / "dropped.parquet")
    users = dropped.filter(pl.col("what") == "user")
    assert set(users["field"]) == {"data.log.require_target_train"}
    assert sorted(users["raw_user"]) == [f"w{w:02d}" for w in range(20)]
    # A run folder from before this was kept is as good as ever.
    (tmp_path / "run" / "dropped.parquet").unlink()
    identity = json.loads((tmp_path / "run" / "dataset.json").read_text())
    del identity["notes"]
    (tmp_path / "run" / "dataset.json").write_text(json.dumps(identity))
    experiment.evaluate_run(tmp_path / "run")


def test_many_notes_are_few_lines_and_what_was_warned_of_is_not_said_again(capsys):
    lines = [f"note {number}" for number in range(40)]
    beginning.say(lines, said=["note 0"])
    said = capsys.readouterr().err.splitlines()
    assert said[:-1] == lines[1 : beginning.MOST]
    assert said[-1] == "... and 34 more notes: see 'notes' in dataset.json of the run folder"


def test_a_behavior_without_training_pairs_is_said_once(tmp_path, capsys):
    source = toy.dataset(2)
    pairs = {"train": {"view": [(0, 0), (0, 1)], "buy": [(0, 2), (1, 1)]}, "test": {"buy": [(0, 3)]}}
    with pytest.warns(errors.DataWarning, match="behavior 'cart' has no training pairs"):
        made = datasets.assemble("made", source.info.num_users, source.info.num_items, ("view", "cart", "buy"), pairs)
    assert "cart" in made.notes[0] and made.warned == made.notes[:1]
    config = configuration.load("popularity", "demo", models.entry("popularity").config)
    experiment.train(config, tmp_path / "run", dataset=made)
    assert "cart" not in capsys.readouterr().err
    assert "cart" in json.loads((tmp_path / "run" / "dataset.json").read_text())["notes"][0]


def built(model="popularity", num_behaviors=2, **overrides):
    overrides = {"evaluate.ks": "5", **{name.replace("__", "."): value for name, value in overrides.items()}}
    config = configuration.load(model, "demo", models.entry(model).config, overrides=overrides)
    return wiring.build(config, toy.dataset(num_behaviors))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_behaviors": 1}, "own_items is left out of the table"),
        ({"model": "multivae"}, "evaluated: buy, which multivae predicts; not the held-out pairs of view"),
        ({"model": "bvae", "train__batch_size": 10**6}, "a batch has all 23 rows"),
        ({}, None),
        ({"model": "bvae"}, None),
    ],
)
def test_what_a_default_decided_is_said(options, words):
    lines = beginning.notes(built(**options))
    assert [words in line for line in lines] == ([True] if words else [])


def test_what_a_model_without_training_does_not_use_is_said(log):
    made = wiring.build(settings(log, **{"train.epochs": "5", "train.batch_size": "7"}))
    (line,) = (line for line in beginning.notes(made) if "not used" in line)
    assert line == "train.epochs=5, train.batch_size=7: not used, as popularity has nothing to train"
    assert not [line for line in beginning.notes(wiring.build(settings(log))) if "not used" in line]
