"""What may be named on the command line, and which numbers of it are taken."""

import json
from types import SimpleNamespace

import polars as pl
import pytest

from mbjax import config, errors, models
from mbjax.reporting.compare import sources


@pytest.fixture
def users(tmp_path):
    """``users("a.parquet", [1, 0, 0, 1])`` writes per-user values of purchase, the same for both metrics."""

    def make(name, values):
        path = tmp_path / name
        columns = {"behavior": ["purchase"] * len(values), "raw_user": [f"u{n}" for n in range(len(values))]}
        pl.DataFrame(columns | {"ndcg@5": values, "hr@5": values}).write_parquet(path)
        return str(path)

    return make


def test_a_results_file_has_a_table_and_no_users(write):
    runs, notes = sources.read([write("a.json", purchase=0.5)])
    assert (runs[0].selection, runs[0].table["purchase"]["ndcg@5"]) == ("valid", 0.5)
    assert runs[0].per_user is None and "results file without" in runs[0].untested
    assert notes == []


def test_the_values_of_users_belong_to_the_run_before_them(write, users):
    words = [write("a.json", purchase=0.5), write("b.json", purchase=0.75), users("b.parquet", [1.0, 1.0, 1.0, 0.0])]
    runs, _ = sources.read(words)
    assert [run.per_user is None for run in runs] == [True, False]
    assert runs[1].untested == ""
    without, _ = sources.read(words, tests=False)
    assert [(run.per_user, run.untested) for run in without] == [(None, "--no-tests")] * 2


