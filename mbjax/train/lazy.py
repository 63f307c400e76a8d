r"""Steps that cost what they touch: of tables that a loss reads by row, the rows of a batch alone are updated.

The rows of a batch, each once, are taken out of the tables and out of the optimizer's moments of them. What is then
differentiated and updated is the same model, built for as many users and items as a batch can have, by the same
optimizer; at last the rows are put back, in place. So gradients of a row that occurs more than once are added up, no
array of the shape of a table is formed but the table itself, and nothing here knows of an update rule.

With g_t a row's gradient at step t, 0 where it is not touched, and lazy meaning that nothing happens to it then:

* SGD, :math:`x_t = x_{t-1} - \eta g_t`, and Adagrad, :math:`n_t = n_{t-1} + g_t^2,\; x_t = x_{t-1} - \eta g_t /
  \sqrt{n_t}`, do nothing where the gradient is 0: lazy and dense are the same.
* Adam, :math:`m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t` and likewise v, goes on along m after the last gradient and
  forgets both while there is none. Lazy Adam does neither: m and v of a row are averages over the steps that touched
  it. Bias corrections count all steps, as in LazyAdam of TensorFlow Addons and SparseAdam of PyTorch. The first time
  that a row is touched both do the same with it; afterward a lazy row moves less between its batches.

A row is touched where it occurs with a weight above 0; padding touches none. All other parameters, such as the kernels
of a head, are updated as ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.experimental import sparse

from mbjax import types
from mbjax.ops import platforms

SIDES = ("user", "item")


class Touched(NamedTuple):
    """The rows of a side that a batch touches.

    Attributes:
      row: int32 [N], ascending, each once; then what is out of bounds, likewise, so that no two writes may meet.
      place: int32 [N], for every occurrence in the batch where in ``row`` it stands.
    """

    row: types.Array
    place: types.Array


def touched(ids: types.Array, number: types.Array | int) -> Touched:
    """Finds every row once.

    Args:
      ids: int32 [N], rows in any order and as often as they occur; ``number`` and above: of none.
      number: of rows that there are.
    """
    ordered = jnp.sort(ids)
    is_first = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    others = number + jnp.arange(ids.size, dtype=jnp.int32)
    # A CPU would compute anything but a sort anew for every value of every row that is taken.
    row = jnp.sort(jnp.where(is_first & (ordered < number), ordered, others))
    return Touched(row, platforms.search(row, jnp.minimum(ids, number) - 1))


@dataclasses.dataclass(frozen=True, eq=False)
class ByRow:
    """How the tables of a model are updated by row.

    Attributes:
      tables: name -> its rows; see ``types.Model.by_row``.
      build: ``(users, items) -> the model``, for so many.
      optimizer: of the training.
      shared: sides of which every device has all rows; ``()`` on one device.
    """

    tables: Mapping[str, types.RowTable]
    build: Callable[[int, int], types.Model]
    optimizer: optax.GradientTransformation
    shared: tuple[str, ...] = SIDES

    def step(
        self, state: types.TrainState, graphs: types.Graphs, batch: types.UserBatch, key: types.Array, several: bool
    ) -> tuple[types.Params, Any, dict[str, types.Array]]:
        """Parameters and optimizer state after a step, and the loss with its parts.

        Args:
          state: before it.
          graphs: of the model.
          batch: of this device.
          key: of the loss.
          several: whether devices are, over whom contributions are summed.
        """
        marks = self._marks(state.params)
        found = self._touched(state.params, batch)
        small = _map(_taken, state.params, marks, found)
        model = self.build(*(len(found[side].row) for side in SIDES))
        gradient = jax.value_and_grad(model.loss, has_aux=True)
        (loss, parts), grads = gradient(small, graphs, _renumbered(batch, found), key, state.step)
        logged = {"loss": loss, **parts}
        if several:
            logged, found, grads = self._summed(state.params, marks, found, logged, grads)
            small = _map(_taken, state.params, marks, found)
        in_state = optax.tree_map_params(
            self.optimizer, lambda _, mark: mark, state.opt_state, marks, transform_non_params=lambda _: DENSE
        )
        moments = _map(_taken, state.opt_state, in_state, found)
        updates, moments = self.optimizer.update(grads, moments, small)
        small = optax.apply_updates(small, updates)
        params = _map(_put, state.params, marks, found, small)
        return params, _map(_put, state.opt_state, in_state, found, moments), logged

    def _marks(self, params):
        """The ``RowTable`` of each leaf, or DENSE."""
        own = params["params"]
        return {"params": {name: self.tables.get(name) or jax.tree.map(lambda _: DENSE, own[name]) for name in own}}

    def _number(self, params, side):
        """Rows of a side that there are."""
        name, table = next((name, table) for name, table in self.tables.items() if table.side == side)
        return params["params"][name].shape[table.axis]

    def _touched(self, params, batch) -> dict[str, Touched]:
        users = [jnp.where(batch.weight > 0, batch.user, self._number(params, "user"))]
        number = self._number(params, "item")
        items = [jnp.where(weight > 0, item, number) for item, weight in _items(batch)]
        return {
            side: touched(jnp.concatenate([x.reshape(-1) for x in ids]), self._number(params, side))
            for side, ids in zip(SIDES, (users, items), strict=True)
        }

    def _summed(self, params, marks, found, logged, grads):
        """The same over all devices, each of which gets all rows that any of them touched."""
        everyone = {}
        for side in self.shared:
            number = self._number(params, side)
            row = jax.lax.all_gather(found[side].row, types.AXIS, tiled=True)
            everyone[side] = touched(row, number)

        def add(mark, gradient):
            if mark is DENSE:
                return jax.lax.psum(gradient, types.AXIS)
            if mark.side not in everyone:
                return gradient
            gradient = jax.lax.all_gather(gradient, types.AXIS, axis=mark.axis, tiled=True)
            return jnp.zeros_like(gradient).at[mark.index(everyone[mark.side].place)].add(gradient)

        logged = jax.lax.psum(logged, types.AXIS)
        return logged, found | everyone, jax.tree.map(add, marks, grads)


DENSE = types.RowTable("")
"""Marks what is updated as a whole."""


def _map(function, tree, marks, found, *rest):
    """``function(mark, rows, leaf, ...)`` of what is updated by row; of the rest what comes last."""

    def one(leaf, mark, *more):
        return (leaf, *more)[-1] if mark is DENSE else function(mark, found[mark.side].row, leaf, *more)

    return jax.tree.map(one, tree, marks, *rest)


def _taken(mark, row, table):
    """Some rows of a table; for those out of bounds whatever is there.

    On a CPU they are the product of a matrix of ones with it, whose native kernel reads rows that are far apart three
    times as fast as a gather does (benchmarks/README.md).
    """

    def on_cpu():
        inside = jnp.minimum(row, len(table) - 1)
        ones = jnp.ones(len(row), table.dtype), inside, jnp.arange(len(row) + 1, dtype=jnp.int32)
        return sparse.BCSR(ones, shape=(len(row), len(table))) @ table

    def elsewhere():
        return jnp.take(table, row, axis=mark.axis, mode="clip")

    return platforms.choose(cpu=elsewhere if mark.axis else on_cpu, default=elsewhere)


def _put(mark, row, table, values):
    return table.at[mark.index(row)].set(values, mode="drop", unique_indices=True, indices_are_sorted=True)


def _items(batch: types.UserBatch):
    """The items of a batch with their weights, in a fixed order."""
    for drawn in batch.triples.values():
        yield drawn.positive, drawn.weight
        yield drawn.negative, jnp.tile(drawn.weight, (1, drawn.negative.shape[1] // drawn.positive.shape[1]))
    if batch.points is not None:
        yield batch.points.item, batch.points.weight


def _renumbered(batch: types.UserBatch, found: Mapping[str, Touched]) -> types.UserBatch:
    """A batch whose users and items are places in ``Touched.row``."""
    shapes = [item.shape for item, _ in _items(batch)]
    ends = [0]
    for shape in shapes:
        ends.append(ends[-1] + shape[0] * shape[1])
    parts = iter([found["item"].place[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], shapes, strict=False)])
    triples = {name: drawn.replace(positive=next(parts), negative=next(parts)) for name, drawn in batch.triples.items()}
    points = None if batch.points is None else batch.points.replace(item=next(parts))
    return batch.replace(user=found["user"].place, triples=triples, points=points)
