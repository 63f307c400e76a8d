r"""DFME: the distributed fitting multi-expert network of COPF (Zhai et al., KDD 2025, section 4.3).

Task k scores with its own expert and one for every other behavior j, which is fitted to the task: its representation
is mixed with the task's, multiplied by the task's relation vector and propagated on the task's own graph.

.. math::
    X_0 = (\alpha Z^j + \beta Z^k) / 2, \quad X_l = \hat A_k (X_{l-1} \circ r_l) + X_{l-1}, \quad
    F^{j,k} = s \sum_{l=0}^{L_k} X_l, \quad r_{l+1} = r_l W^{l+1}

    score_k(u, v) = g_0 \langle Z^k_u, Z^k_v \rangle + \sum_{j \ne k} g_j \langle F^{j,k}_u, F^{j,k}_v \rangle, \quad
    g = softmax([Z^k_u || Z^k_v] W_g + b_g)

:math:`\hat A_k`: the bipartite matrix of behavior k alone, rows scaled to sum 1. Slot 0 of the gate is the task's own
expert, the others follow in funnel order; one gate serves all tasks. s = 0.1, alpha = 0.1, beta = 0.001.

Differences:
  backward decoupling: the paper stops the gradient of the target's expert inside the auxiliary tasks (eq. 14) and finds
    that better on all three data sets (Table 3, w/o back.). In the released program an inner loop overwrites the
    variable that is compared: where a task has as many layers as there are behaviors, all its other experts are
    stopped, and nothing is with fewer. ``stop_gradient`` = ``"target"`` (paper), ``"none"`` (program with its own
    settings), ``"all"`` (the ablation all sg.). What it stops is the table F, and with
    ``stop_gradient_gate`` the gate's share as well, as eq. 14 prints. At the published scales the choice hardly shows:
    on Taobao (COGCN 2, 2, 2) ``"target"`` changes the ranking losses' gradient of the embedding tables by 0.01 % of its
    length before training and by 0.07 % after 100 epochs. So the default is the program's, and the paper's gain of 7 %
    is not explained by it (docs/copf_on_taobao.md).
  slots of the gate: in eqs. 13 and 14 slot j belongs to behavior j, for every task; in the program slot 0 is the task's
    own, so that one and the same column of the shared W_g weighs other behaviors in other tasks: ``gate_slots``.
  expert scale: s is not in the paper; the program applies it to both sides. With it, alpha and beta the other experts
    give 0.000015 of a purchase's score there, 2 % of a view's; ``expert_scale=1`` gives them a hundred times as much.
  relation: the paper multiplies the self term by r as well (eq. 11): ``relation_on_self``.
  layers: what eq. 11 prints is the last layer, without a sum; the program adds up the layers 0 to L: ``output``.
  regularized weights: eq. 17 squares all parameters; the program leaves out the relation vectors and the gate's bias:
    ``l2_on="parameters"`` of the model takes all.
  experts of a task: eq. 14 and the program use the graph and relation of the task; appendix A.3.3 those of the other
    behavior: ``expert_index="other"``.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic

from mbjax import types
from mbjax.backbones import base as backbones
from mbjax.heads import base
from mbjax.ops import gating, graph, one_by_one

LARGE = 100_000
"""Users and items together beyond which an expert's tables are not kept for the backward pass."""


class DfmeConfig(backbones.Section):
    """Switches of DFME."""

    name: Literal["dfme"] = "dfme"
    layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (1,), min_length=1, description="graph layers of each task in funnel order, or one number for all"
    )
    stop_gradient: Literal["target", "none", "all"] = pydantic.Field(
        "none", description="experts whose tables get no gradient: the target's in auxiliary tasks, none, or all others"
    )
    stop_gradient_gate: bool = pydantic.Field(False, description="stop the gradient of such an expert's gate too")
    expert_scale: float = pydantic.Field(0.1, description="factor of the other experts' tables, on each side")
    alpha: float = pydantic.Field(0.1, description="share of the other behavior in its expert")
    beta: float = pydantic.Field(0.001, description="share of the task's own behavior in the other experts")
    relation_on_self: bool = pydantic.Field(False, description="multiply the self term by the relation vector too")
    output: Literal["sum", "last"] = pydantic.Field(
        "sum", description="an expert's tables: the sum of the layers 0 to L (program), or the last layer (eq. 11)"
    )
    expert_index: Literal["task", "other"] = pydantic.Field(
        "task", description="whose graph and relation an expert uses: the task's (eq. 14), or the other behavior's"
    )
    gate_slots: base.GateSlots = pydantic.Field("own_first", description=base.GATE_SLOTS)
    fit: bool = pydantic.Field(
        True, description="fit the other experts to the task; off: their representations as they are (w/o for.)"
    )


