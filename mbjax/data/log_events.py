"""When the pairs of a log happened: all its rows of them, also those that repeat a pair, up to where the split cuts.

A pair belongs to the part of its first row. Its later rows are known in that part as far as they lie there themselves:
of a log that is cut in time, what happens after the first cut is known to training of no pair, and what happens between
the cuts is known to whoever may know validation pairs, of pairs of training too. Of one where each user's last target
pair is tested, a user's repeated rows from that one on are known to nobody, since they are of its future. First rows
count in any case: whoever knows a pair knows of it once.
"""

from __future__ import annotations

import numpy as np

from mbjax.data import cleaning, content, moments, options, times

_TRAIN, _VALID, _TEST = range(3)


def of(rows: cleaning.Rows, part: np.ndarray, layout: options.LogOptions) -> moments.Parts:
    """Events of training and validation pairs; empty if all rows have the same time.

    Args:
      rows: of the log, cleaned.
      part: the split of every row, [n], -1 where none was given.
      layout: says how it was split, and the unit of its times.
    """
    seconds = times.seconds(rows.times, layout.time_unit)
    if not seconds.size or seconds[0] == seconds[-1]:
        return {}
    has = {what: rows.has(what) for what in ("user", "item")}
    usable = (rows.behavior >= 0) & has["user"][rows.user] & has["item"][rows.item]
    place = {what: np.cumsum(found) - 1 for what, found in has.items()}
    where = np.where(rows.kept, part, np.int8(-1))
    # Cuts in time are those of all rows, also of users who were left out since.
    lies = _in_time(seconds, part) if layout.split == "time_80_10_10" else _before_last(rows, where)
    # A row that was left out as a repetition lies where its moment does; the others where the split put them.
    where = np.where(rows.kept, where, np.where(usable, lies, np.int8(-1)))
    del usable, lies
    keys = place["user"][rows.user] * int(has["item"].sum()) + place["item"][rows.item]
    found: dict[str, dict[str, moments.Moments]] = {}
    for code in (_TRAIN, _VALID) if layout.split == "time_80_10_10" else (_TRAIN,):
        found[content.PUBLISHED_SPLITS[code]] = {
            name: moments.of(*(x[(where == code) & (rows.behavior == k)] for x in (keys, seconds)))
            for k, name in enumerate(rows.behaviors)
        }
    return found


def _in_time(seconds: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The part that each row's moment lies in."""
    cuts = [seconds[part >= code].min(initial=np.inf) for code in (_VALID, _TEST)]
    return np.searchsorted(cuts, seconds, side="right").astype(np.int8)


def _before_last(rows: cleaning.Rows, part: np.ndarray) -> np.ndarray:
    """Training for rows before the user's tested one, or of users without; -1 for others."""
    tested = np.full(rows.user.max() + 1, rows.user.size)
    chosen = np.flatnonzero(part == _TEST)
    np.minimum.at(tested, rows.user[chosen], chosen)
    return np.where(np.arange(rows.user.size) < tested[rows.user], np.int8(_TRAIN), np.int8(-1))
