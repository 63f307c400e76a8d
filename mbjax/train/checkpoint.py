"""Checkpoints of a training state that notice damage: orbax folders with a digest of every leaf.

Orbax writes a step under a temporary name and renames it, so a killed process leaves no half a step behind. It
does notice truncation, but one flipped bit in the data of an array restores silently. So a SHA-256 over all leaves
(path, data type, shape, bytes) lies in the JSON record of the step, which is itself sealed by a second one. A step
that does not verify is passed over with a ``CheckpointWarning``, and the one before it is used.

A step on disk: ``<folder>/<step>/state`` (a standard orbax tree) and ``<folder>/<step>/record`` (JSON).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from mbjax import errors, files
from mbjax.train import quiet

UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OSError)
"""What orbax raises for files that are cut or garbled: tensorstore's and JSON's ValueError, the system's errors, and
those of a tree whose description has lost a part or another type than it had."""


class Checkpoints:
    """The checkpoints in one folder, e.g. ``best/`` or ``last/`` of a run.

    Args:
      folder: made when missing, unless ``read_only``.
      keep: how many steps stay on disk; at least 2, so that a damaged one has a predecessor.
      read_only: never changes the folder. For a second process that looks at a run still going on: opening it for
        writing sweeps half-written steps away.
    """

    def __init__(self, folder: str | pathlib.Path, *, keep: int = 2, read_only: bool = False):
        if keep < 2:
            raise ValueError(f"keep={keep}: at least 2 checkpoints are needed to survive a damaged one")
        self.folder = pathlib.Path(folder).absolute()
        if read_only and not self.folder.is_dir():
            raise errors.CheckpointError(f"no checkpoints in {folder}: the folder does not exist.")
        # What a reader never does has to be said as well, or orbax remarks on it.
        alone: dict[str, Any] = {}
        if jax.process_count() > 1:
            # What lies on every device is written and read by one host, which waits for no other.
            mine = jax.process_index()
            options_of_host = ocp.options.MultiprocessingOptions(
                primary_host=mine, active_processes={mine}, barrier_sync_key_prefix=f"host{mine}"
            )
            alone = {"multiprocessing_options": options_of_host, "create": False}
            if not read_only:
                files.make_folder(self.folder)
        options = ocp.CheckpointManagerOptions(
            **{"create": not read_only} | alone,
            max_to_keep=None if read_only else keep,
            save_interval_steps=0 if read_only else 1,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
        )
        with quiet.during(), files.writing(self.folder, f"a checkpoint in {self.folder.name}/"):
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=("state", "record"))
        self._saved: dict[int, str] = {}  # steps written by this object -> seal
        self._writing: int | None = None  # the step on its way to the disk

    def steps(self) -> list[int]:
        """The finished steps on disk, ascending; damaged ones among them are not known before they are restored."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, record: Mapping[str, Any]) -> None:
        """Copies the state to the host and writes it in the background; waits for the write before, if any.

        Steps at or after ``step`` belong to an abandoned continuation (training was resumed from an earlier one) and
        are deleted.

        Args:
          step: optimizer steps done.
          state: a tree of arrays, typed random keys included; may be donated as soon as this returns.
          record: what to know beside the arrays, e.g. epoch and best metric; anything JSON can hold.

        Raises:
          WriteError: this or the write before failed; what was on disk stays.
        """
        state = jax.tree.map(_to_host, state)
        leaves = _leaves(state)
        sealed = {
            "record": json.loads(json.dumps(record, default=lambda value: value.item())),
            "leaves": {path: _describe(leaf) for path, leaf in leaves.items()},
            "state_sha256": digest(leaves),
        }
        sealed["record_sha256"] = _seal(sealed)
        self.wait()
        if self._saved.get(step) == sealed["record_sha256"] and step in self.steps():
            return
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(sealed))
        self._writing = step
        quiet.begin()  # until it is on disk
        with self._written():
            for later in self.steps():
                if later >= step:
                    self._manager.delete(later)
            self._manager.save(step, args=args, force=True)
        self._saved[step] = sealed["record_sha256"]

    def restore(self, target: Any, step: int | None = None) -> tuple[Any, dict[str, Any]]:
        """The newest checkpoint that verifies, as arrays on the default device.

        Args:
          target: a tree of the same structure, of arrays or of ``jax.ShapeDtypeStruct`` (from ``jax.eval_shape``).
          step: only this one; default is the newest that is sound.

        Returns:
          The state and its record.

        Raises:
          CheckpointError: there is none, none is sound, or a leaf has another shape or type than in ``target``.
        """
        self.wait()
        steps = self.steps()
        if step is not None and step not in steps:
            raise errors.CheckpointError(
                f"no checkpoint of step {step} in {self.folder}; there are: {steps or 'none'}."
            )
        if not steps:
            raise errors.CheckpointError(f"no checkpoint in {self.folder}.")
        damaged = []
        for candidate in reversed(steps) if step is None else [step]:
            try:
                restored = self._restore(target, candidate)
            except _DamageError as damage:
                damaged.append(f"{self.folder / str(candidate)} ({damage})")
                continue
            for line in damaged:
                warnings.warn(
                    f"damaged checkpoint passed over: {line}; step {candidate} is used instead",
                    errors.CheckpointWarning,
                    stacklevel=2,
                )
            return restored
        raise errors.CheckpointError(f"no sound checkpoint left: {'; '.join(damaged)}. Start the run anew.")

    def record(self, step: int) -> dict[str, Any]:
        """The record of a step, without its arrays. Raises CheckpointError if it is damaged."""
        self.wait()
        try:
            return self._sealed(step)["record"]
        except _DamageError as damage:
            raise errors.CheckpointError(f"damaged checkpoint {self.folder / str(step)}: {damage}.") from damage

    def wait(self) -> None:
        """Blocks until what was saved is on disk. Raises WriteError, once, if it is not."""
        if self._writing is None:
            return
        with self._written():
            self._manager.wait_until_finished()
        self._writing = None
        quiet.end()

    def close(self) -> None:
        """Waits, and ends the writing threads, also where the last write failed."""
        try:
            self.wait()
        finally:
            with quiet.during(), contextlib.suppress(*files.FOREIGN):  # what it raises was raised before
                self._manager.close()

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        step, done = self._writing, False
        try:
            with files.writing(self.folder, f"the checkpoint of step {step} in {self.folder.name}/"):
                yield
            done = True
        finally:
            if not done:
                self._writing = None
                self._saved.pop(step, None)
                quiet.end(failed=True)

    def _sealed(self, step: int) -> dict[str, Any]:
        # Read without orbax: a damaged record must not reach code that trusts it.
        path = self.folder / str(step) / "record" / "metadata"
        try:
            sealed = json.loads(path.read_bytes())
        except OSError as error:
            raise _DamageError("its record is missing or unreadable") from error
        except ValueError as error:
            raise _DamageError("its record is not JSON") from error
        if not isinstance(sealed, dict) or sealed.pop("record_sha256", None) != _seal(sealed):
            raise _DamageError("its record does not match its digest")
        return sealed | {"record_sha256": _seal(sealed)}

    def _restore(self, target: Any, step: int) -> tuple[Any, dict[str, Any]]:
        sealed = self._sealed(step)
        shapes = jax.tree.map(_to_struct, target)
        _check_same(self.folder / str(step), sealed["leaves"], {p: _describe(x) for p, x in _leaves(shapes).items()})
        empty = jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), shapes)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(empty))
        try:
            with quiet.during():
                state = self._manager.restore(step, args=args)["state"]
        except UNREADABLE as error:
            raise _DamageError(f"{type(error).__name__} while reading its arrays") from error
        if digest(_leaves(state)) != sealed["state_sha256"]:
            raise _DamageError("its arrays do not match their digest")
        return jax.tree.map(_to_device, state, target), sealed["record"]


