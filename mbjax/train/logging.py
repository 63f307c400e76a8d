"""What a run leaves to be read: metrics.jsonl while it goes on, CSV, TensorBoard events and plots.

A row of ``metrics.jsonl`` is one epoch::

    {"epoch": 3, "step": 88, "seconds": 2.1, "loss": 1780.2, "loss_parts": {"nll": ..},
     "valid": {"purchase": {"ndcg@5": .., ..}, ..}, "test": {..}}

``loss`` is the sum of the batch losses over the epoch; ``valid`` and ``test`` stand only where they were evaluated.
"""

from __future__ import annotations

import csv
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorboardX

from mbjax import errors, files
from mbjax.train import plots, run_folder

Row = dict[str, Any]


class RunLog:
    """Appends the rows of a run; every row is on its way to the disk when ``epoch`` returns.

    Args:
      workdir: the run folder.
      from_epoch: rows of this epoch and later ones are dropped: a resumed run writes them again.
    """

    def __init__(self, workdir: str | pathlib.Path, *, from_epoch: int = 0):
        self._folder = run_folder.RunFolder(workdir)
        self._folder.path.mkdir(parents=True, exist_ok=True)
        path = self._folder.metrics_file
        self._rows = [row for row in read_rows(path) if row["epoch"] < from_epoch] if path.exists() else []
        # Rewritten also when nothing is dropped: a half-written last line must not swallow the next row.
        self._folder.write_text(path, "".join(map(_line, self._rows)))
        self._file = path.open("a", encoding="utf-8")
        purge_step = self._rows[-1]["step"] + 1 if self._rows else 0
        self._events = tensorboardX.SummaryWriter(str(self._folder.tensorboard), purge_step=purge_step)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Writes one row. Raises ValueError if it does not follow the row before."""
        row = _plain(row)
        if self._rows and row["epoch"] <= self._rows[-1]["epoch"]:
            raise ValueError(f"epoch {row['epoch']} was logged after epoch {self._rows[-1]['epoch']}")
        self._rows.append(row)
        self._file.write(_line(row))
        self._file.flush()
        for name, value in flatten(row).items():
            if name not in ("epoch", "step") and isinstance(value, int | float):
                self._events.add_scalar(name, value, row["step"])

    def rows(self) -> list[Row]:
        """All rows so far, those before a resumption included."""
        return list(self._rows)

    def finish(self) -> None:
        """Writes metrics.csv and the plots, and closes the files. May be called once."""
        self.close()
        write_csv(self._rows, self._folder.csv_file)
        self._folder.plots.mkdir(exist_ok=True)
        plots.learning_curve(self._rows, self._folder.plots / "learning_curve.png")

    def close(self) -> None:
        """Closes the files and leaves CSV and plots unwritten."""
        self._file.close()
        self._events.close()


def read_rows(path: str | pathlib.Path) -> list[Row]:
    """The rows of a metrics.jsonl; a half-written last line is left out.

    Raises:
      DataError: the file is missing, or a line before the last is not a row.
    """
    path = pathlib.Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise errors.DataError(f"{path} cannot be read: {error.strerror}.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or "epoch" not in row:
                raise ValueError("not a row")
        except ValueError as error:
            if number == len(lines):  # what follows the last line break: empty, or cut by a kill
                break
            raise errors.DataError(f"{path}, line {number}: not a row of metrics.") from error
        if number < len(lines):
            rows.append(row)
    return rows


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by slashes: ``{"valid": {"buy": {"hr@5": 1}}}`` to ``{"valid/buy/hr@5": 1}``."""
    flat = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def write_csv(rows: Sequence[Mapping[str, Any]], path: str | pathlib.Path) -> None:
    """One line an epoch, one column for every value that any row has; empty where a row lacks it."""
    flat = [flatten(row) for row in rows]
    columns = list(dict.fromkeys(column for row in flat for column in row))

    def write(temporary: pathlib.Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(flat)

    files.replace(path, write)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    # JSON has neither NaN nor numpy: null and Python numbers.
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
