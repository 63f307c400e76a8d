"""The squared error over all pairs is the literal sum over all pairs, and so are its gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.ops import ragged, whole_data

ROWS = [[0, 3, 4], [], [2], [4, 1]]  # the last two rows below are padding: no vector and no items


def literal(user, item, labels, missing):
    scores = user @ item.T
    return jnp.sum(jnp.where(labels > 0, 1.0, missing) * jnp.square(labels - scores))


@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0, 2.5])
def test_it_is_the_literal_sum_over_all_pairs(missing):
    rng = np.random.default_rng(0)
    user, item = rng.normal(size=(6, 3)), rng.normal(size=(5, 3))
    user[4:] = 0
    history = toy.ragged([*ROWS, [], []], 5, capacity=40)
    labels = toy.dense(history, 5)
    arrays = jnp.asarray(user, jnp.float32), jnp.asarray(item, jnp.float32)
    made = jax.value_and_grad(whole_data.squared_error, argnums=(0, 1))(*arrays, history, missing)
    # The gradient of a padded row is of no interest: it stands for nobody.
    value, (by_user, by_item) = jax.value_and_grad(literal, argnums=(0, 1))(*arrays, labels, missing)
    np.testing.assert_allclose(made[0], value, rtol=1e-5)
    np.testing.assert_allclose(made[1][0][:4], by_user[:4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made[1][1], by_item, rtol=1e-4, atol=1e-5)


def test_by_hand():
    # One user, two items, the first met: scores 3 and 2. (1 - 3)^2 + c (0 - 2)^2.
    user, item = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 2.0], [2.0, 0.0]])
    made = whole_data.squared_error(user, item, toy.ragged([[0]], 2), 0.25)
    np.testing.assert_allclose(made, 4 + 0.25 * 4, rtol=1e-6)


def test_products_of_more_entries_than_a_block_holds(monkeypatch):
    monkeypatch.setattr(ragged, "BLOCK", 2)
    rng = np.random.default_rng(1)
    user, item = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, 3), (5, 3)))
    history = toy.ragged(ROWS, 5, capacity=9)
    made, pull = jax.vjp(lambda *x: ragged.products(*x, history), user, item)
    rows, items = [0, 0, 0, 2, 3, 3], [0, 3, 4, 2, 4, 1]
    expected = np.append(np.sum(np.asarray(user)[rows] * np.asarray(item)[items], axis=1), np.zeros(3))
    np.testing.assert_allclose(made, expected, rtol=1e-5)
    weight = np.arange(1.0, 10.0, dtype=np.float32)  # the last three fall on padding, and move nothing
    by_user, by_item = pull(jnp.asarray(weight))
    for got, index, other, wanted in ((by_user, rows, item, items), (by_item, items, user, rows)):
        summed = np.zeros_like(got)
        np.add.at(summed, index, weight[:6, None] * np.asarray(other)[wanted])
        np.testing.assert_allclose(got, summed, rtol=1e-5)
