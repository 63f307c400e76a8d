"""Runs that start from the parameters of another run."""

from __future__ import annotations

import dataclasses
import shutil

import jax
import numpy as np
import pytest
import trial

from mbjax import cli, errors, experiment
from mbjax.data import prepared, vocabulary
from mbjax.experiment import warm_start, wiring

MONITOR = {"train__monitor": "mean:ndcg"}  # the models' own needs another cut-off


@pytest.fixture(scope="module")
def views(tmp_path_factory, folder):
    """The folder of a LightGCN of views."""
    workdir = tmp_path_factory.mktemp("views") / "run"
    config = trial.config(folder, "lightgcn", "paper", data__target="view", train__epochs=1, **MONITOR)
    experiment.train(config, workdir)
    return workdir


def started(config, workdir):
    """The parameters before the first step: random ones, and those that come from a run."""
    made = wiring.build(config)
    state = made.start()
    return state.params["params"], warm_start.apply(made, state, workdir).params["params"]


def test_the_same_model_goes_on_from_the_best_checkpoint(four, folder, capsys):
    _, params, _ = experiment.restore(four.workdir, which="best")
    random, start = started(trial.config(folder, train__learning_rate=0.5), four.workdir)
    jax.tree.map(np.testing.assert_array_equal, start, params["params"])
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), start, random)))
    said = " ".join(capsys.readouterr().out.split())
    assert f"(best, step {3 * (four.epochs['valid'] + 1)})" in said and "at random" not in said


def test_models_share_what_has_the_same_name(views, folder, capsys):
    _, params, where = experiment.restore(views)
    assert where["checkpoint"] == "last"  # a run chosen on the test split has no other
    random, start = started(trial.config(folder, "mbcgcn", **MONITOR), views)
    for table in ("user", "item"):
        np.testing.assert_array_equal(start[table], params["params"][table])
        assert (start[table] != random[table]).any()
    rest = set(start) - {"user", "item"}
    assert rest
    jax.tree.map(np.testing.assert_array_equal, {k: start[k] for k in rest}, {k: random[k] for k in rest})
    said = " ".join(capsys.readouterr().out.split())
    assert f"start from {views}".replace(" ", "") in said.replace(" ", "")
    assert "at random: backbone/item_map_view, backbone/user_map_view" in said


def test_what_the_data_decide_is_not_taken_over(views, folder, capsys):
    made = wiring.build(trial.config(folder, "mbcgcn", **MONITOR))
    made = dataclasses.replace(made, model=made.model._replace(measured=("item",)))
    state = made.start()
    start = warm_start.apply(made, state, views).params["params"]
    np.testing.assert_array_equal(start["item"], state.params["params"]["item"])
    assert (start["user"] != state.params["params"]["user"]).any()
    assert "of these data: item" in " ".join(capsys.readouterr().out.split())


def test_many_arrays_are_counted_by_kind():
    names = [f"experts/{k}" for k in range(warm_start.MOST_NAMED)]
    assert warm_start._listed(names) == ", ".join(names)
    assert warm_start._listed([*names, "mix"]) == "experts (12 arrays), mix"


@pytest.mark.exhaustive
def test_a_run_from_another_and_its_resumption(four, two, folder, tmp_path):
    """The option reaches training; once there is a checkpoint the other run may be gone."""
    other = shutil.copytree(two, tmp_path / "other")
    options = {"train__init_from": str(other), **trial.SAVE}
    outcome = experiment.train(trial.config(folder, train__epochs=1, **options), tmp_path / "run")
    assert outcome.rows[0]["loss"] < four.rows[0]["loss"]  # the first epoch at random
    # By hand: the same steps from the parameters of the other run.
    made = wiring.build(trial.config(folder))
    state = made.start().replace(params=experiment.restore(other)[1])
    advance, total = made.advance(), 0.0
    plan = advance.plan(state, 0)
    for step in range(advance.steps_per_epoch):
        state, logged = advance.chunk(state, plan, step, 1)
        total += float(np.sum(logged["loss"]))
    np.testing.assert_allclose(outcome.rows[0]["loss"], total, rtol=1e-5)
    shutil.rmtree(other)
    again = experiment.train(trial.config(folder, train__epochs=2, **options), tmp_path / "run", resume=True)
    assert [row["epoch"] for row in again.rows] == [0, 1] and again.rows[0] == outcome.rows[0]


def test_what_does_not_fit_is_refused_and_leaves_nothing(four, views, folder, tmp_path):
    def refused(error, message, source, model="bvae", **options):
        config = trial.config(folder, model, train__init_from=str(source), **options)
        with pytest.raises(error, match=message):
            experiment.train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    refused(
        errors.IncompatibleError, r"is \d+ x 4 there and \d+ x 8 here.*--embedding_size", four.workdir, embedding_size=8
    )
    refused(errors.IncompatibleError, "lightgcn and bvae have no parameter in common. There: item, user", views)
    refused(errors.ConfigError, "no run in", tmp_path / "nothing")


def test_rows_of_other_items_are_refused(views, folder, tmp_path):
    """As many items, and other ids."""
    source = prepared.read(folder)
    ids = source.items.ids.copy()
    ids[3] = 4711
    prepared.write(dataclasses.replace(source, name="renamed", items=vocabulary.Vocabulary(ids)), tmp_path / "renamed")
    config = trial.config(tmp_path / "renamed", "mbcgcn", train__init_from=str(views), **MONITOR)
    with pytest.raises(errors.IncompatibleError, match="'toy', which has other items than 'renamed'"):
        experiment.train(config, tmp_path / "run")


@pytest.mark.exhaustive
def test_the_command_line_says_it(four, folder, tmp_path, capsys):
    argv = trial.options(folder, tmp_path / "run", train__init_from=four.workdir, train__epochs=1)
    assert cli.train_main(argv) == 0
    assert "start from" in capsys.readouterr().out
