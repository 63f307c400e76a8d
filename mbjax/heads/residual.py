r"""Residual: a hidden layer beside the product of rows, the prediction of GNMR (Xia et al., ICDE 2021).

.. math:: x = s\, (Z^k_u \circ Z^k_v), \quad score_k(u, v) = \big( x + relu(x F_k + b_k) \big) \cdot f_k

s: ``scale``. F and f are regularized.

Differences:
  tasks: GNMR has one; here each has weights of its own.
  bias: the released program adds a number to every score, which no order depends on; it is left out.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax.backbones import base as backbones
from mbjax.heads import base


class ResidualConfig(backbones.Section):
    """Switches of the residual head."""

    name: Literal["residual"] = "residual"
    scale: float = pydantic.Field(100.0, gt=0, description="factor of the product of rows")


class Residual(base.Head):
    """The weights of the tasks."""

    def setup(self):
        num, size = self.info.num_behaviors, self.size
        self.kernel = self.param("kernel", base.STACKED_XAVIER, (num, size, size))
        self.bias = self.param("bias", nn.initializers.zeros, (num, size))
        self.unit = self.param("unit", base.STACKED_XAVIER, (num, size, 1))

    def sides(self, encoding, graphs, task, users=None):
        """Own rows, the user's scaled."""
        del graphs
        user, item = self.rows(encoding.behaviors[task], users)
        return base.Sides(self.config.scale * user, item)

    def score(self, task, sides, pairing):
        """An inner product, and the hidden layer of each pair."""
        user, item = sides
        kernel, bias, unit = self.kernel[task], self.bias[task], self.unit[task, :, 0]
        hidden = pairing.apply(lambda u, v: jax.nn.relu((u * v) @ kernel + bias) @ unit, user, item)
        return pairing.product(user * unit, item) + hidden

    def penalty(self):
        """All but the bias."""
        return jnp.sum(jnp.square(self.kernel)) + jnp.sum(jnp.square(self.unit))
