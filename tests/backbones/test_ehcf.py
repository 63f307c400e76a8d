"""EHCF: the vectors of three behaviors by hand, one mask for all, what is regularized."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

EYE = [[1.0, 0.0], [0.0, 1.0]]


def test_vectors_by_hand(tiny):
    source = tiny([[1]], [[1]], [[1]])
    params = {
        "vector_view": [1.0, 2.0],
        "map_view_cart": [[0.0, 1.0], [1.0, 0.0]],
        "shift_view_cart": [10.0, 0.0],
        "map_view_buy": EYE,
        "shift_view_buy": [0.0, 1.0],
        "map_cart_buy": [[0.0, 0.0], [1.0, 1.0]],
        "shift_cart_buy": [0.5, 0.0],
    }
    made = source.encode([[3.0, 5.0], [7.0, 11.0]], params, name="ehcf")
    # h_cart = (2, 1) + (10, 0) = (12, 1); h_buy = (1, 2) + (0, 1) + (0, 13) + (0.5, 0) = (1.5, 16)
    item = [7.0, 11.0]
    np.testing.assert_allclose(made, [[[3, 10], item], [[36, 5], item], [[4.5, 80], item]], rtol=1e-6)


def test_without_transfer_each_has_its_own(tiny):
    params = {"vector_view": [1.0, 2.0], "vector_buy": [3.0, 4.0]}
    made = tiny([[1]], [[1]]).encode([[1.0, 1.0], [1.0, 1.0]], params, name="ehcf", transfer="none")
    np.testing.assert_allclose(made, [[[1, 2], [1, 1]], [[3, 4], [1, 1]]])


def test_one_mask_of_the_users_for_all_behaviors(drawn, key):
    module, graphs = drawn(2).module(name="ehcf", transfer="none", dropout_rate=0.5)
    assert graphs == {}
    params = {"params": {"vector_view": jnp.ones(8), "vector_buy": jnp.full(8, 3.0)}}
    view, buy = module.apply(params, graphs, jnp.ones((6, 8)), rngs={"dropout": key}).behaviors
    assert set(np.unique(view[:3])) == {0.0, 2.0} and np.all(view[3:] == 1)
    np.testing.assert_array_equal(buy[:3], 3 * view[:3])
    assert np.all(module.apply(params, graphs, jnp.ones((6, 8))).behaviors[0] == 1)


def test_the_maps_alone_are_regularized_and_start_within_their_limits(drawn, key):
    module, graphs = drawn(3).module(name="ehcf")
    params = module.init(key, graphs, jnp.ones((6, 4)))["params"]
    maps = [value for name, value in params.items() if name.startswith("map_")]
    assert len(maps) == 3 and len(params) == 7
    squares = sum(np.sum(np.square(value)) for value in maps)
    np.testing.assert_allclose(module.apply({"params": params}, method="penalty"), squares, rtol=1e-6)
    assert max(np.abs(value).max() for value in jax.tree.leaves(params)) <= np.sqrt(3 / 4)
