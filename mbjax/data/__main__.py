"""``python -m mbjax.data DATASET``: what a data set holds and what its split asks for; ``--help`` tells the options."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import rich.console

from mbjax import compilation, config, errors
from mbjax.cli import guard, help, reading
from mbjax.data import dataset as datasets
from mbjax.data import loading, printout, statistics

EXAMPLES = (
    ("data demo", "the funnel that is made up, with nothing to fetch"),
    ("data jd --data.valid=none", "as it is before validation pairs are held out"),
    ("data log.csv --log.behaviors=view,cart,buy --log.user=customer", "a log of your own, as training reads it"),
    ("data log.csv --log.behaviors=view,buy --no-anchors --json", "counts only, for a program"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints statistics of a data set; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_show, argv)


def _show(argv: list[str]) -> int:
    given = reading.read(argv, "data")
    if "help" in given.options:
        names = f"DATASET: {', '.join(config.dataset_names())}, or the path of a folder or log."
        fields = [path for path in config.known_fields(config.Section) if path.startswith("data.")]
        also = f"These are --{', --'.join(fields)}."
        help.plain(
            "data",
            (
                "Prints counts, joint behavior patterns and leaks of a data set, what its split asks for, and what "
                "lists without learning reach.",
                names,
            ),
            EXAMPLES,
            (also,),
        )
        return 0
    split = reading.choice(given, "split", ("valid", "test"), "valid")
    settings = read(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)  # the notes say the same
        dataset = loading.load(settings.dataset, settings.data)
    found, k = statistics.describe(dataset), settings.evaluate.ks[0]
    console = rich.console.Console()
    is_json, has_anchors = "json" in given.options, "no-anchors" not in given.options
    if not is_json:
        printout.show(found, console)
        if has_anchors:
            printout.begin_anchors(console, split)
    anchors, why = _anchors(dataset, split, k) if has_anchors else ({}, "")
    if is_json:
        measured = {"split": split, "k": k, "tables": anchors, "missing": why} if has_anchors else None
        is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        print(json.dumps(dataclasses.asdict(found) | {"anchors": measured}, indent=1, ensure_ascii=not is_unicode))
    elif why:
        console.print(why, highlight=False, markup=False, soft_wrap=True)
    elif has_anchors:
        printout.show_anchors(console, anchors, dataset.info.behaviors, k)
    return 0


def _anchors(dataset: datasets.Dataset, split: str, k: int) -> tuple[dict[str, Any], str]:
    """Name -> table of what needs no learning, or what went wrong; and why there are none."""
    if not getattr(dataset, split):
        other = " (--split=test measures on test pairs)" if split == "valid" and dataset.test else ""
        return {}, f"There are none: {dataset.empty.get(split, 'the data set has none')}{other}."
    from mbjax import experiment  # late: counts need none of it

    compilation.keep()
    return dict(experiment.without_learning(dataset, split, k)), ""


def read(given: reading.Given) -> config.Config:
    """The data set and its settings as training takes them.

    Raises:
      ConfigError: an option or value that does not exist or does not fit.
    """
    reading.refuse_unread(given, "data")
    (dataset,) = reading.words(given, "data")
    fields = reading.resolved(given, config.known_fields(config.Section), "data")
    return config.load("popularity", dataset, config.Section, overrides=fields)  # a model without settings


if __name__ == "__main__":
    sys.exit(main())
