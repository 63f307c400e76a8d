"""The exact two-stage top-K and its item tiles, against a full sort."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax.ops import ranking

INF = np.inf
SIZES = (1, 5, 31, 32, 33, 64, 100, 1000)
NUM_ITEMS = 100
TILES = (1, 7, 33, 50, 99, 4096)

top_k = jax.jit(ranking.top_k, static_argnums=1)


def full_sort(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores by descending score, then ascending id; -inf is no candidate."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    value = np.take_along_axis(scores, order, axis=1)
    pad = ((0, 0), (0, k - order.shape[1]))
    value = np.pad(value, pad, constant_values=-INF)
    return np.where(value == -INF, -1, np.pad(order, pad, constant_values=-1)), value


@functools.partial(jax.jit, static_argnums=(3, 4))
def ranked(scores, row, item, k, tile, only=None):
    def score(start, size):
        assert size <= tile
        return jax.lax.dynamic_slice_in_dim(scores, start, size, axis=1)

    users, items = scores.shape
    sizes = {"num_users": users, "num_items": items, "k": k, "item_tile": tile}
    return ranking.rank_items(score, row, item, **sizes, only=only)


def test_ties_rank_the_smaller_id_first():
    found = top_k(jnp.asarray([[0.0, 3.0, 1.0, 3.0, 1.0, 3.0]]), 4)
    assert found.item.tolist() == [[1, 3, 5, 2]]
    assert found.score.tolist() == [[3.0, 3.0, 3.0, 1.0]]
    assert not found.is_nan[0]


def test_all_equal_scores_list_the_first_items():
    assert top_k(jnp.zeros((2, 1000)), 20).item.tolist() == [list(range(20))] * 2


@pytest.mark.parametrize("place", [5, 40])
def test_minus_zero_ties_with_zero(place):
    scores = np.full((1, 100), -0.0, np.float32)
    scores[0, place] = 0.0
    assert top_k(scores, 3).item.tolist() == [[0, 1, 2]]


def test_minus_infinity_is_never_listed_and_plus_infinity_leads():
    scores = np.full((1, 70), -INF, np.float32)
    scores[0, [69, 3]] = [INF, -2.0]
    found = top_k(scores, 4)
    assert found.item.tolist() == [[69, 3, -1, -1]]
    assert found.score.tolist() == [[INF, -2.0, -INF, -INF]]


@pytest.mark.parametrize(("size", "place"), [(3, 2), (100, 0), (100, 40), (100, 99)])
def test_nan_is_reported_for_its_row_only(size, place):
    scores = np.zeros((3, size), np.float32)
    scores[:, 1] = 5.0
    scores[1, place] = np.nan
    assert top_k(scores, 2).is_nan.tolist() == [False, True, False]


def test_a_masked_nan_is_no_candidate():
    scores = np.zeros((1, 40), np.float32)
    scores[0, 39] = np.nan
    assert not top_k(ranking.mask(jnp.asarray(scores), jnp.asarray([0]), jnp.asarray([39])), 2).is_nan[0]


def test_more_places_than_columns_is_a_programming_mistake():
    with pytest.raises(ValueError, match="k = 4 among 3"):
        ranking.top_k(jnp.zeros((1, 3)), 4)


def test_mask_skips_what_lies_outside():
    masked = ranking.mask(jnp.zeros((2, 3)), jnp.asarray([0, 0, 1, 1]), jnp.asarray([-1, 2, 3, 0]))
    assert masked.tolist() == [[0, 0, -INF], [-INF, 0, 0]]


def test_restrict_keeps_or_masks_row_by_row_and_skips_what_lies_outside():
    scores = jnp.asarray([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    row, column = jnp.asarray([0, 0, 1, 1, 2, 2]), jnp.asarray([-1, 2, 3, 0, 1, 3])
    found = ranking.restrict(scores, jnp.asarray([True, True, False]), row, column)
    assert found.tolist() == [[-INF, -INF, 3], [4, -INF, -INF], [7, -INF, 9]]


def test_what_is_not_kept_may_be_nan():
    scores, ones = jnp.asarray([[np.nan, 1.0], [0.0, np.nan]]), jnp.asarray([1, 1])
    found = ranking.restrict(scores, jnp.ones(2, bool), jnp.asarray([0, 1]), ones)
    assert top_k(found, 1).is_nan.tolist() == [False, True]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("levels", [1, 2, 5, 10**6])
def test_top_k_equals_a_full_sort(size, levels):
    rng = np.random.default_rng(size * levels)
    scores = rng.integers(-levels, levels, size=(50, size), endpoint=True).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -INF
    for k in {1, min(20, size), size}:
        item, score = full_sort(scores, k)
        found = top_k(scores, k)
        np.testing.assert_array_equal(found.item, item)
        np.testing.assert_array_equal(found.score, score)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([1, 3, 1000]),
    masked=st.sampled_from([0.0, 0.2, 0.97, 1.0]),
    tile=st.sampled_from(TILES),
    k=st.sampled_from([20, 130]),
    only=st.one_of(st.none(), st.lists(st.booleans(), min_size=4, max_size=4)),
)
def test_any_tile_gives_the_full_sort(seed, levels, masked, tile, k, only):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, size=(4, NUM_ITEMS), endpoint=True).astype(np.float32)
    is_masked = rng.random(scores.shape) < masked
    row, item = np.nonzero(is_masked)
    padding = is_masked.size - len(row)
    row, item = np.pad(row, (0, padding)), np.pad(item, (0, padding), constant_values=NUM_ITEMS)
    only = None if only is None else np.asarray(only)
    found = ranked(scores, row.astype(np.int32), item.astype(np.int32), k, tile, only)
    is_out = is_masked if only is None else is_masked != only[:, None]
    best, value = full_sort(np.where(is_out, -INF, scores), k)
    np.testing.assert_array_equal(found.item, best)
    np.testing.assert_array_equal(found.score, value)


@pytest.mark.parametrize("tile", [30, 100])
def test_nan_in_any_tile_is_reported(tile):
    scores = np.zeros((2, NUM_ITEMS), np.float32)
    scores[0, 65] = np.nan
    nothing = np.zeros(1, np.int32), np.full(1, NUM_ITEMS, np.int32)
    assert ranked(scores, *nothing, 5, tile).is_nan.tolist() == [True, False]


def test_memory_does_not_grow_with_the_items():
    def temporary(num_items):
        def lists(users):
            return ranking.rank_items(
                lambda start, size: jnp.sin(users[:, None] + start + jnp.arange(size)),
                jnp.zeros(1, jnp.int32),
                jnp.full(1, num_items, jnp.int32),
                num_users=64,
                num_items=num_items,
                k=20,
                item_tile=2048,
            )

        compiled = jax.jit(lists).lower(jnp.zeros(64)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = temporary(2048 * 3), temporary(2048 * 1000)
    assert large <= small * 1.01
    assert small < 4 * 64 * 2048 * 4  # a few tiles of float32


def test_a_score_of_the_wrong_shape_is_a_programming_mistake():
    with pytest.raises(ValueError, match="score returned"):
        ranking.rank_items(
            lambda start, size: jnp.zeros((3, size + 1)),
            jnp.zeros(1, jnp.int32),
            jnp.zeros(1, jnp.int32),
            num_users=3,
            num_items=9,
            k=2,
            item_tile=4,
        )
