"""MB-CGCN: the cascade by hand, against dense products, and what each behavior is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def test_two_behaviors_by_hand(tiny):
    # One user, one item: the normalized matrix swaps their rows. E0 = (2, 4).
    source = tiny([[1]], [[1]])
    params = {"user_map_view": [[10.0]], "item_map_view": [[100.0]]}
    made = source.encode([[2.0], [4.0]], params, name="mbcgcn", layers=[1, 2])
    # X1 = ((2, 4) + (4, 2)) / 2 = (3, 3); then (30, 300), (300, 30), (30, 300): mean (120, 210).
    np.testing.assert_allclose(made[0], [[3.0], [3.0]], rtol=1e-6)
    np.testing.assert_allclose(made[1], [[123.0], [213.0]], rtol=1e-6)


def literal(source, base, maps, layers):
    """The blocks X, written out."""
    blocks, state = [], base
    for k, num_layers in enumerate(layers):
        if k:
            user, item = maps[k - 1]
            state = np.concatenate([blocks[-1][:3] @ user, blocks[-1][3:] @ item])
        matrix = source.adjacency(k, "symmetric")
        blocks.append(sum(np.linalg.matrix_power(matrix, n) @ state for n in range(num_layers + 1)) / (num_layers + 1))
    return blocks


@pytest.mark.parametrize("num_behaviors", [1, 2, 3, 4])
def test_it_is_the_formula_for_any_number_of_behaviors(drawn, num_behaviors):
    source, rng = drawn(num_behaviors), np.random.default_rng(3)
    base, layers = rng.normal(size=(6, 2)), (2, 0, 3, 1)[:num_behaviors]
    maps = rng.normal(size=(num_behaviors - 1, 2, 2, 2))
    params = {}
    for name, (user, item) in zip(source.info.behaviors, maps, strict=False):
        params |= {f"user_map_{name}": user, f"item_map_{name}": item}
    blocks = literal(source, base, maps, layers)
    sums = np.cumsum(blocks, axis=0)
    expected = {"blocks": blocks, "cumulative": sums, "sum_for_target": [*blocks[:-1], sums[-1]]}
    for output, tables in expected.items():
        made = source.encode(base, params, name="mbcgcn", layers=layers, output=output)
        np.testing.assert_allclose(made, tables, rtol=1e-4, atol=1e-5)


def test_a_node_without_any_pair_keeps_its_row_through_the_maps(tiny):
    source = tiny([[1, 0], [0, 0]], [[1, 0], [0, 0]])
    base = [[1.0, 0.0], [1.0, 2.0], [0.0, 1.0], [3.0, 4.0]]
    maps = {"user_map_view": [[0.0, 1.0], [1.0, 0.0]], "item_map_view": [[2.0, 0.0], [0.0, 2.0]]}
    made = source.encode(base, maps, name="mbcgcn", layers=[1, 1], output="blocks")
    np.testing.assert_allclose(made[0][[1, 3]], [[0.5, 1.0], [1.5, 2.0]])
    np.testing.assert_allclose(made[1][[1, 3]], [[0.5, 0.25], [1.5, 2.0]])


def test_the_maps_are_regularized_and_drawn_like_the_tables(drawn, key):
    module, graphs = drawn(3).module(name="mbcgcn", init_std=0.01)
    params = module.init(key, graphs, jnp.zeros((6, 32)))
    assert set(params["params"]) == {f"{side}_map_{name}" for side in ("user", "item") for name in ("view", "cart")}
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    np.testing.assert_allclose(values.std(), 0.01, rtol=0.05)
    np.testing.assert_allclose(module.apply(params, method="penalty"), np.sum(values**2), rtol=1e-5)
