"""A platform measured in parts: sparse products, the first steps and a test pass of a model, a whole training.

Each part is a generator of findings, so that what was found stays where the rest fails. Numbers that do not depend on
the platform (losses of the first steps, metrics) stand beside the times, for a comparison with another one.
"""

from __future__ import annotations

import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mbjax import batching, config, data, evaluate, machine, models, seen, topk, types
from mbjax.bench import forms, measure, rates, timing
from mbjax.experiment import gathering, training, wiring
from mbjax.ops import adjacency
from mbjax.train import loop

WIDTH = 64  # columns of the dense matrices
SQUARE = {"cpu": 2048}  # of a matrix product that shows the rate of a platform; LARGE elsewhere
LARGE = 8192
PRECISIONS = ("highest", "default")


class Limits(NamedTuple):
    """How long to measure.

    Attributes:
      repeat: calls of each kind.
      seconds: that they may take together, as in ``timing.repeated``.
      steps: of a chunk of training.
      training: seconds that the epochs of ``long`` may take.
    """

    repeat: int = 3
    seconds: float = 5.0
    steps: int = 16
    training: float = 60.0


def settings_of(model: str, dataset: str, protocol: str, **fields: Any) -> config.Config:
    """The configuration of a part."""
    given = {name.replace("__", "."): value for name, value in fields.items()}
    return config.load(model, dataset, models.entry(model).config, protocol=protocol, overrides=given)


def products(dataset: str, limits: Limits) -> Iterator[dict[str, Any]]:
    """The forms of sparse times dense and what the device can do at best."""
    settings = settings_of("popularity", dataset, "paper")
    loaded = data.load(settings.dataset, settings.data)
    spec = types.GraphSpec(loaded.info.behaviors, "bipartite", "symmetric")
    matrix = adjacency.assemble(spec, loaded.train)
    matrix.sort_indices()
    yield {"nodes": matrix.shape[0], "nnz": matrix.nnz, "width": WIDTH}
    rows = []
    for row in forms.compete(matrix, WIDTH, repeat=limits.repeat, limit=limits.seconds):
        rows.append(row)
        yield {"forms": rows}
    near, far = rates.bandwidth(matrix.shape[1] * WIDTH * rates.FLOAT), rates.bandwidth(rates.FAR)
    yield {"bytes a second, array of x's size": near, "bytes a second, memory": far}
    for precision in PRECISIONS:
        with jax.default_matmul_precision(precision):
            size = SQUARE.get(jax.default_backend(), LARGE)
            yield {f"flops, {precision} precision": rates.matmul(size)}


def whole(model: str, dataset: str, limits: Limits) -> Iterator[dict[str, Any]]:
    """A model's first steps, a test pass, and what precision does to it."""
    settings = settings_of(model, dataset, "paper", train__chunk_steps=limits.steps)
    start = time.perf_counter()
    loaded = data.load(settings.dataset, settings.data)
    yield {"load": time.perf_counter() - start}
    start = time.perf_counter()
    experiment = wiring.build(settings, loaded)
    jax.block_until_ready(experiment.graphs)
    yield {"build": time.perf_counter() - start}
    if experiment.model.prepare is not None:
        yield {"prepare": timing.once(lambda: gathering.graphs(experiment.model, loaded))}
    state = experiment.start()
    if experiment.is_trained:
        advance = experiment.advance()
        length = min(advance.chunk_steps, advance.steps_per_epoch)
        start = time.perf_counter()
        state, logged = advance.chunk(state, advance.plan(state, 0), 0, length)
        losses = np.asarray(logged["loss"]).tolist()
        yield {"first_chunk": time.perf_counter() - start, "losses": losses}
    params = jax.tree.map(jnp.copy, state.params)
    evaluator, kept = experiment.evaluator("test"), []

    def full_pass():
        kept.append(evaluator(experiment.model, params, experiment.graphs).table)

    with jax.default_matmul_precision("default"):
        times = timing.repeated(full_pass, limits.repeat, limits.seconds)
    yield {"test_pass": times.median, "compile_test_pass": times.compile, "metrics": flat(kept[-1])}
    if jax.default_backend() == "cpu":  # it has one precision
        yield {"metrics_float32": flat(kept[-1])}
    else:
        with jax.default_matmul_precision("highest"):
            times = timing.repeated(full_pass, limits.repeat, limits.seconds)
        yield {"test_pass_float32": times.median, "metrics_float32": flat(kept[-1])}
        yield {"lists": dict(precision(experiment, params, evaluator))}
    if experiment.is_trained:
        found, _ = measure.training(experiment, state, repeat=limits.repeat, limit=limits.seconds, advance=advance)
        yield {"step": found.step, "step_best": found.step_best, "order": found.order, "epoch": found.epoch}
    yield {"peak_memory_mib": machine.peak_memory_mib(), "peak_device_memory_mib": machine.peak_device_memory_mib()}


