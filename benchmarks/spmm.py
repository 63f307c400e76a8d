"""Times of sparse times dense: ours, other ways in JAX, scipy, and torch where it is installed.

    python benchmarks/spmm.py [--dataset=taobao] [--behavior=view] [--size=64]
                              [--out=benchmarks/results/spmm-taobao-cpu.json]

The matrix is the bipartite one of a behavior's training pairs, D^-1/2 A D^-1/2; the dense one has ``--size`` columns.
Forward is A @ x; with gradient, A^T @ y as well, by the means of the library (scipy has none: a second product). All
results are compared with scipy's before anything is timed. Run it on an idle machine.

The floors are traffic at the rate of an addition in place: a row of x for each stored entry, from a cache that holds
all of x, or x and the result once, from memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

from mbjax import config, data, errors, models, types
from mbjax.bench import options as common
from mbjax.bench import printout, rates, record, timing
from mbjax.ops import adjacency, graph

TOLERANCE = 1e-4  # of a result, relative to the largest value of scipy's


class Contender(NamedTuple):
    """A way to multiply.

    Attributes:
      name: in the table.
      forward: ``() -> A @ x``.
      both: ``() -> (A @ x, A^T @ y)``.
    """

    name: str
    forward: Callable[[], Any]
    both: Callable[[], tuple[Any, Any]]


def contenders(matrix: scipy.sparse.csr_array, dense: np.ndarray, cotangent: np.ndarray) -> Iterator[Contender]:
    """All ways, the reference first."""
    transpose = scipy.sparse.csr_array(matrix.T)
    threads = "1 thread"
    yield Contender(
        f"scipy CSR @ x, {threads}", lambda: matrix @ dense, lambda: (matrix @ dense, transpose @ cotangent)
    )
    ours = graph.build(matrix)
    yield _jax("mbjax spmm", lambda one, x: graph.spmm(one, x), ours, dense, cotangent)
    triple = (ours.matrix.data, jnp.array(ours.matrix.indices[:, 1]), ours.row_ptr)
    bcsr = sparse.BCSR(triple, shape=ours.matrix.shape, indices_sorted=True, unique_indices=True)
    yield _jax("JAX BCSR @ x", lambda one, x: one @ x, bcsr, dense, cotangent)
    yield _jax("JAX BCOO @ x", lambda one, x: one @ x, ours.matrix, dense, cotangent)
    yield _jax("JAX gather + segment_sum", _segment_sum, ours, dense, cotangent)
    if importlib.util.find_spec("torch"):
        yield from _torch(matrix, dense, cotangent)


def _segment_sum(one: types.Graph, dense: jax.Array) -> jax.Array:
    rows, columns = one.matrix.indices[:, 0], one.matrix.indices[:, 1]
    return jax.ops.segment_sum(
        one.matrix.data[:, None] * dense[columns], rows, num_segments=one.matrix.shape[0], indices_are_sorted=True
    )


def _jax(name: str, multiply, matrix, dense: np.ndarray, cotangent: np.ndarray) -> Contender:
    x, y = jnp.asarray(dense), jnp.asarray(cotangent)
    forward = jax.jit(multiply)

    @jax.jit
    def both(matrix, x, y):
        out, transpose = jax.vjp(lambda x: multiply(matrix, x), x)
        return out, transpose(y)[0]

    return Contender(name, lambda: forward(matrix, x), lambda: both(matrix, x, y))


def _torch(matrix: scipy.sparse.csr_array, dense: np.ndarray, cotangent: np.ndarray) -> Iterator[Contender]:
    import torch

    warnings.filterwarnings("ignore", message=".*[Ss]parse .*(beta|invariant).*", category=UserWarning)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    places = torch.from_numpy(np.stack([rows, matrix.indices]).astype(np.int64))
    values = torch.from_numpy(matrix.data)
    pointers = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
    csr = torch.sparse_csr_tensor(*pointers, values, size=matrix.shape)
    coo = torch.sparse_coo_tensor(places, values, size=matrix.shape).coalesce()
    x, y = torch.from_numpy(dense).requires_grad_(), torch.from_numpy(cotangent)
    for name, one in (("CSR", csr), ("COO", coo)):

        def forward(one=one):
            with torch.no_grad():
                return one @ x

        def both(one=one):
            out = one @ x
            return out.detach(), torch.autograd.grad(out, x, y)[0]

        yield Contender(f"torch sparse {name} @ x, {torch.get_num_threads()} threads", forward, both)


def check(found: Any, expected: np.ndarray, name: str) -> None:
    """Raises ValueError where a contender's result is not the reference's."""
    worst = float(np.max(np.abs(np.asarray(found) - expected)) / np.max(np.abs(expected)))
    if not worst <= TOLERANCE:
        raise ValueError(f"{name}: differs from scipy by {worst:.2g} of the largest value.")


def compete(matrix: scipy.sparse.csr_array, size: int, repeat: int, limit: float) -> list[dict[str, Any]]:
    """Times all ways: rows with ``name``, ``forward`` and ``forward_and_gradient`` in seconds."""
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((matrix.shape[1], size), np.float32)
    cotangent = rng.standard_normal((matrix.shape[0], size), np.float32)
    expected, rows = None, []
    for one in contenders(matrix, dense, cotangent):
        expected = expected or one.both()
        for found, right in zip((one.forward(), *one.both()), (expected[0], *expected), strict=True):
            check(found, right, one.name)
        forward, both = (timing.repeated(call, repeat, limit).median for call in (one.forward, one.both))
        rows.append({"name": one.name, "forward": forward, "forward_and_gradient": both})
    return rows


def floors(matrix: scipy.sparse.csr_array, size: int) -> dict[str, float]:
    """Seconds that a product takes at least, and the rates behind them."""
    row = size * rates.FLOAT
    stored = matrix.nnz * 2 * rates.FLOAT  # values and columns
    near, far = rates.bandwidth(matrix.shape[1] * row), rates.bandwidth(rates.FAR)
    return {
        "a row for each entry, from cache": (matrix.nnz * row + stored) / near,
        "each row once, from memory": (sum(matrix.shape) * row + stored) / far,
        "bytes a second in an array of x's size": near,
        "bytes a second in memory": far,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns the exit code."""
    parser = common.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--dataset", default="taobao", metavar="NAME|PATH", help="the data set (taobao)")
    parser.add_argument("--behavior", metavar="NAME", help="whose pairs (default: the first)")
    parser.add_argument("--size", type=int, default=64, metavar="D", help="columns of the dense matrix (64)")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    common.add_repeats(parser, limit=10.0)
    try:
        options = parser.parse_args(sys.argv[1:] if argv is None else argv)
        common.check_repeats(options)
        found = measured(options)
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    show(found)
    if options.out:
        print(f"written: {record.write(found, options.out)}")
    return 0


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    settings = config.load("popularity", options.dataset, models.entry("popularity").config, protocol="paper")
    dataset = data.load(settings.dataset, settings.data)
    behavior = options.behavior or dataset.info.behaviors[0]
    if behavior not in dataset.info.behaviors:
        raise errors.unknown("behavior", behavior, dataset.info.behaviors)
    found = record.heading(f"sparse times dense: {behavior} pairs of {dataset.info.name}, D = {options.size}")
    if importlib.util.find_spec("torch"):
        found["versions"]["torch"] = importlib.metadata.version("torch")
    matrix = adjacency.assemble(types.GraphSpec((behavior,), "bipartite", "symmetric"), dataset.train)
    rows = compete(matrix, options.size, options.repeat, options.seconds)
    return found | {
        "nodes": matrix.shape[0],
        "nnz": matrix.nnz,
        "width": options.size,
        "products": rows,
        "floors": floors(matrix, options.size),
    }


def show(found: dict[str, Any]) -> None:
    """Prints a record."""
    out = printout.console()
    printout.heading(out, found, record.remark(found))
    out.print(f"{found['nodes']:,} nodes, {found['nnz']:,} stored entries")
    ours = next(row for row in found["products"] if row["name"].startswith("mbjax"))
    rows = []
    for row in found["products"]:
        cells = [row["name"]]
        for key in ("forward", "forward_and_gradient"):
            cells += [printout.seconds(row[key]), f"{row[key] / ours[key]:.1f}"]
        rows.append(cells)
    for name, value in list(found["floors"].items())[:2]:
        rows.append([f"floor: {name}", printout.seconds(value), "", printout.seconds(2 * value), ""])
    out.print(printout.table(("way", "=forward", "=/ ours", "=forward + gradient", "=/ ours"), rows))
    if "torch" not in found["versions"]:
        out.print("torch is not installed: pip install '.[benchmarks]' adds its rows.", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
