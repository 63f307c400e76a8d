r"""R-GCN: relational graph convolution, a behavior being a relation (Schlichtkrull et al., ESWC 2018). Reconstructed.

.. math::
    E^{l+1} = \sigma\Big( \sum_r \hat A_r E^l W_r^l + E^l W_0^l \Big)

r: each behavior in each direction, of users to items and back, with a map of its own; :math:`\hat A_r`: means over the
neighbors by r; sigma: relu, and nothing in the last layer. Z is the last layer, or the mean of all with the embedding
tables; every behavior is given it. With B bases, :math:`W_r = \sum_b a_{rb} V_b`.

Differences:
  all of its use for behaviors: PKEF (Meng et al., CIKM 2023) and COPF (Zhai et al., KDD 2025) have a row RGCN and say
    nothing of its layers, divisor, decoder or loss; nothing is released. What is above is ours.
  divisor: the authors' program for classifying nodes divides by a relation's own degree, the default, that for
    predicting links by the degree over all relations, ``divisor="all"``.
  input and biases: their program for links has an affine layer with relu below the first and biases; there are none.
  edges: it takes a random half of the edges of a step away, so that what is predicted is in part hidden; none is here.
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

STACKED_XAVIER = nn.initializers.glorot_uniform(batch_axis=(0,))
NORMAL = nn.initializers.normal(1.0)


class RgcnConfig(base.Section):
    """Switches of R-GCN."""

    name: Literal["rgcn"] = "rgcn"
    num_layers: int = pydantic.Field(2, ge=0, description="graph layers, L")
    directions: Literal["separate", "tied"] = pydantic.Field(
        "separate", description="maps of a behavior: one for users and one for items, or one for both"
    )
    divisor: Literal["relation", "all"] = pydantic.Field(
        "relation", description="what a sum over neighbors is divided by: their number by the behavior, or by all"
    )
    bases: int = pydantic.Field(0, ge=0, description="matrices that all maps of a layer are combinations of; 0: free")
    output: Literal["last", "mean"] = pydantic.Field(
        "last", description="representation: the last layer, or the mean of all layers and the tables"
    )
    dropout_rate: float = pydantic.Field(
        0.0, ge=0.0, lt=1.0, description="probability of dropping an entry of a node's own part while training"
    )


class Rgcn(base.Backbone):
    """The layers and their maps."""

    @staticmethod
    def graphs(config: RgcnConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        return base.named_graphs(info, _normalization(config))

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        matrices = [graphs[base.matrix_name((name,), _normalization(config))] for name in info.behaviors]
        scale = 1.0
        if config.divisor == "all":
            one = jnp.ones((base_table.shape[0], 1), base_table.dtype)
            scale = 1.0 / jnp.maximum(sum(graph.spmm(matrix, one) for matrix in matrices), 1.0)
        state, layers = base_table, [base_table]
        for layer in range(1, config.num_layers + 1):
            maps = self._maps(layer, state.shape[1])
            kernel = self.param(f"self_{layer}", base.XAVIER, (state.shape[1],) * 2)
            total = self.drop(state @ kernel, config.dropout_rate)
            for matrix, kernels in zip(matrices, maps, strict=True):
                sides = base.users_items(scale * graph.spmm(matrix, state), info)
                total += jnp.concatenate([rows @ kernel for rows, kernel in zip(sides, kernels, strict=True)])
            state = total if layer == config.num_layers else jax.nn.relu(total)
            layers.append(state)
        table = base.mean(layers) if config.output == "mean" else state
        return base.Encoding((table,) * info.num_behaviors)

    def _maps(self, layer, size):
        """The maps [K, 2, D, D] of a layer: of each behavior, to users and to items."""
        number, sides = self.info.num_behaviors, 1 if self.config.directions == "tied" else 2
        if self.config.bases:
            shares = self.param(f"shares_{layer}", NORMAL, (number * sides, self.config.bases))
            matrices = self.param(f"bases_{layer}", STACKED_XAVIER, (self.config.bases, size, size))
            maps = jnp.einsum("rb,bij->rij", shares, matrices)
        else:
            maps = self.param(f"maps_{layer}", STACKED_XAVIER, (number * sides, size, size))
        return jnp.broadcast_to(maps.reshape(number, sides, size, size), (number, 2, size, size))


def _normalization(config: RgcnConfig) -> str:
    return "left" if config.divisor == "relation" else "none"
