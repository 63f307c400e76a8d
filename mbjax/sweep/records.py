"""What each run of a sweep came to, as small files beside the run folders; and the settings that they add up to."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mbjax import errors, files
from mbjax.sweep import plan as plans

STATES = ("finished", "given up", "failed")


@dataclasses.dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
      model, number, seed: which; ``number`` is that of the setting.
      setting: what varies.
      state: of ``STATES``.
      monitor: what ``value`` is, such as ``"mean:ndcg@5"``.
      value: on validation pairs, at the best epoch; None of a run that failed.
      epoch: the best one, counted from 0; None without training, or of a run that failed.
      table: of validation pairs at that epoch.
      seconds: of training and evaluation.
      wall: seconds of all of it, with what is prepared and compiled; of the last start of a run that was stopped.
      fingerprint: of the data set.
      cut: minutes of the sweep, where its training ended with them; with more of them it goes on.
      error: what went wrong.
    """

    model: str
    number: int
    seed: int
    setting: Mapping[str, str]
    state: str
    monitor: str
    value: float | None = None
    epoch: int | None = None
    table: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    wall: float = 0.0
    fingerprint: str = ""
    cut: float | None = None
    error: str = ""

    @property
    def name(self) -> str:
        """Of the run's folder and file."""
        return name(self.model, self.number, self.seed)


def name(model: str, number: int, seed: int) -> str:
    """``"bvae-007-seed0"``."""
    return f"{model}-{number:03d}-seed{seed}"


def write(folder: pathlib.Path, record: Record) -> None:
    """Writes a run's file. Raises WriteError."""
    content = dataclasses.asdict(record)
    content["value"] = record.value if record.value is not None and math.isfinite(record.value) else None
    files.write_json(files.make_folder(folder) / f"{record.name}.json", content)


def read(folder: pathlib.Path, name: str) -> Record | None:
    """A run's record; None if it has none yet. Raises DataError for a damaged file."""
    file = folder / f"{name}.json"
    try:
        return Record(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise errors.DataError(f"{file} is damaged: {error}. Delete it, and the run is made again.") from error


@dataclasses.dataclass(frozen=True)
class Line:
    """One setting of a model, over its seeds.

    Attributes:
      model, number, setting: as in ``Record``.
      runs: in the order of the seeds.
      is_whole: whether all seeds finished; no other setting can be chosen.
    """

    model: str
    number: int
    setting: plans.Setting
    runs: Sequence[Record]
    is_whole: bool

    @property
    def values(self) -> list[float]:
        """Of the runs that finished."""
        return [run.value for run in self.runs if run.state == "finished" and run.value is not None]

    @property
    def mean(self) -> float | None:
        """None where no run finished."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Of the population; None of fewer than two."""
        return statistics.pstdev(self.values) if len(self.values) > 1 else None

    @property
    def state(self) -> str:
        """The worst of the runs'."""
        return max((run.state for run in self.runs), key=STATES.index)


def lines(records: Iterable[Record], seeds: Sequence[int]) -> list[Line]:
    """The settings of runs, in order of first appearance."""
    grouped: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        grouped.setdefault((record.model, record.number), []).append(record)
    return [
        Line(
            model,
            number,
            runs[0].setting,
            runs,
            {run.seed for run in runs if run.value is not None and run.state == "finished"} >= set(seeds),
        )
        for (model, number), runs in grouped.items()
    ]


def best(found: Iterable[Line], model: str) -> Line | None:
    """The setting of a model with the largest mean on validation, the earliest of equals; None if none is whole."""
    whole = [line for line in found if line.model == model and line.is_whole]
    return max(whole, key=lambda line: line.mean, default=None)
