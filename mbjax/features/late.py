"""The items that users met of late, by any behavior, and how much each speaks for what is like it.

With t* the user's *reference time*, the last event that is left in his history, T(u, h) his events with an item by any
behavior, and n(h) the other users who met h:

    last(h)   = [max T(u, h) = t*] / (number of such items) / sqrt(n(h))
    recent(h) = 2^(-(t* - max T(u, h)) / day) / sqrt(n(h)),        0 below a thousandth
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mbjax.features import events, lists

LEAST = 1e-3  # weight that counts


class Late(NamedTuple):
    """What was met of late, list by list.

    Attributes:
      ptr: int64 [L + 1].
      item: int32.
      last, recent: float32, weights of the items.
    """

    ptr: np.ndarray
    item: np.ndarray
    last: np.ndarray
    recent: np.ndarray


def weighted(log: events.Log, of: lists.Lists) -> Late:
    """The items of the histories of lists that still count."""
    touched = {b: events.touches(log.events[b], of.history[b], of.clock) for b in log.events}
    reference, _ = events.reference(touched, len(of.user))
    keys = np.concatenate([t.keys for t in touched.values()])
    time = np.concatenate([t.last for t in touched.values()])
    order = np.lexsort((time, keys))
    keys, time = keys[order], time[order]
    is_last = np.ones(keys.size, bool)
    is_last[:-1] = keys[1:] != keys[:-1]
    keys, time = keys[is_last], time[is_last]
    line, item = np.divmod(keys, log.met.shape[1])
    # Whoever met anything has a newest item, which weighs 1 here: items of the other weights are among these.
    recent = np.exp2(-(reference[line] - time) / events.DAY)
    newest = time >= reference[line]
    last = newest / np.maximum(np.bincount(line, newest, minlength=len(of.user)), 1)[line]
    users = log.counted[item] - np.maximum.reduce([lists.contributed(of, b, line, item) for b in log.events])
    scale = 1 / np.sqrt(np.maximum(users, 1))
    last, recent = (np.where(x > LEAST, x * scale, 0).astype(np.float32) for x in (last, recent))
    keep = recent > 0
    ptr = np.searchsorted(line[keep], np.arange(len(of.user) + 1))
    return Late(ptr, item[keep].astype(np.int32), last[keep], recent[keep])
