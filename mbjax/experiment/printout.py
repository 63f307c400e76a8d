"""What a finished run says: tables on standard output, plots in the run folder, a results file on request."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import rich.console

from mbjax import config as configuration
from mbjax import errors, evaluate, files, parallel, parts, paths, probabilities, program, types, wording
from mbjax.data import optimum, synthetic
from mbjax.experiment import anchor_cache, anchors, outcomes, wiring
from mbjax.reporting import plots, results, tables
from mbjax.train import run_folder


def say(text: str) -> None:
    """Prints a line of results."""
    rich.console.Console().print(text, markup=False, highlight=False, soft_wrap=True)


def show(rows: dict[str, outcomes.Table], caption: str, *, ks=None, details: bool = False, among: bool = False) -> None:
    """Prints tables side by side, one block for each behavior."""
    tables.put(rich.console.Console(), tables.per_behavior(rows, ks=ks, details=details, among=among, caption=caption))


def note(text: str) -> None:
    """Prints a line on standard error, which leaves standard output to results."""
    rich.console.Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """As ``note``, for what the user may have to mend."""
    note(f"warning: {text}")


def resumption(workdir: pathlib.Path) -> str:
    """The command that goes on with a run, as the user would type it."""
    return f"{program.command('train')} --resume --workdir={shlex.quote(str(workdir))}"


def interrupted(workdir: pathlib.Path) -> None:
    """Says how a stopped run goes on."""
    say(f"stopped, all saved. Go on with: {resumption(workdir)}")


def references(
    experiment: wiring.Experiment, split: str, behaviors: tuple[str, ...], *, details: bool = False
) -> dict[str, outcomes.Table]:
    """Tables of what needs no training: the anchors asked for, and the known optimum of the planted data.

    One that fails is left out with a line that says so: the run itself is over and sound. ``details`` are those of
    ``evaluate.Evaluator``.
    """
    dataset, config = experiment.dataset, experiment.config
    section = config.evaluate
    asked = {"split": split, "behaviors": behaviors, "details": details}
    asked |= {"ks": section.ks, "mask": section.mask, "groups": section.groups}
    makers: dict[str, Callable[[], types.Model]] = {}
    for name in config.evaluate.anchors:
        # Of a single behavior there are no other behaviors' items: own_items would be popularity once more.
        if name != config.model_name and not (name == "own_items" and dataset.info.num_behaviors == 1):
            makers[name] = functools.partial(anchors.build, name, dataset.info)
    if dataset.info.name == "demo":
        makers["optimum (known)"] = functools.partial(_optimum, config.data.seed, dataset.info)
    # On this host alone: of several only the first prints.
    own = parallel.Placement(config.devices)
    evaluator = functools.cache(lambda: experiment.evaluator(split, behaviors=behaviors, placement=own))
    found = {}
    for name, make in makers.items():
        try:
            measured = functools.partial(_measured, make, dataset, evaluator, groups=section.groups, details=details)
            # The optimum knows more than the pairs.
            use = config.data.cache and name in section.anchors
            found[name] = anchor_cache.recalled(dataset, asked | {"model": name}, measured, use=use, say=note)
        except anchors.UNLUCKY as error:  # it must not cost the run its table
            say(f"{name} is left out of the table: {type(error).__name__}: {error}")
    return found


def _measured(make, dataset, evaluator, **options) -> outcomes.Table:
    return anchors.measure(make(), dataset, evaluator(), **options)


def _optimum(seed: int, info: types.DatasetInfo) -> types.Model:
    _, planted = synthetic.log(seed=seed)
    return optimum.optimum_model(planted, info)


def evaluation(experiment: wiring.Experiment, split: str, where: dict[str, Any], table: outcomes.Table) -> None:
    """Prints the table of a restored run."""
    config = experiment.config
    name, caption = title(config), f"{experiment.dataset.info.name}, {split} split"
    if where["checkpoint"] is not None:
        name = title(config, where["checkpoint"])
        caption += f", checkpoint {where['checkpoint']} at step {where['step']}"
    if any(row.get(kind, {}).get("pairs") for row in table.values() for kind in parts.AMONG):
        caption += (
            ". visited: met through another behavior in training, on the one list; familiar, new: met or not, on lists "
            "of nothing else"
        )
    rows = {name: table} | references(experiment, split, tuple(table), details=True)
    show(rows, caption, ks=config.evaluate.ks, details=True, among=True)
    for line in [*evaluate.unreachable(table), *probabilities.lines(table)]:
        say(line)


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
            chosen = f"{name} {outcome.epochs[name] + 1}" if experiment.is_trained else ""
            rows[title(config, chosen)] = outcome.tables[name]
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
        say(f"chosen on validation pairs: {', '.join(f'{name}={value}' for name, value in outcome.chosen.items())}")
    if outcome.findings:
        record["findings"] = [finding._asdict() for finding in outcome.findings]
    for name in config.evaluate.selections:
        if name in record["selection"]:
            rows[title(config, name)] = record["selection"][name]
    # Before anything else is computed or drawn: nothing that comes after can cost the run its numbers.
    failed: list[errors.WriteError] = []
    with _later(failed):
        files.write_json(folder.path / "results.json", record)
    path = None
    with _later(failed):
        if keep:
            path = results.write(record) if keep is True else _write_to(paths.absolute(keep), record)
    main = next(iter(outcome.tables.values()))
    is_one_of_several = beside is not None
    if not beside:
        beside = {} if beside is None else beside
        beside |= references(experiment, "test", tuple(main))
    if is_one_of_several:
        first = f"ndcg@{config.evaluate.ks[0]}"
        values = [f"{behavior} {row[first]:.4f}" for behavior, row in main.items() if row.get(first) is not None]
        say(f"seed {config.seed}: {tables.title(first)} {', '.join(values)}")
    else:
        _show_final(experiment, outcome, rows | beside, main)
    heading = f"{title(config)} on {experiment.dataset.info.name}"
    with _later(failed):
        names = experiment.dataset.info.behaviors
        plots.per_behavior(main, folder.plots / "per_behavior.png", beside, title=heading, names=names)
        if outcome.reliability:
            _write_curves(outcome.reliability, folder.reliability_file)
            plots.reliability(outcome.reliability, folder.plots / "reliability.png", title=heading, names=names)
    if outcome.reason == "patience":
        waited = wording.count(config.train.patience, "evaluation")
        say(f"ended after {waited} without a better {config.train.monitor} (train.patience)")
    if outcome.reason == "time":
        say(f"ended after {config.train.max_minutes:g} minutes of training and evaluation (train.max_minutes)")
    say(f"run folder: {outcome.workdir} (metrics.csv, plots/, results.json, checkpoints)")
    if path:
        say(f"results file: {path}")
    if failed:
        raise failed[0]


def _show_final(experiment, outcome, rows, main) -> None:
    config = experiment.config
    caption = f"{experiment.dataset.info.name}, test split, all items ranked"
    if experiment.is_trained:
        caption += f"; in brackets: how the epoch was chosen, and which of {len(outcome.rows)}"
        caption += sampled(config)
    if config.evaluate.selections:
        caption += f". Chosen by looking at the test split: {', '.join(config.evaluate.selections)}"
    visited = [row["visited"]["pairs"] for row in main.values() if "visited" in row]
    if any(visited) and not any(row["unvisited"]["pairs"] for row in main.values() if "unvisited" in row):
        caption += ". All held-out pairs are visited: their users had met them through another behavior in training"
    elif any(visited):
        caption += ". visited: pairs that the user had met through another behavior in training"
    elif visited and experiment.dataset.info.num_behaviors > 1:
        caption += ". No user had met a held-out pair through another behavior in training"
    show(rows, caption, ks=config.evaluate.ks[:1], details=True)
    for line in evaluate.unreachable(main):
        say(line)
    if short := probabilities.in_short(main):
        say(f"{short} (plots/reliability.png)")
    for finding in outcome.findings:
        tables.say(rich.console.Console(), *finding)


@contextlib.contextmanager
def _later(failed: list[errors.WriteError]) -> Iterator[None]:
    """Keeps the error of a file that could not be written until the tables are on the screen."""
    try:
        yield
    except errors.WriteError as error:
        failed.append(error)


def title(config: configuration.Config, *details: str) -> str:
    """What a table calls a run, with details in brackets."""
    backbone = getattr(config.model, "backbone", None)
    return tables.model_title(config.model_name, *details, backbone=getattr(backbone, "name", None))


def sampled(config: configuration.Config) -> str:
    """For the caption of a trained model's table: that its epoch was judged by some users; empty if it was by all."""
    number = config.evaluate.sample_users
    return f"; epochs were judged by {wording.count(number, 'sampled user')} of each behavior" if number else ""


def _write_curves(curves: dict[str, pl.DataFrame], path: pathlib.Path) -> None:
    named = [curve.select(pl.lit(behavior).alias("behavior"), pl.all()) for behavior, curve in curves.items()]
    files.replace(path, lambda temporary: pl.concat(named).write_csv(temporary))


def _write_to(path: pathlib.Path, chosen: dict[str, Any]) -> pathlib.Path:
    if path.suffix != ".json":
        return results.write(chosen, path)
    files.make_folder(path.parent)
    return files.write_json(path, chosen, "the results file")
