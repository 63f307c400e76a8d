"""Users whose lists are asked for, in batches on the device, with the pairs that decide their candidates.

Made on the host, once for each set of users: what a pass over them needs of the data set lies on the device from then
on (``topk.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flax import struct
from scipy import sparse

from mbjax import parallel, seen, shards, types

TOGETHER = 2**30
"""Scores up to which passes over several sets of users are one program: it takes less time than to compile it."""
FULL, FEW = 2, 2**20
"""Stored pairs, padding included, up to which users are ranked in their order: so many times the pairs, or so many."""


@struct.dataclass
class Queries:
    """Users in batches of equal size, with the pairs that are no candidates, or with those that alone are.

    Attributes:
      user: int32 [T, B]; the last user is repeated to fill the last batch.
      row: int32 [T, M], the place in its batch of each pair.
      item: int32 [T, M]; padding is I.
      only: bool [T, B], whether a user's pairs are his candidates; else every other item is one. None: for nobody.
      places: int32 [n], where each of those asked for stands among T * B; None: in their order.
      most: at least as many pairs as any user has, a power of two.
      placement: the devices that the batches are divided among.
    """

    user: types.Array
    row: types.Array
    item: types.Array
    only: types.Array | None = None
    places: types.Array | None = None
    most: int = struct.field(pytree_node=False, default=0)
    placement: parallel.Placement = struct.field(pytree_node=False, default=parallel.ONE)


@struct.dataclass
class Limits:
    """What decides of the items of every list, whoever it is for.

    Attributes:
      listed: bool [I], which items may be listed; None: all.
      group: int32 [I], the group of each item, 0 .. G - 1, and G for none; None: there are no groups.
      num_groups: G.
      most: items of a group in a list; not asked for without groups.
    """

    listed: types.Array | None = None
    group: types.Array | None = None
    num_groups: int = struct.field(pytree_node=False, default=0)
    most: int = struct.field(pytree_node=False, default=0)


def are_few(numbers: Sequence[int], num_items: int) -> bool:
    """Whether sets of so many users are best ranked by one program."""
    return sum(numbers) * num_items <= TOGETHER


def common_size(numbers: Sequence[int], num_items: int, batch_size: int) -> int | None:
    """Users in a batch, for sets of so many of them: what is done to arrays of one shape is compiled once.

    The one with the least padding of those that are at most ``batch_size`` and at least half of that; the largest of
    several.

    Returns:
      None where there is one set, or each is a pass of its own: batches are as equal as possible then.
    """
    if len(numbers) < 2 or not are_few(numbers, num_items):
        return None
    most = min(batch_size, max(numbers))
    sizes = np.arange(-(-most // 2), most + 1)
    padding = sum(-number % sizes for number in numbers)
    return int(sizes[::-1][padding[::-1].argmin()])


def prepare(
    users: np.ndarray,
    masked: sparse.csr_array,
    batch_size: int,
    *,
    only: sparse.csr_array | None = None,
    size: int | None = None,
    like: Queries | None = None,
    placement: parallel.Placement = parallel.ONE,
) -> Queries:
    """Puts users and the pairs that decide their candidates on the device.

    Args:
      users: int [n], at least one.
      masked: [U, I], a stored entry is a pair that is no candidate.
      batch_size: the largest number of users scored at once, by a device of its own or by a CPU (``Placement.batch``);
        batches are made as equal as possible.
      only: [U, I], a stored entry is a pair that is a candidate, if it is not masked; None: every pair is.
      size: of ``common_size``, the number of users in a batch; None: as equal as possible.
      like: of the same users, whose places they get too.
      placement: the devices that the batches are divided among.
    """
    if only is None:
        return pack(users, masked[users], batch_size, size=size, like=like, placement=placement)
    rows = seen.without(only[users], masked[users])
    return pack(users, rows, batch_size, only=np.ones(len(users), bool), size=size, like=like, placement=placement)


def pack(
    users: np.ndarray,
    rows: sparse.csr_array,
    batch_size: int,
    *,
    only: np.ndarray | None = None,
    size: int | None = None,
    like: Queries | None = None,
    placement: parallel.Placement = parallel.ONE,
) -> Queries:
    """Puts users and their pairs on the device, some for either use.

    Users stand in their order, unless some batches would have many more pairs than others, to which all are padded.

    Args:
      users: int [n], at least one; one may come twice.
      rows: [n, I], the pairs of each.
      batch_size: as for ``prepare``.
      only: bool [n], whether these are the candidates; else they are masked. None: for nobody.
      size, like, placement: as for ``prepare``.
    """
    if isinstance(placement, shards.Shards):
        return _dealt(users, rows, batch_size, only, placement)
    num_batches = placement.rounded(-(-len(users) // (size or placement.batch(batch_size))))
    size = size or -(-len(users) // num_batches)
    if like is not None:
        num_batches, size = like.user.shape
    bounds = rows.indptr[np.minimum(np.arange(num_batches + 1) * size, len(users))]
    padded = num_batches * int(np.diff(bounds).max())
    in_order = padded <= max(FULL * rows.nnz, FEW) if like is None else like.places is None
    if in_order:
        return _placed(users, rows, np.arange(len(users)), num_batches, size, only, placement).replace(places=None)
    if like is not None:
        return _placed(users, rows, np.asarray(like.places), num_batches, size, only, placement)
    # Of a whole round of users, from the fullest, each batch gets one; which is the fuller one changes every round.
    rank = np.empty(len(users), np.int64)
    rank[np.argsort(-np.diff(rows.indptr), kind="stable")] = np.arange(len(users))
    turn, batch = np.divmod(rank, num_batches)
    places = np.where(turn % 2, num_batches - 1 - batch, batch) * size + turn
    return _placed(users, rows, places, num_batches, size, only, placement)


def _dealt(users, rows, batch_size, only, placement) -> Queries:
    """Each user's query with the device that has him, who is called by his number in its block."""
    places, num_batches, size = placement.deal(np.asarray(users), placement.batch(batch_size))
    return _placed(users % placement.block, rows, places, num_batches, size, only, placement)


def _placed(users, rows, places, num_batches, size, only, placement) -> Queries:
    """Users and their pairs at their places; in other places nobody asks, for the last user or user 0."""
    rows = rows if rows.has_sorted_indices else rows.sorted_indices()
    user = np.full(num_batches * size, users[-1], dtype=np.int32)
    user[places] = users
    counts = np.zeros(num_batches, dtype=np.int64)
    lengths, order = np.diff(rows.indptr), np.argsort(places)
    np.add.at(counts, places // size, lengths)
    row = np.zeros((num_batches, max(1, counts.max())), dtype=np.int32)
    item = np.full(row.shape, rows.shape[1], dtype=np.int32)
    is_pair = np.arange(row.shape[1]) < counts[:, None]
    row[is_pair] = np.repeat(places[order] % size, lengths[order])
    item[is_pair] = rows[order].indices
    if only is not None:
        spread = np.zeros(num_batches * size, dtype=bool)
        spread[places] = only
        only = spread.reshape(num_batches, size)
    user, row, item, only = placement.divided((user.reshape(num_batches, size), row, item, only))
    most = 1 << max(int(lengths.max(initial=0)) - 1, 0).bit_length()
    return Queries(user, row, item, only, places.astype(np.int32), most, placement)
