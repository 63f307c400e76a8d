"""Dense tiles of sparse rows against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from mbjax.ops import rows

MATRIX = scipy.sparse.random_array((13, 29), density=0.3, rng=np.random.default_rng(3), format="csr")


@pytest.mark.parametrize("block", [7, 4096])
@pytest.mark.parametrize(("start", "size"), [(0, 29), (5, 11), (28, 1)])
def test_any_rows_and_any_tile(block, start, size, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", block)
    users = np.array([4, 0, 12, 4, 7])
    found = jax.jit(lambda *arrays: rows.met(*arrays, size))(
        jnp.asarray(MATRIX.indptr), jnp.asarray(MATRIX.indices), jnp.asarray(users), jnp.int32(start)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, MATRIX.toarray()[users, start : start + size] > 0)


def test_empty_rows_between_full_ones():
    ptr, column = jnp.array([0, 0, 2, 2, 3, 3]), jnp.array([0, 2, 1])
    expected = [[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(rows.met(ptr, column, jnp.arange(5), 0, 3), expected)
    np.testing.assert_array_equal(rows.met(ptr, column, jnp.array([0, 4, 2]), 0, 3), np.zeros((3, 3)))


def test_a_matrix_without_entries():
    assert not rows.met(jnp.zeros(4, jnp.int32), jnp.zeros(0, jnp.int32), jnp.arange(3), 0, 5).any()


def test_values_in_place_of_ones():
    ptr, column, value = jnp.array([0, 0, 2, 3]), jnp.array([0, 2, 1]), jnp.array([5.0, 6.0, 7.0])
    expected = [[0, 7], [0, 0], [5, 0], [0, 7]]
    np.testing.assert_array_equal(rows.met(ptr, column, jnp.array([2, 0, 1, 2]), 0, 2, value), expected)


def test_has_says_which_pairs_a_matrix_stores():
    """Empty rows, the first and the last column, a row that is not there, columns past the last."""
    dense = np.random.default_rng(4).random((9, 12)) < 0.4
    dense[[0, 8]], dense[3, [0, 11]] = False, True
    matrix = scipy.sparse.csr_array(dense)
    row, item = (x.ravel() for x in np.meshgrid(np.arange(10), np.arange(-1, 14), indexing="ij"))
    wanted = np.pad(dense, ((0, 1), (1, 2)))[row, item + 1]
    found = rows.has(jnp.asarray(matrix.indptr), jnp.asarray(matrix.indices), jnp.asarray(row), jnp.asarray(item))
    np.testing.assert_array_equal(found, wanted)
    assert not rows.has(jnp.zeros(3, int), jnp.zeros(0, int), jnp.arange(2), jnp.arange(2)).any()
