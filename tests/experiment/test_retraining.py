"""The second training: which pairs it learns from, for how long, and what it leaves."""

from __future__ import annotations

import jax
import numpy as np
import polars as pl
import pytest
import trial

from mbjax import cli, errors, experiment, models
from mbjax import config as configuration
from mbjax.experiment import runs, wiring
from mbjax.reporting import plots


def test_it_trains_on_both_splits_for_the_chosen_number_of_epochs(four, folder, tmp_path):
    config = trial.config(folder)
    first = four.__class__(**{**vars(four), "workdir": tmp_path})
    # The number of epochs is settled, whatever time the first run had.
    again = experiment.retrain(configuration.override(config, {"train.max_minutes": 1e-6}), first)
    assert again.workdir == tmp_path / "retrain"
    assert [row["epoch"] for row in again.rows] == list(range(four.epochs["valid"] + 1))
    assert not any("valid" in row or "test" in row for row in again.rows)
    assert again.epochs == {"last": four.epochs["valid"]} and set(again.tables) == {"last"}
    # The pairs, by hand: training and validation together.
    split, joined = (wiring.build(c).dataset for c in (config, configuration.override(config, {"valid": "into_train"})))
    for name, matrix in split.train.items():
        both = matrix + split.valid[name] if name in split.valid else matrix
        assert (joined.train[name] != both).nnz == 0
    assert any(m.nnz for m in split.valid.values()) and not joined.valid
    # The same seed and the same number of steps, but more pairs: another model.
    assert again.tables["last"]["buy"] != four.tables["valid"]["buy"]
    # In a fresh process the folder gives the same numbers.
    assert experiment.evaluate_run(again.workdir)["test"]["buy"]["ndcg@5"] == again.tables["last"]["buy"]["ndcg@5"]
    # The test pairs were not trained on, and nobody is offered them all the same.
    lists = pl.read_parquet(experiment.recommend(again.workdir, top_k=31, out=tmp_path)["buy"])
    bought = sum(part["buy"].astype(int) for part in (joined.train, joined.test))
    user = joined.users.index(lists["user"].to_list())
    assert not bought.toarray()[user, joined.items.index(lists["item"].to_list(), "item")].any()
    assert lists.height == bought.shape[0] * bought.shape[1] - bought.nnz


@pytest.mark.exhaustive
def test_an_interrupted_second_run_goes_on(cache, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))  # it is not moved
    argv = [*trial.options(folder, tmp_path / "run"), "--retrain"]
    assert cli.train_main(argv) == 0
    assert "training again on training and validation pairs" in capsys.readouterr().out
    before = (tmp_path / "run" / "retrain" / "metrics.jsonl").read_bytes()
    assert cli.train_main([*argv, "--resume"]) == 0
    assert (tmp_path / "run" / "retrain" / "metrics.jsonl").read_bytes() == before


@pytest.mark.exhaustive
def test_it_needs_an_epoch_chosen_on_validation(folder, tmp_path):
    outcome = experiment.train(trial.config(folder, protocol="paper"), tmp_path / "run")
    with pytest.raises(errors.ConfigError, match="nothing was chosen on validation pairs"):
        experiment.retrain(trial.config(folder, protocol="paper"), outcome)


@pytest.mark.exhaustive
def test_a_closed_form_keeps_the_settings_that_it_chose(folder, tmp_path, capsys):
    config = configuration.load("ease", str(folder), models.entry("ease").config)
    first = experiment.train(config, tmp_path / "run")
    penalty = first.chosen["model.penalty"]
    assert f"chosen on validation pairs: model.penalty={penalty}" in capsys.readouterr().out
    again = experiment.retrain(config, first)
    said = capsys.readouterr().out
    assert f"training again on training and validation pairs, model.penalty={penalty}" in said
    assert "chosen on" not in said.partition("training again")[2]
    kept = experiment.read_config(again.workdir)
    assert (kept.model.penalty, kept.data.valid) == (penalty, "into_train")
    assert again.tables["last"]["buy"] != first.tables["last"]["buy"]


def test_who_has_learned_from_validation_pairs_keeps_what_they_said(folder, tmp_path, capsys, monkeypatch):
    """Trained again, a model would learn how held-out pairs differ from others off pairs that are not held out."""
    monkeypatch.setattr(plots, "reliability", lambda *args, **options: None)
    config = _small(folder, epochs=1)
    first = experiment.train(config, tmp_path / "run")
    assert first.learned_valid
    capsys.readouterr()
    again = experiment.retrain(config, first)
    said = capsys.readouterr().out
    assert "what it has learned is kept, from validation pairs too" in said
    assert "funnel (last" not in said and "how the epoch was chosen" not in said  # of none
    assert not again.rows and set(again.tables) == {"last"}
    (made, params), (joined, kept) = (_parameters(outcome.workdir) for outcome in (first, again))
    changed = {name for name in params if jax.tree.leaves(params[name]) and not _same(params[name], kept[name])}
    assert changed == {"scale"}  # more pairs, other means
    assert not joined.dataset.valid and made.dataset.valid


@pytest.mark.exhaustive
def test_what_is_kept_is_of_the_epoch_that_is_chosen_now(folder, tmp_path):
    """The first run goes on: what is put to use is what it has learned by then."""
    first = experiment.train(_small(folder, epochs=2), tmp_path / "run")
    again = experiment.retrain(_small(folder, epochs=2), first)
    longer = experiment.train(_small(folder, epochs=3), tmp_path / "run", resume=True)
    assert not (again.workdir / "results.json").exists()  # it was of two epochs
    experiment.retrain(_small(folder, epochs=3), longer)
    (_, params), (_, kept) = (_parameters(outcome.workdir) for outcome in (longer, again))
    assert _same(params["experts"], kept["experts"])


def _parameters(workdir):
    """The experiment of a run, without what it prepares, and the parameters that are put to use."""
    made = runs.build(workdir, experiment.read_config(workdir), prepared=False)
    return made, runs.restore_params(workdir, made)[0]


def _small(folder, epochs):
    small = {"members": 2, "hidden": 0, "hidden_new": 0, "steps": 4, "new_items": 4, "features": ("touch", "count")}
    given = {f"model.{name}": value for name, value in small.items()}
    given |= {"train.epochs": epochs, "train.batch_size": 8, "train.patience": 0}
    given |= {"evaluate.anchors": (), "evaluate.behaviors": ("buy",), "evaluate.ks": (5,)}
    return configuration.load("funnel", str(folder), models.entry("funnel").config, overrides=given)


def _same(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))
