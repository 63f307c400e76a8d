"""Noise belongs to the row: its distribution, and that slicing a batch does not change it."""

import jax
import jax.numpy as jnp
import numpy as np
import toy

from mbjax.ops import noise, ragged

# Eager, every operation in them would be compiled on its own.
entry_dropout = jax.jit(noise.entry_dropout, static_argnums=(2, 3, 4))
normal = jax.jit(noise.normal, static_argnums=(1, 2))
dropout = jax.jit(noise.dropout, static_argnums=(1, 2, 3))


def words(num_rows):
    return jax.random.bits(jax.random.key(3), (num_rows, 2), jnp.uint32)


def test_masks_have_the_right_rate_scale_and_independence():
    history = toy.ragged([list(range(500))] * 40, 500)
    masks = np.asarray(entry_dropout(words(40), history, 0, 2, 0.25))
    np.testing.assert_allclose(np.unique(masks), [0.0, 4 / 3], rtol=1e-6)
    kept = masks > 0
    # 20,000 draws: standard deviation of a mean .003, of the joint rate likewise.
    np.testing.assert_allclose(kept.mean(axis=0), 0.75, atol=0.015)
    np.testing.assert_allclose((kept[:, 0] & kept[:, 1]).mean(), 0.75**2, atol=0.015)
    by_row = kept[:, 0].reshape(40, 500)
    assert len(np.unique(by_row, axis=0)) == 40


def test_streams_differ_and_repeat():
    history = toy.ragged([list(range(64))], 64)
    first, again, other = (entry_dropout(words(1), history, stream, 1, 0.5) for stream in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_no_dropout_keeps_everything():
    history = toy.ragged([[0], [1, 2]], 3)
    np.testing.assert_array_equal(entry_dropout(words(2), history, 0, 3, 0.0), np.ones((3, 3)))


def test_a_row_draws_the_same_alone_and_in_company():
    together = toy.ragged([[0, 1], [2, 3, 4], [5]], 9, capacity=8)
    alone = toy.ragged([[2, 3, 4]], 9, capacity=5)
    masks = entry_dropout(words(3), together, 0, 2, 0.5)
    np.testing.assert_array_equal(masks[2:5], entry_dropout(words(3)[1:2], alone, 0, 2, 0.5)[:3])
    gaussian = normal(words(3), 1, (2, 4))
    np.testing.assert_array_equal(gaussian[1:2], normal(words(3)[1:2], 1, (2, 4)))


def test_normal_moments():
    drawn = np.asarray(normal(words(200), 0, (100,)))
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [0.0, 1.0], atol=0.03)


def test_dropping_entries_is_dropping_the_dense_row():
    # The mean of a dropped-out sum is the sum, its variance sum(w^2) p / (1 - p).
    table = jnp.arange(1.0, 5.0)[:, None]
    history = toy.ragged([[0, 1, 2, 3]] * 4000, 4)
    sums = ragged.embed(table, history, entry_dropout(words(4000), history, 0, 1, 0.5))[:, 0, 0]
    np.testing.assert_allclose(np.mean(sums), 10.0, atol=0.4)
    np.testing.assert_allclose(np.var(sums), 30.0, rtol=0.1)


def test_dense_masks_keep_their_share_and_belong_to_rows(key):
    words = jax.random.bits(key, (50, 2), "uint32")
    masks = np.asarray(dropout(words, 3, (4, 25), 0.2))
    assert masks.shape == (50, 4, 25)
    np.testing.assert_allclose(np.unique(masks), [0.0, 1.25])
    assert abs((masks == 0).mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / masks.size)
    np.testing.assert_array_equal(dropout(words[7:9], 3, (4, 25), 0.2), masks[7:9])
    assert np.any(dropout(words, 4, (4, 25), 0.2) != masks)
