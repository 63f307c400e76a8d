r"""Nearest items by the users that they share, and scores of what is near to a user's items.

With matrices R^a and R^b [U, I] of ones, x_j and y_i their columns, the similarity of item j of the one to item i of
the other is the damped cosine

.. math:: s_{ij} = \frac{x_j^T y_i}{|x_j|\,|y_i| + \sigma}

Similarities are computed on the device in tiles of items, as products of the sparse matrix with a dense tile, and only
the nearest are kept. So no matrix [I, I] ever exists.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import blocks, graph, platforms, ranking, rows

BLOCK = 64  # dense columns of a product: items whose similarities are computed at once
LANES = 16  # entries of one item that are added at once
TURNS = 1024  # turns of so many entries in a step of the loop over all pairs, on a CPU
WIDE = 2**16  # elsewhere, where the host waits for the device at every step


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


class Spread(NamedTuple):
    """What each item has to say to the items that it is a neighbor of, and whose histories say it.

    Attributes:
      ptr: int32 [I + 1]; item j owns entries ptr[j]:ptr[j + 1].
      item: int32 [I N], of which j is a neighbor, ascending.
      similarity: float32 [I N].
      history: row pointers [U + 1] and items [M] of the users, in CSR form.
      work: int32 [M + 1], turns of ``LANES`` entries that the pairs of the history before each take.
    """

    ptr: types.Array
    item: types.Array
    similarity: types.Array
    history: tuple[types.Array, types.Array]
    work: types.Array


def spread(near: tuple[types.Array, types.Array], history: tuple[types.Array, types.Array]) -> Spread:
    """Turns neighbors of items, from ``nearest``, into items of neighbors, for the histories of some users.

    A user's scores are then found from his items alone: neighbors of a candidate are mostly items that he never met.

    Args:
      near: items and similarities [I, N].
      history: row pointers [U + 1] and items [M] of the users, in CSR form.
    """
    speaking, similarity = near
    num_items, most = speaking.shape
    ranked = jnp.repeat(jnp.arange(num_items, dtype=jnp.int32), most)
    # Places without a neighbor go behind the last item.
    speaking = jnp.where(similarity > 0, speaking, num_items).ravel()
    order = jnp.argsort(speaking, stable=True)
    counts = jnp.zeros(num_items, jnp.int32).at[speaking].add(1, mode="drop")
    ptr, turns = _from_zero(counts), -(-counts // LANES)
    return Spread(ptr, ranked[order], similarity.ravel()[order], history, _from_zero(turns[history[1]]))


def scores(table: Spread, users: types.Array, start: types.Array | int, size: int) -> types.Array:
    """Sums the similarities of a user's items to each item that they are neighbors of.

    As in ``ops.rows``, the number of pairs is known on the device only: all are walked over in blocks of fixed size.

    Args:
      table: from ``spread``.
      users: int32 [B]; a user may occur several times.
      start: first item, may be traced.
      size: number of items.

    Returns:
      float32 [B, size].
    """
    row_ptr, column = table.history
    out = jnp.zeros((users.shape[0], size), jnp.float32)
    if not column.shape[0]:
        return out
    first, last = table.work[row_ptr[users]], table.work[row_ptr[users + 1]]
    ends = jnp.cumsum(last - first, dtype=jnp.int32)  # [B], in the order of `users`
    shift = last - ends
    lane = jnp.arange(LANES, dtype=jnp.int32)

    def body(width, turn, out):
        place = turn * width + jnp.arange(width, dtype=jnp.int32)
        row = platforms.search(ends, place)  # B past the last: dropped
        place = place + shift.at[row].get(mode="clip")
        pair = platforms.search(table.work, place) - 1
        speaking = column.at[pair].get(mode="clip")
        begin = table.ptr[speaking] + (place - table.work[pair]) * LANES
        entry = begin[:, None] + lane  # [width, LANES]
        ranked = table.item.at[entry].get(mode="clip") - start
        is_one = (entry < table.ptr[speaking + 1][:, None]) & (ranked >= 0)
        similarity = table.similarity.at[entry].get(mode="clip")
        return out.at[row[:, None], jnp.where(is_one, ranked, size)].add(similarity, mode="drop")

    def walk(width):
        return jax.lax.fori_loop(0, -(-ends[-1] // width), functools.partial(body, width), out)

    return jax.lax.platform_dependent(cpu=lambda: walk(TURNS), default=lambda: walk(WIDE))


def shares(table: Spread, user: types.Array | int, item: types.Array | int) -> types.Array:
    """What each of a user's items adds to ``scores``, float32 [I].

    Args:
      table: from ``spread``.
      user: one of its histories.
      item: that is scored.
    """
    row_ptr, column = table.history
    num_items = table.ptr.shape[0] - 1
    speaking = jnp.searchsorted(table.ptr, jnp.arange(table.item.shape[0], dtype=jnp.int32), side="right") - 1
    is_one = (table.item == item) & (jnp.arange(table.item.shape[0]) < table.ptr[-1])
    similarity = jnp.zeros(num_items, jnp.float32)
    similarity = similarity.at[jnp.where(is_one, speaking, num_items)].add(table.similarity, mode="drop")
    return similarity * rows.met(row_ptr, column, jnp.atleast_1d(user), 0, num_items)[0]


def _from_zero(counts: types.Array) -> types.Array:
    """Row pointers of rows of some lengths."""
    return jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counts, dtype=jnp.int32)])
