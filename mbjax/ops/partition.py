"""The log-partition of a linear softmax decoder, without ever holding its logits.

A batch of 500 users against 13,465 items is 27 MB of logits for each behavior, written and read several times by a
plain log-softmax. Here rows are taken in tiles: the logits of a tile stay in cache, and the forward pass of a
differentiated call already forms the gradients, since those of a log-partition are known once it is. Rows of weight 0
(users without items of that behavior: four of five for JD's favourites) are sorted behind the others and skipped on a
CPU. On an accelerator a tile is as large as memory allows, mostly all rows, and none is skipped: not to wait for the
device to say how many is worth more (``ops.platforms``).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import platforms

ROW_TILE = 128  # rows, on a CPU
CELLS = 2**26  # logits in a tile elsewhere


def tiles(latent, weight, row_tile):
    """Rows with weight first, in whole tiles; returns their order, the padded arrays and the number of busy tiles."""
    num_rows = latent.shape[0]
    order = jnp.argsort(weight == 0, stable=True)  # rows that count first
    extra = -num_rows % row_tile
    latent = jnp.pad(latent[order], ((0, extra), (0, 0)))
    weight = jnp.pad(weight[order], (0, extra))
    busy = (jnp.sum(weight != 0) + row_tile - 1) // row_tile
    return order, latent, weight, busy


def _tile_log_partition(latent, kernel, bias):
    """Softmax numerators [T, I], their sums [T, 1] and the log-partitions [T] of one tile of rows."""
    logits = latent @ kernel.T + bias  # [T, I]
    peak = jnp.max(logits, axis=1, keepdims=True)
    numerator = jnp.exp(logits - peak)
    total = jnp.sum(numerator, axis=1, keepdims=True)
    return numerator, total, (peak + jnp.log(total))[:, 0]


def _row_tile(num_rows: int) -> int:
    return min(ROW_TILE, num_rows)


def wide_tiles(latent, kernel, weight):
    """All rows in their order, in few tiles: padded latent and weights, the rows of a tile and the number of tiles."""
    num_rows = max(latent.shape[0], 1)
    tile = max(1, min(num_rows, CELLS // max(kernel.shape[0], 1)))
    turns = -(-num_rows // tile)
    extra = turns * tile - latent.shape[0]
    return jnp.pad(latent, ((0, extra), (0, 0))), jnp.pad(weight, (0, extra)), tile, turns


def log_partitions(latent: types.Array, kernel: types.Array, bias: types.Array) -> types.Array:
    """The log-partition of each row, float [B]; arguments as for ``weighted_log_partition``. Not differentiated."""
    num_rows, tile = latent.shape[0], _row_tile(latent.shape[0])
    rows = jnp.pad(latent, ((0, -num_rows % tile), (0, 0))).reshape(-1, tile, latent.shape[1])
    found = jax.lax.map(lambda z: _tile_log_partition(z, kernel, bias)[2], rows)
    return found.reshape(-1)[:num_rows]


@jax.custom_vjp
def weighted_log_partition(
    latent: types.Array, kernel: types.Array, bias: types.Array, weight: types.Array
) -> types.Array:
    r"""Sum over rows of weight times log-partition of a linear decoder.

    .. math:: \sum_u w_u \ln \sum_i \exp(z_u \cdot W_i + b_i)

    Args:
      latent: z, float [B, D].
      kernel: W, float [I, D].
      bias: b, float [I].
      weight: w, float [B]; rows with exactly 0 are skipped: they cost nothing and get zero gradients.

    Returns:
      Scalar, in nats.
    """

    def over(rows, weights, tile, turns):
        def body(turn, total):
            z = jax.lax.dynamic_slice_in_dim(rows, turn * tile, tile)
            _, _, log_partition = _tile_log_partition(z, kernel, bias)
            return total + jnp.dot(jax.lax.dynamic_slice_in_dim(weights, turn * tile, tile), log_partition)

        return jax.lax.fori_loop(0, turns, body, jnp.zeros((), latent.dtype))

    def walk():
        tile = _row_tile(latent.shape[0])
        _, rows, weights, busy = tiles(latent, weight, tile)
        return over(rows, weights, tile, busy)

    return platforms.choose(cpu=walk, default=lambda: over(*wide_tiles(latent, kernel, weight)))


def _forward(latent, kernel, bias, weight):
    def over(rows, weights, tile, turns):
        def body(turn, carry):
            d_latent, d_kernel, d_bias, log_partitions = carry
            z = jax.lax.dynamic_slice_in_dim(rows, turn * tile, tile)
            w = jax.lax.dynamic_slice_in_dim(weights, turn * tile, tile)
            numerator, total, log_partition = _tile_log_partition(z, kernel, bias)
            # d/dlogits = w * numerator / total; the row factor goes onto the thin side of each product.
            factor = w[:, None] / total
            d_kernel = d_kernel + numerator.T @ (factor * z)
            d_bias = d_bias + factor[:, 0] @ numerator
            put = jax.lax.dynamic_update_slice_in_dim
            d_latent = put(d_latent, factor * (numerator @ kernel), turn * tile, axis=0)
            log_partitions = put(log_partitions, log_partition, turn * tile, axis=0)
            return d_latent, d_kernel, d_bias, log_partitions

        zeros = (jnp.zeros_like(rows), jnp.zeros_like(kernel), jnp.zeros_like(bias), jnp.zeros_like(weights))
        return jax.lax.fori_loop(0, turns, body, zeros)

    num_rows = latent.shape[0]

    def walk():
        tile = _row_tile(num_rows)
        order, rows, weights, busy = tiles(latent, weight, tile)
        d_latent, d_kernel, d_bias, log_partitions = over(rows, weights, tile, busy)
        back = jnp.argsort(order)
        value = jnp.dot(weights, log_partitions)
        return value, (d_latent[:num_rows][back], d_kernel, d_bias, log_partitions[:num_rows][back])

    def whole():
        rows, weights, tile, turns = wide_tiles(latent, kernel, weight)
        d_latent, d_kernel, d_bias, log_partitions = over(rows, weights, tile, turns)
        value = jnp.dot(weights, log_partitions)
        return value, (d_latent[:num_rows], d_kernel, d_bias, log_partitions[:num_rows])

    return platforms.choose(cpu=walk, default=whole)


def _backward(gradients, cotangent):
    return jax.tree.map(lambda g: cotangent * g, gradients)


weighted_log_partition.defvjp(_forward, _backward)
