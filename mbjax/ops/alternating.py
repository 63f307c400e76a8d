r"""Alternating least squares of a large sparse matrix of ones: blocks of rows of like length, solved at once.

Hu, Koren, Volinsky: "Collaborative filtering for implicit feedback datasets", ICDM 2008, with the penalties of Rendle,
Krichene, Zhang, Koren: "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022. With the
factors of all columns, q_j, given, those of a row r with the entries S_r are the solution of

.. math::
    \Big(\sum_{j \in S_r} q_j q_j^T + \alpha_0 \sum_j q_j q_j^T + \lambda_r I\Big) p_r = \sum_{j \in S_r} g_j q_j

g_j (``gain``) is 1 where columns weigh the same: a column of weight w comes as sqrt(w) q_j with a gain of sqrt(w),
which makes w q_j q_j^T of the products and w q_j of the right hand side.

The sum over all columns is one matrix [D, D] for all rows, so that a row costs what it has entries. Rows are packed
on the host into blocks with 8, 32, 128, ... places a row, for shapes that a compiler knows. A row is solved exactly
(Cholesky, D^2 an entry and D^3 a row), or brought nearer by steps of conjugate gradients from where it was (Takacs,
Pilaszy, Tikk: "Applications of the conjugate gradient method for implicit feedback collaborative filtering", RecSys
2011), which cost 4 D an entry and D^2 a row each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from mbjax import types

SHORTEST = 8  # places of a row in a block, at least
GROWTH = 4  # from one length to the next: each is a program to compile, of half a second on a CPU; 2 would pad less
PLACES = {"cpu": 2**14}  # of a block: its factors, 4 MB with 64 of them, stay in the cache
MANY_PLACES = 2**19  # elsewhere, to have enough to do at once
EXACT = jax.lax.Precision.HIGHEST  # no TF32 on accelerators: differences of large sums


class Block(NamedTuple):
    """Rows of like length, in C blocks of B rows with L places each.

    Attributes:
      row: int32 [C, B]; padding is the number of rows.
      column: int32 [C, B, L], the row's columns; padding is the number of columns.
    """

    row: types.Array
    column: types.Array


def pack(matrix: scipy.sparse.csr_array, rows: np.ndarray | None = None, places: int = 0) -> tuple[Block, ...]:
    """Packs the rows of a matrix that have entries.

    Args:
      matrix: CSR [R, C] of ones.
      rows: int [n], those to be packed; None: all.
      places: of a block; a longer row has a block for itself. 0: as many as suit the device.
    """
    places = places or PLACES.get(jax.default_backend(), MANY_PLACES)
    ptr, indices = matrix.indptr.astype(np.int64), matrix.indices
    rows = np.arange(matrix.shape[0]) if rows is None else np.asarray(rows)
    blocks = []
    for is_mine, length, number, size in _levels(np.diff(ptr)[rows], places):
        mine = rows[is_mine]
        row = np.full(number * size, matrix.shape[0], np.int32)
        row[: len(mine)] = mine
        column = np.full((len(row), length), matrix.shape[1], np.int32)
        is_one = np.arange(length) < (ptr[mine + 1] - ptr[mine])[:, None]
        entry = np.repeat(ptr[mine] - np.cumsum(is_one.sum(1)) + is_one.sum(1), is_one.sum(1)) + np.arange(is_one.sum())
        column[: len(mine)][is_one] = indices[entry]
        blocks.append(Block(jnp.asarray(row.reshape(number, size)), jnp.asarray(column.reshape(number, size, length))))
    return tuple(blocks)


def _levels(lengths: np.ndarray, places: int) -> Iterator[tuple[np.ndarray, int, int, int]]:
    """For each length of rows in blocks: which rows, the length, the number of blocks, and rows in each."""
    level = np.ceil(np.log2(np.maximum(lengths, SHORTEST) / SHORTEST) / np.log2(GROWTH)).astype(int)
    for each in np.unique(level[lengths > 0]):
        is_mine, length = (level == each) & (lengths > 0), SHORTEST * GROWTH ** int(each)
        number = -(-int(is_mine.sum()) // max(places // length, 1))
        yield is_mine, length, number, -(-int(is_mine.sum()) // number)  # blocks as equal as possible


def bytes_of(lengths: np.ndarray) -> int:
    """Size of what ``pack`` makes of rows with so many entries each."""
    places = PLACES.get(jax.default_backend(), MANY_PLACES)
    return sum(4 * number * size * (length + 1) for _, length, number, size in _levels(np.asarray(lengths), places))


def solve(
    blocks: Sequence[Block],
    table: types.Array,
    gain: types.Array,
    unobserved: float,
    penalty: types.Array,
    before: types.Array,
    steps: int = 0,
) -> types.Array:
    """The factors of all rows for given factors of the columns.

    Args:
      blocks: of ``pack``, R rows.
      table: sqrt(w_j) q_j, float32 [C, D].
      gain: sqrt(w_j), float32 [C].
      unobserved: alpha_0.
      penalty: lambda_r, above 0, float32 [R].
      before: factors to begin with, float32 [R, D]; without meaning for an exact solution.
      steps: of conjugate gradients; 0: exact.

    Returns:
      float32 [R, D]; zeros, which is their solution, for rows without entries, and for those that were not packed.
    """
    size = table.shape[1]
    common = unobserved * jnp.matmul(table.T, table, precision=EXACT)  # [D, D]
    padded, gains = jnp.pad(table, ((0, 1), (0, 0))), jnp.pad(gain, (0, 1))

    def block(one: Block):
        # Without the barrier the rows are gathered anew by each product.
        factors = jax.lax.optimization_barrier(padded[one.column])  # [B, L, D]
        right = jnp.einsum("bl,bld->bd", gains[one.column], factors, precision=EXACT)
        own = penalty.at[one.row].get(mode="clip")[:, None]
        if not steps:
            left = jnp.einsum("bld,blm->bdm", factors, factors, precision=EXACT)
            return _cholesky(left + common + own[..., None] * jnp.eye(size), right)

        def product(x):
            entries = jnp.einsum("bld,bd->bl", factors, x, precision=EXACT)
            near = jnp.einsum("bl,bld->bd", entries, factors, precision=EXACT)
            return near + jnp.matmul(x, common, precision=EXACT) + own * x

        return _conjugate_gradients(product, right, before.at[one.row].get(mode="clip"), steps)

    out = jnp.zeros_like(before)
    for one in blocks:
        out = out.at[one.row.ravel()].set(jax.lax.map(block, one).reshape(-1, size), mode="drop")
    return out


def _cholesky(left: types.Array, right: types.Array) -> types.Array:
    """Solutions [B, D] of symmetric systems [B, D, D]."""
    lower = jax.lax.linalg.cholesky(left, symmetrize_input=False)
    half = jax.lax.linalg.triangular_solve(lower, right[..., None], left_side=True, lower=True)
    return jax.lax.linalg.triangular_solve(lower, half, left_side=True, lower=True, transpose_a=True)[..., 0]


def _conjugate_gradients(product, right: types.Array, x: types.Array, steps: int) -> types.Array:
    """A fixed number of steps toward A x = right for each row by itself; a row that is there stays."""
    rest = right - product(x)
    direction, square = rest, jnp.sum(rest * rest, axis=1, keepdims=True)

    def step(_, state):  # one program for all steps: there is one for each length of rows
        x, rest, direction, square = state
        image = product(direction)
        length = jnp.sum(direction * image, axis=1, keepdims=True)
        far = jnp.where(length > 0, square / jnp.where(length > 0, length, 1.0), 0.0)
        x, rest = x + far * direction, rest - far * image
        after = jnp.sum(rest * rest, axis=1, keepdims=True)
        direction = rest + jnp.where(square > 0, after / jnp.where(square > 0, square, 1.0), 0.0) * direction
        return x, rest, direction, after

    return jax.lax.fori_loop(0, steps, step, (x, rest, direction, square))[0]
