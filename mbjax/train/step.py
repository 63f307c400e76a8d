"""One optimizer step, and a chunk of them as one scan."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mbjax import ahead, hosts, parallel, precision, types
from mbjax.ops import platforms, sampling
from mbjax.train import lazy, loop, pace


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
    by_row: lazy.ByRow | None = None,
) -> Callable[..., tuple[types.TrainState, dict[str, types.Array]]]:
    """Builds ``chunk(state, graphs, store, plan, first, length, device)``: steps from place ``first`` of an epoch.

    ``device`` is None on one device, else the index along ``parallel.AXIS``, over which the contributions are summed.
    ``products`` is the precision of matrix products (``precision.of``). ``own`` says of each leaf of the parameters
    whether a device has a part of it alone, whose gradient is its own (``mbjax/shards.py``), None: of none. ``by_row``
    updates tables by row (``train/lazy.py``), None: as a whole. The chunk takes ``length`` steps and returns the new
    state and ``{"loss": [length], part: [length], ...}``.
    """

    @jax.jit  # to be traced once, however often it stands in a program
    def step(state, graphs, store, plan, place, device):
        key = jax.random.fold_in(state.key, state.step)
        batch_key, loss_key = jax.random.split(key)
        batch = sampler.batch(store, plan, batch_key, place, 0 if device is None else device)
        if by_row is not None:
            with precision.of(products):
                params, opt_state, logged = by_row.step(state, graphs, batch, loss_key, device is not None)
            return state.replace(step=state.step + 1, params=params, opt_state=opt_state), logged
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
            return step(state, graphs, store, plan, jnp.asarray(place, jnp.int32), device)

        return _steps(body, state, first, length)

    return chunk


def _steps(body, state, first, length):
    """``scan`` of a body over the places from ``first`` on, whose bits do not depend on the length.

    A loop of one turn would be written out by the compiler, and what stands around it would then change last bits of
    what is in it. So on a CPU the compiler is not told how many turns there are.
    """

    def as_loop(state, first):
        def turn(place, carry):
            state, logged = body(carry[0], place)
            return state, jax.tree.map(lambda all, x: all.at[place - first].set(x), carry[1], logged)

        shapes = jax.eval_shape(body, state, first)[1]
        logged = jax.tree.map(lambda x: jnp.zeros((length, *x.shape), x.dtype), shapes)
        return jax.lax.fori_loop(first, first + length, turn, (state, logged))

    def as_scan(state, first):
        return jax.lax.scan(body, state, first + jnp.arange(length))

    return platforms.choose(state, jnp.asarray(first, jnp.int32), cpu=as_loop, default=as_scan)


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


def advance(
    plan: Callable[..., Any],
    chunk: Callable[..., Any],
    steps_per_epoch: int,
    chunk_steps: int,
    memory: Callable[[types.TrainState, int], ahead.Memory | None] | None = None,
) -> loop.Advance:
    """How a state moves on, in chunks of at most ``chunk_steps`` steps; 0: as their time says (``train/pace.py``).

    ``memory``: what a chunk from a state on, of so many steps, takes; it is compiled for it. None: nobody knows.
    """
    unit, going = chunk_length(steps_per_epoch, chunk_steps) if chunk_steps else 0, None
    if not chunk_steps:
        unit = pace.first_unit(steps_per_epoch, jax.default_backend())
        going = pace.Pace(steps_per_epoch, unit, hosts.told)

    def first(state: types.TrainState) -> ahead.Memory | None:
        began = time.perf_counter()
        found = memory(state, unit)
        if going is not None:
            going.ahead += time.perf_counter() - began
        return found

    return loop.Advance(plan, chunk, steps_per_epoch, unit, going, None if memory is None else first)


def chunk_length(steps_per_epoch: int, limit: int) -> int:
    """Steps of a chunk: the largest divisor of an epoch within the limit, if it is at least half of it, else the limit.

    A divisor means one compiled length; without one the epoch's remainder is compiled too.
    """
    limit = min(limit, steps_per_epoch)
    best = max(length for length in range(1, limit + 1) if steps_per_epoch % length == 0)
    return best if 2 * best >= limit else limit
