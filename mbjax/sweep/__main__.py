"""``mbjax sweep``: many settings, chosen by validation; ``--help`` tells the options."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import sys
from collections.abc import Sequence

from mbjax import config, errors
from mbjax.cli import guard, help, options, reading, settings
from mbjax.sweep import axes, proposals
from mbjax.sweep import plan as plans

ABOUT = """\
Trains a model, or several, under many settings: a grid of values, or a search. Validation pairs choose the setting of
each model; the test split is read for that one alone, after all runs, and the summary says so.

The folder of a sweep has a run folder for each setting and seed, which every other command takes; tables of settings
and runs (CSV, Markdown), and for each model a chart of the metric against each field that varied, with a band of the
deviation over seeds. A run that fails is kept and said, and the others go on. With --jobs several go on at once."""
AFTER = """\
Searching
  --search=N tries N settings of each model, so that several models have equal budgets; those given up count. The first
  is the model's own configuration where the space holds it. Where --space is left out, the model's file says what is
  varied, and train.learning_rate is where it says nothing. A range whose ends are ten times apart or more is drawn from
  by its logarithm. A run is given up where its best validation value is below the median of the others at that epoch; a
  grid gives up nothing. A search needs optuna: pip install 'mbjax[search]'.

Within a time
  --minutes=M gives each model so many minutes for all of its runs, one after another: first the settings that it ships
  with, and then others, drawn at random from the same spaces as a search's. A setting is not begun that would not be
  over in time if it took as long as the first; training ends where the time does.

Several at once
  --jobs=N makes N runs at once. A grid gives the same runs in the same order; a search is told later what earlier
  settings came to, and may propose others than with one. Progress is a line for each run; what a run says of itself is
  in jobs/N.log. An interrupt lets all runs save; --resume goes on, with any --jobs.

What a field may be
  Fields that change what is measured (evaluate.*, most of data.*, train.monitor) are given once, for all runs. A value
  with commas of its own stands in brackets: --grid=model.features=(touch,count),(ease,near).
  A field that only some of several models have is left out for the others, and that is said."""
EXAMPLES = (
    (
        "sweep --model=bpr_mf --dataset=demo --grid train.learning_rate=0.001,0.01 --grid seed=0,1,2",
        "two values under three seeds each",
    ),
    (
        "sweep --model=bvae --dataset=jd --search=30 --space=model.dropout_rate=0.3..0.7 --space=kl_cap=0.05..1",
        "thirty settings from two ranges",
    ),
    ("sweep --models=bvae,ease,funnel --dataset=jd --search=20", "equal budgets, each model's own space"),
    ("sweep --model=copf --dataset=jd --grid model.head.alpha=0.1,0.2 --grid seed=0,1 --jobs=auto", "several at once"),
    ("sweep --models=bvae,ease,funnel --dataset=jd --minutes=5 --record", "the same time for each model"),
    ("sweep --resume --workdir=SWEEP", "go on with a sweep that was stopped"),
    ("sweep --resume --workdir=SWEEP --search=60", "more settings of a search that is over"),
    ("compare SWEEP/runs --split=valid --no-tests", "all runs side by side, on validation pairs"),
)
GOES_ON = ("resume", "workdir", "search", "minutes", "jobs", "record", "help")
"""Options that a sweep may be given when it goes on."""


def main(argv: Sequence[str] | None = None) -> int:
    """Goes through a sweep; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_run, argv)


def _run(argv: list[str]) -> int:
    given = reading.read(argv, "sweep")
    if "help" in given.options:
        help.plain("sweep", (ABOUT,), EXAMPLES, (AFTER,))
        return 0
    reading.refuse_unread(given, "sweep")
    resume, jobs = "resume" in given.options, _jobs(given)
    plan = _continued(given) if resume else _new(given)
    members = plans.members(plan, settings.model_class)
    if plan.minutes is not None and jobs != 1:
        raise errors.ConfigError(
            f"--jobs={given.options['jobs']} with --minutes={plan.minutes:g}: minutes are those of runs that have the "
            "machine to themselves. Leave out one of them."
        )
    if plan.search is not None:
        proposals.library()  # says that it is missing before anything is written
    settings.virtual_devices(plan.devices)
    experiment = settings.experiment()
    from mbjax.sweep import going  # late: with JAX and all that runs need

    workdir, record = given.options.get("workdir"), _record(given)
    return going.go(plan, members, workdir, experiment, resume=resume, jobs=jobs, record=record, say=_say)


