"""Times of BVAE: a training epoch, a test pass over all behaviors, where the time of a step goes, and the floor.

    python benchmarks/bvae.py [--dataset=jd] [--out=benchmarks/results/bvae-jd-cpu.json] [--field=value ...]

Run it on an idle machine. The floor of a step is its arithmetic at the rate of the machine's own best large matrix
product, and the optimizer's traffic at the rate of an addition in place; both are measured in the same process.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from mbjax.bench import rates, script, timing
from mbjax.experiment import wiring
from mbjax.ops import losses, noise, partition, ragged, sampling

AUTHORS_EPOCH = 40.0  # seconds of the released program on 2 cores, 22 steps and the test pass of JD
PLAIN_JAX_EPOCH = 3.2  # seconds of a plain sparse-input JAX version, training only


def step_parts(experiment: wiring.Experiment, state, measured: rates.Rates, **repeats) -> list[script.Part]:
    """Seconds of the parts of one step, each compiled alone."""
    info, size = experiment.dataset.info, experiment.config.model.embedding_size
    params = state.params["params"]
    sampler, store = sampling.user_sampler(experiment.model.batch, experiment.dataset.train)
    key = jax.random.key(0)
    plan = sampler.plan(key, 0)
    rows = sampler.size
    parts = []

    def draw(store, key):
        return sampler.batch(store, plan, key, 0)

    batch = jax.jit(draw)(store, key)
    parts.append(script.Part("draw the batch", timing.median_seconds(draw, store, key, **repeats)))

    def masks(words, history):
        shared = noise.entry_dropout(words, history["union"], 0, info.num_behaviors, 0.5)
        own = [noise.entry_dropout(words, history[b], 1, 1, 0.5) for b in info.behaviors]
        return shared, own, noise.normal(words, 2, (info.num_behaviors, size))

    drawn = (batch.noise, batch.history)
    parts.append(script.Part("masks and noise", timing.median_seconds(masks, *drawn, **repeats)))
    shared, own, _ = jax.jit(masks)(*drawn)

    def encode(kernels, history, shared, own):
        mean = ragged.embed(kernels["mean_union"]["kernel"], history["union"], shared)
        rest = [
            ragged.embed(kernels[f"deviation_{b}"]["kernel"], history[b], weight)
            for b, weight in zip(info.behaviors, own, strict=True)
        ]
        return mean, rest

    encoders = {name: value for name, value in params.items() if name.startswith(("mean_union", "deviation"))}
    given = (encoders, batch.history, shared, own)
    encoding = timing.median_seconds_with_gradients(encode, *given, **repeats)
    parts.append(script.Part("encoders, with gradients", encoding))
    latent = jax.random.normal(key, (rows, size))
    for name in info.behaviors:
        decoder, history = params[f"decoder_{name}"], batch.history[name]
        pairs = experiment.dataset.train[name].indptr
        busy = float((pairs[1:] > pairs[:-1]).mean())
        every_row = 3 * 2 * rows * size * info.num_items / measured.flops

        def log_partition(variables, history):
            z, decoder = variables
            count = ragged.lengths(history).astype(jnp.float32)
            return partition.weighted_log_partition(z, decoder["kernel"], decoder["bias"], count)

        def nll(variables, history):
            z, decoder = variables
            return losses.multinomial_nll(z, decoder["kernel"], decoder["bias"], history, jnp.ones(rows))

        given = ((latent, decoder), history)
        first = timing.median_seconds_with_gradients(log_partition, *given, **repeats)
        both = timing.median_seconds_with_gradients(nll, *given, **repeats)
        bound = f"products of the {busy:.0%} of rows with items ({1e3 * every_row:.1f} ms for all)"
        parts.append(script.Part(f"log-partition of {name}, with gradients", first, busy * every_row, bound))
        parts.append(script.Part(f"positive logits of {name}", max(0.0, both - first)))
    optimizer = experiment.optimizer()

    def update(state, gradients):
        params, opt_state = state
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    copies = jax.tree.map(jnp.copy, (state.params, state.opt_state))
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    seconds = timing.median_seconds_in_place(update, copies, state.params, **repeats)
    parts.append(script.Part("Adam", seconds, 3.5 * rates.add_in_place(count), f"7 passes over {count:,} parameters"))
    return parts


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes."""
    return script.main(
        "bvae",
        "jd",
        step_parts,
        description=__doc__,
        factors={
            "epoch and test pass, times faster than the released program": (AUTHORS_EPOCH, ("epoch", "full_pass")),
            "epoch, times faster than plain JAX": (PLAIN_JAX_EPOCH, ("epoch",)),
        },
        argv=argv,
    )


if __name__ == "__main__":
    raise SystemExit(main())
