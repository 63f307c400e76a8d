"""``mbjax train`` and ``train.py``: a configuration from names, files and options, and a run made of it."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Mapping, Sequence

from mbjax import clusters, config, errors, hosts, program
from mbjax import seeds as seed_folders
from mbjax.cli import guard, help, options, reading, settings

OWN_FOLDERS = ("dataset", "data.dirs", "data.cache", "train.init_from")
"""What may have other names on other hosts: what lies there is compared."""


def main(argv: Sequence[str] | None = None) -> int:
    """Trains; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_train, argv)


def _train(argv: list[str]) -> int:
    command_line = reading.read(argv, *options.TRAINING)
    given = command_line.options
    if "help" in given:
        help.train(given, command_line.fields, settings.model_class)
        return 0
    workdir = pathlib.Path(given["workdir"]) if "workdir" in given else None
    seeds = _seeds(given, workdir)
    is_settled = "resume" in given and workdir is not None and _is_of_run(given, workdir)
    # With a data set everything is said again, and the run folder compares it.
    if is_settled:
        given.pop("model", None)  # it is the run's own
    modes = ["resume" if is_settled else "train"] + (["retrain"] if "retrain" in given else [])
    reading.refuse_unread(command_line, *modes)
    if is_settled:
        settled = seed_folders.settled(workdir)
        chosen = settings.of_run(settled or workdir, command_line, *modes)
    else:
        chosen = _new(command_line, modes)
    if "retrain" in given and (chosen.protocol != "honest" or chosen.data.valid in ("none", "into_train")):
        raise errors.ConfigError(
            "--retrain goes on from an epoch that validation pairs chose: it needs --protocol=honest and a data.valid "
            "that holds pairs out."
        )
    if "retrain" in given:
        settings.check_chosen(chosen)
    if not is_settled and "model" not in given:
        _say_default(chosen)
    settings.virtual_devices(chosen.devices)
    cluster = clusters.find(*(given.get(name) for name in ("coordinator", "hosts", "host")))
    with clusters.joined(cluster):
        if cluster is not None:
            _check_hosts(given, chosen, seeds)
        return _work(given, chosen, workdir, seeds)


def _work(
    given: Mapping[str, str], chosen: config.Config, workdir: pathlib.Path | None, seeds: tuple[int, ...] | None
) -> int:
    experiment = settings.experiment()
    record = pathlib.Path(given["record"]) if given.get("record") else "record" in given
    if seeds is not None:
        options = {"resume": "resume" in given, "retrain": "retrain" in given, "record": record}
        return experiment.train_seeds(chosen, seeds, workdir, **options).exit_code
    outcome = experiment.train(chosen, workdir, resume="resume" in given, record=record)
    if "retrain" in given and outcome.reason != "signal":
        outcome = experiment.retrain(chosen, outcome, record=record)
    return outcome.exit_code


def _check_hosts(given: Mapping[str, str], chosen: config.Config, seeds: tuple[int, ...] | None) -> None:
    """Raises ConfigError if hosts that are to train one model were told different things; folders may differ."""
    ways = {f"--{name}": str(name in given) for name in ("resume", "retrain", "record")} | {"--seeds": str(seeds)}
    fields = {name: value for name, value in (chosen.header() | chosen.values()).items() if name not in OWN_FOLDERS}
    hosts.check_alike(ways | {name: str(value) for name, value in fields.items()})


def _is_of_run(given: Mapping[str, str], workdir: pathlib.Path) -> bool:
    """Whether the run to go on with says what is left out: nothing is named, or its own model alone.

    Raises:
      ConfigError: it is of another model.
    """
    if "model" not in given or "dataset" in given:
        return "model" not in given
    own = settings.model_of(seed_folders.settled(workdir) or workdir)
    if own not in (None, given["model"]):
        raise errors.ConfigError(f"--model={given['model']}: the run in '{workdir}' is of {own}. Leave --model out.")
    return own is not None


def _seeds(given: Mapping[str, str], workdir: pathlib.Path | None) -> tuple[int, ...] | None:
    """The seeds that are named or, where their folder goes on, stand in it; None: there is one run.

    Raises:
      ConfigError: they are no whole numbers, stand beside a seed, or are asked of a run that is alone.
    """
    stored = seed_folders.read(workdir) if workdir is not None and "resume" in given else None
    if "seeds" not in given:
        return stored
    text = given["seeds"]
    if "seed" in given:
        raise errors.ConfigError(f"--seed={given['seed']} beside --seeds={text}: give one of them.")
    if workdir is not None and "resume" in given and stored is None:
        raise errors.ConfigError(f"--seeds={text}: '{workdir}' is no folder of seeds; leave it out.")
    seeds = tuple(int(part) if part.strip().isdecimal() else -1 for part in text.split(","))
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise errors.ConfigError(f"--seeds={text}: must be different whole numbers from 0 upwards, such as 0,1,2.")
    return seeds


def _new(command_line: reading.Given, modes: Sequence[str]) -> config.Config:
    """The configuration of a run that is named whole on the command line."""
    given = command_line.options
    dirs = config.read_text(command_line.fields.get("data.dirs") or "", tuple[str, ...])
    header = {name: reading.whole(command_line, name) for name in ("seed", "devices") if name in given}
    header |= {name: given[name] for name in ("protocol", "ablation") if name in given}
    if "model" not in given and "resume" in given:
        raise errors.ConfigError("--resume needs the run: --workdir=RUN, as training printed it. See --help.")
    model = given.get("model", config.DEFAULT_MODEL)
    config.check_names(model, given.get("dataset"), dirs, **header)
    if "dataset" not in given:
        known = ", ".join(config.dataset_names())
        raise errors.ConfigError(f"--dataset is missing. Known: {known}. See --help.")
    section = settings.model_class(model)
    fields = reading.resolved(command_line, config.known_fields(section), *modes)
    return config.load(model, given["dataset"], section, overrides=fields, **header)


def _say_default(chosen: config.Config) -> None:
    """Which model is trained where none was named; on standard error, which leaves standard output to results."""
    summary = config.model_file(chosen.model_name).get("summary", "")
    print(
        f"model: {chosen.model_name} ({summary}), since none was named. "
        f"--model=NAME takes another, {program.command('train')} --help lists them.",
        file=sys.stderr,
    )
