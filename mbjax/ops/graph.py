"""Sparse matrices on the device and the one product with them.

The container holds BCOO. What multiplies it is chosen for the platform: on CPU the BCSR product lowers to a native
kernel that is ten to twenty times faster than BCOO's, elsewhere BCOO's own, which has not been measured on a GPU. Its
derivative is the product with the stored transpose: automatic differentiation of either would take the slow path.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

from mbjax import types
from mbjax.ops import sampling


def build(matrix: scipy.sparse.csr_array) -> types.Graph:
    """Puts a scipy matrix on the device.

    Args:
      matrix: CSR [R, C] without duplicate entries.
    """

    def device(csr):
        csr = scipy.sparse.csr_array(csr)
        csr.sort_indices()
        rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
        indices = jnp.asarray(np.stack([rows, csr.indices], axis=1), jnp.int32)
        bcoo = sparse.BCOO(
            (jnp.asarray(csr.data, jnp.float32), indices), shape=csr.shape, indices_sorted=True, unique_indices=True
        )
        return bcoo, jnp.asarray(csr.indptr, jnp.int32)

    forward, row_ptr = device(matrix)
    backward, col_ptr = device(matrix.T.tocsr())
    return types.Graph(forward, row_ptr, backward, col_ptr)


def from_train(
    specs: Mapping[str, types.GraphSpec], train: Mapping[str, scipy.sparse.csr_array]
) -> dict[str, types.Graph]:
    """Builds the graphs that a model asks for from the training pairs (behavior -> CSR [U, I])."""
    return {name: build(assemble(spec, train)) for name, spec in specs.items()}


def assemble(spec: types.GraphSpec, train: Mapping[str, scipy.sparse.csr_array]) -> scipy.sparse.csr_array:
    """The scipy matrix of a ``GraphSpec``, float32."""
    if spec.entries == "normalised_sum":
        parts = [assemble(spec._replace(behaviors=(name,), entries="union"), train) for name in spec.behaviors]
        return scipy.sparse.csr_array(sum(parts[1:], start=parts[0]))
    make = {"union": sampling.union, "count": sampling.count}
    if spec.entries not in make:
        raise ValueError(f"unknown graph entries '{spec.entries}'")
    matrix = make[spec.entries](train, spec.behaviors)
    if spec.shape == "bipartite":
        matrix = scipy.sparse.csr_array(scipy.sparse.block_array([[None, matrix], [matrix.T, None]], format="csr"))
        if spec.self_loops:
            matrix = scipy.sparse.csr_array(matrix + scipy.sparse.eye_array(matrix.shape[0], dtype=np.float32))
    elif spec.shape != "user_item" or spec.self_loops:
        raise ValueError(f"unknown graph: shape '{spec.shape}', self_loops {spec.self_loops}")
    return normalise(matrix, spec.normalisation)


def normalise(matrix: scipy.sparse.csr_array, kind: str) -> scipy.sparse.csr_array:
    """Normalises a sparse matrix; rows and columns of degree 0 stay zero.

    Args:
      matrix: CSR [R, C], entries >= 0.
      kind: see ``types.GraphSpec.normalisation``.
    """

    def inverse(values, power):
        out = np.zeros(len(values), np.float64)
        np.power(values, -power, out=out, where=values > 0)
        return scipy.sparse.dia_array((out[None, :], [0]), shape=(len(values), len(values)))

    rows, columns = np.asarray(matrix.sum(axis=1), np.float64), np.asarray(matrix.sum(axis=0), np.float64)
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
        raise ValueError(f"unknown normalisation '{kind}'")
    return scipy.sparse.csr_array(scaled).astype(np.float32)


def transposed(graph: types.Graph) -> types.Graph:
    """The transpose, which shares all arrays."""
    return types.Graph(graph.transpose, graph.col_ptr, graph.matrix, graph.row_ptr)


def _product(matrix: sparse.BCOO, ptr: types.Array, dense: types.Array) -> types.Array:
    def bcsr():
        return sparse.BCSR((matrix.data, matrix.indices[:, 1], ptr), shape=matrix.shape) @ dense

    return jax.lax.platform_dependent(cpu=bcsr, default=lambda: matrix @ dense)


@jax.custom_vjp
def spmm(graph: types.Graph, dense: types.Array) -> types.Array:
    """Sparse times dense, ``A @ x``.

    Args:
      graph: A [R, C]; not differentiated.
      dense: x, float32 [C, D].

    Returns:
      float32 [R, D].
    """
    return _product(graph.matrix, graph.row_ptr, dense)


def _forward(graph, dense):
    return spmm(graph, dense), graph


def _backward(graph, cotangent):
    return None, _product(graph.transpose, graph.col_ptr, cotangent)


spmm.defvjp(_forward, _backward)
