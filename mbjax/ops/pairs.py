"""Inner products of user rows with item rows: for sampled pairs while training, for blocks when ranking.

A head writes its score once, with ``product``, ``leaky`` and ``apply`` of a ``Pairs`` or of a ``Block``.

The gradient of sampled inner products is itself sparse times dense: with one coefficient for each pair,
it is the matrix of coefficients times the other side's rows. On CPU that product runs in the native CSR kernel and
no array of (pairs x D) is formed; the item side needs the pairs sorted by item once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import sparse

from mbjax import types
from mbjax.ops import platforms

BLOCK_TILE = 256  # items taken at once where a block has to hold an array for each pair
LEAKY_TERMS = 16  # of the sums of a block that one pass adds: with more, registers run out; with less, memory is slower


class Pairs(NamedTuple):
    """Each of B users with M items of its own.

    Attributes:
      items: int32 [B, M].
    """

    items: types.Array

    def product(self, user: types.Array, item: types.Array) -> types.Array:
        """Inner products, float [B, M], of rows [B, W] and a table [I, W]."""
        return row_products(user, item, self.items)

    def add(self, user: types.Array, item: types.Array) -> types.Array:
        """Sums, float [B, M], of numbers [B] and [I]."""
        return user[:, None] + item[self.items]

    def apply(self, function: Callable[[Any, Any], types.Array], user: Any, item: Any) -> types.Array:
        """``function(user rows [B, 1, W], item rows [B, M, W]) -> [B, M]`` on trees of arrays."""
        return function(jax.tree.map(lambda x: x[:, None], user), jax.tree.map(lambda x: x[self.items], item))

    def leaky(self, user: types.Array, item: types.Array, weight: types.Array, slope: float) -> types.Array:
        r"""A hidden layer and what reads it, :math:`\sum_j a_j \operatorname{lrelu}(u_j + v_j)`, float [B, M].

        Args:
          user: u, float [B, W].
          item: v, float [I, W].
          weight: a, float [W].
          slope: of the leaky ReLU below 0.
        """
        return self.apply(lambda u, v: jax.nn.leaky_relu(u + v, slope) @ weight, user, item)


class Block(NamedTuple):
    """Each of B users with every item of a table of T rows."""

    def product(self, user: types.Array, item: types.Array) -> types.Array:
        """Inner products, float [B, T], of rows [B, W] and [T, W]."""
        return user @ item.T

    def add(self, user: types.Array, item: types.Array) -> types.Array:
        """Sums, float [B, T], of numbers [B] and [T]."""
        return user[:, None] + item

    def apply(self, function: Callable[[Any, Any], types.Array], user: Any, item: Any) -> types.Array:
        """``function(user rows [B, 1, W], item rows [1, t, W]) -> [B, t]`` on trees of arrays, tile by tile."""
        size = jax.tree.leaves(item)[0].shape[0]
        tile = min(BLOCK_TILE, size)
        extra = -size % tile
        tiles = jax.tree.map(lambda x: jnp.pad(x, ((0, extra), (0, 0))).reshape((-1, 1, tile, x.shape[1])), item)
        rows = jax.tree.map(lambda x: x[:, None], user)
        scores = jax.lax.map(lambda part: function(rows, part), tiles)  # [tiles, B, tile]
        return jnp.moveaxis(scores, 0, 1).reshape(scores.shape[1], -1)[:, :size]

    def leaky(self, user: types.Array, item: types.Array, weight: types.Array, slope: float) -> types.Array:
        r"""As that of ``Pairs``, float [B, T], of rows [B, W] and [T, W].

        With :math:`\operatorname{lrelu}(u + v) = s (u + v) + (1 - s) [\max(u, -v) + v]` all but the maximum is a sum of
        a user's and an item's part. The maxima of W units are added a few at a time, so that every pass over the block
        is arithmetic on registers, and no array of (B x T x W) exists.
        """
        width = user.shape[1]
        columns = ((0, 0), (0, -width % LEAKY_TERMS))

        def grouped(rows):  # [B, W] -> [groups, terms, B]
            return jnp.pad(rows, columns).T.reshape(-1, LEAKY_TERMS, rows.shape[0])

        def add(total, group):
            u, minus_v, a = group
            for j in range(LEAKY_TERMS):
                total = total + a[j, 0] * jnp.maximum(u[j, :, None], minus_v[j, None, :])
            return total, None

        start = jnp.zeros((user.shape[0], item.shape[0]), user.dtype)
        maxima, _ = jax.lax.scan(add, start, (grouped(user), grouped(-item), grouped(weight[None])))
        return (1.0 - slope) * maxima + slope * (user @ weight)[:, None] + (item @ weight)[None, :]


@jax.custom_vjp
def row_products(rows: types.Array, table: types.Array, items: types.Array) -> types.Array:
    r"""Inner products of each row with some rows of a table, :math:`out_{bm} = x_b \cdot T_{i(b, m)}`.

    Args:
      rows: x, float [B, W].
      table: T, float [I, W].
      items: i, int32 [B, M].

    Returns:
      float [B, M].
    """
    return jnp.einsum("bw,bmw->bm", rows, table[items])


def _forward(rows, table, items):
    return row_products(rows, table, items), (rows, table, items)


def _backward(residuals, cotangent):
    rows, table, items = residuals
    num_rows, per_row = items.shape

    def on_cpu():
        flat = items.reshape(-1)
        order = _ascending(flat, table.shape[0])
        ptr = jnp.searchsorted(flat[order], jnp.arange(table.shape[0] + 1)).astype(jnp.int32)
        coefficients = cotangent.reshape(-1)
        by_row = sparse.BCSR(
            (coefficients, flat, jnp.arange(num_rows + 1, dtype=jnp.int32) * per_row),
            shape=(num_rows, table.shape[0]),
        )
        by_item = sparse.BCSR(
            (coefficients[order], (order // per_row).astype(jnp.int32), ptr), shape=(table.shape[0], num_rows)
        )
        return by_row @ table, by_item @ rows

    def elsewhere():
        d_rows = jnp.einsum("bm,bmw->bw", cotangent, table[items])
        return d_rows, jnp.zeros_like(table).at[items].add(cotangent[..., None] * rows[:, None])

    return (*platforms.choose(cpu=on_cpu, default=elsewhere), None)


def _ascending(flat, limit):
    """The stable order of numbers below ``limit``; a CPU sorts one array many times as fast as two together."""
    if limit * flat.size >= 2**31:
        return jnp.argsort(flat)
    places = jnp.arange(flat.size, dtype=jnp.int32)
    return jnp.sort(flat * flat.size + places) % flat.size


row_products.defvjp(_forward, _backward)
