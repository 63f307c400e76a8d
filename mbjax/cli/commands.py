"""``mbjax COMMAND``: the commands, what the program says of itself, and the way from one to its own module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import mbjax
from mbjax import errors, program
from mbjax.cli import guard, help

COMMANDS = {
    "train": ("mbjax.cli.train:main", "train a model, evaluate it, keep a run folder"),
    "sweep": ("mbjax.sweep.__main__:main", "train under many settings, chosen by validation; a grid or a search"),
    "eval": ("mbjax.cli.evaluate:main", "measure a run again: other cut-offs, masks, splits, per user"),
    "recommend": ("mbjax.cli.evaluate:recommend_main", "write ranked lists of a run"),
    "explain": ("mbjax.explain:main", "say which of a user's items speak for an item, and how much"),
    "data": ("mbjax.data.__main__:main", "show what a data set holds"),
    "compare": ("mbjax.reporting.compare.__main__:main", "put runs side by side, with paired tests"),
    "figures": ("mbjax.reporting.figures.__main__:main", "draw a figure of a paper, of a data set or of runs"),
    "bench": ("mbjax.bench.__main__:main", "time a model on this machine"),
    "results": ("mbjax.reporting.results:main", "write result tables into Markdown files"),
    "completion": ("mbjax.cli.completion:main", "print a script for the TAB key of bash"),
}
"""Command -> where its program is, which takes the words after the command, and one line on it."""


def main(argv: Sequence[str] | None = None) -> int:
    """The program ``mbjax``; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in COMMANDS:
        module, _, name = COMMANDS[given[0]][0].partition(":")
        return getattr(importlib.import_module(module), name)(given[1:])
    return guard.run(_overview, given)


def _overview(argv: list[str]) -> int:
    if not argv or argv[0] in ("--help", "-h", "help"):
        if len(argv) > 1 and argv[0] == "help" and argv[1] in COMMANDS:
            return main([argv[1], "--help"])
        help.overview({name: meaning for name, (_, meaning) in COMMANDS.items()})
        return 0
    if argv[0] in ("--version", "-V"):
        print(f"mbjax {mbjax.__version__}")
        return 0
    if argv[0].startswith("-"):
        name = argv[0].partition("=")[0]
        example = f"{program.command('train')} {name}"
        raise errors.ConfigError(f"'{name}': options stand behind a command, such as {example}. See --help.")
    raise errors.unknown("command", argv[0], COMMANDS)
