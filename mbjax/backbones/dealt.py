r"""Propagation along a part of the pairs, for graphs of which a training step cannot go along all.

The pairs are dealt into n parts. In a training step layer l goes along those of part (r + l) mod n, each with n times
its weight, r drawn for the step. So every layer's product has the mean of the whole graph's over r, for an n-th of its
cost, and the layers of a step do not go to and fro along the same few pairs. Ranking goes along all of them.

Differences: no paper of these models has it, and it is off by default. Others draw neighbors of each node of a batch
anew (GraphSAGE, PinSage); here the parts are fixed for a run, so that nothing is assembled in a step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
from jax import lax

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import graph

MOST = 64
DESCRIPTION = "parts that the pairs are dealt into, one of which each layer of a training step goes along; 1: all pairs"


def specs(whole: Mapping[str, types.GraphSpec], parts: int) -> dict[str, types.GraphSpec]:
    """The matrices of the parts of each graph, beside it; none where there is one part."""
    return {
        _name(name, part, parts): spec._replace(parts=parts, part=part)
        for name, spec in whole.items()
        for part in range(parts if parts > 1 else 0)
    }


def products(
    backbone: base.Backbone, graphs: types.Graphs, name: str, parts: int, layers: int
) -> list[Callable[[types.Array], types.Array]]:
    """What each layer multiplies by: the graph ``name``, or in a training step one of its parts."""
    if parts == 1 or not backbone.has_rng(base.DROPOUT):
        return [functools.partial(graph.spmm, graphs[name])] * layers
    first = jax.random.randint(backbone.make_rng(base.DROPOUT), (), 0, parts)
    ways = [functools.partial(graph.spmm, graphs[_name(name, part, parts)]) for part in range(parts)]
    return [functools.partial(lax.switch, (first + layer) % parts, ways) for layer in range(layers)]


def _name(name: str, part: int, parts: int) -> str:
    return f"{name}, part {part + 1} of {parts}"
