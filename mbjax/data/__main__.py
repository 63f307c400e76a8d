"""``python -m mbjax.data DATASET``: what a data set holds and what its split asks for; ``--help`` tells the options."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import rich.console

from mbjax import compilation, config, errors, paths, wording
from mbjax.cli import guard, help, reading
from mbjax.data import content, loading, log_cache, prepared, printout, statistics
from mbjax.data import dataset as datasets

EXAMPLES = (
    ("data demo", "the funnel that is made up, with nothing to fetch"),
    ("data jd --data.valid=none", "as it is before validation pairs are held out"),
    ("data log.csv --log.behaviors=view,cart,buy --log.user=customer", "a log of your own, as training reads it"),
    ("data log.csv --log.behaviors=view,buy --no-anchors --json", "counts only, for a program"),
    ("data log.csv --log.behaviors=view,buy --write=shop", "the log split once and for all, as a folder to train on"),
    ("data --clear-cache", "forget the logs that were kept as they were split"),
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
    if "clear-cache" in given.options:
        return _clear(given)
    if "write" in given.options:
        return _write(given)
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


def _write(given: reading.Given) -> int:
    """Writes the data set as a prepared folder."""
    settings = read(given)
    others = [f"--{name}" for name in given.options if name not in ("write", "data-dir")]
    others += [f"--{key}" for key in given.fields if not _decides(key)]
    if others:
        raise errors.ConfigError(
            f"--write takes what is split off the files and prints no tables; leave out {others[0]}."
        )
    folder = pathlib.Path(given.options["write"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.ConfigError(f"--write={folder}: stands there already and is not empty. Choose another name.")
    found = loading.read(settings.dataset, settings.data)
    prepared.write(found, folder)
    pairs = sum(keys.size for split in content.PUBLISHED_SPLITS for keys in found.keys.get(split, {}).values())
    size = f"{wording.count(pairs, 'pair')} of {wording.count(found.num_users, 'user')}"
    for line in (*found.notes, f"written: {paths.short(folder)} ({size}; fingerprint {found.fingerprint()[:12]})"):
        print(line)
    return 0


def _decides(key: str) -> bool:
    """Whether a field of the section data has a say in what is written."""
    path = config.resolve(key, config.known_fields(config.Section))
    return path.startswith("data.log.") or path in ("data.dirs", "data.download", "data.cache", "data.seed")


def _clear(given: reading.Given) -> int:
    """Empties the cache of logs."""
    others = [*given.words, *(f"--{name}" for name in {**given.options, **given.fields} if name != "clear-cache")]
    if others:
        raise errors.ConfigError(f"--clear-cache goes with nothing else; leave out {others[0]}.")
    number, size = log_cache.clear()
    print(f"{wording.count(number, 'log')} removed from the cache ({log_cache.shown(size)} in {log_cache.folder()})")
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
