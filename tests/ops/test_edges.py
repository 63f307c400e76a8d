"""Edges dropped at random: both directions together, as many as asked for, degrees of what is left."""

import jax
import numpy as np
import scipy.sparse

from mbjax import types
from mbjax.ops import edges, graph

PAIRS = scipy.sparse.csr_array((np.random.default_rng(0).random((30, 40)) < 0.5).astype(np.uint8))


def test_an_edge_goes_with_its_reverse(key):
    spec = types.GraphSpec(("buy",), "bipartite", "symmetric")
    whole = graph.from_train({"": spec}, {"buy": PAIRS})[""]
    dense = np.asarray(whole.matrix.todense())
    left = edges.drop(whole, key, 0.3)
    made = np.asarray(left.matrix.todense())
    np.testing.assert_array_equal(made, np.asarray(left.transpose.todense()).T)
    np.testing.assert_allclose(made, made.T, rtol=1e-6)
    kept = made != 0
    np.testing.assert_allclose(made[kept], dense[kept] / 0.7, rtol=1e-6)
    assert 0.62 < kept.sum() / (dense != 0).sum() < 0.78
    other = np.asarray(edges.drop(whole, jax.random.key(9), 0.3).matrix.todense()) != 0
    assert 0.4 < (kept & other).sum() / kept.sum() < 0.9  # 0.7 where the draws have nothing to do with one another
    again = np.asarray(edges.drop(whole, key, 0.3, renormalized=True).matrix.todense())
    degree = kept.sum(axis=1)
    np.testing.assert_allclose(again, kept / np.sqrt(np.maximum(np.outer(degree, degree), 1)), rtol=1e-5)
    assert edges.drop(whole, key, 0.0) is whole
