"""When everything happened, and what of it a list knows: the events of histories, and when users first met items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax import types
from mbjax.features import lists

MINUTE, DAY, WEEK = 60.0, 86400.0, 604800.0  # seconds
GAP = 30 * MINUTE  # longest between two events of a session


class Events(NamedTuple):
    """The events of a behavior, of all people.

    Attributes:
      keys: int64 [P], person * I + item, ascending.
      ptr: int64 [P + 1].
      seconds: float64, ascending in a pair, from the first event of training.
      days: int64, number of events before each that are the first of their pair's in a day, [events + 1].
    """

    keys: np.ndarray
    ptr: np.ndarray
    seconds: np.ndarray
    days: np.ndarray


class Firsts(NamedTuple):
    """When users first met items: ``keys`` ascending, item * span + ``seconds``; ``ptr`` [I + 1] the rows of an item.

    Keys are to be searched; what is read is ``seconds``, which a sum would have rounded.
    """

    keys: np.ndarray
    ptr: np.ndarray
    seconds: np.ndarray


class Log(NamedTuple):
    """When everything happened.

    Attributes:
      events: behavior -> Events; people are the users of training, then passive ones.
      met: CSR [U, I] of ones, pairs of training by any behavior.
      train: behavior -> CSR [U, I].
      firsts: behavior, and "" for any -> first events of training.
      end: of training, seconds from its first event.
      span: more than any time.
      counted: float64 [I], users of each item by any behavior.
    """

    events: Mapping[str, Events]
    met: sparse.csr_array
    train: Mapping[str, sparse.csr_array]
    firsts: Mapping[str, Firsts]
    end: float
    span: float
    counted: np.ndarray

    def first(self, behavior: str) -> np.ndarray:
        """When the pairs of training happened first, seconds from the first event of all, [nnz]."""
        known = self.events[behavior]
        return known.seconds[known.ptr[: self.train[behavior].nnz]]

    def known_before(self, moment: float) -> np.ndarray:
        """Users of training with a pair that happened before a moment, bool [U]."""
        found = np.zeros(self.met.shape[0], bool)
        for behavior, matrix in self.train.items():
            row, _ = lists.pairs(matrix)
            found[row[self.first(behavior) < moment]] = True
        return found


def of_evidence(evidence: types.Evidence) -> Log | None:
    """None where it is not known when pairs happened."""
    if evidence.events is None:
        return None
    train = evidence.train
    number, width = next(iter(train.values())).shape
    known = [of.seconds for of in evidence.events.values() if of.seconds.size]
    begin = min((x.min() for x in known), default=0.0)
    end = max((x.max() for x in known), default=0.0) - begin
    found = {}
    for b, matrix in train.items():
        keys, ptr, seconds = keys_of(matrix), evidence.events[b].ptr, evidence.events[b].seconds
        if evidence.passive is not None:
            more = evidence.passive_events[b]
            keys = np.concatenate([keys, keys_of(evidence.passive[b]) + number * width])
            ptr = np.concatenate([ptr, ptr[-1] + more.ptr[1:]])
            seconds = np.concatenate([seconds, more.seconds])
        seconds = seconds - begin
        found[b] = Events(keys, ptr, seconds, _days(ptr, seconds))
    span = max((x.seconds.max() for x in found.values() if x.seconds.size), default=0.0) + 2 * WEEK
    first = {b: (keys_of(m), evidence.events[b].seconds[evidence.events[b].ptr[:-1]] - begin) for b, m in train.items()}
    keys, seconds = (np.concatenate([x[k] for x in first.values()]) for k in (0, 1))
    order = np.lexsort((seconds, keys))
    any_, place = np.unique(keys[order], return_index=True)
    first[""] = any_, seconds[order][place]
    met = lists.ones(any_ // width, any_ % width, (number, width))
    firsts = {b: _firsts(keys % width, seconds, width, span) for b, (keys, seconds) in first.items()}
    counted = np.asarray(met.sum(axis=0), np.float64).ravel()
    return Log(found, met, train, firsts, float(end), float(span), counted)


class Touches(NamedTuple):
    """Of the pairs of histories: where their events are, and the last one; by row, then item."""

    events: Events
    keys: np.ndarray  # row * I + item
    row: np.ndarray
    item: np.ndarray
    low: np.ndarray
    high: np.ndarray
    last: np.ndarray


def touches(events: Events, history: sparse.csr_array, clock: lists.Clock) -> Touches:
    row, item = lists.pairs(history)
    width = history.shape[1]
    pair = np.searchsorted(events.keys, clock.person[row] * width + item)
    low, high = events.ptr[pair], events.ptr[pair + 1]
    if np.isfinite(clock.until).any():
        every = np.repeat(np.arange(row.size), high - low)
        inside = events.seconds[lists.ragged(low, high - low)] < clock.until[row][every]
        # The first event is kept in any case: whoever has the pair in a history knows of it.
        high = low + np.maximum(np.bincount(every, inside, minlength=row.size).astype(np.int64), 1)
    last = events.seconds[high - 1] if row.size else np.zeros(0)
    return Touches(events, row * width + item, row, item, low, high, last)


def reference(touched: Mapping[str, Touches], number: int) -> tuple[np.ndarray, np.ndarray]:
    """The last event of each list and the beginning of its last session, [L]; 0 of nothing."""
    row = np.concatenate([np.repeat(t.row, t.high - t.low) for t in touched.values()])
    time = np.concatenate([t.events.seconds[lists.ragged(t.low, t.high - t.low)] for t in touched.values()])
    order = np.lexsort((time, row))
    row, time = row[order], time[order]
    reference, session = np.zeros(number), np.zeros(number)
    reference[row] = time  # the last one stays
    is_first = np.ones(row.size, bool)
    is_first[1:] = (row[1:] != row[:-1]) | (np.diff(time) > GAP)
    session[row[is_first]] = time[is_first]
    return reference, session


def keys_of(matrix: sparse.csr_array) -> np.ndarray:
    row, item = lists.pairs(matrix)
    return row * matrix.shape[1] + item


def _days(ptr: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    day = np.floor(seconds / DAY)
    is_new = np.ones(seconds.size, bool)
    is_new[1:] = day[1:] != day[:-1]
    is_new[ptr[:-1]] = True
    return np.concatenate([[0], np.cumsum(is_new)])


def _firsts(item: np.ndarray, seconds: np.ndarray, width: int, span: float) -> Firsts:
    order = np.lexsort((seconds, item))
    item, seconds = item[order], seconds[order]
    return Firsts(item * span + seconds, np.searchsorted(item, np.arange(width + 1)), seconds)
