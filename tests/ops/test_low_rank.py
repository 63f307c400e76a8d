"""Eigenvectors against numpy, and the inverse that is made of them."""

import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.ops import low_rank, primal, ridge

WEIGHTS = np.random.default_rng(3).uniform(0.2, 1.5, (3, 31)).astype(np.float32)


@pytest.mark.parametrize(("rank", "columns"), [(4, 64), (7, 3)])
def test_the_largest_eigenvectors(rank, columns, monkeypatch):
    monkeypatch.setattr(low_rank, "COLUMNS", columns)  # blocks that do not divide the vectors
    blocks = [matrix.astype(np.float32) for matrix in toy.dataset(3).train.values()]
    form = low_rank.solve(ridge.place(blocks), WEIGHTS, 2.0, rank)
    x = ridge.weighted(blocks, WEIGHTS).toarray().astype(float)
    values = np.linalg.eigvalsh(x.T @ x)[::-1][:rank]
    np.testing.assert_allclose(form.shrinkage, values / (values + 2.0), atol=1e-5)
    vectors = np.asarray(form.vectors, float).reshape(-1, rank)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-5)
    np.testing.assert_allclose(x.T @ (x @ vectors), vectors * values, atol=1e-3 * values[0])
    np.testing.assert_allclose(low_rank.codes(form, ridge.place(blocks)), x @ vectors * form.shrinkage, atol=1e-4)


def test_all_of_them_are_the_inverse():
    blocks = [matrix.astype(np.float32) for matrix in toy.dataset(3).train.values()]
    graphs, exact = ridge.place(blocks), primal.invert(blocks, WEIGHTS, 0.4)
    form = low_rank.solve(graphs, WEIGHTS, float(exact.penalty), 23)
    penalty = np.asarray(exact.penalty)
    np.testing.assert_allclose(low_rank.gram(form), penalty * primal.gram(exact), atol=1e-4)
    flat = jnp.asarray(np.random.default_rng(0).normal(size=(2, 93)), jnp.float32)
    np.testing.assert_allclose(low_rank.multiply(form, flat), penalty * flat @ exact.inverse, atol=1e-3)
    users = jnp.array([4, 4, 0], jnp.int32)
    found = low_rank.rows(form, graphs, low_rank.codes(form, graphs), users, 5, 9, (2, 0))
    wanted = primal.rows(exact, graphs, users, 5, 9, (2, 0))
    np.testing.assert_allclose(found, penalty * wanted, atol=1e-4)
