r"""GHCF: propagation of nodes and of the behaviors' vectors on the graphs of all behaviors (Chen et al., AAAI 2021).

.. math::
    E^{l+1} = \sum_k \lambda_k\, lrelu\big( (\hat A_k E^l \circ r_k^l) W_l \big), \quad r_k^{l+1} = r_k^l V_l, \qquad
    Z^k_u = \bar e_u \circ \bar r_k, \quad Z^k_i = \bar e_i

bar: the mean over layers 0 .. L; :math:`\hat A_k`: the bipartite matrix of behavior k, symmetrically normalized by its
own degrees, without self loops; lrelu has slope 0.2. While training, entries of every new layer are dropped. The inner
product of a user's row with an item's is :math:`\sum_d \bar e_{ud}\, \bar r_{kd}\, \bar e_{id}`.

Differences:
  activation: the paper, as we know it from a note on it, puts one around the sum over neighbors and behaviors, which it
    does not weigh, and divides by the degree over all behaviors. The program, and the default, are as above;
    ``activation="sum"`` and ``aggregate="sum"`` are the first two, the third is not offered.
  weights: lambda are those of the loss in the program, so that a behavior of weight 0 is not propagated either. Here
    they are ``weights``; the model ``ghcf`` takes those of its loss where they are not given.
  edge dropout: the program drops a tenth of the edges, rescaled; not offered.
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

SLOPE = 0.2


class GhcfConfig(base.Section):
    """Switches of GHCF."""

    name: Literal["ghcf"] = "ghcf"
    num_layers: int = pydantic.Field(4, ge=0, description="graph layers, L")
    weights: tuple[float, ...] | None = pydantic.Field(
        None, description="weight of each behavior's messages in funnel order, or one number for all; none: 1 / K each"
    )
    aggregate: Literal["weighted", "sum"] = pydantic.Field(
        "weighted", description="how messages of the behaviors are added: by weights (program), or as they are (paper)"
    )
    activation: Literal["each", "sum"] = pydantic.Field(
        "each", description="what the activation is of: each behavior's message (program), or their sum (paper)"
    )
    dropout_rate: float = pydantic.Field(
        0.2, ge=0.0, lt=1.0, description="probability of dropping an entry of a new layer while training"
    )


class Ghcf(base.Backbone):
    """The layers and their weights."""

    @staticmethod
    def graphs(config: GhcfConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        del config
        return base.named_graphs(info, "symmetric")

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info, size = self.config, self.info, base_table.shape[1]
        weights = (1.0,) * info.num_behaviors
        if config.aggregate == "weighted":
            weights = base.per_behavior(config.weights or (1.0 / info.num_behaviors,), info, "backbone.weights")
        matrices = [graphs[base.matrix_name((name,), "symmetric")] for name in info.behaviors]
        relations = self.param("relation", base.XAVIER, (info.num_behaviors, size))
        state, states, all_relations = base_table, [base_table], [relations]
        for layer in range(1, config.num_layers + 1):
            kernel, turn = (self.param(f"{name}_{layer}", base.XAVIER, (size, size)) for name in ("node", "turn"))
            parts = []
            for matrix, weight, relation in zip(matrices, weights, relations, strict=True):
                message = (graph.spmm(matrix, state) * relation) @ kernel
                parts.append(weight * (jax.nn.leaky_relu(message, SLOPE) if config.activation == "each" else message))
            state = sum(parts[1:], start=parts[0])
            if config.activation == "sum":
                state = jax.nn.leaky_relu(state, SLOPE)
            state = self.drop(state, config.dropout_rate)
            relations = relations @ turn
            states.append(state)
            all_relations.append(relations)
        nodes, relations = base.mean(states), base.mean(all_relations)
        user, item = base.users_items(nodes, info)
        tables = tuple(jnp.concatenate([user * relation, item]) for relation in relations)
        return base.Encoding(tables, regularized=nodes)
