"""Several seeds of a run: each is what it would be alone, whichever way they are trained; stopped, they go on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import trial

from mbjax import abreast, errors, experiment, seeds
from mbjax import config as configuration
from mbjax.experiment import seed_table, wiring
from mbjax.experiment import seeds as several
from mbjax.train import logging, progress


@pytest.fixture(scope="session")
def alone(tmp_path_factory, cache, folder, four):
    """Seed -> the folder of a run of that seed alone."""
    workdir = tmp_path_factory.mktemp("alone") / "seed1"
    with trial.compiled_once(cache):
        experiment.train(configuration.override(trial.config(folder), {}, seed=1), workdir)
    return {0: four.workdir, 1: workdir}


def interrupt(patch, after):
    """Lets a signal come after so many chunks."""
    chunks = []

    def chunk(self, fraction):
        chunks.append(fraction)
        if len(chunks) == after:
            signal.raise_signal(signal.SIGTERM)

    patch.setattr(progress.Progress, "chunk", chunk)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("devices", "after", "over"),
    [(1, 4 * trial.STEPS + 2, {0}), pytest.param(2, 5, set(), marks=pytest.mark.exhaustive)],
)
def test_each_seed_is_what_it_would_be_alone(alone, folder, tmp_path, monkeypatch, capsys, devices, after, over):
    """One after another on a device, side by side on two; stopped in the middle of an epoch, and gone on with."""
    config = configuration.override(trial.config(folder), {}, devices=devices)
    made, original = [], wiring.Experiment.draws
    monkeypatch.setattr(wiring.Experiment, "draws", lambda self, *args: made.append(self) or original(self, *args))
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        stopped = experiment.train_seeds(config, (0, 1), tmp_path / "runs")
    assert (stopped.reason, stopped.exit_code, len(made)) == ("signal", 130, 1)  # graphs and programs serve both
    captured = capsys.readouterr()
    assert f"--resume --workdir={tmp_path / 'runs'}" in captured.out.replace("\n", "")
    how = "one after another" if devices == 1 else "side by side (1 seed on each of 2 devices)"
    assert f"seeds 0, 1: {how}" in captured.err
    assert set(stopped.runs) == over
    again = experiment.train_seeds(config, (0, 1), tmp_path / "runs", resume=True)
    assert again.reason == "finished" and set(again.runs) == {0, 1} - over
    for seed, path in alone.items():
        own = seeds.member(tmp_path / "runs", seed)
        if devices == 1:
            trial.assert_same_run(folder, own, path)
        else:  # without optimization, as tests are compiled, last bits depend on what stands around a program
            rows = [[row["loss"] for row in logging.read_rows(each / "metrics.jsonl")] for each in (own, path)]
            np.testing.assert_allclose(*rows, rtol=1e-6)
        results = [json.loads((each / "results.json").read_text()) for each in (own, path)]
        for key in ("selection", "seed", "devices", "command", "overrides"):
            assert results[0][key] == results[1][key]
    text = capsys.readouterr().out
    assert "means of seeds 0, 1" in text and "popularity" in text and text.count("bvae (valid)") == 2
    # All is over, and nothing is trained again.
    once_more = experiment.train_seeds(config, (0, 1), tmp_path / "runs", resume=True)
    assert once_more.runs == {} and "over: seeds 0, 1" in capsys.readouterr().err


@pytest.mark.exhaustive
def test_a_seed_that_diverges_leaves_the_others(alone, folder, tmp_path, monkeypatch, capsys):
    original, calls = wiring.Experiment.advance, []

    def advance(self):
        made = original(self)

        def chunk(*arguments):
            calls.append(len(calls))
            state, logged = made.chunk(*arguments)
            bad = calls[-1] == 4  # in the second epoch of the first seed
            return state, logged | {"loss": logged["loss"] * (np.nan if bad else 1.0)}

        return made.__class__(made.plan, chunk, made.steps_per_epoch, made.chunk_steps)

    monkeypatch.setattr(wiring.Experiment, "advance", advance)
    with pytest.raises(errors.TrainingDivergedError, match=r"loss is nan at step 4 \(epoch 2\); no checkpoint"):
        experiment.train_seeds(trial.config(folder), (0, 1), tmp_path / "runs")
    captured = capsys.readouterr()
    assert "warning: seed 0 failed: loss is nan" in captured.err
    assert "means of seed 1 " in " ".join(captured.out.split())
    trial.assert_same_run(folder, tmp_path / "runs" / "seed1", alone[1])


def test_nothing_is_left_where_nothing_began(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.ConfigError, match="--seeds=1,1: must be different whole numbers"):
        experiment.train_seeds(trial.config(folder), (1, 1), tmp_path / "runs")
    with pytest.raises(errors.ConfigError, match="no seeds in"):
        experiment.train_seeds(trial.config(folder), (0, 1), tmp_path / "runs", resume=True)
    with pytest.raises(errors.ConfigError, match="no run in .*none: config.yaml is missing"):
        experiment.train_seeds(trial.config(folder, train__init_from=str(tmp_path / "none")), (0, 1))
    assert list(tmp_path.iterdir()) == [] or list((tmp_path / "runs").iterdir()) == []


def test_a_folder_of_seeds_is_kept(alone, folder, tmp_path):
    workdir = tmp_path / "runs"
    for seed, path in alone.items():
        shutil.copytree(path, seeds.member(workdir, seed))
    (workdir / seeds.FILE).write_text('{"seeds": [0, 1]}')
    for train in (
        lambda: experiment.train(trial.config(folder), workdir),
        lambda: experiment.train_seeds(trial.config(folder), (0, 1), workdir),
    ):
        with pytest.raises(errors.ConfigError, match="holds the runs of seeds. Continue them with --resume"):
            train()
    with pytest.raises(errors.ConfigError, match="--seeds=1: .* has seed 0 too"):
        experiment.train_seeds(trial.config(folder), (1,), workdir, resume=True)
    (workdir / seeds.FILE).write_text("{")
    with pytest.raises(errors.DataError, match="seeds.json is damaged"):
        seeds.read(workdir)


def test_mean_and_deviation(tmp_path, capsys):
    """Of 0.1, 0.2 and 0.6: the mean is 0.3, the deviation the root of (0.04 + 0.01 + 0.09) / 3."""
    records = {
        seed: {
            "model": "bvae",
            "dataset": "toy",
            "epochs": 3,
            "behaviors": ["buy"],
            "selection": {
                "valid": {
                    "buy": {"epoch": seed, "users": 7, "pairs": 9, "ndcg@5": value, "hr@5": 0.5}
                    | {"visited": {"pairs": 4, "users": 4, "ndcg@5": 2 * value}, "unvisited": {"pairs": 5, "users": 3}}
                },
                "last": {"buy": {"epoch": 2, "users": 7, "pairs": 9, "ndcg@5": value, "hr@5": None}},
            },
        }
        for seed, value in ((3, 0.1), (1, 0.2), (4, 0.6))
    }
    found = seed_table.means(list(records.values()), "valid")["buy"]
    assert (found["users"], found["pairs"], found["hr@5"]) == (7, 9, 0.5)
    assert found["ndcg@5"] == pytest.approx(0.3)
    assert found["deviation"] == {"ndcg@5": pytest.approx((0.14 / 3) ** 0.5), "hr@5": 0.0}
    assert found["visited"]["ndcg@5"] == pytest.approx(0.6)
    assert found["visited"]["deviation"] == {"ndcg@5": pytest.approx(2 * (0.14 / 3) ** 0.5)}
    assert found["unvisited"] == {"pairs": 5, "users": 3, "deviation": {}}
    seed_table.write(tmp_path, records, "bvae", {"popularity": {"buy": {"users": 7, "ndcg@5": 0.05, "hr@5": 0.25}}})
    with (tmp_path / "seeds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["selection"], row["pairs"], row["metric"]) for row in rows] == [
        *(("valid", "all", "ndcg@5"), ("valid", "all", "hr@5"), ("valid", "visited", "ndcg@5")),
        *(("last", "all", "ndcg@5"), ("last", "all", "hr@5")),
    ]
    assert [rows[0][name] for name in ("seed3", "seed1", "seed4")] == ["0.1", "0.2", "0.6"]
    assert rows[2]["seed4"] == "1.2" and rows[4]["mean"] == rows[4]["seed3"] == ""
    page = (tmp_path / "seeds.md").read_text()
    assert "± | - | 0.2160" in page.replace("0.0000", "-") and "popularity" in page
    assert "means of seeds 3, 1, 4, ±: their population standard deviation" in " ".join(capsys.readouterr().out.split())


def test_the_way(folder):
    """What decides is told in words; a CPU keeps the bits of a run alone."""

    def way(number=3, model="bvae", devices=1, **overrides):
        config = configuration.override(trial.config(folder, model, **overrides), {}, devices=devices)
        return several.choose(wiring.plan(config), number)

    assert way(1) == (1, 1, "")
    assert way()[:2] == (1, 1) and "has other last bits" in way().why
    assert way(model="popularity").why == "there is nothing to train"
    assert way(model="funnel").why == "funnel prepares something for each"
    assert way(train__side_by_side="always") == (3, 1, "in one program")
    assert way(devices=2) == (2, 2, "1 seed on each of 2 devices")
    assert way(devices=4) == (3, 3, "1 seed on each of 3 devices")
    assert way(devices=2, train__side_by_side="always") == (4, 2, "2 seeds on each of 2 devices")
    assert way(devices=2, train__side_by_side="never").why == "train.side_by_side=never"


def test_seeds_on_devices_of_their_own_divide_no_batch(folder):
    def begin(**overrides):
        made = configuration.override(trial.config(folder, train__batch_size=9, **overrides), {}, devices=2)
        work = several._Work({seed: made.model_copy(update={"seed": seed}) for seed in (0, 1)}, False, False)
        work.begin(None)
        return work

    assert begin()._way.devices == 2
    with pytest.raises(errors.IncompatibleError, match="train.batch_size=9 cannot be divided among --devices=2"):
        begin(train__side_by_side="never")


@pytest.mark.parametrize(("size", "devices"), [(3, 1), (4, 2), (2, 2)])
def test_states_come_back_as_they_were_put(size, devices):
    states = [{"x": jax.numpy.arange(4.0) + n, "key": jax.random.key(n)} for n in range(2)]
    among = abreast.Abreast(size, devices)
    stacked = among.put(states)
    assert stacked["x"].shape == (size, 4)
    for place, state in enumerate(states):
        found = among.part(stacked, place)
        assert found["x"].tolist() == state["x"].tolist() and found["x"].devices() == {jax.devices()[0]}
        assert (jax.random.key_data(found["key"]) == jax.random.key_data(state["key"])).all()


@pytest.mark.exhaustive
def test_bits_of_seeds_on_devices_of_their_own(folder, tmp_path, monkeypatch):
    """By the program itself, compiled as everywhere but in tests."""
    given = dict.fromkeys(("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR"), "")

    def train(workdir, *words):
        options = [word for word in trial.options(folder, workdir, evaluate__anchors="none") if "chunk" not in word]
        command = [sys.executable, "-m", "mbjax", "train", *options, *words]
        subprocess.run(command, env=os.environ | given, cwd=trial.ROOT, check=True)

    train(tmp_path / "runs", "--seeds=0,1,2", "--devices=2", "--train.chunk_steps=1")
    for seed in (0, 1, 2):
        train(tmp_path / f"alone{seed}", f"--seed={seed}", "--train.chunk_steps=3")
        trial.assert_same_run(folder, seeds.member(tmp_path / "runs", seed), tmp_path / f"alone{seed}")


@pytest.mark.exhaustive
def test_in_one_program(alone, folder, tmp_path):
    """Last bits differ, and nothing else; a seed that waited long enough ends before the others."""
    config = trial.config(folder, train__side_by_side="always", train__patience=1)
    outcome = experiment.train_seeds(config, (0, 1, 2), tmp_path / "runs")
    for seed in range(3):
        path = tmp_path / f"alone{seed}"
        own = experiment.train(configuration.override(config, {}, seed=seed), path)
        found = outcome.runs[seed]
        assert (found.reason, len(found.rows)) == (own.reason, len(own.rows))
        losses = [[row["loss"] for row in each.rows] for each in (found, own)]
        np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.exhaustive
def test_what_is_prepared_for_each_seed(folder, tmp_path):
    """Of funnel the seed draws lessons too."""
    config = trial.config(folder, "funnel", train__epochs=1)
    experiment.train_seeds(config, (0, 1), tmp_path / "runs")
    for seed in (0, 1):
        own = experiment.train(configuration.override(config, {}, seed=seed), tmp_path / f"alone{seed}")
        found = json.loads((seeds.member(tmp_path / "runs", seed) / "results.json").read_text())
        assert found["selection"] == json.loads((own.workdir / "results.json").read_text())["selection"]


def test_an_extension_that_was_stopped_is_finished(alone, folder, tmp_path, monkeypatch, capsys):
    """Seeds that are over go on for another epoch; what they came to before is no result of that."""
    assert "train.max_minutes" not in several.SETTLED
    workdir, longer = tmp_path / "runs", trial.config(folder, train__epochs=5)
    for seed, path in alone.items():
        shutil.copytree(path, seeds.member(workdir, seed))
    (workdir / seeds.FILE).write_text('{"seeds": [0, 1]}')
    first = seeds.member(workdir, 0)
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        assert experiment.train_seeds(longer, (0, 1), workdir, resume=True).reason == "signal"
    assert not (first / "results.json").exists()
    given = {"resume": True, "record": tmp_path / "kept.json"}
    assert set(experiment.train_seeds(longer, (0, 1), workdir, **given).runs) == {0, 1}
    assert json.loads((first / "results.json").read_text())["epochs"] == 5
    # Whoever asks for results files later gets those of seeds that are over, too.
    for file in tmp_path.glob("kept-*"):
        file.unlink()
    assert experiment.train_seeds(longer, (0, 1), workdir, **given).runs == {}
    assert sorted(file.name for file in tmp_path.glob("kept-*")) == ["kept-seed0.json", "kept-seed1.json"]
