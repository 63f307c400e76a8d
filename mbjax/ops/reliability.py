"""How probabilities over all items compare with what was held out: log probabilities, and counts by probability.

Scores are natural logarithms of probabilities. They are taken relative to the candidates of a user, so that they add up
to 1 there; a place scored ``-inf`` has probability 0. A *trial* is a held-out pair of a user against one of the user's
candidates, and it succeeds where the pair is of that item. Memory is bounded by users x tile, whatever the number of
items: with several tiles everything is scored twice, first for the sums that probabilities are divided by.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mbjax.ops import ranking

Array = jax.Array

PER_OCTAVE = 16
"""Fine bins between a probability and its half: one is 4 % wide."""
BINS = 40 * PER_OCTAVE
"""The last takes all that is below 2^-40, which is 1e-12."""


class Counts(NamedTuple):
    """What a batch of users comes to.

    Attributes:
      log_mass: float32 [B], logarithm of what the probabilities of a user's candidates added up to.
      held_out: float32 [M], log probability of each held-out pair, relative to the candidates; padding means nothing.
      trials: float32 [BINS], number of trials by fine bin, the most probable first.
      expected: float32 [BINS], sum of their probabilities.
      found: float32 [BINS], those that succeeded: whole numbers.
    """

    log_mass: Array
    held_out: Array
    trials: Array
    expected: Array
    found: Array


def count(
    score: Callable[[Array | int, int], Array],
    row: Array,
    item: Array,
    held_row: Array,
    held_item: Array,
    draws: Array,
    *,
    num_items: int,
    item_tile: int,
) -> Counts:
    """Compares the probabilities of a batch of users with their held-out pairs.

    Args:
      score: ``(start, size) -> float [B, size]``, log probabilities of items start .. start + size - 1.
      row: int32 [P], the row of each masked pair.
      item: int32 [P], its item; ``num_items`` is padding.
      held_row: int32 [M], the row of each held-out pair; none of them is masked.
      held_item: int32 [M], its item; ``num_items`` is padding.
      draws: float32 [B], number of held-out pairs of each user; 0 for padding.
      num_items: I.
      item_tile: the largest number of items scored at once.
    """
    num_users = draws.shape[0]
    tiles = -(-num_items // item_tile)
    size = -(-num_items // tiles)

    def candidates(tile: Array | int) -> tuple[Array, Array]:
        """The start of a tile, and its scores; ``-inf`` where there is no candidate, or an earlier tile has it."""
        start = jnp.minimum(tile * size, num_items - size)
        scores = ranking.mask(jnp.asarray(score(start, size), jnp.float32), row, item - start)
        return start, jnp.where(start + jnp.arange(size) >= tile * size, scores, -jnp.inf)

    def add(log_mass: Array, tile: Array) -> tuple[Array, None]:
        return jnp.logaddexp(log_mass, jax.nn.logsumexp(candidates(tile)[1], axis=1)), None

    order = jnp.arange(tiles, dtype=jnp.int32)
    only_tile = candidates(0) if tiles == 1 else None
    if only_tile:
        log_mass = jax.nn.logsumexp(only_tile[1], axis=1)
    else:
        log_mass = lax.scan(add, jnp.full(num_users, -jnp.inf), order)[0]
    divisor = jnp.where(log_mass == -jnp.inf, 0.0, log_mass)  # a user to whom nothing is possible
    each_row = jnp.arange(num_users)[:, None]

    def step(counts: Counts, tile: Array | int) -> tuple[Counts, None]:
        start, scores = only_tile or candidates(tile)
        log_p = scores - divisor[:, None]  # [B, size]
        column = held_item - start
        column = jnp.where((column < 0) | (held_item < tile * size), size, column)
        is_held = jnp.zeros(log_p.shape).at[held_row, column].set(1.0, mode="drop")
        value = log_p.at[held_row, column].get(mode="fill", fill_value=-jnp.inf)
        place = jnp.clip(jnp.floor(log_p * (-PER_OCTAVE / math.log(2.0))), 0, BINS - 1).astype(jnp.int32)
        # One scatter, so that a pair is counted where its probability is. Row by row: no sum has so many terms that
        # float32 loses them.
        each = jnp.stack([(log_p > -jnp.inf).astype(jnp.float32), jnp.exp(log_p), is_held], axis=-1)
        sums = jnp.zeros((num_users, BINS, 3)).at[each_row, place].add(each)
        weight = jnp.stack([draws, draws, (draws > 0).astype(jnp.float32)], axis=-1)  # [B, 3]
        total = (sums * weight[:, None, :]).sum(axis=0)  # [BINS, 3]
        return Counts(
            log_mass,
            jnp.maximum(counts.held_out, value),
            counts.trials + total[:, 0],
            counts.expected + total[:, 1],
            counts.found + total[:, 2],
        ), None

    nothing = Counts(log_mass, jnp.full(held_item.shape, -jnp.inf), *[jnp.zeros(BINS)] * 3)
    return step(nothing, 0)[0] if only_tile else lax.scan(step, nothing, order)[0]
