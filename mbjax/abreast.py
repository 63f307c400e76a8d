"""Several training states in one program: the seeds of a run, which share graphs and programs and never meet."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from mbjax import parallel


@dataclasses.dataclass(frozen=True)
class Abreast:
    """States of several runs in one program, which never meet: side by side on a device, or one on each of several.

    Attributes:
      size: states that the program is compiled for; a multiple of ``devices``. Fewer are filled up.
      devices: that they are divided among. Each has a first axis of its states (``jax.vmap``), but where it has only
        one: there it runs the program of a run alone, which has the same bits.
    """

    size: int
    devices: int = 1

    @functools.cached_property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(parallel.Placement(self.devices).mesh, parallel.DIVIDED)

    def put(self, states: Sequence[Any]) -> Any:
        """States, at most ``size``, along a new first axis; the last one is repeated to fill it."""
        filled = [*states, *states[-1:] * (self.size - len(states))]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *filled)
        return stacked if self.devices == 1 else jax.device_put(stacked, self._sharding)

    def part(self, stacked: Any, place: int) -> Any:
        """A copy of one of the states, on the first device."""
        if self.devices == 1:
            return jax.tree.map(lambda x: x[place], stacked)
        number, inner = divmod(place, self.size // self.devices)
        first = self._sharding.mesh.devices.flat[0]

        def one(x: Any) -> Any:
            if parallel.is_key(x):
                return jax.random.wrap_key_data(one(jax.random.key_data(x)), impl=jax.random.key_impl(x))
            return jax.device_put(x.addressable_data(number)[inner], first)

        return jax.tree.map(one, stacked)

    def compile_chunk(self, chunk: Callable[..., Any]) -> Callable[..., Any]:
        """As ``Placement.compile_chunk``: states, plans and losses have the first axis, graphs and store have not.

        Graphs and store are on every device.
        """

        def some(state, graphs, store, plan, first, length):
            def one(state, plan):
                return chunk(state, graphs, store, plan, first, length, None)

            if self.size > self.devices:
                return jax.vmap(one)(state, plan)
            state, plan = jax.tree.map(lambda x: x[0], (state, plan))
            return jax.tree.map(lambda x: x[None], one(state, plan))

        def run(state, graphs, store, plan, first, length):
            if self.devices == 1:
                return some(state, graphs, store, plan, first, length)
            each = jax.shard_map(
                functools.partial(some, length=length),
                mesh=self._sharding.mesh,
                in_specs=(parallel.DIVIDED, parallel.WHOLE, parallel.WHOLE, parallel.DIVIDED, parallel.WHOLE),
                out_specs=parallel.DIVIDED,
                check_vma=False,
            )
            return each(state, graphs, store, plan, first)

        return jax.jit(run, static_argnums=5, donate_argnums=0)

    def compile_plan(self, plan: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``plan(keys, epoch)``: an order for each."""
        return jax.jit(jax.vmap(plan, (0, None)), out_shardings=None if self.devices == 1 else self._sharding)
