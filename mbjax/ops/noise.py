"""Dropout masks and Gaussian noise that belong to a row, wherever the row is computed.

Each row of a batch carries its own random words (``types.UserBatch.noise``). Everything drawn for the row is a
function of these and of a stream number, so a batch split over devices draws what the undivided batch would.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import ragged


def row_keys(noise: types.Array, stream: int) -> types.Array:
    """One typed random key for each row, for one use of randomness.

    Args:
      noise: uint32 [B, 2].
      stream: a number that tells the uses apart.

    Returns:
      Typed keys [B].
    """
    return jax.vmap(lambda words: jax.random.fold_in(jax.random.wrap_key_data(words, impl="threefry2x32"), stream))(
        noise
    )


def normal(noise: types.Array, stream: int, shape: tuple[int, ...]) -> types.Array:
    """Standard normal numbers, float32 [B, *shape]."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(row_keys(noise, stream))


def dropout(noise: types.Array, stream: int, shape: tuple[int, ...], dropout_rate: float) -> types.Array:
    """Inverted dropout masks of dense values, float32 [B, *shape], each 0 or 1 / (1 - dropout_rate)."""
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - dropout_rate, shape))(row_keys(noise, stream))
    return keep.astype(jnp.float32) / (1.0 - dropout_rate)


def entry_dropout(
    noise: types.Array, history: types.Ragged, stream: int, num_masks: int, dropout_rate: float
) -> types.Array:
    """Inverted dropout masks for the entries of ragged histories.

    Masking the stored entries has the distribution of masking the dense multi-hot row, since a masked zero is a zero.

    Args:
      noise: uint32 [B, 2].
      history: Ragged with B rows and N entries.
      stream: a number that tells the uses apart.
      num_masks: M, independent masks.
      dropout_rate: probability of dropping, in [0, 1).

    Returns:
      float32 [N, M], each 0 or 1 / (1 - dropout_rate).
    """
    if dropout_rate == 0.0:
        return jnp.ones((history.item.shape[0], num_masks), jnp.float32)
    words = jax.random.key_data(row_keys(noise, stream))  # [B, 2]
    threshold = jnp.uint32(min(round((1.0 - dropout_rate) * 2**32), 2**32 - 1))

    def bits(pair, place):
        key = jax.random.fold_in(jax.random.wrap_key_data(pair, impl="threefry2x32"), place)
        return jax.random.bits(key, (num_masks,), jnp.uint32)

    def block(row, place):
        keep = jax.vmap(bits)(words.at[row].get(mode="clip"), place) < threshold
        return keep.astype(jnp.float32) / (1.0 - dropout_rate)

    return ragged.map_entries(block, history, num_masks)
