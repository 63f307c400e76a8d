"""LightGCN_M: three ways to one graph by hand, and tables of one's own for each behavior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

BASE = [[1.0], [2.0], [3.0], [4.0]]
VIEW, BUY = [[1, 1], [0, 0]], [[1, 0], [0, 0]]
# The row of user 0 in the normalized matrix: [item 0, item 1]. Item 0 is viewed and bought, item 1 viewed only.
ENTRIES = {
    "union": [2**-0.5, 2**-0.5],
    "count": [2 / (3 * 2) ** 0.5, 1 / 3**0.5],  # degrees: user 3, items 2 and 1
    "normalized_sum": [2**-0.5 + 1.0, 2**-0.5],
}


@pytest.mark.parametrize("entries", ENTRIES)
def test_one_layer_by_hand(tiny, entries):
    first, second = ENTRIES[entries]
    expected = [[(1 + 3 * first + 4 * second) / 2], [1.0], [(3 + first) / 2], [(4 + second) / 2]]
    made = tiny(VIEW, BUY).encode(BASE, name="lightgcn_m", num_layers=1, entries=entries)
    assert len(made) == 2
    for table in made:
        np.testing.assert_allclose(table, expected, rtol=1e-6)


@pytest.mark.parametrize("num_behaviors", [1, 2, 3, 4])
def test_one_behavior_is_lightgcn_and_more_are_their_union(drawn, tiny, num_behaviors):
    source = drawn(num_behaviors)
    base = np.random.default_rng(2).normal(size=(6, 2))
    union = tiny(np.max(source.matrices, axis=0))
    expected = union.encode(base, name="lightgcn", num_layers=3)[0]
    for table in source.encode(base, name="lightgcn_m", num_layers=3):
        np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)


def test_tables_of_each_behavior(drawn, key):
    source = drawn(3)
    module, graphs = source.module(name="lightgcn_m", tables="per_behavior")
    base = jax.random.normal(key, (6, 2))
    params = module.init(key, graphs, base)
    assert jax.tree.map(jnp.shape, params["params"]) == {
        f"{side}_{name}": (3, 2) for side in ("user", "item") for name in ("view", "cart")
    }
    made = module.apply(params, graphs, base).behaviors
    np.testing.assert_allclose(made[2], source.encode(base, name="lightgcn_m")[2], rtol=1e-5)  # the model's own tables
    cart = np.concatenate([params["params"]["user_cart"], params["params"]["item_cart"]])
    np.testing.assert_allclose(made[1], source.encode(cart, name="lightgcn_m")[2], rtol=1e-5)
    squares = sum(float(jnp.sum(jnp.square(leaf))) for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(module.apply(params, method="penalty"), squares, rtol=1e-6)
    assert source.module(name="lightgcn_m")[0].apply({}, method="penalty") == 0
