"""Gated sums: the separable form, the form pair by pair, and the literal softmax agree."""

import jax
import jax.numpy as jnp
import literal
import numpy as np
import pytest

from mbjax.ops import gating, pairs

USERS, ITEMS, EXPERTS, SIZE = 4, 6, 3, 2
SOME = jnp.array([[0, 5], [1, 1], [2, 3], [5, 0]])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def parts(spread=1.0):
    """Parts of the logits, and the rows of the experts."""
    return (
        spread * numbers(USERS, EXPERTS),
        spread * numbers(ITEMS, EXPERTS, seed=1),
        numbers(USERS, EXPERTS, SIZE, seed=2),
        numbers(ITEMS, EXPERTS, SIZE, seed=3),
    )


def expected(user, item, user_rows, item_rows):
    weights = literal.softmax(np.float64(user)[:, None] + item)
    return weights, np.einsum("uvj,ujd,vjd->uv", weights, user_rows, item_rows)


# Beyond the reach of exp the form pair by pair is taken.
@pytest.mark.parametrize(("spread", "is_separable"), [(1.0, True), (10.0, True), (400.0, False)])
def test_a_gated_sum_of_inner_products(spread, is_separable):
    given = parts(spread)
    weights, scores = expected(*given)
    gap = sum(np.ptp(part, axis=1).max() for part in given[:2])
    assert (gap < gating.SAFE_GAP) == is_separable

    @jax.jit
    def both(*given):
        return gating.mix_products(*given, pairs.Block()), gating.weights(*given[:2], pairs.Block())

    found, gates = both(*given)
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gates, weights, rtol=1e-4, atol=1e-6)
    some = jax.jit(lambda *given: gating.mix_products(*given, pairs.Pairs(SOME)))(*given)
    np.testing.assert_allclose(some, np.take_along_axis(scores, np.asarray(SOME), axis=1), rtol=1e-4, atol=1e-5)


def test_where_the_separable_form_would_fail():
    """User and item favor different experts by e^300 each: all denominators of the product form underflow."""
    user, item = np.float32([[300.0, 0.0]]), np.float32([[0.0, 300.0]])
    ones = np.ones((1, 2, 1), np.float32)
    rows = np.float32([[[1.0], [5.0]]])
    found = gating.mix_products(user, item, rows, ones, pairs.Block())
    np.testing.assert_allclose(found, [[3.0]], rtol=1e-6)  # both logits are 300: the mean


def test_gradients_of_all_arguments():
    given = parts()

    def plain(user, item, user_rows, item_rows):
        products = jnp.einsum("ujd,vjd->uvj", user_rows, item_rows)
        scores = jnp.sum(jax.nn.softmax(user[:, None] + item) * products, axis=-1)
        return jnp.sum(jnp.sin(jnp.take_along_axis(scores, SOME, axis=1)))

    def ours(*given):
        return jnp.sum(jnp.sin(gating.mix_products(*given, pairs.Pairs(SOME))))

    for found, right in zip(*(jax.jit(jax.grad(f, argnums=(0, 1, 2, 3)))(*given) for f in (ours, plain)), strict=True):
        assert np.abs(right).max() > 1e-3
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_the_concatenation():
    kernel, bias = numbers(2 * SIZE, EXPERTS), numbers(EXPERTS, seed=4)
    user, item = numbers(USERS, SIZE, seed=5), numbers(ITEMS, SIZE, seed=6)
    a, b = gating.logits(kernel, bias, user, item)
    both = np.concatenate([np.repeat(user, ITEMS, axis=0), np.tile(item, (USERS, 1))], axis=1)
    np.testing.assert_allclose((a[:, None] + b).reshape(-1, EXPERTS), both @ kernel + bias, rtol=1e-5, atol=1e-5)


def test_any_outputs_are_mixed():
    user, item, _, _ = parts()
    outputs = [numbers(USERS, ITEMS, seed=7 + j) for j in range(EXPERTS)]
    weights, _ = expected(*parts())
    found = gating.mix(user, item, outputs, pairs.Block())
    np.testing.assert_allclose(found, np.einsum("uvj,juv->uv", weights, outputs), rtol=1e-4, atol=1e-5)
