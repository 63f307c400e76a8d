"""Batches drawn on the device: a pure function of (store, key, step)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import struct

from mbjax import types
from mbjax.ops import platforms, shuffle
from mbjax.ops import points as pointwise
from mbjax.ops import triples as draws


@struct.dataclass
class Histories:
    """What batches are drawn from, on the device: one CSR of all users for each name.

    Attributes:
      ptr: name -> int32 [U + 1].
      item: name -> int32 [pairs], ascending inside a user.
      triples: name -> (ptr, item) of the pairs that triples are drawn from.
      known: name -> (ptr, item) of the pairs that are no negatives, where they are more than those.
      points: the observed pairs, where batches are of them.
      active: int32 [A], the users that batches are drawn of; None: all.
    """

    ptr: dict[str, types.Array]
    item: dict[str, types.Array]
    triples: dict[str, tuple[types.Array, types.Array]] = struct.field(default_factory=dict)
    known: dict[str, tuple[types.Array, types.Array]] = struct.field(default_factory=dict)
    points: pointwise.Store | None = None
    active: types.Array | None = None


class UserSampler(NamedTuple):
    """Draws batches of users without replacement; an epoch visits a user at most once, the last batch may be short.

    With ``points`` it draws observed pairs in place of users, likewise.

    Attributes:
      num_users: U.
      num_items: I.
      size: B, users in a batch over all devices.
      num_devices: the batch is cut into this many equal slices.
      capacity: name -> entries that any batch fits into: the sum of the B longest histories.
      local_capacity: the same for one device's slice.
      longest: name of a pair set -> items of the user with most that are no negatives.
      per_user: M, most triples of a user under each name.
      negatives: J, of each triple.
      told: names of which each device is told all positives.
      filled: places of a batch that are drawn for, the first ones; 0: all. The others are padding, which equal slices
        for all devices need where there are fewer rows than a batch would have.
      users_per_epoch: users (or pairs) drawn for an epoch.
      points: what is drawn for observed pairs; None: users are.
      steps: batches of an epoch if it is not one pass (``BatchSpec.steps_per_epoch``, ``pass_over``), else 0.
      num_active: A, users that batches are drawn of; None: all.
      undivided: every slice is the whole batch, in which rows weigh 1 / num_devices (``BatchSpec.undivided``).
    """

    num_users: int
    num_items: int
    size: int
    num_devices: int
    capacity: Mapping[str, int]
    local_capacity: Mapping[str, int]
    longest: Mapping[str, int]
    per_user: int
    users_per_epoch: int
    steps: int
    points: pointwise.Drawer | None = None
    num_active: int | None = None
    undivided: bool = False
    negatives: int = 1
    told: tuple[str, ...] = ()
    filled: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the short last one included."""
        return self.steps or max(1, -(-self.users_per_epoch // (self.filled or self.size)))

    @property
    def num_rows(self) -> int:
        """Users, or observed pairs, that batches are drawn of."""
        if self.points is not None:
            return self.points.num_pairs
        return self.num_users if self.num_active is None else self.num_active

    def plan(self, key: types.Array, epoch: types.Array) -> types.Array:
        """The order of users (or active users, or pairs) in an epoch, int32 [steps * B]; padding is -1."""
        key = jax.random.fold_in(key, epoch)
        filled = self.filled or self.size
        places = self.steps_per_epoch * filled
        if self.steps:
            passes = jax.random.split(key, -(-places // self.num_rows))
            order = jax.lax.map(lambda key: shuffle.permutation(key, self.num_rows), passes).reshape(-1)[:places]
        else:
            order = shuffle.permutation(key, self.num_rows)[: self.users_per_epoch]
            order = jnp.pad(order, (0, places - self.users_per_epoch), constant_values=-1)
        if filled == self.size:
            return order
        return jnp.pad(order.reshape(-1, filled), ((0, 0), (0, self.size - filled)), constant_values=-1).reshape(-1)

    def batch(
        self, store: Histories, plan: types.Array, key: types.Array, place: types.Array, device: types.Array | int = 0
    ) -> types.UserBatch:
        """One device's slice of the batch at ``place`` (0 .. steps - 1) of an epoch's plan.

        Args:
          store: what to draw from.
          plan: from ``plan``.
          key: of the step; the rows' noise is drawn from it for the whole batch, before slicing.
          place: int32 scalar.
          device: index of the slice.

        Returns:
          UserBatch with B / num_devices rows, or all of them.
        """
        local = self.size // self.num_devices
        if self.undivided:
            local, device = self.size, 0
        drawn = jax.lax.dynamic_slice_in_dim(plan, place * self.size, self.size)
        if self.points is not None:
            everyone = self.points.users(store.points, drawn)
        elif self.num_active is not None:
            everyone = jnp.where(drawn < 0, -1, store.active[jnp.maximum(drawn, 0)])
        else:
            everyone = drawn
        words = jax.random.bits(key, (self.size, 2), jnp.uint32)
        users = jax.lax.dynamic_slice_in_dim(everyone, device * local, local)
        noise = jax.lax.dynamic_slice_in_dim(words, device * local, local)
        points = None
        if self.points is not None:
            pairs = jax.lax.dynamic_slice_in_dim(drawn, device * local, local)
            points = self.points.draw(store.points, pairs, everyone, noise)

        def triples(stream, name, longest, users, noise):
            return draws.draw(
                *store.triples[name],
                users,
                everyone,
                noise,
                known=store.known.get(name),
                stream=stream,
                per_user=self.per_user,
                longest=longest,
                num_items=self.num_items,
                negatives=self.negatives,
            )

        found = {}
        for stream, (name, longest) in enumerate(self.longest.items()):
            found[name] = triples(stream, name, longest, users, noise)
            if name in self.told and self.num_devices > 1:
                whole = triples(stream, name, longest, everyone, words)
                found[name] = found[name].replace(everyone=jnp.where(whole.weight > 0, whole.positive, -1))
        made = types.UserBatch(
            user=jnp.maximum(users, 0),
            weight=(users >= 0).astype(jnp.float32),
            everyone=everyone,
            noise=noise,
            history={
                name: gather_rows(store.ptr[name], store.item[name], users, size, self.num_items)
                for name, size in self.local_capacity.items()
            },
            total=jnp.sum(everyone >= 0).astype(jnp.float32),
            share=jnp.float32(1.0 / self.num_devices),
            triples=found,
            points=points,
        )
        return _shared(made) if self.undivided and self.num_devices > 1 else made


def _shared(batch: types.UserBatch) -> types.UserBatch:
    """A batch of which each of several devices has all rows, with their share of the weight."""

    def part(drawn):
        return drawn.replace(weight=batch.share * drawn.weight)

    return part(batch).replace(
        triples={name: part(drawn) for name, drawn in batch.triples.items()},
        points=None if batch.points is None else part(batch.points),
    )


def gather_rows(ptr: types.Array, item: types.Array, users: types.Array, capacity: int, num_items: int) -> types.Ragged:
    """Picks rows of a CSR into a Ragged of fixed capacity.

    Args:
      ptr: int32 [U + 1].
      item: int32 [pairs].
      users: int32 [B]; negative ones get an empty row.
      capacity: N; must hold the rows (not checked on the device).
      num_items: I, the item index of padding.
    """
    safe = jnp.maximum(users, 0)
    start = ptr[safe]
    length = jnp.where(users >= 0, ptr[safe + 1] - start, 0)
    out_ptr = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(length, dtype=jnp.int32)])
    entry = jnp.arange(capacity, dtype=jnp.int32)
    row = platforms.search(out_ptr[1:], entry)  # B for padding
    source = start.at[row].get(mode="clip") + entry - out_ptr.at[row].get(mode="clip")
    real = row < users.shape[0]
    picked = item.at[jnp.where(real, source, 0)].get(mode="fill", fill_value=num_items)
    return types.Ragged(ptr=out_ptr, item=jnp.where(real, picked, num_items), row=row)


def user_sampler(
    spec: types.BatchSpec, train: Mapping[str, scipy.sparse.csr_array], num_devices: int = 1, filled: int = 0
) -> tuple[UserSampler, Histories]:
    """Builds the sampler of a ``BatchSpec`` and puts the histories on the device.

    Args:
      spec: what the model asks for.
      train: behavior -> CSR [U, I] of the training pairs, indices sorted.
      num_devices: must divide ``spec.size``.
      filled: rows of a batch, if fewer than ``spec.size``; 0: so many.

    Raises:
      ValueError: if the batch cannot be divided, a union is asked of an unknown behavior, or what is asked for does
        not go together.
    """
    if spec.size % num_devices:
        raise ValueError(f"a batch of {spec.size} users cannot be divided among {num_devices} devices")
    ptr, item, capacity, local = {}, {}, {}, {}
    times = most_times(spec, train)
    for name, behaviors in spec.histories.items():
        matrix = union(train, behaviors)
        lengths = np.sort(np.diff(matrix.indptr))[::-1]
        lengths = np.repeat(lengths[: -(-spec.size // times)], times)  # the longest that a batch may have
        ptr[name], item[name] = _on_device(matrix)
        capacity[name] = max(1, int(lengths[: spec.size].sum()))
        local[name] = capacity[name] if spec.undivided else max(1, int(lengths[: spec.size // num_devices].sum()))
    pairs, known, longest = {}, {}, {}
    for name, pair_set in spec.triples.items():
        matrix = pairs_of(pair_set, train)
        pairs[name] = _on_device(matrix)
        if pair_set.known:
            matrix = union({**train, "": matrix}, (*pair_set.known, ""))
            known[name] = _on_device(matrix)
        longest[name] = int(np.diff(matrix.indptr).max(initial=0))
    drawer, observed = None, None
    if spec.points is not None:
        if spec.histories:
            raise ValueError("a batch of observed pairs has no histories: a user may be in it more than once")
        levels = spec.points.levels
        met = union(train, levels.behaviors if levels else spec.points.behaviors)
        drawer, observed = pointwise.prepare(spec.points, train, met)
    num_users, num_items = next(iter(train.values())).shape
    active = active_users(spec, train)
    num_rows = drawer.num_pairs if drawer is not None else num_users if active is None else active.size
    sampler = UserSampler(
        num_users=num_users,
        num_items=num_items,
        size=spec.size,
        num_devices=num_devices,
        capacity=capacity,
        local_capacity=local,
        longest=longest,
        per_user=spec.per_user,
        users_per_epoch=min(spec.users_per_epoch or num_rows, num_rows),
        steps=train[spec.pass_over].nnz // (filled or spec.size) + 1 if spec.pass_over else spec.steps_per_epoch,
        points=drawer,
        num_active=None if active is None else active.size,
        undivided=spec.undivided,
        negatives=spec.negatives,
        told=spec.told,
        filled=filled,
    )
    on_device = None if active is None else jnp.asarray(active, jnp.int32)
    return sampler, Histories(ptr, item, pairs, known, observed, on_device)


def most_times(spec: types.BatchSpec, train: Mapping[str, scipy.sparse.csr_array]) -> int:
    """How often a user may be in a batch: once, but where orders of all users are put end to end."""
    if not (spec.steps_per_epoch or spec.pass_over):
        return 1
    active = active_users(spec, train)
    num_rows = next(iter(train.values())).shape[0] if active is None else active.size
    return -(-spec.size // max(num_rows, 1)) + 1


def active_users(spec: types.BatchSpec, train: Mapping[str, scipy.sparse.csr_array]) -> np.ndarray | None:
    """The users that batches are drawn of, ascending; None: all."""
    if not spec.pass_over:
        return None
    lengths = np.diff(train[spec.pass_over].indptr)
    with_pairs = np.flatnonzero(lengths)
    return with_pairs if 0 < with_pairs.size < lengths.size else None


def union(train: Mapping[str, scipy.sparse.csr_array], behaviors: tuple[str, ...]) -> scipy.sparse.csr_array:
    """The pairs that any of the behaviors has: CSR [U, I] of ones, indices sorted."""
    total = count(train, behaviors)
    total.data = np.ones(total.nnz, np.float32)
    return total


def count(train: Mapping[str, scipy.sparse.csr_array], behaviors: tuple[str, ...]) -> scipy.sparse.csr_array:
    """How many of the behaviors have each pair: CSR [U, I], float32, indices sorted."""
    total = (train[behaviors[0]] != 0).astype(np.int32)
    for behavior in behaviors[1:]:
        total = total + (train[behavior] != 0).astype(np.int32)
    total = scipy.sparse.csr_array(total).astype(np.float32)
    total.sort_indices()
    return total


def pairs_of(pair_set: types.PairSet, train: Mapping[str, scipy.sparse.csr_array]) -> scipy.sparse.csr_array:
    """The pairs of a ``PairSet``: CSR [U, I] of ones, indices sorted."""
    matrix = union(train, (pair_set.behavior,))
    if pair_set.without is not None:
        matrix = scipy.sparse.csr_array(matrix - matrix.multiply(union(train, (pair_set.without,))))
        matrix.eliminate_zeros()
        matrix.sort_indices()
    return matrix


def _on_device(matrix: scipy.sparse.csr_array) -> tuple[types.Array, types.Array]:
    # An empty behavior still needs one entry to gather from.
    items = matrix.indices if matrix.nnz else np.zeros(1)
    return jnp.asarray(matrix.indptr, jnp.int32), jnp.asarray(items, jnp.int32)
