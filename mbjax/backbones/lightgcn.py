r"""LightGCN: propagation without weights on the target's graph (He et al., SIGIR 2020).

.. math:: E^{l+1} = D^{-1/2} A D^{-1/2} E^l, \quad Z = \frac{1}{L+1} \sum_{l=0}^{L} E^l

A: the bipartite matrix of the target, without self loops. A user or an item without pairs keeps :math:`E_0 / (L + 1)`.
A model of one behavior; every behavior is given its representation.

Differences:
  initial values: normal with standard deviation 0.01 in one released program, 0.1 in the other: ``init_std``.
  edge dropout: optional in the released programs and off; not offered.
  propagation on some neighbors: not in the paper; ``graph_parts`` (``mbjax/backbones/dealt.py``), by default 1: all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base, dealt
from mbjax.ops import graph


class LightgcnConfig(base.Section):
    """Switches of LightGCN."""

    name: Literal["lightgcn"] = "lightgcn"
    num_layers: int = pydantic.Field(3, ge=0, description="graph layers, L")
    pairs: Literal["target", "own"] = pydantic.Field(
        "target",
        description="pairs that are propagated on: the target's for every behavior, or each behavior's own from shared "
        "tables",
    )
    init_std: float = pydantic.Field(
        0.0, ge=0, description="standard deviation of normal initial values; 0: Xavier's uniform ones"
    )
    graph_parts: int = pydantic.Field(1, ge=1, le=dealt.MOST, description=dealt.DESCRIPTION)


class Lightgcn(base.Backbone):
    """The propagation; it has no weights of its own."""

    @property
    def base_init(self) -> nn.initializers.Initializer:
        """Normal, or Xavier's."""
        return base.initial(self.config.init_std)

    @staticmethod
    def graphs(config: LightgcnConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """The target's matrix, or each behavior's."""
        specs = {
            base.matrix_name((name,), "symmetric"): types.GraphSpec((name,), "bipartite", "symmetric")
            for name in dict.fromkeys(_sources(config, info))
        }
        return specs | dealt.specs(specs, config.graph_parts)

    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info = self.config, self.info
        sources = _sources(config, info)
        made = {}
        for name in dict.fromkeys(sources):
            matrix = base.matrix_name((name,), "symmetric")
            products = dealt.products(self, graphs, matrix, config.graph_parts, config.num_layers)
            made[name] = mean_of_layers(products, base_table)
        return base.Encoding(tuple(made[name] for name in sources))


def convolve(matrix: types.Graph, state: types.Array, num_layers: int) -> types.Array:
    """The mean of layers 0 .. L, float [U + I, D]."""
    return mean_of_layers([functools.partial(graph.spmm, matrix)] * num_layers, state)


def mean_of_layers(products: Sequence[Callable[[types.Array], types.Array]], state: types.Array) -> types.Array:
    """The mean of E0 and of what the products, one for each layer, make of it in turn; float [U + I, D]."""
    total = state
    for product in products:
        state = product(state)
        total = total + state
    return total / (len(products) + 1)


def _sources(config: LightgcnConfig, info: types.DatasetInfo) -> tuple[str, ...]:
    """For each behavior, the one whose pairs it propagates on."""
    return info.behaviors if config.pairs == "own" else (info.target,) * info.num_behaviors
