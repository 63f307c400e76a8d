"""What a sweep shows of several runs at once: on a terminal a bar for each and one for all, elsewhere plain lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import rich.console
import rich.progress

from mbjax.train import progress


class Board:
    """A context manager that is told of every run; by any thread.

    Args:
      total: runs of the whole sweep; None: nobody knows.
      every_seconds: between lines on runs that go on, where there is no terminal.
      console: where to write; default is standard error.
      clock: seconds from any start.
    """

    def __init__(
        self,
        total: int | None,
        *,
        every_seconds: float = 60.0,
        console: rich.console.Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._every_seconds, self._clock = total, every_seconds, clock
        self._console = console or rich.console.Console(stderr=True)
        self._lock = threading.RLock()
        self._notes: dict[str, str] = {}
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._over = self._timed = 0
        self._start = self._last = clock()
        self._bars: rich.progress.Progress | None = None
        if self._console.is_terminal:
            columns = rich.progress
            self._bars = columns.Progress(
                columns.TextColumn("{task.description}"),
                columns.BarColumn(bar_width=20),
                columns.TextColumn("{task.fields[note]}"),
                columns.TimeElapsedColumn(),
                console=self._console,
            )

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
            self._all = self._bars.add_task("all runs", total=self._total, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._bars:
            self._bars.stop()

    def say(self, text: str) -> None:
        """Prints a line, above the bars."""
        with self._lock:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, name: str, epochs: int) -> None:
        """A run begins."""
        with self._lock:
            self._notes[name] = "begins"
            if self._bars:
                self._tasks[name] = self._bars.add_task(name, total=epochs or None, note="begins")

    def evaluated(self, name: str, epoch: int, epochs: int, value: float) -> None:
        """A run that goes on was evaluated after an epoch, counted from 0."""
        with self._lock:
            self._notes[name] = f"epoch {epoch + 1}/{epochs}, {value:.4f}"
            if self._bars:
                self._bars.update(self._tasks[name], completed=epoch + 1, note=f"{epoch + 1}/{epochs}, {value:.4f}")
            elif self._clock() - self._last >= self._every_seconds:
                self._last = self._clock()
                self.say(f"{self._counted()}; {'; '.join(f'{name}: {note}' for name, note in self._notes.items())}")

    def end(self, name: str, *, is_new: bool = True) -> None:
        """A run is over, or stopped, or was so before (not ``is_new``)."""
        with self._lock:
            self._over, self._timed = self._over + 1, self._timed + is_new
            self._notes.pop(name, None)
            if self._bars:
                if name in self._tasks:
                    self._bars.remove_task(self._tasks.pop(name))
                self._bars.update(self._all, completed=self._over, note=self._counted())

    def _counted(self) -> str:
        if self._total is None:
            return f"{self._over} over"
        text = f"{self._over} of {self._total} over"
        if self._timed and self._over < self._total:
            each = (self._clock() - self._start) / self._timed
            text += f", about {progress.duration(each * (self._total - self._over))} left"
        return text
