"""``python -m mbjax.explain RUN --user=ID --item=ID``: which of the user's items speak for an item, and how much.

From Python: ``mbjax.explain.explain(run, user, item, behavior)`` returns the same as a table.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import rich.console

from mbjax import errors, paths
from mbjax.cli import guard, help, reading, settings
from mbjax.reporting import tables

ABOUT = """\
Says why a run ranks an item for a user: the score, and what each of the user's items adds to it, by each behavior.

The shares are exact: they add up to the score. Models whose scores are sums over the user's items can say so: ease,
itemknn and cross_occurrence. Of itemknn, which unites the behaviors, a share belongs to the item, and the behaviors by
which the user met it stand beside it."""
EXAMPLES = (
    ("explain runs/ease-demo-seed0 --user=17 --item=3", "for the target"),
    ("explain runs/ease-demo-seed0 --user=17 --item=3 --behavior=cart --shown=50", "for another behavior"),
)
SHOWN = 20


def explain(workdir: str | pathlib.Path, user: Any, item: Any, behavior: str | None = None, **options: Any):
    """Takes the score of an item apart; see ``mbjax.experiment.explaining.explain``."""
    from mbjax.experiment import explaining

    return explaining.explain(workdir, user, item, behavior, **options)


def main(argv: Sequence[str] | None = None) -> int:
    """Explains a score; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_run, argv)


def _run(argv: list[str]) -> int:
    given = reading.read(argv, "explain")
    if "help" in given.options:
        help.plain("explain", (ABOUT,), EXAMPLES)
        return 0
    reading.refuse_unread(given, "explain")
    (word,) = reading.words(given, "explain")
    for name in ("user", "item"):
        if name not in given.options:
            raise errors.ConfigError(f"--{name} is missing: a raw id of the run's data. See --help.")
    shown = reading.whole(given, "shown", SHOWN, least=1)
    checkpoint = reading.choice(given, "checkpoint", ("best", "last"))
    workdir = pathlib.Path(paths.absolute(word))
    chosen = settings.of_run(workdir, given, "explain")
    found = settings.experiment().explain(
        workdir,
        given.options["user"],
        given.options["item"],
        given.options.get("behavior"),
        config=chosen,
        checkpoint=checkpoint,
    )
    show(found, shown)
    return 0


def show(found, shown: int = SHOWN) -> None:
    """Prints a score and the largest of its shares.

    Args:
      found: from ``explain``.
      shown: lines of the table; the rest is one line.
    """
    rows = [(str(row["item"]), row["behavior"], row["share"]) for row in found.shares.head(shown).to_dicts()]
    rest = found.shares.slice(shown)
    if len(rest):
        rows.append((f"{len(rest):,} more", "", float(rest["share"].sum())))
    title = f"user {found.user}, item {found.item}: score {found.score:.4f} for {found.behavior}"
    note = f"what the user's training pairs add to the score{_met(found)}"
    tables.say(rich.console.Console(), title, ("item", "behavior", "share"), rows, note)


def _met(found) -> str:
    """How the user has met the item itself, and whether lists leave it out for that: a sentence, or nothing."""
    held_out = ", held out from training"
    if found.behavior in (*found.met, *found.held):
        by = f"has the item by {found.behavior} itself{held_out if found.behavior in found.held else ''}"
    elif found.met or found.held:
        ways = [", ".join(names) + note for names, note in ((found.met, ""), (found.held, held_out)) if names]
        by = f"has met the item by {', and by '.join(ways)}"
    else:
        return ""
    return f". The user {by}{': lists leave it out by default' if found.left_out else ''}"


if __name__ == "__main__":
    sys.exit(main())
