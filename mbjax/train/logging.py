"""What a run leaves to be read: metrics.jsonl while it goes on, CSV, TensorBoard events and plots.

A row of ``metrics.jsonl`` is one epoch::

    {"epoch": 3, "step": 88, "seconds": 2.1, "loss": 1780.2, "loss_parts": {"nll": ..},
     "valid": {"purchase": {"ndcg@5": .., ..}, ..}, "test": {..}}

``loss`` is the sum of the batch losses over the epoch; ``valid`` and ``test`` stand only where they were evaluated.
The rows are the numbers of the run: one that cannot be written ends it. CSV, events and plots show them once more, and
the run goes on without what cannot be written of these.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mbjax import errors, files
from mbjax.train import events, run_folder

Row = dict[str, Any]
ROWS = "the last row of metrics.jsonl"


class RunLog:
    """Appends the rows of a run; every row is on its way to the disk when ``epoch`` returns.

    Args:
      workdir: the run folder.
      from_epoch: rows of this epoch and later ones are dropped: a resumed run writes them again.
      missing: told of what could not be written, and can be done without; default is to raise it.

    Raises:
      WriteError: there is no room even for the rows.
    """

    def __init__(
        self,
        workdir: str | pathlib.Path,
        *,
        from_epoch: int = 0,
        missing: Callable[[errors.WriteError], None] | None = None,
    ):
        self._missing = missing
        self._folder = run_folder.RunFolder(workdir)
        files.make_folder(self._folder.path)
        path = self._folder.metrics_file
        self._rows = [row for row in read_rows(path) if row["epoch"] < from_epoch] if path.exists() else []
        # Rewritten also when nothing is dropped: a half-written last line must not swallow the next row.
        files.write_text(path, "".join(map(_line, self._rows)))
        with files.writing(path):
            self._file = path.open("a", encoding="utf-8")
        self._events: events.Events | None = None
        purge_step = self._rows[-1]["step"] + 1 if self._rows else 0
        with self._spare():
            self._events = events.Events(self._folder.tensorboard, purge_step=purge_step)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Writes one row. Raises ValueError if it does not follow the row before, WriteError if it cannot."""
        row = _plain(row)
        if self._rows and row["epoch"] <= self._rows[-1]["epoch"]:
            raise ValueError(f"epoch {row['epoch']} was logged after epoch {self._rows[-1]['epoch']}")
        self._rows.append(row)
        with files.writing(self._folder.metrics_file, ROWS):
            self._file.write(_line(row))
            self._file.flush()
        if self._events:
            numbers = {name: value for name, value in flatten(row).items() if isinstance(value, int | float)}
            with self._spare():
                self._events.scalars(
                    {name: numbers[name] for name in numbers if name not in ("epoch", "step")}, row["step"]
                )

    def rows(self) -> list[Row]:
        """All rows so far, those before a resumption included."""
        return list(self._rows)

    def finish(self, behaviors: Sequence[str] = ()) -> None:
        """Writes metrics.csv and the plots, and closes the files. May be called once.

        Args:
          behaviors: all of the data set, see ``plots.learning_curve``.
        """
        from mbjax.reporting import plots  # at the end: importing it takes a second, for which training would wait

        self.close()
        with self._spare():
            write_csv(self._rows, self._folder.csv_file)
        with self._spare():
            files.make_folder(self._folder.plots)
            plots.learning_curve(self._rows, self._folder.plots / "learning_curve.png", names=behaviors)

    def close(self) -> None:
        """Closes the files and leaves CSV and plots unwritten. May be called again."""
        with contextlib.suppress(OSError):  # what a full disk did not take was raised by ``epoch``
            self._file.close()
        if self._events:
            with self._spare():
                self._events.close()
            self._events = None

    @contextlib.contextmanager
    def _spare(self) -> Iterator[None]:
        """For what the run can do without."""
        try:
            yield
        except errors.WriteError as error:
            # Nothing more goes to the events, whatever it was: the disk is full.
            kept, self._events = self._events, None
            if kept:
                with contextlib.suppress(errors.WriteError):
                    kept.close()
            if self._missing is None:
                self.close()
                raise
            self._missing(error)


class Unwritten:
    """A log that is kept in memory: what a host has that writes nothing."""

    def __init__(self):
        self._rows: list[Row] = []

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Keeps one row."""
        self._rows.append(_plain(row))

    def rows(self) -> list[Row]:
        """All rows of this process."""
        return list(self._rows)

    def finish(self, behaviors: Sequence[str] = ()) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


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
    """Nested keys joined by slashes: ``{"valid": {"buy": {"hr@5": 1}}}`` to ``{"valid/buy/hr@5": 1}``.

    A slash within a key is percent-encoded, so that different keys stay different.
    """
    flat = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{_part(key)}/"))
        else:
            flat[f"{prefix}{_part(key)}"] = value
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


def _part(key: str) -> str:
    return key.replace("%", "%25").replace("/", "%2F")


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
