r"""EHCF: one pair of tables and a vector for each behavior, transferred from those before it (Chen et al., AAAI 2020).

.. math::
    Z^k_u = p_u \circ h_k, \quad Z^k_i = q_i, \quad
    h_k = \sum_{j < k} (W_{jk} h_j + r_{jk}) \;\; (k > 1), \quad h_1 \text{ a vector of its own}

so that the inner product of a user's row with an item's is :math:`\sum_d h_{kd}\, p_{ud}\, q_{id}`. While training,
entries of the users' rows are dropped. There is no graph.

Differences:
  transfers: of three behaviors view, cart, buy in the paper; for any number each receives from all before it in funnel
    order. ``transfer="none"`` gives each behavior a vector of its own.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base


class EhcfConfig(base.Section):
    """Switches of EHCF."""

    name: Literal["ehcf"] = "ehcf"
    transfer: Literal["earlier", "none"] = pydantic.Field(
        "earlier", description="a behavior's vector: made of those of all behaviors before it, or its own parameters"
    )
    dropout_rate: float = pydantic.Field(
        0.5, ge=0.0, lt=1.0, description="probability of dropping an entry of a user's row while training"
    )
    init_std: float = pydantic.Field(
        0.0,
        ge=0,
        description="standard deviation of normal initial values, cut at two of them; 0: Xavier's uniform ones",
    )


class Ehcf(base.Backbone):
    """The vectors of the behaviors."""

    @property
    def base_init(self) -> nn.initializers.Initializer:
        """Truncated normal, or Xavier's."""
        std = self.config.init_std
        return nn.initializers.truncated_normal(std) if std else base.XAVIER

    @staticmethod
    def graphs(config: EhcfConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """None."""
        del config, info
        return {}

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        del graphs
        user, item = base.users_items(base_table, self.info)
        user = self.drop(user, self.config.dropout_rate)  # one mask for all behaviors, as in the program
        size, vectors, tables = base_table.shape[1], [], []
        draw = base.uniform(size)
        for k, name in enumerate(self.info.behaviors):
            if k and self.config.transfer == "earlier":
                vector = jnp.zeros(size)
                for earlier, other in zip(self.info.behaviors[:k], vectors, strict=True):
                    kernel = self.param(f"map_{earlier}_{name}", draw, (size, size))
                    vector += kernel @ other + self.param(f"shift_{earlier}_{name}", draw, (size,))
            else:
                vector = self.param(f"vector_{name}", draw, (size,))
            vectors.append(vector)
            tables.append(jnp.concatenate([user * vector, item]))
        return base.Encoding(tuple(tables))

    def penalty(self) -> types.Array | float:
        """The maps."""
        weights = self.variables.get("params", {})
        maps = (value for name, value in weights.items() if name.startswith("map_"))
        return sum((jnp.sum(jnp.square(kernel)) for kernel in maps), start=0.0)
