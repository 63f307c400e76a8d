"""Sparse matrices on the device and the one product with them.

The container holds BCOO. What multiplies it is chosen for the platform: on CPU the BCSR product lowers to a native
kernel that is ten to twenty times faster than BCOO's, elsewhere a gather and a sorted sum. On an H100, for 1.9 million
entries and 64 columns in a loop, that takes 0.15 ms where BCOO's own takes 0.57 ms, and a training step of COPF 4.6 ms
in place of 8.8 (``benchmarks/results/h100.json``). The derivative is the product with the stored transpose: automatic
differentiation of either would take the slow path.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse
from jax.extend import random

from mbjax import types
from mbjax.ops import adjacency, memory, platforms, sampling


def build(matrix: scipy.sparse.csr_array, read: scipy.sparse.csr_array | None = None) -> types.Graph:
    """Puts a scipy matrix on the device.

    Args:
      matrix: CSR [R, C] without duplicate entries.
      read: the part of it whose transpose is stored; None: all. Only what is never differentiated may have less.
    """

    matrix = scipy.sparse.csr_array(matrix)
    matrix.sort_indices()
    forward, row_ptr = _on_device(matrix)
    other = scipy.sparse.csr_array((matrix if read is None else read).T.tocsr())
    other.sort_indices()
    if not _has_same_places(matrix, other):
        return types.Graph(forward, row_ptr, *_on_device(other))
    # What is symmetric is not stored twice: the transpose of a bipartite matrix differs by its values at most.
    if np.array_equal(matrix.data, other.data):
        return types.Graph(forward, row_ptr, forward, row_ptr)
    return types.Graph(
        forward, row_ptr, _entries(jnp.asarray(other.data, jnp.float32), forward.indices, other.shape), row_ptr
    )


def _on_device(csr: scipy.sparse.csr_array) -> tuple[sparse.BCOO, types.Array]:
    indices = memory.aligned((csr.nnz, 2), np.int32)
    indices[:, 0] = np.repeat(np.arange(csr.shape[0], dtype=np.int32), np.diff(csr.indptr))
    indices[:, 1] = csr.indices
    bcoo = _entries(jnp.asarray(csr.data, jnp.float32), jnp.asarray(indices), csr.shape)
    return bcoo, jnp.asarray(csr.indptr, jnp.int32)


def _entries(data: types.Array, indices: types.Array, shape: tuple[int, int]) -> sparse.BCOO:
    return sparse.BCOO((data, indices), shape=shape, indices_sorted=True, unique_indices=True)


def _has_same_places(one: scipy.sparse.csr_array, other: scipy.sparse.csr_array) -> bool:
    """Whether two matrices with sorted indices have entries in the same places."""
    parts = ((x.indptr, x.indices) for x in (one, other))
    return one.shape == other.shape and one.nnz == other.nnz and all(map(np.array_equal, *parts))


def shapes(specs: Mapping[str, types.GraphSpec], train: Mapping[str, scipy.sparse.csr_array]) -> dict[str, types.Graph]:
    """The graphs of ``from_train`` with ``jax.ShapeDtypeStruct`` in place of arrays, which takes a count of pairs."""
    found, counted = {}, {}
    for name, spec in specs.items():
        behaviors = frozenset(spec.behaviors)
        rows, columns = next(iter(train.values())).shape
        if spec.shape == "item_item":
            number, rows = adjacency.assemble(spec, train).nnz, columns
        elif spec.parts > 1:
            number, rows, columns = adjacency.assemble(spec, train).nnz, rows + columns, rows + columns
        else:
            if behaviors not in counted:
                counted[behaviors] = sampling.count(train, spec.behaviors).nnz
            number = counted[behaviors]
        if spec.shape == "bipartite" and spec.parts == 1:
            rows = columns = rows + columns
            number = 2 * number + spec.self_loops * rows
        is_square = spec.shape != "user_item"
        found[name] = _shape(rows, columns, number, is_square=is_square, is_same=is_own_transpose(spec))
    return found


def is_own_transpose(spec: types.GraphSpec) -> bool:
    """Whether a matrix that has users and items on both sides, or items, is known to be symmetric."""
    return spec.normalization in ("none", "symmetric") and spec.entries == "union"


def _shape(rows: int, columns: int, number: int, *, is_square: bool, is_same: bool) -> types.Graph:
    """A graph of shapes; of a square one the transpose has entries in the same places, with ``is_same`` the same."""

    def one(rows, columns, indices):
        def make(*parts):
            return sparse.BCOO(parts, shape=(rows, columns), indices_sorted=True, unique_indices=True)

        made = jax.eval_shape(make, jax.ShapeDtypeStruct((number,), jnp.float32), indices)
        # The very object, so that who adds up counts it once.
        return jax.tree.unflatten(jax.tree.structure(made), [made.data, indices])

    indices, ptr = jax.ShapeDtypeStruct((number, 2), jnp.int32), jax.ShapeDtypeStruct((rows + 1,), jnp.int32)
    forward = one(rows, columns, indices)
    if is_square:
        return types.Graph(forward, ptr, forward if is_same else one(rows, columns, indices), ptr)
    other = jax.ShapeDtypeStruct((number, 2), jnp.int32)
    return types.Graph(forward, ptr, one(columns, rows, other), jax.ShapeDtypeStruct((columns + 1,), jnp.int32))


def shape_of(rows: int, columns: int, entries: int) -> types.Graph:
    """``build`` of a matrix of some size, as shapes."""
    return _shape(rows, columns, entries, is_square=False, is_same=False)


def from_train(
    specs: Mapping[str, types.GraphSpec],
    train: Mapping[str, scipy.sparse.csr_array],
    passive: Mapping[str, scipy.sparse.csr_array] | None = None,
) -> dict[str, types.Graph]:
    """Builds the graphs that a model asks for.

    Args:
      specs: name -> what is asked for.
      train: behavior -> CSR [U, I], the training pairs.
      passive: behavior -> CSR [N, I], the pairs of N further users, who are passive: they read, and nobody reads them.
        They come after the others, U + N users in all. ``Graph.matrix`` has rows of theirs and nothing else of them,
        ``Graph.transpose`` nothing at all, and whatever is normalized by the degree of an item takes that of training.
        So what a model makes of the items and of the other users is what it makes without them.
    """
    if passive is None:
        return {name: build(adjacency.assemble(spec, train)) for name, spec in specs.items()}
    num_users, num_items = next(iter(train.values())).shape
    num_passive = next(iter(passive.values())).shape[0]
    is_read = np.repeat(np.float32([1, 0, 1]), [num_users, num_passive, num_items])
    graphs = {}
    for name, spec in specs.items():
        matrix = adjacency.assemble(spec, train, passive)
        if spec.shape == "item_item":
            graphs[name] = build(matrix)
            continue
        keep = scipy.sparse.diags_array(is_read[: matrix.shape[0]], format="csr")
        active = scipy.sparse.csr_array(keep @ matrix)
        active.eliminate_zeros()
        graphs[name] = build(matrix, active)
    return graphs


def transposed(graph: types.Graph) -> types.Graph:
    """The transpose, which shares all arrays."""
    return types.Graph(graph.transpose, graph.col_ptr, graph.matrix, graph.row_ptr, graph.partial[::-1])


def thinned(graph: types.Graph, key: types.Array, rate: float) -> types.Graph:
    """Inverted dropout of entries: each becomes 0 with a probability, the others are divided by what is left of 1.

    What becomes of an entry is a function of the key, its row and its column, so that the stored transpose keeps the
    same ones; all devices that hold the whole matrix do too.

    Args:
      graph: any.
      key: of the step.
      rate: probability of dropping, below 1.
    """
    words = jax.random.key_data(key).reshape(-1)[:2]

    def kept(matrix, row, column):
        count = jnp.concatenate([matrix.indices[:, row], matrix.indices[:, column]]).astype(jnp.uint32)
        bits = random.threefry_2x32(words, count)[: matrix.indices.shape[0]]
        keep = bits >= jnp.uint32(round(rate * 2.0**32))
        data = jnp.where(keep, matrix.data / (1.0 - rate), 0.0)
        return sparse.BCOO((data, matrix.indices), shape=matrix.shape, indices_sorted=True, unique_indices=True)

    return graph.replace(matrix=kept(graph.matrix, 0, 1), transpose=kept(graph.transpose, 1, 0))


def _product(matrix: sparse.BCOO, ptr: types.Array, dense: types.Array) -> types.Array:
    def bcsr():
        return sparse.BCSR((matrix.data, matrix.indices[:, 1], ptr), shape=matrix.shape) @ dense

    return platforms.choose(cpu=bcsr, default=lambda: gathered(matrix, dense))


def gathered(matrix: sparse.BCOO, dense: types.Array) -> types.Array:
    """The product as a gather of rows of ``dense`` and a sum over sorted rows of the result, for accelerators.

    Args:
      matrix: BCOO [R, C], indices sorted by row and in bounds.
      dense: [C, D].
    """
    # Without the barrier what made ``dense`` is fused into the gather, and all gathered rows [N, D] are written.
    taken = jax.lax.optimization_barrier(dense).at[matrix.indices[:, 1]].get(mode="promise_in_bounds")
    return (
        jnp.zeros((matrix.shape[0], dense.shape[1]), dense.dtype)
        .at[matrix.indices[:, 0]]
        .add(matrix.data[:, None] * taken, indices_are_sorted=True, mode="promise_in_bounds")
    )


def spmm(graph: types.Graph, dense: types.Array) -> types.Array:
    """Sparse times dense, ``A @ x``.

    Args:
      graph: A [R, C]; not differentiated.
      dense: x, float32 [C, D].

    Returns:
      float32 [R, D]; of a divided graph whose rows of items are partial, their sum over the devices.
    """
    product, first = _local(graph, dense), graph.partial[0]
    if first is None:
        return product
    return jnp.concatenate([product[:first], jax.lax.psum(product[first:], types.AXIS)])


@jax.custom_vjp
def _local(graph: types.Graph, dense: types.Array) -> types.Array:
    return _product(graph.matrix, graph.row_ptr, dense)


def _forward(graph, dense):
    return _local(graph, dense), graph


def _backward(graph, cotangent):
    return None, _product(graph.transpose, graph.col_ptr, cotangent)


_local.defvjp(_forward, _backward)
