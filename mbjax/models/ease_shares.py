r"""What solved ridge regressions say: shares of a score, and what an event of each behavior is worth.

A score is a sum over the user's pairs outside S_j (``ops.ridge``): that of item i and behavior a adds its entry times
the weight

.. math:: w_{(a,i),j} = W_{ai}^2 \, (X_a^T \alpha_j)_i, \qquad \alpha_j = P \Big( y_j + \sum_b k_{jb} X_b e_j \Big),

in the dual form, and :math:`- W_{ai} \sum_b B_{(a,i),(b,j)} c_{jb}` in the primal one.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mbjax import types
from mbjax.ops import low_rank, primal, ridge, rows

Solved = ridge.Dual | primal.Primal | low_rank.LowRank


def weights_of(
    solved: Solved, blocks: Sequence[types.Graph], own: types.Array, item: types.Array, target: int
) -> types.Array:
    """Of all columns in the regression of an item, per raw entry: float32 [K, I]. Those of S_j are zero where own is.

    Args:
      solved: the inverse.
      blocks: X_a on the device.
      own: k (dual) or c (primal) of the target, [I, K].
      item: j.
      target: index of the behavior that is predicted.
    """
    num_behaviors, num_items = solved.weights.shape
    mine = own[item]  # [K]
    if not isinstance(solved, ridge.Dual):
        flat = jnp.zeros((num_behaviors, num_items), jnp.float32).at[:, item].set(mine)
        return -_times_inverse(solved, flat.reshape(1, -1)).reshape(num_behaviors, num_items) * solved.weights
    num_users = solved.inverse.shape[0]
    entries = jnp.stack(
        [
            rows.met(g.col_ptr, g.transpose.indices[:, 1], jnp.atleast_1d(item), 0, num_users, g.transpose.data)[0]
            for g in blocks
        ]
    )  # [K, U]
    y = entries[target] + jnp.sum(mine[:, None] * entries, axis=0)
    alpha = jnp.matmul(solved.inverse, y, precision=jax.lax.Precision.HIGHEST)
    found = [ridge.tile_product(g, alpha[:, None], 0, num_items)[:, 0] for g in blocks]
    return jnp.stack(found) * jnp.square(solved.weights)


def _times_inverse(solved: Solved, flat: types.Array) -> types.Array:
    """Rows [n, C] times B."""
    if isinstance(solved, low_rank.LowRank):
        return low_rank.multiply(solved, flat)
    return jnp.matmul(flat, solved.inverse, precision=jax.lax.Precision.HIGHEST)


def shares(tables: types.Tables, user, item, target: int, leave: ridge.Leave) -> types.Array:
    """What each pair of a user adds to the score of an item, float32 [K, I]."""
    solved, blocks = tables["solved"], tables["blocks"]
    num_behaviors, num_items = solved.weights.shape
    weights = weights_of(solved, blocks, tables["own"][target], item, target)
    is_left_out = jnp.ones(num_behaviors, bool) if leave == "all" else jnp.arange(num_behaviors) == target
    weights = weights.at[:, item].set(jnp.where(is_left_out, 0, weights[:, item]))
    mine = ridge.entries(blocks, jnp.atleast_1d(user), 0, num_items)[:, 0]
    return mine * weights / tables["activity"][user]


def worth(
    solved: Solved,
    blocks: Sequence[types.Graph],
    own: np.ndarray,
    products: np.ndarray,
    counts: np.ndarray,
    leave: ridge.Leave,
) -> np.ndarray:
    """What an event says, on average over the training pairs of its behavior: float32 [targets, K, 2].

    The first number is its weight for the same item, the second the sum of its weights for all other items: how many
    further pairs of the target one event announces.

    Args:
      solved: the inverse.
      blocks: X_a on the device.
      own: k or c, [targets, I, K].
      products: what ``ridge.gram`` or ``primal.gram`` gave, [I, K, K].
      counts: pairs of each column, [K, I].
      leave: which columns of an item are left out.
    """
    num_behaviors, num_items = counts.shape
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # of a behavior's events, on each item
    weights = np.asarray(solved.weights)
    events = jnp.asarray(np.eye(num_behaviors)[:, :, None] * share[:, None, :], jnp.float32)  # [K, K, I]
    if isinstance(solved, ridge.Dual):
        v = ridge.project(solved, blocks, events)
        sums = np.asarray(ridge.rows(solved, blocks, v, 0, num_items))
    else:
        flat = (events.transpose(1, 0, 2) * solved.weights).reshape(num_behaviors, -1)
        sums = (
            np.asarray(_times_inverse(solved, flat)).reshape(num_behaviors, num_behaviors, num_items).transpose(1, 0, 2)
        )
    out = np.zeros((num_behaviors, num_behaviors, 2), np.float32)
    for target in range(num_behaviors):
        mine = own[target]  # [I, K]
        whole = np.einsum("kbi,ik->bi", sums, mine)
        same = np.einsum("iab,ib->ai", products, mine)  # of the column of behavior a for its own item
        if isinstance(solved, ridge.Dual):
            whole += sums[target]
            same = np.square(weights) * (products[:, :, target].T + same)
        else:
            whole, same = -whole, -weights * same
        out[target, :, 1] = (whole - share * same).sum(axis=1)
        if leave == "own":
            out[target, :, 0] = np.where(np.arange(num_behaviors) == target, 0, (share * same).sum(axis=1))
    return out


def findings(info: types.DatasetInfo, found: np.ndarray, penalty: float, leave: ridge.Leave) -> list[types.Finding]:
    """``worth`` as a table for people.

    Args:
      info: names of the behaviors.
      found: from ``worth``.
      penalty: of the solution, without unit.
      leave: which columns of an item are left out.
    """
    with_same = leave == "own" and info.num_behaviors > 1
    columns = ("one event of", "speaks for", *(("the same item",) if with_same else ()), "all other items")
    lines = []
    for a, behavior in enumerate(info.behaviors):
        for target, ranked in enumerate(info.behaviors):
            same, others = (float(x) for x in found[target, a])
            cells = (None if a == target else same, others) if with_same else (others,)
            lines.append((behavior, ranked, *cells))
    note = (
        "mean over the training pairs: the weight of an event for the same item, and the sum of its weights for all "
        "others, in pairs of the behavior that it speaks for"
        if with_same
        else "mean over the training pairs: the sum of an event's weights for all other items, in pairs of the "
        "behavior that it speaks for"
    )
    return [types.Finding(f"what an event is worth (penalty {penalty:g})", columns, tuple(lines), note)]
