"""Projections: idempotent, orthogonal, and harmless where there is nothing to project onto."""

import jax
import jax.numpy as jnp
import literal
import numpy as np

from mbjax.ops import projection

RNG = np.random.default_rng(0)
ROWS, ONTO = (jnp.asarray(RNG.normal(size=(6, 4)), jnp.float32) for _ in range(2))


def test_by_hand():
    rows, onto = jnp.array([[3.0, 4.0], [1.0, 1.0]]), jnp.array([[2.0, 0.0], [0.0, -1.0]])
    np.testing.assert_allclose(projection.coefficient(rows, onto), [[1.5], [-1.0]], rtol=1e-6)
    np.testing.assert_allclose(projection.project(rows, onto), [[3.0, 0.0], [0.0, 1.0]], rtol=1e-6)


def test_cosines_by_hand():
    rows, onto = jnp.array([[3.0, 4.0], [1.0, 1.0], [0.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, -1.0], [1.0, 2.0]])
    np.testing.assert_allclose(projection.cosine(rows, onto), [[0.6], [-(0.5**0.5)], [0.0]], rtol=1e-6)
    gradient = jax.grad(lambda r, o: jnp.sum(projection.cosine(r, o)), argnums=(0, 1))(rows, onto)
    assert all(np.isfinite(g).all() for g in gradient)


def test_the_literal_formula():
    np.testing.assert_allclose(
        projection.project(ROWS, ONTO), literal.project(np.asarray(ROWS), np.asarray(ONTO)), rtol=1e-5, atol=1e-6
    )


def test_projecting_twice_changes_nothing():
    once = projection.project(ROWS, ONTO)
    np.testing.assert_allclose(projection.project(once, ONTO), once, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(projection.project(ONTO, ONTO), ONTO, rtol=1e-5)


def test_what_is_left_is_orthogonal():
    left = ROWS - projection.project(ROWS, ONTO)
    np.testing.assert_allclose(jnp.sum(left * ONTO, axis=1), 0.0, atol=1e-5)
    np.testing.assert_allclose(projection.project(left, ONTO), 0.0, atol=1e-5)
    assert np.abs(left).max() > 0.1


def test_zero_rows_give_zero_and_finite_gradients():
    onto = ONTO.at[2].set(0.0)
    rows = ROWS.at[4].set(0.0)
    found = projection.project(rows, onto)
    assert not np.any(found[2]) and not np.any(found[4])
    gradients = jax.jit(jax.grad(lambda r, o: jnp.sum(jnp.sin(projection.project(r, o))), argnums=(0, 1)))(rows, onto)
    assert all(np.isfinite(g).all() for g in gradients)


def test_tiny_rows_are_projected_too():
    """Embeddings of the published models have entries of some thousandths; the guard must not show."""
    scale = 1e-3
    np.testing.assert_allclose(
        projection.project(ROWS, scale * ONTO), projection.project(ROWS, ONTO), rtol=1e-4, atol=1e-5
    )
