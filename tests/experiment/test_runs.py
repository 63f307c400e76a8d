"""Finished runs, restored: the same tables again, options of evaluation, ranked lists."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import trial

from mbjax import config as configuration
from mbjax import data, errors, experiment, models, types
from mbjax.experiment import runs, wiring
from mbjax.models import ease_penalty
from mbjax.train import run_folder


def test_restored_parameters_give_the_tables_of_the_run(four):
    both = experiment.evaluate_run(four.workdir, splits=("valid", "test"))  # the default is best/
    assert both["test"] == four.tables["valid"]
    logged = four.rows[four.epochs["valid"]]["valid"]
    assert {name: untold(row) for name, row in both["valid"].items()} == logged
    assert experiment.evaluate_run(four.workdir, checkpoint="best") == {"test": four.tables["valid"]}
    assert experiment.evaluate_run(four.workdir, checkpoint="last") == {"test": four.tables["last"]}


def untold(row):
    """Without user groups and details, which are not evaluated during training."""
    return {name: value for name, value in row.items() if name not in ("groups", "familiar", "new")}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_eval_py_in_a_fresh_process_gives_the_same_values(cache, four, tmp_path):
    file = tmp_path / "users.parquet"
    options = ["--checkpoint=last", f"--per-user={file}"]
    process = trial.start(cache, "eval.py", f"--workdir={four.workdir}", *options)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    users = pl.read_parquet(file)
    for behavior, row in four.tables["last"].items():
        of = users.filter(pl.col("behavior") == behavior)
        assert len(of) == row["users"]
        for metric in ("ndcg@1", "ndcg@5", "hr@5", "rec@5", "mrr@5", "f1@5"):
            assert float(of[metric].to_numpy().mean()) == row[metric]
        assert f"{row['ndcg@5']:.4f}" in output
    assert "checkpoint last at step 12" in " ".join(output.split())


def test_other_options_of_evaluation(four, folder, tmp_path):
    config = configuration.override(
        trial.config(folder),
        {"evaluate.ks": "3", "evaluate.behaviors": "buy", "evaluate.groups": "", "train.monitor": "mean:ndcg"},
    )
    tables = experiment.evaluate_run(
        four.workdir, config, splits=("valid", "test"), per_user=tmp_path / "users.parquet"
    )
    assert tables["test"].keys() == {"buy"}
    assert {name.partition("@")[2] for name in tables["test"]["buy"] if "@" in name} == {"3"}
    assert "groups" not in tables["test"]["buy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["users.test.parquet", "users.valid.parquet"]


def test_values_of_users_go_to_a_file_that_says_what_it_is(four, tmp_path):
    with pytest.raises(errors.ConfigError, match=r"users.csv: .* as Parquet. Call the file users.parquet"):
        experiment.evaluate_run(four.workdir, per_user=tmp_path / "users.csv")
    assert not list(tmp_path.iterdir())


def test_lists_of_an_earlier_call_that_stay_are_named(four, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path, "lists", "lists"):  # the same names once more are no others
        experiment.recommend(four.workdir, top_k=3, out=out)
        assert "from before" not in capsys.readouterr().out
    config = configuration.override(trial.config(folder), {"evaluate.behaviors": ("buy",)})
    experiment.recommend(four.workdir, config, top_k=3, out=tmp_path)
    assert f"from before, and not of this call: view.parquet in {tmp_path}" in " ".join(capsys.readouterr().out.split())


def test_lists_hold_the_best_unseen_items_in_order(four, folder, tmp_path):
    files = experiment.recommend(four.workdir, top_k=40, out=tmp_path)
    assert files == {name: tmp_path / f"{name}.parquet" for name in ("view", "buy")}
    dataset = wiring.build(trial.config(folder)).dataset
    for behavior, path in files.items():
        lists = pl.read_parquet(path)
        assert lists.columns == ["user", "rank", "item", "score"]
        for user in range(23):
            of = lists.filter(pl.col("user") == f"user-{user}")
            splits = (dataset.train, dataset.valid, dataset.test)
            seen = {1000 + item for split in splits for item in split[behavior][[user]].indices.tolist()}
            # Longer than the catalog: every unseen item stands in the list once.
            assert sorted(of["item"].to_list()) == [item for item in range(1000, 1031) if item not in seen]
            assert of["rank"].to_list() == list(range(1, len(of) + 1))
            assert (np.diff(of["score"].to_numpy()) <= 0).all()


def test_lists_of_some_users(four, tmp_path):
    files = experiment.recommend(four.workdir, checkpoint="last", top_k=5, out=tmp_path, users=["user-7", "user-0"])
    lists = pl.read_parquet(files["buy"])
    assert lists["user"].to_list() == ["user-7"] * 5 + ["user-0"] * 5
    assert lists["rank"].to_list() == [1, 2, 3, 4, 5] * 2
    with pytest.raises(errors.DataError, match="user-70"):
        experiment.recommend(four.workdir, top_k=5, out=tmp_path, users=["user-70"])


def test_what_is_not_there(four, tmp_path):
    with pytest.raises(errors.ConfigError, match=r"no run in .*config\.yaml"):
        experiment.evaluate_run(tmp_path)


def test_another_state_of_the_data_is_refused(four, folder, tmp_path):
    other = trial.config(folder, data__target="view")
    with pytest.raises(errors.CheckpointError, match="other data: behaviors"):
        experiment.evaluate_run(four.workdir, other)


@pytest.mark.parametrize(("kept", "later"), [({}, True), ({"later": False}, False), ({"later": True}, True)])
def test_a_run_of_before_looks_at_times_as_it_did(kept, later, tmp_path):
    """Whether a split is one in time was not kept once; models took times from any then."""
    info = types.DatasetInfo("log", 3, 4, ("view", "buy"), times=True)
    dataset = data.Dataset(info, {}, {}, {}, None, None, False, "none", "ab")
    place = run_folder.RunFolder(tmp_path)
    place.dataset_file.write_text(json.dumps({"times": True} | kept))
    config = configuration.load("popularity", "demo", models.entry("popularity").config)
    assert runs.as_trained(place, config, dataset).info == info._replace(later=later)


@pytest.mark.parametrize(
    ("model", "which", "message"),
    [
        ("popularity", "last", "checkpoint=last: popularity is not trained and has none. Leave it out."),
        ("ease", "best", "checkpoint=best: ease is not trained and has none. Leave it out."),
        ("bvae", "best", "no checkpoint in .*best. Use --checkpoint=last."),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused_before_data_are_read(
    folder, tmp_path, monkeypatch, model, which, message
):
    config = configuration.load(model, str(folder), models.entry(model).config)
    (tmp_path / "config.yaml").write_text(configuration.dump(config), encoding="utf-8")
    monkeypatch.delattr(wiring, "load")  # of the data
    for use in (
        lambda: experiment.restore(tmp_path, which=which),
        lambda: experiment.evaluate_run(tmp_path, checkpoint=which),
        lambda: experiment.recommend(tmp_path, checkpoint=which),
        lambda: experiment.explain(tmp_path, "user-7", "1004", checkpoint=which),
    ):
        with pytest.raises(errors.MbjaxError, match=message):
            use()


@pytest.mark.exhaustive
def test_what_a_model_chose_at_training_is_not_chosen_again(folder, tmp_path, monkeypatch, capsys):
    config = configuration.load("ease", str(folder), models.entry("ease").config)
    monkeypatch.setattr(ease_penalty, "choose", lambda *given: 30.0)
    first = experiment.train(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "chosen.json").read_text()) == {"model.penalty": 30.0} == first.chosen

    def again(*given):
        raise AssertionError("chosen again")

    monkeypatch.setattr(ease_penalty, "choose", again)
    restored, _, where = experiment.restore(tmp_path / "run")
    assert restored.config.model.penalty == 30.0 and where["checkpoint"] is None
    capsys.readouterr()
    assert experiment.evaluate_run(tmp_path / "run") == {"test": first.tables["last"]}
    said = " ".join(capsys.readouterr().out.split())
    assert "untrained" not in said and "checkpoint" not in said and " ease " in said
    experiment.recommend(tmp_path / "run", out=tmp_path, users=["user-7"])
    experiment.recommend(tmp_path / "run", out=tmp_path, histories={"new": {"view": ["1004"]}})
    assert experiment.explain(tmp_path / "run", "user-7", "1004").score
    # A run that was told what to do has nothing to keep.
    given = configuration.override(config, {"model.penalty": "3"})
    experiment.train(given, tmp_path / "given")
    assert not (tmp_path / "given" / "chosen.json").exists()
    (tmp_path / "run" / "chosen.json").write_text("{")
    with pytest.raises(errors.CheckpointError, match="chosen.json is unreadable"):
        experiment.restore(tmp_path / "run")
