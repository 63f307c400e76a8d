"""Sums over ragged histories against the dense product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax.ops import ragged

ROWS = [[0, 2], [], [1], [0, 1, 2, 3]]


def test_embed_by_hand():
    table = jnp.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    history = toy.ragged(ROWS, 4)
    weight = jnp.stack([jnp.ones(7), jnp.arange(7.0)], axis=1)
    out = ragged.embed(table, history, weight)
    np.testing.assert_allclose(out[:, 0], [[4, 40], [0, 0], [2, 20], [10, 100]])
    # Second weighting: entries 0, 1 | 2 | 3, 4, 5, 6 times items 0, 2 | 1 | 0, 1, 2, 3.
    np.testing.assert_allclose(out[:, 1, 0], [3.0, 0.0, 4.0, 3 * 1 + 4 * 2 + 5 * 3 + 6 * 4])


def test_padding_changes_nothing():
    table = jax.random.normal(jax.random.key(0), (4, 3))
    tight, padded = toy.ragged(ROWS, 4), toy.ragged(ROWS, 4, capacity=50)
    np.testing.assert_array_equal(
        ragged.embed(table, tight, jnp.ones((7, 1))), ragged.embed(table, padded, jnp.full((50, 1), 1.0))
    )


@jax.jit  # one compile for all examples
def embed_and_gradient(table, history, weight, probe):
    gradient = jax.grad(lambda table: jnp.sum(probe * ragged.embed(table, history, weight)))(table)
    return ragged.embed(table, history, weight), gradient


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), max_size=9, unique=True), min_size=5, max_size=5), st.integers(0, 99))
def test_embed_and_gradient_are_those_of_the_dense_product(rows, seed):
    rows = [sorted(row) for row in rows]
    history = toy.ragged(rows, 9, capacity=60)
    rng = np.random.default_rng(seed)
    table = jnp.asarray(rng.normal(size=(9, 4)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(60, 2)), jnp.float32)
    probe = jnp.asarray(rng.normal(size=(len(rows), 2, 4)), jnp.float32)
    total = sum(map(len, rows))
    matrices = np.zeros((2, len(rows), 9))
    row, item = np.asarray(history.row)[:total], np.asarray(history.item)[:total]
    for m in range(2):
        matrices[m, row, item] = np.asarray(weight)[:total, m]

    out, gradient = embed_and_gradient(table, history, weight, probe)
    np.testing.assert_allclose(out, np.einsum("mri,id->rmd", matrices, table), atol=1e-5)
    np.testing.assert_allclose(gradient, np.einsum("mri,rmd->id", matrices, probe), atol=1e-5)


def test_more_entries_than_a_block():
    num = 2 * ragged.BLOCK + 5
    rows = [list(range(num - 3)), [0, 1, 2]]
    history = toy.ragged(rows, num)
    table = jnp.ones((num, 1))
    np.testing.assert_array_equal(ragged.embed(table, history, jnp.ones((num, 1)))[:, 0, 0], [num - 3, 3])
    gradient = jax.grad(lambda t: ragged.embed(t, history, jnp.ones((num, 1))).sum())(table)
    np.testing.assert_array_equal(gradient[:4, 0], [2, 2, 2, 1])


def test_lengths_positions_and_norms():
    history = toy.ragged(ROWS, 4)
    np.testing.assert_array_equal(ragged.lengths(history), [2, 0, 1, 4])
    np.testing.assert_array_equal(ragged.positions(history), [0, 1, 0, 0, 1, 2, 3])
    np.testing.assert_allclose(ragged.inverse_norm(history), [2**-0.5] * 2 + [1.0] + [0.5] * 4, rtol=1e-6)


def test_map_entries_sees_row_and_place():
    history = toy.ragged(ROWS, 4, capacity=9)
    out = ragged.map_entries(lambda row, place: jnp.stack([row, place], axis=1).astype(jnp.float32), history, 2)
    assert out.shape == (9, 2)
    np.testing.assert_array_equal(out[:7, 0], [0, 0, 2, 3, 3, 3, 3])
    np.testing.assert_array_equal(out[:7, 1], [0, 1, 0, 0, 1, 2, 3])


@pytest.mark.parametrize("size", [1, 7])
def test_an_empty_batch_gives_zeros(size):
    history = toy.ragged([[], []], 3, capacity=size)
    assert not np.any(ragged.embed(jnp.ones((3, 2)), history, jnp.ones((size, 1))))


def test_a_history_contains_the_items_of_another():
    inside, of = toy.ragged([[0, 3, 5], [], [2], [7]], 9, 8), toy.ragged([[0, 1, 5], [4], [2, 3], []], 9, 10)
    np.testing.assert_array_equal(ragged.contains(inside, of), [1, 0, 1, 0, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(ragged.contains(toy.ragged([[], []], 9, 3), toy.ragged([[1], [8]], 9)), [0, 0])
    values = jnp.array([1.0, 2.0, 2.0, 4.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    expected = [1 / 3, 1 / 3, 1 / 3, 1 / 4, 1 / np.sqrt(2), 1 / np.sqrt(2)]
    np.testing.assert_allclose(ragged.inverse_norm(of, values)[:6], expected, rtol=1e-6)
