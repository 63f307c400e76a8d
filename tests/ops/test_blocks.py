"""Blocks of rows: any size gives what one block gives, and blocks are equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbjax.ops import blocks


@pytest.mark.parametrize(("most", "size"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 4), (7, 7), (100, 7)])
def test_results_stand_in_order_and_blocks_are_equal(most, size):
    seen = []

    def function(block):
        seen.append(block.shape)
        return {"double": 2 * block, "sum": block.sum(axis=1)}

    rows = jnp.arange(14).reshape(7, 2)
    found = blocks.over_blocks(function, rows, most)
    assert set(seen) == {(size, 2)}
    np.testing.assert_array_equal(found["double"], 2 * rows)
    np.testing.assert_array_equal(found["sum"], rows.sum(axis=1))


def test_under_jit_with_one_row():
    found = jax.jit(lambda x: blocks.over_blocks(lambda block: block + 1, x, 8))(jnp.array([3]))
    np.testing.assert_array_equal(found, [4])
