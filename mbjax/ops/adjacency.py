"""The sparse matrices that models ask for, made of training pairs on the host."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse

from mbjax import types
from mbjax.ops import sampling


def assemble(
    spec: types.GraphSpec,
    train: Mapping[str, scipy.sparse.csr_array],
    passive: Mapping[str, scipy.sparse.csr_array] | None = None,
) -> scipy.sparse.csr_array:
    """The scipy matrix of a ``GraphSpec``, float32; ``passive`` as for ``graph.from_train``."""
    if spec.entries == "normalized_sum":
        of_one = (spec._replace(behaviors=(name,), entries="union") for name in spec.behaviors)
        parts = [assemble(one, train, passive) for one in of_one]
        return scipy.sparse.csr_array(sum(parts[1:], start=parts[0]))
    make = {"union": sampling.union, "count": sampling.count}
    if spec.entries not in make:
        raise ValueError(f"unknown graph entries '{spec.entries}'")
    matrix = make[spec.entries](train, spec.behaviors)
    if spec.shape == "item_item":
        return normalize(_together(matrix), spec.normalization)
    if spec.shape not in ("user_item", "bipartite") or (spec.self_loops and spec.shape != "bipartite"):
        raise ValueError(f"unknown graph: shape '{spec.shape}', self_loops {spec.self_loops}")
    own = matrix if passive is None else _below(matrix, make[spec.entries](passive, spec.behaviors))  # [U + N, I]
    columns = np.asarray(matrix.sum(axis=0), np.float64)
    if spec.shape == "bipartite":
        read = matrix
        if passive is not None:  # the items' rows have no entries of theirs
            read = _below(matrix, scipy.sparse.csr_array((own.shape[0] - matrix.shape[0], matrix.shape[1])))
        own = scipy.sparse.csr_array(scipy.sparse.block_array([[None, own], [read.T, None]], format="csr"))
        if spec.self_loops:
            own = scipy.sparse.csr_array(own + scipy.sparse.eye_array(own.shape[0], dtype=np.float32))
        columns = np.asarray(own.sum(axis=1), np.float64)  # of the symmetric matrix, before anybody was added
    return _part(normalize(own, spec.normalization, columns), spec)


def _part(matrix: scipy.sparse.csr_array, spec: types.GraphSpec) -> scipy.sparse.csr_array:
    """The entries of one part, times the number of parts; what is on the diagonal is in every part as it is.

    A pair's entries are in one part both ways, so that the transpose of a part is the part of the transpose.
    """
    if spec.parts == 1:
        return matrix
    if spec.shape != "bipartite":
        raise ValueError(f"a graph of shape '{spec.shape}' has no parts")
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.uint64), np.diff(matrix.indptr))
    column = matrix.indices.astype(np.uint64)
    # The finalizer of MurmurHash3 mixes both ends into every bit.
    word = np.minimum(row, column) << np.uint64(32) | np.maximum(row, column)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        word = (word ^ word >> np.uint64(33)) * np.uint64(factor)
    word ^= word >> np.uint64(33)
    is_loop = row == column
    keep = is_loop | (word % np.uint64(spec.parts) == spec.part)
    data = np.where(is_loop, matrix.data, spec.parts * matrix.data)
    pointers = np.concatenate([[0], np.cumsum(keep)])[matrix.indptr]
    return scipy.sparse.csr_array((data[keep], matrix.indices[keep], pointers), shape=matrix.shape)


def _together(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """1 for two items that a row has both of, none for an item with itself: CSR [I, I] of a matrix [U, I]."""
    both = scipy.sparse.csr_array(matrix.T @ matrix)
    both = scipy.sparse.csr_array(both - scipy.sparse.diags_array(both.diagonal(), format="csr"))
    both.eliminate_zeros()
    both.sort_indices()
    both.data = np.ones(both.nnz, np.float32)
    return both


def _below(first: scipy.sparse.csr_array, second: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(scipy.sparse.vstack([first, second], format="csr"))


def normalize(matrix: scipy.sparse.csr_array, kind: str, columns: np.ndarray | None = None) -> scipy.sparse.csr_array:
    """Normalizes a sparse matrix; rows and columns of degree 0 stay zero.

    Args:
      matrix: CSR [R, C], entries >= 0.
      kind: see ``types.GraphSpec.normalization``.
      columns: degrees of the columns [C]; None: their sums.
    """

    def inverse(values, power):
        out = np.zeros(len(values), np.float64)
        np.power(values, -power, out=out, where=values > 0)
        return scipy.sparse.dia_array((out[None, :], [0]), shape=(len(values), len(values)))

    rows = np.asarray(matrix.sum(axis=1), np.float64)
    columns = np.asarray(matrix.sum(axis=0), np.float64) if columns is None else columns
    if kind == "none":
        scaled = matrix
    elif kind == "l2_row":
        scaled = inverse(np.asarray((matrix * matrix).sum(axis=1), np.float64), 0.5) @ matrix
    elif kind == "left":
        scaled = inverse(rows, 1.0) @ matrix
    elif kind == "right":
        scaled = matrix @ inverse(columns, 1.0)
    elif kind == "symmetric":
        scaled = inverse(rows, 0.5) @ matrix @ inverse(columns, 0.5)
    else:
        raise ValueError(f"unknown normalization '{kind}'")
    return scipy.sparse.csr_array(scaled).astype(np.float32)
