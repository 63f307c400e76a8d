r"""Inner product: each task scores with its own representation alone, :math:`\langle Z^k_u, Z^k_v \rangle`.

The scorer of LightGCN, MB-CGCN and CRGCN, and the row "No Aggregation" of Table 4 of COPF (Zhai et al., KDD 2025).

Differences:
  scale and sums: of a model that multiplies its scores or adds further terms, see the model; there is no weight here.
"""

from __future__ import annotations

from typing import Literal

from mbjax.backbones import base as backbones
from mbjax.heads import base


class InnerProductConfig(backbones.Section):
    """It has no switches."""

    name: Literal["inner_product"] = "inner_product"


class InnerProduct(base.Head):
    """The scorer; it has no weights."""

    def sides(self, encoding, graphs, task, users=None):
        """Own rows."""
        del graphs
        return base.Sides(*self.rows(encoding.behaviors[task], users))

    def score(self, task, sides, pairing):
        """One inner product."""
        del task
        return pairing.product(*sides)
