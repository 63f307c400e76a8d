"""InfoNCE against the literal formula: one candidate, repeated anchors, zero rows."""

import jax
import jax.numpy as jnp
import literal
import numpy as np
import pytest

from mbjax.ops import contrastive


def numbers(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


ANCHOR, CANDIDATES = numbers(5, 3), numbers(5, 3, seed=1)
info_nce = jax.jit(contrastive.info_nce, static_argnums=4)


@pytest.mark.parametrize("similarity", ["cosine", "inner_product"])
def test_one_node_in_each_table_gives_zero(similarity):
    value = info_nce(ANCHOR[:1], CANDIDATES[:1], jnp.array([3.0]), 0.1, similarity)
    np.testing.assert_allclose(value, 0.0, atol=1e-5)


def test_two_nodes_by_hand():
    anchor, candidates = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([[5.0, 0.0], [0.0, 3.0]])
    # Cosines 1 with the own row, 0 with the other: ln(e^2 + 1) - 2 each, the second counted three times.
    each = np.log(np.exp(2.0) + 1.0) - 2.0
    np.testing.assert_allclose(info_nce(anchor, candidates, jnp.array([1.0, 3.0]), 0.5, "cosine"), 4 * each, rtol=1e-6)
    # Inner products: 10 against 0, and 3 against 0.
    value = info_nce(anchor, candidates, jnp.array([0.0, 1.0]), 1.0, "inner_product")
    np.testing.assert_allclose(value, np.log(np.exp(3.0) + 1.0) - 3.0, rtol=1e-5)


@pytest.mark.parametrize("similarity", ["cosine", "inner_product"])
def test_the_literal_formula_with_repeated_rows(similarity):
    drawn = [3, 0, 3, 3, 4, 0]
    weight = contrastive.multiplicity(jnp.array(drawn), jnp.ones(6), 5)
    np.testing.assert_array_equal(weight, [2, 0, 0, 3, 1])
    expected = literal.info_nce(*map(np.asarray, (ANCHOR, CANDIDATES)), drawn, 0.3, similarity == "cosine")
    np.testing.assert_allclose(info_nce(ANCHOR, CANDIDATES, weight, 0.3, similarity), expected, rtol=1e-5)


def test_duplicated_pairs_add_up():
    once, other = jnp.array([1.0, 0, 0, 1, 0]), jnp.array([0.0, 2, 0, 1, 0])
    parts = [info_nce(ANCHOR, CANDIDATES, weight, 0.2, "cosine") for weight in (once, other)]
    whole = info_nce(ANCHOR, CANDIDATES, once + other, 0.2, "cosine")
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-5)
    np.testing.assert_allclose(info_nce(ANCHOR, CANDIDATES, 2 * once, 0.2, "cosine"), 2 * parts[0], rtol=1e-5)


def test_multiplicity_leaves_padding_out():
    index, weight = jnp.array([[1, 1, 0], [2, 0, 0]]), jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(contrastive.multiplicity(index, weight, 4), [0, 2, 1, 0])


@pytest.mark.parametrize("similarity", ["cosine", "inner_product"])
def test_gradients_of_both_tables(similarity):
    weight = jnp.array([2.0, 0, 0, 3, 1])

    def plain(anchor, candidates):
        if similarity == "cosine":
            anchor, candidates = (x / jnp.linalg.norm(x, axis=1, keepdims=True) for x in (anchor, candidates))
        logits = anchor @ candidates.T / 0.3
        return jnp.sum(weight * (jax.nn.logsumexp(logits, axis=1) - jnp.diag(logits)))

    ours = jax.jit(jax.grad(lambda a, c: contrastive.info_nce(a, c, weight, 0.3, similarity), argnums=(0, 1)))
    for found, expected in zip(
        ours(ANCHOR, CANDIDATES), jax.grad(plain, argnums=(0, 1))(ANCHOR, CANDIDATES), strict=True
    ):
        assert np.any(np.abs(expected) > 0.01)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_zero_rows_give_finite_gradients():
    anchor, candidates = ANCHOR.at[0].set(0.0), CANDIDATES.at[3].set(0.0)
    gradient = jax.jit(jax.value_and_grad(lambda a, c: contrastive.info_nce(a, c, jnp.ones(5), 0.1), argnums=(0, 1)))
    value, gradients = gradient(anchor, candidates)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    np.testing.assert_array_equal(contrastive.normalize(anchor)[0], 0.0)


def test_rows_are_scaled_to_length_one():
    rows = jnp.concatenate([ANCHOR, 1e-6 * ANCHOR, 1e6 * ANCHOR])
    np.testing.assert_allclose(jnp.linalg.norm(contrastive.normalize(rows), axis=1), 1.0, rtol=1e-5)
