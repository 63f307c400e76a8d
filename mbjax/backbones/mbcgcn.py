r"""MB-CGCN: cascading graph convolution with feature transformation (Cheng et al., WWW 2023).

Each behavior is a LightGCN on its own graph that starts from what its predecessor ended with, through a linear map of
users and another of items:

.. math::
    X^1 = G_1(E_0), \quad X^{k+1} = G_{k+1}([X^k_u W^k_u ; X^k_v W^k_v]), \quad
    G_k(X) = \frac{1}{L_k+1} \sum_{l=0}^{L_k} \hat A_k^l X, \qquad Z^K = \sum_k X^k

:math:`\hat A_k`: the bipartite matrix of behavior k, symmetrically normalized, without self loops.

Differences:
  auxiliary behaviors: the model is trained and scored for the target only, with the sum of all blocks. As Z^k of the
    others, which heads need, we take their own block X^k: ``output``.
  initial values: N(0, 0.01^2) of tables and maps in the released program, by which later blocks start about 100 times
    smaller than the first; the frame's default is Xavier's, ``init_std=0.01`` is the program's.
  pre-training: the released command starts from a LightGCN trained on views; ``train.init_from``, see the header of
    ``configs/models/mbcgcn.yaml``.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base, lightgcn


class MbcgcnConfig(base.Section):
    """Switches of MB-CGCN."""

    name: Literal["mbcgcn"] = "mbcgcn"
    layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (2,), min_length=1, description="graph layers of each behavior in funnel order, or one number for all"
    )
    output: Literal["sum_for_target", "cumulative", "blocks"] = pydantic.Field(
        "sum_for_target",
        description="representation of a behavior: its block, for the target the sum of all; the sum of the blocks up "
        "to it; its block only",
    )
    init_std: float = pydantic.Field(
        0.0, ge=0, description="standard deviation of normal initial values of tables and maps; 0: Xavier's uniform"
    )


class Mbcgcn(base.Backbone):
    """The cascade and its maps."""

    @property
    def base_init(self) -> nn.initializers.Initializer:
        """Normal, or Xavier's."""
        return base.initial(self.config.init_std)

    @staticmethod
    def graphs(config: MbcgcnConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        del config
        return base.named_graphs(info, "symmetric")

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        layers = base.per_behavior(config.layers, info, "backbone.layers")
        size, state, blocks = base_table.shape[1], base_table, []
        for k, name in enumerate(info.behaviors):
            if k:
                maps = [
                    self.param(f"{side}_map_{info.behaviors[k - 1]}", self.base_init, (size, size))
                    for side in ("user", "item")
                ]
                sides = base.users_items(blocks[-1], info)
                state = jnp.concatenate([rows @ kernel for rows, kernel in zip(sides, maps, strict=True)])
            blocks.append(lightgcn.convolve(graphs[base.matrix_name((name,), "symmetric")], state, layers[k]))
        return base.Encoding(tuple(_output(config.output, blocks)))

    def penalty(self) -> types.Array | float:
        """All maps."""
        maps = self.variables.get("params", {})
        return sum((jnp.sum(jnp.square(kernel)) for kernel in maps.values()), start=0.0)


def _output(kind: str, blocks: list[types.Array]) -> list[types.Array]:
    """Z of each behavior from the blocks X."""
    if kind == "blocks":
        return blocks
    sums = [blocks[0]]
    for block in blocks[1:]:
        sums.append(sums[-1] + block)
    return sums if kind == "cumulative" else [*blocks[:-1], sums[-1]]
