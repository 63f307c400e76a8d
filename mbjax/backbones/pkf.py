r"""PKF: the parallel knowledge fusion of PKEF (Meng et al., CIKM 2023, section 4.2).

Two streams on each behavior's own graph. The parallel stream starts every behavior from the embedding tables; the
cascade starts it from what its predecessor ended with, and takes in what the parallel stream says along its own
message s:

.. math::
    p^{k,l+1} = \hat A_k p^{k,l} + p^{k,l}, \qquad s = \hat A_k z^{k,l}, \quad
    z^{k,l+1} = s + z^{k,l} + \lambda \frac{p^{k,l+1} \cdot s}{|s|^2} s, \quad z^{k+1,0} = z^{k,L_k} + z^{k,0}

    Z^k = \sum_{l=0}^{L_k} z^{k,l}, \quad P^k = \sum_{l=0}^{L_k} p^{k,l}

:math:`\hat A_k`: the bipartite matrix of behavior k, rows scaled to sum 1. lambda = ``proj_scale`` = 0.3.

Differences:
  projection strength: 1 in the paper, 0.3 in the released program: ``proj_scale``.
  what is projected: the message of the parallel stream in the paper, its next layer (message and residual) in the
    program: ``proj_source``.
  self loops: the paper adds the identity before normalizing: ``self_loops``, off as in the program.
  attention of ``fusion="vanilla"``: eq. 13 multiplies W with the cascade's message alone; the text has W of [4, 4 D],
    and here it reads the four blocks side by side.
  parallel start: defined for the first behavior only in the paper; every one starts from the tables, as in the program.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import graph, projection

NUM_BLOCKS = 4  # of the attention "vanilla"


class PkfConfig(base.Section):
    """Switches of PKF; Table 4 of the paper compares values of ``fusion``."""

    name: Literal["pkf"] = "pkf"
    layers: tuple[pydantic.NonNegativeInt, ...] | None = pydantic.Field(
        None, description="graph layers of each behavior in funnel order, or one number for all; none: 4, then 1 each"
    )
    fusion: Literal["projection", "summation", "linear", "vanilla", "none"] = pydantic.Field(
        "projection", description="how the cascade takes in the parallel stream; none: cascade alone"
    )
    proj_scale: float = pydantic.Field(0.3, description="factor of the projection")
    proj_source: Literal["layer_out", "message"] = pydantic.Field(
        "layer_out", description="what of the parallel stream is taken in: its next layer (program) or message (paper)"
    )
    parallel: bool = pydantic.Field(True, description="give the parallel stream to the loss too")
    self_loops: bool = pydantic.Field(False, description="add self loops before normalizing (paper)")


class Pkf(base.Backbone):
    """Both streams; weights only for the fusions "linear" and "vanilla"."""

    @staticmethod
    def graphs(config: PkfConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix; another name for those with self loops."""
        specs = base.own_graphs(info, "left", self_loops=config.self_loops)
        return {_name(config, name): spec for name, spec in specs.items()}

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        default = (4,) + (1,) * (info.num_behaviors - 1)
        layers = base.per_behavior(config.layers or default, info, "backbone.layers")
        start, cascade, parallel = base_table, [], []
        for k, name in enumerate(info.behaviors):
            matrix = graphs[_name(config, name)]
            z = z_total = start
            p = p_total = base_table
            for layer in range(layers[k]):
                s, p_message = _two_products(matrix, z, p, needed=config.fusion != "none" or config.parallel)
                p_next = p_message + p
                source = p_next if config.proj_source == "layer_out" else p_message
                z = s + z + self._fuse(s, source, f"{name}_{layer}")
                p = p_next
                z_total, p_total = z_total + z, p_total + p
            cascade.append(z_total)
            parallel.append(p_total)
            start = z + start
        return base.Encoding(tuple(cascade), tuple(parallel) if config.parallel else ())

    def _fuse(self, message, source, name):
        """What the cascade takes in of the parallel stream, [N, D]."""
        config, size = self.config, message.shape[1]
        if config.fusion == "projection":
            return config.proj_scale * projection.project(source, message)
        if config.fusion == "summation":
            return source
        if config.fusion == "linear":
            return source @ self.param(f"linear_{name}", base.XAVIER, (size, size))
        if config.fusion == "vanilla":
            kernel = self.param(f"attention_{name}", base.XAVIER, (NUM_BLOCKS * size, NUM_BLOCKS))
            bias = self.param(f"attention_bias_{name}", nn.initializers.zeros, (NUM_BLOCKS,))
            blocks = (message, source, message - source, message * source)
            weight = nn.softmax(jnp.concatenate(blocks, axis=1) @ kernel + bias)
            return sum(weight[:, j : j + 1] * block for j, block in enumerate(blocks))
        return jnp.zeros_like(message)

    def penalty(self) -> types.Array | float:
        """The kernels of the fusions "linear" and "vanilla"."""
        kernels = self.variables.get("params", {})
        return sum((jnp.sum(jnp.square(v)) for name, v in kernels.items() if "bias" not in name), start=0.0)


def _name(config: PkfConfig, behavior: str) -> str:
    return f"{behavior}, self loops" if config.self_loops else behavior


def _two_products(matrix, first, second, needed):
    """A @ first and A @ second as one product of double width; one product if they are the same array."""
    if first is second or not needed:
        message = graph.spmm(matrix, first)
        return message, message if first is second else jnp.zeros_like(message)
    return jnp.split(graph.spmm(matrix, jnp.concatenate([first, second], axis=1)), 2, axis=1)
