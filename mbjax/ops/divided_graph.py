"""Graphs whose edges are divided among devices by user, each with all items.

The matrix of a device has the rows (and columns) of its own users, so that ``graph.spmm`` is its own product; what it
has of the rows of items is a part, and their sum over the devices is all that travels. The derivative needs nothing
more: the sum's is the sum of cotangents, and the product's the product with the stored transpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse
from jax.experimental import sparse

from mbjax import types
from mbjax.ops import adjacency, graph


def from_train(
    specs: Mapping[str, types.GraphSpec],
    train: Mapping[str, scipy.sparse.csr_array],
    size: int,
    placement: Any,
) -> dict[str, types.Graph]:
    """Builds the graphs that a model asks for, as ``graph.from_train`` does, each device's part on that device.

    Args:
      specs: name -> what is asked for.
      train: behavior -> CSR [U, I], the training pairs.
      size: users of a device; the first device has the first so many, and so on.
      placement: the devices, a ``parallel.Placement``.
    """
    return {
        name: _divide(adjacency.assemble(spec, train), spec, train, size, placement) for name, spec in specs.items()
    }


def _divide(matrix, spec, train, size, placement) -> types.Graph:
    num_users = next(iter(train.values())).shape[0]
    if spec.shape == "item_item":  # no users to divide: all of it everywhere
        blocks, most = [matrix] * placement.size, matrix.nnz
    else:
        blocks, most = [], 0
        parts = _blocks(matrix, num_users, size, placement.size, spec.shape == "bipartite")
        # Of what other hosts hold only the size matters.
        for block, is_mine in zip(parts, placement.is_mine, strict=True):
            blocks.append(block if is_mine else None)
            most = max(most, block.nnz)
    forward, row_ptr = _stacked(blocks, most, placement)
    flipped = [None if block is None else scipy.sparse.csr_array(block.T) for block in blocks]
    if spec.shape == "user_item":
        backward, col_ptr = _stacked(flipped, most, placement)
    else:  # where an entry is, there is one across the diagonal
        backward, col_ptr = forward, row_ptr
        if not graph.is_own_transpose(spec):
            data = placement.side_by_side([None if block is None else _data(block, most) for block in flipped])
            backward = sparse.BCOO(
                (data, forward.indices), shape=forward.shape, indices_sorted=True, unique_indices=True
            )
    partial = {"item_item": (None, None), "bipartite": (size, size)}.get(spec.shape, (None, 0))
    return types.Graph(forward, row_ptr, backward, col_ptr, partial)


def _blocks(matrix, num_users, size, number, is_bipartite) -> Iterator[scipy.sparse.csr_array]:
    """The part of each device: [size, I], or [size + I, size + I]; what items have of items is the first one's."""
    for device in range(number):
        first, end = min(device * size, num_users), min((device + 1) * size, num_users)
        if not is_bipartite:
            yield _padded(matrix[first:end], size)
            continue
        users, items = slice(first, end), slice(num_users, None)
        of_items = matrix[items]
        among = of_items[:, items] if device == 0 else scipy.sparse.csr_array((of_items.shape[0],) * 2, dtype="float32")
        mine = _padded(scipy.sparse.csr_array(matrix[users][:, users]), size, size)
        to_items, from_items = _padded(matrix[users][:, items], size), _padded(of_items[:, users].T, size).T
        yield scipy.sparse.csr_array(scipy.sparse.block_array([[mine, to_items], [from_items, among]], format="csr"))


def _padded(block: Any, rows: int, columns: int | None = None) -> scipy.sparse.csr_array:
    block = scipy.sparse.csr_array(block, copy=True)
    block.resize((rows, block.shape[1] if columns is None else columns))
    return block


def _data(block: scipy.sparse.csr_array, most: int) -> np.ndarray:
    """The values of a matrix by rows, padded to the most entries."""
    block.sort_indices()
    return np.pad(block.data.astype(np.float32), (0, max(1, most) - block.nnz))


def _stacked(blocks: list[scipy.sparse.csr_array | None], most: int, placement: Any) -> tuple[sparse.BCOO, types.Array]:
    """Matrices of one shape, a device each, padded to the most entries: what follows the last pointer is 0.

    None stands for those of other hosts.
    """
    data, indices, pointers = [], [], []
    for block in blocks:
        if block is None:
            for parts in (data, indices, pointers):
                parts.append(None)
            continue
        block.sort_indices()
        rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        extra = max(1, most) - block.nnz
        data.append(_data(block, most))
        row = np.pad(rows, (0, extra), constant_values=block.shape[0] - 1)
        indices.append(np.stack([row, np.pad(block.indices, (0, extra))], axis=1).astype(np.int32))
        pointers.append(block.indptr.astype(np.int32))
        shape = block.shape
    arrays = placement.side_by_side(data), placement.side_by_side(indices)
    matrix = sparse.BCOO(arrays, shape=shape, indices_sorted=True, unique_indices=True)
    return matrix, placement.side_by_side(pointers)
