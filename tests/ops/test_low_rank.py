"""Eigenvectors against numpy, and the inverse that is made of them."""

import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.ops import low_rank, primal, ridge

WEIGHTS = np.random.default_rng(3).uniform(0.2, 1.5, (3, 31)).astype(np.float32)


def blocks():
    return [matrix.astype(np.float32) for matrix in toy.dataset(3).train.values()]


@pytest.mark.parametrize(("rank", "columns"), [(4, 64), (7, 3)])
def test_it_is_the_inverse_of_the_largest_eigenvectors_and_the_rest_of_each_item(rank, columns, monkeypatch):
    monkeypatch.setattr(low_rank, "COLUMNS", columns)  # blocks that do not divide the vectors
    graphs, penalty = ridge.place(blocks()), 2.0
    form = low_rank.solve(graphs, low_rank.overlaps(blocks()), WEIGHTS, penalty, rank)
    x = ridge.weighted(blocks(), WEIGHTS).toarray().astype(float)
    values, vectors = np.linalg.eigh(x.T @ x)
    kept = (vectors[:, -rank:] * values[-rank:]) @ vectors[:, -rank:].T
    is_one_item = np.arange(93)[:, None] % 31 == np.arange(93) % 31
    inverse = np.linalg.inv(kept + is_one_item * (x.T @ x - kept) + penalty * np.eye(93))
    flat = np.random.default_rng(0).normal(size=(2, 93))
    np.testing.assert_allclose(low_rank.multiply(form, jnp.asarray(flat, jnp.float32)), flat @ inverse, atol=1e-4)
    own = np.arange(3) * 31
    for item in (0, 5, 30):
        np.testing.assert_allclose(low_rank.gram(form)[item], inverse[np.ix_(own + item, own + item)], atol=1e-5)
    users = jnp.array([4, 4, 0], jnp.int32)
    found = low_rank.rows(form, graphs, low_rank.codes(form, graphs), users, 5, 9, (2, 0))
    wanted = (x[[4, 4, 0]] @ inverse).reshape(3, 3, 31).transpose(1, 0, 2)[[2, 0], :, 5:14]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_all_eigenvectors_give_the_exact_inverse():
    exact = primal.invert(blocks(), WEIGHTS, 0.4)
    overlaps = low_rank.overlaps(blocks())
    form = low_rank.solve(ridge.place(blocks()), overlaps, WEIGHTS, float(exact.penalty), 23)
    np.testing.assert_allclose(low_rank.gram(form), primal.gram(exact), rtol=1e-3, atol=1e-4)
    flat = jnp.asarray(np.random.default_rng(0).normal(size=(2, 93)), jnp.float32)
    np.testing.assert_allclose(low_rank.multiply(form, flat), flat @ exact.inverse, rtol=1e-3, atol=1e-3)
