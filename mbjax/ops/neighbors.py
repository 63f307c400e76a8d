r"""Nearest items by the users that they share, and scores of what is near to a user's items.

With matrices R^a and R^b [U, I] of ones, x_j and y_i their columns, the similarity of item j of the one to item i of
the other is the damped cosine

.. math:: s_{ij} = \frac{x_j^T y_i}{|x_j|\,|y_i| + \sigma}

Similarities are found on the host, once for all users: items that share nobody have none, so that products of sparse
matrices take the sum over the users of (items by b) x (items by a), and rows of them are made and thinned out a tile at
a time. So no matrix [I, I] ever exists. Scores are summed on the device.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import struct

from mbjax import errors, types
from mbjax.ops import platforms, rows

TILE = 4_000_000  # similarities that exist at once, at least those of one item
MATRIX = 8  # bytes of a pair in a host matrix: its column and its value
KEY, TURNED = 8, 24  # bytes of a neighbor: its key, and with what that is turned into at the end
SIMILARITY = 24  # bytes of a place in a tile: 40 of a similarity, its row and keys included; many share one
LANES = 16  # entries of one item that are added at once
MOST_TURNS = 2**31 - 1  # of all histories together
TURNS = 1024  # turns of so many entries in a step of the loop over all pairs, on a CPU
WIDE = 2**16  # at most, elsewhere: some 1,000,000 entries


def nearest(
    ranked: scipy.sparse.csr_array, speaking: scipy.sparse.csr_array, most: int, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
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
    num_items = ranked.shape[1]
    most = min(most, num_items)
    speaking = scipy.sparse.csr_array(speaking).astype(np.float32)
    of = scipy.sparse.csr_array(ranked.T).astype(np.float32)  # [I, U]
    length = np.sqrt(np.diff(of.indptr).astype(np.float32))
    other = np.sqrt(np.bincount(speaking.indices, minlength=num_items).astype(np.float32))
    keys = np.zeros((num_items, most), np.uint64)
    for first, last in _tiles(of @ np.diff(speaking.indptr).astype(np.float64), num_items):
        row, shared = share(of, speaking, np.arange(first, last, dtype=np.int32))
        # Items that share a user have lengths of at least 1.
        similarity = shared.data / np.maximum(length[first + row] * other[shared.indices] + np.float32(shrinkage), 1)
        _keep(keys[first:last], _keys(shared.indices, similarity), shared.indptr)
    keys.sort(axis=1)
    return _read(keys[:, ::-1])


def share(
    of: scipy.sparse.csr_array, speaking: scipy.sparse.csr_array, items: np.ndarray
) -> tuple[np.ndarray, scipy.sparse.csr_array]:
    """What some items share with all others.

    Args:
      of: the items' users, float32 [I, U].
      speaking: the users' items, float32 [U, I].
      items: int [t].

    Returns:
      The row of each stored entry, int32, and ``of[items] @ speaking`` [t, I], in any order inside a row, with 0 for an
      item and itself.
    """
    shared = of[items] @ speaking
    row = np.repeat(np.arange(items.size, dtype=np.int32), np.diff(shared.indptr))
    shared.data[items[row] == shared.indices] = 0
    return row, shared


def _tiles(work: np.ndarray, width: int) -> Iterator[tuple[int, int]]:
    """Runs of rows with at most ``TILE`` entries, by what each takes at most: its work, and not more than its width."""
    ends = np.cumsum(np.minimum(work, width))
    first = 0
    while first < len(ends):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + TILE, side="right")))
        yield first, last
        first = last


def _keys(item: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of similarity, then of descending ids: bits of a float32 >= 0 ascend with it."""
    return (similarity.view(np.uint32).astype(np.uint64) << 32) | ~item.astype(np.uint32)


