r"""The network of CML that weighs the losses of each user and behavior (Wei et al., WSDM 2022).

With x_k a loss of user u and behavior k, e = Z^k_u, m = Z_u, p: PReLU, D: dropout, BN: batch normalization,

.. math::
    w^c = \tfrac12 \big[ \sigma BN(\sqrt{3d}\, D L_2 D p L_1 [c 1_d \| e \| m]) + \sigma BN(D p L_3(c\, [e \| m])) \big]

    w^b = \sigma BN(\sqrt{3d}\, D L_2' D p L_1' [b 1_d \| m \| e]) + \sigma BN(D p L_3'(b\, m))

L: affine maps, 3 d -> 3 d / 2 -> 1 in the first place, to 1 in the second. One slope of p and one scale and shift of BN
serve all; BN takes mean and variance over the rows of a behavior in the batch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from mbjax import types
from mbjax.models import multiplicity

EPSILON = 1e-5


def _uniform(inputs: int) -> nn.initializers.Initializer:
    """Within 1 / sqrt(inputs), as the program's library starts its affine maps."""
    limit = float(inputs**-0.5)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -limit, limit)


class Weights(nn.Module):
    """The network.

    Attributes:
      size: D.
      dropout_rate: probability of dropping.
    """

    size: int
    dropout_rate: float

    def setup(self):
        size = self.size
        wide, hidden = 3 * size, 3 * size // 2
        shapes = {
            "contrast_1": (wide, hidden),
            "contrast_2": (hidden, 1),
            "contrast_3": (2 * size, 1),
            "rank_1": (wide, hidden),
            "rank_2": (hidden, 1),
            "rank_3": (size, 1),
        }
        self.maps = {
            name: nn.Dense(outputs, kernel_init=_uniform(inputs), bias_init=_uniform(inputs), name=name)
            for name, (inputs, outputs) in shapes.items()
        }
        self.slope = self.param("slope", nn.initializers.constant(0.25), ())
        self.scale = self.param("scale", nn.initializers.ones, ())
        self.shift = self.param("shift", nn.initializers.zeros, ())

    def __call__(self, terms: multiplicity.Terms, kind: str, key: types.Array) -> types.Array:
        """The weights of R rows, float [R].

        Args:
          terms: the losses and what else is known of their users; read, not differentiated.
          kind: ``"contrast"`` or ``"rank"``.
          key: of the dropout masks.
        """
        loss, weight, own, merged = jax.lax.stop_gradient(terms)
        keys = jax.random.split(key, 3)
        loss = loss[:, None]
        both = (own, merged) if kind == "contrast" else (merged, own)
        wide = jnp.concatenate([jnp.broadcast_to(loss, own.shape), *both], axis=1)
        hidden = self._drop(self._prelu(self.maps[f"{kind}_1"](wide)), keys[0])
        first = (3 * self.size) ** 0.5 * self._drop(self.maps[f"{kind}_2"](hidden), keys[1])
        narrow = loss * (jnp.concatenate(both, axis=1) if kind == "contrast" else merged)
        second = self._drop(self._prelu(self.maps[f"{kind}_3"](narrow)), keys[2])
        made = sum(nn.sigmoid(self._normalized(x[:, 0], weight)) for x in (first, second))
        return 0.5 * made if kind == "contrast" else made

    def _prelu(self, x):
        return jnp.where(x > 0, x, self.slope * x)

    def _drop(self, x, key):
        keep = jax.random.bernoulli(key, 1.0 - self.dropout_rate, x.shape)
        return jnp.where(keep, x / (1.0 - self.dropout_rate), 0.0)

    def _normalized(self, x, weight):
        total = jnp.maximum(jnp.sum(weight), 1e-12)
        mean = jnp.dot(weight, x) / total
        variance = jnp.dot(weight, jnp.square(x - mean)) / total
        return self.scale * (x - mean) * jax.lax.rsqrt(variance + EPSILON) + self.shift
