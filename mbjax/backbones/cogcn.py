r"""COGCN: the combinatorial graph convolution of COPF (Zhai et al., KDD 2025, section 4.2).

Behavior k propagates on the pairs of all behaviors up to k, :math:`S_k = B_1 + \dots + B_k` (how many of them have the
pair), starting from what its predecessor ended with:

.. math::
    E^{1,0} = E_0, \quad E^{k,l+1} = \hat C_k E^{k,l} + E^{k,l}, \quad E^{k+1,0} = E^{k,L_k} + E^{k,0}, \quad
    Z^k = \sum_{l=0}^{L_k} E^{k,l}

:math:`\hat C_k`: the bipartite matrix of S_k, rows scaled to sum 1 (rows without pairs stay zero), without self loops.

Differences:
  cumulative graph: the paper (eq. 5) sums the separately normalized matrices of the behaviors up to k and the identity
    k times; the released program normalizes the summed counts once. Default ``cum_graph="count_sum"``, the program's;
    ``"sum_of_normalized"`` is the paper's.
  layers: one number L in the paper; the program has one for each behavior: ``layers``.
"""

from __future__ import annotations

from typing import Literal

import pydantic

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import graph


class CogcnConfig(base.Section):
    """Switches of COGCN; the variants of Table 3 of the paper differ in ``graph``, ``start`` and ``decouple``."""

    name: Literal["cogcn"] = "cogcn"
    layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (1,), min_length=1, description="graph layers of each behavior in funnel order, or one number for all"
    )
    cum_graph: Literal["count_sum", "sum_of_normalized"] = pydantic.Field(
        "count_sum", description="joins the behaviors up to k: counts normalized once (program), or each by itself"
    )
    graph: Literal["upstream", "own", "all"] = pydantic.Field(
        "upstream", description="pairs a behavior propagates on: up to itself, its own only, or all behaviors'"
    )
    start: Literal["residual", "strict", "base"] = pydantic.Field(
        "residual",
        description="where a behavior starts: last layer plus start of its predecessor, its last layer only, or the "
        "embedding tables",
    )
    decouple: bool = pydantic.Field(
        True, description="a representation for each behavior; off: their sum for every task"
    )


class Cogcn(base.Backbone):
    """The propagation; it has no weights of its own."""

    @staticmethod
    def graphs(config: CogcnConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """One matrix for each behavior; equal ones are one."""
        entries = "count" if config.cum_graph == "count_sum" else "normalized_sum"
        return {
            "+".join(behaviors): types.GraphSpec(behaviors, "bipartite", "left", entries)
            for behaviors in (_pool(config, info, k) for k in range(info.num_behaviors))
        }

    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        layers = base.per_behavior(config.layers, info, "backbone.layers")
        start, outputs = base_table, []
        for k in range(info.num_behaviors):
            pool = _pool(config, info, k)
            # The paper adds the identity once for each matrix.
            loops = len(pool) if config.cum_graph == "sum_of_normalized" else 1
            state = total = start
            for _ in range(layers[k]):
                state = graph.spmm(graphs["+".join(pool)], state) + (state if loops == 1 else loops * state)
                total = total + state
            outputs.append(total)
            start = {"residual": lambda s=start, e=state: e + s, "strict": lambda e=state: e}.get(
                config.start, lambda: base_table
            )()
        if not config.decouple:
            outputs = [sum(outputs[1:], start=outputs[0])] * info.num_behaviors
        return base.Encoding(tuple(outputs))


def _pool(config: CogcnConfig, info: types.DatasetInfo, k: int) -> tuple[str, ...]:
    """The behaviors whose pairs behavior k propagates on."""
    return {"upstream": info.behaviors[: k + 1], "own": info.behaviors[k : k + 1]}.get(config.graph, info.behaviors)
