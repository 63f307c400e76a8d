"""LightGCN by hand and against dense products."""

import numpy as np
import pytest

ROOT = 0.5**0.5
BASE = [[1.0], [2.0], [3.0], [4.0]]  # users, items


def test_one_layer_by_hand_on_the_targets_pairs(tiny):
    # User 0 bought both items: every entry is 1 / sqrt(2 * 1). User 1 bought nothing and keeps E0 / 2.
    source = tiny([[1, 1], [1, 1]], [[1, 1], [0, 0]])
    expected = [[(1 + 7 * ROOT) / 2], [1.0], [(3 + ROOT) / 2], [(4 + ROOT) / 2]]
    made = source.encode(BASE, name="lightgcn", num_layers=1)
    for table in made:
        np.testing.assert_allclose(table, expected, rtol=1e-6)
    assert set(source.module(name="lightgcn")[1]) == {"buy, symmetric"}


@pytest.mark.parametrize("num_layers", [0, 1, 2, 5])
def test_layers_are_averaged(drawn, num_layers):
    source = drawn(3)
    base = np.random.default_rng(1).normal(size=(6, 2))
    for pairs in ("target", "own"):
        made = source.encode(base, name="lightgcn", num_layers=num_layers, pairs=pairs)
        for k, table in enumerate(made):
            matrix = source.adjacency(k if pairs == "own" else 2, "symmetric")
            layers = [np.linalg.matrix_power(matrix, layer) @ base for layer in range(num_layers + 1)]
            np.testing.assert_allclose(table, np.mean(layers, axis=0), rtol=1e-5, atol=1e-6)
