r"""CIGF: compressed interaction graph framework (Guo et al., WWW 2023).

From the second layer on, behavior k propagates on the graphs of all behaviors and joins them, for each node, by weights
that an attention map of k reads off the embedding tables:

.. math::
    s_1 = \hat A_k E_0, \quad \alpha = lrelu(E_0 W^{k,l} + b^{k,l}), \quad
    s_l = \sum_j \alpha_{\cdot j} \circ (\hat A_j s_{l-1})

    y_0 = E_0, \quad y_l = y_{l-1} + s_l, \quad Z^k = \sum_{l=0}^{L} y_l

so that E_0 enters Z L + 1 times, s_1 L times, and so on. :math:`\hat A_j`: the bipartite matrix of behavior j, rows
scaled to sum 1. alpha is not a softmax; lrelu has slope 0.1.

Differences:
  attention and residuals: read off the released program; we have not compared them with the paper's equations.
  activation: the program's encoder "gccf" adds lrelu(s_l) instead of s_l: ``encoder``. Its comments pair it with
    Beibei, its command there uses "lightgcn".
  size: 16 in the program; the tables of COPF are of 64.
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

SLOPE = 0.1


class CigfConfig(base.Section):
    """Switches of the encoder of CIGF."""

    name: Literal["cigf"] = "cigf"
    layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (2,), min_length=1, description="graph layers of each behavior in funnel order, or one number for all"
    )
    encoder: Literal["lightgcn", "gccf"] = pydantic.Field(
        "lightgcn", description="what a layer adds: its result, or (gccf) that after a leaky ReLU"
    )
    normalization: Literal["left", "right", "symmetric", "none"] = pydantic.Field(
        "left", description="scaling of the matrices: D^-1 A, A D^-1, D^-1/2 A D^-1/2, or A"
    )


class Cigf(base.Backbone):
    """The encoder and its attention maps."""

    @staticmethod
    def graphs(config: CigfConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        return base.named_graphs(info, config.normalization)

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        layers = base.per_behavior(config.layers, info, "backbone.layers")
        matrices = [graphs[base.matrix_name((name,), config.normalization)] for name in info.behaviors]
        outputs = []
        for k, name in enumerate(info.behaviors):
            message, state, total = base_table, base_table, base_table  # s, y and their sum
            for layer in range(1, layers[k] + 1):
                if layer == 1:
                    message = graph.spmm(matrices[k], message)
                else:
                    alpha = self._attention(base_table, f"{name}_{layer}")  # [U + I, K]
                    parts = [alpha[:, j : j + 1] * graph.spmm(matrix, message) for j, matrix in enumerate(matrices)]
                    message = sum(parts[1:], start=parts[0])
                state = state + (jax.nn.leaky_relu(message, SLOPE) if config.encoder == "gccf" else message)
                total = total + state
            outputs.append(total)
        return base.Encoding(tuple(outputs))

    def _attention(self, rows, name):
        num = self.info.num_behaviors
        kernel = self.param(f"attention_{name}", base.XAVIER, (rows.shape[1], num))
        bias = self.param(f"attention_bias_{name}", nn.initializers.zeros, (num,))
        return jax.nn.leaky_relu(rows @ kernel + bias, SLOPE)

    def penalty(self) -> types.Array | float:
        """The kernels of the attention maps."""
        weights = self.variables.get("params", {})
        kernels = (value for name, value in weights.items() if not name.startswith("attention_bias_"))
        return sum((jnp.sum(jnp.square(kernel)) for kernel in kernels), start=0.0)
