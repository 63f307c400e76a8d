"""The frame of models that learn nothing: they have no parameters, no batches and no loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp

from mbjax import types


def model(
    info: types.DatasetInfo,
    graphs: Mapping[str, types.GraphSpec],
    encode: Callable[[types.Graphs], types.Tables],
    score: Callable[[types.Tables, types.Array, types.Array | int, int, int], types.Array],
    fold_in: str = types.EXACT,
) -> types.Model:
    """Makes a model of what it ranks by.

    Args:
      info: sizes and behaviors.
      graphs: name -> GraphSpec, the matrices that ``encode`` receives.
      encode: ``graphs -> tables``.
      score: ``(tables, users, start, size, behavior) -> [B, size]``, as that of ``types.Model``.
      fold_in: likewise.
    """

    def loss(params, graphs, batch, key, step):
        del params, graphs, batch, key, step
        return jnp.float32(0.0), {}

    return types.Model(
        info=info,
        graphs=graphs,
        batch=None,
        init=lambda key, graphs: {},
        loss=loss,
        encode=lambda params, graphs: encode(graphs),
        score=lambda params, *arguments: score(*arguments),
        fold_in=fold_in,
    )
