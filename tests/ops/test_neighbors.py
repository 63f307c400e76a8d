"""Neighbors between two matrices, and their sums over histories: by hand, and against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from mbjax import errors
from mbjax.ops import neighbors, platforms


def csr(dense):
    return scipy.sparse.csr_array(np.asarray(dense, np.float32))


def test_nearest_by_hand():
    """Columns of the first matrix ask, columns of the second answer; nobody answers for himself."""
    ranked = csr([[1, 1, 0], [1, 0, 0], [0, 0, 1]])
    speaking = csr([[1, 0, 1], [1, 1, 0], [0, 0, 0]])
    item, similarity = neighbors.nearest(ranked, speaking, 2, 1.0)
    # 0 (users 0, 1): 1 shares user 1, 2 shares user 0, of sqrt(2 * 1) each: the smaller id first.
    # 1 (user 0): 0 shares user 0, of sqrt(1 * 2); 2 shares user 0, of sqrt(1 * 1). 2 (user 2): none.
    np.testing.assert_array_equal(item[:2], [[1, 2], [2, 0]])
    one, two = 1 / 2, 1 / (2**0.5 + 1)
    np.testing.assert_allclose(similarity, [[two, two], [one, two], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize(("most", "shrinkage"), [(1, 0.0), (4, 2.5), (50, 10.0)])
@pytest.mark.parametrize("tile", [1, 150, neighbors.TILE])
def test_nearest_is_the_best_of_the_dense_matrix(most, shrinkage, tile, monkeypatch):
    """Ties included, of which there are many; tiles of an item, of several, and of all."""
    monkeypatch.setattr(neighbors, "TILE", tile)
    rng = np.random.default_rng(0)
    ranked, speaking = rng.random((2, 30, 40)) < 0.15
    ranked[:, 3] = speaking[:, 7] = False
    bottom = np.sqrt(np.outer(ranked.sum(axis=0), speaking.sum(axis=0)).astype(np.float64)) + shrinkage
    dense = (ranked.T.astype(float) @ speaking) / np.maximum(bottom, 1)
    np.fill_diagonal(dense, 0)
    order = np.lexsort((np.broadcast_to(np.arange(40), dense.shape), -dense.round(6)))[:, :most]
    item, similarity = neighbors.nearest(csr(ranked), csr(speaking), most, shrinkage)
    best = np.take_along_axis(dense, order, axis=1)
    np.testing.assert_allclose(similarity, best, rtol=1e-6)
    np.testing.assert_array_equal(item, np.where(best > 0, order, 0))


def on_accelerators(monkeypatch):
    """What runs elsewhere runs on this CPU."""
    monkeypatch.setattr(platforms, "choose", lambda *given, cpu, default: default(*given))


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize(("lanes", "turns"), [(1, 1), (3, 7), (16, 1024)])
def test_scores_are_a_product_of_sparse_matrices(lanes, turns, elsewhere, monkeypatch):
    monkeypatch.setattr(neighbors, "LANES", lanes)
    monkeypatch.setattr(neighbors, "TURNS", turns)
    monkeypatch.setattr(neighbors, "WIDE", turns)
    if elsewhere:
        on_accelerators(monkeypatch)
    rng = np.random.default_rng(2)
    met = rng.random((12, 40)) < 0.2
    met[3] = False  # a user without a history
    met[:, 7] = False
    met[5] = True  # one who met everything
    item = np.stack([rng.permutation(40)[:5] for _ in range(40)]).astype(np.int32)
    item[:, 0] = 1  # one that is a neighbor of all
    similarity = rng.integers(0, 4, (40, 5)).astype(np.float32)  # whole numbers: sums are exact in any order
    similarity[:, 0] = 1
    near = np.zeros((40, 40), np.float32)
    np.add.at(near, (np.arange(40)[:, None], item), similarity)
    matrix = csr(met)
    history = jnp.asarray(matrix.indptr), jnp.asarray(matrix.indices)
    table = neighbors.spread(neighbors.told((item, similarity), matrix), history)
    score = jax.jit(neighbors.scores, static_argnums=3)
    for start, size, users in ((0, 40, [5, 3, 0, 5, 11]), (13, 20, [5, 5, 5, 5])):  # him who has most, again and again
        found = score(table, jnp.array(users), start, size)
        np.testing.assert_array_equal(found, (met @ near.T)[np.asarray(users), start : start + size])


def test_most_that_so_many_users_have_to_say():
    """By hand, in turns of 16: item 0 speaks for 1 item, item 1 for 40 in three turns, item 2 for nobody."""
    near = np.array([[1, 0]] * 1 + [[1, 1]] * 39), np.array([[1, 1]] * 1 + [[1, 0]] * 39, np.float32)
    met = np.zeros((5, 40))
    met[[0, 0, 1, 2, 2, 3], [0, 1, 1, 0, 2, 0]] = 1  # 4, 3, 1, 1 and 0 turns
    assert neighbors.told(near, csr(met)).most == (4, 7, 9, 9)


def test_of_nobody_nothing_is_said():
    empty = csr(np.zeros((2, 3)))
    near = neighbors.nearest(empty, empty, 2, 0.0)
    assert not near[1].any()
    table = neighbors.spread(neighbors.told(near, empty), (jnp.asarray(empty.indptr), jnp.asarray(empty.indices)))
    np.testing.assert_array_equal(neighbors.scores(table, jnp.array([0, 1]), 0, 3), np.zeros((2, 3)))


def test_histories_of_whom_nobody_is_near():
    """Items that are met and share nobody."""
    alone = csr(np.eye(3))
    table = neighbors.told(neighbors.nearest(alone, alone, 2, 0.0), alone)
    table = neighbors.spread(table, (jnp.asarray(alone.indptr), jnp.asarray(alone.indices)))
    np.testing.assert_array_equal(neighbors.scores(table, jnp.array([0, 1]), 0, 3), np.zeros((2, 3)))


def test_histories_that_have_more_to_say_than_can_be_counted_are_refused(monkeypatch):
    near = np.ones((40, 1), np.int64), np.ones((40, 1), np.float32)  # item 1 speaks for all 40, in three turns of 16
    met = csr(np.arange(40) < np.array([1, 2, 2, 2, 2, 2, 1, 1, 1, 0])[:, None])  # 9 users met item 0, 5 item 1
    monkeypatch.setattr(neighbors, "MOST_TURNS", 15)
    neighbors.told(near, met)
    monkeypatch.setattr(neighbors, "MOST_TURNS", 14)
    with pytest.raises(errors.IncompatibleError, match="15 times 16, and 14 are the most.*model.neighbors"):
        neighbors.told(near, met)
