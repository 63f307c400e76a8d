r"""MB-EASE by its columns: the regressions of ``ops.ridge`` where there are fewer columns than users.

X [U, C] has C = K I weighted columns, that of item j and behavior a at a I + j. One inverse serves all regressions:

.. math:: B = (X^T X + \lambda' 1)^{-1}, \qquad w = -B_{R,S} (B_{SS})^{-1} e_t

are the weights of the columns R outside S_j in the regression of column t, which is one of S_j. So with
c_j = (B_SS)^-1 e_t, divided by the weight of column t and zero outside S_j, a user with the histories x gets

.. math:: x_{tj} - \sum_a c_{ja} V_{aj}, \qquad V = (w x) B,

which does not depend on his own entries in S_j. The target needs a weight: a behavior that is no regressor is left to
the dual form.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import struct
from jax import lax

from mbjax import types
from mbjax.ops import inverse, platforms, ridge

ENTRIES = 32  # of a user's history that are read at once


@struct.dataclass
class Primal:
    """The inverse that all regressions share.

    Attributes:
      inverse: B, float32 [C, C], symmetric.
      penalty: lambda', in absolute units, float32 scalar.
      weights: float32 [K, I], of the columns.
    """

    inverse: types.Array
    penalty: types.Array
    weights: types.Array


def invert(
    blocks: Sequence[scipy.sparse.csr_array],
    weights: Sequence[float] | np.ndarray,
    penalty: float,
    scaled: bool = True,
) -> Primal:
    """As ``ridge.invert``; weights are above 0."""
    weights = ridge.column_weights(weights, len(blocks), blocks[0].shape[1])
    if not (weights > 0).all():
        raise ValueError("the primal form needs a weight above 0 for every behavior")
    whole = ridge.weighted(blocks, weights)
    absolute = ridge.absolute_penalty(whole, penalty) if scaled else penalty
    return Primal(inverse.penalized(whole.T, absolute), jnp.float32(absolute), jnp.asarray(weights))


def gram(primal: Primal) -> np.ndarray:
    """B_SS of all of an item's columns, float32 [I, K, K]."""
    num_behaviors, num_items = primal.weights.shape
    columns = jnp.arange(num_behaviors) * num_items + jnp.arange(num_items)[:, None]  # [I, K]
    return np.asarray(primal.inverse[columns[:, :, None], columns[:, None, :]])


def coefficients(
    products: np.ndarray, target: int, leave: ridge.Leave, weights: Sequence[float] | np.ndarray
) -> np.ndarray:
    """c, float32 [I, K], zero outside S_j.

    Args:
      products: what ``gram`` gave.
      target: index of the behavior that is predicted.
      leave: S_j, as for ``ridge.corrections``.
      weights: of the columns.
    """
    products = np.asarray(products, np.float64)
    num_items, num_behaviors = products.shape[:2]
    chosen = np.arange(num_behaviors) if leave == "all" else np.array([target])
    unit = np.broadcast_to((chosen == target).astype(np.float64)[:, None], (num_items, len(chosen), 1))
    out = np.zeros((num_items, num_behaviors))
    out[:, chosen] = np.linalg.solve(products[:, chosen[:, None], chosen], unit)[:, :, 0]
    return (out / ridge.column_weights(weights, num_behaviors, num_items)[target][:, None]).astype(np.float32)


def rows(
    primal: Primal,
    graphs: Sequence[types.Graph],
    users: types.Array,
    start: types.Array | int,
    size: int,
    chosen: Sequence[int] | None = None,
) -> types.Array:
    """V, float32 [K, B, size]: (w x) B of the columns of items start .. start + size - 1, for every behavior.

    Args:
      primal: the inverse.
      graphs: the blocks, as ``ridge.place`` puts them on the device; passive users may come last.
      users: int32 [B], of the rows of the blocks.
      start: first item, may be traced.
      size: number of items.
      chosen: behaviors whose columns are wanted, in place of all K.
    """
    num_behaviors, num_items = primal.weights.shape
    chosen = range(num_behaviors) if chosen is None else chosen
    tile = jnp.concatenate(
        [lax.dynamic_slice_in_dim(primal.inverse, a * num_items + start, size, axis=1) for a in chosen], axis=1
    )  # [C, chosen * size]

    def one(user):
        """Reads the rows of the inverse that belong to a user's pairs, a few at a time: [chosen * size]."""
        out = jnp.zeros(tile.shape[1], jnp.float32)
        for a, g in enumerate(graphs):
            first, end = g.row_ptr[user], g.row_ptr[user + 1]

            def add(turn, out, a=a, g=g, first=first, end=end):
                entry = first + turn * ENTRIES + jnp.arange(ENTRIES, dtype=jnp.int32)
                item = g.matrix.indices.at[entry, 1].get(mode="clip")
                value = g.matrix.data.at[entry].get(mode="clip") * primal.weights[a, item] * (entry < end)
                return out + jnp.sum(value[:, None] * tile[a * num_items + item], axis=0)

            if g.matrix.nse:
                out = lax.fori_loop(0, (end - first + ENTRIES - 1) // ENTRIES, add, out)
        return out

    def dense():
        x = ridge.entries(graphs, users, 0, num_items) * primal.weights[:, None]  # [K, B, I]
        return jnp.matmul(x.transpose(1, 0, 2).reshape(users.shape[0], -1), tile, precision=lax.Precision.HIGHEST)

    out = platforms.choose(cpu=lambda: lax.map(one, users), default=dense)
    return out.reshape(users.shape[0], len(chosen), size).transpose(1, 0, 2)


def combine(products: types.Array, c: types.Array) -> types.Array:
    """- sum_a c_ja V_a, [B, size]: the prediction but for x_tj.

    Args:
      products: V [K, B, size].
      c: of the items of the tile, [size, K].
    """
    return -sum(c[:, a] * of for a, of in enumerate(products))
