"""Penalized inverses in tiles: against numpy, mended where they are bad, refused where they are none."""

import numpy as np
import pytest
import scipy.sparse

from mbjax import errors
from mbjax.ops import inverse

WAYS = pytest.mark.parametrize("way", [inverse._on_host, inverse._on_device])


def sparse_matrix(rows: int = 50) -> scipy.sparse.csr_array:
    matrix = scipy.sparse.random_array((rows, 80), density=0.1, rng=np.random.default_rng(0), format="csr")
    return scipy.sparse.csr_array(matrix.astype(np.float32))


def kernel(matrix: scipy.sparse.csr_array, penalty: float) -> np.ndarray:
    return (matrix @ matrix.T).toarray().astype(np.float64) + penalty * np.eye(matrix.shape[0])


@WAYS
def test_it_is_numpys(way, monkeypatch):
    monkeypatch.setattr(inverse, "TILE", 16)  # the last tile has 2 rows
    found = way(sparse_matrix(), 0.5)
    np.testing.assert_allclose(found, np.linalg.inv(kernel(sparse_matrix(), 0.5)), atol=1e-5)
    assert found.dtype == np.float32 and inverse.bytes_needed(50, "cpu") >= found.nbytes


@WAYS
def test_refinement_mends_a_bad_inverse(way, monkeypatch):
    monkeypatch.setattr(inverse, "TILE", 16)
    noise = 1e-3 * np.random.default_rng(1).normal(size=(50, 50)).astype(np.float32)
    noise += noise.T
    spotri, solve = inverse.scipy.linalg.lapack.spotri, inverse._put_solution

    def wrong(kernel, **options):
        found, failed = spotri(kernel, **options)
        found += noise
        return found, failed

    def put_wrong(target, factor, first, number):
        return solve(target, factor, first, number).at[first : first + number].add(noise[first : first + number])

    monkeypatch.setattr(inverse.scipy.linalg.lapack, "spotri", wrong)
    monkeypatch.setattr(inverse, "_put_solution", put_wrong)
    found = np.asarray(way(sparse_matrix(), 2.0))
    exact = np.linalg.inv(kernel(sparse_matrix(), 2.0))
    # What is overwritten tile by tile is at least as good as one step on the whole, which squares the error.
    assert np.abs(found - exact).max() < 0.2 * np.abs(noise).max()
    np.testing.assert_allclose(found, found.T, atol=1e-3)


@WAYS
def test_what_float32_cannot_solve_is_refused(way, monkeypatch):
    with pytest.raises(errors.ConfigError, match="penalty of 1e-09 .*cannot be solved in float32.*larger penalty"):
        way(scipy.sparse.csr_array(np.ones((30, 40), np.float32)), 1e-9)
    monkeypatch.setattr(inverse, "TOLERANCE", 0.0)
    monkeypatch.setattr(inverse, "LIMIT", 0.0)
    with pytest.raises(errors.ConfigError, match="penalty of 0.5 .* a residual of .* where 0 is allowed"):
        way(sparse_matrix(), 0.5)
