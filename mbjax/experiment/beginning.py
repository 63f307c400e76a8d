"""What a run says at its start: what of the data it does not use, what it drew, and where a default decided.

The same lines are kept in ``dataset.json``, so that whoever meets a gap later can read where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax

from mbjax.experiment import wiring
from mbjax.reporting import printout

LARGE = 10_000_000
"""Values of tables from which on it is worth saying that they need not be updated as a whole."""
MOST = 6
"""Lines on the terminal; the rest is in dataset.json."""


def notes(experiment: wiring.Experiment) -> list[str]:
    """All that there is to say, a line each: first what reading the data left out, then what the run adds."""
    return [*experiment.dataset.notes, *_choices(experiment)]


def say(lines: Sequence[str], *, said: Sequence[str] = ()) -> None:
    """Prints lines on standard error, as far as they are few; those in ``said`` the user has seen as warnings."""
    lines = [line for line in lines if line not in said]
    if len(lines) > MOST:
        rest = len(lines) - MOST + 1
        lines = [*lines[: MOST - 1], f"... and {rest} more notes: see 'notes' in dataset.json of the run folder"]
    for line in lines:
        printout.note(line)


def _choices(experiment: wiring.Experiment) -> Iterator[str]:
    """Where the run chose for the user."""
    config, dataset = experiment.config, experiment.dataset
    yield from experiment.model.notes
    if config.evaluate.behaviors is None and experiment.model.tasks:
        left = [b for b in dataset.test if b not in experiment.model.tasks]
        if left:
            yield (
                f"evaluated: {', '.join(experiment.model.tasks)}, which {config.model_name} predicts; not the held-out "
                f"pairs of {', '.join(left)} (evaluate.behaviors chooses otherwise)"
            )
    if not experiment.is_trained:
        unused = [f"{path}={config.overrides[path]}" for path in config.overrides if path.startswith("train.")]
        if unused:
            yield f"{', '.join(unused)}: not used, as {config.model_name} has nothing to train"
    if experiment.is_trained:
        yield from _updates(experiment)
    asked = config.train.batch_size
    if experiment.is_trained and experiment.rows < asked and "train.batch_size" in config.overrides:
        yield f"train.batch_size={asked} is more than there is: a batch has all {experiment.rows:,} rows"
    if config.devices > 1 and jax.default_backend() == "cpu":
        yield f"--devices={config.devices}: virtual devices of one CPU, which share its cores"
    if "own_items" in config.evaluate.anchors and dataset.info.num_behaviors == 1 and config.model_name != "own_items":
        yield "own_items is left out of the table: with one behavior it is popularity once more"
    if not "".join(dataset.info.behaviors).isascii():
        from mbjax.reporting import fonts  # which takes a second to import

        if note := fonts.Lettering(dataset.info.behaviors).note():
            yield note


def _updates(experiment: wiring.Experiment) -> Iterator[str]:
    """Whether tables are updated by row, or could be, which pays where they are large."""
    config, model = experiment.config, experiment.model
    optimizer = config.train.optimizer
    if config.train.lazy:
        same = "each row has moments of its own, so that results differ" if optimizer == "adam" else "as without"
        tables = ", ".join(sorted(model.by_row))
        yield f"train.lazy=true: {optimizer} updates the rows of a batch alone in {tables} ({same})"
        return
    if isinstance(model.by_row, str):
        return
    widths = getattr(config.model, "embedding_size", 0)
    values = (model.info.num_users + model.info.num_items) * widths
    if values >= LARGE:
        differs = ", with other results than adam on all of them" if optimizer == "adam" else " to the same end"
        yield (
            f"every step updates all {values:,} values of the tables; train.lazy=true the rows of its batch "
            f"alone{differs} (docs/running.md)"
        )
