"""Blocks of rows solved at once: the normal equations by numpy, exact and by conjugate gradients, packing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from mbjax.ops import alternating

ROWS, COLUMNS, SIZE, UNOBSERVED = 40, 29, 5, 0.3


def example():
    """A matrix with an empty row, a full one and an empty column; factors, gains and penalties."""
    rng = np.random.default_rng(0)
    ones = rng.random((ROWS, COLUMNS)) < rng.random((ROWS, 1))
    ones[3], ones[7], ones[:, 4] = False, True, False
    table, gain = rng.normal(size=(COLUMNS, SIZE)), rng.random(COLUMNS) + 0.5
    return scipy.sparse.csr_array(ones.astype(np.float32)), table, gain, rng.random(ROWS) + 0.1


def expected():
    matrix, table, gain, penalty = example()
    out = np.zeros((ROWS, SIZE))
    for row, ones in enumerate(matrix.toarray()):
        left = (table.T * ones) @ table + UNOBSERVED * table.T @ table + penalty[row] * np.eye(SIZE)
        out[row] = np.linalg.solve(left, table.T @ (gain * ones))
    return out


def solved(steps=0, places=0, before=None, rows=None):
    matrix, table, gain, penalty = (x if scipy.sparse.issparse(x) else jnp.asarray(x, jnp.float32) for x in example())
    before = np.zeros((ROWS, SIZE)) if before is None else before
    blocks = alternating.pack(matrix, rows, places)
    solve = jax.jit(alternating.solve, static_argnames="steps")
    return np.asarray(solve(blocks, table, gain, UNOBSERVED, penalty, jnp.asarray(before, jnp.float32), steps))


@pytest.mark.parametrize("places", [0, 1, 20, 64])
def test_rows_solve_their_normal_equations(places):
    np.testing.assert_allclose(solved(places=places, before=np.ones((ROWS, SIZE))), expected(), rtol=1e-4, atol=1e-5)


def test_as_many_steps_as_factors_are_exact_and_fewer_get_nearer():
    right = expected()
    np.testing.assert_allclose(solved(steps=SIZE), right, rtol=1e-3, atol=1e-4)
    errors = [np.abs(solved(steps=steps) - right).max() for steps in (1, 2, 3)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_what_is_solved_stays():
    np.testing.assert_allclose(solved(steps=3, before=expected()), expected(), rtol=1e-4, atol=1e-5)
    assert not solved(steps=2, before=np.ones((ROWS, SIZE)))[3].any()  # no entries: zeros solve it


def test_one_step_by_hand():
    # One factor: 2 x = 1 with entries of 1 in one column, penalty 1: x = 1 / (1 + 0.3 + 0.7) whatever the start.
    matrix = scipy.sparse.csr_array(np.float32([[1]]))
    one, penalty = jnp.ones((1, 1)), jnp.float32([0.7])
    for steps in (0, 1):
        found = alternating.solve(alternating.pack(matrix), one, one[0], 0.3, penalty, 5 * one, steps)
        np.testing.assert_allclose(found, [[0.5]], rtol=1e-6)


def test_rows_that_are_not_asked_for_are_zeros():
    found = solved(rows=np.array([9, 3, 7]))
    np.testing.assert_allclose(found[[7, 9]], expected()[[7, 9]], rtol=1e-4, atol=1e-5)
    assert not np.delete(found, [7, 9], axis=0).any()


def test_blocks_hold_every_entry_once_and_rows_of_like_length():
    matrix = example()[0]
    blocks = alternating.pack(matrix, places=40)
    found = np.zeros((ROWS, COLUMNS))
    for row, column in blocks:
        assert row.shape == column.shape[:2]
        length = column.shape[2]
        assert column.shape[1] * length <= max(40, length)
        for r, c in zip(np.ravel(row), np.reshape(column, (-1, length)), strict=True):
            real = c[c < COLUMNS]
            assert (r == ROWS) == (len(real) == 0)
            if len(real):
                assert length == alternating.SHORTEST or length // alternating.GROWTH < len(real)
                found[r, real] += 1
    np.testing.assert_array_equal(found, matrix.toarray())
    assert alternating.pack(scipy.sparse.csr_array((3, 2))) == ()