class Dfme(base.Head):
    """The experts, their propagation and the gate."""

    @staticmethod
    def graphs(config: DfmeConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        return backbones.own_graphs(info, "left") if config.fit else {}

    def setup(self):
        config, num = self.config, self.info.num_behaviors
        self.gate = base.PairGate(self.size, num)
        self.transition = []
        if config.fit:
            self.relation = self.param("relation", base.XAVIER, (num, self.size))
            depth = max(backbones.per_behavior(config.layers, self.info, "head.layers"))
            self.transition = [
                self.param(f"transition_{layer}", base.XAVIER, (self.size, self.size)) for layer in range(1, depth)
            ]

    def sides(self, encoding, graphs, task, users=None):
        """The parts of the gate's logits, and the rows of all experts in the order of the gate's slots."""
        tables = encoding.behaviors
        own = self.rows(tables[task], users)
        others = {j: self._of(tables, graphs, task, j, users) for j in base.own_first(task, len(tables))[1:]}
        pairs = [own if j == task else others[j] for j in self._order(task)]
        rows = (jnp.stack(side, axis=1) for side in zip(*pairs, strict=True))
        return base.Sides(*({"gate": g, "experts": r} for g, r in zip(self.gate(*own), rows, strict=True)))

    def _of(self, tables, graphs, task, other, users):
        """The rows of one expert."""
        if not self.config.fit:
            return self._held(task, other, self.rows(tables[other], users))
        weights = self.relation, tuple(self.transition)

        def rows(variables):
            table, own, weights = variables
            return self.rows(self._fitted(table, own, graphs, task, other, weights), users)

        if self._is_stopped(task, other):  # what gets no gradient is not propagated backwards either
            return jax.lax.stop_gradient(rows(jax.lax.stop_gradient((tables[other], tables[task], weights))))
        if users is not None and self.info.num_users + self.info.num_items > LARGE:
            return one_by_one.apart(rows, (tables[other], tables[task], weights))
        return rows((tables[other], tables[task], weights))

    def _held(self, task, other, rows):
        return jax.lax.stop_gradient(rows) if self._is_stopped(task, other) else rows

    def experts(self, tables, graphs, task: int, group: list[int]) -> list[types.Array]:
        """F of the behaviors of ``group`` for a task, [U + I, D] each.

        One after another: a product costs what its columns cost, and to put tables side by side is a copy more.
        """
        if not self.config.fit:
            return [tables[j] for j in group]
        weights = self.relation, tuple(self.transition)
        return [self._fitted(tables[j], tables[task], graphs, task, j, weights) for j in group]

    def _fitted(self, table, own, graphs, task, other, weights):
        """F of one behavior, of its table and that of the task."""
        config = self.config
        owner = other if config.expert_index == "other" else task
        shares = (config.alpha, config.beta) if owner == task else (config.beta, config.alpha)
        return self._propagate(graphs, (shares[0] * table + shares[1] * own) / 2, owner, weights)

    def _propagate(self, graphs, state, behavior: int, weights):
        config, (relations, transition) = self.config, weights
        relation, total = relations[behavior], state
        layers = backbones.per_behavior(config.layers, self.info, "head.layers")[behavior]
        for layer in range(layers):
            if layer:
                relation = relation @ transition[layer - 1]
            related = state * relation
            message = graph.spmm(graphs[self.info.behaviors[behavior]], related)
            state = message + (related if config.relation_on_self else state)
            total = total + state
        return config.expert_scale * (total if config.output == "sum" else state)

    def _is_stopped(self, task: int, other: int) -> bool:
        target = len(self.info.behaviors) - 1
        return {"target": other == target, "none": False, "all": True}[self.config.stop_gradient]

    def score(self, task, sides, pairing):
        """A gated sum of inner products."""
        user, item = sides
        stopped = [slot for slot, j in enumerate(self._order(task)) if j != task and self._is_stopped(task, j)]
        if not (self.config.stop_gradient_gate and stopped):
            return gating.mix_products(user["gate"], item["gate"], user["experts"], item["experts"], pairing)
        gates = gating.weights(user["gate"], item["gate"], pairing)
        score = 0.0
        for slot in range(gates.shape[-1]):
            term = gates[..., slot] * pairing.product(user["experts"][:, slot], item["experts"][:, slot])
            score += jax.lax.stop_gradient(term) if slot in stopped else term
        return score

    def gates(self, task, sides, pairing):
        """In the order of the slots."""
        return gating.weights(sides.user["gate"], sides.item["gate"], pairing)

    def slots(self, task):
        """The behaviors, own first or in funnel order."""
        return tuple(self.info.behaviors[j] for j in self._order(task))

    def _order(self, task: int) -> tuple[int, ...]:
        return base.in_slots(self.config.gate_slots, task, self.info.num_behaviors)

    def penalty(self):
        """Gate kernel and relation transitions."""
        return self.gate.penalty() + sum(jnp.sum(jnp.square(kernel)) for kernel in self.transition)
