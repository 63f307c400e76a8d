r"""The encoder of BiGEL, behavior-informed graph embedding learning (Lai, Pan, Ming, arXiv 2601.07294, 2026).

Reconstructed from the abstract; its equations were not available to us.

What is known are its four parts and their aims: a cascade of graph convolutions over the behaviors (CGL), a gated
feedback from the target to the auxiliary behaviors (CGF), a global context that returns what graphs of single
behaviors lose (GCE), and an alignment of the target's preferences with the global ones (CPA). The simplest form of
each is the default, the other readings are options:

.. math::
    H^k = \operatorname{mean}_{l \le L_k} \tilde A_k^l H^{k-1}, \quad H^0 = E_0 \qquad \text{(CGL)}

    Z^K = H^K, \quad Z^k = H^k + \sigma([H^k || Z^{fb}] W^k + b^k) \circ Z^{fb} \qquad \text{(CGF)}

    G = \operatorname{mean}_{l \le L_g} \tilde A_\cup^l E_0, \quad F^k = Z^k + G \qquad \text{(GCE)}

:math:`\tilde A`: D^-1/2 A D^-1/2 without self loops; :math:`A_\cup`: the union of all behaviors. Users and items have
gates of their own. CPA aligns H^K with G (not F^K, which contains G): ``models/objectives.py``.

Differences:
  everything but the four parts, their order and the direction of the feedback is our choice.
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

EPSILON = 1e-12


class BigelConfig(base.Section):
    """Switches of the reconstructed encoder."""

    name: Literal["bigel"] = "bigel"
    layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (2,), min_length=1, description="graph layers of each behavior in funnel order, or one number for all"
    )
    stage: Literal["mean", "crgcn", "mbcgcn"] = pydantic.Field(
        "mean",
        description="a stage of the cascade: mean over layers; the predecessor plus the last layer scaled to length 1; "
        "or the mean after a linear map",
    )
    feedback: Literal["target", "chain", "none"] = pydantic.Field(
        "target", description="what is fed back to an auxiliary behavior: the target, the next behavior, or nothing"
    )
    stop_grad_feedback: bool = pydantic.Field(
        False, description="auxiliary tasks do not change the target's branch through the feedback"
    )
    context: Literal["sum", "scaled", "none"] = pydantic.Field(
        "sum", description="how the global context is added: as it is, with a learned factor per behavior, or not"
    )
    context_layers: int = pydantic.Field(2, ge=0, description="graph layers of the global context")


class Bigel(base.Backbone):
    """Cascade, feedback and global context."""

    @staticmethod
    def graphs(config: BigelConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """The matrix of each behavior and of their union."""
        pools = [(name,) for name in info.behaviors] + [info.behaviors]
        return {base.matrix_name(pool, "symmetric"): types.GraphSpec(pool, "bipartite", "symmetric") for pool in pools}

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        cascade = self._cascade(graphs, base_table)
        matrix = graphs[base.matrix_name(info.behaviors, "symmetric")]
        context = _mean_of_layers(matrix, base_table, config.context_layers)
        outputs = self._feedback(cascade)
        if config.context == "sum":
            outputs = [table + context for table in outputs]
        elif config.context == "scaled":
            factor = self.param("context", nn.initializers.ones, (info.num_behaviors,))
            outputs = [table + factor[k] * context for k, table in enumerate(outputs)]
        return base.Encoding(tuple(outputs), alignment=(cascade[-1], context))

    def _cascade(self, graphs, state):
        config, info = self.config, self.info
        layers = base.per_behavior(config.layers, info, "backbone.layers")
        outputs = []
        for k, name in enumerate(info.behaviors):
            matrix = graphs[base.matrix_name((name,), "symmetric")]
            if config.stage == "crgcn":
                last = state
                for _ in range(layers[k]):
                    last = graph.spmm(matrix, last)
                square = jnp.sum(jnp.square(last), axis=1, keepdims=True)
                state = state + last * jax.lax.rsqrt(jnp.maximum(square, EPSILON**2))
            else:
                if config.stage == "mbcgcn" and k:
                    size = state.shape[1]
                    state = state @ self.param(f"stage_{name}", base.XAVIER, (size, size))
                state = _mean_of_layers(matrix, state, layers[k])
            outputs.append(state)
        return outputs

    def _feedback(self, cascade):
        config, info = self.config, self.info
        outputs = list(cascade)
        if config.feedback == "none":
            return outputs
        for k in reversed(range(info.num_behaviors - 1)):
            source = outputs[-1] if config.feedback == "target" else outputs[k + 1]
            if config.stop_grad_feedback:
                source = jax.lax.stop_gradient(source)
            sides = zip(
                ("user", "item"), base.users_items(cascade[k], info), base.users_items(source, info), strict=True
            )
            outputs[k] = jnp.concatenate([self._gated(f"{info.behaviors[k]}_{s}", own, fed) for s, own, fed in sides])
        return outputs

    def _gated(self, name, own, fed):
        size = own.shape[1]
        kernel = self.param(f"gate_{name}", base.XAVIER, (2 * size, size))
        bias = self.param(f"gate_bias_{name}", nn.initializers.zeros, (size,))
        return own + nn.sigmoid(own @ kernel[:size] + fed @ kernel[size:] + bias) * fed


def _mean_of_layers(matrix, state, layers):
    states = [state]
    for _ in range(layers):
        states.append(graph.spmm(matrix, states[-1]))
    return base.mean(states)
