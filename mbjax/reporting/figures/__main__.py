"""``mbjax figures NAME DATASET|RUN...``: a figure of a paper on any data set; ``--help`` tells which there are."""

from __future__ import annotations

import importlib
import pathlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import rich.console

from mbjax import compilation, errors, paths
from mbjax.cli import guard, help, reading
from mbjax.reporting import figures, tables

ABOUT = """\
Draws a figure of a paper on any data set, and writes its numbers beside it: NAME.png and NAME.csv.

{kinds}

What is drawn over a setting, such as the layers of COPF, its temperature or the size of BVAE's latent, is a sweep:
`{sweep} --model=copf --dataset=taobao --grid model.contrastive.temperature=0.1,0.3,0.5,0.8`, of which 'settings' draws
all behaviors on validation pairs; of results files it draws the test split."""
EXAMPLES = (
    ("figures histogram jd", "of a data set"),
    ("figures purchases runs/bvae-jd-seed0 runs/funnel-jd-seed0 --metric=ndcg@5", "of runs on one data set"),
    ("figures settings runs/sweep-bvae-jd --metric=ndcg@5", "of a sweep, or of results files"),
    ("figures conflict runs/copf-taobao-seed0 --out=docs", "of a model with several tasks"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws a figure; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_run, argv)


def _run(argv: list[str]) -> int:
    from mbjax import program

    given = reading.read(argv, "figures")
    if "help" in given.options:
        kinds = "\n".join(f"  {name:<12} {kind.of:<8} {kind.meaning}" for name, kind in figures.KINDS.items())
        help.plain("figures", (ABOUT.format(kinds=kinds, sweep=program.command("sweep")),), EXAMPLES)
        return 0
    name, *words = reading.words(given, "figures")
    if name not in figures.KINDS:
        raise errors.unknown("figure", name, figures.KINDS)
    kind = figures.KINDS[name]
    reading.refuse_unread(given, "figures")
    options = _options(given, name, kind)
    if kind.of == "DATASET":
        drawn = _function(kind)(_dataset(given, name, words))
    else:
        if given.fields:
            first = next(iter(given.fields))
            raise errors.ConfigError(f"--{first}: a figure of runs takes their data sets as they were trained on.")
        compilation.keep()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.DataWarning)  # training has said it
            drawn = _function(kind)([pathlib.Path(paths.absolute(word)) for word in words], **options)
    from mbjax.reporting.figures import drawing

    out = rich.console.Console(highlight=False)
    rows = [tuple(row.values()) for row in drawn.table.to_dicts()]
    tables.say(out, drawn.title, tuple(drawn.table.columns), rows, drawn.note)
    for path in drawing.write(drawn, pathlib.Path(given.options.get("out") or paths.absolute("figures")), name):
        out.print(f"written: {path}", markup=False, soft_wrap=True)
    return 0


def _options(given: reading.Given, name: str, kind: figures.Kind) -> dict[str, Any]:
    """What is typed for figures of a metric."""
    found: dict[str, Any] = {}
    for option, places in (("metric", ("of_users", "of_settings:settings")), ("groups", ("of_users",))):
        if option in given.options and not kind.place.startswith(places):
            able = ", ".join(name for name, kind in figures.KINDS.items() if kind.place.startswith(places))
            raise errors.ConfigError(f"--{option}: '{name}' has none; it is for {able}.")
    if "metric" in given.options:
        text = given.options["metric"].lower()
        if not text.partition("@")[2].isdecimal() or int(text.partition("@")[2]) < 1:
            raise errors.ConfigError(f"--metric={text}: a name and a cut-off, such as ndcg@10.")
        found["metric"] = text
    if "groups" in given.options:
        found["groups"] = reading.whole(given, "groups", least=2)
    return found


def _function(kind: figures.Kind):
    module, _, function = kind.place.partition(":")
    return getattr(importlib.import_module(f"mbjax.reporting.figures.{module}"), function)


def _dataset(given: reading.Given, name: str, words: list[str]):
    from mbjax import config
    from mbjax.data import loading

    if len(words) > 1:
        raise errors.ConfigError(f"unexpected '{words[1]}': '{name}' is of one data set.")
    fields = reading.resolved(given, config.known_fields(config.Section), "figures")
    settings = config.load("popularity", words[0], config.Section, overrides=fields)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)
        return loading.load(settings.dataset, settings.data)


if __name__ == "__main__":
    sys.exit(main())
