"""Device placement: one device by ``jit``, several by ``pmap``. The only caller of either for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mbjax import errors, types

AXIS = "devices"


def check(num_devices: int) -> None:
    """Refuses more devices than there are, naming the remedy for virtual ones.

    Raises:
      ConfigError: if fewer than ``num_devices`` are visible.
    """
    visible = jax.local_device_count()
    if num_devices > visible:
        raise errors.ConfigError(
            f"--devices={num_devices}, but JAX sees {visible} ({jax.default_backend()}). Choose at most {visible}, "
            f"or set XLA_FLAGS=--xla_force_host_platform_device_count={num_devices} for virtual CPU devices."
        )


def compile_chunk(chunk: Callable[..., Any], num_devices: int) -> Callable[..., Any]:
    """Compiles ``chunk(state, graphs, store, plan, first, length, device)`` for one or several devices.

    The state is donated. Over several devices it is replicated along a leading axis (``replicate``); graphs, store
    and plan are broadcast. Losses come back once.

    Args:
      chunk: pure; ``length`` static; sums losses and gradients over ``AXIS`` itself where ``device`` is not None.
      num_devices: 1 uses ``jax.jit``.

    Returns:
      ``run(state, graphs, store, plan, first, length) -> (state, losses)``.
    """
    if num_devices == 1:
        compiled = jax.jit(
            lambda state, graphs, store, plan, first, length: chunk(state, graphs, store, plan, first, length, None),
            static_argnums=5,
            donate_argnums=0,
        )
        return compiled

    devices = jax.local_devices()[:num_devices]
    mapped = jax.pmap(
        lambda state, graphs, store, plan, first, length: chunk(
            state, graphs, store, plan, first, length, jax.lax.axis_index(AXIS)
        ),
        axis_name=AXIS,
        in_axes=(0, None, None, None, None),
        static_broadcasted_argnums=5,
        donate_argnums=0,
        devices=devices,
    )

    def run(state, graphs, store, plan, first, length):
        state, losses = mapped(state, graphs, store, plan, first, length)
        return state, jax.tree.map(lambda x: x[0], losses)

    return run


def replicate(state: types.TrainState, num_devices: int) -> types.TrainState:
    """Copies a state to every device, along a new leading axis; the state itself for one device."""
    if num_devices == 1:
        return state
    devices = jax.local_devices()[:num_devices]
    mesh = jax.sharding.Mesh(devices, (AXIS,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))
    return jax.tree.map(lambda x: jax.device_put(jnp.stack([x] * num_devices), spread), state)


def single(state: types.TrainState, num_devices: int) -> types.TrainState:
    """The state of the first device: the inverse of ``replicate``."""
    return state if num_devices == 1 else jax.tree.map(lambda x: x[0], state)
