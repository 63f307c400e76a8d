r"""CRGCN: cascading residual graph convolution (Yan et al., TOIS 2023).

Each behavior refines what its predecessor ended with by one convolution on its own graph, scaled to length 1:

.. math:: T^0 = E_0, \quad T^k = T^{k-1} + \frac{C_k(T^{k-1})}{|C_k(T^{k-1})|}, \quad Z^k = T^k

with :math:`C_k` the map :math:`X \to \hat A_k X + b` applied L_k times, and :math:`\hat A_k` the bipartite matrix of
behavior k, symmetrically normalized, without self loops. Lengths are of rows; a zero row stays zero.

Differences:
  bias: the paper has none; the released program removed the weight of its convolution and kept the bias, one vector
    for each behavior and layer: ``bias``. At the first step it is 0, and rows without pairs are exactly 0, where the
    scaling has a slope of 10^12: after one step of Adam the bias has moved by the learning rate in every direction and
    stays there for thousands of steps, in the program as here.
  repeated pairs: the program counts a pair as often as it is listed; here pairs are distinct.
"""

from __future__ import annotations

from typing import Literal

import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import contrastive, graph


class CrgcnConfig(base.Section):
    """Switches of CRGCN."""

    name: Literal["crgcn"] = "crgcn"
    layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (1,), min_length=1, description="graph layers of each behavior in funnel order, or one number for all"
    )
    bias: bool = pydantic.Field(True, description="add a trained vector after each layer (program); off: the paper")


class Crgcn(base.Backbone):
    """The cascade and its biases, which are not regularized."""

    @staticmethod
    def graphs(config: CrgcnConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        del config
        return base.named_graphs(info, "symmetric")

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        layers = base.per_behavior(config.layers, info, "backbone.layers")
        state, outputs = base_table, []
        for k, name in enumerate(info.behaviors):
            refined = state
            for layer in range(layers[k]):
                refined = graph.spmm(graphs[base.matrix_name((name,), "symmetric")], refined)
                if config.bias:
                    refined = refined + self.param(f"bias_{name}_{layer}", nn.initializers.zeros, refined.shape[1:])
            state = state + contrastive.normalize(refined)
            outputs.append(state)
        return base.Encoding(tuple(outputs))
