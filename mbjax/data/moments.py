"""When the pairs of a split happened: all events of a pair, of which the pair itself keeps nothing.

Kept beside the sorted keys of ``content``, so that neither fingerprints nor splits know of it. A log of which each pair
happened once takes 24 bytes a pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax import types


class Moments(NamedTuple):
    """The events of n pairs.

    Attributes:
      keys: int64 [n], ``user * num_items + item``, sorted and distinct.
      ptr: int64 [n + 1]; pair p has the events ptr[p]:ptr[p + 1], at least one.
      seconds: float64, ascending in a pair; from any moment, the same one for a whole data set.
    """

    keys: np.ndarray
    ptr: np.ndarray
    seconds: np.ndarray


Parts = Mapping[str, Mapping[str, Moments]]  # split -> behavior -> events


def of(keys: np.ndarray, seconds: np.ndarray) -> Moments:
    """Moments of events [n] in any order."""
    is_in_order = (seconds[1:] >= seconds[:-1]).all()
    order = np.argsort(keys, kind="stable") if is_in_order else np.lexsort((seconds, keys))
    seconds, keys = np.asarray(seconds, np.float64)[order], keys[order]
    del order
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: keys.size])
    return Moments(keys[first].astype(np.int64), np.concatenate([first, [keys.size]]).astype(np.int64), seconds)


def joined(parts: Iterable[Moments]) -> Moments:
    """The events of all."""
    parts = list(parts)
    keys = [np.repeat(part.keys, np.diff(part.ptr)) for part in parts]
    return of(
        np.concatenate([np.zeros(0, np.int64), *keys]), np.concatenate([np.zeros(0), *(p.seconds for p in parts)])
    )


def either(first: Moments, second: Moments) -> Moments:
    """The events that any of two records has: one that both have is one, and a repetition in one of them is another."""
    keys, seconds = [], []
    for part in (first, second):
        keys.append(np.repeat(part.keys, np.diff(part.ptr)))
        seconds.append(part.seconds)
    number = [_number(*record) for record in zip(keys, seconds, strict=True)]
    keys, seconds, number = (np.concatenate(x) for x in (keys, seconds, number))
    order = np.lexsort((number, seconds, keys))
    keys, seconds, number = keys[order], seconds[order], number[order]
    is_new = np.ones(keys.size, bool)
    is_new[1:] = (keys[1:] != keys[:-1]) | (seconds[1:] != seconds[:-1]) | (number[1:] != number[:-1])
    return of(keys[is_new], seconds[is_new])


def _number(keys: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Of events in order, how many before each are equal to it."""
    place = np.arange(keys.size)
    is_first = np.ones(keys.size, bool)
    is_first[1:] = (keys[1:] != keys[:-1]) | (seconds[1:] != seconds[:-1])
    return place - np.maximum.accumulate(np.where(is_first, place, 0)) if keys.size else place


def end(parts: Iterable[Moments]) -> float:
    """The last moment of all; 0 of none."""
    return max((float(part.seconds.max()) for part in parts if part.seconds.size), default=0.0)


def begin(parts: Iterable[Moments]) -> float:
    """The first moment of all; infinity of none."""
    return min((float(part.seconds.min()) for part in parts if part.seconds.size), default=np.inf)


def aligned(moments: Moments, matrix: sparse.csr_array, missing: float) -> types.Events:
    """The events of the stored entries of a matrix [U, I], indices sorted; one at ``missing`` where none is known."""
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    keys = row * matrix.shape[1] + matrix.indices
    if not moments.keys.size:
        return types.Events(np.arange(keys.size + 1, dtype=np.int64), np.full(keys.size, missing))
    place = np.minimum(np.searchsorted(moments.keys, keys), moments.keys.size - 1)
    is_known = moments.keys[place] == keys
    count = np.where(is_known, np.diff(moments.ptr)[place], 1)
    ptr = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    from_ = np.repeat(np.where(is_known, moments.ptr[place], 0) - ptr[:-1], count) + np.arange(ptr[-1])
    return types.Events(ptr, np.where(np.repeat(is_known, count), moments.seconds[from_], missing))


def of_parts(parts: Parts, split: str, behaviors: Iterable[str]) -> dict[str, Moments]:
    """Those of a split; of none where a behavior has none there."""
    nothing = Moments(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0))
    return {b: parts.get(split, {}).get(b, nothing) for b in behaviors}


def rows(moments: Moments, places: np.ndarray, width: int) -> Moments:
    """Those of some users [n] of I = ``width`` items, who become 0 .. n - 1."""
    number = int(max(places.max(initial=-1), (moments.keys // width).max(initial=-1))) + 1
    new = np.full(number, -1, np.int64)
    new[places] = np.arange(places.size)
    keys = np.repeat(moments.keys, np.diff(moments.ptr))
    user = new[keys // width]
    return of((user * width + keys % width)[user >= 0], moments.seconds[user >= 0])


def of_events(events: types.Events, matrix: sparse.csr_array) -> Moments:
    """What ``aligned`` was made of."""
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return Moments(row * matrix.shape[1] + matrix.indices, events.ptr, events.seconds)
