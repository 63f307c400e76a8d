"""One run of a sweep, and the test split of those that were chosen; in this process, or in one of its own."""

from __future__ import annotations

import gc
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from mbjax import apart, config, errors
from mbjax.sweep import plan as plans
from mbjax.sweep import records
from mbjax.train import claim

FATAL = (errors.WriteError, claim.InUseError)
"""What ends a sweep: the next run would meet it too, or it says nothing of the setting."""

Watch = Callable[[int, float], bool]
"""Is told the epoch and the monitored value of each evaluation; True gives the run up."""


class Task(NamedTuple):
    """A run that is to be made.

    Attributes:
      member: the model.
      number, setting: which.
      seed: of the run.
      minutes: that it may take, with what is prepared and compiled; None: what the setting says of its epochs.
    """

    member: plans.Member
    number: int
    setting: plans.Setting
    seed: int
    minutes: float | None = None

    @property
    def name(self) -> str:
        """Of the run's folder and file."""
        return records.name(self.member.name, self.number, self.seed)

    def config(self) -> config.Config:
        """The configuration of the run."""
        limit = {} if self.minutes is None else {"train.max_minutes": f"{self.minutes:.3f}"}
        return self.member.config({**self.setting, **limit}, self.seed)


class Runner(Protocol):
    """Who makes runs."""

    def attempt(self, task: Task, watch: Watch) -> records.Record | None:
        """One run; None if a signal stopped it. Raises WriteError."""

    def tested(self, task: Task) -> Any:
        """The test table of a run that is over, behavior -> metrics."""


class Here:
    """Runs in this process.

    Args:
      folder: of the sweep.
      experiment: the package ``mbjax.experiment``.
    """

    def __init__(self, folder: pathlib.Path, experiment: Any):
        self._folder, self._experiment = folder, experiment
        self._loaded: tuple[Any, Any] = (None, None)

    def attempt(self, task: Task, watch: Watch) -> records.Record | None:
        settings = task.config()
        began = time.perf_counter()
        about = beginning(task, settings)
        folder = self._folder / "runs" / task.name
        dataset = self._dataset(settings)
        # The time of a sweep is that of all there is to a run.
        clock = {} if task.minutes is None else {"began": began}
        try:
            trial = self._experiment.attempt(
                settings, folder, resume=(folder / "config.yaml").is_file(), dataset=dataset, watch=watch, **clock
            )
        except FATAL:
            raise
        except (errors.MbjaxError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return failed(about, error, time.perf_counter() - began)
        finally:
            gc.collect()  # what the run held on the device
        if trial.reason == "signal":
            return None
        about |= {"wall": round(time.perf_counter() - began, 3)}
        if trial.value is None or trial.value != trial.value or abs(trial.value) == float("inf"):
            return records.Record(
                **about, state="failed", error="no epoch was evaluated: train.eval_every, train.epochs"
            )
        return records.Record(
            **about,
            state="given up" if trial.reason == "given up" else "finished",
            value=trial.value,
            epoch=trial.epoch,
            table=trial.table,
            seconds=round(trial.seconds, 3),
            fingerprint=trial.fingerprint,
            cut=task.member.plan.minutes if clock and trial.reason == "time" else None,
        )

    def tested(self, task: Task) -> Any:
        folder = self._folder / "runs" / task.name
        return self._experiment.tested(folder, dataset=self._dataset(task.config()))

    def _dataset(self, settings: config.Config) -> Any:
        """The data set of a run, loaded again only where the runs differ in it."""
        key = (settings.dataset, settings.data)
        if self._loaded[0] != key:
            self._loaded = (None, None)
            self._loaded = (key, self._experiment.load_data(settings))
        return self._loaded[1]


def beginning(task: Task, settings: config.Config) -> dict[str, Any]:
    """What a record says of a run whatever comes of it."""
    monitor, first = settings.train.monitor, settings.evaluate.ks[0]
    monitor = monitor if "@" in monitor else f"{monitor}@{first}"
    about = {"model": task.member.name, "number": task.number, "seed": task.seed}
    return about | {"setting": dict(task.setting), "monitor": monitor}


def failed(about: dict[str, Any], error: BaseException, wall: float) -> records.Record:
    """The record of a run that an error ended."""
    words = " ".join(str(error).split()) or "out of memory"
    text = f"{type(error).__name__}: {words}"
    return records.Record(**about, state="failed", error=text, wall=round(wall, 3))


class Apart:
    """Runs in a process of its own, which stays; a context manager. One that ends without being told is started anew.

    Args:
      command: starts it; see ``mbjax.sweep.worker``.
      output: the file of what it prints.
      environment: its part of the machine.
    """

    def __init__(self, command: Sequence[str], output: pathlib.Path, environment: dict[str, str]):
        self._given = command, output, environment
        self._worker: apart.Worker | None = None
        self._is_told = False
        self._lock = threading.Lock()  # of starting it and telling it to end

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker:
            worker.__exit__(*error)

    def attempt(self, task: Task, watch: Watch) -> records.Record | None:
        began = time.perf_counter()
        about = beginning(task, task.config())
        try:
            found = self._ask("attempt", task, lambda words: {"give up": watch(words["epoch"], words["value"])})
        except apart.GoneError as error:
            self.__exit__(None, None, None)
            # A scheduler may tell all processes to end before this one has heard of it.
            is_stopped = self._is_told or error.was_ended
            return None if is_stopped else failed(about, error, time.perf_counter() - began)
        return None if found["record"] is None else records.Record(**found["record"])

    def tested(self, task: Task) -> Any:
        return self._ask("tested", task)["table"]

    def room(self, predict: bool) -> apart.Message:
        """What ``room.look`` finds."""
        return self._asked({"what": "room", "predict": predict})

    def _ask(self, what: str, task: Task, between=lambda words: {}) -> apart.Message:
        about = {"model": task.member.name, "number": task.number, "setting": dict(task.setting), "seed": task.seed}
        return self._asked({"what": what, "minutes": task.minutes} | about, between)

    def _asked(self, question: apart.Message, between=lambda words: {}) -> apart.Message:
        with self._lock:
            if self._is_told:
                raise apart.GoneError("the process was told to end")
            if self._worker is None:
                self._worker = apart.Worker(*self._given).__enter__()
            worker = self._worker
        found = worker.ask(question, between)
        if "error" in found:
            raise getattr(errors, found["error"], errors.MbjaxError)(*found["words"])
        return found

    def interrupt(self) -> None:
        """Tells it to end where it can go on from, from another thread."""
        with self._lock:
            self._is_told = True
            if self._worker:
                self._worker.interrupt()

    def kill(self) -> None:
        """Ends it at once, from another thread."""
        with self._lock:
            self._is_told = True
            if self._worker:
                self._worker.kill()
