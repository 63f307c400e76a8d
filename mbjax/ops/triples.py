"""(User, positive, negative) triples, drawn on the device without rejection.

A negative is the r-th item that the user has *not*, r uniform: found by binary search in the user's ascending items,
it is exact for every user, also for one who has all items but one, and costs the same for all.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import noise as rows
from mbjax.ops import platforms

STREAM = 1 << 20  # the first stream of a row's randomness that is drawn here; models use those below


def draw(
    ptr: types.Array,
    item: types.Array,
    users: types.Array,
    everyone: types.Array,
    noise: types.Array,
    *,
    known: tuple[types.Array, types.Array] | None = None,
    stream: int,
    per_user: int,
    longest: int,
    num_items: int,
    negatives: int = 1,
) -> types.Triples:
    r"""Draws up to M positives with replacement for each user, and negatives of each.

    A user with n positives gives :math:`\min(M, n)` triples; one who has none, or knows all items, gives none.

    Args:
      ptr: int32 [U + 1], row pointers of the positives of all users.
      item: int32 [pairs], ascending inside a user.
      users: int32 [B], of this device; negative ones are padding and give nothing.
      everyone: int32, the users of the batch on all devices, of which the total is taken.
      noise: uint32 [B, 2], the rows' random words.
      known: (ptr, item) of the pairs that are no negatives, the positives among them; None: those alone.
      stream: tells the names of a batch apart.
      per_user: M.
      longest: the largest number of a user's items that are no negatives.
      num_items: I.
      negatives: J, of each positive.

    Returns:
      Triples [B, M], negatives [B, J M].
    """
    known_ptr, known_item = known or (ptr, item)
    start, length = _row(ptr, users)
    known_start, known_length = _row(known_ptr, users)
    keys = rows.row_keys(noise, STREAM + stream)

    def places(key, length, known_length):
        for_positive, for_negative = jax.random.split(key)
        place = jax.random.randint(for_positive, (per_user,), 0, jnp.maximum(length, 1))
        return place, jax.random.randint(
            for_negative, (negatives * per_user,), 0, jnp.maximum(num_items - known_length, 1)
        )

    def count(length, known_length):
        return jnp.where(known_length < num_items, jnp.minimum(length, per_user), 0)

    place, rank = jax.vmap(places)(keys, length, known_length)
    weight = (jnp.arange(per_user) < count(length, known_length)[:, None]).astype(jnp.float32)
    positive = item.at[start[:, None] + place].get(mode="clip")
    negative = not_among(known_item, known_start[:, None], known_length[:, None], rank, longest)
    real = weight > 0
    total = jnp.sum(count(_row(ptr, everyone)[1], _row(known_ptr, everyone)[1])).astype(jnp.float32)
    negative = jnp.where(jnp.tile(real, (1, negatives)), negative, 0)
    return types.Triples(jnp.where(real, positive, 0), negative, weight, jnp.maximum(total, 1.0))


def _row(ptr, users):
    """First entry and number of entries of each user's row; none for padding."""
    safe = jnp.maximum(users, 0)
    start = ptr[safe]
    return start, jnp.where(users >= 0, ptr[safe + 1] - start, 0)


def not_among(
    item: types.Array, start: types.Array, length: types.Array, rank: types.Array, longest: int
) -> types.Array:
    """The item of a rank among those that are not in a sorted row.

    Before the row's j-th item lie ``item[start + j] - j`` items that are not in it; the answer is ``rank`` plus the
    number of j for which that is at most ``rank``.

    Args:
      item: int32 [pairs], ascending inside each row.
      start: int32, first entry of each query's row.
      length: int32, entries of each query's row.
      rank: int32, 0 .. I - length - 1; the three broadcast.
      longest: the largest length.
    """
    low = jnp.zeros(jnp.broadcast_shapes(start.shape, length.shape, rank.shape), jnp.int32)
    high = jnp.broadcast_to(length, low.shape)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        is_before = item.at[start + middle].get(mode="clip") - middle <= rank
        return jnp.where(is_before & (low < high), middle + 1, low), jnp.where(is_before, high, middle)

    low, _ = platforms.fori(longest.bit_length(), halve, (low, high))
    return rank + low
