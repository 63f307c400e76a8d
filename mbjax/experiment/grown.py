"""A run whose log has grown since: its users and items keep their indices, and start from what the log holds now."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import config as configuration
from mbjax import data, errors, paths, types, wording
from mbjax.config import datasets
from mbjax.data import histories as events
from mbjax.data import moments, tables
from mbjax.experiment import runs, wiring
from mbjax.train import run_folder


class Grown(NamedTuple):
    """A run on the log as it is now.

    Attributes:
      experiment: of the run's users and items; all pairs of theirs are training pairs, nothing is held out.
      params: trained on the log as it was.
      newcomers: the users whom training has not seen.
      lines: what is new.
    """

    experiment: wiring.Experiment
    params: types.Params
    newcomers: events.Histories
    lines: tuple[str, ...]


def log_of(config: configuration.Config) -> pathlib.Path | None:
    """The log that a run is trained on; None where its data set is of another kind."""
    dirs = config.data.dirs
    if not datasets.kind(config.dataset, dirs).startswith("log"):
        return None
    place = paths.named_folder(config.dataset, dirs) or paths.absolute(config.dataset)
    return place if tables.is_log(place) else None


def read(workdir: str | pathlib.Path, config: configuration.Config, checkpoint: str | None = None) -> Grown:
    """Reads the log of a run anew.

    Args:
      workdir: the run folder.
      config: its configuration; ``dataset`` is the log.
      checkpoint: as for ``runs.restore``.

    Raises:
      IncompatibleError: the data set is no log.
      DataError: the log is malformed.
      CheckpointError: the log lacks pairs that it had at training: it did not grow, it is another one.
    """
    path = log_of(config)
    if path is None:
        raise errors.IncompatibleError(
            f"'{config.dataset}' is no log: new data are allowed for logs only, whose rows name users and items by ids."
        )
    folder = run_folder.RunFolder(workdir)
    then = folder.dataset()
    users, items = (data.Vocabulary.from_parquet(file) for file in (folder.users_file, folder.items_file))
    behaviors = tuple(then["behaviors"])
    times = bool(then.get("times")) and config.data.log.time is not None
    now = events.read(path, config.data.log, users, items, behaviors, times=times)
    old, new = np.flatnonzero(now.known >= 0), np.flatnonzero(now.known < 0)
    train, more = {}, 0
    for behavior in behaviors:
        rows = now.pairs[behavior][old].tocoo()
        shape = (len(users), len(items))
        train[behavior] = sparse.csr_array((rows.data, (now.known[old][rows.row], rows.col)), shape=shape)
        train[behavior].sort_indices()
        before = sum(split.get(behavior, 0) for split in then["pairs"].values())
        if rows.nnz < before:
            raise errors.CheckpointError(
                f"run folder {folder.path} was trained on {before:,} '{behavior}' pairs, and {path} holds "
                f"{rows.nnz:,} of its users and items: this is not the same log, only longer. Train again."
            )
        more += rows.nnz - before
    _check_kept(folder, path, train)
    newcomers = now.only(new)
    lines = [
        f"{path.name} as it is now: {wording.count(more, 'more pair')} of users and items of the run than its splits "
        f"had, {wording.count(len(new), 'user')} whom training has not seen. Lists start from all that it holds, "
        "parameters are as they were trained",
        *now.notes,
    ]
    later = times and bool(then.get("later", True))
    info = types.DatasetInfo(then["name"], len(users), len(items), behaviors, times, later)
    grown = data.Dataset(
        info=info,
        train=train,
        valid={},
        test={},
        users=users,
        items=items,
        mask_valid=False,
        valid_rule="none",
        fingerprint=then["fingerprint"],
        events={"train": _of_known(now, old, len(items)), "valid": {}} if times else {},
        grown=True,
    )
    experiment = wiring.build(config, grown)
    params, _ = runs.restore_params(workdir, experiment, which=checkpoint)
    return Grown(experiment, params, newcomers, tuple(lines))


def _check_kept(folder: run_folder.RunFolder, path: pathlib.Path, train: dict[str, sparse.csr_array]) -> None:
    """Raises CheckpointError if pairs of the run are missing; runs of earlier versions kept none to look for."""
    if not folder.pairs_file.is_file():
        return
    for (behavior,), had in pl.read_parquet(folder.pairs_file).group_by("behavior", maintain_order=True):
        user, item = had["user"].to_numpy(), had["item"].to_numpy()
        lost = int((np.asarray(train[behavior][user, item]) == 0).sum())
        if lost:
            raise errors.CheckpointError(
                f"{path} lacks {lost:,} of {had.height:,} '{behavior}' pairs that run folder {folder.path} was trained "
                "and tested with: this is not the same log, only longer. Train again."
            )


def _of_known(now: events.Histories, old: np.ndarray, width: int) -> dict[str, moments.Moments]:
    """When pairs of the run's users happened, by their indices in the run."""
    found = {}
    for behavior, of in (now.events or {}).items():
        of = moments.rows(of, old, width)
        keys = np.repeat(of.keys, np.diff(of.ptr))
        found[behavior] = moments.of(now.known[old].astype(np.int64)[keys // width] * width + keys % width, of.seconds)
    return found
