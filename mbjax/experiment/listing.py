"""Ranked lists of a run."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from mbjax import config as configuration
from mbjax import data, seen
from mbjax import recommend as lists
from mbjax.experiment import printout, runs


def recommend(
    workdir: str | pathlib.Path,
    config: configuration.Config | None = None,
    *,
    checkpoint: str | None = None,
    top_k: int = 20,
    out: str | pathlib.Path | None = None,
    users: Sequence[Any] | None = None,
    exclude: str = "known",
    dataset: str | os.PathLike[str] | data.Dataset | None = None,
) -> dict[str, pathlib.Path]:
    """Writes ranked lists of a run, one Parquet file for each behavior.

    Args:
      workdir: the run folder.
      config: as for ``evaluate_run``; ``evaluate.mask`` and ``evaluate.behaviors`` count here too.
      checkpoint: likewise.
      top_k: length of the lists.
      out: folder of the files; None is ``recommendations/`` in the run folder.
      users: raw ids; None is every user.
      exclude: what counts as seen and is in no list: ``"known"``, all that the data set has of the behavior;
        ``"train"``, what the evaluation of the test split masks; ``"none"``. See ``mbjax/seen.py``.
      dataset: as for ``restore``.

    Returns:
      behavior -> file.
    """
    experiment, params, _ = runs.restore(workdir, config, which=checkpoint, dataset=dataset)
    section, source = experiment.config.evaluate, experiment.dataset
    made = lists.make(
        experiment.model,
        params,
        experiment.graphs,
        source,
        top_k=top_k,
        behaviors=section.behaviors or experiment.model.tasks or source.info.behaviors,
        users=users,
        exclude=exclude,
        mask=section.mask,
        batch_size=section.batch_size,
        item_tile=section.item_tile,
    )
    printout.say(seen.describe(source, exclude, section.mask))
    files = {}
    for found in made:
        files[found.behavior] = found.write(out or pathlib.Path(workdir) / "recommendations")
        count = found.users - len(found.empty)
        printout.say(f"{found.behavior}: lists of {count:,} user{'s' * (count != 1)}: {files[found.behavior]}")
        for line in found.lines():
            printout.say(line)
    return files
