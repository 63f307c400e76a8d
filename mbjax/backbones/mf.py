r"""MF: the embedding tables themselves, :math:`Z^k = E_0` for every behavior; no graph.

Matrix factorization, with BPR the model of Rendle et al., UAI 2009.

Differences:
  biases: none; an item bias is optional in the reference, and the papers that compare to it name none.
"""

from __future__ import annotations

from typing import Literal

import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base


class MfConfig(base.Section):
    """Switches of the tables."""

    name: Literal["mf"] = "mf"
    init_std: float = pydantic.Field(
        0.0, ge=0, description="standard deviation of normal initial values; 0: Xavier's uniform ones"
    )


class Mf(base.Backbone):
    """The tables; it has no weights of its own."""

    @property
    def base_init(self) -> nn.initializers.Initializer:
        """Normal, or Xavier's."""
        return base.initial(self.config.init_std)

    @staticmethod
    def graphs(config: MfConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """None."""
        del config, info
        return {}

    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """The same table for each behavior."""
        del graphs
        return base.Encoding((base_table,) * self.info.num_behaviors)
