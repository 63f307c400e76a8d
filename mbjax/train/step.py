"""One optimizer step, and a chunk of them as one scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mbjax import parallel, precision, types
from mbjax.ops import sampling


def init_state(
    model: types.Model, graphs: types.Graphs, optimizer: optax.GradientTransformation, seed: int
) -> types.TrainState:
    """The state before the first step; ``seed`` decides the initial values and every draw of the run."""
    init_key, key = jax.random.split(jax.random.key(seed))
    params = jax.jit(model.init)(init_key, graphs)
    return types.TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params), key=key)


def make_chunk(
    model: types.Model,
    sampler: sampling.UserSampler,
    optimizer: optax.GradientTransformation,
    products: str = "default",
    own: Any = None,
) -> Callable[..., tuple[types.TrainState, dict[str, types.Array]]]:
    """Builds ``chunk(state, graphs, store, plan, first, length, device)``: steps from place ``first`` of an epoch.

    ``device`` is None on one device, else the index along ``parallel.AXIS``, over which the contributions are summed.
    ``products`` is the precision of matrix products (``precision.of``). ``own`` says of each leaf of the parameters
    whether a device has a part of it alone, whose gradient is its own (``mbjax/shards.py``), None: of none. The chunk
    takes ``length`` steps and returns the new state and ``{"loss": [length], part: [length], ...}``.
    """

    def step(state, graphs, store, plan, place, device):
        key = jax.random.fold_in(state.key, state.step)
        batch_key, loss_key = jax.random.split(key)
        batch = sampler.batch(store, plan, batch_key, place, 0 if device is None else device)
        gradient = jax.value_and_grad(model.loss, has_aux=True)
        with precision.of(products):
            (loss, parts), grads = gradient(state.params, graphs, batch, loss_key, state.step)
        logged = {"loss": loss, **parts}
        if device is not None:
            logged, grads = _summed(logged, grads, own)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state), logged

    def chunk(state, graphs, store, plan, first, length, device):
        def body(state, place):
            return step(state, graphs, store, plan, place, device)

        return jax.lax.scan(body, state, first + jnp.arange(length))

    return chunk


def _summed(logged, grads, own):
    if own is None:
        return jax.lax.psum((logged, grads), parallel.AXIS)
    leaves, structure = jax.tree.flatten(grads)
    is_own = jax.tree.leaves(own)
    shared = [leaf for leaf, mine in zip(leaves, is_own, strict=True) if not mine]
    logged, shared = jax.lax.psum((logged, shared), parallel.AXIS)
    shared = iter(shared)
    leaves = [leaf if mine else next(shared) for leaf, mine in zip(leaves, is_own, strict=True)]
    return logged, jax.tree.unflatten(structure, leaves)


def chunk_length(steps_per_epoch: int, limit: int) -> int:
    """Steps of a chunk: the largest divisor of an epoch within the limit, if it is at least half of it, else the limit.

    A divisor means one compiled length; without one the epoch's remainder is compiled too.
    """
    limit = min(limit, steps_per_epoch)
    best = max(length for length in range(1, limit + 1) if steps_per_epoch % length == 0)
    return best if 2 * best >= limit else limit
