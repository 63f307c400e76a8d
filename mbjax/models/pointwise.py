"""What the models of observed pairs with sampled negatives share: labels, losses, the probe batch.

All are contributions of a batch that add up over devices; see ``types.Points``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mbjax import types


def labels(points: types.Points, place: int) -> types.Array:
    """Whether each item of a batch was met by the behavior at a place of the ``PointSpec``: float [B, 1 + M]."""
    return jnp.zeros_like(points.weight).at[:, 0].set(points.label[:, place])


def log_loss(logits: types.Array, points: types.Points, place: int) -> types.Array:
    r"""Mean binary cross-entropy, :math:`-y \ln\sigma(s) - (1 - y) \ln(1 - \sigma(s))`, in nats.

    Args:
      logits: s, float [B, 1 + M].
      points: with the labels y.
      place: of the behavior.
    """
    losses = jax.nn.softplus(logits) - labels(points, place) * logits
    return jnp.sum(points.weight * losses) / points.total


def squared_loss(scores: types.Array, points: types.Points, place: int) -> types.Array:
    """Sum of squared differences of scores [B, 1 + M] and labels."""
    return jnp.sum(points.weight * jnp.square(labels(points, place) - scores))


def select(tables: tuple[Any, Any], users: types.Array, start: types.Array | int, size: int) -> tuple[Any, Any]:
    """The rows of some users and of a range of items, of a pair of trees [U, ...] and [I, ...]."""
    mine = jax.tree.map(lambda x: x[users], tables[0])
    return mine, jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), tables[1])


def model(
    module: nn.Module,
    info: types.DatasetInfo,
    batch: types.BatchSpec,
    score: Callable[..., types.Array],
    tasks: tuple[str, ...],
    rows: Mapping[str, types.RowTable],
) -> types.Model:
    """Makes a model of a module whose losses and tables need nothing but the batch and the parameters.

    Args:
      module: with the methods ``loss(batch)`` and ``tables()``.
      info: sizes and behaviors.
      batch: its batches, of points.
      score: as that of ``types.Model``.
      tasks: the behaviors that it ranks.
      rows: its ``Model.by_row``, unless a penalty reads them whole.
    """
    kind = type(module)
    is_whole = module.config.l2_weight > 0

    def init(key, graphs):
        del graphs
        return module.init(key, probe_batch(batch.points), method=kind.loss)

    def loss(params, graphs, batch, key, step):
        del graphs, key, step  # the batch is all that is random
        return module.apply(params, batch, method=kind.loss)

    def encode(params, graphs):
        del graphs
        return module.apply(params, method=kind.tables)

    return types.Model(
        info=info,
        graphs={},
        batch=batch,
        init=init,
        loss=loss,
        encode=encode,
        score=score,
        tasks=tasks,
        fold_in=types.OWN_USERS,
        by_row="model.l2_weight is of whole tables (0 is not)" if is_whole else rows,
    )


def by_row(users: Iterable[str], items: Iterable[str]) -> dict[str, types.RowTable]:
    """``Model.by_row`` of embedding tables [U, D] and [I, D] of these names."""
    return dict.fromkeys(users, types.RowTable("user")) | dict.fromkeys(items, types.RowTable("item"))


def probe_batch(spec: types.PointSpec) -> types.UserBatch:
    """The smallest batch: one pair. Parameters are created by running the loss on it."""
    one, index = jnp.ones((), jnp.float32), jnp.zeros(1, jnp.int32)
    items = (1, 1 + spec.negatives)
    return types.UserBatch(
        user=index,
        weight=jnp.ones(1, jnp.float32),
        everyone=index,
        noise=jnp.zeros((1, 2), jnp.uint32),
        history={},
        total=one,
        share=one,
        points=types.Points(
            item=jnp.zeros(items, jnp.int32),
            label=jnp.ones((1, len(spec.behaviors)), jnp.float32),
            weight=jnp.ones(items, jnp.float32),
            total=one,
        ),
    )
