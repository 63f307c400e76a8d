"""What a finished run says: tables on standard output, plots in the run folder, a results file on request."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import jax
import rich.console

from mbjax import models, results, tables
from mbjax.data import optimum, synthetic
from mbjax.experiment import wiring
from mbjax.train import plots, run_folder

if TYPE_CHECKING:
    from mbjax.experiment import training

Table = dict[str, dict[str, Any]]


def say(text: str) -> None:
    """Prints a line of results."""
    rich.console.Console().print(text, markup=False, highlight=False, soft_wrap=True)


def show(rows: dict[str, Table], caption: str, *, ks=None, details: bool = False) -> None:
    """Prints tables side by side, one block for each behavior."""
    rich.console.Console().print(tables.per_behavior(rows, ks=ks, details=details, caption=caption))


def interrupted(workdir: pathlib.Path) -> None:
    """Says how a stopped run goes on."""
    say(f"stopped, all saved. Go on with: python train.py --resume --workdir={workdir}")


def references(experiment: wiring.Experiment, split: str, behaviors: tuple[str, ...]) -> dict[str, Table]:
    """Tables of what needs no training: popularity, and the known optimum of the planted data."""
    dataset = experiment.dataset
    rows = {}
    if experiment.config.model_name != "popularity":
        rows["popularity"] = models.MODELS["popularity"].build(models.popularity.PopularityConfig(), dataset.info, 0)
    if dataset.info.name == "demo":
        _, planted = synthetic.log(seed=experiment.config.data.seed)
        rows["optimum (known)"] = optimum.optimum_model(planted, dataset.info)
    groups = experiment.config.evaluate.groups
    evaluator = experiment.evaluator(split, behaviors=behaviors)
    found = {}
    for name, model in rows.items():
        graphs = wiring.graphs_of(model, dataset)
        found[name] = evaluator(model, model.init(jax.random.key(0), graphs), graphs, groups=groups).table
    return found


def evaluation(experiment: wiring.Experiment, split: str, where: dict[str, Any], table: Table) -> None:
    """Prints the table of a restored run."""
    config = experiment.config
    name = f"{config.model_name} ({where['checkpoint']})"
    caption = f"{experiment.dataset.info.name}, {split} split, checkpoint {where['checkpoint']} at step {where['step']}"
    show({name: table} | references(experiment, split, tuple(table)), caption, ks=config.evaluate.ks, details=True)


def final(experiment: wiring.Experiment, outcome: training.Outcome, record: bool | pathlib.Path) -> None:
    """Prints the final tables and says where the rest lies."""
    config, folder = experiment.config, run_folder.RunFolder(outcome.workdir)
    rows = {}
    for name in ("valid", "last"):
        if name in outcome.tables:
            label = (
                f"{config.model_name} ({name} {outcome.epochs[name]})" if experiment.is_trained else config.model_name
            )
            rows[label] = outcome.tables[name]
    chosen = results.record(
        config,
        experiment.dataset,
        outcome.rows,
        parameters=outcome.parameters,
        tables={name: (outcome.epochs[name], table) for name, table in outcome.tables.items()},
        seconds=outcome.seconds,
        commit=outcome.commit,
    )
    for name in config.evaluate.selections:
        if name in chosen["selection"]:
            rows[f"{config.model_name} ({name})"] = chosen["selection"][name]
    main = outcome.tables.get("valid", outcome.tables["last"])
    beside = references(experiment, "test", tuple(main))
    caption = f"{experiment.dataset.info.name}, test split, all items ranked"
    if experiment.is_trained:
        caption += "; in brackets: how the epoch was chosen, and the epoch"
    if config.evaluate.selections:
        caption += f". Chosen by looking at the test split: {', '.join(config.evaluate.selections)}"
    show(rows | beside, caption, ks=config.evaluate.ks[:1])
    plots.per_behavior(
        main, folder.plots / "per_behavior.png", beside, title=f"{config.model_name} on {experiment.dataset.info.name}"
    )
    folder.write_json(folder.path / "results.json", chosen)
    say(f"run folder: {outcome.workdir} (metrics.csv, plots/, results.json, checkpoints)")
    if record:
        path = results.write(chosen) if record is True else _write_to(pathlib.Path(record), chosen)
        say(f"results file: {path}")


def _write_to(path: pathlib.Path, chosen: dict[str, Any]) -> pathlib.Path:
    if path.suffix != ".json":
        return results.write(chosen, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    run_folder.RunFolder(path.parent).write_json(path, chosen)
    return path
