"""What accelerators run in place of a CPU's loops, run here: the same values; and the searches of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy

from mbjax.ops import noise, partition, platforms, ragged, rows, sampling, triples

ROWS = [[0, 2], [], [1], [0, 1, 2, 3], []]


@pytest.fixture
def elsewhere(monkeypatch):
    """Calls a function twice: as on this CPU, and with what other platforms would take; compiled anew each time."""

    def both(function, *args):
        here = jax.jit(lambda *given: function(*given))(*args)
        with monkeypatch.context() as patch:
            patch.setattr(platforms, "choose", lambda *, cpu, default: default())
            return here, jax.jit(lambda *given: function(*given))(*args)

    return both


@pytest.mark.parametrize("wide", [2, 3, 2**16])
def test_sums_over_histories_and_their_gradients(wide, elsewhere, monkeypatch):
    monkeypatch.setattr(ragged, "WIDE", wide)
    history = toy.ragged(ROWS, 4, capacity=11)
    rng = np.random.default_rng(0)
    table, weight = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((4, 3), (11, 2)))
    probe = jnp.asarray(rng.normal(size=(5, 2, 3)), jnp.float32)

    def run(table):
        return jax.value_and_grad(lambda table: jnp.sum(probe * ragged.embed(table, history, weight)))(table)

    for here, there in zip(*elsewhere(run, table), strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-6)


def test_masks_of_entries(elsewhere):
    history = toy.ragged(ROWS, 4, capacity=11)
    words = jax.random.key_data(jax.random.split(jax.random.key(1), 5))
    here, there = elsewhere(lambda: noise.entry_dropout(words, history, 0, 2, 0.5))
    np.testing.assert_array_equal(there[:7], here[:7])
    assert there.shape == here.shape and there.dtype == here.dtype


@pytest.mark.parametrize("cells", [7, 2 * 7, 2**20])  # one row in a tile, two, all
def test_log_partitions_and_their_gradients(cells, elsewhere, monkeypatch):
    monkeypatch.setattr(partition, "CELLS", cells)
    rng = np.random.default_rng(2)
    latent, kernel, bias = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((5, 3), (7, 3), (7,)))
    weight = jnp.asarray([0.0, 1.0, 0.0, 2.5, 0.5])
    here, there = elsewhere(lambda: partition.weighted_log_partition(latent, kernel, bias, weight))
    np.testing.assert_allclose(there, here, rtol=1e-6)
    gradient = jax.value_and_grad(partition.weighted_log_partition, argnums=(0, 1, 2))
    here, there = elsewhere(lambda: gradient(latent, kernel, bias, weight))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=2e-6, atol=1e-6), here, there)
    assert not there[1][0][0].any()


@pytest.mark.parametrize("most", [0, 2**21])
def test_rows_as_tiles(most, elsewhere, monkeypatch):
    monkeypatch.setattr(rows, "AT_ONCE", most)
    matrix = scipy.sparse.random_array((13, 29), density=0.3, rng=np.random.default_rng(3), format="csr")
    users = np.r_[np.full(20, 12), 4, 0, 12, 7, 4]  # more pairs than the matrix has, were they counted each time
    arrays = jnp.asarray(matrix.indptr), jnp.asarray(matrix.indices), jnp.asarray(users), 5, 11
    here, there = elsewhere(lambda: rows.met(*arrays, jnp.asarray(matrix.data, jnp.float32)))
    np.testing.assert_array_equal(there, here)
    np.testing.assert_allclose(there, matrix.toarray()[users, 5:16], rtol=1e-6)


def test_searches(elsewhere):
    ends = jnp.array([2, 2, 3, 7], jnp.int32)
    for found in elsewhere(platforms.search, ends, jnp.arange(9, dtype=jnp.int32)):
        np.testing.assert_array_equal(found, [0, 0, 2, 3, 3, 3, 3, 4, 4])
        assert found.dtype == jnp.int32
    for found in elsewhere(lambda: platforms.fori(3, lambda turn, total: total + turn, jnp.int32(4))):
        assert found == 7
    ptr, item = jnp.array([0, 2, 2, 5]), jnp.array([1, 3, 0, 2, 3])
    here, there = elsewhere(lambda: sampling.gather_rows(ptr, item, jnp.array([2, -1, 0, 1]), 8, 4))
    jax.tree.map(np.testing.assert_array_equal, here, there)
    # Not in row 2 of items 0, 2, 3: item 1 alone; not in row 0: items 0 and 2.
    asked = jnp.array([2, 0, 0]), jnp.array([3, 2, 2]), jnp.array([0, 0, 1])
    for found in elsewhere(lambda: triples.not_among(item, *asked, 3)):
        np.testing.assert_array_equal(found, [1, 0, 2])
