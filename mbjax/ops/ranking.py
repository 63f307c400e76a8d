"""Exact top-K lists over all items: masks, two-stage selection, item tiles.

Ties rank the smaller id first, everywhere. A place scored ``-inf`` is no candidate and never appears in a list:
empty places hold the id -1. Memory is bounded by users x tile, whatever the number of items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

# Columns of a group. The two stages of `top_k` sort N / GROUP and k * GROUP numbers: for N = 10,000 and k = 20 their
# sum is smallest near 22.
GROUP = 32


class Lists(NamedTuple):
    """The best items of each user.

    Attributes:
      item: int32 [B, k], best first; -1 where a user has fewer than k candidates.
      score: float32 [B, k], descending; ``-inf`` where ``item`` is -1.
      is_nan: bool [B], whether a candidate of the user scored NaN: the row means nothing then.
    """

    item: Array
    score: Array
    is_nan: Array


class Selection(NamedTuple):
    """How lists are made: of a tile of scores, and of two lists.

    Attributes:
      of_tile: ``(scores [B, N], start, k) -> Lists`` of columns, where the tile holds the items from ``start`` on.
      merge: ``(first, second, k) -> Lists`` of items; every item of ``first`` has a smaller id.
    """

    of_tile: Callable[[Array, Array | int, int], Lists]
    merge: Callable[[Lists, Lists, int], Lists]


def mask(scores: Array, row: Array, column: Array) -> Array:
    """Writes ``-inf`` at the given places.

    Args:
      scores: float [B, N].
      row: int32 [M], 0 .. B - 1.
      column: int32 [M]; a column outside 0 .. N - 1 is skipped (padding, or an item of another tile).
    """
    # A negative index would count from the end.
    column = jnp.where(column < 0, scores.shape[1], column)
    return scores.at[row, column].set(-jnp.inf, mode="drop")


def restrict(scores: Array, only: Array, row: Array, column: Array) -> Array:
    """As ``mask``; but in rows of ``only``, bool [B], ``-inf`` is written everywhere else and the places are kept."""
    column = jnp.where(column < 0, scores.shape[1], column)
    kept = scores.at[row, column].get(mode="fill", fill_value=-jnp.inf)
    others = jnp.where(only[:, None], -jnp.inf, scores)
    return others.at[row, column].set(jnp.where(only[row], kept, -jnp.inf), mode="drop")


def top_k(scores: Array, k: int) -> Lists:
    """The k best columns of each row, exactly, in two stages.

    The k groups of consecutive columns with the largest maxima (ties: the earlier group) contain the k best columns:
    each of k better groups would contain a column that is better, or equal and earlier. So only the maxima of the
    groups and the k * GROUP columns of the best ones are sorted.

    Args:
      scores: float [B, N]; -0 equals 0.
      k: at most N.

    Returns:
      Lists with column indices as items.
    """
    rows, size = scores.shape
    if not 0 < k <= size:
        raise ValueError(f"top_k of k = {k} among {size} columns.")
    groups = -(-size // GROUP)
    # A window needs no copy of the scores where size is no multiple of GROUP; a reshape would.
    maxima = lax.reduce_window(
        scores, -jnp.inf, lax.max, (1, GROUP), (1, GROUP), ((0, 0), (0, groups * GROUP - size))
    )  # [B, groups]
    is_nan = jnp.isnan(maxima).any(axis=1)
    best = lax.top_k(_one_zero(maxima), min(k, groups))[1]
    # Groups in ascending order, so that equal candidates stand in ascending order of their columns.
    best = jnp.sort(best, axis=1)
    column = (best[:, :, None] * GROUP + jnp.arange(GROUP, dtype=best.dtype)).reshape(rows, -1)  # [B, k * GROUP]
    candidate = _one_zero(jnp.take_along_axis(scores, jnp.minimum(column, size - 1), axis=1))
    score, place = lax.top_k(jnp.where(column < size, candidate, -jnp.inf), k)
    item = jnp.take_along_axis(column, place, axis=1)
    return Lists(jnp.where(score == -jnp.inf, -1, item), score, is_nan)


def merge(first: Lists, second: Lists, k: int) -> Lists:
    """The k best of two lists per user; every item of ``first`` has a smaller id than every one of ``second``."""
    score, place = lax.top_k(jnp.concatenate([first.score, second.score], axis=1), k)
    item = jnp.take_along_axis(jnp.concatenate([first.item, second.item], axis=1), place, axis=1)
    return Lists(item, score, first.is_nan | second.is_nan)


def rank_items(
    score: Callable[[Array | int, int], Array],
    row: Array,
    item: Array,
    *,
    num_users: int,
    num_items: int,
    k: int,
    item_tile: int,
    only: Array | None = None,
    listed: Array | None = None,
    select: Selection | None = None,
) -> Lists:
    """The k best of all items for a batch of users: tiles of equal width and a running list.

    The last tile is moved left so that it ends with the last item. An item that it repeats needs no mask before the
    selection: it only displaces items that it beats, and it is in the running list already if it belongs there.

    Args:
      score: ``(start, size) -> float [B, size]``, scores of items start .. start + size - 1; ``start`` may be traced.
      row: int32 [M], the row of each masked pair, or of each candidate.
      item: int32 [M], the item of each of these pairs; ``num_items`` is padding.
      num_users: B.
      num_items: I.
      k: length of the lists; may exceed I.
      item_tile: the largest number of items scored at once.
      only: bool [B], for which users the pairs are the candidates; for others they are masked, and every other item is
        a candidate. None: for nobody.
      listed: bool [I], which items are candidates at all; None: all.
      select: another way to make lists than by the scores alone.
    """
    select = select or Selection(lambda scores, start, k: top_k(scores, k), merge)
    tiles = -(-num_items // item_tile)
    size = -(-num_items // tiles)
    width = min(k, size)
    nothing = Lists(
        jnp.full((num_users, k), -1, jnp.int32),
        jnp.full((num_users, k), -jnp.inf, jnp.float32),
        jnp.zeros(num_users, bool),
    )

    def scores(start: Array | int, size: int) -> Array:
        tile = jnp.asarray(score(start, size), jnp.float32)
        if tile.shape != (num_users, size):
            raise ValueError(f"score returned {tile.shape} for {num_users} users and {size} items.")
        if listed is not None:
            tile = jnp.where(lax.dynamic_slice_in_dim(listed, start, size), tile, -jnp.inf)
        return mask(tile, row, item - start) if only is None else restrict(tile, only, row, item - start)

    if tiles == 1:
        found = select.of_tile(scores(0, size), 0, width)
        return found if width == k else merge(nothing, found, k)

    def step(running: Lists, tile: Array) -> tuple[Lists, None]:
        start = jnp.minimum(tile * size, num_items - size)
        found = select.of_tile(scores(start, size), start, width)
        found_item = found.item + start
        is_new = (found.item >= 0) & (found_item >= tile * size)
        found = Lists(jnp.where(is_new, found_item, -1), jnp.where(is_new, found.score, -jnp.inf), found.is_nan)
        return select.merge(running, found, k), None

    return lax.scan(step, nothing, jnp.arange(tiles, dtype=jnp.int32))[0]


def _one_zero(values: Array) -> Array:
    """-0 as 0: `lax.top_k` tells them apart, a tie does not."""
    return jnp.where(values == 0, 0.0, values)
