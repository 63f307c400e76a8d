"""A run of which only validation is asked: one of many settings that are tried, of which the test split sees one."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import time

import jax

from mbjax import config as configuration
from mbjax import data, errors, files
from mbjax.experiment import folders, outcomes, run, runs, wiring
from mbjax.reporting import results, selections
from mbjax.train import logging, run_folder


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a run came to on validation pairs.

    Attributes:
      reason: ``"finished"``, ``"patience"``, ``"time"``, ``"given up"`` or ``"signal"`` (it can go on).
      value: the monitored one at the best epoch; of a model without training that of its only state. None after a
        signal.
      epoch: the best one; None without training.
      table: of validation pairs at that epoch, behavior -> metrics.
      seconds: of training and evaluation.
      fingerprint: of the data set.
    """

    reason: str
    value: float | None = None
    epoch: int | None = None
    table: outcomes.Table = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    fingerprint: str = ""


def attempt(
    config: configuration.Config,
    workdir: pathlib.Path,
    *,
    resume: bool = False,
    dataset: data.Dataset | None = None,
    watch: run.Watch | None = None,
    began: float | None = None,
) -> Trial:
    """Trains in a run folder and reads validation pairs only; ``tested`` reads the others, once that is decided.

    Args:
      config: of the honest protocol, with validation pairs.
      workdir: the run folder.
      resume: go on from the last checkpoint of the folder, if a run was begun there.
      dataset: instead of the one that the configuration names.
      watch: may give the run up.
      began: by ``time.perf_counter``; what has passed since then before the first step counts toward
        ``train.max_minutes``, too.

    Raises:
      MbjaxError: see ``mbjax.errors``; of an IncompatibleError, there are no validation pairs.
    """
    resume = resume and run_folder.RunFolder(workdir).has_run()
    if resume:
        dataset = runs.as_trained(run_folder.RunFolder(workdir), config, dataset)
    made = run.Run(wiring.plan(config, dataset))
    if made.split != "valid":
        raise errors.IncompatibleError(
            "settings are chosen on validation pairs: protocol 'honest', and a data.valid that holds pairs out."
        )
    made.experiment.evaluator("valid")  # refuses a data set without such pairs, before anything is written
    stopped = []

    def told(epoch: int, value: float) -> bool:
        stopped.append(watch is not None and watch(epoch, value))
        return stopped[-1]

    made.watch = told
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(folders.claimed(config, workdir, resume))
        stack.callback(made.close)
        made.open(folder, resume)
        made.before = 0.0 if began is None else time.perf_counter() - began
        reason = made.fit()
        if reason == "signal":
            return Trial(reason)
        return _judged(made, "given up" if stopped and stopped[-1] else reason)


def _judged(made: run.Run, reason: str) -> Trial:
    experiment, config = made.experiment, made.config
    made.log.finish(experiment.dataset.info.behaviors)
    fingerprint = experiment.dataset.fingerprint
    if not experiment.is_trained:
        found = experiment.evaluator("valid")(experiment.model, made.state.params, experiment.graphs_for("valid"))
        value = selections.monitored(found.table, config.train.monitor, config.evaluate.ks[0])
        return Trial(reason, value, None, found.table, found.seconds, fingerprint)
    rows, best = made.log.rows(), made.keeper.best
    table = next((row["valid"] for row in rows if row["epoch"] == best.epoch), {})
    seconds = sum(row["seconds"] + row.get("eval_seconds", 0.0) for row in rows)
    return Trial(reason, best.value, best.epoch, table, seconds, fingerprint)


def load_data(config: configuration.Config) -> data.Dataset:
    """The data set that a configuration names, for several runs on it. Raises DataError."""
    return data.load(config.dataset, config.data)


def tested(workdir: pathlib.Path, *, dataset: data.Dataset | None = None) -> outcomes.Table:
    """The test table of a run that ``attempt`` trained, at the epoch that validation chose; writes its results.json.

    Args:
      workdir: the run folder.
      dataset: instead of the one that the run names.

    Raises:
      CheckpointError: no sound checkpoint, or other data. WriteError.
    """
    experiment, params, _ = runs.restore(workdir, dataset=dataset)
    folder, config = run_folder.RunFolder(workdir), runs.read_config(workdir)
    evaluator = experiment.evaluator("test")
    graphs, groups = experiment.graphs_for("test", evaluator.users), config.evaluate.groups
    found = evaluator(experiment.model, params, graphs, groups=groups, details=True)
    rows = logging.read_rows(folder.metrics_file) if experiment.is_trained else []
    best = selections.best_row(rows, "valid", config.train.monitor, config.evaluate.ks[0])
    total = sum(row["seconds"] + row.get("eval_seconds", 0.0) for row in rows)
    record = results.record(
        config,
        experiment.dataset,
        rows,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        tables={"valid": (best["epoch"], found.table)} if best else {"last": (0, found.table)},
        seconds={"test_pass": found.seconds, "total": total},
    )
    if chosen := folder.chosen():
        record["chosen"] = chosen
    files.write_json(folder.results_file, record)
    return found.table
