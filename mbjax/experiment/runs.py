"""Runs after training: restored in a fresh process and evaluated again."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from mbjax import config as configuration
from mbjax import data, errors, models, paths, types
from mbjax.experiment import closing, wiring
from mbjax.reporting import printout
from mbjax.train import checkpoint, run_folder

CHECKPOINTS = ("best", "last")


def restore(
    workdir: str | pathlib.Path,
    config: configuration.Config | None = None,
    *,
    which: str | None = None,
    dataset: str | os.PathLike[str] | data.Dataset | None = None,
    devices: int = 1,
) -> tuple[wiring.Experiment, types.Params, dict[str, Any]]:
    """A run's data set and model with the parameters of a checkpoint.

    Args:
      workdir: the run folder.
      config: instead of the folder's own, e.g. with other evaluation options.
      which: ``"best"`` or ``"last"``; None is best where there is one.
      dataset: where the run's data lie now, or the data themselves; None takes the place that the configuration names.
      devices: that the users are divided among, whatever the run was trained on.

    Returns:
      The experiment, the parameters, and ``{"checkpoint": ..., "step": ...}``; None and 0 of a model without training.

    Raises:
      ConfigError: there is no run in the folder, or its data have moved.
      CheckpointError: no such or no sound checkpoint, or other data.
    """
    config, loaded = locate(workdir, config, dataset, devices, which=which)
    experiment = build(workdir, config, loaded)
    params, where = restore_params(workdir, experiment, which=which)
    return experiment, params, where


def build(
    workdir: str | pathlib.Path,
    config: configuration.Config,
    dataset: data.Dataset | None = None,
    *,
    prepared: bool = True,
) -> wiring.Experiment:
    """A run's data set and model. Raises CheckpointError if the data are not those of its training.

    Without what is ``prepared`` parameters can be restored, and nothing can be ranked.
    """
    folder = run_folder.RunFolder(workdir)
    before = configuration.parse(folder.config_text(), type(config.model)).dataset
    plan = wiring.plan(config, as_trained(folder, config, dataset), steps=False)
    folder.check_same(plan.dataset, config.dataset if dataset is None and config.dataset != before else None)
    return plan.with_graphs() if prepared else plan.with_matrices()


def as_trained(
    folder: run_folder.RunFolder, config: configuration.Config, dataset: data.Dataset | None = None
) -> data.Dataset:
    """A run's data set, with times if it was trained with them.

    Raises:
      CheckpointError: it was, the model uses them, and they are gone.
    """
    dataset = wiring.load(config) if dataset is None else dataset
    known = folder.dataset()
    then = bool(known.get("times"))
    if then == dataset.info.times:
        # Before it was told whether a split is one in time, models took times from any.
        later = then and bool(known.get("later", True))
        if later == dataset.info.later:
            return dataset
        return dataclasses.replace(dataset, info=dataset.info._replace(later=later))
    if dataset.info.times:
        return dataset.without_times()
    if models.entry(config.model_name).build(config.model, dataset.info._replace(times=True), 1).times:
        raise errors.CheckpointError(
            f"run folder {folder.path} was trained with the times of its data, and '{dataset.info.name}' has none now. "
            "Point --dataset at the data as they were, with data.log.time or the train_time files."
        )
    return dataset


def read_config(workdir: str | pathlib.Path) -> configuration.Config:
    """The configuration of a run. Raises ConfigError if there is no run in the folder."""
    text = run_folder.RunFolder(workdir).config_text()
    return configuration.parse(text, models.entry(configuration.peek(text)).config)


def locate(
    workdir: str | pathlib.Path,
    config: configuration.Config | None,
    dataset: str | os.PathLike[str] | data.Dataset | None,
    devices: int = 1,
    *,
    which: str | None = None,
) -> tuple[configuration.Config, data.Dataset | None]:
    """The configuration on so many devices, with the place of the data replaced, and the data if those were given.

    Refuses the checkpoint ``which`` where there is no such one, before minutes go into reading and preparing data.

    What the model chose when it was trained is a setting from then on: it is not chosen again, on pairs that need not
    be those of the training.
    """
    config = read_config(workdir) if config is None else config
    _check_checkpoint(run_folder.RunFolder(workdir), config, which)
    changes: dict[str, Any] = {"devices": devices}
    is_place = isinstance(dataset, str | os.PathLike)
    if is_place:
        changes["dataset"] = configuration.located(os.fspath(dataset), config.data.dirs)
    elif not isinstance(dataset, data.Dataset | None):
        raise errors.ConfigError(
            f"dataset is of type {type(dataset).__name__}; expected a path, a known name, or a data set that is loaded."
        )
    config = config.model_copy(update=changes)
    if chosen := run_folder.RunFolder(workdir).chosen():
        config = configuration.override(config, chosen)
    if dataset is None or is_place:
        configuration.check_there(config.dataset, config.data.dirs)
    return config, None if is_place else dataset


def _check_checkpoint(folder: run_folder.RunFolder, config: configuration.Config, which: str | None) -> None:
    if which not in (None, *CHECKPOINTS):
        raise errors.unknown("checkpoint", which, CHECKPOINTS)
    if which and models.entry(config.model_name).chosen != "epoch":
        raise errors.ConfigError(f"checkpoint={which}: {config.model_name} is not trained and has none. Leave it out.")
    if which == "best" and not run_folder.checkpoint_steps(folder.best):
        hint = (
            " A run with --protocol=paper keeps none: its epochs are chosen on the test split."
            if config.protocol == "paper"
            else ""
        )
        raise errors.CheckpointError(f"no checkpoint in {folder.best}.{hint} Use --checkpoint=last.")


def restore_params(
    workdir: str | pathlib.Path, experiment: wiring.Experiment, *, which: str | None = None
) -> tuple[types.Params, dict[str, Any]]:
    """The parameters of a checkpoint that ``locate`` let pass, for an experiment of the same sizes; as ``restore``."""
    folder = run_folder.RunFolder(workdir)
    if not experiment.is_trained:
        return experiment.start().params, {"checkpoint": None, "step": 0}
    if which is None:
        which = "best" if run_folder.checkpoint_steps(folder.best) else "last"
    target = jax.eval_shape(experiment.start)
    if which == "best":
        target = target.replace(opt_state=())
    checkpoints = checkpoint.Checkpoints(getattr(folder, which), read_only=True)
    state, _ = checkpoints.restore(target)
    checkpoints.close()
    return state.params, {"checkpoint": which, "step": int(state.step)}


def evaluate_run(
    workdir: str | pathlib.Path,
    config: configuration.Config | None = None,
    *,
    checkpoint: str | None = None,
    splits: str | Sequence[str] = ("test",),
    per_user: str | pathlib.Path | None = None,
    dataset: str | os.PathLike[str] | data.Dataset | None = None,
    devices: int = 1,
) -> dict[str, dict[str, Any]]:
    """Evaluates a checkpoint of a run and prints its tables.

    Args:
      workdir: the run folder.
      config: the run's configuration with the evaluation options wanted; None takes the folder's.
      checkpoint: ``"best"`` or ``"last"``; None is best where there is one.
      splits: of ``"valid"`` and ``"test"``, or one of them.
      per_user: Parquet file (``.parquet``) for the values of every user; with several splits, one file each.
      dataset, devices: as for ``restore``.

    Returns:
      split -> behavior -> metrics.
    """
    splits = (splits,) if isinstance(splits, str) else splits
    if per_user is not None and pathlib.Path(per_user).suffix.lower() != ".parquet":
        named = pathlib.Path(per_user).with_suffix(".parquet").name
        raise errors.ConfigError(f"{per_user}: the values of users are written as Parquet. Call the file {named}.")
    experiment, params, where = restore(workdir, config, which=checkpoint, dataset=dataset, devices=devices)
    tables = {}
    for split in splits:
        evaluator = experiment.evaluator(split)
        groups = experiment.config.evaluate.groups
        result = evaluator(
            experiment.model,
            params,
            experiment.graphs_for(split, evaluator.users),
            per_user=per_user is not None,
            groups=groups,
            details=True,
        )
        tables[split] = result.table
        closing.evaluation(experiment, split, where, result.table)
        if per_user is not None:
            path = paths.absolute(per_user)
            path = path if len(splits) == 1 else path.with_stem(f"{path.stem}.{split}")
            printout.say(f"per-user values: {result.to_parquet(path)}")
    return tables
