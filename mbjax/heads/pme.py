r"""PME: projection disentangling multi-experts, the prediction of PKEF (Meng et al., CIKM 2023, section 4.3).

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
  coefficient: eqs. 5 and 16 print the cosine of the two vectors in place of a, which is no projection unless they are
    equally long; the program projects: ``coefficient``.
  scale: the paper speaks of a small value; the program's is 0.01 on each side: ``scale``.
  gate: the paper's input is z of the task (eq. 17), the program's user || item. Section 3.2 speaks of a gate for each
    task, eq. 17 has no index; the program has one: ``shared_gate``.
  slots of the gate: in eq. 17 slot j belongs to behavior j; in the program slot 0 is the task's own, so that one and
    the same column of the shared W_g weighs other behaviors in other tasks: ``gate_slots``.
  regularized weights: eq. 21 squares all parameters; the program leaves out the gate's bias: ``l2_on="parameters"`` of
    the model takes all.
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
    coefficient: Literal["projection", "cosine"] = pydantic.Field(
        "projection",
        description="factor of the task's own vector: that of the projection (program), or the cosine (paper)",
    )
    scale: float = pydantic.Field(0.01, description="factor of the shared experts, on each side")
    gate_slots: base.GateSlots = pydantic.Field("own_first", description=base.GATE_SLOTS)
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
            if self.config.coefficient == "cosine":
                for i in (0, 1):
                    parts[i] |= {f"length_{j}": jnp.square(rows[i]) for j, rows in enumerate(others, start=1)}
            return base.Sides(*parts)
        factor = projection.cosine if self.config.coefficient == "cosine" else projection.coefficient
        sides = []
        for i in (0, 1):
            shared = [scale * factor(rows[i], own[i]) for rows in others]
            weight = jnp.concatenate(self._in_slots(task, jnp.ones_like(own[i][:, :1]), shared), axis=1)
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
        shared = []
        for name in (name for name in user if name.startswith("cross")):
            below = square
            if self.config.coefficient == "cosine":
                length = name.replace("cross", "length")
                other = pairing.product(user[length], item[length]) + projection.EPSILON
                below = jnp.sqrt(square) * jnp.sqrt(other)
            shared.append(pairing.product(user[name], item[name]) / below)
        weights = self._in_slots(task, jnp.ones_like(own), shared)
        return own * gating.mix(user["gate"], item["gate"], weights, pairing)

    def gates(self, task, sides, pairing):
        """In the order of the slots."""
        return gating.weights(sides.user["gate"], sides.item["gate"], pairing)

    def slots(self, task):
        """The behaviors, own first or in funnel order."""
        return tuple(self.info.behaviors[j] for j in self._order(task))

    def _order(self, task):
        return base.in_slots(self.config.gate_slots, task, self.info.num_behaviors)

    def _in_slots(self, task, own, others):
        """What belongs to the experts, own and others, in the order of the gate's slots."""
        given = dict(zip(base.own_first(task, self.info.num_behaviors), [own, *others], strict=True))
        return [given[j] for j in self._order(task)]

    def penalty(self):
        """The gates' kernels."""
        return sum(gate.penalty() for gate in self.gate)
