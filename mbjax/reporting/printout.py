"""What a run says on the terminal: results on standard output, remarks on standard error, tables at its end."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rich.console

from mbjax import config as configuration
from mbjax import evaluate, probabilities, program, types, wording
from mbjax.reporting import tables


def say(text: str) -> None:
    """Prints a line of results."""
    rich.console.Console().print(text, markup=False, highlight=False, soft_wrap=True)


def show(
    rows: Mapping[str, tables.Table], caption: str, *, ks=None, details: bool = False, among: bool = False
) -> None:
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


def title(config: configuration.Config, *details: str) -> str:
    """What a table calls a run, with details in brackets."""
    backbone = getattr(config.model, "backbone", None)
    return tables.model_title(config.model_name, *details, backbone=getattr(backbone, "name", None))


def sampled(number: int) -> str:
    """For the caption of a trained model's table: that its epoch was judged by so many users; empty if by all, of 0."""
    return f"; epochs were judged by {wording.count(number, 'sampled user')} of each behavior" if number else ""


def final(
    config: configuration.Config,
    info: types.DatasetInfo,
    rows: Mapping[str, tables.Table],
    *,
    epochs: int | None,
    sample_users: int = 0,
    findings: Iterable[Sequence[Any]] = (),
) -> None:
    """Prints the tables of a finished run side by side, the first its own, and what is to be said of them.

    Args:
      config, info: of the run.
      rows: by their names.
      epochs: how many it had; None: none.
      sample_users: how many of each behavior judged them; 0: all.
      findings: what the model found, as ``tables.say`` takes them.
    """
    main = next(iter(rows.values()))
    caption = f"{info.name}, test split, all items ranked"
    if epochs is not None:
        caption += f"; in brackets: how the epoch was chosen, and which of {epochs}"
        caption += sampled(sample_users)
    if config.evaluate.selections:
        caption += f". Chosen by looking at the test split: {', '.join(config.evaluate.selections)}"
    visited = [row["visited"]["pairs"] for row in main.values() if "visited" in row]
    if any(visited) and not any(row["unvisited"]["pairs"] for row in main.values() if "unvisited" in row):
        caption += ". All held-out pairs are visited: their users had met them through another behavior in training"
    elif any(visited):
        caption += ". visited: pairs that the user had met through another behavior in training"
    elif visited and info.num_behaviors > 1:
        caption += ". No user had met a held-out pair through another behavior in training"
    show(rows, caption, ks=config.evaluate.ks[:1], details=True)
    for line in evaluate.unreachable(main):
        say(line)
    if short := probabilities.in_short(main):
        say(f"{short} (plots/reliability.png)")
    for finding in findings:
        tables.say(rich.console.Console(), *finding)
