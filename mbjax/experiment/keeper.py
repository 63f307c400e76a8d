"""What a run keeps on disk while it goes on: its last state, and the best epoch so far."""

from __future__ import annotations

import dataclasses
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

from mbjax import errors, hosts, types, wording
from mbjax.train import checkpoint, loop, run_folder


@dataclasses.dataclass
class Best:
    """The best epoch so far by the monitored metric; ``waited``: evaluations since."""

    value: float = -math.inf
    epoch: int = -1
    step: int = -1
    waited: int = 0


class Keeper:
    """Writes and restores the checkpoints of a run. Of several hosts the first does, and the others get what it reads.

    Args:
      folder: of the run.
      steps_per_epoch: to name epochs in messages.
      keep_best: whether the best epoch becomes a checkpoint; an epoch chosen on the test split never does.
    """

    def __init__(self, folder: run_folder.RunFolder, steps_per_epoch: int, *, keep_best: bool):
        self._folder, self._steps_per_epoch, self._keep_best = folder, steps_per_epoch, keep_best
        self._last = self._best = None
        if hosts.is_first():
            self._last, self._best = checkpoint.Checkpoints(folder.last), checkpoint.Checkpoints(folder.best)
        self._unsaved: types.Params | None = None
        self._saved_at = time.monotonic()
        self.best = Best()

    def restore(self, state: types.TrainState) -> tuple[types.TrainState, loop.Position]:
        """The newest sound checkpoint of ``last/``, or ``state`` itself where none was written yet."""
        record = None
        if self._last and self._last.steps():
            state, record = self._last.restore(state)
        record = hosts.told(record)
        if record is None:
            return state, loop.Position()
        state = hosts.of_first(state)
        self.best = Best(**{**record["best"], "value": float(record["best"]["value"])})
        return state, loop.Position(**record["position"])

    def judge(self, epoch: int, step: int, value: float, params: types.Params) -> None:
        """Compares an evaluated epoch with the best; a better one is copied, and written at the next ``save``."""
        if value > self.best.value:
            self.best = Best(value, epoch, step)
            self._unsaved = jax.tree.map(_copy, params) if self._keep_best and self._best else None
        else:
            self.best.waited += 1

    def is_due(self, minutes: float) -> bool:
        """Whether the last save is longer ago, by the clock of the first host."""
        return hosts.told(time.monotonic() - self._saved_at > 60 * minutes)

    def save(self, state: types.TrainState, position: loop.Position) -> None:
        """Writes ``best/`` and then ``last/``: a crash between the two leaves ``best/`` ahead, never behind.

        Raises:
          TrainingDivergedError: a parameter is not finite; nothing is written.
        """
        if not _all_finite(state.params):
            step = position.step - 1
            raise errors.TrainingDivergedError(
                f"parameters are not finite after step {step} (epoch {step // self._steps_per_epoch + 1})"
            )
        if not self._last:
            return
        record = {"best": dataclasses.asdict(self.best), "position": dataclasses.asdict(position)}
        record["best"]["value"] = repr(self.best.value)  # JSON has no -inf
        if self._unsaved is not None:
            best = types.TrainState(jnp.int32(self.best.step), self._unsaved, (), state.key)
            self._best.save(self.best.step, best, {"epoch": self.best.epoch, "value": self.best.value})
            self._unsaved = None
        self._last.save(position.step, state, record)
        self._saved_at = time.monotonic()

    def best_params(self, state: types.TrainState) -> types.Params | None:
        """Parameters of the best epoch from ``best/``; None if none was kept. ``state`` gives the shapes."""
        if not self._keep_best or self.best.epoch < 0:
            return None
        params = state.params
        if self._best:
            self._best.wait()
            params = self._best.restore(state.replace(opt_state=()), self.best.step)[0].params
        return hosts.of_first(params)

    def last_finite(self) -> str:
        """Where to go on after a divergence, for its message."""
        if not self._last:
            return "the first host says where to go on."
        self._last.wait()
        steps = self._last.steps()
        if not steps:
            return "no checkpoint was written before it. Lower train.learning_rate and start again."
        where, epochs = self._folder.last / str(steps[-1]), steps[-1] // self._steps_per_epoch
        done = wording.count(epochs, "epoch")
        return f"last finite checkpoint: {where}, after {done}. Lower train.learning_rate and start again."

    def close(self) -> None:
        """Waits for checkpoints on their way to the disk."""
        if not self._last:
            return
        try:
            self._last.close()
        finally:
            self._best.close()


def _copy(leaf: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    return leaf if isinstance(leaf, np.ndarray) else jnp.copy(leaf)  # what lies on the host is given away to nobody


def _all_finite(params: types.Params) -> bool:
    leaves = jax.tree.leaves(params)
    on_host = [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]
    others = [leaf for leaf in leaves if not isinstance(leaf, np.ndarray)]
    return all(np.isfinite(leaf).all() for leaf in on_host) and (not others or bool(_are_finite(others)))


@jax.jit
def _are_finite(leaves: list[jax.Array]) -> types.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
