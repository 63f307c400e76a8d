r"""CML's encoder: propagation of each behavior and of their mean, joined layer by layer (Wei et al., WSDM 2022).

.. math::
    M_k^l = A_k E^{l-1}, \quad E^l = \sigma\Big(\frac1K \sum_k M_k^l W^l\Big), \quad E_k^l = \sigma(M_k^l W^l), \qquad
    Z^k = [E_k^1 \,\|\, \dots \,\|\, E_k^L]\, C, \quad Z = [E^1 \,\|\, \dots \,\|\, E^L]\, C

A: the bipartite matrix of behavior k; sigma: the logistic function. Users and items have their own W and C. There is no
layer 0, and the states of single behaviors lead to no further layer. Z, ``Encoding.merged``, is what CML and KMCLR rank
with, whatever the behavior; Z^k is what they align, and what a head of another model gets.

Differences:
  matrix: the released programs of CML and of KMCLR compute degrees and then add up neighbors as they are, the default;
    the logistic function of such sums soon saturates. ``normalization="symmetric"`` divides by degrees, which is how
    the paper is commonly stated; we have not compared it with its text.
  weights: the programs declare several that they do not use; those are not here.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import graph


class CmlConfig(base.Section):
    """Switches of the encoder of CML."""

    name: Literal["cml"] = pydantic.Field("cml", description="the encoder")
    num_layers: int = pydantic.Field(3, ge=1, description="graph layers, L")
    normalization: Literal["none", "symmetric"] = pydantic.Field(
        "none", description="scaling of the matrices: A as it is (program), or D^-1/2 A D^-1/2"
    )


class Cml(base.Backbone):
    """The layers and their weights."""

    @staticmethod
    def graphs(config: CmlConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        return base.named_graphs(info, config.normalization)

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes; ``merged`` is Z."""
        config, info, size = self.config, self.info, base_table.shape[1]
        matrices = [graphs[base.matrix_name((name,), config.normalization)] for name in info.behaviors]
        state, merged, own = base_table, [], [[] for _ in matrices]
        for layer in range(1, config.num_layers + 1):
            kernels = [self.param(f"{side}_{layer}", base.XAVIER, (size, size)) for side in ("user", "item")]
            messages = [self._times(graph.spmm(matrix, state), kernels) for matrix in matrices]
            state = jax.nn.sigmoid(base.mean(messages))
            merged.append(state)
            for states, message in zip(own, messages, strict=True):
                states.append(jax.nn.sigmoid(message))
        shape = (size * config.num_layers, size)
        last = [self.param(f"{side}_joined", base.XAVIER, shape) for side in ("user", "item")]
        tables = [self._times(jnp.concatenate(states, axis=1), last) for states in (merged, *own)]
        return base.Encoding(tuple(tables[1:]), merged=tables[0])

    def _times(self, table, kernels):
        """The users' rows times one kernel, the items' times the other."""
        return jnp.concatenate(
            [rows @ kernel for rows, kernel in zip(base.users_items(table, self.info), kernels, strict=True)]
        )

    def penalty(self) -> types.Array | float:
        """All kernels."""
        weights = self.variables.get("params", {})
        return sum((jnp.sum(jnp.square(kernel)) for kernel in weights.values()), start=0.0)
