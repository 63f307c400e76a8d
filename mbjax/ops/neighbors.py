r"""Nearest items by the users that they share, and scores of what is near to a user's items.

With matrices R^a and R^b [U, I] of ones, x_j and y_i their columns, the similarity of item j of the one to item i of
the other is the damped cosine

.. math:: s_{ij} = \frac{x_j^T y_i}{|x_j|\,|y_i| + \sigma}

Similarities are computed on the device in tiles of items, as products of the sparse matrix with a dense tile, and only
the nearest are kept. So no matrix [I, I] ever exists.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental import sparse

from mbjax import types
from mbjax.ops import blocks, graph, ranking, rows

BLOCK = 64  # dense columns of a product: users scored, or items whose similarities are computed, at once


def nearest(ranked: types.Graph, speaking: types.Graph, most: int, shrinkage: float) -> tuple[types.Array, types.Array]:
    """For each item of one matrix the items of another that are most similar to it, itself left out.

    Args:
      ranked: R^b [U, I] of ones, whose items have neighbors.
      speaking: R^a [U, I] of ones, whose items are the neighbors; may be the same.
      most: N.
      shrinkage: sigma.

    Returns:
      Items int32 [I, N] and similarities float32 [I, N], descending, ties to the smaller id; 0 where an item has no
      further neighbor. N is at most I.
    """
    of, among = graph.transposed(ranked), graph.transposed(speaking)  # [I, U]
    num_items, num_users = of.matrix.shape
    length, other = (jnp.sqrt(jnp.diff(g.row_ptr).astype(jnp.float32)) for g in (of, among))

    def block(items):
        met = rows.met(of.row_ptr, of.matrix.indices[:, 1], items, 0, num_users)  # [b, U]
        shared = graph.spmm(among, met.T).T  # [b, I]
        shared = shared.at[jnp.arange(items.shape[0]), items].set(0.0)
        # Items that share a user have lengths of at least 1.
        similarity = shared / jnp.maximum(length[items, None] * other + shrinkage, 1.0)
        found = ranking.top_k(similarity, min(most, num_items))
        return found.item.astype(jnp.int32), found.score

    return blocks.over_blocks(block, jnp.arange(num_items, dtype=jnp.int32), BLOCK)


def scores(
    neighbors: tuple[types.Array, types.Array],
    history: tuple[types.Array, types.Array],
    users: types.Array,
    start: types.Array | int,
    size: int,
) -> types.Array:
    """Sums the similarities of a user's items to each item that they are neighbors of.

    Args:
      neighbors: from ``nearest``.
      history: row pointers [U + 1] and items [N] of the users, in CSR form.
      users: int32 [B].
      start: first item, may be traced.
      size: number of items.

    Returns:
      float32 [B, size].
    """
    item, similarity = (jax.lax.dynamic_slice_in_dim(x, start, size) for x in neighbors)  # [size, N]
    num_items = neighbors[0].shape[0]
    near = _sparse(item, similarity, num_items)

    def block(block_users):
        met = rows.met(*history, block_users, 0, num_items)  # [b, I]
        return graph.spmm(near, met.T).T

    return blocks.over_blocks(block, users, BLOCK)


def _sparse(column: types.Array, value: types.Array, num_columns: int) -> types.Graph:
    """Rows of equally many entries, [R, N] each, as a matrix for products without a derivative."""
    num_rows, width = column.shape
    row = jnp.repeat(jnp.arange(num_rows, dtype=jnp.int32), width)
    matrix = sparse.BCOO((value.ravel(), jnp.stack([row, column.ravel()], axis=1)), shape=(num_rows, num_columns))
    return types.Graph(matrix, jnp.arange(num_rows + 1, dtype=jnp.int32) * width, None, None)