def _jobs(given: reading.Given) -> int | None:
    """Runs at once; None: as many as fit."""
    return None if given.options.get("jobs") == "auto" else reading.whole(given, "jobs", 1, least=1)


def _record(given: reading.Given) -> bool | pathlib.Path:
    """Whether results files are written, or where."""
    where = given.options.get("record")
    return "record" in given.options and (pathlib.Path(where) if where else True)


def _minutes(given: reading.Given, default: float | None = None) -> float | None:
    """The time of each model."""
    if "minutes" not in given.options:
        return default
    text = given.options["minutes"]
    found = axes.number(text)
    if not 0 < found < math.inf:
        raise errors.ConfigError(f"--minutes={text}: must be a number above 0.")
    return found


def _new(given: reading.Given) -> plans.Plan:
    """The plan that is named whole on the command line."""
    chosen = given.options
    if "model" in chosen and "models" in chosen:
        raise errors.ConfigError(f"--model={chosen['model']} beside --models={chosen['models']}: give one of them.")
    listed = chosen.get("models", chosen.get("model", config.DEFAULT_MODEL))
    models = tuple(dict.fromkeys(part.strip() for part in listed.split(",") if part.strip()))
    if not models:
        raise errors.ConfigError(f"--models={listed}: names no model; give {', '.join(config.model_names())}.")
    dirs = config.read_text(given.fields.get("data.dirs") or "", tuple[str, ...])
    if "dataset" not in chosen:
        raise errors.ConfigError(f"--dataset is missing. Known: {', '.join(config.dataset_names())}. See --help.")
    header = {name: reading.whole(given, name) for name in ("seed", "devices") if name in chosen}
    header |= {name: chosen[name] for name in ("ablation",) if name in chosen}
    for name in models:
        config.check_names(name, chosen["dataset"], dirs, **header)
    known = {}
    for name in models:
        known |= config.known_fields(settings.model_class(name))
    fields = reading.resolved(given, known, "sweep")
    return plans.Plan(
        models,
        config.located(chosen["dataset"], dirs),
        # The sweep may go on from another folder: what is a path must not depend on it.
        {path: _at_home(text, known[path]) for path, text in fields.items()},
        tuple(axes.at_home(text, known, "grid") for text in _all(given, "grid")),
        tuple(axes.at_home(text, known, "space") for text in _all(given, "space")),
        reading.whole(given, "search", least=1),
        _minutes(given),
        **header,
    )


def _all(given: reading.Given, name: str) -> list[str]:
    """The texts of an option that may stand there several times."""
    return given.options[name].split(options.REPEATED[name]) if name in given.options else []


def _at_home(text: str, spec: config.FieldSpec) -> str:
    return config.canonical(text, spec.annotation) if config.holds_paths(spec.annotation) else text


def _continued(given: reading.Given) -> plans.Plan:
    """The plan of the sweep that goes on; a search may have become longer."""
    if "workdir" not in given.options:
        raise errors.ConfigError("--resume needs the sweep: --workdir=SWEEP, as it was printed. See --help.")
    for name in [*given.options, *given.fields]:
        if name not in GOES_ON:
            raise errors.ConfigError(f"--{name} is settled in the sweep that goes on, with --resume; leave it out.")
    plan = plans.read(pathlib.Path(given.options["workdir"]) / "sweep.json")
    search = reading.whole(given, "search", plan.search, least=1)
    if plan.search is None and search is not None:
        raise errors.ConfigError(f"--search={search}: the sweep that goes on is no search; leave it out.")
    if plan.search is not None and search < plan.search:
        raise errors.ConfigError(f"--search={search}: the sweep has {plan.search} settings already; give more.")
    minutes = _minutes(given, plan.minutes)
    if plan.minutes is None and minutes is not None:
        raise errors.ConfigError(f"--minutes={minutes:g}: the sweep that goes on has no limit of time; leave it out.")
    if plan.minutes is not None and minutes < plan.minutes:
        raise errors.ConfigError(f"--minutes={minutes:g}: the sweep has {plan.minutes:g} already; give more.")
    return dataclasses.replace(plan, search=search, minutes=minutes)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
