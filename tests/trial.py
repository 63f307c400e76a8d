"""Tiny whole runs that the end-to-end tests share: data on disk, configurations, programs, comparisons bit for bit."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import toy
from jax.experimental.compilation_cache import compilation_cache

from mbjax import compilation, models, types
from mbjax import config as configuration
from mbjax.data import content, prepared, vocabulary
from mbjax.experiment import wiring
from mbjax.train import checkpoint, logging

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS = 3  # of an epoch: 23 users in batches of 8
SETTINGS = {
    "model.embedding_size": 4,
    "train.batch_size": 8,
    "train.epochs": 4,
    "train.chunk_steps": 1,
    "evaluate.ks": "1,5",
    "evaluate.groups": "5",
    "evaluate.last": True,
}
SAVE = {"train__save_minutes": 1e-9}  # after every epoch
CACHE = {
    "jax_compilation_cache_dir": "",
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_compilation_cache_max_size": compilation.MAX_BYTES,  # with which JAX writes the times that ``mend`` looks for
}


def write_data(folder: pathlib.Path) -> pathlib.Path:
    """The toy data of two behaviors as a prepared folder; raw ids are ``"user-0"``, ... and 1000, 1001, ..."""
    source = toy.dataset(2)
    info = source.info
    pairs = {
        split: {name: np.argwhere(matrix.toarray()) for name, matrix in getattr(source, split).items()}
        for split in ("train", "valid", "test")
    }
    users = vocabulary.Vocabulary([f"user-{u}" for u in range(info.num_users)])
    items = vocabulary.Vocabulary(np.arange(1000, 1000 + info.num_items))
    sizes = (info.num_users, info.num_items, info.behaviors)
    prepared.write(content.build("toy", *sizes, pairs, users=users, items=items), folder)
    return folder


def config(data: pathlib.Path, model: str = "bvae", protocol: str = "honest", **overrides: Any):
    """A configuration of a small run; ``train__epochs=2`` stands for train.epochs."""
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    known = configuration.known_fields(models.entry(model).config)
    settings = {name: value for name, value in SETTINGS.items() if name in known} | given
    return configuration.load(model, str(data), models.entry(model).config, protocol=protocol, overrides=settings)


@contextlib.contextmanager
def compiled_once(cache: pathlib.Path) -> Iterator[None]:
    """Keeps compiled programs in a folder, so that many runs of one model, in any process, compile it once."""
    compilation.mend(cache, young=0.0)  # a test may have killed a program that was writing
    before = {name: getattr(jax.config, name) for name in CACHE}
    for name, value in (CACHE | {"jax_compilation_cache_dir": str(cache)}).items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def start(cache: pathlib.Path, program: str, *options: str) -> subprocess.Popen:
    """Starts ``train.py`` or ``eval.py``. It sees as many devices as the tests do: compiled programs are shared."""
    kept = {name.upper(): str(value) for name, value in CACHE.items()} | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / program), *options],
        env=os.environ | kept | {"JAX_PLATFORMS": "cpu", "COLUMNS": "120"},
        cwd=cache.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def options(data: pathlib.Path, workdir: pathlib.Path, **overrides: Any) -> list[str]:
    """``config`` as the command line of ``train.py``."""
    given = SETTINGS | {name.replace("__", "."): value for name, value in overrides.items()}
    fields = [f"--{name}={value}" for name, value in given.items()]
    return ["--model=bvae", f"--dataset={data}", f"--workdir={workdir}", *fields]


def wait_for_rows(process: subprocess.Popen, workdir: pathlib.Path, count: int) -> None:
    """Returns as soon as a running program has logged so many epochs."""
    file = workdir / "metrics.jsonl"
    while not (file.exists() and file.read_bytes().count(b"\n") >= count):
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}:\n{process.stdout.read()}")
        time.sleep(0.05)


@functools.cache
def _target(data: str) -> types.TrainState:
    return jax.eval_shape(wiring.build(config(pathlib.Path(data))).start)


def restored(data: pathlib.Path, folder: pathlib.Path) -> tuple[types.TrainState, dict[str, Any]]:
    """The newest checkpoint of ``best/`` or ``last/`` and its record."""
    target = _target(str(data))
    checkpoints = checkpoint.Checkpoints(folder, read_only=True)
    try:
        return checkpoints.restore(target.replace(opt_state=()) if folder.name == "best" else target)
    finally:
        checkpoints.close()


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics without the times."""
    return {name: value for name, value in row.items() if name not in ("seconds", "eval_seconds")}


def assert_same_state(left: types.TrainState, right: types.TrainState) -> None:
    """Every leaf, bit for bit."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def assert_same_run(data: pathlib.Path, left: pathlib.Path, right: pathlib.Path) -> None:
    """Two run folders agree in all but times: last and best state, where they stand, and the rows of metrics."""
    (state, record), (other, other_record) = restored(data, left / "last"), restored(data, right / "last")
    assert_same_state(state, other)
    assert record["best"] == other_record["best"]
    assert untimed(record["position"]) == untimed(other_record["position"])
    (best, record), (other, other_record) = restored(data, left / "best"), restored(data, right / "best")
    assert_same_state(best, other)
    assert record == other_record
    rows, others = (list(map(untimed, logging.read_rows(folder / "metrics.jsonl"))) for folder in (left, right))
    assert rows == others
