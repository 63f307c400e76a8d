"""Runs after training: restored in a fresh process, evaluated again, turned into ranked lists."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from mbjax import config as configuration
from mbjax import errors, models, types
from mbjax import recommend as lists
from mbjax.experiment import printout, wiring
from mbjax.train import checkpoint, run_folder


def restore(
    workdir: str | pathlib.Path, config: configuration.Config | None = None, *, which: str | None = None
) -> tuple[wiring.Experiment, types.Params, dict[str, Any]]:
    """A run's data set and model with the parameters of a checkpoint.

    Args:
      workdir: the run folder.
      config: instead of the folder's own, e.g. with other evaluation options.
      which: ``"best"`` or ``"last"``; None is best where there is one.

    Returns:
      The experiment, the parameters, and ``{"checkpoint": ..., "step": ...}``.

    Raises:
      ConfigError: there is no run in the folder. CheckpointError: no such or no sound checkpoint, or other data.
    """
    folder = run_folder.RunFolder(workdir)
    if config is None:
        text = folder.config_text()
        config = configuration.parse(text, models.entry(configuration.peek(text)).config)
    experiment = wiring.build(config.model_copy(update={"devices": 1}))
    folder.check_same(experiment.dataset)
    if not experiment.is_trained:
        return experiment, experiment.start().params, {"checkpoint": "untrained", "step": 0}
    if which is None:
        which = "best" if run_folder.checkpoint_steps(folder.best) else "last"
    target = jax.eval_shape(experiment.start)
    if which == "best":
        target = target.replace(opt_state=())
        if not run_folder.checkpoint_steps(folder.best):
            hint = (
                " A run with --protocol=paper keeps none: its epochs are chosen on the test split."
                if (config.protocol == "paper")
                else ""
            )
            raise errors.CheckpointError(f"no checkpoint in {folder.best}.{hint} Use --checkpoint=last.")
    checkpoints = checkpoint.Checkpoints(getattr(folder, which), read_only=True)
    state, _ = checkpoints.restore(target)
    checkpoints.close()
    return experiment, state.params, {"checkpoint": which, "step": int(state.step)}


def evaluate_run(
    workdir: pathlib.Path,
    config: configuration.Config | None = None,
    *,
    checkpoint: str | None = None,
    splits: Sequence[str] = ("test",),
    per_user: pathlib.Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Evaluates a checkpoint of a run and prints its tables.

    Args:
      workdir: the run folder.
      config: the run's configuration with the evaluation options wanted; None takes the folder's.
      checkpoint: ``"best"`` or ``"last"``; None is best where there is one.
      splits: of ``"valid"`` and ``"test"``.
      per_user: Parquet file for the values of every user; with several splits, one file each.

    Returns:
      split -> behavior -> metrics.
    """
    experiment, params, where = restore(workdir, config, which=checkpoint)
    tables = {}
    for split in splits:
        evaluator = experiment.evaluator(split)
        groups = experiment.config.evaluate.groups
        result = evaluator(experiment.model, params, experiment.graphs, per_user=per_user is not None, groups=groups)
        tables[split] = result.table
        printout.evaluation(experiment, split, where, result.table)
        if per_user is not None:
            path = per_user if len(splits) == 1 else per_user.with_stem(f"{per_user.stem}.{split}")
            printout.say(f"per-user values: {result.to_parquet(path)}")
    return tables


def recommend(
    workdir: pathlib.Path,
    config: configuration.Config | None = None,
    *,
    checkpoint: str | None = None,
    top_k: int = 20,
    out: pathlib.Path | None = None,
    users: Sequence[Any] | None = None,
) -> dict[str, pathlib.Path]:
    """Writes ranked lists of a run, one Parquet file for each behavior.

    Args:
      workdir: the run folder.
      config: as for ``evaluate_run``.
      checkpoint: likewise.
      top_k: length of the lists.
      out: folder of the files; None is ``recommendations/`` in the run folder.
      users: raw ids; None is every user.

    Returns:
      behavior -> file.
    """
    experiment, params, _ = restore(workdir, config, which=checkpoint)
    section = experiment.config.evaluate
    behaviors = section.behaviors or experiment.model.tasks or experiment.dataset.info.behaviors
    files = lists.recommend(
        experiment.model,
        params,
        experiment.graphs,
        experiment.dataset,
        top_k=top_k,
        behaviors=behaviors,
        users=users,
        out=out or pathlib.Path(workdir) / "recommendations",
    )
    for behavior, path in files.items():
        printout.say(f"{behavior}: {path}")
    return files
