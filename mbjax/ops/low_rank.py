r"""MB-EASE of low rank: the primal form on the largest eigenvectors of X^T X, where no whole inverse fits.

With the r largest eigenvalues s_m^2 of X^T X, their eigenvectors V [C, r], and R, what they leave of the entries of
X^T X that belong to one item (a block [K, K] for each: how often its views, carts and purchases go together),

.. math:: B \approx (V S^2 V^T + T)^{-1} = T^{-1} - A A^T, \qquad T = R + \lambda' 1, \quad
          A = T^{-1} V S C^{-T}, \quad C C^T = 1 + S V^T T^{-1} V S.

All that is left out are products of different items in the smaller eigenvectors. The regressions are those of
``ops.primal``, and as there the columns of S_j have weights of zero, exactly. Weights of other items are A A^T times a
number for each behavior, as in ELSA (Vancura et al., RecSys 2022), whose factors are found by gradient steps.

Eigenvectors come from block power steps on random vectors (Halko, Martinsson, Tropp, SIAM Review 2011), compiled once
for a block of ``COLUMNS`` vectors: nothing larger than [C, r] or [U, r] is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
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
      factors: A, float32 [K, I, r].
      within: T^-1, float32 [I, K, K].
      weights: float32 [K, I], of the columns.
    """

    factors: types.Array
    within: types.Array
    weights: types.Array


def bytes_needed(num_users: int, num_columns: int, rank: int) -> int:
    """Memory at the peak: vectors, what a step makes of them, its factorization, and the users' codes."""
    return 4 * (rank + SPARE) * (3 * num_columns + num_users)


def solve(
    graphs: Sequence[types.Graph],
    overlaps: np.ndarray,
    weights: np.ndarray,
    penalty: float,
    rank: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
) -> LowRank:
    """Finds the largest eigenvectors, and what they leave inside items.

    Args:
      graphs: X_a, as ``ridge.place`` puts them on the device; passive users may come last, who are not read.
      overlaps: of the same blocks.
      weights: of the columns, [K, I].
      penalty: lambda', in absolute units.
      rank: r; at most the smaller side of X.
      seed: of the random vectors.
      steps: power steps.
    """
    weights = jnp.asarray(weights, jnp.float32)
    num_columns, num_users = weights.size, graphs[0].matrix.shape[0]
    width = min(rank + SPARE, num_columns, num_users)
    vectors = _orthogonal(jax.random.normal(jax.random.key(seed), (num_columns, width), jnp.float32))
    for _ in range(steps):
        vectors = _orthogonal(_over_columns(lambda block: _twice(graphs, weights, block), vectors))
    squares = _matmul(vectors.T, _over_columns(lambda block: _twice(graphs, weights, block), vectors))
    values, rotation = jnp.linalg.eigh((squares + squares.T) / 2)
    best = jnp.argsort(-values)[:rank]
    scaled = _matmul(vectors, rotation[:, best] * jnp.sqrt(jnp.maximum(values[best], 0)))  # V S
    return _factors(scaled.reshape(*weights.shape, -1), jnp.asarray(overlaps, jnp.float32), weights, penalty)


@jax.jit
def _factors(scaled: types.Array, overlaps: types.Array, weights: types.Array, penalty: types.Array) -> LowRank:
    """A and T^-1 from V S [K, I, r]."""
    weighted = overlaps * weights.T[:, :, None] * weights.T[:, None, :]
    left = weighted - jnp.einsum("air,bir->iab", scaled, scaled, precision=lax.Precision.HIGHEST)
    values, vectors = jnp.linalg.eigh(left)  # of R, none below 0 but by rounding
    within = (vectors / (jnp.maximum(values, 0) + penalty)[:, None, :]) @ vectors.transpose(0, 2, 1)
    inner = jnp.einsum("iab,bir->air", within, scaled, precision=lax.Precision.HIGHEST)  # T^-1 V S
    flat, of_scaled = (x.reshape(-1, x.shape[-1]) for x in (inner, scaled))
    root = jnp.linalg.cholesky(jnp.eye(flat.shape[1]) + _matmul(of_scaled.T, flat))
    factors = lax.linalg.triangular_solve(root, flat, left_side=False, lower=True, transpose_a=True)
    return LowRank(factors.reshape(inner.shape), within, weights)


def overlaps(blocks: Sequence[scipy.sparse.csr_array]) -> np.ndarray:
    """Products of the columns of one item, float32 [I, K, K]: X_a[:, j]^T X_b[:, j]."""
    out = np.zeros((blocks[0].shape[1], len(blocks), len(blocks)), np.float32)
    for a, first in enumerate(blocks):
        for b in range(a, len(blocks)):
            out[:, a, b] = out[:, b, a] = first.multiply(blocks[b]).sum(axis=0)
    return out


def codes(form: LowRank, graphs: Sequence[types.Graph]) -> types.Array:
    """(w x) A of all users, passive ones too, float32 [U, r]."""
    factors = form.factors.reshape(form.weights.size, -1)
    rank = factors.shape[1]
    width = min(COLUMNS, rank)
    number = -(-rank // width)
    padded = jnp.pad(factors, ((0, 0), (0, number * width - rank)))

    def add(turn, out):  # one after another: all at once they would take the K products of every block
        block = lax.dynamic_slice_in_dim(padded, turn * width, width, axis=1)
        return lax.dynamic_update_slice_in_dim(out, _forward(graphs, form.weights, block), turn * width, axis=1)

    start = jnp.zeros((graphs[0].matrix.shape[0], number * width), jnp.float32)
    return lax.fori_loop(0, number, add, start)[:, :rank]


def gram(form: LowRank) -> np.ndarray:
    """B_SS of all of an item's columns, float32 [I, K, K]."""
    products = jnp.einsum("air,bir->iab", form.factors, form.factors, precision=lax.Precision.HIGHEST)
    return np.asarray(form.within - products)


def rows(
    form: LowRank,
    graphs: Sequence[types.Graph],
    codes: types.Array,
    users: types.Array,
    start: types.Array | int,
    size: int,
    chosen: Sequence[int],
) -> types.Array:
    """V of ``primal.rows``, float32 [chosen, B, size].

    Args:
      form: the factors.
      graphs: the blocks, as in ``solve``.
      codes: of all users, from ``codes``.
      users: int32 [B].
      start: first item, may be traced.
      size: number of items.
      chosen: behaviors whose columns are wanted.
    """
    weights = lax.dynamic_slice_in_dim(form.weights, start, size, axis=1)
    within = lax.dynamic_slice_in_dim(form.within, start, size)
    entries = ridge.entries(graphs, users, start, size) * weights[:, None]  # [K, B, size]
    mine, out = codes[users], []
    for a in chosen:
        tile = lax.dynamic_slice_in_dim(form.factors[a], start, size)
        same = sum(of * within[:, b, a] for b, of in enumerate(entries))
        out.append(same - _matmul(mine, tile.T))
    return jnp.stack(out)


def multiply(form: LowRank, flat: types.Array) -> types.Array:
    """flat B, [n, C], for a few rows."""
    factors = form.factors.reshape(form.weights.size, -1)
    by_item = flat.reshape(-1, *form.weights.shape)  # [n, K, I]
    same = jnp.einsum("nbi,iba->nai", by_item, form.within, precision=lax.Precision.HIGHEST)
    return same.reshape(flat.shape) - _matmul(_matmul(flat, factors), factors.T)


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
