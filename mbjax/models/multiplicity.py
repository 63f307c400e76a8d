r"""What the models CML and KMCLR share: the ranking and the contrastive losses of a batch, row by row.

For a user u of a batch, with Z the table of all behaviors, Z^k that of behavior k and K the target,

.. math::
    b_k(u) = softplus(\langle Z_u, Z_{i^-} - Z_{i^+} \rangle), \qquad
    c_k(u) = \ln \sum_{v \notin chunk(u)} e^{\langle Z^K_u, Z^k_v \rangle / d} - \langle Z^K_u, Z^k_u \rangle / d

c is of a random part of the batch's rows, cut into chunks; a user's own chunk is not in his sum, the user himself
neither. k = K counts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import all_users


class Terms(NamedTuple):
    """Losses of one kind and behavior, R rows.

    Attributes:
      loss: float [R].
      weight: float [R], 0 for padding.
      own: Z^k of the rows' users, float [R, D].
      merged: Z of them, float [R, D].
    """

    loss: types.Array
    weight: types.Array
    own: types.Array
    merged: types.Array


def ranking(
    tables: types.Array, own: types.Array, drawn: types.Triples, users: types.Array, info: types.DatasetInfo
) -> Terms:
    """b_k of a batch's triples, R = B M.

    Args:
      tables: float [U + I, D], what is ranked with.
      own: Z^k, float [U + I, D].
      drawn: [B, M].
      users: int32 [B].
      info: sizes.
    """
    user, item = base.users_items(tables, info)
    rows = user[users]
    difference = item[drawn.negative] - item[drawn.positive]  # [B, M, D]
    loss = jax.nn.softplus(jnp.sum(rows[:, None] * difference, axis=-1)).reshape(-1)
    number = drawn.positive.shape[1]
    repeated = (jnp.repeat(x, number, axis=0) for x in (own[users], rows))
    return Terms(loss, drawn.weight.reshape(-1), *repeated)


def squares(tables: types.Array, drawn: types.Triples, users: types.Array, info: types.DatasetInfo) -> types.Array:
    """The squares of the rows of a batch's triples, each as often as it occurs."""
    user, item = base.users_items(tables, info)
    of_item = jnp.sum(jnp.square(item), axis=1)
    of_user = jnp.sum(jnp.square(user[users]), axis=1)[:, None]
    return jnp.sum(drawn.weight * (of_item[drawn.positive] + of_item[drawn.negative] + of_user))


def part_of(batch: types.UserBatch, key: types.Array, share: float, chunk: int) -> tuple[types.Array, types.Array]:
    """Random rows of a batch without replacement, int32 [n], and their chunks, int32 [n].

    n is the share of the batch, at least 2 where it has as many rows. Where n has fewer than two chunks of the size
    asked for, they are halves.
    """
    size = batch.user.shape[0]
    number = min(size, max(2, int(share * size)))
    chunk = max(1, min(chunk, number // 2))
    return jax.random.permutation(key, size)[:number], jnp.arange(number) // chunk


def contrast(
    encoding: base.Encoding, task: int, part: tuple[types.Array, types.Array], batch: types.UserBatch
) -> Terms:
    """c_k of some rows of a batch; a row with nobody to be told from weighs 0."""
    place, chunk = part
    users, real = batch.user[place], batch.weight[place]
    anchor, own = encoding.behaviors[-1][users], encoding.behaviors[task][users]
    logits = anchor @ own.T / anchor.shape[1]
    others = (chunk[:, None] != chunk) & (real > 0)
    has_others = jnp.any(others, axis=1)
    total = jax.nn.logsumexp(jnp.where(others, logits, all_users.NEVER), axis=1)
    loss = jnp.where(has_others, total - jnp.diagonal(logits), 0.0)
    return Terms(loss, real * has_others, own, encoding.merged[users])


def weighted(terms: Mapping[str, Terms], factors: Mapping[str, types.Array], total: types.Array) -> types.Array:
    """The mean over behaviors of the weighted sums, divided by the rows of the batch."""
    sums = [jnp.sum(each.weight * factors[name] * each.loss) for name, each in terms.items()]
    return sum(sums[1:], start=sums[0]) / (len(sums) * total)
