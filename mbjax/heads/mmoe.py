r"""MMOE: multi-gate mixture of experts (Ma et al., KDD 2018) on the merged input x.

As the released program of CIGF (Guo et al., WWW 2023) has it, whose library PKEF (CIKM 2023) and COPF (KDD 2025) took
over; that their tables are of exactly this head they do not say. E experts serve all tasks; a task weighs them and
reads the mixture with one linear unit:

.. math::
    h_e = \operatorname{lrelu}_{0.1}(x W_e + b_e), \quad g^k = softmax(x G_k + c_k), \quad
    score_k = \Big( \sum_e g^k_e h_e \Big) w_k + d_k

with W_e: [2 D, 2 D]. See ``mbjax/heads/merged.py`` for x and for how all items are ranked.

Differences:
  number of experts: 3; PKEF's study of the gates has 4 on Tmall.
"""

from __future__ import annotations

from typing import Literal

import pydantic

from mbjax.heads import base, merged
from mbjax.ops import gating


class MmoeConfig(merged.MergedConfig):
    """Switches of MMOE."""

    name: Literal["mmoe"] = "mmoe"
    experts: pydantic.PositiveInt = pydantic.Field(3, description="number of experts that all tasks share")


class Mmoe(merged.Merged):
    """Experts, and for each task a gate and a tower."""

    def setup(self):
        num, inputs = self.info.num_behaviors, 2 * self.size
        self.expert = self.dense("expert", self.config.experts, inputs, inputs)
        self.gate = self.dense("gate", num, inputs, self.config.experts)
        self.tower = self.dense("tower", num, inputs, 1)

    def sides(self, encoding, graphs, task, users=None):
        """The parts of the gate's logits and the parts of the experts."""
        del graphs
        rows = self.merge(encoding, users)
        logits, units = gating.logits(*self.gate.take(task), *rows), self.expert.split(*rows)
        return base.Sides(*({"gate": g, "units": u} for g, u in zip(logits, units, strict=True)))

    def score(self, task, sides, pairing):
        """The tower on the gated experts."""
        return merged.mixture(sides, self.tower.take(task), pairing)

    def gates(self, task, sides, pairing):
        """In the order of the experts."""
        return gating.weights(sides.user["gate"], sides.item["gate"], pairing)

    def slots(self, task):
        """``expert 1``, ..."""
        return tuple(f"expert {e + 1}" for e in range(self.config.experts))
