"""Users divided among devices, with all that there is of them: rows of tables, optimizer state, edges, histories.

Each device has a block of users, the first has the first ones; items it has whole. What a device computes is the model
that is built for the users of a block (``types.Block``). Which axis of an array is that of users, if any, is read off
the shapes of the model of all users and of that of a block; nothing is known of their names. Blocks are equal, so the
last ones may hold padding: rows of zeros, which nothing reads. Arrays that leave the devices have none, and so
checkpoints do not depend on the number of devices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mbjax import errors, parallel, types


@dataclasses.dataclass(frozen=True, eq=False)
class Shards(parallel.Placement):
    """A placement that divides users; compared by identity.

    Attributes:
      model: built for the users of a block.
      num_users: U, of all blocks.
      block: users of a block.
      states: the shapes of the training state of all blocks together, padding included, and of a block.
      tables: the same of what ``encode`` returns.
    """

    model: types.Model | None = None
    num_users: int = 0
    block: int = 0
    states: tuple[Any, Any] = ()
    tables: tuple[Any, Any] = ()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @functools.cached_property
    def axes(self) -> types.TrainState:
        """The axis of users of each leaf of the training state, -1 for none."""
        return jax.tree.map(self._axis, *self.states)

    def _axis(self, whole: Any, part: Any) -> int:
        if whole.shape == part.shape:
            return -1
        differ = [n for n, sizes in enumerate(zip(whole.shape, part.shape, strict=True)) if sizes[0] != sizes[1]]
        if len(differ) != 1 or (whole.shape[differ[0]], part.shape[differ[0]]) != (self.size * self.block, self.block):
            raise errors.IncompatibleError(
                f"--shard=tables divides users, and this model has an array of {whole.shape} that holds them and other "
                "things on one axis. Leave --shard out."
            )
        return differ[0]

    @property
    def own(self) -> Any:
        """Of each leaf of the parameters, whether it is divided."""
        return jax.tree.map(lambda axis: axis >= 0, self.axes.params)

    def put(self, state: types.TrainState) -> types.TrainState:
        """Divides a state; what is divided already stays as it is."""
        return jax.tree.map(self._put, state, self._axes_of(state))

    def kept(self, state: types.TrainState) -> types.TrainState:
        """A divided state on the host, without padding."""
        return jax.tree.map(self._kept, state, self._axes_of(state))

    def placed(self, params: types.Params, graphs: types.Graphs) -> tuple[types.Params, types.Graphs]:
        """Divides parameters; graphs were divided when they were built."""
        return jax.tree.map(self._put, params, self.axes.params), graphs

    def kept_params(self, params: types.Params) -> types.Params:
        """Divided parameters on the host, without padding."""
        return jax.tree.map(self._kept, params, self.axes.params)

    def _axes_of(self, state):
        return self.axes if jax.tree.leaves(state.opt_state) else self.axes.replace(opt_state=state.opt_state)

    def _put(self, x: Any, axis: int) -> jax.Array:
        if axis < 0:
            return self.everywhere(x)
        sharding = NamedSharding(self.mesh, PartitionSpec(*(None,) * axis, parallel.AXIS))
        if isinstance(x, jax.Array) and x.sharding == sharding:
            return x
        x = np.asarray(x)
        more = [(0, 0)] * x.ndim
        more[axis] = (0, self.size * self.block - x.shape[axis])
        return jax.make_array_from_callback(
            (*x.shape[:axis], self.size * self.block, *x.shape[axis + 1 :]), sharding, np.pad(x, more).__getitem__
        )

    def _kept(self, x: jax.Array, axis: int) -> Any:
        if axis < 0:
            return self.here(x)
        return parallel.whole(x)[(slice(None),) * axis + (slice(self.num_users),)]

    def divide(self, function: Callable[..., Any], number: int = 1, specs: Any = ()) -> Callable[..., Any]:
        """As that of ``Placement``; ``specs``: of the first arguments, leaf by leaf, as ``specs_of`` gives them."""

        def run(*given):
            first = tuple(jax.tree.unflatten(jax.tree.structure(x), s) for x, s in zip(given, specs, strict=False))
            middle = (parallel.WHOLE,) * (len(given) - number - len(first))
            in_specs = (*first, *middle, *(parallel.DIVIDED,) * number)
            return jax.shard_map(
                function, mesh=self.mesh, in_specs=in_specs, out_specs=parallel.DIVIDED, check_vma=False
            )(*given)

        return run

    def encode(self, params: types.Params, graphs: types.Graphs) -> types.Tables:
        """What ``Model.encode`` makes, divided as parameters are."""
        return self._encoder(params, graphs)

    @functools.cached_property
    def _encoder(self) -> Callable[..., Any]:
        out = jax.tree.map(lambda *pair: _spec(self._axis(*pair)), *self.tables)

        def run(params, graphs):
            return jax.shard_map(
                self.model.encode,
                mesh=self.mesh,
                in_specs=(jax.tree.map(_spec, self.axes.params), parallel.DIVIDED),
                out_specs=out,
                check_vma=False,
            )(params, graphs)

        return jax.jit(run)

    def compile_divided(self, chunk: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles a chunk as ``compile_chunk`` does, of a divided state, divided graphs and a divided store."""

        def run(state, graphs, store, plan, first, length):
            specs = jax.tree.map(_spec, self.axes)
            in_specs = (specs, parallel.DIVIDED, _specs_of_store(store), parallel.WHOLE, parallel.WHOLE)

            def one(*given):
                return chunk(*given, length, jax.lax.axis_index(parallel.AXIS))

            each = jax.shard_map(
                one, mesh=self.mesh, in_specs=in_specs, out_specs=(specs, parallel.WHOLE), check_vma=False
            )
            return each(state, graphs, store, plan, first)

        return jax.jit(run, static_argnums=5, donate_argnums=0)

    def deal(self, users: np.ndarray, batch_size: int) -> tuple[np.ndarray, int, int]:
        """Deals queries to the devices that have the users.

        Returns:
          The place of each, batches of a device one after another, all of one size; the number of batches; their size.
        """
        owner = users // self.block
        counts = np.bincount(owner, minlength=self.size)
        batches = -(-int(counts.max()) // batch_size)
        size = -(-int(counts.max()) // batches)
        order = np.argsort(owner, kind="stable")
        place = np.empty(len(users), np.int64)
        place[order] = np.arange(len(users)) - (np.cumsum(counts) - counts)[owner[order]]
        return owner * batches * size + place, batches * self.size, size


def specs_of(*trees: Any) -> tuple[tuple[PartitionSpec, ...], ...]:
    """How the leaves of some trees are divided, as ``Shards.divide`` takes it."""
    return tuple(tuple(leaf.sharding.spec for leaf in jax.tree.leaves(tree)) for tree in trees)


def _spec(axis: int) -> PartitionSpec:
    return parallel.WHOLE if axis < 0 else PartitionSpec(*(None,) * axis, parallel.AXIS)


def _specs_of_store(store: Any) -> Any:
    return jax.tree.map(lambda _: parallel.DIVIDED, store).replace(active=parallel.WHOLE)
