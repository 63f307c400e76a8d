"""Graphs of which each edge is kept or dropped at random, in both directions alike."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental import sparse

from mbjax import types


def drop(graph: types.Graph, key: types.Array, rate: float, *, renormalized: bool = False) -> types.Graph:
    """A symmetric matrix without some of its edges.

    An edge is known by its two ends, not by its place among the entries, so that it goes from both of its rows and
    from the stored transpose.

    Args:
      graph: a symmetric matrix [N, N] without self loops, whole on this device.
      key: decides which; the same edges on every device.
      rate: probability of dropping.
      renormalized: scale what is left symmetrically by its own degrees, in place of dividing it by 1 - rate.
    """
    if not rate:
        return graph
    words = jax.random.bits(key, (2,), jnp.uint32)
    threshold = jnp.uint32(min(round((1.0 - rate) * 2**32), 2**32 - 1))

    def kept(matrix):
        row, column = matrix.indices.T.astype(jnp.uint32)
        low, high = jnp.minimum(row, column), jnp.maximum(row, column)
        is_kept = _mixed(_mixed(low + words[0]) ^ _mixed(high + words[1])) < threshold
        data = jnp.where(is_kept, matrix.data / (1.0 - rate), 0.0)
        if renormalized:
            ones = is_kept.astype(jnp.float32)
            degree = jnp.zeros(matrix.shape[0]).at[row].add(ones, indices_are_sorted=True)
            scale = jax.lax.rsqrt(jnp.maximum(degree, 1.0))
            data = ones * scale[row] * scale[column]
        return sparse.BCOO(
            (data, matrix.indices), shape=matrix.shape, indices_sorted=True, unique_indices=matrix.unique_indices
        )

    return graph.replace(matrix=kept(graph.matrix), transpose=kept(graph.transpose))


def _mixed(x: types.Array) -> types.Array:
    """A hash of uint32 numbers in which every bit depends on every other."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
