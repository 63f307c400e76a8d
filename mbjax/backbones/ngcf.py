r"""NGCF: neural graph collaborative filtering (Wang et al., SIGIR 2019), on the target's graph.

.. math::
    S = \tilde A E^l, \quad
    E^{l+1} = lrelu(S W_1^l + b_1^l) + lrelu((E^l \circ S) W_2^l + b_2^l), \quad
    Z = [E^0 \,\|\, \bar E^1 \,\|\, \dots \,\|\, \bar E^L]

:math:`\tilde A = (D + I)^{-1}(A + I)`, A: the bipartite matrix; lrelu has slope 0.2; bar: rows scaled to length 1, of
the stored copy only; the next layer reads the rows as they are. While training, entries of every new layer are dropped.
A model of one behavior: every behavior is given its representation, of width d (L + 1).

Differences:
  matrix: (D + I)^-1 (A + I) is the released program's default, ``matrix="mean_loops"``; its other choices are
    ``"mean"`` (D^-1 A) and ``"mean_plus_self"`` (D^-1 A + I).
  layer: the paper is commonly stated with lrelu((L + I) E W_1 + (L E o E) W_2), L the symmetrically normalized matrix,
    one activation and no bias: ``layer="paper"``. We have not compared that with its text; the default is the program.
  edge dropout: an option of the program, off by default; not offered.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import contrastive, graph

SLOPE = 0.2


class NgcfConfig(base.Section):
    """Switches of NGCF."""

    name: Literal["ngcf"] = "ngcf"
    num_layers: int = pydantic.Field(3, ge=0, description="graph layers, L")
    pairs: Literal["target", "own"] = pydantic.Field(
        "target",
        description="pairs that are propagated on: the target's for every behavior, or each behavior's own from shared "
        "tables, with the same weights",
    )
    matrix: Literal["mean_loops", "mean", "mean_plus_self"] = pydantic.Field(
        "mean_loops", description="the matrix of the program's layer: (D + I)^-1 (A + I), D^-1 A, or D^-1 A + I"
    )
    layer: Literal["program", "paper"] = pydantic.Field(
        "program",
        description="activation of either summand with biases, or of their sum without, and L + I, symmetrically "
        "normalized, in place of matrix",
    )
    dropout_rate: float = pydantic.Field(
        0.1, ge=0.0, lt=1.0, description="probability of dropping an entry of a new layer while training"
    )


class Ngcf(base.Backbone):
    """The layers and their weights."""

    @staticmethod
    def graphs(config: NgcfConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """The target's matrix, or each behavior's."""
        return dict(_matrix(config, name) for name in dict.fromkeys(_sources(config, info)))

    @staticmethod
    def width(config: NgcfConfig, info: types.DatasetInfo, size: int) -> int:
        """That of all layers side by side."""
        del info
        return size * (config.num_layers + 1)

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, size = self.config, base_table.shape[1]
        weights = [
            {
                f"{part}_{kind}": self.param(f"{part}_{kind}_{layer}", base.XAVIER, shape)
                for part in ("sum", "product")
                for kind, shape in (("kernel", (size, size)), ("bias", (1, size)))
                if kind == "kernel" or config.layer == "program"
            }
            for layer in range(1, config.num_layers + 1)
        ]
        sources = _sources(config, self.info)
        made = {
            name: self._stacked(graphs[_matrix(config, name)[0]], base_table, weights)
            for name in dict.fromkeys(sources)
        }
        return base.Encoding(tuple(made[name] for name in sources))

    def _stacked(self, matrix, state, weights):
        """The layers side by side, [U + I, D (L + 1)]."""
        layers = [state]
        for layer in weights:
            message = graph.spmm(matrix, state)
            if self.config.layer == "paper":
                both = (message + state) @ layer["sum_kernel"] + (message * state) @ layer["product_kernel"]
                state = jax.nn.leaky_relu(both, SLOPE)
            else:
                if self.config.matrix == "mean_plus_self":
                    message = message + state
                parts = zip((message, message * state), ("sum", "product"), strict=True)
                terms = [x @ layer[f"{part}_kernel"] + layer[f"{part}_bias"] for x, part in parts]
                state = sum(jax.nn.leaky_relu(term, SLOPE) for term in terms)
            state = self.drop(state, self.config.dropout_rate)
            layers.append(contrastive.normalize(state))
        return jnp.concatenate(layers, axis=1)


def _matrix(config: NgcfConfig, name: str) -> tuple[str, types.GraphSpec]:
    """The matrix of a behavior, and its name among the graphs."""
    if config.layer == "paper":
        return base.matrix_name((name,), "symmetric"), types.GraphSpec((name,), "bipartite", "symmetric")
    loops = config.matrix == "mean_loops"
    return f"{name}, self loops" if loops else name, types.GraphSpec((name,), "bipartite", "left", self_loops=loops)


def _sources(config: NgcfConfig, info: types.DatasetInfo) -> tuple[str, ...]:
    """For each behavior, the one whose pairs it propagates on."""
    return info.behaviors if config.pairs == "own" else (info.target,) * info.num_behaviors
