"""A tiny data set and small batches that several test files share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from mbjax import data, types
from mbjax.ops import sampling

BEHAVIORS = {1: ("buy",), 2: ("view", "buy"), 3: ("view", "cart", "buy"), 4: ("view", "favourite", "cart", "buy")}


def dataset(num_behaviors: int = 3, num_users: int = 23, num_items: int = 31, seed: int = 0) -> data.Dataset:
    """Random pairs with uneven histories; user 0 has no training pair but of the target, favourite is rare."""
    rng = np.random.default_rng(seed)
    behaviors = BEHAVIORS[num_behaviors]
    density = {"view": 0.3, "favourite": 0.05, "cart": 0.15, "buy": 0.15}
    pairs: dict[str, dict[str, np.ndarray]] = {"train": {}, "valid": {}, "test": {}}
    for name in behaviors:
        drawn = rng.random((num_users, num_items))
        found = drawn < density[name]
        if name != behaviors[-1]:
            found[0] = False
        found[:, -1] = False
        held = found & (rng.random(found.shape) < 0.3)
        train = found & ~held
        train[np.arange(num_users), np.arange(num_users) % (num_items - 1)] |= name == behaviors[-1]
        held &= ~train
        second = rng.random(found.shape) < 0.5
        for split, matrix in (("train", train), ("valid", held & second), ("test", held & ~second)):
            pairs[split][name] = np.argwhere(matrix)
    return data.assemble("toy", num_users, num_items, behaviors, pairs)


def ragged(rows: list[list[int]], num_items: int, capacity: int | None = None) -> types.Ragged:
    """A Ragged of the given rows, padded to a capacity."""
    lengths = [len(row) for row in rows]
    total = sum(lengths)
    capacity = total if capacity is None else capacity
    item = np.full(capacity, num_items, np.int32)
    row = np.full(capacity, len(rows), np.int32)
    item[:total] = [i for r in rows for i in r]
    row[:total] = np.repeat(np.arange(len(rows)), lengths)
    ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return types.Ragged(ptr=jnp.asarray(ptr), item=jnp.asarray(item), row=jnp.asarray(row))


def dense(history: types.Ragged, num_items: int) -> np.ndarray:
    """The multi-hot matrix [B, I] of a Ragged."""
    ptr = np.asarray(history.ptr)
    matrix = scipy.sparse.csr_array(
        (np.ones(ptr[-1]), np.asarray(history.item)[: ptr[-1]], ptr), shape=(len(ptr) - 1, num_items)
    )
    return matrix.toarray()


def compiled(sampler):
    """``plan`` and ``batch`` of a sampler: eager, every operation in them would be compiled on its own."""
    return jax.jit(sampler.plan), jax.jit(sampler.batch)


def batch(model: types.Model, source: data.Dataset, key, place: int = 0, num_devices: int = 1, device: int = 0):
    """One batch of a model's own kind."""
    sampler, store = sampling.user_sampler(model.batch, source.train, num_devices)
    return jax.jit(lambda: sampler.batch(store, sampler.plan(key, 0), key, place, device))()
