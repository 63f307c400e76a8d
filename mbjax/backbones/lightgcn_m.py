r"""LightGCN_M: LightGCN on the graph of all behaviors together, a row of Table 6 of COPF (Zhai et al., KDD 2025).

.. math:: E^{l+1} = \hat A E^l, \quad Z^k = \frac{1}{L+1} \sum_{l=0}^{L} E^l \quad \text{for every behavior } k

:math:`\hat A`: the bipartite matrix of the pairs that any behavior has, symmetrically normalized, without self loops.

Differences:
  all of it: the paper (5.4) gives no more than "LightGCN enhanced with the multi-behavioral graph", and we know of no
    program. That the graph is the union, and that every behavior has the same representation, are the simplest
    readings; others are ``entries`` and ``tables``. We take it not to be K separate LightGCNs, since Table 3 has
    those, w/o COGCN, with other numbers (here ``lightgcn`` with ``pairs="own"``).
  propagation on some neighbors: ``graph_parts``, as in ``mbjax/backbones/dealt.py``; off by default.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base, dealt, lightgcn


class LightgcnMConfig(base.Section):
    """Switches of LightGCN_M."""

    name: Literal["lightgcn_m"] = "lightgcn_m"
    num_layers: int = pydantic.Field(3, ge=0, description="graph layers, L")
    entries: Literal["union", "count", "normalized_sum"] = pydantic.Field(
        "union",
        description="how the behaviors become one graph: 1 where any has the pair, the number that have it, or the sum "
        "of their normalized matrices",
    )
    tables: Literal["shared", "per_behavior"] = pydantic.Field(
        "shared", description="embedding tables: one pair for all behaviors, or a pair for each on the same graph"
    )
    init_std: float = pydantic.Field(
        0.0, ge=0, description="standard deviation of normal initial values; 0: Xavier's uniform ones"
    )
    graph_parts: int = pydantic.Field(1, ge=1, le=dealt.MOST, description=dealt.DESCRIPTION)


class LightgcnM(base.Backbone):
    """The propagation; with ``tables="per_behavior"`` the model's own tables are the target's, the others are here."""

    @property
    def base_init(self) -> nn.initializers.Initializer:
        """Normal, or Xavier's."""
        return base.initial(self.config.init_std)

    @staticmethod
    def graphs(config: LightgcnMConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """One matrix of all behaviors."""
        spec = types.GraphSpec(info.behaviors, "bipartite", "symmetric", config.entries)
        specs = {base.matrix_name(info.behaviors, "symmetric", config.entries): spec}
        return specs | dealt.specs(specs, config.graph_parts)

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        name = base.matrix_name(info.behaviors, "symmetric", config.entries)
        products = dealt.products(self, graphs, name, config.graph_parts, config.num_layers)
        own = lightgcn.mean_of_layers(products, base_table)
        if config.tables == "shared":
            return base.Encoding((own,) * info.num_behaviors)
        others = []
        for name in info.auxiliary:
            sizes = (("user", info.num_users), ("item", info.num_items))
            tables = [self.param(f"{side}_{name}", self.base_init, (n, base_table.shape[1])) for side, n in sizes]
            others.append(lightgcn.mean_of_layers(products, jnp.concatenate(tables)))
        return base.Encoding((*others, own))

    def penalty(self) -> types.Array | float:
        """The tables of the auxiliary behaviors."""
        tables = self.variables.get("params", {})
        return sum((jnp.sum(jnp.square(table)) for table in tables.values()), start=0.0)

    def of_users(self) -> types.Array | float:
        """Those of users."""
        tables = self.variables.get("params", {})
        return sum((jnp.sum(jnp.square(t)) for name, t in tables.items() if name.startswith("user_")), start=0.0)
