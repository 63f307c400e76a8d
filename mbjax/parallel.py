"""Device placement: what every device has whole, what is divided among them, and the programs of one and of many.

The only caller of ``jax.pmap`` and ``jax.shard_map``. Both run the same functions on a mesh of one axis, and neither
sends anything but numbers from one call to the next: state, graphs and stores are put on every device once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mbjax import errors, types

AXIS = types.AXIS
WHOLE, DIVIDED = PartitionSpec(), PartitionSpec(AXIS)
PIECE = 2**26  # bytes of a divided array that a device holds on their way to other hosts


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


@dataclasses.dataclass(frozen=True)
class Placement:
    """Which devices work on a run, and by which of JAX's ways.

    On one device every method hands its argument back and nothing is placed.

    Attributes:
      devices: the first so many of each host.
      hosts: 1 stays on this host, whoever else there is; else all of them.
      backend: what compiles training, ``"pmap"`` or ``"shard_map"``. Several hosts always take ``"shard_map"``, since
        what ``pmap`` returns stays with its host; so does ranking, which has no use for the difference.
    """

    devices: int = 1
    backend: str = "pmap"
    hosts: int = 1

    @functools.cached_property
    def size(self) -> int:
        """Number of devices, of all hosts together."""
        return self.devices * self.hosts

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices in a row, those of a host side by side."""
        numbers = [jax.process_index()] if self.hosts == 1 else range(self.hosts)
        of_hosts = [[d for d in jax.devices() if d.process_index == number][: self.devices] for number in numbers]
        return Mesh(np.array(of_hosts).reshape(-1), (AXIS,))

    def everywhere(self, tree: Any) -> Any:
        """Puts the leaves of a tree on every device; those that are there already stay as they are.

        Over several hosts each brings the same values, and nothing is sent. On one host the first device keeps the
        buffer that it has, so that a program to which the copy is given away (donated) takes the original too.
        """
        if self.size == 1:
            return tree
        sharding, found = NamedSharding(self.mesh, WHOLE), {}

        def put(x: Any) -> Any:
            # What stands in several places of the tree, as the indices of a matrix and its transpose, stays one array.
            if id(x) not in found:
                found[id(x)] = _put_everywhere(sharding, x)
            return found[id(x)]

        return jax.tree.map(put, tree)

    def put(self, state: Any) -> Any:
        """Puts a training state where the steps want it."""
        return self.everywhere(state)

    def kept(self, state: Any) -> Any:
        """A training state as it was before ``put``."""
        return self.here(state)

    def kept_params(self, params: Any) -> Any:
        """Its parameters, likewise."""
        return self.here(params)

    def placed(self, params: Any, graphs: Any) -> tuple[Any, Any]:
        """Puts parameters and graphs where evaluations want them."""
        return self.everywhere((params, graphs))

    def here(self, tree: Any) -> Any:
        """What one device of this host holds of leaves that are everywhere: the buffers themselves, nothing moves."""
        return tree if self.size == 1 else jax.tree.map(_local, tree)

    def divided(self, tree: Any) -> Any:
        """Divides leaves among the devices along the first axis, which is a multiple of ``size`` (``rounded``)."""
        if self.size == 1:
            return jax.tree.map(jax.numpy.asarray, tree)
        sharding = NamedSharding(self.mesh, DIVIDED)
        if self.hosts == 1:
            return jax.device_put(tree, sharding)
        return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, lambda i, x=x: x[i]), tree)

    @functools.cached_property
    def is_mine(self) -> tuple[bool, ...]:
        """Of each device, whether it is one of this host."""
        return tuple(device.process_index == jax.process_index() for device in self.mesh.devices.flat)

    def side_by_side(self, parts: Sequence[np.ndarray | None]) -> jax.Array:
        """An array that is divided along the first axis, of a part of one shape for each device.

        Each host brings the parts of its own devices; the others are not looked at.
        """
        triples = zip(parts, self.is_mine, self.mesh.devices.flat, strict=True)
        local = [jax.device_put(part, device) for part, is_mine, device in triples if is_mine]
        shape = (len(parts) * local[0].shape[0], *local[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, NamedSharding(self.mesh, DIVIDED), local)

    def in_order(self, rows: Any, places: np.ndarray) -> Any:
        """Rows of divided arrays in the order of their places, on every device."""
        if self.size == 1:
            return jax.tree.map(lambda x: x[places], rows)
        return _take(rows, jax.numpy.asarray(places), NamedSharding(self.mesh, WHOLE))

    def batch(self, users: int) -> int:
        """How many users a device scores at once, where a host's memory or an accelerator is meant to score so many.

        Virtual devices of a CPU share its caches and take a part each: four matrices of scores of full size take each
        other's place there.
        """
        if self.size == 1 or self.mesh.devices.flat[0].platform != "cpu":
            return users
        return -(-users // self.devices)

    def rounded(self, number: int) -> int:
        """The next multiple of the number of devices."""
        return -(-number // self.size) * self.size

    def compile_chunk(self, chunk: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``chunk(state, graphs, store, plan, first, length, device)`` for one or several devices.

        The state is donated. All arguments but the numbers are ``everywhere``, and so are the results.

        Args:
          chunk: pure; ``length`` static; sums losses and gradients over ``AXIS`` itself where ``device`` is not None.

        Returns:
          ``run(state, graphs, store, plan, first, length) -> (state, losses)``.
        """
        if self.size == 1:
            return jax.jit(functools.partial(_without_device, chunk), static_argnums=5, donate_argnums=0)
        if self.backend == "pmap" and self.hosts == 1:
            return self._by_pmap(chunk)

        def run(state, graphs, store, plan, first, length):
            def one(*given):
                return chunk(*given, length, jax.lax.axis_index(AXIS))

            each = jax.shard_map(one, mesh=self.mesh, in_specs=WHOLE, out_specs=WHOLE, check_vma=False)
            return each(state, graphs, store, plan, first)

        return jax.jit(run, static_argnums=5, donate_argnums=0)

    def _by_pmap(self, chunk: Callable[..., Any]) -> Callable[..., Any]:
        # It wants an argument with an axis to map: the number of each device.
        number = self.divided(np.arange(self.size, dtype=np.int32))
        mapped = jax.pmap(
            lambda number, state, graphs, store, plan, first, length: chunk(
                state, graphs, store, plan, first, length, number
            ),
            axis_name=AXIS,
            in_axes=(0, None, None, None, None, None),
            out_axes=None,
            static_broadcasted_argnums=6,
            donate_argnums=1,
            devices=list(self.mesh.devices.flat),
        )
        return functools.partial(mapped, number)

    def compile_plan(self, plan: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``plan(key, epoch)``: every device draws the same order, so that none has to be sent."""
        return jax.jit(plan, out_shardings=None if self.size == 1 else NamedSharding(self.mesh, WHOLE))

    def divide(self, function: Callable[..., Any], number: int = 1, specs: Any = ()) -> Callable[..., Any]:
        """Inside ``jit``: a function whose last ``number`` arguments are ``divided``, all others ``everywhere``.

        Its results are divided too. ``specs`` is for placements that divide more.
        """
        if self.size == 1:
            return function

        def run(*given):
            specs = (WHOLE,) * (len(given) - number) + (DIVIDED,) * number
            return jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=DIVIDED, check_vma=False)(*given)

        return run


ONE = Placement()


def whole(x: jax.Array) -> np.ndarray:
    """An array on the host, put together of what all devices hold; over several hosts each of them has to ask.

    No device gets all of it: it goes from host to host some rows of each device at a time.
    """
    if x.is_fully_addressable:
        return np.asarray(x)
    mesh, axes = x.sharding.mesh, [n for n, name in enumerate(x.sharding.spec) if name in (AXIS, (AXIS,))]
    if not axes:
        return np.asarray(_local(x))
    (axis,) = axes
    block = x.shape[axis] // mesh.size
    size = max(1, min(block, PIECE * block // max(x.nbytes, 1)))
    out = np.empty(x.shape, x.dtype)
    for start in range(0, block, size):
        first = min(start, block - size)  # the last piece has rows of the one before again
        for device, part in enumerate(np.asarray(_local(_piece(x, np.int32(first), axis, size, mesh)))):
            place = device * block + first
            out[(slice(None),) * axis + (slice(place, place + size),)] = part
    return out


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _piece(x: jax.Array, first: jax.Array, axis: int, size: int, mesh: Mesh) -> jax.Array:
    """So many rows of each device's part, everywhere: [devices, ...]."""

    def part(x, first):
        return jax.lax.all_gather(jax.lax.dynamic_slice_in_dim(x, first, size, axis), AXIS)

    divided = PartitionSpec(*(None,) * axis, AXIS)
    return jax.shard_map(part, mesh=mesh, in_specs=(divided, WHOLE), out_specs=WHOLE, check_vma=False)(x, first)


def _without_device(chunk, state, graphs, store, plan, first, length):
    return chunk(state, graphs, store, plan, first, length, None)


def _put_everywhere(sharding: NamedSharding, x: Any) -> jax.Array:
    if isinstance(x, jax.Array) and x.sharding == sharding:
        return x
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    if is_key(x):
        return jax.random.wrap_key_data(_put_everywhere(sharding, jax.random.key_data(x)), impl=jax.random.key_impl(x))
    one = np.asarray(x)
    local = [jax.device_put(one, device) for device in sharding.mesh.local_mesh.devices.flat]
    return jax.make_array_from_single_device_arrays(one.shape, sharding, local)


def _local(x: Any) -> Any:
    if not isinstance(x, jax.Array) or len(x.sharding.device_set) == 1:
        return x
    if is_key(x):
        return jax.random.wrap_key_data(_local(jax.random.key_data(x)), impl=jax.random.key_impl(x))
    return x.addressable_data(0)


def is_key(x: Any) -> bool:
    """Whether it is an array of typed random keys."""
    return hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


@functools.partial(jax.jit, static_argnums=2)
def _take(rows: Any, places: jax.Array, whole: NamedSharding) -> Any:
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, whole)[places], rows)
