"""``python -m mbjax.data DATASET``: prints what a data set holds; ``--help`` tells the options."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from collections.abc import Sequence

import rich.console

from mbjax import config, errors
from mbjax.cli import guard, help, reading
from mbjax.data import loading, printout, statistics

EXAMPLES = (
    ("data demo", "the funnel that is made up, with nothing to fetch"),
    ("data jd --data.valid=none", "as it is before validation pairs are held out"),
    ("data log.csv --log.behaviors=view,cart,buy --log.user=customer", "a log of your own, as training reads it"),
    ("data log.csv --log.behaviors=view,buy --json", "for a program"),
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
            "data", ("Prints counts, joint behavior patterns and leaks of a data set.", names), EXAMPLES, (also,)
        )
        return 0
    dataset, chosen = read(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)  # the notes say the same
        found = statistics.describe(loading.load(dataset, chosen))
    if "json" in given.options:
        is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        print(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=not is_unicode))
    else:
        printout.show(found, rich.console.Console())
    return 0


def read(given: reading.Given) -> tuple[str, config.DataConfig]:
    """The data set, and the section ``data`` as training takes it.

    Raises:
      ConfigError: an option or value that does not exist or does not fit.
    """
    reading.refuse_unread(given, "data")
    (dataset,) = reading.words(given, "data")
    fields = reading.resolved(given, config.known_fields(config.Section), "data")
    chosen = config.override(_NOTHING, fields).data
    config.dataset_file(dataset, chosen.dirs)  # refuses a name that does not exist
    config.check_read(dataset, chosen.dirs, fields)
    return config.located(dataset, chosen.dirs), chosen


_NOTHING = config.Config(model_name="", dataset="", model=config.Section())
"""Carries the section ``data`` where there is no model."""

if __name__ == "__main__":
    sys.exit(main())
