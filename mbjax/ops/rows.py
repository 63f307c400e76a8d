"""Rows of a sparse matrix as dense tiles: which of some items each user of a batch has met.

The number of pairs of a batch is known on the device only. So all of them are walked over in blocks of fixed size,
and the walk stops after the last: no capacity is fixed, and a long history costs what it holds.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types

BLOCK = 4096  # pairs a turn on a CPU
WIDE = 2**17  # elsewhere, where the host waits for the device at every turn


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
    first = row_ptr[rows]
    ends = jnp.cumsum(row_ptr[rows + 1] - first, dtype=jnp.int32)  # [B], in the order of `rows`
    # Entry e of row b of the batch is entry e + shift[b] of the matrix.
    shift = row_ptr[rows + 1] - ends

    def walk(width):
        def body(turn, out):
            entry = turn * width + jnp.arange(width, dtype=jnp.int32)
            row = jnp.searchsorted(ends, entry, side="right").astype(jnp.int32)  # B past the last entry: dropped
            source = entry + shift.at[row].get(mode="clip")
            place = column.at[source].get(mode="clip") - start
            place = jnp.where(place < 0, size, place)  # a negative index would count from the end
            return out.at[row, place].set(1.0 if value is None else value.at[source].get(mode="clip"), mode="drop")

        return jax.lax.fori_loop(0, (ends[-1] + width - 1) // width, body, out)

    return jax.lax.platform_dependent(cpu=lambda: walk(BLOCK), default=lambda: walk(WIDE))
