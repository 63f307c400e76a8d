r"""Aggregation: simpler ways of taking in the other behaviors (Zhai et al., KDD 2025, Table 4).

With :math:`q_j = Z^j_u \circ Z^j_v`, task k scores with the sum of the coordinates of

* summation: :math:`q_k + \sum_{j \ne k} q_j`, the same for all tasks;
* linear: :math:`q_k + \sum_{j \ne k} q_j W`;
* vanilla: :math:`q_k + \sum_{j \ne k} \sum_{b=1}^4 w^j_b f^j_b` with the blocks
  :math:`f^j = (q_k,\ q_j,\ q_k - q_j,\ q_k \circ q_j)` and :math:`w^j = softmax([f^j_1 || \dots || f^j_4] W + b)`,
  W: [4 D, 4], the attention that PKEF (Meng et al., CIKM 2023, eq. 13) compares its fusion with.

The other rows of that table are the heads ``inner_product`` (no aggregation), ``pme`` (projection) and ``dfme``.

Every sum over coordinates is an inner product, and so is every logit of the attention: the first three blocks are
linear in q_k and q_j, and :math:`q_k \circ q_j` is the product of a user's and an item's row.

Differences:
  nothing is released for these rows: whether the tasks share W is not said; ``shared``, on as for the gate of DFME.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax.backbones import base as backbones
from mbjax.heads import base

NUM_BLOCKS = 4


class AggregationConfig(backbones.Section):
    """Switches of the aggregation."""

    name: Literal["aggregation"] = "aggregation"
    scheme: Literal["summation", "linear", "vanilla"] = pydantic.Field(
        "summation", description="how the other behaviors' products are taken in"
    )
    shared: bool = pydantic.Field(True, description="one set of weights for all tasks, or one for each")


class Aggregation(base.Head):
    """The weights of "linear" and "vanilla"; "summation" has none."""

    def setup(self):
        sets = 1 if self.config.shared else self.info.num_behaviors
        if self.config.scheme == "linear":
            self.kernel = self.param("kernel", base.STACKED_XAVIER, (sets, self.size, self.size))
        elif self.config.scheme == "vanilla":
            shape = (sets, NUM_BLOCKS * self.size, NUM_BLOCKS)
            self.kernel = self.param("kernel", base.STACKED_XAVIER, shape)
            self.bias = self.param("bias", nn.initializers.zeros, (sets, NUM_BLOCKS))

    def sides(self, encoding, graphs, task, users=None):
        """The rows of all behaviors side by side, own first; with "vanilla" own, other and their product for each."""
        del graphs
        tables = encoding.behaviors
        order = base.own_first(task, len(tables))
        rows = [self.rows(tables[j], users) for j in order]
        if self.config.scheme == "vanilla":
            return base.Sides(*({"own": side[0], "others": _blocks(side)} for side in zip(*rows, strict=True)))
        user, item = (jnp.concatenate(side, axis=1) for side in zip(*rows, strict=True))
        if self.config.scheme == "linear":
            # The sum of the coordinates of q W is the inner product of q with the row sums of W.
            weight = jnp.sum(self.kernel[self._set(task)], axis=1)
            user = user * jnp.concatenate([jnp.ones(self.size), jnp.tile(weight, len(tables) - 1)])
        return base.Sides(user, item)

    def score(self, task, sides, pairing):
        """One inner product; with "vanilla" five for each other behavior."""
        user, item = sides
        if self.config.scheme != "vanilla":
            return pairing.product(user, item)
        own = pairing.product(user["own"], item["own"])
        linear, other, difference, product = jnp.split(self.kernel[self._set(task)], NUM_BLOCKS)
        # Of the rows (own, other, own o other), [3 D, 4]; a softmax depends on differences alone, so the first is 0.
        weight = jnp.concatenate([linear + difference, other - difference, product])
        weight, bias = (x - x[..., :1] for x in (weight, self.bias[self._set(task)]))
        total, size = own, self.size
        for u, v in zip(user["others"], item["others"], strict=True):
            logits = [pairing.product(u * weight[:, b], v) + bias[b] for b in range(1, NUM_BLOCKS)]
            attention = jax.nn.softmax(jnp.stack([jnp.zeros_like(own), *logits]), axis=0)
            second = pairing.product(u[:, size : 2 * size], v[:, size : 2 * size])
            both = pairing.product(u[:, 2 * size :], v[:, 2 * size :])
            total += sum(a * block for a, block in zip(attention, (own, second, own - second, both), strict=True))
        return total

    def penalty(self):
        """The kernels."""
        return 0.0 if self.config.scheme == "summation" else jnp.sum(jnp.square(self.kernel))

    def _set(self, task):
        return 0 if self.config.shared else task


def _blocks(rows):
    """(own, other, own o other) for each other behavior, [N, 3 D]."""
    own = rows[0]
    return [jnp.concatenate([own, other, own * other], axis=1) for other in rows[1:]]
