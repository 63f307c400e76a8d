r"""What the heads on a merged input share: shared bottom, MMOE and PLE as the released program of CIGF has them.

A pair is represented by :math:`x = m_u || m_v` with :math:`m = \sum_k c_k Z^k`, and what follows are dense layers with
leaky ReLUs of slope 0.1. The first of them splits into a user's and an item's part, which are computed once for each
node; for a pair there remain their sum, its leaky ReLU, and the inner product with the weights that read it.

Kernels are regularized, biases are not and start at zero; names of kernels end in ``kernel``.

Differences:
  merged input: PKEF writes weights lambda_k into the sum, COPF says that it weighs the representations, and neither
    gives values; the program adds them up: ``merge_weights``, 1 each.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base as backbones
from mbjax.heads import base
from mbjax.ops import gating

SLOPE = 0.1


class MergedConfig(backbones.Section):
    """Base of their configurations."""

    merge_weights: tuple[float, ...] | None = pydantic.Field(
        None, min_length=1, description="weight of each behavior in the merged input, in funnel order; none: 1 each"
    )


class Dense(NamedTuple):
    """N affine maps side by side.

    Attributes:
      kernel: float [N, inputs, outputs].
      bias: float [N, outputs].
    """

    kernel: types.Array
    bias: types.Array

    def split(self, user: types.Array, item: types.Array) -> tuple[types.Array, types.Array]:
        """Of [user || item], the user's part [B, N * outputs] of rows [B, D] and the item's [I, N * outputs]."""
        size = user.shape[1]
        flat = jnp.moveaxis(self.kernel, 0, 1).reshape(self.kernel.shape[1], -1)
        return user @ flat[:size] + self.bias.reshape(-1), item @ flat[size:]

    def take(self, which: int | list[int]) -> Dense:
        """Some of the maps; for one alone, kernel [inputs, outputs] and bias [outputs]."""
        which = jnp.asarray(which)
        return Dense(self.kernel[which], self.bias[which])

    def __call__(self, inputs: types.Array) -> types.Array:
        """The values [..., outputs] of one map taken alone."""
        return inputs @ self.kernel + self.bias


class Merged(base.Head):
    """A head whose input is the merged representation."""

    def dense(self, name: str, number: int, inputs: int, outputs: int) -> Dense:
        """The parameters of N affine maps."""
        return Dense(
            self.param(f"{name}_kernel", base.STACKED_XAVIER, (number, inputs, outputs)),
            self.param(f"{name}_bias", nn.initializers.zeros, (number, outputs)),
        )

    def merge(self, encoding: backbones.Encoding, users: types.Array | None) -> tuple[types.Array, types.Array]:
        """The merged rows of the users asked for and of all items."""
        tables, weights = encoding.behaviors, self.config.merge_weights
        if weights is not None:
            weights = backbones.per_behavior(weights, self.info, "head.merge_weights")
            tables = [weight * table for weight, table in zip(weights, tables, strict=True)]
        return self.rows(sum(tables[1:], start=tables[0]), users)

    def penalty(self):
        """The kernels."""
        params = self.variables["params"]
        return sum(jnp.sum(jnp.square(value)) for name, value in params.items() if name.endswith("kernel"))


def leaky(x: types.Array) -> types.Array:
    """Leaky ReLU."""
    return jax.nn.leaky_relu(x, SLOPE)


def mixture(sides: base.Sides, tower: Dense, pairing: base.Pairing) -> types.Array:
    r"""A linear tower on gated experts, :math:`\sum_e g_e \langle a, \operatorname{lrelu}(P_e + Q_e) \rangle + c`.

    Args:
      sides: of ``gate``, the parts of the logits [., E], and ``units``, the split first layer [., E * W].
      tower: one map from W to 1.
      pairing: sampled pairs or a block.
    """
    user, item = sides
    weight = tower.kernel[:, 0]
    outputs = []
    for e in range(user["gate"].shape[1]):
        part = slice(e * len(weight), (e + 1) * len(weight))
        outputs.append(pairing.leaky(user["units"][:, part], item["units"][:, part], weight, SLOPE))
    return gating.mix(user["gate"], item["gate"], outputs, pairing) + tower.bias[0]
