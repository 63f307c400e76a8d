"""Sums of embedding rows over ragged histories: the sparse half of an autoencoder.

An autoencoder's first layer multiplies a multi-hot row by a weight matrix. The row has tens of ones among
tens of thousands of zeros, so the product is a sum of a few weight rows. The arrays of a batch are padded to the
largest history mass that a batch can have (about six times the usual one), so on a CPU both directions walk over blocks
of entries and stop after the last real one: padding costs nothing. An accelerator, which would report to the host at
every turn of such a walk, takes all of the capacity (``ops.platforms``), with padding that is dropped.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import platforms, rows

BLOCK = 2048  # entries a turn on a CPU: a block of gathered rows stays in the second-level cache
WIDE = 2**16  # elsewhere


def _blocks(size: int, history: types.Ragged, *arrays: types.Array) -> tuple[types.Array, ...]:
    """Pads flat arrays [N, ...] to whole blocks; padded items and rows point out of range, so scatters drop them."""
    extra = -history.item.shape[0] % size
    big = jnp.iinfo(jnp.int32).max
    item = jnp.pad(history.item, (0, extra), constant_values=big)
    row = jnp.pad(history.row, (0, extra), constant_values=big)
    return (item, row, *(jnp.pad(a, ((0, extra),) + ((0, 0),) * (a.ndim - 1)) for a in arrays))


def _over(size: int, turns: types.Array | int, history: types.Ragged, arrays, body, init: types.Array) -> types.Array:
    """Takes a result through ``body(start, its items, its rows, its part of each array, result)`` for each block."""
    padded = _blocks(size, history, *arrays)

    def turn(number, result):
        start = number * size
        return body(start, *(jax.lax.dynamic_slice_in_dim(x, start, size) for x in padded), result)

    return jax.lax.fori_loop(0, turns, turn, init)


def _real(history: types.Ragged) -> types.Array:
    """The number of blocks of a CPU that hold real entries."""
    return (history.ptr[-1] + BLOCK - 1) // BLOCK


def _sum(history: types.Ragged, weight: types.Array, body, init: types.Array) -> types.Array:
    """Adds what ``body(items, rows, weights, sum)`` adds for every block of entries."""

    def add(_, *given):
        return body(*given)

    capacity = history.item.shape[0]
    wide = min(WIDE, max(capacity, 1))
    return platforms.choose(
        cpu=lambda: _over(BLOCK, _real(history), history, (weight,), add, init),
        default=lambda: _over(wide, -(-capacity // wide), history, (weight,), add, init),
    )


@jax.custom_vjp
def embed(table: types.Array, history: types.Ragged, weight: types.Array) -> types.Array:
    r"""Weighted sums of table rows over each history, for several weightings at once.

    .. math:: out_{b,m} = \sum_{n \in b} weight_{n,m}\, table_{item(n)}

    The same as ``X_m @ table`` with X_m the sparse matrix of the batch whose values are ``weight[:, m]``.

    Args:
      table: float [I, D].
      history: Ragged with B rows and N entries.
      weight: float [N, M]; not differentiated (it holds dropout masks and norms).

    Returns:
      float [B, M, D]; an empty history gives zeros.
    """
    num_rows, (_, num_weightings) = history.ptr.shape[0] - 1, weight.shape

    def body(item, row, weight, out):
        gathered = table.at[item].get(mode="fill", fill_value=0)  # [BLOCK, D]
        update = weight[:, :, None] * gathered[:, None, :]  # [BLOCK, M, D]
        return out.at[row].add(update, mode="drop", indices_are_sorted=True)

    return _sum(history, weight, body, jnp.zeros((num_rows, num_weightings, table.shape[1]), table.dtype))


def _embed_fwd(table, history, weight):
    return embed(table, history, weight), (history, weight, table.shape)


def _embed_bwd(residuals, cotangent):
    history, weight, shape = residuals

    def body(item, row, weight, out):
        gathered = cotangent.at[row].get(mode="fill", fill_value=0)  # [BLOCK, M, D]
        update = jnp.sum(weight[:, :, None] * gathered, axis=1)
        return out.at[item].add(update, mode="drop")

    return _sum(history, weight, body, jnp.zeros(shape, cotangent.dtype)), None, None


embed.defvjp(_embed_fwd, _embed_bwd)


def lengths(history: types.Ragged) -> types.Array:
    """Number of entries of each row, int32 [B]."""
    return history.ptr[1:] - history.ptr[:-1]


def inverse_norm(history: types.Ragged, value: types.Array | None = None) -> types.Array:
    """1 / Euclidean length of each entry's row, float32 [N]: the weights of a row scaled to length 1.

    Args:
      history: Ragged with N entries.
      value: of each entry, float [N], none of a real one between 0 and 1; None: 1, multi-hot rows.
    """
    if value is None:
        square = lengths(history).astype(jnp.float32)
    else:
        empty = jnp.zeros(history.ptr.shape[0] - 1, jnp.float32)
        square = empty.at[history.row].add(jnp.square(value), mode="drop", indices_are_sorted=True)
    return jax.lax.rsqrt(jnp.maximum(square, 1.0)).at[history.row].get(mode="clip")


def contains(history: types.Ragged, of: types.Ragged) -> types.Array:
    """Whether a history has the items of another one, row by row: float32 [N], 1 or 0.

    Args:
      history: Ragged with B rows, which is searched in.
      of: Ragged with B rows and N entries, whose items are looked for; its padding gets 0.
    """
    return rows.has(history.ptr, history.item, of.row, of.item).astype(jnp.float32)


def positions(history: types.Ragged) -> types.Array:
    """Place of each entry inside its row, int32 [N]; meaningless for padding."""
    return jnp.arange(history.item.shape[0], dtype=jnp.int32) - history.ptr.at[history.row].get(mode="clip")


def map_entries(function, history: types.Ragged, width: int) -> types.Array:
    """Computes numbers for the real entries; on a CPU for no others, block by block.

    Args:
      function: ``(row [n], place in the row [n]) -> float [n, width]``.
      history: Ragged with N entries.
      width: M.

    Returns:
      float32 [N, M]; padding is 0, or what ``function`` makes of out-of-range rows.
    """
    size = history.item.shape[0]
    place = positions(history)

    def walk():
        def body(start, _, row, place, out):
            return jax.lax.dynamic_update_slice_in_dim(out, function(row, place), start, axis=0)

        out = jnp.zeros((size + -size % BLOCK, width), jnp.float32)
        return _over(BLOCK, _real(history), history, (place,), body, out)[:size]

    return platforms.choose(cpu=walk, default=lambda: function(history.row, place).astype(jnp.float32))


@jax.custom_vjp
def products(user: types.Array, item: types.Array, history: types.Ragged) -> types.Array:
    """The inner product of a row's vector with that of each of its items.

    Args:
      user: float [B, D], one for each row.
      item: float [I, D].
      history: Ragged with B rows and N entries.

    Returns:
      float [N]; padding is 0.
    """
    size = history.item.shape[0]

    def inner(items, rows):
        left = user.at[rows].get(mode="fill", fill_value=0)  # [n, D]
        return jnp.sum(left * item.at[items].get(mode="fill", fill_value=0), axis=1)

    def walk():
        def body(start, items, rows, out):
            return jax.lax.dynamic_update_slice_in_dim(out, inner(items, rows), start, axis=0)

        return _over(BLOCK, _real(history), history, (), body, jnp.zeros(size + -size % BLOCK, user.dtype))[:size]

    return platforms.choose(cpu=walk, default=lambda: inner(history.item, history.row))


def _products_fwd(user, item, history):
    return products(user, item, history), (user, item, history)


def _products_bwd(residuals, cotangent):
    user, item, history = residuals

    def body(items, rows, factor, out):
        left = user.at[rows].get(mode="fill", fill_value=0)  # [n, D]
        right = item.at[items].get(mode="fill", fill_value=0)
        users = out[0].at[rows].add(factor[:, None] * right, mode="drop", indices_are_sorted=True)
        return users, out[1].at[items].add(factor[:, None] * left, mode="drop")

    return (*_sum(history, cotangent, body, (jnp.zeros_like(user), jnp.zeros_like(item))), None)


products.defvjp(_products_fwd, _products_bwd)
