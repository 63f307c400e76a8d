"""CIGF: how often each layer is counted, the formula, the second encoder and the attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

SLOPE = 0.1


@pytest.mark.parametrize("num_layers", [0, 1, 2, 3, 4])
def test_multiplicities(tiny, num_layers):
    # One user, one item: the matrix swaps their rows. E0 = (1, 0), so even layers are seen at the user, odd ones at the
    # item. The attention is the bias: 10 for the one behavior, so s_l = 10^(l - 1).
    params = {f"attention_buy_{layer}": [[0.0]] for layer in range(2, num_layers + 1)}
    params |= {f"attention_bias_buy_{layer}": [10.0] for layer in range(2, num_layers + 1)}
    (made,) = tiny([[1]]).encode([[1.0], [0.0]], params, name="cigf", layers=[num_layers])
    # E0 enters L + 1 times, s_1 L times, s_2 L - 1 times, ...
    counts = [num_layers + 1 - layer for layer in range(num_layers + 1)]
    values = [1] + [10 ** (layer - 1) for layer in range(1, num_layers + 1)]
    terms = [count * value for count, value in zip(counts, values, strict=True)]
    np.testing.assert_allclose(made, [[sum(terms[::2])], [sum(terms[1::2])]], rtol=1e-6)


def literal(source, base, params, k, num_layers, encoder, kind="left"):
    """Z of behavior k, written out."""
    leaky = lambda x: np.where(x > 0, x, SLOPE * x)  # noqa: E731
    matrices = [source.adjacency(j, kind) for j in range(len(source.matrices))]
    name = source.info.behaviors[k]
    s, layers = base, [base]
    for layer in range(1, num_layers + 1):
        if layer == 1:
            s = matrices[k] @ s
        else:
            alpha = leaky(base @ params[f"attention_{name}_{layer}"] + params[f"attention_bias_{name}_{layer}"])
            s = sum(alpha[:, [j]] * (matrix @ s) for j, matrix in enumerate(matrices))
        layers.append(layers[-1] + (leaky(s) if encoder == "gccf" else s))
    return np.sum(layers, axis=0)


@pytest.mark.parametrize("encoder", ["lightgcn", "gccf"])
@pytest.mark.parametrize("num_behaviors", [1, 2, 3, 4])
def test_it_is_the_formula_for_any_number_of_behaviors(drawn, num_behaviors, encoder):
    source, rng = drawn(num_behaviors), np.random.default_rng(5)
    base, layers = rng.normal(size=(6, 2)), (3, 1, 2, 0)[:num_behaviors]
    params = {}
    for name, n in zip(source.info.behaviors, layers, strict=True):
        for layer in range(2, n + 1):
            params[f"attention_{name}_{layer}"] = rng.normal(size=(2, num_behaviors))
            params[f"attention_bias_{name}_{layer}"] = rng.normal(size=num_behaviors)
    expected = [literal(source, base, params, k, n, encoder) for k, n in enumerate(layers)]
    made = source.encode(base, params, name="cigf", layers=layers, encoder=encoder)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_a_node_without_pairs_of_any_behavior_keeps_its_row(tiny, key):
    source = tiny([[1, 0], [0, 0]], [[1, 0], [0, 0]])
    module, graphs = source.module(name="cigf", layers=[2])
    base = jax.random.normal(key, (4, 3))
    made = module.apply(module.init(key, graphs, base), graphs, base).behaviors
    for table in made:
        np.testing.assert_allclose(table[jnp.array([1, 3])], 3 * base[jnp.array([1, 3])], rtol=1e-6)


def test_other_normalizations_are_matrices_of_their_own(drawn):
    source, base = drawn(2), np.random.default_rng(6).normal(size=(6, 2))
    made = source.encode(base, name="cigf", layers=[1], normalization="symmetric")
    np.testing.assert_allclose(made[0], literal(source, base, {}, 0, 1, "lightgcn", "symmetric"), rtol=1e-4, atol=1e-5)
    assert set(source.module(name="cigf", normalization="symmetric")[1]) == {"view, symmetric", "buy, symmetric"}
    assert set(source.module(name="cigf")[1]) == {"view", "buy"}


def test_only_the_kernels_of_the_attention_are_regularized(drawn, key):
    module, graphs = drawn(3).module(name="cigf", layers=[3, 1, 2])
    params = module.init(key, graphs, jnp.ones((6, 4)))["params"]
    kernels = {"attention_view_2", "attention_view_3", "attention_buy_2"}
    assert {name: value.shape for name, value in params.items()} == {
        **dict.fromkeys(kernels, (4, 3)),
        **{name.replace("attention_", "attention_bias_"): (3,) for name in kernels},
    }
    params = {name: value + 1 for name, value in params.items()}
    squares = sum(np.sum(np.square(params[name])) for name in kernels)
    np.testing.assert_allclose(module.apply({"params": params}, method="penalty"), squares, rtol=1e-6)
