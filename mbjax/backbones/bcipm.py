r"""BCIPM's propagation: on the graph of all behaviors, and from there on a behavior's own (Yan et al., SIGIR 2024).

.. math::
    C_A(X) = X + \sum_{l=1}^{L} f_l E_l, \quad E_l = \frac{\hat A E_{l-1}}{|\hat A E_{l-1}|}, \quad E_0 = X, \qquad
    G = C_{\text{all}}(E_0), \quad Z^k = G + C_k(G)

:math:`\hat A`: the bipartite matrix of a set of pairs, symmetrically normalized, without self loops; all: of any
behavior; lengths are of rows, a zero row stays zero.

Differences:
  layers: in the released program a layer is added as it is and once more divided by its number, f = 1 + 1 / l: the
    default; in later programs of the same group f = 1 / l alone: ``layer_sum="once"``. Which one the paper means we
    have not compared with its text.
  behaviors: the program has Z of the target alone; what another behavior gets here is the same on its own graph.
"""

from __future__ import annotations

from typing import Literal

import pydantic

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import contrastive, graph


class BcipmConfig(base.Section):
    """Switches of BCIPM's propagation."""

    name: Literal["bcipm"] = pydantic.Field("bcipm", description="the encoder")
    num_layers: int = pydantic.Field(2, ge=0, description="graph layers, L, of either graph")
    layer_sum: Literal["twice", "once"] = pydantic.Field(
        "twice", description="factor of layer l: 1 + 1 / l (program), or 1 / l"
    )


class Bcipm(base.Backbone):
    """The propagation; it has no weights of its own."""

    @staticmethod
    def graphs(config: BcipmConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """The matrix of all behaviors and of each."""
        del config
        pools = [info.behaviors, *((name,) for name in info.behaviors)]
        return dict(matrix(pool) for pool in pools)

    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        whole = convolve(self.config, graphs[matrix(self.info.behaviors)[0]], base_table)
        own = (convolve(self.config, graphs[matrix((name,))[0]], whole) for name in self.info.behaviors)
        return base.Encoding(tuple(whole + table for table in own))


def matrix(behaviors: tuple[str, ...]) -> tuple[str, types.GraphSpec]:
    """The matrix of the union of some behaviors, and its name among the graphs."""
    return base.matrix_name(behaviors, "symmetric"), types.GraphSpec(behaviors, "bipartite", "symmetric")


def convolve(config: BcipmConfig, matrix: types.Graph, state: types.Array) -> types.Array:
    """C of a matrix, float [U + I, D]."""
    total = state
    for layer in range(1, config.num_layers + 1):
        state = contrastive.normalize(graph.spmm(matrix, state))
        total = total + (1.0 / layer + (config.layer_sum == "twice")) * state
    return total
