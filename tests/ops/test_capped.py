"""Lists under a cap for each group, against the greedy walk down a full sort."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax.ops import capped, ranking

NUM_ITEMS = 70


def greedy(scores: np.ndarray, group: np.ndarray, num_groups: int, most: int, k: int) -> list[list[int]]:
    """For each user: items by descending score, then ascending id, past those whose group has its share."""
    lists = []
    for row in scores:
        chosen, used = [], np.zeros(num_groups + 1, int)
        for item in np.argsort(-row, kind="stable"):
            if row[item] == -np.inf or len(chosen) == k or (group[item] < num_groups and used[group[item]] == most):
                continue
            used[group[item]] += 1
            chosen.append(int(item))
        lists.append(chosen + [-1] * (k - len(chosen)))
    return lists


@functools.partial(jax.jit, static_argnames=("num_groups", "most", "k", "tile"))
def ranked(scores, row, item, group, listed, *, num_groups, most, k, tile):
    return ranking.rank_items(
        lambda start, size: jax.lax.dynamic_slice_in_dim(scores, start, size, axis=1),
        row,
        item,
        num_users=scores.shape[0],
        num_items=scores.shape[1],
        k=k,
        item_tile=tile,
        listed=listed,
        select=capped.selection(group, num_groups, most),
    )


def lists_of(scores, group, num_groups, most, k, tile=NUM_ITEMS, masked=((), ()), listed=None):
    scores, group = jnp.asarray(scores, jnp.float32), jnp.asarray(group, jnp.int32)
    row, item = (jnp.asarray(part, jnp.int32) for part in masked)
    listed = jnp.ones(scores.shape[1], bool) if listed is None else jnp.asarray(listed)
    return ranked(scores, row, item, group, listed, num_groups=num_groups, most=most, k=k, tile=tile)


def test_by_hand():
    scores = [[9, 8, 7, 6, 5, 4, 3]]
    group = [0, 0, 0, 1, 0, 2, 1]  # 2 is none
    assert lists_of(scores, group, 2, 1, 3).item.tolist() == [[0, 3, 5]]
    found = lists_of(scores, group, 2, 2, 6)
    assert found.item.tolist() == [[0, 1, 3, 5, 6, -1]]
    assert found.score.tolist() == [[9, 8, 6, 4, 3, -np.inf]]


def test_a_list_is_found_behind_all_items_of_large_groups():
    """A filter of any shorter list would run short: the first 60 items are of two groups."""
    scores, group = np.arange(NUM_ITEMS, 0, -1.0)[None], [*np.repeat([0, 1], 30), *range(2, 12)]
    assert lists_of(scores, group, 12, 1, 5).item.tolist() == [[0, 30, 60, 61, 62]]
    assert lists_of(scores, group, 12, 1, 5, tile=8).item.tolist() == [[0, 30, 60, 61, 62]]


@pytest.mark.exhaustive
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([3, 1000]),
    groups=st.sampled_from([(1, 3), (3, 1), (40, 2)]),
    tile=st.sampled_from([9, 4096]),
    k=st.sampled_from([5, NUM_ITEMS]),
)
@settings(max_examples=60, deadline=None)
def test_any_tile_gives_the_greedy_list_of_all_candidates(seed, levels, groups, tile, k):
    rng = np.random.default_rng(seed)
    num_groups, most = groups
    scores = rng.integers(-levels, levels, (3, NUM_ITEMS)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    # Shares as uneven as categories are: of the first, half of the items.
    group = np.minimum(rng.geometric(0.5, NUM_ITEMS) - 1, num_groups).astype(np.int32)
    row, item = rng.integers(0, 3, 25), rng.integers(0, NUM_ITEMS, 25)
    listed = rng.random(NUM_ITEMS) < 0.8
    found = lists_of(scores, group, num_groups, most, k, tile, (row, item), listed)
    left = np.where(listed, scores, -np.inf)
    left[row, item] = -np.inf
    expected = greedy(left, group, num_groups, most, k)
    assert found.item.tolist() == expected
    at = np.asarray(expected)
    values = np.where(at < 0, -np.inf, np.take_along_axis(left, np.maximum(at, 0), axis=1))
    np.testing.assert_array_equal(found.score, values)


@pytest.mark.parametrize("tile", [7, NUM_ITEMS])
def test_nan_is_reported_and_ends(tile):
    scores = np.ones((3, NUM_ITEMS), np.float32)
    scores[1, [4, 40]] = np.nan
    found = lists_of(scores, np.zeros(NUM_ITEMS), 1, 1, 5, tile)
    assert found.is_nan.tolist() == [False, True, False]


def test_items_without_a_group_are_listed_as_ever():
    scores = np.random.default_rng(0).normal(size=(4, NUM_ITEMS)).astype(np.float32)
    found = lists_of(scores, np.full(NUM_ITEMS, 3), 3, 1, 9)
    plain = ranking.top_k(jnp.asarray(scores), 9)
    np.testing.assert_array_equal(found.item, plain.item)
    np.testing.assert_array_equal(found.score, plain.score)
