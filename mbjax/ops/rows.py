"""Rows of a sparse matrix as dense tiles: which of some items each user of a batch has met.

The number of pairs of a batch is known on the device only. So on a CPU all of them are walked over in blocks of fixed
size, and the walk stops after the last: no capacity is fixed, and a long history costs what it holds. On an accelerator
all places that pairs of a batch may take are looked at at once, which are as many as the matrix has entries; the walk
is for matrices so large that this would cost more than waiting for the device to say how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import platforms

Result = TypeVar("Result")

BLOCK = 4096  # pairs a turn on a CPU
WIDE = 2**17  # elsewhere, where the host waits for the device at every turn
AT_ONCE = 2**21  # stored entries up to which nothing waits


def has(row_ptr: types.Array, column: types.Array, row: types.Array, item: types.Array) -> types.Array:
    """Whether rows have columns, by halving: bool [N].

    Args:
      row_ptr: int32 [R + 1] of a matrix in CSR form.
      column: int32 [E], its column indices, ascending in each row.
      row: int32 [N]; one that is not there is clipped.
      item: int32 [N], the column asked for.
    """
    if not column.shape[0]:
        return jnp.zeros(row.shape, bool)
    end = row_ptr.at[row + 1].get(mode="clip")

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        is_below = (low < high) & (column.at[middle].get(mode="clip") < item)
        return jnp.where(is_below, middle + 1, low), jnp.where(is_below, high, jnp.maximum(middle, low))

    low, _ = platforms.fori(column.shape[0].bit_length(), halve, (row_ptr.at[row].get(mode="clip"), end))
    return (low < end) & (column.at[low].get(mode="clip") == item)


def met(
    row_ptr: types.Array,
    column: types.Array,
    rows: types.Array,
    start: types.Array | int,
    size: int,
    value: types.Array | None = None,
) -> types.Array:
    """Marks the stored columns of some rows among the columns start .. start + size - 1.

    Args:
      row_ptr: int32 [R + 1] of a matrix in CSR form.
      column: int32 [N], its column indices.
      rows: int32 [B]; a row may occur several times.
      start: first column, may be traced.
      size: number of columns.
      value: float32 [N], of each stored entry; None: 1.

    Returns:
      float32 [B, size]: the value where the row has the column, else 0.
    """
    out = jnp.zeros((rows.shape[0], size), jnp.float32)
    if not column.shape[0]:
        return out
    num_rows = rows.shape[0]

    def mark(row, source, out):
        place = column.at[source].get(mode="clip") - start
        place = jnp.where(place < 0, size, place)  # a negative index would count from the end
        return out.at[row, place].set(1.0 if value is None else value.at[source].get(mode="clip"), mode="drop")

    def at_once():
        # Rows that occur again take their copy of the first: those that are left have no more entries than the matrix.
        own = jnp.arange(num_rows, dtype=jnp.int32)
        first = jnp.full(row_ptr.shape[0] - 1, num_rows, jnp.int32).at[rows].min(own)[rows]
        ends = jnp.cumsum(jnp.where(first == own, row_ptr[rows + 1] - row_ptr[rows], 0), dtype=jnp.int32)
        return _over(row_ptr, rows, ends, column.shape[0], 1, mark, out)[first]

    elsewhere = at_once if column.shape[0] <= AT_ONCE else lambda: walk(row_ptr, rows, WIDE, mark, out)
    return platforms.choose(cpu=lambda: walk(row_ptr, rows, BLOCK, mark, out), default=elsewhere)


def walk(
    row_ptr: types.Array,
    rows: types.Array,
    width: int,
    body: Callable[[types.Array, types.Array, Result], Result],
    init: Result,
) -> Result:
    """Takes a result through all stored entries of some rows, so many a turn, up to the last.

    Args:
      row_ptr: int32 [R + 1] of a matrix in CSR form.
      rows: int32 [B]; a row may occur several times.
      width: entries a turn.
      body: ``(place in rows [width], place among the matrix's entries [width], result) -> result``; past the last entry
        the first is B and the second means nothing.
      init: what it begins with.
    """
    ends = jnp.cumsum(row_ptr[rows + 1] - row_ptr[rows], dtype=jnp.int32)  # [B], in the order of `rows`
    return _over(row_ptr, rows, ends, width, (ends[-1] + width - 1) // width, body, init)


def _over(row_ptr, rows, ends, width, turns, body, init):
    # Entry e of row b of the batch is entry e + shift[b] of the matrix.
    shift = row_ptr[rows + 1] - ends

    def turn(number, result):
        entry = number * width + jnp.arange(width, dtype=jnp.int32)
        row = platforms.search(ends, entry)
        return body(row, entry + shift.at[row].get(mode="clip"), result)

    return jax.lax.fori_loop(0, turns, turn, init)
