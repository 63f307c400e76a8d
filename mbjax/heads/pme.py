r"""PME: the projection-based multi-expert prediction of PKEF (Meng et al., CIKM 2023, section 3.2).

Task k scores with its own expert and, for every other behavior j, with the part of its representation that is parallel
to the task's. As that part is a multiple of the task's own row, so is the expert:

.. math::
    a^j_u = \frac{u_j \cdot u_k}{|u_k|^2}, \quad
    score_k(u, v) = \langle u_k, v_k \rangle \Big( g_0 + s^2 \sum_{j \ne k} g_j a^j_u a^j_v \Big), \quad
    g = softmax([u_k || v_k] W_g + b_g)

s = 0.01. Slot 0 of the gate is the task's own expert, the others follow in funnel order; one gate serves all tasks.
What is orthogonal to the task's row is for the unique-behavior loss (``mbjax/models/objectives.py``).

Differences:
  level: the paper projects the products :math:`q^j = u_j \circ v_j` onto :math:`q^k`; the released program the rows of
    users and of items: ``level="product"`` and ``"embedding"`` (default).
  scale: the paper speaks of a small value; the program's is 0.01 on each side: ``scale``.
  gate: the paper's input is z of the task (eq. 17), the program's user || item. Section 3.2 speaks of a gate for each
    task, eq. 17 has no index; the program has one: ``shared_gate``.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic

from mbjax.backbones import base as backbones
from mbjax.heads import base
from mbjax.ops import gating, projection


class PmeConfig(backbones.Section):
    """Switches of PME."""

    name: Literal["pme"] = "pme"
    level: Literal["embedding", "product"] = pydantic.Field(
        "embedding", description="what is projected: rows of users and items (program), or their products (paper)"
    )
    scale: float = pydantic.Field(0.01, description="factor of the shared experts, on each side")
    shared_gate: bool = pydantic.Field(True, description="one gate for all tasks (program), or one for each (paper)")


class Pme(base.Head):
    """The gate and the projected experts."""

    def setup(self):
        num = self.info.num_behaviors
        self.gate = [base.PairGate(self.size, num) for _ in range(1 if self.config.shared_gate else num)]

    def sides(self, encoding, graphs, task, users=None):
        """Own rows, the parts of the gate's logits, and the projection coefficients."""
        del graphs
        tables, scale = encoding.behaviors, self.config.scale
        own = self.rows(tables[task], users)
        gates = self.gate[0 if self.config.shared_gate else task](*own)
        others = [self.rows(tables[j], users) for j in base.own_first(task, len(tables))[1:]]
        if self.config.level == "product":
            parts = [
                {"own": own[i], "gate": gates[i], "square": jnp.square(own[i])}
                | {f"cross_{j}": scale * rows[i] * own[i] for j, rows in enumerate(others, start=1)}
                for i in (0, 1)
            ]
            return base.Sides(*parts)
        sides = []
        for i in (0, 1):
            shared = [scale * projection.coefficient(rows[i], own[i]) for rows in others]
            weight = jnp.concatenate([jnp.ones_like(own[i][:, :1]), *shared], axis=1)
            sides.append({"own": own[i], "gate": gates[i], "weight": weight})
        return base.Sides(*sides)

    def score(self, task, sides, pairing):
        """The closed form: an inner product times a gated sum of products of coefficients."""
        user, item = sides
        own = pairing.product(user["own"], item["own"])
        if self.config.level == "embedding":
            weights = (user["weight"][..., None], item["weight"][..., None])
            return own * gating.mix_products(user["gate"], item["gate"], *weights, pairing)
        square = pairing.product(user["square"], item["square"]) + projection.EPSILON
        shared = [pairing.product(user[name], item[name]) / square for name in user if "cross" in name]
        return own * gating.mix(user["gate"], item["gate"], [jnp.ones_like(own), *shared], pairing)

    def gates(self, task, sides, pairing):
        """Own expert first."""
        return gating.weights(sides.user["gate"], sides.item["gate"], pairing)

    def penalty(self):
        """The gates' kernels."""
        return sum(gate.penalty() for gate in self.gate)
