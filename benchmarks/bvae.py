"""Times of BVAE: a training epoch, a test pass over all behaviors, where the time of a step goes, and the floor.

    python benchmarks/bvae.py [--dataset=jd] [--epochs=7] [--out=benchmarks/results/bvae-jd-cpu.json]

Run it on an idle machine. The floor of a step is its arithmetic at the rate of the machine's own best large matrix
product, and the optimizer's traffic at the rate of an addition in place; both are measured in the same process.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp
import optax
import rich.console
import rich.table

from mbjax import config as configuration
from mbjax import machine, models
from mbjax.experiment import wiring
from mbjax.ops import losses, noise, partition, ragged, sampling

AUTHORS_EPOCH = 40.0  # seconds of the released program on 2 cores, 22 steps and the test pass of JD
PLAIN_JAX_EPOCH = 3.2  # seconds of a plain sparse-input JAX version, training only


def median_seconds(function, *arguments, repeat: int = 9) -> float:
    """Median time of a compiled call after a first one that is not counted."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def median_seconds_in_place(function, state, *arguments, repeat: int = 9) -> float:
    """The same for a call that takes over its first argument and returns its successor, as a training step does."""
    compiled = jax.jit(function, donate_argnums=0)
    state = jax.block_until_ready(compiled(state, *arguments))
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        state = jax.block_until_ready(compiled(state, *arguments))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def epochs(experiment: wiring.Experiment, count: int) -> tuple[dict[str, float], object]:
    """Times of whole epochs and of test passes as training sees them; the last state."""
    advance, state = experiment.advance(), experiment.start()
    steps = advance.steps_per_epoch
    seconds = []
    for epoch in range(count + 1):
        start = time.perf_counter()
        plan = advance.plan(state, epoch)
        for first in range(0, steps, advance.chunk_steps):
            state, logged = advance.chunk(state, plan, first, min(advance.chunk_steps, steps - first))
            jax.block_until_ready(logged)
        seconds.append(time.perf_counter() - start)
    evaluator, passes = experiment.evaluator("test"), []
    for _ in range(count + 1):
        start = time.perf_counter()
        evaluator(experiment.model, state.params, experiment.graphs)
        passes.append(time.perf_counter() - start)
    return {
        "first_epoch": seconds[0],
        "train_epoch": statistics.median(seconds[1:]),
        "train_epoch_best": min(seconds[1:]),
        "test_pass": statistics.median(passes[1:]),
        "steps": steps,
    }, state


def breakdown(experiment: wiring.Experiment, state) -> dict[str, float]:
    """Seconds of the parts of one step, each compiled alone."""
    info, size = experiment.dataset.info, experiment.config.model.embedding_size
    params = state.params["params"]
    sampler, store = sampling.user_sampler(experiment.model.batch, experiment.dataset.train)
    key = jax.random.key(0)
    plan = sampler.plan(key, 0)
    batch = jax.jit(lambda: sampler.batch(store, plan, key, 0))()
    rows = sampler.size
    parts = {"draw the batch": median_seconds(lambda k: sampler.batch(store, plan, k, 0), key)}

    def masks(words):
        shared = noise.entry_dropout(words, batch.history["union"], 0, info.num_behaviors, 0.5)
        own = [noise.entry_dropout(words, batch.history[b], 1, 1, 0.5) for b in info.behaviors]
        return shared, own, noise.normal(words, 2, (info.num_behaviors, size))

    parts["masks and noise"] = median_seconds(masks, batch.noise)
    shared, own, _ = jax.jit(masks)(batch.noise)

    def encode(kernels):
        mean = ragged.embed(kernels["mean_union"]["kernel"], batch.history["union"], shared)
        rest = [
            ragged.embed(kernels[f"deviation_{b}"]["kernel"], batch.history[b], weight)
            for b, weight in zip(info.behaviors, own, strict=True)
        ]
        return jnp.sum(mean) + sum(jnp.sum(jnp.square(r)) for r in rest)

    encoders = {name: value for name, value in params.items() if name.startswith(("mean_union", "deviation"))}
    parts["encoders, with gradients"] = median_seconds(jax.grad(encode), encoders)
    latent = jax.random.normal(key, (rows, size))
    for name in info.behaviors:
        decoder, history = params[f"decoder_{name}"], batch.history[name]
        count = ragged.lengths(history).astype(jnp.float32)

        def log_partition(z, decoder, count=count):
            return partition.weighted_log_partition(z, decoder["kernel"], decoder["bias"], count)

        def nll(z, decoder, history=history):
            return losses.multinomial_nll(z, decoder["kernel"], decoder["bias"], history, jnp.ones(rows))

        parts[f"log-partition of {name}, with gradients"] = median_seconds(
            jax.grad(log_partition, argnums=(0, 1)), latent, decoder
        )
        whole = median_seconds(jax.grad(nll, argnums=(0, 1)), latent, decoder)
        parts[f"positive logits of {name}"] = max(0.0, whole - parts[f"log-partition of {name}, with gradients"])
    optimizer = experiment.optimizer()

    def update(state, gradients):
        params, opt_state = state
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    copies = jax.tree.map(jnp.copy, (state.params, state.opt_state))
    parts["Adam"] = median_seconds_in_place(update, copies, state.params)
    return parts


