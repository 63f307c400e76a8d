"""A training: a run in its folder, from its configuration to the final tables."""

from __future__ import annotations

import contextlib
import pathlib

from mbjax import config as configuration
from mbjax import data, files, hosts
from mbjax.experiment import closing, folders, outcomes, run, runs, wiring
from mbjax.reporting import printout
from mbjax.train import run_folder


def train(
    config: configuration.Config,
    workdir: pathlib.Path | None = None,
    *,
    resume: bool = False,
    record: bool | pathlib.Path = False,
    dataset: data.Dataset | None = None,
) -> outcomes.Outcome:
    """Runs an experiment in a run folder.

    Args:
      config: from ``mbjax.config.load``.
      workdir: the run folder; None names one under ``runs/`` after the configuration.
      resume: go on from the last checkpoint of the folder.
      record: write a results file, to the default place or to the given one.
      dataset: instead of the one that the configuration names.

    Raises:
      MbjaxError: see ``mbjax.errors``; nothing half-written is left behind.
    """
    folders.check(config, workdir, resume)
    if resume and workdir is not None and run_folder.RunFolder(workdir).has_run():
        dataset = runs.as_trained(run_folder.RunFolder(workdir), config, dataset)
    made = run.Run(wiring.plan(config, dataset))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(folders.claimed(config, workdir, resume))
        stack.enter_context(files.then(f"go on with `{printout.resumption(folder.path)}`"))
        stack.callback(made.close)
        made.open(folder, resume)
        reason = made.fit()
        outcome = None if reason == "signal" else made.conclude(reason)
        if outcome is not None and hosts.is_first():
            closing.final(made.experiment, outcome, record)
    if outcome is None:
        printout.interrupted(folder.path)
        return outcomes.Outcome(folder.path, reason, {}, {}, made.log.rows())
    return outcome
