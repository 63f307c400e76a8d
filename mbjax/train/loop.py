"""The training loop: epochs as chunks of compiled steps, between which the host looks up.

Knows neither models nor files: what happens to losses and states is in the functions it is given. A state may be that
of several runs side by side: then every loss has a first axis of runs, and so have the sums.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mbjax import ahead, errors, types
from mbjax.train import pace

Sums = dict[str, Any]
"""A float for each loss; of runs side by side an array [runs]."""


@dataclasses.dataclass(frozen=True)
class Advance:
    """How to move a state on.

    Attributes:
      plan: ``(state, epoch) -> plan``, the order of an epoch.
      chunk: ``(state, plan, first place, length) -> (state, {"loss": [length], ...})``; consumes the state.
      steps_per_epoch: S.
      chunk_steps: longest chunk; see ``step.chunk_length``.
      pace: what decides of the length of each instead; None: nothing does.
      ahead: ``state -> Memory`` that the first chunk takes beside its arguments, which compiles it; None: not known.
    """

    plan: Callable[[types.TrainState, int], Any]
    chunk: Callable[[types.TrainState, Any, int, int], tuple[types.TrainState, dict[str, Any]]]
    steps_per_epoch: int
    chunk_steps: int
    pace: pace.Pace | None = None
    ahead: Callable[[types.TrainState], ahead.Memory | None] | None = None


@dataclasses.dataclass
class Position:
    """Where a run stands, beside its arrays: all that a checkpoint must hold to go on as if nothing had happened.

    Attributes:
      step: optimizer steps done.
      sums: loss and its parts, summed over the steps of the epoch begun.
      seconds: training time of the epoch begun.
    """

    step: int = 0
    sums: Sums = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def of(self, place: int, runs: int) -> Position:
        """That of one of several runs side by side: its sums, and its share of the time."""
        sums = {name: float(values[place]) for name, values in self.sums.items()}
        return Position(self.step, sums, self.seconds / runs)


def check_finite(losses: np.ndarray, step: int, epoch: int) -> None:
    """Raises TrainingDivergedError unless the losses [length] from a step on are finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        raise errors.TrainingDivergedError(f"loss is {losses[bad[0]]} at step {step + int(bad[0])} (epoch {epoch + 1})")


def fit(
    state: types.TrainState,
    position: Position,
    advance: Advance,
    *,
    epochs: int,
    on_epoch: Callable[[int, types.TrainState, Position], bool],
    on_chunk: Callable[[types.TrainState, Position], None] = lambda state, position: None,
    should_stop: Callable[[], bool] = lambda: False,
    check: Callable[[np.ndarray, int, int], None] = check_finite,
) -> tuple[types.TrainState, Position, str]:
    """Trains until the epochs are done, ``on_epoch`` says so, or a signal asks to stop.

    Args:
      state: consumed (its buffers are donated).
      position: where ``state`` stands; changed in place.
      advance: how to move on.
      epochs: total, those done before included.
      on_epoch: called with (epoch, state, position) after each epoch, with the epoch's sums still in ``position``;
        True ends training.
      on_chunk: called after each chunk.
      should_stop: asked after each chunk.
      check: is shown the losses of a chunk, the step that they begin with, and the epoch.

    Returns:
      The state, its position, and why training ended: ``"finished"``, ``"patience"`` or ``"signal"``.

    Raises:
      TrainingDivergedError: the loss of a step is not finite; names step and epoch.
    """
    steps = advance.steps_per_epoch
    while position.step < epochs * steps:
        epoch, place = divmod(position.step, steps)
        plan = advance.plan(state, epoch)
        while place < steps:
            length = advance.pace.next(place) if advance.pace else min(advance.chunk_steps, steps - place)
            start = time.perf_counter()
            state, logged = advance.chunk(state, plan, place, length)
            logged = {name: np.asarray(values, np.float64) for name, values in logged.items()}
            seconds = time.perf_counter() - start
            position.seconds += seconds
            if advance.pace:
                advance.pace.told(seconds, epochs * steps - position.step - length)
            check(logged["loss"], position.step, epoch)
            for name, values in logged.items():
                position.sums[name] = _added(position.sums.get(name, 0.0), values)
            place += length
            position.step += length
            on_chunk(state, position)
            if place < steps and should_stop():
                return state, position, "signal"
        ended = on_epoch(epoch, state, position)
        position.sums, position.seconds = {}, 0.0
        if ended:
            return state, position, "patience"
        if position.step < epochs * steps and should_stop():
            return state, position, "signal"
    return state, position, "finished"


def _added(total: Any, values: np.ndarray) -> Any:
    """Total and values [..., length], added in the order of the steps: no sum depends on where chunks end."""
    begun = np.broadcast_to(np.float64(total), values.shape[:-1])[..., None]
    added = np.cumsum(np.concatenate([begun, values], axis=-1), axis=-1)[..., -1]
    return float(added) if added.ndim == 0 else added


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], bool]]:
    """Turns SIGINT and SIGTERM into a question asked between chunks; a second SIGINT interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # only the main thread may set handlers
        return

    def handler(number, frame):
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, old in before.items():
            signal.signal(number, old)
