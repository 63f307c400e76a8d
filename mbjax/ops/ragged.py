"""Sums of embedding rows over ragged histories: the sparse half of an autoencoder.

An autoencoder's first layer multiplies a multi-hot row by a weight matrix. The row has tens of ones among
tens of thousands of zeros, so the product is a sum of a few weight rows. The arrays of a batch are padded to the
largest history mass that a batch can have (about six times the usual one), so both directions walk over blocks of
entries and stop after the last real one: padding costs nothing.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from mbjax import types

BLOCK = 2048  # entries a turn: a block of gathered rows stays in the second-level cache


def _blocks(history: types.Ragged, *arrays: types.Array) -> tuple[types.Array, ...]:
    """Pads flat arrays [N, ...] to whole blocks; padded items and rows point out of range, so scatters drop them."""
    size = history.item.shape[0]
    extra = -size % BLOCK
    big = jnp.iinfo(jnp.int32).max
    item = jnp.pad(history.item, (0, extra), constant_values=big)
    row = jnp.pad(history.row, (0, extra), constant_values=big)
    return (item, row, *(jnp.pad(a, ((0, extra),) + ((0, 0),) * (a.ndim - 1)) for a in arrays))


def _walk(history: types.Ragged, body, init):
    """Runs ``body(start, carry)`` over the blocks that hold real entries."""
    count = history.ptr[-1]
    turns = (count + BLOCK - 1) // BLOCK
    return jax.lax.fori_loop(0, turns, lambda turn, carry: body(turn * BLOCK, carry), init)


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
    item, row, weight = _blocks(history, weight)

    def body(start, out):
        part = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=BLOCK)
        gathered = table.at[part(item)].get(mode="fill", fill_value=0)  # [BLOCK, D]
        update = part(weight)[:, :, None] * gathered[:, None, :]  # [BLOCK, M, D]
        return out.at[part(row)].add(update, mode="drop", indices_are_sorted=True)

    return _walk(history, body, jnp.zeros((num_rows, num_weightings, table.shape[1]), table.dtype))


def _embed_fwd(table, history, weight):
    return embed(table, history, weight), (history, weight, table.shape)


def _embed_bwd(residuals, cotangent):
    history, weight, shape = residuals
    item, row, weight = _blocks(history, weight)

    def body(start, out):
        part = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=BLOCK)
        gathered = cotangent.at[part(row)].get(mode="fill", fill_value=0)  # [BLOCK, M, D]
        update = jnp.sum(part(weight)[:, :, None] * gathered, axis=1)
        return out.at[part(item)].add(update, mode="drop")

    return _walk(history, body, jnp.zeros(shape, cotangent.dtype)), None, None


embed.defvjp(_embed_fwd, _embed_bwd)


def lengths(history: types.Ragged) -> types.Array:
    """Number of entries of each row, int32 [B]."""
    return history.ptr[1:] - history.ptr[:-1]


def inverse_norm(history: types.Ragged) -> types.Array:
    """1 / Euclidean length of each entry's multi-hot row, float32 [N]: the weights of a row scaled to length 1."""
    length = jnp.maximum(lengths(history), 1).astype(jnp.float32)
    return jax.lax.rsqrt(length).at[history.row].get(mode="clip")


def positions(history: types.Ragged) -> types.Array:
    """Place of each entry inside its row, int32 [N]; meaningless for padding."""
    return jnp.arange(history.item.shape[0], dtype=jnp.int32) - history.ptr.at[history.row].get(mode="clip")


def map_entries(function, history: types.Ragged, width: int) -> types.Array:
    """Computes numbers for the real entries only, block by block.

    Args:
      function: ``(row [BLOCK], place in the row [BLOCK]) -> float [BLOCK, width]``.
      history: Ragged with N entries.
      width: M.

    Returns:
      float32 [N, M]; padding is 0, or what ``function`` makes of out-of-range rows in the last real block.
    """
    size = history.item.shape[0]
    item, row, place = _blocks(history, positions(history))

    def body(start, out):
        part = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=BLOCK)
        return jax.lax.dynamic_update_slice_in_dim(out, function(part(row), part(place)), start, axis=0)

    return _walk(history, body, jnp.zeros((item.shape[0], width), jnp.float32))[:size]


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
    items, rows = _blocks(history)

    def body(start, out):
        part = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=BLOCK)
        left = user.at[part(rows)].get(mode="fill", fill_value=0)  # [BLOCK, D]
        right = item.at[part(items)].get(mode="fill", fill_value=0)
        return jax.lax.dynamic_update_slice_in_dim(out, jnp.sum(left * right, axis=1), start, axis=0)

    return _walk(history, body, jnp.zeros(items.shape[0], user.dtype))[:size]


def _products_fwd(user, item, history):
    return products(user, item, history), (user, item, history)


def _products_bwd(residuals, cotangent):
    user, item, history = residuals
    items, rows, cotangent = _blocks(history, cotangent)

    def body(start, out):
        part = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=BLOCK)
        left = user.at[part(rows)].get(mode="fill", fill_value=0)  # [BLOCK, D]
        right = item.at[part(items)].get(mode="fill", fill_value=0)
        factor = part(cotangent)[:, None]
        users = out[0].at[part(rows)].add(factor * right, mode="drop", indices_are_sorted=True)
        return users, out[1].at[part(items)].add(factor * left, mode="drop")

    return (*_walk(history, body, (jnp.zeros_like(user), jnp.zeros_like(item))), None)


products.defvjp(_products_fwd, _products_bwd)
