"""The end of a run and of an evaluation: its tables, plots in the run folder, a results file on request."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import polars as pl

from mbjax import errors, evaluate, files, kinds, probabilities, wording
from mbjax.experiment import outcomes, references, wiring
from mbjax.reporting import printout, results, tables
from mbjax.train import run_folder


def evaluation(experiment: wiring.Experiment, split: str, where: dict[str, Any], table: outcomes.Table) -> None:
    """Prints the table of a restored run."""
    config = experiment.config
    name, caption = printout.title(config), f"{experiment.dataset.info.name}, {split} split"
    if where["checkpoint"] is not None:
        name = printout.title(config, where["checkpoint"])
        caption += f", checkpoint {where['checkpoint']} at step {where['step']}"
    if any(row.get(kind, {}).get("pairs") for row in table.values() for kind in kinds.AMONG):
        caption += (
            ". visited: met through another behavior in training, on the one list; familiar, new: met or not, on lists "
            "of nothing else"
        )
    rows = {name: table} | references.measured(experiment, split, tuple(table), details=True)
    printout.show(rows, caption, ks=config.evaluate.ks, details=True, among=True)
    for line in [*evaluate.unreachable(table), *probabilities.lines(table)]:
        printout.say(line)


def final(
    experiment: wiring.Experiment,
    outcome: outcomes.Outcome,
    keep: bool | pathlib.Path,
    *,
    beside: dict[str, outcomes.Table] | None = None,
) -> None:
    """Prints the final tables and says where the rest lies.

    Args:
      experiment: that was run.
      outcome: what it came to.
      keep: whether to write a results file too, or where.
      beside: of a run that is one of several seeds, what stands beside all of them, filled by the first; such a run
        gets one line in place of tables.

    Raises:
      WriteError: a results file could not be written; the tables are printed all the same.
    """
    config, folder = experiment.config, run_folder.RunFolder(outcome.workdir)
    rows = {}
    for name in ("valid", "last"):
        if name in outcome.tables:
            # As the lines of progress count them; in records and rows the first epoch is 0.
            chosen = f"{name} {outcome.epochs[name] + 1}" if outcome.rows else ""
            rows[printout.title(config, chosen)] = outcome.tables[name]
    record = results.record(
        config,
        experiment.dataset,
        outcome.rows,
        parameters=outcome.parameters,
        tables={name: (outcome.epochs[name], table) for name, table in outcome.tables.items()},
        seconds=outcome.seconds,
        commit=outcome.commit,
    )
    if outcome.chosen:
        record["chosen"] = dict(outcome.chosen)
        printout.say(
            f"chosen on validation pairs: {', '.join(f'{name}={value}' for name, value in outcome.chosen.items())}"
        )
    if outcome.findings:
        record["findings"] = [finding._asdict() for finding in outcome.findings]
    for name in config.evaluate.selections:
        if name in record["selection"]:
            rows[printout.title(config, name)] = record["selection"][name]
    # Before anything else is computed or drawn: nothing that comes after can cost the run its numbers.
    failed: list[errors.WriteError] = []
    with _later(failed):
        files.write_json(folder.results_file, record)
    path = None
    with _later(failed):
        if keep:
            path = results.put(record, keep)
    main = next(iter(outcome.tables.values()))
    is_one_of_several = beside is not None
    if not beside:
        beside = {} if beside is None else beside
        beside |= references.measured(experiment, "test", tuple(main))
    if is_one_of_several:
        first = f"ndcg@{config.evaluate.ks[0]}"
        values = [f"{behavior} {row[first]:.4f}" for behavior, row in main.items() if row.get(first) is not None]
        printout.say(f"seed {config.seed}: {tables.title(first)} {', '.join(values)}")
    else:
        epochs = len(outcome.rows) or None
        info = experiment.dataset.info
        number = record["protocol"].get("sample_users", 0)
        printout.final(config, info, rows | beside, epochs=epochs, sample_users=number, findings=outcome.findings)
    heading = f"{printout.title(config)} on {experiment.dataset.info.name}"
    with _later(failed):
        from mbjax.reporting import plots  # here: importing it takes a second, for which training would wait

        names = experiment.dataset.info.behaviors
        plots.per_behavior(main, folder.plots / "per_behavior.png", beside, title=heading, names=names)
        if outcome.reliability:
            _write_curves(outcome.reliability, folder.reliability_file)
            plots.reliability(outcome.reliability, folder.plots / "reliability.png", title=heading, names=names)
    if outcome.reason == "patience":
        waited = wording.count(config.train.patience, "evaluation")
        printout.say(f"ended after {waited} without a better {config.train.monitor} (train.patience)")
    if outcome.reason == "time":
        printout.say(f"ended after {config.train.max_minutes:g} minutes of training and evaluation (train.max_minutes)")
    # A model without epochs has no checkpoints: it is made again from the data.
    parts = {
        "metrics.csv": folder.csv_file.is_file(),
        "plots/": folder.plots.is_dir(),
        "results.json": folder.results_file.is_file(),
        "checkpoints": any(run_folder.checkpoint_steps(place) for place in (folder.best, folder.last)),
    }
    printout.say(f"run folder: {outcome.workdir} ({', '.join(name for name, is_there in parts.items() if is_there)})")
    if path:
        printout.say(f"results file: {path}")
    if failed:
        raise failed[0]


@contextlib.contextmanager
def _later(failed: list[errors.WriteError]) -> Iterator[None]:
    """Keeps the error of a file that could not be written until the tables are on the screen."""
    try:
        yield
    except errors.WriteError as error:
        failed.append(error)


def _write_curves(curves: dict[str, pl.DataFrame], path: pathlib.Path) -> None:
    named = [curve.select(pl.lit(behavior).alias("behavior"), pl.all()) for behavior, curve in curves.items()]
    files.replace(path, lambda temporary: pl.concat(named).write_csv(temporary))
