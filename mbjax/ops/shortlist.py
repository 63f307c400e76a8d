"""Exact top-K lists where scores are the same for all users, but for pairs of their own: no pass over all items.

The best of all items are looked up once. A user's list is made of these and of his own pairs, whose scores are at
least those of everybody: an item of others then stands behind fewer than k of the best that he may get, or it is in no
list of k. Lists are those of ``ranking.rank_items`` to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from mbjax.ops import platforms, ranking, rows

Array = ranking.Array
Lists = ranking.Lists

BLOCK = 2**14  # own pairs a turn on a CPU
WIDE = 2**17  # elsewhere, where the host waits for the device at every turn


class Own(NamedTuple):
    """Pairs of users whose scores are others than everybody's.

    Attributes:
      user: int32 [B], rows of the patterns; a user may occur several times.
      patterns: (int32 [U + 1], int32 [N]) each, row pointers and items, ascending in a row; a pair may be in several.
      score: ``(user [N], item [N]) -> float32 [N]``, of any pairs; at least that of everybody.
    """

    user: Array
    patterns: Sequence[tuple[Array, Array]]
    score: Callable[[Array, Array], Array]


class Shortlist(NamedTuple):
    """The best items of everybody.

    Attributes:
      best: Lists of one row, the W best of all items.
      place: int32 [I + 1], where each item stands in it; W for those that it has not, and at I.
      score: float32 [I + 1], of all items; ``-inf`` at I and where an item may not be listed.
    """

    best: Lists
    place: Array
    score: Array


def of(scores: Array, size: int) -> Shortlist:
    """The ``size`` best of all items by scores [I]."""
    best = ranking.top_k(scores[None], size)
    num_items = scores.shape[0]
    item = jnp.where(best.item[0] < 0, num_items + 1, best.item[0])
    place = jnp.full(num_items + 1, size, jnp.int32).at[item].set(jnp.arange(size, dtype=jnp.int32), mode="drop")
    return Shortlist(best, place, jnp.append(scores, -jnp.inf))


def rank(
    short: Shortlist,
    row: Array,
    item: Array,
    *,
    num_users: int,
    k: int,
    item_tile: int,
    only: Array | None = None,
    own: Own | None = None,
) -> Lists:
    """What ``ranking.rank_items`` gives of all items, if no user has more pairs than ``short`` has items beyond k.

    Args:
      short: of ``of``.
      row, item: as for ``rank_items``; pairs stand in the order of rows and items.
      num_users, k, item_tile, only: as for ``rank_items``; k is at most W.
      own: of the users of the batch; None: scores are the same for all of them, in all pairs.
    """
    score = short.best.score[0]
    lists = ranking.rank_items(
        lambda first, size: jnp.broadcast_to(lax.dynamic_slice_in_dim(score, first, size), (num_users, size)),
        row,
        short.place[item],
        num_users=num_users,
        num_items=score.shape[0],
        k=k,
        item_tile=item_tile,
    )
    found = Lists(
        jnp.where(lists.item < 0, -1, short.best.item[0][lists.item]), lists.score, lists.is_nan | short.best.is_nan
    )
    if own is not None:
        found = _with_own(found, short, own, row, item, k)
    if only is None:
        return found
    if own is None:
        value = short.score[item]
    else:
        value = jnp.where(short.score[item] == -jnp.inf, -jnp.inf, own.score(own.user[row], item))
    padding = short.score.shape[0] - 1
    mine = _of_pairs(jnp.where(item < padding, row, num_users), item, value, num_users, k)
    return Lists(*(jnp.where(only if x.ndim == 1 else only[:, None], x, y) for x, y in zip(mine, found, strict=True)))


def _with_own(found: Lists, short: Shortlist, own: Own, row: Array, item: Array, k: int) -> Lists:
    """Lists of everybody with the users' own pairs, those at ``row`` and ``item`` left out."""
    num_users, num_items = own.user.shape[0], short.score.shape[0] - 1
    counts = jnp.zeros(num_users, jnp.int32).at[row].add((item < num_items).astype(jnp.int32))
    left_out = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counts, dtype=jnp.int32)]), item
    every = jnp.broadcast_to(own.user[:, None], found.item.shape).ravel(), found.item.ravel()
    is_own = jnp.zeros(every[0].shape, bool)
    for pattern in own.patterns:
        is_own |= rows.has(*pattern, *every)
    is_own = is_own.reshape(found.item.shape)
    others = found._replace(item=jnp.where(is_own, -1, found.item), score=jnp.where(is_own, -jnp.inf, found.score))
    nothing = Lists(jnp.full_like(found.item, -1), jnp.full_like(found.score, -jnp.inf), jnp.zeros_like(found.is_nan))
    mine = nothing
    for number, (row_ptr, column) in enumerate(own.patterns):
        if not column.shape[0]:
            continue

        def block(place, entry, running, number=number, column=column):
            user, pair = own.user.at[place].get(mode="clip"), column.at[entry].get(mode="clip")
            is_out = (place == num_users) | rows.has(*left_out, place, pair) | (short.score[pair] == -jnp.inf)
            for earlier in own.patterns[:number]:  # it was there already
                is_out |= rows.has(*earlier, user, pair)
            place = jnp.where(is_out, num_users, place)
            return _merged(running, _of_pairs(place, pair, own.score(user, pair), num_users, k), k)

        width = min(platforms.choose(cpu=lambda: BLOCK, default=lambda: WIDE), column.shape[0])
        mine = rows.walk(row_ptr, own.user, width, block, mine)
    return _merged(mine, others, k)


def _of_pairs(row: Array, item: Array, score: Array, num_users: int, k: int) -> Lists:
    """The k best pairs of each row, of pairs in any order; a row past the last is nobody's. Scores may be ``-inf``."""
    is_nan = jnp.zeros(num_users, bool).at[row].max(jnp.isnan(score), mode="drop")
    row = jnp.where(score == -jnp.inf, num_users, row)
    row, below, item = lax.sort((row, -score, item), num_keys=3)
    first = platforms.search(row, jnp.arange(num_users, dtype=row.dtype) - 1)  # [B]
    place = jnp.arange(row.shape[0], dtype=jnp.int32) - first.at[row].get(mode="clip")
    at = row, jnp.where(place < k, place, k)
    return Lists(
        jnp.full((num_users, k), -1, jnp.int32).at[at].set(item, mode="drop"),
        jnp.full((num_users, k), -jnp.inf, jnp.float32).at[at].set(-below, mode="drop"),
        is_nan,
    )


def _merged(first: Lists, second: Lists, k: int) -> Lists:
    """The k best of two lists per user, whatever their items; none is in both."""
    score, item = (jnp.concatenate(both, axis=1) for both in ((first.score, second.score), (first.item, second.item)))
    below, item = lax.sort((-score, item), num_keys=2)
    return Lists(item[:, :k], -below[:, :k], first.is_nan | second.is_nan)
