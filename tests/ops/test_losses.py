"""Losses against values worked by hand and against the literal formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.ops import losses, partition

LATENT = jnp.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
KERNEL = jnp.array([[0.0, 0.0], [np.log(2.0), 0.0], [0.0, np.log(3.0)]])


def dense_nll(latent, kernel, bias, rows, weight):
    logits = latent @ kernel.T + bias
    return jnp.sum(weight[:, None] * -rows * jax.nn.log_softmax(logits))


def test_log_partition_by_hand():
    # Row 0: logits 0, ln 2, 0 -> ln 4. Row 1: 0, 0, 2 ln 3 -> ln 11. Row 2: 0, ln 2, ln 3 -> ln 6.
    value = partition.weighted_log_partition(LATENT, KERNEL, jnp.zeros(3), jnp.array([1.0, 2.0, 0.0]))
    np.testing.assert_allclose(value, np.log(4.0) + 2 * np.log(11.0), rtol=1e-6)


def test_multinomial_nll_by_hand():
    history = toy.ragged([[1], [], [0, 2]], 3)
    # Row 0: ln 4 - ln 2. Row 1 is empty. Row 2, weight 3: 2 ln 6 - (0 + ln 3).
    value = losses.multinomial_nll(LATENT, KERNEL, jnp.zeros(3), history, jnp.array([1.0, 5.0, 3.0]))
    np.testing.assert_allclose(value, np.log(2.0) + 3 * (2 * np.log(6.0) - np.log(3.0)), rtol=1e-6)


@pytest.mark.parametrize("num_rows", [1, 5, 130, 300])
def test_value_and_gradients_are_those_of_the_dense_formula(num_rows, key):
    rng = np.random.default_rng(num_rows)
    num_items, size = 37, 6
    rows = [sorted(rng.choice(num_items, rng.integers(0, 6), replace=False)) for _ in range(num_rows)]
    rows[0] = rows[0] or [3]
    history = toy.ragged(rows, num_items, capacity=sum(map(len, rows)) + 11)
    latent = jnp.asarray(rng.normal(size=(num_rows, size)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(num_items, size)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=num_items), jnp.float32)
    weight = jnp.asarray(rng.random(num_rows) * (rng.random(num_rows) < 0.7), jnp.float32)
    multi_hot = jnp.asarray(toy.dense(history, num_items), jnp.float32)

    ours = jax.value_and_grad(lambda *a: losses.multinomial_nll(*a[:3], history, a[3]), argnums=(0, 1, 2, 3))
    literal = jax.value_and_grad(lambda *a: dense_nll(*a[:3], multi_hot, a[3]), argnums=(0, 1, 2, 3))
    (value, gradients), (expected, expected_gradients) = (
        jax.jit(f)(latent, kernel, bias, weight) for f in (ours, literal)
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for ours_, theirs in zip(gradients[:3], expected_gradients[:3], strict=True):
        np.testing.assert_allclose(ours_, theirs, atol=2e-5)
    counted = np.asarray(weight) > 0  # rows of weight 0 are skipped, their weight's gradient with them
    np.testing.assert_allclose(gradients[3][counted], expected_gradients[3][counted], rtol=1e-4, atol=1e-4)


def test_large_logits_do_not_overflow():
    value, gradient = jax.value_and_grad(partition.weighted_log_partition)(
        jnp.array([[1e4]]), jnp.array([[1.0], [-1.0]]), jnp.zeros(2), jnp.ones(1)
    )
    np.testing.assert_allclose(value, 1e4)
    np.testing.assert_allclose(gradient, [[1.0]])


def test_all_weights_zero_give_zero_and_zero_gradients():
    value, gradients = jax.value_and_grad(partition.weighted_log_partition, argnums=(0, 1, 2))(
        LATENT, KERNEL, jnp.zeros(3), jnp.zeros(3)
    )
    assert value == 0.0
    assert not any(np.any(gradient) for gradient in gradients)


def test_kl_of_the_prior_is_zero_and_otherwise_by_hand():
    assert losses.gaussian_kl(jnp.zeros(5), jnp.zeros(5)) == 0.0
    # One dimension, mean 1, variance e: (e + 1 - 1 - 1) / 2.
    np.testing.assert_allclose(losses.gaussian_kl(jnp.ones(1), jnp.ones(1)), (np.e - 1) / 2, rtol=1e-6)
