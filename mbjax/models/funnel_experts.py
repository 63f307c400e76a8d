"""The networks of funnel: what they compute, what they are before training, how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mbjax import types

TRUNCATED = 0.87962566103423978  # deviation of a standard normal variable between -2 and 2


class Expert(nn.Module):
    """A linear term, and beside it one hidden layer: [..., D] -> [...]. ``first`` makes its parameters."""

    hidden: int
    begin: float  # standard deviation of the hidden layer's share before training, about

    @nn.compact
    def __call__(self, x: types.Array) -> types.Array:
        out = nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros, name="linear")(x)
        if self.hidden:
            h = nn.relu(nn.Dense(self.hidden, kernel_init=nn.initializers.truncated_normal(1.0), name="hidden")(x))
            out = out + nn.Dense(
                1, use_bias=False, kernel_init=nn.initializers.normal(self.begin * self.hidden**-0.5), name="out"
            )(h)
        return out[..., 0]


def first(expert: Expert, keys: types.Array, widths: Sequence[int]) -> list[list[Any]]:
    """Parameters before training, as LeCun's normal distribution has them (Efficient BackProp, 1998).

    They are drawn in one loop for as many numbers as any expert sees, and those that see fewer take the first rows:
    what is drawn at a place depends on the key and the place alone, and draws are what takes long to compile.

    Args:
      expert: the network.
      keys: [N, S, members].
      widths: how many numbers each of N experts of S sources sees.

    Returns:
      Of each of N, of each of S: a tree with leaves [members, ...].
    """
    x = jnp.zeros((1, max(widths)))
    each = jax.lax.map(lambda key: expert.init(key, x)["params"], keys.ravel())

    def of(place: int, source: int) -> Any:
        layers = jax.tree.map(lambda leaf: leaf.reshape(*keys.shape, *leaf.shape[1:])[place, source], each)
        width = widths[place]
        found = layers | {"linear": {"kernel": layers["linear"]["kernel"][:, :width]}}
        if "hidden" in layers:
            deviation = jnp.sqrt(jnp.float32(1 / max(width, 1))) / jnp.float32(TRUNCATED)
            kernel = layers["hidden"]["kernel"][:, :width] * deviation
            found["hidden"] = layers["hidden"] | {"kernel": kernel}
        return {"params": found}

    return [[of(place, source) for source in range(keys.shape[1])] for place in range(len(widths))]


def squares(expert: Any) -> types.Array:
    """Sum of squares of an expert's weights; those of the output layer count once for each hidden unit."""
    layers = expert["params"]
    total = jnp.sum(layers["linear"]["kernel"] ** 2)
    if "hidden" in layers:
        out = layers["out"]["kernel"]
        total += jnp.sum(layers["hidden"]["kernel"] ** 2) + out.shape[-2] * jnp.sum(out**2)
    return total