def precision(
    experiment: wiring.Experiment, params: types.Params, evaluator: evaluate.Evaluator
) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each behavior, the shares of lists, of their places and of their sets that the default precision changes."""
    model, loaded, section = experiment.model, experiment.dataset, experiment.config.evaluate
    with jax.default_matmul_precision("highest"):
        encoded = topk.encode(model, params, experiment.graphs)
    for behavior in evaluator.behaviors:
        users = np.flatnonzero(np.diff(loaded.test[behavior].indptr)).astype(np.int32)
        masked = seen.pairs(loaded, behavior, exclude="train", mask=section.mask)
        queries = batching.prepare(users, masked, section.batch_size)
        lists = []
        for name in PRECISIONS:
            with jax.default_matmul_precision(name):
                found = topk.start(model, params, encoded, queries, behavior, max(section.ks), section.item_tile)
                lists.append(topk.finish(found, users, behavior)[0])
        differs = lists[0] != lists[1]
        sets = (np.sort(lists[0], axis=1) != np.sort(lists[1], axis=1)).any(axis=1)
        shares = {"lists": differs.any(axis=1).mean(), "sets": sets.mean(), "places": differs.mean()}
        yield behavior, {"users": len(users)} | {name: float(value) for name, value in shares.items()}


def fit(model: str, dataset: str, limits: Limits) -> Iterator[dict[str, Any]]:
    """A whole training, from files to the test table."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        outcome = training.train(settings_of(model, dataset, "honest"), pathlib.Path(folder, "run"))
        yield {"end_to_end": time.perf_counter() - start, "times": outcome.seconds, "epochs": outcome.epochs}
        yield {"metrics": flat(next(iter(outcome.tables.values())))}
    yield {"peak_memory_mib": machine.peak_memory_mib(), "peak_device_memory_mib": machine.peak_device_memory_mib()}


def long(model: str, dataset: str, epochs: int, limits: Limits) -> Iterator[dict[str, Any]]:
    """Epochs one after another without evaluations, as many of those asked for as the time allows."""
    experiment = wiring.build(settings_of(model, dataset, "paper"))
    start, taken = time.perf_counter(), []

    def on_epoch(epoch, state, position):
        taken.append(position.seconds)
        return time.perf_counter() - start > limits.training

    advance = experiment.advance()
    loop.fit(experiment.start(), loop.Position(), advance, epochs=epochs, on_epoch=on_epoch)
    usual = float(np.median(taken[1:] or taken))
    yield {"epochs": epochs, "epochs_done": len(taken), "seconds_done": time.perf_counter() - start}
    # What compiling took is in the first epoch.
    yield {"epoch": usual, "all_epochs": taken[0] + usual * (epochs - 1)}
    yield {"peak_memory_mib": machine.peak_memory_mib(), "peak_device_memory_mib": machine.peak_device_memory_mib()}


def flat(table: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """``"buy hr@10"`` -> value."""
    return {f"{b} {name}": value for b, row in table.items() for name, value in row.items() if "@" in name}
