r"""MESI: the multi-expert prediction with separate input of CIGF (Guo et al., WWW 2023).

Every behavior is an expert, and a task weighs them by a gate on its own representation:

.. math::
    score_k(u, v) = \sum_j g_j \langle Z^j_u, Z^j_v \rangle, \quad g = softmax([Z^k_u || Z^k_v] W_g + b_g)

Slot j of the gate is behavior j, whatever the task; one gate serves all tasks.

Differences:
  gate: the released program has one W_g, and so have eq. 13 of COPF and eq. 17 of PKEF; in eq. 4 of PKEF it carries the
    index of the task: ``shared_gate``. CIGF's own equations were not available to us.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax.backbones import base as backbones
from mbjax.heads import base
from mbjax.ops import gating


class MesiConfig(backbones.Section):
    """Switches of MESI."""

    name: Literal["mesi"] = "mesi"
    shared_gate: bool = pydantic.Field(True, description="one gate for all tasks (program), or one for each")


class Mesi(base.Head):
    """The gate; the experts have no weights."""

    def setup(self):
        num = self.info.num_behaviors
        sets = 1 if self.config.shared_gate else num
        self.gate_kernel = self.param("gate_kernel", base.STACKED_XAVIER, (sets, 2 * self.size, num))
        self.gate_bias = self.param("gate_bias", nn.initializers.zeros, (sets, num))

    def sides(self, encoding, graphs, task, users=None):
        """The parts of the gate's logits, and the rows of all behaviors."""
        del graphs
        pairs = [self.rows(table, users) for table in encoding.behaviors]
        gate = 0 if self.config.shared_gate else task
        logits = gating.logits(self.gate_kernel[gate], self.gate_bias[gate], *pairs[task])
        rows = (jnp.stack(side, axis=1) for side in zip(*pairs, strict=True))
        return base.Sides(*({"gate": g, "experts": r} for g, r in zip(logits, rows, strict=True)))

    def score(self, task, sides, pairing):
        """A gated sum of inner products."""
        user, item = sides
        return gating.mix_products(user["gate"], item["gate"], user["experts"], item["experts"], pairing)

    def gates(self, task, sides, pairing):
        """In funnel order."""
        return gating.weights(sides.user["gate"], sides.item["gate"], pairing)

    def slots(self, task):
        """The behaviors in funnel order."""
        return self.info.behaviors

    def penalty(self):
        """The gates' kernels."""
        return jnp.sum(jnp.square(self.gate_kernel))