def _read(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Items and similarities of keys; item 0 where there is nothing."""
    similarity = (keys >> 32).astype(np.uint32).view(np.float32)
    return np.where(similarity > 0, ~keys.astype(np.uint32), 0).astype(np.int32), similarity


def _keep(out: np.ndarray, keys: np.ndarray, ptr: np.ndarray) -> None:
    """Writes the largest keys of each row, in any order; ``out`` is [t, N] of zeros."""
    most = out.shape[1]
    for row, (begin, end) in enumerate(zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)):
        found = keys[begin:end]
        if found.size > most:
            found.partition(found.size - most)
            found = found[-most:]
        out[row, : found.size] = found


@struct.dataclass
class Told:
    """What each item has to say to the items that it is a neighbor of.

    Attributes:
      ptr: int32 [I + 1]; item j owns entries ptr[j]:ptr[j + 1].
      item: int32 [E], of which j is a neighbor, ascending; at least one entry, be it of nobody.
      similarity: float32 [E].
      most: for 1, 2, 4, .. users, up to all of them or more, how many turns of ``LANES`` entries their histories take
        at most. It stands in the program: what an accelerator has to walk over is known before it begins.
    """

    ptr: types.Array
    item: types.Array
    similarity: types.Array
    most: tuple[int, ...] = struct.field(pytree_node=False)


def told(near: tuple[np.ndarray, np.ndarray], histories: scipy.sparse.csr_array) -> Told:
    """Turns neighbors of items, from ``nearest``, into items of neighbors.

    A user's scores are then found from his items alone: neighbors of a candidate are mostly items that he never met.

    Args:
      near: items [I, N] that speak for each item, and their similarities.
      histories: CSR [U, I] of ones, what is going to be spread, of all users who may be asked for.

    Raises:
      IncompatibleError: the histories have more to say than int32 can count.
    """
    speaking, similarity = near
    num_items = len(speaking)
    is_one = similarity > 0
    ptr = np.concatenate([[0], np.cumsum(is_one.sum(axis=1))])
    matrix = scipy.sparse.csr_array((similarity[is_one], speaking[is_one], ptr), shape=(num_items, num_items)).tocsc()
    turns = -(-np.diff(matrix.indptr).astype(np.int64) // LANES)
    before = np.concatenate([[0], np.cumsum(turns[histories.indices])])
    if before[-1] > MOST_TURNS:
        raise errors.IncompatibleError(
            f"the items that users met speak for others {before[-1]:,} times {LANES}, and {MOST_TURNS:,} are the most "
            "that can be counted: give fewer neighbors (model.neighbors)."
        )
    item, similarity = (x if x.size else np.zeros(1, x.dtype) for x in (matrix.indices, matrix.data))
    arrays = map(jnp.asarray, (matrix.indptr.astype(np.int32), item.astype(np.int32), similarity))
    return Told(*arrays, _most(np.diff(before[histories.indptr])))


def _most(work: np.ndarray) -> tuple[int, ...]:
    """The sum of the 1, 2, 4, .. largest numbers, up to that of all of them."""
    summed = np.cumsum(np.sort(work)[::-1])
    return tuple(int(summed[min(2**k, work.size) - 1]) for k in range((work.size - 1).bit_length() + 1))


def told_shapes(ranked: scipy.sparse.csr_array, speaking: scipy.sparse.csr_array, most: int) -> Told:
    """Shapes of ``told`` of ``nearest`` at most: an item has no more neighbors than its users met items."""
    num_items = ranked.shape[1]
    reach = ranked.T @ np.diff(speaking.indptr).astype(np.float64)  # with repetition
    entries = max(1, int(np.minimum(reach, min(most, num_items)).sum()))
    sizes = ((num_items + 1, jnp.int32), (entries, jnp.int32), (entries, jnp.float32))
    arrays = (jax.ShapeDtypeStruct((size,), dtype) for size, dtype in sizes)
    each = -(-entries // (num_items * LANES))  # as if all items had as much to say
    return Told(*arrays, _most(each * np.diff(speaking.indptr).astype(np.int64)))


def bytes_needed(ranked: scipy.sparse.csr_array, speaking: scipy.sparse.csr_array, most: int) -> int:
    """Memory that ``nearest`` and ``told`` take on the host at their peak."""
    copies = MATRIX * (ranked.nnz + speaking.nnz)
    kept = ranked.shape[1] * min(most, ranked.shape[1])
    return copies + max(KEY * kept + SIMILARITY * min(TILE, ranked.shape[1] ** 2), TURNED * kept)


@struct.dataclass
class Spread:
    """What items have to say, and whose histories say it.

    Attributes:
      said: from ``told``.
      history: row pointers [U + 1] and items [M] of the users, in CSR form.
      work: int32 [M + 1], turns of ``LANES`` entries that the pairs of the history before each take.
    """

    said: Told
    history: tuple[types.Array, types.Array]
    work: types.Array


def spread(said: Told, history: tuple[types.Array, types.Array]) -> Spread:
    """Neighbors for the histories of some users.

    Args:
      said: from ``told``.
      history: row pointers [U + 1] and items [M] of the users, in CSR form; those that ``told`` has seen, or some.
    """
    turns = -(-jnp.diff(said.ptr) // LANES)
    return Spread(said, history, _from_zero(turns[history[1]]))


def scores(table: Spread, users: types.Array, start: types.Array | int, size: int) -> types.Array:
    """Sums the similarities of a user's items to each item that they are neighbors of.

    As in ``ops.rows``, the number of pairs is known on the device only. So on a CPU all are walked over in blocks of
    fixed size up to the last; an accelerator takes as many turns as any so many users need (``Told.most``).

    Args:
      table: from ``spread``.
      users: int32 [B]; a user may occur several times.
      start: first item, may be traced.
      size: number of items.

    Returns:
      float32 [B, size].
    """
    said, (row_ptr, column) = table.said, table.history
    num_rows = users.shape[0]
    out = jnp.zeros((num_rows, size), jnp.float32)
    if not column.shape[0]:
        return out
    first, last = table.work[row_ptr[users]], table.work[row_ptr[users + 1]]
    lane = jnp.arange(LANES, dtype=jnp.int32)

    def over(width, number, ends):
        shift = last - ends

        def body(turn, out):
            place = turn * width + jnp.arange(width, dtype=jnp.int32)
            row = platforms.search(ends, place)  # B past the last: dropped
            place = place + shift.at[row].get(mode="clip")
            pair = platforms.search(table.work, place) - 1
            speaking = column.at[pair].get(mode="clip")
            begin = said.ptr[speaking] + (place - table.work[pair]) * LANES
            entry = begin[:, None] + lane  # [width, LANES]
            ranked = said.item.at[entry].get(mode="clip") - start
            is_one = (entry < said.ptr[speaking + 1][:, None]) & (ranked >= 0)
            similarity = said.similarity.at[entry].get(mode="clip")
            return out.at[row[:, None], jnp.where(is_one, ranked, size)].add(similarity, mode="drop")

        return jax.lax.fori_loop(0, number, body, out)

    def walk():
        ends = jnp.cumsum(last - first, dtype=jnp.int32)  # [B], in the order of `users`
        return over(TURNS, -(-ends[-1] // TURNS), ends)

    def counted():
        # Rows of a user who occurs again are copies of his first: no more is left than `most` says.
        own = jnp.arange(num_rows, dtype=jnp.int32)
        of = jnp.full(row_ptr.shape[0] - 1, num_rows, jnp.int32).at[users].min(own)[users]
        ends = jnp.cumsum(jnp.where(of == own, last - first, 0), dtype=jnp.int32)
        most = said.most[min((num_rows - 1).bit_length(), len(said.most) - 1)]
        width = max(1, min(most, WIDE))
        return over(width, -(-most // width), ends)[of]

    return platforms.choose(cpu=walk, default=counted)


def shares(table: Spread, user: types.Array | int, item: types.Array | int) -> types.Array:
    """What each of a user's items adds to ``scores``, float32 [I].

    Args:
      table: from ``spread``.
      user: one of its histories.
      item: that is scored.
    """
    said, (row_ptr, column) = table.said, table.history
    num_items, place = said.ptr.shape[0] - 1, jnp.arange(said.item.shape[0], dtype=jnp.int32)
    speaking = platforms.search(said.ptr, place) - 1
    is_one = (said.item == item) & (place < said.ptr[-1])
    similarity = jnp.zeros(num_items, jnp.float32)
    similarity = similarity.at[jnp.where(is_one, speaking, num_items)].add(said.similarity, mode="drop")
    return similarity * rows.met(row_ptr, column, jnp.atleast_1d(user), 0, num_items)[0]


def _from_zero(counts: types.Array) -> types.Array:
    """Row pointers of rows of some lengths."""
    return jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counts, dtype=jnp.int32)])
