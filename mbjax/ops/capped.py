"""Exact top-K lists with at most so many items of a group: of a shop's categories, brands, sellers.

The list is the greedy one over *all* candidates: items in order of their scores (ties: the smaller id), and one whose
group has its share already is passed over. It is no filter of a longer list, which might run short.

Two facts make that possible in bounded memory. Greedy lists of parts suffice: an item that the list of a part passes
over or has no room for is passed over or has none in the whole as well, since what was in its way is there too, or is
displaced by better ones. So tiles are merged as without caps. And of one tile the k best are examined at a time: as
long as the list is short, either some group has become full, whose items then leave, or all k were taken. So it takes
at most one more pass than groups become full, min(G, k / most) + 1, and none of them scores anything again.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from mbjax.ops import ranking

Array = jax.Array


def selection(group: Array, num_groups: int, most: int) -> ranking.Selection:
    """How ``ranking.rank_items`` makes lists under a cap.

    Args:
      group: int32 [I], the group of each item, 0 .. G - 1; G for items of none, which are not capped.
      num_groups: G.
      most: items of a group in a list, at least 1.
    """

    def of_tile(scores: Array, start: Array | int, k: int) -> ranking.Lists:
        inside = lax.dynamic_slice_in_dim(group, start, scores.shape[1])
        return _top_k(scores, inside, num_groups, most, k)

    def merge(first: ranking.Lists, second: ranking.Lists, k: int) -> ranking.Lists:
        both = ranking.merge(first, second, first.item.shape[1] + second.item.shape[1])
        item, score, _ = _accept(both.item, both.score, _groups(group, both.item, num_groups), num_groups, most, k)
        return ranking.Lists(item, score, both.is_nan)

    return ranking.Selection(of_tile, merge)


def _top_k(scores: Array, group: Array, num_groups: int, most: int, k: int) -> ranking.Lists:
    """The greedy list of each row of scores [B, N], columns as items; ``group`` is [N], k at most N."""
    rows = scores.shape[0]
    row = jnp.repeat(jnp.arange(rows, dtype=jnp.int32), k)
    nothing = ranking.Lists(
        jnp.full((rows, k), -1, jnp.int32), jnp.full((rows, k), -jnp.inf, scores.dtype), jnp.zeros(rows, bool)
    )

    def examine(state: tuple[Array, ranking.Lists, Array]) -> tuple[Array, ranking.Lists, Array]:
        left, chosen, _ = state
        found = ranking.top_k(left, k)
        item = jnp.concatenate([chosen.item, found.item], axis=1)  # [B, 2 k], best first
        score = jnp.concatenate([chosen.score, found.score], axis=1)
        item, score, full = _accept(item, score, _groups(group, item, num_groups), num_groups, most, k)
        # What was examined is in the list or of a full group.
        left = ranking.mask(jnp.where(full[:, group], -jnp.inf, left), row, item.reshape(-1))
        is_short = (item[:, -1] < 0) & (found.item[:, -1] >= 0)
        return left, ranking.Lists(item, score, chosen.is_nan | found.is_nan), is_short.any()

    return lax.while_loop(lambda state: state[2], examine, (scores, nothing, jnp.array(True)))[1]


def _groups(group: Array, item: Array, num_groups: int) -> Array:
    """The groups of listed items; of none for empty places."""
    return jnp.where(item < 0, num_groups, group[jnp.maximum(item, 0)])


def _accept(item: Array, score: Array, group: Array, num_groups: int, most: int, k: int) -> tuple[Array, Array, Array]:
    """The first k of candidates in order that their groups have room for.

    Args:
      item, score: [B, M], best first; an item of -1 is an empty place.
      group: int32 [B, M].

    Returns:
      Items and scores [B, k], and bool [B, G + 1], which groups are full; the last column is never.
    """
    before = _earlier(group)
    is_capped = group < num_groups
    fits = (item >= 0) & (~is_capped | (before < most))
    rows = jnp.arange(item.shape[0])[:, None]
    is_last = fits & is_capped & (before == most - 1)
    full = jnp.zeros((item.shape[0], num_groups + 1), bool).at[rows, jnp.where(is_last, group, num_groups)].set(True)
    # By place and not by score: a score may be NaN, and what is out of order stays where it is.
    place = jnp.argsort(~fits, axis=1, stable=True)[:, :k]
    is_there = jnp.take_along_axis(fits, place, axis=1)
    item = jnp.where(is_there, jnp.take_along_axis(item, place, axis=1), -1)
    score = jnp.where(is_there, jnp.take_along_axis(score, place, axis=1), -jnp.inf)
    return item, score, full.at[:, num_groups].set(False)


def _earlier(group: Array) -> Array:
    """How many earlier places of its row hold the same group, int32 [B, M]."""
    places = jnp.broadcast_to(jnp.arange(group.shape[1], dtype=jnp.int32), group.shape)
    order = jnp.argsort(group, axis=1, stable=True)
    ordered = jnp.take_along_axis(group, order, axis=1)
    begins = jnp.concatenate([jnp.ones_like(ordered[:, :1], bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    count = places - lax.cummax(jnp.where(begins, places, 0), axis=1)
    return jnp.zeros_like(places).at[jnp.arange(group.shape[0])[:, None], order].set(count)
