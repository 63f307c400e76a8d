"""The inverse of A A^T + penalty 1 for a sparse A: one dense matrix of memory on CPU, two on an accelerator.

Cholesky and inversion in float32, then a look at a few columns: what a factorization lost shows as |K P e - e|. Where
that is too large, one Newton-Schulz step over column tiles, P <- P + P (1 - K P), whose residuals are sparse products
in float64, mends it. P need not be exact in such a step, so that it may be overwritten tile by tile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse
from jax import lax

from mbjax import errors, types
from mbjax.ops import memory

TILE = 512  # rows of the dense matrix handled at once
TOLERANCE = 1e-4
"""Largest |K P e - e| that needs no refinement; float32 leaves about 1e-7 times the condition of K."""
LIMIT = 1e-2
"""Largest that may be left after it."""


def bytes_needed(size: int, platform: str) -> int:
    """Memory that ``penalized`` takes at its peak on a platform, for a matrix [size, size]."""
    return (1 if platform == "cpu" else 2) * 4 * size**2 + 16 * size * TILE


def penalized(matrix: scipy.sparse.csr_array, penalty: float) -> types.Array:
    """(A A^T + penalty 1)^-1, float32 [R, R], on the default device.

    Args:
      matrix: A, CSR [R, C].
      penalty: > 0, what is added to the diagonal.

    Raises:
      ConfigError: the penalty is too small for float32.
    """
    matrix = scipy.sparse.csr_array(matrix).astype(np.float32)
    return (_on_host if jax.default_backend() == "cpu" else _on_device)(matrix, penalty)


def _tiles(size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, size, TILE):
        yield first, min(first + TILE, size)


def _row_tile(matrix: scipy.sparse.csr_array, transpose: scipy.sparse.csr_array, penalty: float, first: int, end: int):
    """Rows of A A^T + penalty 1, dense float32 [end - first, R]."""
    tile = (matrix[first:end] @ transpose).toarray()
    tile[np.arange(end - first), np.arange(first, end)] += penalty
    return tile


def _on_host(matrix: scipy.sparse.csr_array, penalty: float) -> types.Array:
    """In the place of the matrix itself, by LAPACK, whose result jax then takes as it lies there."""
    size = matrix.shape[0]
    kernel = memory.aligned((size, size), np.float32).T
    transpose = scipy.sparse.csr_array(matrix.T)
    for first, end in _tiles(size):
        kernel[:, first:end] = _row_tile(matrix, transpose, penalty, first, end).T
    for function, clean in ((scipy.linalg.lapack.spotrf, {"clean": 0}), (scipy.linalg.lapack.spotri, {})):
        name = "overwrite_a" if clean else "overwrite_c"
        kernel, failed = function(kernel, lower=1, **clean, **{name: 1})
        if failed:
            raise _too_small(penalty, "a factorization that fails")
    for first, end in _tiles(size):  # the upper triangle from the lower one
        kernel[first:end, end:] = kernel[end:, first:end].T
        block = np.tril(kernel[first:end, first:end])
        kernel[first:end, first:end] = block + np.tril(block, -1).T

    def add(first: int, end: int, residual: np.ndarray) -> None:
        kernel[:, first:end] += kernel @ residual

    def refine() -> None:
        _refine(matrix, penalty, lambda first, end: kernel[:, first:end], add)
        for first, end in _tiles(size):
            for left, right in _tiles(end):
                mean = (kernel[first:end, left:right] + kernel[left:right, first:end].T) / 2
                kernel[first:end, left:right], kernel[left:right, first:end] = mean, mean.T

    _check(matrix, penalty, lambda column: kernel[:, column], refine)
    return jax.device_put(kernel.T)  # symmetric; row by row, as jax has it


def _on_device(matrix: scipy.sparse.csr_array, penalty: float) -> types.Array:
    """By Cholesky and triangular solves on the default device; the host holds no more than a tile."""
    size = matrix.shape[0]
    transpose = scipy.sparse.csr_array(matrix.T)
    kernel = jnp.zeros((size, size), jnp.float32)
    for first, end in _tiles(size):
        kernel = _put(kernel, _row_tile(matrix, transpose, penalty, first, end), first)
    factor = _cholesky(kernel)
    del kernel
    inverse = jnp.zeros((size, size), jnp.float32)
    for first, end in _tiles(size):
        inverse = _put_solution(inverse, factor, first, end - first)
    del factor
    held = [inverse]
    del inverse

    def add(first: int, end: int, residual: np.ndarray) -> None:
        held[0] = _add_correction(held[0], residual, first)

    _check(
        matrix,
        penalty,
        lambda column: np.asarray(held[0][column]).T,
        lambda: _refine(matrix, penalty, lambda first, end: np.asarray(held[0][first:end]).T, add),
    )
    return held[0]


@functools.partial(jax.jit, donate_argnums=0)
def _put(target: types.Array, tile: types.Array, first: types.Array) -> types.Array:
    return lax.dynamic_update_slice(target, tile, (first, 0))


@functools.partial(jax.jit, donate_argnums=0)
def _cholesky(kernel: types.Array) -> types.Array:
    return lax.linalg.cholesky(kernel, symmetrize_input=False)


@functools.partial(jax.jit, donate_argnums=0, static_argnums=3)
def _put_solution(target: types.Array, factor: types.Array, first: types.Array, number: int) -> types.Array:
    """Columns first .. first + number - 1 of the inverse, entered as its rows."""
    unit = jnp.arange(target.shape[0])[:, None] == first + jnp.arange(number)[None, :]
    half = lax.linalg.triangular_solve(factor, unit.astype(jnp.float32), left_side=True, lower=True)
    whole = lax.linalg.triangular_solve(factor, half, left_side=True, lower=True, transpose_a=True)
    return lax.dynamic_update_slice(target, whole.T, (first, 0))


@functools.partial(jax.jit, donate_argnums=0)
def _add_correction(target: types.Array, residual: types.Array, first: types.Array) -> types.Array:
    """Adds P R, [R, T], to the columns from ``first`` on, as rows of the symmetric inverse."""
    correction = jnp.matmul(target, residual, precision=lax.Precision.HIGHEST).T
    rows = lax.dynamic_slice_in_dim(target, first, correction.shape[0])
    return lax.dynamic_update_slice(target, rows + correction, (first, 0))


def _residual(matrix: scipy.sparse.csr_array, penalty: float, solution: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """e - K P e of some columns, float64 [R, T]."""
    solution = solution.astype(np.float64)
    out = -(matrix @ (matrix.T @ solution)) - penalty * solution
    out[columns, np.arange(len(columns))] += 1
    return out


def _refine(
    matrix: scipy.sparse.csr_array,
    penalty: float,
    columns_of: Callable[[int, int], np.ndarray],
    add: Callable[[int, int, np.ndarray], None],
) -> None:
    """One Newton-Schulz step, tile by tile."""
    for first, end in _tiles(matrix.shape[0]):
        residual = _residual(matrix, penalty, columns_of(first, end), np.arange(first, end))
        add(first, end, residual.astype(np.float32))


def _check(
    matrix: scipy.sparse.csr_array,
    penalty: float,
    columns_of: Callable[[np.ndarray], np.ndarray],
    refine: Callable[[], None],
) -> None:
    """Looks at a few columns, refines where they are not good enough, and raises where that does not help."""
    size = matrix.shape[0]
    columns = np.random.default_rng(0).choice(size, min(8, size), replace=False)

    def worst() -> float:
        return float(np.abs(_residual(matrix, penalty, columns_of(columns), columns)).max())

    found = worst()
    if found <= TOLERANCE:
        return
    # A residual near 1 says that the inverse is none: a step that squares it would not help.
    if found < 0.5:
        refine()
        found = worst()
    if not found <= LIMIT:
        raise _too_small(penalty, f"a residual of {found:.1g} where {LIMIT:g} is allowed")


def _too_small(penalty: float, what: str) -> errors.ConfigError:
    return errors.ConfigError(
        f"the ridge regression with a penalty of {penalty:.3g} (in absolute units) cannot be solved in float32: "
        f"{what}. Use a larger penalty."
    )
