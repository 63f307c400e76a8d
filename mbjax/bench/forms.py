"""The ways to multiply a sparse matrix with a dense one that JAX has for any device, timed as training uses them.

Within a compiled loop, where the dense matrix has just been made from something else: a compiler that joins its making
to the gather of its rows may write out a row for each stored entry, which a product alone does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax
from jax.experimental import sparse

from mbjax.bench import timing
from mbjax.ops import graph

TURNS = 20  # products in a compiled loop
MIB = 2**20
UNSUPPORTED = (
    jax.errors.JaxRuntimeError,
    NotImplementedError,
    TypeError,
    ValueError,
)  # of a platform that lacks a form


class Entries(NamedTuple):
    """The stored entries of a square matrix [N, N] in the order of their rows: int32 [E], int32 [E], float32 [E]."""

    row: jax.Array
    column: jax.Array
    value: jax.Array


def gather(
    entries: Entries, x: jax.Array, *, is_sorted: bool = True, barrier: bool = True, dtype: Any = jnp.float32
) -> jax.Array:
    """A row of x for each entry, summed by the entries' rows.

    Args:
      entries: of A [N, N].
      x: float [N, D].
      is_sorted: whether the sum is told that the rows ascend.
      barrier: keeps the compiler from making x anew in the gather.
      dtype: that rows are read in; sums are float32.

    Returns:
      A @ x, float32 [N, D].
    """
    x = x.astype(dtype)
    x = lax.optimization_barrier(x) if barrier else x
    rows = entries.value[:, None] * x.at[entries.column].get(mode="promise_in_bounds").astype(jnp.float32)
    out = jnp.zeros(x.shape, jnp.float32)
    return out.at[entries.row].add(rows, indices_are_sorted=is_sorted, mode="promise_in_bounds")


def all_forms(matrix: scipy.sparse.csr_array) -> Iterator[tuple[str, Callable[..., jax.Array], Any]]:
    """Name, ``(A, x) -> A @ x`` and A on the device, for each way."""
    yield "mbjax spmm", graph.spmm, graph.build(matrix)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    entries = Entries(*(jnp.asarray(part, jnp.int32) for part in (rows, matrix.indices)), jnp.asarray(matrix.data))
    places = jnp.stack([entries.row, entries.column], axis=1)
    bcoo = sparse.BCOO((entries.value, places), shape=matrix.shape, indices_sorted=True, unique_indices=True)
    yield "BCOO", lambda one, x: one @ x, bcoo
    yield "gather, sorted sum, barrier", gather, entries
    yield "gather, sorted sum", lambda one, x: gather(one, x, barrier=False), entries
    yield "gather, sum, barrier", lambda one, x: gather(one, x, is_sorted=False), entries
    yield "gather in bfloat16, sorted sum, barrier", lambda one, x: gather(one, x, dtype=jnp.bfloat16), entries


def compete(
    matrix: scipy.sparse.csr_array, width: int, *, repeat: int = timing.REPEAT, limit: float = timing.LIMIT
) -> Iterator[dict[str, Any]]:
    """Times all forms.

    Args:
      matrix: CSR [N, N], float32, indices sorted, the spectral radius at most 1 or so: it is applied again and again.
      width: D of the dense matrix.
      repeat: as in ``timing.repeated``.
      limit: as in ``timing.repeated``.

    Yields:
      A row for each form: ``name``; ``seconds`` of a product; ``temporaries_mib`` of the loop; ``error``, Frobenius,
      relative to scipy's in double precision; ``same_bits``, whether three calls agree in all. ``failed`` where one
      does not run.
    """
    dense = np.random.default_rng(0).standard_normal((matrix.shape[1], width), np.float32)
    expected = matrix.astype(np.float64) @ dense.astype(np.float64)
    x = jnp.asarray(dense)
    for name, multiply, one in all_forms(matrix):
        row: dict[str, Any] = {"name": name}
        try:
            row |= _measure(multiply, one, x, expected, repeat, limit)
        except UNSUPPORTED as error:
            row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        yield row


def _measure(multiply, one, x, expected, repeat, limit) -> dict[str, Any]:
    forward = jax.jit(multiply)
    calls = [np.asarray(forward(one, x)) for _ in range(3)]

    @jax.jit
    def loop(one, x):
        return lax.fori_loop(0, TURNS, lambda _, x: 0.5 * multiply(one, x) + 0.5 * x, x)

    compiled = loop.lower(one, x).compile()
    memory = compiled.memory_analysis()
    return {
        "seconds": timing.repeated(lambda: compiled(one, x), repeat, limit).median / TURNS,
        "temporaries_mib": None if memory is None else round(memory.temp_size_in_bytes / MIB, 1),
        "error": float(np.linalg.norm(calls[0] - expected) / np.linalg.norm(expected)),
        "same_bits": all(np.array_equal(calls[0], other) for other in calls[1:]),
    }
