"""What a running training shows: a bar on a terminal, plain lines anywhere else.

On a terminal: epochs done, loss, best value of the monitored metric, time left. In a file or a pipe: one line for each
evaluation and at most one every so many seconds besides, without control characters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import rich.console
import rich.progress

SMOOTHING = 0.3
"""Weight of the newest epoch in the running mean of seconds per epoch."""


class Progress:
    """A context manager that is told of every chunk and every epoch.

    Args:
      epochs: epochs of the whole run.
      done: epochs finished before this start (a resumed run); they do not count for the time left.
      best: value of the monitored metric so far, None before the first evaluation.
      monitor: its name, e.g. ``"mean:ndcg@5"``.
      every_seconds: seconds between plain lines when nothing is evaluated.
      console: where to write; default is standard error, which leaves standard output to results.
      clock: seconds from any start.
    """

    def __init__(
        self,
        epochs: int,
        *,
        done: int = 0,
        best: float | None = None,
        monitor: str = "",
        every_seconds: float = 30.0,
        console: rich.console.Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._epochs, self._done, self._best, self._monitor = epochs, done, best, monitor
        self._console = console or rich.console.Console(stderr=True)
        self._every_seconds, self._clock = every_seconds, clock
        self._loss: float | None = None
        self._epoch_seconds = 0.0
        self._timed = 0
        self._epoch_start = self._last_line = clock()
        self._bar: rich.progress.Progress | None = None
        if self._console.is_terminal:
            columns = rich.progress
            self._bar = columns.Progress(
                columns.TextColumn("epoch {task.fields[epoch]}"),
                columns.BarColumn(bar_width=None),
                columns.TextColumn("{task.fields[note]}"),
                columns.TimeElapsedColumn(),
                columns.TextColumn("{task.fields[left]}"),
                console=self._console,
                transient=False,
            )
            self._task = self._bar.add_task("train", total=epochs, completed=done, epoch="", note="compiling", left="")

    def __enter__(self) -> Self:
        self._epoch_start = self._last_line = self._clock()
        if self._bar:
            self._bar.start()
            self._refresh(0.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._bar:
            self._bar.stop()

    def chunk(self, fraction: float) -> None:
        """A chunk of steps was finished.

        Args:
          fraction: share of the current epoch that is done, in [0, 1].
        """
        if self._bar:
            self._refresh(fraction)

    def epoch(self, loss: float, *, best: float | None = None, evaluated: bool = False) -> None:
        """An epoch was finished.

        Args:
          loss: sum of its batch losses.
          best: the best value of the monitored metric up to now; None leaves it as it was.
          evaluated: whether this epoch ended with an evaluation.
        """
        now = self._clock()
        seconds, self._epoch_start = now - self._epoch_start, now
        self._timed += 1
        if self._timed <= 2:  # the first carries the compilation: the second replaces it
            self._epoch_seconds = seconds
        else:
            self._epoch_seconds += SMOOTHING * (seconds - self._epoch_seconds)
        self._loss, self._done = loss, self._done + 1
        self._best = self._best if best is None else best
        if self._bar:
            self._refresh(0.0)
        elif evaluated or self._done == self._epochs or now - self._last_line >= self._every_seconds:
            self._last_line = now
            left = f", {self._left(0.0)}" if self._done < self._epochs else ""
            self.say(f"epoch {self._done}/{self._epochs}: {self._note()}, {self._epoch_seconds:.1f} s per epoch{left}")

    def say(self, text: str) -> None:
        """Prints a line above the bar, or simply prints it."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _refresh(self, fraction: float) -> None:
        self._bar.update(
            self._task,
            completed=self._done + fraction,
            epoch=f"{min(self._done + 1, self._epochs)}/{self._epochs}",
            note=self._note() or "compiling",
            left=self._left(fraction),
        )

    def _note(self) -> str:
        parts = [] if self._loss is None else [f"loss {self._loss:.1f}"]
        if self._best is not None:
            parts.append(f"best {self._monitor} {self._best:.4f}".replace("  ", " "))
        return ", ".join(parts)

    def _left(self, fraction: float) -> str:
        if not self._timed:
            return "time left unknown"
        return f"{duration((self._epochs - self._done - fraction) * self._epoch_seconds)} left"


class Stages:
    """Writes a line of a stage (``ops.stages``) that takes long, every so many seconds; short ones stay unmentioned.

    Args:
      every_seconds: seconds that a stage takes without a line, and between two.
      console, clock: as for ``Progress``.
    """

    def __init__(
        self,
        *,
        every_seconds: float = 20.0,
        console: rich.console.Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._console, self._every_seconds, self._clock = console, every_seconds, clock
        self._begun: dict[str, tuple[float, int]] = {}  # when a stage was told of first, and how far it was
        self._done: dict[str, int] = {}
        self._last = clock()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        if done <= self._done.get(what, total):  # another one of the same name
            self._begun[what] = now, done
        self._done[what] = done
        begin, first = self._begun[what]
        if now - max(begin, self._last) < self._every_seconds or done == first or done >= total:
            return
        self._last = now
        left = (now - begin) / (done - first) * (total - done)
        console = self._console or rich.console.Console(stderr=True)
        text = f"{what}: {done / total:.0%}, {duration(left)} left"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A length of time for people: ``42 s``, ``3 min 20 s``, ``2 h 5 min``, ``1 d 3 h``."""
    total = max(0, round(seconds))
    for size, name, part_size, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= size:
            part = total % size // part_size
            return f"{total // size} {name}" + (f" {part} {part_name}" if part else "")
    return f"{total} s"
