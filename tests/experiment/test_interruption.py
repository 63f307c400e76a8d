"""Runs that are stopped, killed or damaged, and go on as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
import toy
import trial
import usual

from mbjax import errors, experiment
from mbjax.train import logging, progress

ENDLESS = 10**6  # epochs: such a run cannot finish before it is interrupted


@pytest.fixture
def copy(two, tmp_path):
    """A copy of the run of two epochs, with checkpoints after each."""
    return shutil.copytree(two, tmp_path / "run")


def arrays_of(state):
    """The file that holds the arrays of a checkpoint."""
    return max(state.rglob("d/*"), key=lambda path: path.stat().st_size)


def test_two_and_two_epochs_are_four(four, folder, copy):
    outcome = experiment.train(trial.config(folder), copy, resume=True)
    trial.assert_same_run(folder, copy, four.workdir)
    assert outcome.tables == four.tables
    assert outcome.epochs == four.epochs
    assert "epochs: 4" in (copy / "config.yaml").read_text()
    assert len(json.loads((copy / "dataset.json").read_text())["fingerprint"]) == 64


def test_a_finished_run_resumes_to_the_same_end(four, folder, tmp_path):
    workdir = shutil.copytree(four.workdir, tmp_path / "run")
    again = experiment.train(trial.config(folder), workdir, resume=True)
    assert (again.reason, again.tables, again.rows) == ("finished", four.tables, four.rows)
    trial.assert_same_run(folder, workdir, four.workdir)


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_an_epoch(four, folder, tmp_path, monkeypatch, capsys, number):
    fractions, handler = [], signal.getsignal(number)

    def chunk(self, fraction):
        fractions.append(fraction)
        if len(fractions) == 5:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Progress, "chunk", chunk)
        stopped = experiment.train(trial.config(folder), tmp_path / "run")
    assert fractions == pytest.approx([1 / 3, 2 / 3, 0, 1 / 3, 2 / 3])  # the chunk was finished, and none begun
    assert (stopped.reason, stopped.exit_code, stopped.tables) == ("signal", 130, {})
    assert signal.getsignal(number) is handler
    assert f"--resume --workdir={tmp_path / 'run'}" in capsys.readouterr().out.replace("\n", "")
    assert [row["epoch"] for row in stopped.rows] == [0]
    state, record = trial.restored(folder, tmp_path / "run" / "last")
    assert int(state.step) == record["position"]["step"] == 5
    assert 0 < record["position"]["sums"]["loss"] < four.rows[1]["loss"]
    outcome = experiment.train(trial.config(folder), tmp_path / "run", resume=True)
    trial.assert_same_run(folder, tmp_path / "run", four.workdir)
    assert outcome.tables == four.tables


@pytest.mark.slow
def test_kill_9(cache, uninterrupted, folder, tmp_path):
    workdir = tmp_path / "run"
    given = trial.options(folder, workdir, train__epochs=ENDLESS, **trial.SAVE)
    process = trial.start(cache, "train.py", *given)
    trial.wait_for_rows(process, workdir, 5)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    # In whole steps of ten: a run that nothing disturbs is needed for each number of epochs.
    epochs = len(logging.read_rows(workdir / "metrics.jsonl")) // 10 * 10 + 10
    steps = [int(path.name) for path in (workdir / "last").iterdir() if path.name.isdigit()]
    assert 0 < max(steps) < epochs * trial.STEPS
    whole = uninterrupted(epochs)
    outcome = experiment.train(trial.config(folder, train__epochs=epochs), workdir, resume=True)
    trial.assert_same_run(folder, workdir, whole.workdir)
    assert outcome.tables == whole.tables


@pytest.mark.slow
@pytest.mark.exhaustive
def test_sigterm_ends_the_program_with_130_and_resume_goes_on(cache, uninterrupted, folder, tmp_path):
    workdir = tmp_path / "run"
    process = trial.start(cache, "train.py", *trial.options(folder, workdir, train__epochs=ENDLESS))
    trial.wait_for_rows(process, workdir, 2)
    assert not list((workdir / "last").iterdir())  # nothing was due yet: what is saved is saved by the signal
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "python train.py --resume --workdir=" in output
    rows = len(logging.read_rows(workdir / "metrics.jsonl"))
    _, record = trial.restored(folder, workdir / "last")
    assert record["position"]["step"] // trial.STEPS == rows
    epochs = rows // 10 * 10 + 10
    process = trial.start(cache, "train.py", "--resume", f"--workdir={workdir}", f"--train.epochs={epochs}")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert f"epoch {epochs}/{epochs}" in output
    trial.assert_same_run(folder, workdir, uninterrupted(epochs).workdir)


@pytest.mark.parametrize("damage", usual.cases(["flip", "truncate"], {"flip"}.__contains__))
def test_a_damaged_checkpoint_is_passed_over(four, folder, copy, damage):
    path = arrays_of(copy / "last" / "6" / "state")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    with pytest.warns(errors.CheckpointWarning, match="passed over.*last.*6.*step 3 is used instead"):
        outcome = experiment.train(trial.config(folder), copy, resume=True)
    trial.assert_same_run(folder, copy, four.workdir)
    assert outcome.tables == four.tables


@pytest.mark.exhaustive
def test_killed_before_the_first_checkpoint_starts_anew(four, folder, copy):
    for step in (copy / "last").iterdir():
        shutil.rmtree(step)
    experiment.train(trial.config(folder), copy, resume=True)
    trial.assert_same_run(folder, copy, four.workdir)


def test_another_configuration_is_refused_with_the_difference(folder, copy):
    before = (copy / "config.yaml").read_text()
    config = trial.config(folder, train__learning_rate=0.5, model__dropout_rate=0.25)
    with pytest.raises(errors.CheckpointError) as caught:
        experiment.train(config, copy, resume=True)
    assert "model.dropout_rate: 0.5 -> 0.25; train.learning_rate: 0.001 -> 0.5." in str(caught.value)
    assert "epochs" not in str(caught.value)
    assert (copy / "config.yaml").read_text() == before


@pytest.mark.parametrize(("epochs", "step", "where"), [(1, 6, "2 epochs"), (2, 7, "2 epochs and 1 step")])
def test_an_epoch_that_is_over_is_refused(folder, copy, epochs, step, where):
    (copy / "last" / "6").rename(copy / "last" / str(step))
    before = (copy / "config.yaml").read_text()
    with pytest.raises(errors.CheckpointError, match=f"stands after {where}; train.epochs={epochs} is fewer. Give "):
        experiment.train(trial.config(folder, train__epochs=epochs), copy, resume=True)
    assert (copy / "config.yaml").read_text() == before


@pytest.mark.exhaustive
def test_a_resumed_run_may_look_more_often_and_wait_longer(four, folder, copy):
    changes = {"train__eval_every": 2, "train__patience": 3}
    outcome = experiment.train(trial.config(folder, **changes), copy, resume=True)
    assert ["valid" in row for row in outcome.rows] == [True, True, False, True]
    assert [row["loss"] for row in outcome.rows] == [row["loss"] for row in four.rows]
    assert outcome.tables["last"] == four.tables["last"]


@pytest.mark.exhaustive
def test_a_folder_that_is_in_use_is_refused(folder, copy, monkeypatch):
    before, tried = (copy / "metrics.jsonl").read_text(), []

    def epoch(self, *args, **options):
        with pytest.raises(errors.CheckpointError, match="another process is training"):
            experiment.train(trial.config(folder), copy, resume=True)
        tried.append((copy / "metrics.jsonl").read_text())

    monkeypatch.setattr(progress.Progress, "epoch", epoch)
    experiment.train(trial.config(folder), copy, resume=True)
    assert len(tried) == 2 and tried[0].startswith(before)


def test_other_data_are_refused(folder, copy):
    with pytest.raises(errors.CheckpointError, match="other data: fingerprint of 'toy'"):
        experiment.train(trial.config(folder), copy, resume=True, dataset=toy.dataset(2, seed=1))


def test_nothing_to_resume(folder, tmp_path):
    with pytest.raises(errors.ConfigError, match="no run in"):
        experiment.train(trial.config(folder), tmp_path / "run", resume=True)
