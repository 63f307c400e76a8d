"""BPR-MF with lazy and with dense steps on views of three sizes: CPU seconds of a step and of a pass over the pairs.

    python benchmarks/lazy.py --out benchmarks/results/lazy-cpu.json

Where implicit (https://github.com/benfred/implicit) is installed, its BPR goes over the same pairs, as wide and once;
mbjax itself never needs it. CPU seconds are user and system of all threads, which other work on the machine changes
little; each measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import resource
import sys
import tempfile
import time
from typing import Any

import generated
import numpy as np
import scipy.sparse

from mbjax import apart
from mbjax.bench import record

WAYS = ("dense adam", "lazy adam", "lazy adagrad", "lazy sgd")


def _ends(matrix: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    return matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)


def measure(matrix: scipy.sparse.csr_array, way: str, width: int, batch: int, steps: int) -> dict[str, Any]:
    """CPU seconds of ours.

    Args:
      matrix: of ``generated.views``.
      way: of ``WAYS``.
      width: of the embeddings.
      batch: users of a batch.
      steps: that are timed; 0: a whole epoch with the drawing of its order.
    """
    import jax

    from mbjax import config, data, models, types
    from mbjax.experiment import wiring

    matrix.sort_indices()
    train = scipy.sparse.csr_array((matrix.data.astype(np.uint8), *_ends(matrix)), shape=matrix.shape)
    users, items = (data.Vocabulary(np.arange(number)) for number in matrix.shape)
    info = types.DatasetInfo("views", *matrix.shape, ("view",))
    dataset = data.Dataset(info, {"view": train}, {}, {}, users, items, False, "none", "")
    kind, optimizer = way.split()
    overrides = {
        "train.optimizer": optimizer,
        "train.lazy": kind == "lazy",
        "train.batch_size": batch,
        "model.embedding_size": width,
    }
    experiment = wiring.build(
        config.load("bpr_mf", "demo", models.entry("bpr_mf").config, overrides=overrides), dataset
    )
    advance, state = experiment.advance(), experiment.start()
    length = 4 if kind == "dense" else 128
    plan = advance.plan(state, 0)
    state, logged = advance.chunk(state, plan, 0, length)
    jax.block_until_ready(logged)
    whole = advance.steps_per_epoch // length
    timed = [(n % whole * length, length) for n in range(1, 1 + steps // length)]
    if not steps:
        rest = advance.steps_per_epoch - whole * length
        timed = [(n * length, length) for n in range(whole)] + ([(whole * length, rest)] if rest else [])
        if rest:
            state, logged = advance.chunk(state, plan, 0, rest)
            jax.block_until_ready(logged)
    began, wall = time.process_time(), time.perf_counter()
    if not steps:
        plan = jax.block_until_ready(advance.plan(state, 1))
    drawn = time.process_time() - began
    for place, number in timed:
        state, logged = advance.chunk(state, plan, place, number)
    loss = float(np.asarray(logged["loss"])[-1])
    cpu, wall = time.process_time() - began, time.perf_counter() - wall
    taken = sum(number for _, number in timed)
    return {
        "users": matrix.shape[0],
        "items": matrix.shape[1],
        "pairs": int(matrix.nnz),
        "steps": taken,
        "steps_per_epoch": advance.steps_per_epoch,
        "cpu": cpu,
        "cpu_of_order": drawn,
        "wall": wall,
        "cpu_step": (cpu - drawn) / taken,
        "loss": loss,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def peer(matrix: scipy.sparse.csr_array, width: int) -> dict[str, Any]:
    """CPU seconds of a pass of implicit."""
    import implicit
    from implicit import bpr

    matrix = scipy.sparse.csr_matrix(matrix)
    model = bpr.BayesianPersonalizedRanking(factors=width, iterations=1, use_gpu=False)
    began, wall = time.process_time(), time.perf_counter()
    model.fit(matrix, show_progress=False)
    return {
        "users": matrix.shape[0],
        "items": matrix.shape[1],
        "pairs": int(matrix.nnz),
        "version": implicit.__version__,
        "cpu": time.process_time() - began,
        "wall": time.perf_counter() - wall,
    }


def measured(*words: Any) -> dict[str, Any]:
    """A measurement in a process of its own."""
    found = apart.run([sys.executable, __file__, "--one", *map(str, words)])
    if "failed" in found:
        raise RuntimeError(f"{words}: {found['failed']}")
    return {name: value for name, value in found.items() if name != "seconds"}


def main() -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    parser.add_argument("--sizes", default="S,M,L", help="of S, M, L (all)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)} (all)")
    parser.add_argument("--passes", default="S,M", help="sizes of which a whole pass is taken (S,M)")
    parser.add_argument("--width", type=int, default=64, help="of the embeddings (64)")
    parser.add_argument("--batch", type=int, default=2048, help="users of a batch (2048)")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        path, way, *rest, file = options.one
        matrix = scipy.sparse.load_npz(path)
        found = peer(matrix, *map(int, rest)) if way == "implicit" else measure(matrix, way, *map(int, rest))
        apart.keep([found], file)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        run(options, pathlib.Path(folder))
    return 0


def run(options: argparse.Namespace, folder: pathlib.Path) -> None:
    """Takes all measurements; ``folder`` is for matrices."""
    found, rows = record.heading("lazy"), []
    ways = [*options.ways.split(","), *(["implicit"] if importlib.util.find_spec("implicit") else [])]
    for size in options.sizes.split(","):
        path = folder / f"{size}.npz"
        scipy.sparse.save_npz(path, generated.views(size), compressed=False)
        for way in ways:
            if way == "implicit":
                row = measured(path, way, options.width)
            else:
                is_pass = way.startswith("lazy") and size in options.passes.split(",")
                steps = 0 if is_pass else 12 if way.startswith("dense") else 384
                row = measured(path, way, options.width, options.batch, steps)
            rows.append({"size": size, "way": way, "width": options.width, "batch": options.batch} | row)
            if options.out:  # as far as it is
                record.write(found | {"rows": rows}, options.out)
            step = f", {1000 * row['cpu_step']:.2f} ms a step" if "cpu_step" in row else ""
            print(f"{size} {way}: {row['cpu']:.2f} CPU s{step}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
