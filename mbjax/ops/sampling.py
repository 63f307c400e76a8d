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


@struct.dataclass
class Histories:
    """The histories of all users on the device, one CSR for each name.

    Attributes:
      ptr: name -> int32 [U + 1].
      item: name -> int32 [pairs].
    """

    ptr: dict[str, types.Array]
    item: dict[str, types.Array]


class UserSampler(NamedTuple):
    """Draws batches of users without replacement; an epoch visits every user once, the last batch may be short.

    Attributes:
      num_users: U.
      num_items: I.
      size: B, users in a batch over all devices.
      num_devices: the batch is cut into this many equal slices.
      capacity: name -> entries that any batch fits into: the sum of the B longest histories.
      local_capacity: the same for one device's slice.
    """

    num_users: int
    num_items: int
    size: int
    num_devices: int
    capacity: Mapping[str, int]
    local_capacity: Mapping[str, int]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the short last one included."""
        return -(-self.num_users // self.size)

    def plan(self, key: types.Array, epoch: types.Array) -> types.Array:
        """The order of users in an epoch, int32 [steps * B]; padding is -1."""
        order = jax.random.permutation(jax.random.fold_in(key, epoch), self.num_users).astype(jnp.int32)
        return jnp.pad(order, (0, self.steps_per_epoch * self.size - self.num_users), constant_values=-1)

    def batch(
        self, store: Histories, plan: types.Array, key: types.Array, place: types.Array, device: types.Array | int = 0
    ) -> types.UserBatch:
        """One device's slice of the batch at ``place`` (0 .. steps - 1) of an epoch's plan.

        Args:
          store: histories of all users.
          plan: from ``plan``.
          key: of the step; the rows' noise is drawn from it for the whole batch, before slicing.
          place: int32 scalar.
          device: index of the slice.

        Returns:
          UserBatch with B / num_devices rows.
        """
        local = self.size // self.num_devices
        users = jax.lax.dynamic_slice_in_dim(plan, place * self.size, self.size)
        noise = jax.random.bits(key, (self.size, 2), jnp.uint32)
        total = jnp.sum(users >= 0).astype(jnp.float32)
        users = jax.lax.dynamic_slice_in_dim(users, device * local, local)
        noise = jax.lax.dynamic_slice_in_dim(noise, device * local, local)
        return types.UserBatch(
            user=jnp.maximum(users, 0),
            weight=(users >= 0).astype(jnp.float32),
            noise=noise,
            history={
                name: gather_rows(store.ptr[name], store.item[name], users, size, self.num_items)
                for name, size in self.local_capacity.items()
            },
            total=total,
            share=jnp.float32(1.0 / self.num_devices),
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
    row = jnp.searchsorted(out_ptr[1:], entry, side="right").astype(jnp.int32)  # B for padding
    source = start.at[row].get(mode="clip") + entry - out_ptr.at[row].get(mode="clip")
    real = row < users.shape[0]
    picked = item.at[jnp.where(real, source, 0)].get(mode="fill", fill_value=num_items)
    return types.Ragged(ptr=out_ptr, item=jnp.where(real, picked, num_items), row=row)


def user_sampler(
    spec: types.BatchSpec, train: Mapping[str, scipy.sparse.csr_array], num_devices: int = 1
) -> tuple[UserSampler, Histories]:
    """Builds the sampler of a ``BatchSpec`` of kind "users" and puts the histories on the device.

    Args:
      spec: what the model asks for.
      train: behavior -> CSR [U, I] of the training pairs, indices sorted.
      num_devices: must divide ``spec.size``.

    Raises:
      ValueError: if the batch cannot be divided, or a union is asked of an unknown behavior.
    """
    if spec.size % num_devices:
        raise ValueError(f"a batch of {spec.size} users cannot be divided among {num_devices} devices")
    ptr, item, capacity, local = {}, {}, {}, {}
    for name, behaviors in spec.histories.items():
        matrix = union(train, behaviors)
        lengths = np.sort(np.diff(matrix.indptr))[::-1]
        ptr[name] = jnp.asarray(matrix.indptr, jnp.int32)
        # An empty behavior still needs one entry to gather from.
        item[name] = jnp.asarray(matrix.indices if matrix.nnz else np.zeros(1), jnp.int32)
        capacity[name] = max(1, int(lengths[: spec.size].sum()))
        local[name] = max(1, int(lengths[: spec.size // num_devices].sum()))
    num_users, num_items = matrix.shape
    sampler = UserSampler(num_users, num_items, spec.size, num_devices, capacity, local)
    return sampler, Histories(ptr, item)


def union(train: Mapping[str, scipy.sparse.csr_array], behaviors: tuple[str, ...]) -> scipy.sparse.csr_array:
    """The pairs that any of the behaviors has: CSR [U, I] of ones, indices sorted."""
    total = train[behaviors[0]].astype(np.int32)
    for behavior in behaviors[1:]:
        total = total + train[behavior].astype(np.int32)
    total = scipy.sparse.csr_array(total)
    total.data = np.ones(total.nnz, np.float32)
    total.sort_indices()
    return total
