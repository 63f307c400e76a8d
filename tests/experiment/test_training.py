"""Whole training runs: what they leave, how they choose epochs, when they stop, what they refuse."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import struct
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import trial
import usual
from tensorboardX.proto import event_pb2

from mbjax import cli, data, errors, evaluate, experiment
from mbjax import config as configuration
from mbjax.experiment import folders, gathering, wiring
from mbjax.models import bvae
from mbjax.reporting import selections
from mbjax.train import logging


def poison(monkeypatch, change):
    """Lets ``change(state, logged)`` alter what every chunk returns."""
    original = wiring.Experiment.advance

    def advance(self):
        made = original(self)
        return dataclasses.replace(made, chunk=lambda *arguments: change(*made.chunk(*arguments)))

    monkeypatch.setattr(wiring.Experiment, "advance", advance)


def test_the_folder_holds_all_that_the_run_was(four, folder):
    path = four.workdir
    config = trial.config(folder)
    assert configuration.parse((path / "config.yaml").read_text(), bvae.BvaeConfig) == config
    assert logging.read_rows(path / "metrics.jsonl") == four.rows
    assert [row["epoch"] for row in four.rows] == [0, 1, 2, 3]
    assert [row["step"] for row in four.rows] == [3, 6, 9, 12]
    with (path / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(line["loss"]) for line in table] == [row["loss"] for row in four.rows]
    assert float(table[3]["valid/buy/ndcg@5"]) == four.rows[3]["valid"]["buy"]["ndcg@5"]
    for name in ("learning_curve.png", "per_behavior.png"):
        assert (path / "plots" / name).read_bytes().startswith(b"\x89PNG")
    assert pl.read_parquet(path / "users.parquet").to_series(-1).to_list() == [f"user-{u}" for u in range(23)]
    assert pl.read_parquet(path / "items.parquet").to_series(-1).to_list() == list(range(1000, 1031))
    identity = json.loads((path / "dataset.json").read_text())
    dataset = wiring.build(config).dataset
    assert identity["fingerprint"] == dataset.fingerprint
    assert identity["behaviors"] == ["view", "buy"]
    assert identity["pairs"]["train"] == {name: matrix.nnz for name, matrix in dataset.train.items()}
    assert [p.name for p in (path / "last").iterdir()] == ["12"]
    assert [p.name for p in (path / "best").iterdir()] == [str(3 * (four.epochs["valid"] + 1))]
    assert not [p for p in path.rglob("*") if p.name.endswith(".tmp")]


def test_tensorboard_shows_the_rows(four):
    (path,) = (four.workdir / "tensorboard").iterdir()
    raw, events, at = path.read_bytes(), [], 0
    while at < len(raw):  # a record: length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", raw, at)
        events.append(event_pb2.Event.FromString(raw[at + 12 : at + 12 + length]))
        at += 16 + length
    losses = {event.step: v.simple_value for event in events for v in event.summary.value if v.tag == "loss"}
    assert losses == {row["step"]: np.float32(row["loss"]) for row in four.rows}


def test_an_honest_run_selects_on_valid_and_tests_at_the_end(four):
    best = selections.best_row(four.rows, "valid", "mean:ndcg", 1)
    assert four.epochs == {"last": 3, "valid": best["epoch"]}
    assert all("test" not in row for row in four.rows)
    written = json.loads((four.workdir / "results.json").read_text())
    assert written["selection"].keys() == {"valid", "last"}
    assert written["selection"]["valid"]["buy"]["epoch"] == best["epoch"]
    assert written["selection"]["last"]["buy"]["ndcg@5"] == pytest.approx(
        four.tables["last"]["buy"]["ndcg@5"], abs=1e-6
    )
    assert written["epochs"] == 4
    assert four.tables["last"]["buy"]["groups"].keys() == {"<5", ">=5"}
    assert (four.reason, four.exit_code) == ("finished", 0)


@pytest.mark.parametrize(("last", "passes"), [(False, 1), (True, 2)])
def test_the_test_split_is_ranked_once(folder, tmp_path, monkeypatch, four, last, passes):
    """At the epoch that validation chose, with the numbers that it has where the last epoch is ranked too."""
    asked, call = [], evaluate.Evaluator.__call__

    def counted(self, *arguments, **options):
        asked.append(self.split)
        return call(self, *arguments, **options)

    monkeypatch.setattr(evaluate.Evaluator, "__call__", counted)
    config = trial.config(folder, evaluate__last=last, evaluate__anchors="", evaluate__sample_users=6)
    values = iter([0.1, 0.4, 0.3, 0.2])
    monkeypatch.setattr(selections, "monitored", lambda *arguments: next(values))
    outcome = experiment.train(config, tmp_path / "run")
    assert asked == ["valid"] * 4 + ["test"] * passes
    assert (list(outcome.tables), outcome.epochs) == (["valid", "last"][:passes], {"valid": 1, "last": 3})
    if last:  # whatever the epochs were judged by, the last one is what it is
        assert outcome.tables["last"] == four.tables["last"]
    sampled = {behavior: row["users"] for behavior, row in outcome.rows[0]["valid"].items()}
    assert sampled == dict.fromkeys(sampled, 6)
    assert all("sampled_from" not in row for table in outcome.tables.values() for row in table.values())
    assert json.loads((tmp_path / "run" / "results.json").read_text())["protocol"]["sample_users"] == 6


def test_the_loss_of_an_epoch_is_the_sum_over_its_steps(four, folder):
    made = wiring.build(trial.config(folder))
    advance, state, losses = made.advance(), made.start(), []
    assert advance.steps_per_epoch == trial.STEPS
    order = advance.plan(state, 0)
    for place in range(trial.STEPS):
        state, logged = advance.chunk(state, order, place, 1)
        losses.append(float(logged["loss"][0]))
    assert four.rows[0]["loss"] == sum(losses)


def test_paper_tests_as_it_goes_and_keeps_no_best(folder, tmp_path):
    # data.valid is taken back to the honest rule: the same training pairs, so that nothing is compiled anew.
    config = trial.config(
        folder,
        protocol="paper",
        data__valid="file",
        train__epochs=3,
        train__eval_every=2,
        evaluate__selections="test_per_behavior,best_test",
    )
    outcome = experiment.train(config, tmp_path / "run")
    assert ["test" in row for row in outcome.rows] == [False, True, True]  # every second, and the last
    assert all("valid" not in row for row in outcome.rows)
    assert outcome.tables.keys() == {"last"}
    assert list((tmp_path / "run" / "best").iterdir()) == []
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert written["selection"].keys() == {"last", "test_per_behavior", "best_test"}
    on_the_way = {
        name: {key: value for key, value in row.items() if key not in ("groups", "familiar", "new")}
        for name, row in outcome.tables["last"].items()
    }
    assert on_the_way == outcome.rows[2]["test"]
    with pytest.raises(errors.CheckpointError, match=r"no checkpoint in .*best\..*protocol=paper.*checkpoint=last"):
        experiment.restore(tmp_path / "run", which="best")
    _, _, where = experiment.restore(tmp_path / "run")
    assert where == {"checkpoint": "last", "step": 9}


@pytest.mark.exhaustive
def test_evaluates_after_the_last_epoch_only_and_compiles_once(folder, tmp_path, monkeypatch):
    chex.clear_trace_counter()
    made = wiring.build(trial.config(folder, train__epochs=3, train__eval_every=0))
    model = made.model._replace(loss=chex.assert_max_traces(made.model.loss, n=1))
    monkeypatch.setattr(wiring, "plan", lambda *given, **options: dataclasses.replace(made, model=model))
    outcome = experiment.train(made.config, tmp_path / "run")
    assert ["valid" in row for row in outcome.rows] == [False, False, True]
    assert outcome.epochs == {"last": 2, "valid": 2}


@pytest.mark.exhaustive
def test_patience_counts_evaluations_without_a_better_value(folder, tmp_path, monkeypatch):
    values = iter([0.3, 0.2, 0.4, 0.1, 0.4])
    monkeypatch.setattr(selections, "monitored", lambda *arguments: next(values))
    config = trial.config(folder, train__epochs=20, train__patience=2)
    outcome = experiment.train(config, tmp_path / "run")
    assert (outcome.reason, outcome.exit_code, len(outcome.rows)) == ("patience", 0, 5)
    assert outcome.epochs == {"last": 4, "valid": 2}
    again = experiment.train(config, tmp_path / "run", resume=True)  # the values are used up: nothing is evaluated
    assert again.reason == "patience"
    assert again.tables == outcome.tables
    assert again.rows == outcome.rows


@pytest.mark.exhaustive
def test_training_ends_with_an_evaluation_when_its_time_is_over(folder, tmp_path):
    config = trial.config(folder, train__epochs=50, train__eval_every=40, train__max_minutes=1e-6)
    outcome = experiment.train(config, tmp_path / "run")
    assert (outcome.reason, outcome.exit_code, len(outcome.rows)) == ("time", 0, 1)
    assert outcome.epochs == {"last": 0, "valid": 0} and "valid" in outcome.rows[0]
    again = experiment.train(config, tmp_path / "run", resume=True)
    assert (again.reason, again.rows, again.tables) == ("time", outcome.rows, outcome.tables)
    longer = trial.config(folder, train__epochs=2, train__eval_every=40, train__max_minutes=60.0)
    assert len(experiment.train(longer, tmp_path / "run", resume=True).rows) == 2


def test_an_untrained_model_runs_from_end_to_end(folder, tmp_path, capsys):
    outcome = experiment.train(trial.config(folder, model="popularity"), tmp_path / "run")
    assert (outcome.rows, outcome.epochs, outcome.tables.keys()) == ([], {"last": 0}, {"last"})
    dataset = wiring.build(trial.config(folder, model="popularity")).dataset
    most = int(np.argmax(dataset.train["buy"].sum(axis=0)))
    seen = sum(part["buy"].astype(int) for part in (dataset.train, dataset.valid, dataset.test)).toarray()
    experiment.recommend(tmp_path / "run", top_k=1, out=tmp_path / "lists")
    first = pl.read_parquet(tmp_path / "lists" / "buy.parquet")
    assert set(first["user"].to_list()) == {f"user-{u}" for u in range(23)}
    unseen = [f"user-{u}" for u in range(23) if not seen[u, most]]
    assert set(first.filter(pl.col("user").is_in(unseen))["item"].to_list()) == {1000 + most}
    assert experiment.evaluate_run(tmp_path / "run") == {"test": outcome.tables["last"]}
    said = " ".join(capsys.readouterr().out.split())
    assert "toy, test split. visited" in said and "at step" not in said  # nothing was trained: there is no checkpoint


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "model",
    usual.cases(["own_items", "itemknn", "cross_occurrence", "cascading_rank"], {"own_items", "itemknn"}.__contains__),
)
def test_the_other_anchors_are_restored_and_make_lists(folder, tmp_path, model):
    outcome = experiment.train(trial.config(folder, model=model), tmp_path / "run")
    assert experiment.evaluate_run(tmp_path / "run") == {"test": outcome.tables["last"]}
    experiment.recommend(tmp_path / "run", top_k=3, out=tmp_path / "lists")
    lists = pl.read_parquet(tmp_path / "lists" / "buy.parquet")
    assert lists["rank"].to_list() == [1, 2, 3] * 23
    assert lists["score"].is_finite().all()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"data__valid": "none"}, errors.IncompatibleError, r"data\.valid=none.*--protocol=paper"),
        ({"train__monitor": "bye:ndcg"}, errors.ConfigError, "in train.monitor 'bye'. Did you mean 'buy'"),
        ({"evaluate__behaviors": "buy,viw"}, errors.ConfigError, "'viw'.*'view'"),
        (
            {"evaluate__behaviors": "buy", "train__monitor": "view:hr@5"},
            errors.ConfigError,
            "no pairs of 'view' are evaluated",
        ),
    ],
)
def test_what_cannot_go_well_is_refused_before_anything_is_written(folder, tmp_path, wrong, error, message):
    with pytest.raises(error, match=message):
        experiment.train(trial.config(folder, **wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_nan_names_step_epoch_and_the_last_finite_checkpoint(folder, two, tmp_path, monkeypatch):
    poison(
        monkeypatch,
        lambda state, logged: (state, logged | {"loss": logged["loss"] * jnp.where(state.step == 8, jnp.nan, 1)}),
    )
    with pytest.raises(errors.TrainingDivergedError, match=r"loss is nan at step 7 \(epoch 3\)") as caught:
        experiment.train(trial.config(folder, **trial.SAVE), tmp_path / "run")
    last = tmp_path / "run" / "last"
    assert f"last finite checkpoint: {last / '6'}, after 2 epochs" in str(caught.value)
    state, _ = trial.restored(folder, last)
    trial.assert_same_state(state, trial.restored(folder, two / "last")[0])
    assert [row["epoch"] for row in logging.read_rows(tmp_path / "run" / "metrics.jsonl")] == [0, 1]


@pytest.mark.parametrize(
    ("options", "what", "checkpoint"),
    [
        (trial.SAVE, "scores are not finite", "last finite checkpoint: .*3, after 1 epoch\\."),
        ({"train__eval_every": 0, **trial.SAVE}, "parameters are not finite", "last finite checkpoint: .*3, after 1"),
        pytest.param(
            {"train__save_minutes": 60.0},
            "scores are not finite",
            "no checkpoint was written before it",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_parameters_that_are_nan_are_never_saved(folder, tmp_path, monkeypatch, options, what, checkpoint):
    def change(state, logged):
        factor = jnp.where(state.step == 6, jnp.nan, 1)
        return state.replace(params=jax.tree.map(lambda leaf: leaf * factor, state.params)), logged

    poison(monkeypatch, change)
    with pytest.raises(errors.TrainingDivergedError, match=rf"{what} after step 5 \(epoch 2\); {checkpoint}") as caught:
        experiment.train(trial.config(folder, **options), tmp_path / "run")
    assert str(caught.value).count("checkpoint") == 1


def test_a_huge_learning_rate_is_one_line_and_exit_code_5(folder, tmp_path, capsys):
    options = trial.options(folder, tmp_path / "run", train__learning_rate=1e30)
    assert cli.train_main(options) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: loss is ")
    assert "at step 1 (epoch 1); no checkpoint was written before it. Lower train.learning_rate" in line


def test_a_used_folder_is_not_overwritten(four, folder):
    with pytest.raises(errors.ConfigError, match="holds a run already.*--resume"):
        experiment.train(trial.config(folder), four.workdir)


def test_folders_are_numbered_and_the_newest_is_resumed(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = trial.config(folder)

    def chosen(resume):
        with folders.claimed(config, None, resume) as claimed:
            return claimed.path.relative_to(tmp_path).as_posix()

    assert chosen(False) == "runs/bvae-toy-seed0"
    with pytest.raises(errors.ConfigError, match=r"no run in .*runs/bvae-toy-seed0: config.yaml is missing"):
        chosen(True)
    for name in ("bvae-toy-seed0", "bvae-toy-seed0-2", "bvae-toy-seed0-11", "bvae-toy-seed01"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
    assert chosen(False) == "runs/bvae-toy-seed0-3"
    assert chosen(True) == "runs/bvae-toy-seed0-11"


def test_of_two_runs_that_start_together_each_is_whole(folder, tmp_path):
    """The folder that was named holds the run of one, and the other is told before it writes anything."""
    barrier, ends = threading.Barrier(2), {}

    def start(model):
        settings = trial.config(folder, model=model)
        barrier.wait()
        try:
            ends[model] = experiment.train(settings, tmp_path / "run")
        except errors.MbjaxError as error:
            ends[model] = error

    threads = [threading.Thread(target=start, args=(model,)) for model in ("popularity", "own_items")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (model for model, end in ends.items() if not isinstance(end, Exception))
    (refused,) = (end for end in ends.values() if isinstance(end, Exception))
    assert "another process is training in run folder" in str(refused) or "holds a run already" in str(refused)
    assert f"model_name: {winner}" in (tmp_path / "run" / "config.yaml").read_text()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["model"] == winner
    assert experiment.evaluate_run(tmp_path / "run") == {"test": ends[winner].tables["last"]}


def test_a_run_goes_on_bit_for_bit_after_its_data_have_moved(four, two, folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "toy")
    workdir = shutil.copytree(two, tmp_path / "run")
    outcome = experiment.train(trial.config(moved), workdir, resume=True)
    assert outcome.tables == four.tables
    trial.assert_same_run(folder, workdir, four.workdir)
    assert str(moved) in (workdir / "config.yaml").read_text()


def test_what_cannot_go_well_is_refused_before_anything_is_computed(four, folder, tmp_path, monkeypatch):
    """A closed form of a large log takes minutes, and its user waits for the line that says what was wrong."""

    def compute(*_, **__):
        raise AssertionError("too late")

    monkeypatch.setattr(gathering, "graphs", compute)
    for workdir, given, message in (
        (four.workdir, {}, "holds a run already"),
        (tmp_path / "none", {"data__valid": "none"}, "selects the epoch on validation pairs, and there are none"),
        (tmp_path / "none", {"train__monitor": "byu:ndcg"}, "unknown behavior in train.monitor 'byu'"),
    ):
        with pytest.raises(errors.ConfigError, match=message):
            experiment.train(trial.config(folder, **given), workdir)
    assert not (tmp_path / "none").exists()
    with pytest.raises(AssertionError, match="too late"):
        experiment.train(trial.config(folder), tmp_path / "none")
    assert not (tmp_path / "none").exists()  # nor where it fails later


def test_what_a_folder_refuses_is_said_before_any_data_are_read(four, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_: (_ for _ in ()).throw(AssertionError("too late")))
    with pytest.raises(errors.ConfigError, match="holds a run already"):
        experiment.train(trial.config(folder), four.workdir)
    with pytest.raises(errors.CheckpointError, match=r"another configuration: train.learning_rate: .* -> 1.0"):
        experiment.train(trial.config(folder, train__learning_rate=1.0), four.workdir, resume=True)
    (tmp_path / "sweep.json").touch()
    with pytest.raises(errors.ConfigError, match="holds a sweep already"):
        experiment.train(trial.config(folder), tmp_path)
