r"""MB-EASE of low rank: the primal form on the largest eigenvectors of X^T X, where no whole inverse fits.

With the r largest eigenvalues s_m^2 of X^T X and their eigenvectors V [C, r],

.. math:: \lambda' B \approx 1 - V D V^T, \qquad D = \mathrm{diag}\Big( \frac{s_m^2}{s_m^2 + \lambda'} \Big),

which is the exact inverse for the part of X that the eigenvectors hold. So the regressions are those of ``ops.primal``,
and as there the columns of S_j have weights of zero, exactly. Weights outside S_j are sums of products of two factors,
A A^T with A = V D^1/2, as in ELSA (Vancura et al., RecSys 2022), whose factors are found by gradient steps.

Eigenvectors come from block power steps on random vectors (Halko, Martinsson, Tropp, SIAM Review 2011), compiled once
for a block of ``COLUMNS`` vectors: nothing larger than [C, r] or [U, r] is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from mbjax import types
from mbjax.ops import graph, ridge

COLUMNS = 64  # dense columns of a sparse product
SPARE = 16  # vectors beside those wanted, which make the last of them exact
STEPS = 8


@struct.dataclass
class LowRank:
    """The part of X^T X that all regressions share.

    Attributes:
      vectors: V, float32 [K, I, r].
      shrinkage: D, float32 [r], descending.
      penalty: lambda', in absolute units, float32 scalar.
      weights: float32 [K, I], of the columns.
    """

    vectors: types.Array
    shrinkage: types.Array
    penalty: types.Array
    weights: types.Array


def bytes_needed(num_users: int, num_columns: int, rank: int) -> int:
    """Memory at the peak: vectors, what a step makes of them, its factorization, and the users' codes."""
    return 4 * (rank + SPARE) * (3 * num_columns + num_users)


def solve(
    graphs: Sequence[types.Graph], weights: np.ndarray, penalty: float, rank: int, *, seed: int = 0, steps: int = STEPS
) -> LowRank:
    """Finds the largest eigenvectors.

    Args:
      graphs: X_a, as ``ridge.place`` puts them on the device; passive users may come last, who are not read.
      weights: of the columns, [K, I].
      penalty: lambda', in absolute units.
      rank: r; at most the smaller side of X.
      seed: of the random vectors.
      steps: power steps.
    """
    weights = jnp.asarray(weights, jnp.float32)
    num_columns, num_users = weights.size, graphs[0].matrix.shape[0]
    width = min(rank + SPARE, num_columns, num_users)
    vectors = jax.random.normal(jax.random.key(seed), (num_columns, width), jnp.float32)
    vectors = _orthogonal(vectors)
    for _ in range(steps):
        vectors = _orthogonal(_over_columns(lambda block: _twice(graphs, weights, block), vectors))
    squares = _matmul(vectors.T, _over_columns(lambda block: _twice(graphs, weights, block), vectors))
    values, rotation = jnp.linalg.eigh((squares + squares.T) / 2)
    best = jnp.argsort(-values)[:rank]
    values = jnp.maximum(values[best], 0)
    found = _matmul(vectors, rotation[:, best]).reshape(*weights.shape, -1)
    return LowRank(found, values / (values + penalty), jnp.float32(penalty), weights)


def codes(form: LowRank, graphs: Sequence[types.Graph]) -> types.Array:
    """(w x) V D of all users, passive ones too, float32 [U, r]."""
    vectors = (form.vectors * form.shrinkage).reshape(form.weights.size, -1)
    return _over_columns(lambda block: _forward(graphs, form.weights, block), vectors)


def gram(form: LowRank) -> np.ndarray:
    """lambda' B_SS of all of an item's columns, float32 [I, K, K]."""
    left, right = form.vectors * form.shrinkage, form.vectors
    products = jnp.einsum("air,bir->iab", left, right, precision=lax.Precision.HIGHEST)
    return np.asarray(jnp.eye(form.weights.shape[0]) - products)


def rows(
    form: LowRank,
    graphs: Sequence[types.Graph],
    codes: types.Array,
    users: types.Array,
    start: types.Array | int,
    size: int,
    chosen: Sequence[int],
) -> types.Array:
    """lambda' V of ``primal.rows``, float32 [chosen, B, size].

    Args:
      form: the vectors.
      graphs: the blocks, as in ``solve``.
      codes: of all users, from ``codes``.
      users: int32 [B].
      start: first item, may be traced.
      size: number of items.
      chosen: behaviors whose columns are wanted.
    """
    entries = ridge.entries([graphs[a] for a in chosen], users, start, size)
    out = []
    for place, a in enumerate(chosen):
        tile = lax.dynamic_slice_in_dim(form.vectors[a], start, size)
        weight = lax.dynamic_slice_in_dim(form.weights[a], start, size)
        out.append(entries[place] * weight - _matmul(codes[users], tile.T))
    return jnp.stack(out)


def multiply(form: LowRank, flat: types.Array) -> types.Array:
    """lambda' times flat B, [n, C], for a few rows."""
    vectors = form.vectors.reshape(form.weights.size, -1)
    return flat - _matmul(_matmul(flat, vectors) * form.shrinkage, vectors.T)


def _matmul(first: types.Array, second: types.Array) -> types.Array:
    return jnp.matmul(first, second, precision=lax.Precision.HIGHEST)


def _over_columns(function, matrix: types.Array) -> types.Array:
    """Applies a compiled function to blocks of columns, all of one width."""
    done = []
    for first in range(0, matrix.shape[1], COLUMNS):
        block = matrix[:, first : first + COLUMNS]
        missing = min(COLUMNS, matrix.shape[1]) - block.shape[1]
        done.append(function(jnp.pad(block, ((0, 0), (0, missing))))[:, : block.shape[1]])
    return jnp.concatenate(done, axis=1)


@jax.jit
def _forward(graphs: Sequence[types.Graph], weights: types.Array, block: types.Array) -> types.Array:
    """X Q, [U, n]."""
    parts = block.reshape(*weights.shape, -1) * weights[:, :, None]
    return sum(graph.spmm(g, part) for g, part in zip(graphs, parts, strict=True))


@jax.jit
def _twice(graphs: Sequence[types.Graph], weights: types.Array, block: types.Array) -> types.Array:
    """X^T X Q, [C, n]."""
    middle = _forward(graphs, weights, block)
    back = [graph.spmm(graph.transposed(g), middle) for g in graphs]
    return jnp.concatenate([part * weight[:, None] for part, weight in zip(back, weights, strict=True)])


@jax.jit
def _orthogonal(matrix: types.Array) -> types.Array:
    return jnp.linalg.qr(matrix)[0]
