"""Sparse products against scipy, and normalisations by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy

from mbjax import types
from mbjax.ops import graph


@pytest.mark.parametrize("density", [0.0, 0.1, 0.6])
def test_product_and_gradient_are_scipys(density):
    rng = np.random.default_rng(1)
    matrix = scipy.sparse.random_array((7, 9), density=density, rng=rng, format="csr", dtype=np.float32)
    dense = jnp.asarray(rng.normal(size=(9, 3)), jnp.float32)
    probe = jnp.asarray(rng.normal(size=(7, 3)), jnp.float32)
    device = graph.build(matrix)
    np.testing.assert_allclose(graph.spmm(device, dense), matrix @ np.asarray(dense), atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(probe * graph.spmm(device, x)))(dense)
    np.testing.assert_allclose(gradient, matrix.T @ np.asarray(probe), atol=1e-5)


def test_numerical_gradients():
    device = graph.build(scipy.sparse.csr_array(np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]], np.float32)))
    chex.assert_numerical_grads(lambda x: graph.spmm(device, x), (jnp.ones((2, 2)),), order=1, modes=("rev",))


def test_normalisations_by_hand():
    matrix = scipy.sparse.csr_array(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32))
    half, root = 0.5, 2**-0.5
    expected = {
        "none": [[1, 1, 0], [1, 0, 0], [0, 0, 0]],
        "l2_row": [[root, root, 0], [1, 0, 0], [0, 0, 0]],
        "left": [[half, half, 0], [1, 0, 0], [0, 0, 0]],
        "right": [[half, 1, 0], [half, 0, 0], [0, 0, 0]],
        "symmetric": [[half, root, 0], [root, 0, 0], [0, 0, 0]],
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(graph.normalise(matrix, kind).toarray(), values, rtol=1e-6, err_msg=kind)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown normalisation 'l1'"):
        graph.normalise(scipy.sparse.csr_array(np.eye(2)), "l1")
    with pytest.raises(ValueError, match="unknown graph shape 'cube'"):
        graph.assemble(types.GraphSpec(("buy",), shape="cube"), toy.dataset().train)


def test_bipartite_puts_users_first_and_unites_behaviors():
    source = toy.dataset()
    spec = types.GraphSpec(("cart", "buy"), shape="bipartite")
    matrix = graph.assemble(spec, source.train).toarray()
    union = (source.train["cart"] + source.train["buy"]).toarray() > 0
    assert matrix.shape == (54, 54)
    np.testing.assert_array_equal(matrix[:23, 23:], union)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not matrix[:23, :23].any()