WRONG = [
    (
        [1.0, 1.0, 1.0, 0.0],
        "not of .*a.json: ndcg@5 of purchase is 0.750000 over 4 users there, and 0.500000 over 4",
    ),
    ([1.0, 0.0], "is not of .*over 2 users there"),
    ([], "no behavior and metric in common"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_values_of_users_of_another_run_are_refused(write, users, values, message):
    with pytest.raises(errors.DataError, match=message):
        sources.read([write("a.json", purchase=0.5), users("b.parquet", values)])


def test_damaged_files_are_named(write, tmp_path):
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(errors.DataError, match=r"text\.parquet cannot be read"):
        sources.read([write("a.json"), str(tmp_path / "text.parquet")])
    pl.DataFrame({"user": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(errors.DataError, match=r"other\.parquet: no column 'behavior'"):
        sources.read([write("a.json"), str(tmp_path / "other.parquet")])
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(errors.DataError, match=r"b\.json is no results file: 'model' is missing"):
        sources.read([str(tmp_path / "b.json")])


def test_what_is_no_run_is_named(write, users, tmp_path):
    (tmp_path / "empty").mkdir()
    for word in (str(tmp_path / "empty"), str(tmp_path / "missing")):
        with pytest.raises(errors.ConfigError, match=f"{word}: no run. Give run folders"):
            sources.read([word])
    values = users("a.parquet", [1.0, 0.0, 1.0, 0.0])
    folder = write("in/a.json").removesuffix("/a.json")
    for words in ([values], [folder, values]):
        with pytest.raises(errors.ConfigError, match="right after the run that they belong to"):
            sources.read(words)


def test_a_folder_of_results_files_stands_for_them(write, tmp_path):
    write("in/b.json", seed=1)
    write("in/a.json")
    runs, _ = sources.read([str(tmp_path / "in")])
    assert [run.record["seed"] for run in runs] == [0, 1]


def test_folders_of_seeds_and_sweeps_stand_for_their_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_folder", lambda path: path)

    def run(*parts):
        folder = tmp_path.joinpath(*parts)
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("", encoding="utf-8")
        return folder

    some = [run("all", "seeds", f"seed{seed}") for seed in (0, 3)]
    (tmp_path / "all" / "seeds" / "seeds.json").write_text('{"seeds": [3, 0]}', encoding="utf-8")
    alone, of_sweep = run("all", "alone"), run("sweep", "runs", "bvae-0001")
    (tmp_path / "sweep" / "chosen.json").write_text("{}", encoding="utf-8")
    assert sources._find([str(tmp_path / "all" / "seeds")]) == some[::-1]
    assert sources._find([str(tmp_path / "all")]) == [alone, *some[::-1]]
    assert sources._find([str(tmp_path / "sweep")]) == [of_sweep]


def test_a_run_that_ended_before_its_first_checkpoint_does_not_keep_its_folder_from_a_comparison(write, tmp_path):
    write("a.json")
    dead = tmp_path / "dead"
    dead.mkdir()
    made = config.load("bpr_mf", "demo", models.entry("bpr_mf").config)
    (dead / "config.yaml").write_text(config.dump(made), encoding="utf-8")
    known = {"name": "jd", "fingerprint": "f", "behaviors": ["purchase"], "valid_rule": "file", "mask_valid": True}
    (dead / "dataset.json").write_text(json.dumps(known), encoding="utf-8")
    runs, notes = sources.read([str(tmp_path)], tests=False)
    assert [run.record["model"] for run in runs] == ["bvae"]
    assert notes == [f"{dead} has neither checkpoint nor results and is left out."]
    with pytest.raises(errors.DataError, match="dead has neither checkpoint nor results; was the run stopped before"):
        sources.read([str(dead)], tests=False)


def test_selections(write, anchor):
    words = [write("honest.json"), write("paper.json", selection="last", protocol="paper"), write("p.json", **anchor)]
    runs, notes = sources.read(words)
    assert [run.selection for run in runs] == ["valid", "last", "last"] and notes == []
    runs, notes = sources.read(words, selection="valid")
    assert [run.record["model"] for run in runs] == ["bvae", "popularity"]
    assert notes == [f"{words[1]} has no selection 'valid' and is left out."]
    with pytest.raises(errors.ConfigError, match="no run is left to compare.*no selection 'best_test'"):
        sources.read(words[:2], selection="best_test")
    with pytest.raises(errors.ConfigError, match="unknown selection 'best'. Did you mean 'best_test'"):
        sources.read(words, selection="best")
    with pytest.raises(errors.DataError, match="chosen on the test split alone: --selection=best_test shows them"):
        sources.read([write("oracle.json", selection="best_test")])


def test_validation_pairs_need_run_folders(write, users):
    with pytest.raises(errors.ConfigError, match="numbers of the test split only"):
        sources.read([write("a.json")], split="valid")


def test_run_folders_are_evaluated_at_the_selected_epoch(trained, compiled):
    said = []
    runs, notes = sources.read([str(trained)], ks=(3,), say=said.append)
    assert [(run.record["model"], run.record["seed"], run.selection) for run in runs] == [
        ("multivae", 0, "valid"), ("multivae", 1, "valid"), ("popularity", 0, "last"),
    ]  # fmt: skip
    assert notes == [] and said[2] == f"evaluating {trained / 'popularity'} (last) on the test split"
    for run, name in zip(runs, ("valid", "valid", "last"), strict=True):
        stored = sources.read([f"{run.source}/results.json"])[0][0]
        for behavior, row in run.table.items():
            for metric in ("ndcg@5", "hr@1"):
                assert row[metric] == pytest.approx(stored.record["selection"][name][behavior][metric], abs=1e-6)
            assert "ndcg@3" in row and "ndcg@3" not in stored.table[behavior]
            values = run.per_user.filter(pl.col("behavior") == behavior)["ndcg@3"]
            assert float(values.to_numpy().mean()) == row["ndcg@3"]
        # A folder and its results file are the same run.
        assert {key: stored.record[key] for key in run.record if key != "selection"} == {
            key: value for key, value in run.record.items() if key != "selection"
        }


def test_other_checkpoints_and_splits_of_run_folders(trained, compiled):
    last = sources.read([str(trained / "multivae0")], selection="last")[0][0]
    assert last.table["buy"]["ndcg@5"] == pytest.approx(last.record["selection"]["last"]["buy"]["ndcg@5"], abs=1e-6)
    valid = sources.read([str(trained / "multivae0")], split="valid", tests=False)[0][0]
    assert valid.table["buy"]["pairs"] != last.table["buy"]["pairs"] and valid.per_user is None
    said = []
    quick = sources.read([str(trained / "multivae0")], tests=False, say=said.append)[0][0]
    assert quick.table == quick.record["selection"]["valid"] and said == []
    words = [str(trained / "multivae0"), str(trained / "some.parquet")]
    with pytest.raises(errors.ConfigError, match="has no valid results at selection 'valid'"):
        sources.read(words, split="valid")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_run_is_measured_with_the_graphs_of_the_split(split):
    """Of models that let validation pairs join, these are others for the test split than for training."""

    class Evaluator:
        users = "its users"

        def __call__(self, model, params, graphs, per_user):
            return SimpleNamespace(table=(model, params, graphs), per_user=per_user)

    def evaluator(which, ks):
        assert which == split and ks == (5, 10)
        return Evaluator()

    made = SimpleNamespace(
        config=SimpleNamespace(evaluate=SimpleNamespace(ks=(5,))),
        model="model",
        graphs="those of training",
        graphs_for=lambda which, asked: f"those of {which} for {asked}",
        evaluator=evaluator,
    )
    assert sources.measure(made, "params", split, (10, 5)) == (
        ("model", "params", f"those of {split} for its users"),
        True,
    )