class _DamageError(Exception):
    """Why a step cannot be trusted."""


def digest(leaves: Mapping[str, np.ndarray]) -> str:
    """SHA-256 in hex over path, data type, shape and bytes of every leaf, in the order given."""
    total = hashlib.sha256()
    for path, leaf in leaves.items():
        total.update(f"{path}\0{_describe(leaf)}\0".encode())
        total.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))
    return total.hexdigest()


def _seal(sealed: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def _check_same(where: pathlib.Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for path in found.keys() | wanted.keys():
        if path not in found:
            raise errors.CheckpointError(f"checkpoint {where} has no leaf {path}, which this model has.")
        if path not in wanted:
            raise errors.CheckpointError(f"checkpoint {where} has a leaf {path}, which this model has not.")
    for path, leaf in wanted.items():
        if found[path] != leaf:
            raise errors.CheckpointError(
                f"checkpoint {where} is of another model: leaf {path} is {found[path]} there and {leaf} here."
            )


def _leaves(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}[{','.join(map(str, leaf.shape))}]"


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_host(leaf: Any) -> np.ndarray:
    # A copy, always: on CPU np.asarray shares the buffer, and the next step is about to overwrite it.
    return np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _to_struct(leaf: Any) -> jax.ShapeDtypeStruct:
    if _is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else jax.eval_shape(jnp.asarray, leaf)


def _to_device(leaf: np.ndarray, target: Any) -> jax.Array:
    # A copy again: donating a buffer that numpy owns would be refused.
    array = jnp.array(leaf, copy=True)
    return jax.random.wrap_key_data(array, impl=_key_impl(target)) if _is_key(target) else array


def _key_impl(target: Any) -> Any:
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), target)  # traced, so that shapes alone will do
    return found[0]
