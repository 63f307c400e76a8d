"""CRGCN: one layer by hand, the formula, rows without pairs and the bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def test_one_layer_by_hand(tiny):
    # User 0 and item 0 have one pair: their rows are swapped and scaled to length 1 (3-4-5). The others have none.
    source = tiny([[1, 0], [0, 0]])
    base = [[6.0, 8.0], [1.0, 1.0], [3.0, -4.0], [2.0, 2.0]]
    (made,) = source.encode(base, name="crgcn", bias=False)
    np.testing.assert_allclose(made, [[6.6, 7.2], [1.0, 1.0], [3.6, -3.2], [2.0, 2.0]], rtol=1e-6)
    # With a bias, those without pairs get its direction.
    (made,) = source.encode(base, {"bias_buy_0": [0.0, 4.0]}, name="crgcn")
    np.testing.assert_allclose(made, [[7.0, 8.0], [1.0, 2.0], [3 + 1 / 5**0.5, -4 + 2 / 5**0.5], [2.0, 3.0]], rtol=1e-6)


@pytest.mark.parametrize("num_behaviors", [1, 2, 3, 4])
def test_it_is_the_formula_for_any_number_of_behaviors(drawn, num_behaviors):
    source, rng = drawn(num_behaviors), np.random.default_rng(4)
    base, layers = rng.normal(size=(6, 2)), (2, 1, 0, 3)[:num_behaviors]
    bias = {
        f"bias_{name}_{layer}": rng.normal(size=2)
        for name, n in zip(source.info.behaviors, layers, strict=True)
        for layer in range(n)
    }
    state, expected = base, []
    for k, name in enumerate(source.info.behaviors):
        refined = state
        for layer in range(layers[k]):
            refined = source.adjacency(k, "symmetric") @ refined + bias[f"bias_{name}_{layer}"]
        state = state + refined / np.linalg.norm(refined, axis=1, keepdims=True)
        expected.append(state)
    np.testing.assert_allclose(source.encode(base, bias, name="crgcn", layers=layers), expected, rtol=1e-4, atol=1e-5)


def test_the_cascade_only_adds_rows_of_length_one_or_none(drawn, key):
    source = drawn(3)
    base = jax.random.normal(key, (6, 8))
    tables = [np.asarray(base), *source.encode(base, name="crgcn", bias=False)]
    for k, matrix in enumerate(source.matrices):
        has_pairs = np.concatenate([matrix.any(axis=1), matrix.any(axis=0)])
        np.testing.assert_allclose(np.linalg.norm(tables[k + 1] - tables[k], axis=1), has_pairs, atol=1e-5)
    assert not all(np.concatenate([m.any(axis=1), m.any(axis=0)]).all() for m in source.matrices)


def test_the_biases_start_at_zero_and_are_not_regularized(drawn, key):
    source = drawn(2)
    module, graphs = source.module(name="crgcn", layers=[2, 1])
    params = module.init(key, graphs, jnp.ones((6, 5)))["params"]
    assert {name: value.tolist() for name, value in params.items()} == {
        name: [0.0] * 5 for name in ("bias_view_0", "bias_view_1", "bias_buy_0")
    }
    assert module.apply({"params": params}, method="penalty") == 0
    assert source.module(name="crgcn", bias=False)[0].init(key, graphs, jnp.ones((6, 5))) == {}
