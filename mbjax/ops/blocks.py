"""Rows taken a block at a time: products of a sparse matrix are cheapest with 32 to 128 dense columns, not more."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mbjax import types


def over_blocks(function: Callable[[types.Array], types.Array], rows: types.Array, most: int):
    """Applies a function to equal blocks of rows, one after another, and puts the results together.

    Unlike ``jax.vmap`` it runs what it is given as it is, so that native kernels stay in use; the last block is filled
    with its last row.

    Args:
      function: ``[b] -> [b, ...]``, or a tree of such arrays, a row of the result from a row of the argument.
      rows: [B, ...], at least one row.
      most: rows in a block; blocks are made as equal as possible.

    Returns:
      What ``function(rows)`` is, a tree of [B, ...].
    """
    number = -(-rows.shape[0] // most)
    size = -(-rows.shape[0] // number)
    padding = ((0, number * size - rows.shape[0]),) + ((0, 0),) * (rows.ndim - 1)
    padded = jnp.pad(rows, padding, mode="edge").reshape(number, size, *rows.shape[1:])
    out = jax.lax.map(function, padded)
    return jax.tree.map(lambda x: x.reshape(number * size, *x.shape[2:])[: rows.shape[0]], out)
