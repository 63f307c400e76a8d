"""Inner products of pairs: values and gradients of the dense product, and Pairs and Block in agreement."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbjax.ops import pairs

# Duplicates inside a row and between rows; item 5 is in none.
ITEMS = np.array([[0, 0, 3, 1, 0], [2, 2, 2, 2, 2], [4, 3, 2, 1, 0], [0, 4, 4, 0, 3]], np.int32)


def numbers(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


ROWS, TABLE, PROBE = numbers(4, 3), numbers(6, 3, seed=1), numbers(4, 5, seed=2)


def dense(rows, table):
    """Product with every item, then the places."""
    return jnp.take_along_axis(rows @ table.T, jnp.asarray(ITEMS), axis=1)


def test_products_by_hand():
    rows, table = jnp.array([[1.0, 2.0], [0.0, 3.0]]), jnp.array([[1.0, 0.0], [1.0, 1.0], [5.0, -1.0]])
    found = pairs.row_products(rows, table, jnp.array([[0, 2], [1, 1]]))
    np.testing.assert_array_equal(found, [[1.0, 3.0], [3.0, 3.0]])


def test_values_and_gradients_are_those_of_the_dense_product():
    def both(product):
        value, pull = jax.vjp(product, ROWS, TABLE)
        return value, pull(PROBE)

    found = jax.jit(lambda: both(lambda rows, table: pairs.row_products(rows, table, jnp.asarray(ITEMS))))()
    chex.assert_trees_all_close(found, both(dense), rtol=1e-5, atol=1e-6)
    assert not np.any(found[1][1][5])  # of the item that nobody drew


def test_numerical_gradients():
    product = jax.jit(lambda rows, table: pairs.row_products(rows, table, jnp.asarray(ITEMS)))
    chex.assert_numerical_grads(product, (ROWS, TABLE), order=1, modes=("rev",), atol=1e-2, rtol=1e-2)


def test_a_table_of_users_shared_by_several_rows():
    """The rows may be gathered from a table, with repetitions: their gradients add up."""
    users = jnp.array([1, 1, 0, 1])
    people = numbers(2, 3, seed=4)

    def total(product):
        return jax.grad(lambda people: jnp.sum(PROBE * product(people[users])))(people)

    ours = jax.jit(lambda: total(lambda rows: pairs.row_products(rows, TABLE, jnp.asarray(ITEMS))))()
    np.testing.assert_allclose(ours, total(lambda rows: dense(rows, TABLE)), rtol=1e-5, atol=1e-6)


def softened(user, item):
    """Something that is no inner product, of trees."""
    return jnp.sum(jnp.tanh(user["a"] + item["a"]) * item["b"], axis=-1) - user["c"][..., 0]


TREES = (
    {"a": numbers(4, 3), "c": numbers(4, 1, seed=7)},
    {"a": numbers(6, 3, seed=5), "b": numbers(6, 3, seed=6)},
)


def literal():
    user, item = jax.tree.map(np.asarray, TREES)
    scores = np.empty((4, 6))
    for u in range(4):
        for v in range(6):
            scores[u, v] = np.tanh(user["a"][u] + item["a"][v]) @ item["b"][v] - user["c"][u, 0]
    return scores


@pytest.mark.parametrize("tile", [1, 4, 6, 256])  # 4 does not divide 6 items
def test_pairs_and_block_agree(tile, monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK_TILE", tile)
    everything = pairs.Pairs(jnp.tile(jnp.arange(6), (4, 1)))
    for pairing in (pairs.Block(), everything):
        np.testing.assert_allclose(pairing.product(ROWS, TABLE), ROWS @ TABLE.T, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(pairing.apply(softened, *TREES), literal(), rtol=1e-5, atol=1e-6)
    some = pairs.Pairs(jnp.asarray(ITEMS)).apply(softened, *TREES)
    np.testing.assert_allclose(some, np.take_along_axis(literal(), ITEMS, axis=1), rtol=1e-5, atol=1e-6)


def test_a_block_holds_one_tile_of_pairs_at_a_time():
    items = jnp.zeros((10 * pairs.BLOCK_TILE + 3, 2))
    shapes = []

    def watched(user, item):
        shapes.append((user.shape, item.shape))
        return jnp.sum(user * item, axis=-1)

    scores = pairs.Block().apply(watched, jnp.ones((5, 2)), items)
    assert scores.shape == (5, 10 * pairs.BLOCK_TILE + 3)
    assert set(shapes) == {((5, 1, 2), (1, pairs.BLOCK_TILE, 2))}


def read_by_hand(user, item, weight, slope):
    scores = np.zeros((len(user), len(item)))
    for b, u in enumerate(np.asarray(user, np.float64)):
        for t, v in enumerate(np.asarray(item, np.float64)):
            scores[b, t] = sum(
                a * max(x, slope * x) for a, x in zip(np.asarray(weight, np.float64), u + v, strict=True)
            )
    return scores


@pytest.mark.parametrize("width", [1, pairs.LEAKY_TERMS, 2 * pairs.LEAKY_TERMS + 5])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_leaky_units_of_pairs_and_blocks(width, slope):
    user, item, weight = numbers(4, width), numbers(6, width, seed=1), numbers(width, seed=2)
    expected = read_by_hand(user, item, weight, slope)
    block = jax.jit(lambda: pairs.Block().leaky(user, item, weight, slope))()
    np.testing.assert_allclose(block, expected, rtol=1e-5, atol=1e-5)
    some = jax.jit(lambda: pairs.Pairs(jnp.asarray(ITEMS)).leaky(user, item, weight, slope))()
    np.testing.assert_allclose(some, np.take_along_axis(expected, ITEMS, axis=1), rtol=1e-5, atol=1e-5)
