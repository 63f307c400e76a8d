"""Counts of probabilities against numpy: any tile, padding, masks, and rows to which nothing is possible."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbjax.ops import reliability

USERS, ITEMS = 6, 50


def counted(log_p, masked, held, tile, draws=None):
    row, item = np.nonzero(masked)
    held_row, held_item = np.nonzero(held)
    held_row, held_item = np.append(held_row, 0), np.append(held_item, ITEMS)  # padding

    @jax.jit
    def run(log_p, row, item, held_row, held_item, draws):
        def score(start, size):
            return jax.lax.dynamic_slice_in_dim(log_p, start, size, axis=1)

        sizes = {"num_items": ITEMS, "item_tile": tile}
        return reliability.count(score, row, item, held_row, held_item, draws, **sizes)

    draws = held.sum(axis=1) if draws is None else draws
    integers = (jnp.asarray(x, jnp.int32) for x in (row, item, held_row, held_item))
    return run(jnp.asarray(log_p, jnp.float32), *integers, jnp.asarray(draws, jnp.float32))


def random_case(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(USERS, ITEMS)) * 3
    log_p = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    masked = rng.random(log_p.shape) < 0.3
    held = (rng.random(log_p.shape) < 0.1) & ~masked
    return log_p, masked, held


@pytest.mark.parametrize("tile", [1, 7, 26, 49, 4096])
def test_counts_equal_numpy(tile):
    log_p, masked, held = random_case(tile)
    found = counted(log_p, masked, held, tile)
    p = np.where(masked, 0.0, np.exp(np.float64(log_p)))
    mass = p.sum(axis=1, keepdims=True)
    p /= mass
    draws = held.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(found.log_mass), mass[:, 0], rtol=1e-5)
    np.testing.assert_allclose(found.held_out[:-1], np.log(p[held]), rtol=1e-4)
    place = np.floor(-np.log2(np.where(masked, 1.0, p)) * reliability.PER_OCTAVE).astype(int)

    def sums(values):
        return np.bincount(place[~masked], values[~masked], minlength=reliability.BINS).cumsum()

    # Cumulative: a probability at the edge of a fine bin may fall into the next.
    slack = 2 * draws.max()
    np.testing.assert_allclose(found.expected.cumsum(), sums(p * draws), atol=slack * p.max())
    assert np.abs(found.trials.cumsum() - sums(np.broadcast_to(draws, p.shape))).max() <= slack
    assert float(found.expected.sum()) == pytest.approx(held.sum(), rel=1e-5)
    assert float(found.found.sum()) == held.sum()
    assert float(found.trials.sum()) == (draws * ~masked).sum()


def test_tiles_change_nothing():
    log_p, masked, held = random_case(0)
    whole, parts = counted(log_p, masked, held, 4096), counted(log_p, masked, held, 13)
    np.testing.assert_array_equal(whole.found, parts.found)
    np.testing.assert_array_equal(whole.trials, parts.trials)
    np.testing.assert_allclose(whole.expected, parts.expected, rtol=1e-5)


def test_rows_without_draws_count_nothing():
    log_p, masked, held = random_case(1)
    draws = held.sum(axis=1)
    draws[2] = 0
    found = counted(log_p, masked, held, 4096, draws)
    assert float(found.found.sum()) == held.sum() - held[2].sum()
    assert float(found.trials.sum()) == (draws[:, None] * ~masked).sum()


def test_what_is_impossible_is_found_in_the_last_bin():
    log_p = np.full((USERS, ITEMS), -np.inf, np.float32)
    log_p[0, 3] = 0.0
    held = np.zeros(log_p.shape, bool)
    held[[0, 0, 1], [3, 4, 5]] = True  # certain, impossible, and of a user to whom nothing is possible
    found = counted(log_p, np.zeros(log_p.shape, bool), held, 20)
    assert found.held_out.tolist()[:3] == [0.0, -np.inf, -np.inf]
    assert (found.found[0], found.found[-1]) == (1.0, 2.0)
    assert (found.expected[0], found.trials.sum()) == (2.0, 2.0)
    assert not np.isnan(np.asarray(found.expected)).any()
