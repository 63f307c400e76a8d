"""Linen pieces that several models use."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from mbjax import errors, types
from mbjax.ops import graph, ragged

KERNEL_INIT = nn.initializers.glorot_uniform()


def bias_init(key: types.Array, shape: tuple[int, ...], dtype=jnp.float32) -> types.Array:
    """Truncated normal of standard deviation 0.001, cut at two: the biases of Mult-VAE and its kin."""
    return 0.001 * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


class HistoryDense(nn.Module):
    """An affine map of multi-hot histories, stored as one weight row for each item.

    Attributes:
      num_items: I.
      features: D.
    """

    num_items: int
    features: int

    def setup(self):
        self.kernel = self.param("kernel", KERNEL_INIT, (self.num_items, self.features))
        self.bias = self.param("bias", bias_init, (self.features,))

    def __call__(self, history: types.Ragged, weight: types.Array) -> types.Array:
        """Maps the rows of a batch under M weightings (dropout masks times row norms) of their entries.

        Args:
          history: Ragged, B rows, N entries.
          weight: float [N, M].

        Returns:
          float [B, M, D].
        """
        return ragged.embed(self.kernel, history, weight) + self.bias

    def all_users(self, matrix: types.Graph) -> types.Array:
        """Maps every user at once: sparse [U, I] times kernel, float [U, D]."""
        return graph.spmm(matrix, self.kernel) + self.bias


class ItemDecoder(nn.Module):
    """A linear decoder to all items; the kernel is stored [I, D], the layout its matrix products are fastest in.

    Attributes:
      num_items: I.
      features: D.
    """

    num_items: int
    features: int

    def setup(self):
        self.kernel = self.param("kernel", KERNEL_INIT, (self.num_items, self.features))
        self.bias = self.param("bias", bias_init, (self.num_items,))

    def __call__(self) -> tuple[types.Array, types.Array]:
        """The kernel [I, D] and bias [I]; what is done with them avoids the [B, I] logits."""
        return self.kernel, self.bias


def decode_tile(decoder: types.Params, latent: types.Array, start: types.Array, size: int) -> types.Array:
    """The logits of a tile of items from an ``ItemDecoder``'s parameters.

    Args:
      decoder: ``{"kernel": [I, D], "bias": [I]}``.
      latent: float [B, D].
      start, size: the first item and the number of items.

    Returns:
      float [B, size].
    """
    kernel, bias = (jax.lax.dynamic_slice_in_dim(decoder[name], start, size) for name in ("kernel", "bias"))
    return latent @ kernel.T + bias


def probe_batch(histories) -> types.UserBatch:
    """The smallest batch of histories: one user with one item. Parameters are created by running the loss on it."""
    history = types.Ragged(jnp.array([0, 1], jnp.int32), jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.int32))
    one = jnp.ones((), jnp.float32)
    return types.UserBatch(
        user=jnp.zeros(1, jnp.int32),
        weight=jnp.ones(1, jnp.float32),
        everyone=jnp.zeros(1, jnp.int32),
        noise=jnp.zeros((1, 2), jnp.uint32),
        history={name: history for name in histories},
        total=one,
        share=one,
    )


def check_names(behaviors: tuple[str, ...], own: tuple[str, ...]) -> None:
    """Raises ConfigError if a behavior is called as what a model makes of several, which would stand in its place."""
    for name in own:
        if name in behaviors:
            raise errors.ConfigError(
                f"a behavior is called '{name}', which is what the model calls the history of several together. Call "
                "it otherwise in the log, or leave it out with --data.behaviors."
            )
