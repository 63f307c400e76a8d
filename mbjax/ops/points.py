"""Observed pairs with negatives of their users, drawn on the device without rejection.

A negative is the r-th item that the user has not met, r uniform (``triples.not_among``), or with levels an item of a
weaker level. Every draw belongs to its row (``UserBatch.noise``), so that it is the same on whichever device it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import struct

from mbjax import types
from mbjax.ops import noise as rows
from mbjax.ops import triples

STREAM = 2 * triples.STREAM  # of a row's randomness; triples and models use others


@struct.dataclass
class Store:
    """What points are drawn from, on the device.

    Attributes:
      user, item: int32 [P], the observed pairs.
      label: int32 [P], bit k for the k-th behavior of the ``PointSpec``.
      known: (ptr int32 [U + 1], item int32 [pairs]), the items of each user that are not unobserved, ascending.
      share: float32 [L, U], how much each level but the strongest counts for a user, before those that a positive may
        not use are left out.
      level: (ptr int32 [L, U + 1], item int32 [pairs]), the items of each level that no stronger one has.
    """

    user: types.Array
    item: types.Array
    label: types.Array
    known: tuple[types.Array, types.Array]
    share: types.Array
    level: tuple[types.Array, types.Array]


class Drawer(NamedTuple):
    """How points are drawn: the static side of a ``Store``.

    Attributes:
      spec: what the model asked for.
      num_items: I.
      num_pairs: P.
      longest: most known items of a user.
      first_level: with levels, the place among them of each of ``spec.behaviors``.
    """

    spec: types.PointSpec
    num_items: int
    num_pairs: int
    longest: int
    first_level: tuple[int, ...]

    def users(self, store: Store, places: types.Array) -> types.Array:
        """The users of pairs, int32; -1 for padding, which is a place of -1."""
        return jnp.where(places < 0, -1, store.user[jnp.maximum(places, 0)])

    def draw(self, store: Store, places: types.Array, everyone: types.Array, noise: types.Array) -> types.Points:
        """The points of some places.

        Args:
          store: what to draw from.
          places: int32 [B], of the observed pairs, on this device; -1 is padding.
          everyone: int32, the users of the batch on all devices, of which the total is taken.
          noise: uint32 [B, 2], the rows' random words.

        Returns:
          Points [B, 1 + M].
        """
        spec, safe = self.spec, jnp.maximum(places, 0)
        user = store.user[safe]
        start, length = _row(store.known[0], user)
        keys = jax.vmap(lambda key: jax.random.split(key, 4))(rows.row_keys(noise, STREAM))
        rank = _below(keys[:, 0], jnp.maximum(self.num_items - length, 1), spec.negatives)
        negative = triples.not_among(store.known[1], start[:, None], length[:, None], rank, self.longest)
        label = store.label[safe][:, None] >> jnp.arange(len(spec.behaviors)) & 1  # [B, K]
        if spec.levels is not None:
            negative = self._from_levels(store, user, label, negative, keys)
        real = places >= 0
        weight = jnp.concatenate(
            [real[:, None], jnp.broadcast_to((real & (length < self.num_items))[:, None], negative.shape)], axis=1
        )
        everyone_length = _row(store.known[0], jnp.maximum(everyone, 0))[1]
        counts = jnp.where(everyone < 0, 0, 1 + spec.negatives * (everyone_length < self.num_items))
        items = jnp.concatenate([store.item[safe][:, None], negative], axis=1)
        return types.Points(
            item=jnp.where(weight, items, 0),
            label=(label * real[:, None]).astype(jnp.float32),
            weight=weight.astype(jnp.float32),
            total=jnp.maximum(jnp.sum(counts), 1).astype(jnp.float32),
        )

    def _from_levels(self, store, user, label, unobserved, keys):
        """Puts items of weaker levels in the place of some unobserved ones."""
        levels = self.spec.levels
        if len(levels.behaviors) == 1:
            return unobserved
        own = label @ jnp.array(self.first_level)  # [B], a pair has one label
        is_weaker = jnp.arange(len(levels.behaviors) - 1)[:, None] < own
        bounds = jnp.cumsum(jnp.where(is_weaker, store.share[:, user], 0.0), axis=0)  # [L, B]
        shape = (self.spec.negatives,)
        is_graded = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys[:, 1]) >= levels.unobserved
        place = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys[:, 2]) * bounds[-1][:, None]
        # The level whose part of the line holds the place; a level of no share has no part.
        level = jnp.sum(bounds[:, :, None] <= place, axis=0)  # [B, M]
        level = jnp.minimum(level, len(bounds) - 1)
        start, length = store.level[0][level, user[:, None]], store.level[0][level, user[:, None] + 1]
        length = length - start
        rank = _below(keys[:, 3], jnp.maximum(length, 1), self.spec.negatives)
        graded = store.level[1].at[start + rank].get(mode="clip")
        usable = is_graded & (length > 0) & (level < own[:, None]) & (bounds[-1] > 0)[:, None]
        return jnp.where(usable, graded, unobserved)


def prepare(
    spec: types.PointSpec, train: Mapping[str, scipy.sparse.csr_array], known: scipy.sparse.csr_array
) -> tuple[Drawer, Store]:
    """Puts the observed pairs on the device.

    Args:
      spec: what the model asks for.
      train: behavior -> CSR [U, I] of the training pairs, indices sorted.
      known: CSR [U, I] of the pairs that are never unobserved: of ``spec.behaviors``, or of all levels.

    Raises:
      ValueError: no negatives, or levels that lack a behavior, a weight or a probability.
    """
    _check(spec)
    num_users, num_items = known.shape
    keys = {b: _keys(train[b]) for b in {*spec.behaviors, *(spec.levels.behaviors if spec.levels else ())}}
    if spec.levels is None:
        pairs = _keys(known)
        label = sum(np.isin(pairs, keys[b], assume_unique=True).astype(np.int32) << k for k, b in _number(spec))
    else:
        pairs = np.concatenate([keys[b] for b in spec.behaviors])
        label = np.concatenate([np.full(keys[b].size, 1 << k, np.int32) for k, b in _number(spec)])
    names = spec.levels.behaviors if spec.levels else ()
    share = np.zeros((max(1, len(names) - 1), num_users), np.float32)
    pointers, items, offset = np.zeros((len(share), num_users + 1), np.int32), [np.empty(0, np.int64)], 0
    for k, name in enumerate(names[:-1]):
        share[k] = spec.levels.weights[k] * np.diff(train[name].indptr)
        only = np.setdiff1d(keys[name], np.concatenate([keys[b] for b in names[k + 1 :]]), assume_unique=True)
        pointers[k] = offset + np.searchsorted(only, np.arange(num_users + 1, dtype=np.int64) * num_items)
        items.append(only % num_items)
        offset += only.size
    store = Store(
        user=_put(pairs // num_items),
        item=_put(pairs % num_items),
        label=_put(label),
        known=(_put(known.indptr), _put(known.indices)),
        share=jnp.asarray(share),
        level=(jnp.asarray(pointers), _put(np.concatenate(items))),
    )
    longest = int(np.diff(known.indptr).max(initial=0))
    first = tuple(names.index(b) for b in spec.behaviors) if spec.levels else ()
    return Drawer(spec, num_items, pairs.size, longest, first), store


def _check(spec: types.PointSpec) -> None:
    levels = spec.levels
    if spec.negatives < 1:
        raise ValueError(f"points with {spec.negatives} negatives: at least 1 is needed")
    if levels and not set(spec.behaviors) <= set(levels.behaviors):
        raise ValueError(f"points of {', '.join(spec.behaviors)} with levels {', '.join(levels.behaviors)} only")
    if levels and (len(levels.weights) != len(levels.behaviors) or min(levels.weights) < 0):
        raise ValueError(f"{len(levels.behaviors)} levels with the weights {levels.weights}")
    if levels and not 0 <= levels.unobserved <= 1:
        raise ValueError(f"a probability of {levels.unobserved} for unobserved items")


def _number(spec):
    return enumerate(spec.behaviors)


def _keys(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """user * I + item of each pair, ascending."""
    users = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return users * matrix.shape[1] + matrix.indices


def _put(values: np.ndarray) -> types.Array:
    # Without any there still needs to be one to gather from.
    return jnp.asarray(values if values.size else np.zeros(1), jnp.int32)


def _row(ptr: types.Array, user: types.Array) -> tuple[types.Array, types.Array]:
    return ptr[user], ptr[user + 1] - ptr[user]


def _below(keys: types.Array, limit: types.Array, number: int) -> types.Array:
    """Whole numbers from 0 to limit - 1, int32 [B, number]."""
    return jax.vmap(lambda key, most: jax.random.randint(key, (number,), 0, most))(keys, limit)
