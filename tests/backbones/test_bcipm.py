"""BCIPM's propagation: two nodes by hand, the formula on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest


def test_two_nodes_by_hand(tiny):
    # User (3, 4) and item (0, 2), met by both. One layer: the other row scaled to length 1, twice.
    # G: user (3, 4) + 2 (0, 1) = (3, 6), item (0, 2) + 2 (.6, .8) = (1.2, 3.6); then the same once more, and G + that.
    base = np.array([[3.0, 4.0], [0.0, 2.0]])
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    whole = np.array([[3.0, 6.0], [1.2, 3.6]])
    expected = 2 * whole + 2 * unit(whole)[::-1]
    np.testing.assert_allclose(tiny([[1]], [[1]]).encode(base, name="bcipm", num_layers=1), [expected] * 2, rtol=1e-6)


@pytest.mark.parametrize(("layer_sum", "factors"), [("twice", (2.0, 1.5)), ("once", (1.0, 0.5))])
def test_it_is_the_formula(drawn, layer_sum, factors):
    source = drawn(2)
    base = np.random.default_rng(4).normal(size=(6, 2))
    union = type(source)(np.minimum(sum(source.matrices), 1))

    def convolve(matrix, state):
        total = state
        for factor in factors:
            state = matrix @ state
            state = state / np.maximum(np.linalg.norm(state, axis=1, keepdims=True), 1e-12)
            total = total + factor * state
        return total

    whole = convolve(union.adjacency(0, "symmetric"), base)
    expected = [whole + convolve(source.adjacency(k, "symmetric"), whole) for k in (0, 1)]
    np.testing.assert_allclose(source.encode(base, name="bcipm", layer_sum=layer_sum), expected, rtol=1e-4, atol=1e-5)
