r"""Softmax gates over experts, for pairs of a user and an item, whose logits are a user's part plus an item's.

.. math:: g_j(u, v) = \frac{e^{a_{uj} + b_{vj}}}{\sum_i e^{a_{ui} + b_{vi}}}, \quad score(u, v) = \sum_j g_j s_j(u, v)

When all items are ranked and the experts are inner products, no exponential is taken of a pair: the numerators split,
so the score is one inner product of rows scaled by their factors over another. That is exact as long as no denominator
underflows, which is known from the parts alone; where it could, the softmax is taken pair by pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import pairs

Pairing = pairs.Pairs | pairs.Block
SAFE_GAP = 80.0  # exp(-80) is still a normal float32


def logits(
    kernel: types.Array, bias: types.Array, user: types.Array, item: types.Array
) -> tuple[types.Array, types.Array]:
    """The parts a [B, J] and b [I, J] of the logits [user || item] @ kernel [2 D, J] + bias [J]."""
    size = user.shape[1]
    return user @ kernel[:size] + bias, item @ kernel[size:]


def weights(user: types.Array, item: types.Array, pairing: Pairing) -> types.Array:
    """The gates of pairs from the parts of their logits: [B, M or T, J], each row summing to 1."""
    return jax.nn.softmax(jnp.stack(_sums(user, item, pairing), axis=-1), axis=-1)


def mix(user: types.Array, item: types.Array, outputs: Sequence[types.Array], pairing: Pairing) -> types.Array:
    """The gated sum of the experts' outputs, J arrays [B, M or T]."""
    each = _sums(user, item, pairing)
    peak = jax.lax.stop_gradient(_largest(each))
    numerators = [jnp.exp(logit - peak) for logit in each]
    total = sum(n * output for n, output in zip(numerators, outputs, strict=True))
    return total / sum(numerators[1:], start=numerators[0])


def mix_products(
    user: types.Array, item: types.Array, user_experts: types.Array, item_experts: types.Array, pairing: Pairing
) -> types.Array:
    """The gated sum of inner products.

    Args:
      user: a, float [B, J].
      item: b, float [I or T, J].
      user_experts: float [B, J, D].
      item_experts: float [I or T, J, D].
      pairing: sampled pairs, or a block.

    Returns:
      float [B, M or T].
    """

    def exact():
        outputs = [pairing.product(user_experts[:, j], item_experts[:, j]) for j in range(user.shape[1])]
        return mix(user, item, outputs, pairing)

    if isinstance(pairing, pairs.Pairs):
        return exact()

    def separable():
        a, b = (jnp.exp(part - jnp.max(part, axis=1, keepdims=True)) for part in (user, item))
        flat = [(e * f[..., None]).reshape(f.shape[0], -1) for e, f in ((user_experts, a), (item_experts, b))]
        return pairing.product(*flat) / pairing.product(a, b)

    gap = sum(jnp.max(jnp.max(part, axis=1) - jnp.min(part, axis=1)) for part in (user, item))
    return jax.lax.cond(gap < SAFE_GAP, separable, exact)


def _sums(user, item, pairing):
    return [pairing.add(user[:, j], item[:, j]) for j in range(user.shape[1])]


def _largest(arrays):
    largest = arrays[0]
    for array in arrays[1:]:
        largest = jnp.maximum(largest, array)
    return largest
