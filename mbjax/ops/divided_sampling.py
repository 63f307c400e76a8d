"""Batches whose rows are divided among devices by user: the batches of ``sampling``, each row where its user is.

The order of an epoch is that of one device, and so is every draw, since all randomness of a row comes from its words
(``UserBatch.noise``). A device takes the rows of its own users out of the batch, ``rows`` of them at most, which the
host counts when the order of an epoch is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import struct

from mbjax import types
from mbjax.ops import sampling
from mbjax.ops import triples as draws

ROUNDED = 16  # rows are a multiple of 1 / 16 of a batch, so that few programs are compiled


@struct.dataclass
class Store:
    """What a device draws from.

    Attributes:
      own: the histories of its users.
      bounds: int32 [S, 3], where batches are of observed pairs: for each run of pairs of this device the first place,
        the place after the last, and the number of the first among those of this device.
      active: as that of ``sampling.Histories``, of all users.
    """

    own: sampling.Histories
    bounds: types.Array | None
    active: types.Array | None


class DividedSampler(NamedTuple):
    """Draws a device's rows of a batch.

    Attributes:
      whole: says how batches are drawn of all users.
      block: how the users are divided.
      rows: of a device's batch; the most that it may have of one.
      longest: name -> [n] numbers of entries, of the n longest histories of any device together, from n = 1.
      starts: place of the first pair of each run of pairs, in the order of places, which is one run after another of
        each device in turn; None where batches are of users.
      active: the users that batches are drawn of, on the host; None: all.
    """

    whole: sampling.UserSampler
    block: types.Block
    rows: int
    longest: Mapping[str, np.ndarray]
    starts: np.ndarray | None = None
    active: np.ndarray | None = None

    @property
    def steps_per_epoch(self) -> int:
        """As that of one device."""
        return self.whole.steps_per_epoch

    def plan(self, key: types.Array, epoch: types.Array) -> types.Array:
        """As that of one device."""
        return self.whole.plan(key, epoch)

    def needed(self, plan: np.ndarray, num_devices: int) -> int:
        """Rows that every device's part of every batch of an epoch fits into."""
        size = self.whole.size
        places = np.flatnonzero(plan >= 0)
        drawn = plan[places]
        if self.starts is not None:
            owner = (np.searchsorted(self.starts, drawn, side="right") - 1) % num_devices
        else:
            owner = (drawn if self.active is None else self.active[drawn]) // self.block.size
        most = np.bincount(places // size * num_devices + owner).max(initial=1)
        unit = -(-size // ROUNDED)
        return int(min(-(-most // unit) * unit, size))

    def batch(
        self, store: Store, plan: types.Array, key: types.Array, place: types.Array, device: types.Array
    ) -> types.UserBatch:
        """The rows of a device's users; arguments as for ``sampling.UserSampler.batch``."""
        whole, own, size = self.whole, store.own, self.whole.size
        drawn = jax.lax.dynamic_slice_in_dim(plan, place * size, size)
        first = device * self.block.size
        if whole.points is not None:
            inside = (drawn[:, None] >= store.bounds[:, 0]) & (drawn[:, None] < store.bounds[:, 1])  # [B, S]
            is_own = jnp.any(inside, axis=1)
            local = jnp.sum(jnp.where(inside, drawn[:, None] - store.bounds[:, 0] + store.bounds[:, 2], 0), axis=1)
        else:
            users = drawn if whole.num_active is None else jnp.where(drawn < 0, -1, store.active[jnp.maximum(drawn, 0)])
            local = users - first
            is_own = (users >= 0) & (local >= 0) & (local < self.block.size)
        rows = jnp.flatnonzero(is_own, size=self.rows, fill_value=size)
        is_real, rows = rows < size, jnp.minimum(rows, size - 1)
        local = jnp.where(is_real, local[rows], -1).astype(jnp.int32)
        noise = jax.random.bits(key, (size, 2), jnp.uint32)[rows]
        users, points = local, None
        if whole.points is not None:
            users = whole.points.users(own.points, local)
            points = whole.points.draw(own.points, local, users, noise)
            points = points.replace(total=_total(points.weight))
        triples = {}
        for stream, (name, longest) in enumerate(whole.longest.items()):
            drawn_triples = draws.draw(
                *own.triples[name],
                users,
                users,
                noise,
                known=own.known.get(name),
                stream=stream,
                per_user=whole.per_user,
                longest=longest,
                num_items=whole.num_items,
                negatives=whole.negatives,
            )
            triples[name] = drawn_triples.replace(total=_total(drawn_triples.weight))
        history = {
            name: sampling.gather_rows(
                own.ptr[name], own.item[name], users, int(sums[min(self.rows, len(sums)) - 1]), whole.num_items
            )
            for name, sums in self.longest.items()
        }
        return types.UserBatch(
            user=jnp.maximum(users, 0),
            weight=is_real.astype(jnp.float32),
            everyone=jnp.where(is_real, first + users, -1),
            noise=noise,
            history=history,
            total=jnp.sum(drawn >= 0).astype(jnp.float32),
            share=jnp.float32(1.0 / jax.lax.axis_size(types.AXIS)),
            triples=triples,
            points=points,
            block=self.block,
        )


def _total(weight: types.Array) -> types.Array:
    return jnp.maximum(jax.lax.psum(jnp.sum(weight), types.AXIS), 1.0)


def user_sampler(
    spec: types.BatchSpec,
    train: Mapping[str, scipy.sparse.csr_array],
    size: int,
    placement: Any,
) -> tuple[DividedSampler, Store]:
    """Builds the sampler of a ``BatchSpec`` and puts each device's histories on it.

    Args:
      spec: what the model asks for.
      train: behavior -> CSR [U, I] of the training pairs, indices sorted.
      size: users of a device.
      placement: the devices, a ``parallel.Placement``.

    Raises:
      ValueError: as ``sampling.user_sampler``.
    """
    num_users = next(iter(train.values())).shape[0]
    number, parts, stores = placement.size, [], []
    counts = []  # [devices][runs] observed pairs
    for device in range(number):
        first, end = min(device * size, num_users), min((device + 1) * size, num_users)
        mine = {name: _rows(matrix, first, end, size) for name, matrix in train.items()}
        sampler, store = sampling.user_sampler(spec, mine, 1)
        parts.append(sampler)
        # Of what other hosts draw from only the shapes matter.
        keep = np.asarray if placement.is_mine[device] else lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
        stores.append(jax.tree.map(keep, store.replace(active=None)))
        if spec.points is not None:
            levels = spec.points.levels is not None
            counts.append([mine[b].nnz for b in spec.points.behaviors] if levels else [sampler.points.num_pairs])
    whole, active = _of_all(spec, train, parts)
    starts, bounds = (None, None) if spec.points is None else _runs(np.array(counts))
    times = sampling.most_times(spec, train)
    longest = {
        name: _sums(sampling.union(train, behaviors), size, number, times) for name, behaviors in spec.histories.items()
    }
    own = jax.tree.map(lambda *leaves: _on_devices(leaves, placement), *stores)
    store = Store(
        own=own,
        bounds=None if bounds is None else placement.side_by_side(bounds),
        active=None if active is None else placement.everywhere(jnp.asarray(active, jnp.int32)),
    )
    block = types.Block(num_users, size)
    return DividedSampler(whole, block, spec.size, longest, starts, active), store


def _rows(matrix, first, end, size):
    block = scipy.sparse.csr_array(matrix[first:end], copy=True)
    block.resize((size, matrix.shape[1]))
    return block


def _of_all(spec, train, parts) -> tuple[sampling.UserSampler, np.ndarray | None]:
    """The sampler of all users, put together of those of the devices, and the active users."""
    num_users = next(iter(train.values())).shape[0]
    points = None
    if spec.points is not None:
        pairs = sum(part.points.num_pairs for part in parts)
        points = parts[0].points._replace(num_pairs=pairs, longest=max(part.points.longest for part in parts))
    active = sampling.active_users(spec, train)
    num_rows = points.num_pairs if points is not None else num_users if active is None else active.size
    whole = parts[0]._replace(
        num_users=num_users,
        longest={name: max(part.longest[name] for part in parts) for name in parts[0].longest},
        users_per_epoch=min(spec.users_per_epoch or num_rows, num_rows),
        steps=train[spec.pass_over].nnz // spec.size + 1 if spec.pass_over else spec.steps_per_epoch,
        points=points,
        num_active=None if active is None else active.size,
    )
    return whole, active


def _runs(counts: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Where runs of pairs start, and each device's bounds; ``counts`` [devices, S], the lengths of its S runs.

    Places count the first run of each device in turn, then the second of each, and so on.
    """
    lengths = counts.T.reshape(-1)
    starts = np.cumsum(lengths) - lengths
    of_device = starts.reshape(counts.T.shape).T  # [devices, S]
    local = np.cumsum(counts, axis=1) - counts
    return starts, list(np.stack([of_device, of_device + counts, local], axis=2).astype(np.int32))


def _sums(matrix: scipy.sparse.csr_array, size: int, number: int, times: int) -> np.ndarray:
    """[size * times], the entries of the n longest rows of a device, each so often, the most of any device."""
    lengths = np.pad(np.diff(matrix.indptr), (0, size * number - matrix.shape[0])).reshape(number, size)
    longest = np.repeat(np.sort(lengths, axis=1)[:, ::-1], times, axis=1)
    return np.maximum(np.cumsum(longest, axis=1).max(axis=0), 1)


def _on_devices(leaves: Any, placement: Any) -> types.Array:
    rows = max(leaf.shape[0] for leaf in leaves)

    def padded(x):
        return np.pad(x, ((0, rows - x.shape[0]), *((0, 0),) * (x.ndim - 1)))

    return placement.side_by_side([padded(x) if isinstance(x, np.ndarray) else None for x in leaves])