def floor(experiment: wiring.Experiment, state) -> dict[str, float]:
    """The least a step could take: decoder arithmetic at the best measured rate, Adam's traffic at that of a copy."""
    info, size = experiment.dataset.info, experiment.config.model.embedding_size
    rows = experiment.model.batch.size
    left, right = jnp.ones((2048, 2048)), jnp.ones((2048, 2048))
    rate = 2 * 2048**3 / median_seconds(jnp.matmul, left, right)
    flops = 3 * 2 * rows * size * info.num_items  # of one behavior, gradients included
    busy = sum(
        (experiment.dataset.train[b].indptr[1:] > experiment.dataset.train[b].indptr[:-1]).mean()
        for b in info.behaviors
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    copy = median_seconds_in_place(lambda x: x + 1.0, jnp.ones(parameters))
    return {
        "parameters": parameters,
        "best matrix product, GFLOP/s": rate / 1e9,
        "decoders, all rows": info.num_behaviors * flops / rate,
        "decoders, rows with items": float(busy) * flops / rate,
        "Adam, 7 passes over the parameters": 3.5 * copy,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="jd")
    parser.add_argument("--epochs", type=int, default=7, help="epochs and test passes that are timed")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    options = parser.parse_args()
    config = configuration.load("bvae", options.dataset, models.MODELS["bvae"].config, protocol="paper")
    experiment = wiring.build(config)
    times, state = epochs(experiment, options.epochs)
    memory = machine.peak_memory_mib()
    parts, least = breakdown(experiment, state), floor(experiment, state)
    steps = times["steps"]
    result = {
        "benchmark": f"bvae on {options.dataset}",
        "machine": machine.describe(),
        "backend": jax.default_backend(),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "seconds": times,
        "peak_memory_mib": memory,
        "step_parts": parts,
        "floor_of_a_step": least,
    }
    if options.dataset == "jd":
        both = times["train_epoch"] + times["test_pass"]
        result["times_faster_than_the_released_program"] = AUTHORS_EPOCH / both
        result["times_faster_than_plain_jax_training"] = PLAIN_JAX_EPOCH / times["train_epoch"]
    table = rich.table.Table(title=f"{result['benchmark']}, {result['machine']}", title_justify="left")
    table.add_column("what")
    table.add_column("ms", justify="right")
    table.add_row("training epoch", f"{1e3 * times['train_epoch']:.0f}")
    table.add_row("test pass, all behaviors", f"{1e3 * times['test_pass']:.0f}")
    table.add_row(f"a step (epoch / {steps})", f"{1e3 * times['train_epoch'] / steps:.1f}", end_section=True)
    for name, seconds in parts.items():
        table.add_row(name, f"{1e3 * seconds:.1f}")
    table.add_row("sum of the parts", f"{1e3 * sum(parts.values()):.1f}", end_section=True)
    for name, value in least.items():
        if name.startswith(("decoders", "Adam")):
            table.add_row(f"floor: {name}", f"{1e3 * value:.1f}")
    console = rich.console.Console()
    console.print(table)
    console.print(f"peak memory {memory} MiB; best matrix product {least['best matrix product, GFLOP/s']:.0f} GFLOP/s")
    for name in ("times_faster_than_the_released_program", "times_faster_than_plain_jax_training"):
        if name in result:
            console.print(f"{name.replace('_', ' ')}: {result[name]:.1f}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
