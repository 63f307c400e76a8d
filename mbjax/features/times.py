"""When a user met an item: recency, repetition and sessions, what is like the items of late, what is new or in demand.

Letters: t an event, T_b(u, i) the events of a pair by behavior b, T(u, i) those by any, t* = max T(u, .) the user's
*reference time*, the last event that is left in his history, and m the *moment* of the list: the end of the log, or the
moment from which on nothing is known of the user (``lists.Clock.until``). Only differences of times are looked at, so
that another origin of the clock changes nothing.

Of familiar candidates, for each behavior b but the ranked one (b is left out of the names for any of them):

    since_b = log(1 + (t* - max T_b) / minute)     of those not met by b: the length of the log, as the difference
    count_b = log(1 + |T_b|)                       touches
    days_b  = log(1 + number of days with a touch) days are counted from the first event of the log
    day_b   = sum over T_b of 2^(-(t* - t) / day)  touches, recent ones most; week_b likewise
    session = 1 if max T is in the user's last session, a run of events with gaps of 30 minutes at most
    place   = log(1 + number of candidates of the list with a later max T)

Of all candidates, n_b(i) users having met i by b, the user himself left out of everything:

    last    = log(small + cosine of i to the user's last item by t, by c(h, i) / sqrt(n(h) n_k(i)))
    recent  = log(small + sum of these cosines over his items h, weighted by 2^(-(t* - max T(u, h)) / day))
    demand_b = log(1 + users who met i by b for the first time in the week before m)
    today   = log(1 + users who met i by any behavior for the first time in the day before m)
    age     = log(1 + (m - first event of i) / day); of an item that nobody else has met: 0

with c(h, i) the other users who met h by any behavior and i by the ranked one k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mbjax.features import comparing, events, lists

Columns = dict[str, np.ndarray]


def names(behaviors: Sequence[str], target: str, *, familiar: bool) -> list[str]:
    """The columns of ``columns``, in order."""
    found = []
    if familiar:
        for b in behaviors:
            if b != target:
                found += [f"time_{kind}_{b}" for kind in ("since", "count", "days", "day", "week")]
        found += ["time_since", "time_place", "time_session"]
    found += ["time_last", "time_recent"]
    return found + [f"time_demand_{b}" for b in behaviors] + ["time_today", "time_age"]


def columns(log: events.Log, of: lists.Lists, near: comparing.Near, target: str, *, familiar: bool) -> Columns:
    """Name -> float32 [N]; see above. What is like the items of late is told by ``similarity.aggregate``."""
    touched = {b: events.touches(log.events[b], of.history[b], of.clock) for b in log.events}
    reference, session = events.reference(touched, len(of.user))
    row, found = of.row, {}
    if familiar:
        found |= _touch_columns(log, of, row, touched, reference, session, target)
    found |= {f"time_{kind}": near[f"{kind}_{target}"] for kind in comparing.LATE}
    found |= _items(log, of, row)
    return {name: x.astype(np.float32) for name, x in found.items()}


def _touch_columns(log: events.Log, of, row, touched, reference, session, target) -> Columns:
    found: Columns = {}
    width = log.met.shape[1]
    wanted = row * width + of.item
    latest = np.full(wanted.size, -np.inf)
    for b, t in touched.items():
        if b == target:
            continue
        place = np.minimum(np.searchsorted(t.keys, wanted), max(t.keys.size - 1, 0))
        has = t.keys[place] == wanted if t.keys.size else np.zeros(wanted.size, bool)
        pair = place[has]
        low, high, ref = t.low[pair], t.high[pair], reference[row[has]]
        found |= {f"time_{kind}_{b}": np.zeros(wanted.size) for kind in ("since", "count", "days", "day", "week")}
        found[f"time_since_{b}"][:] = np.log1p(log.end / events.MINUTE)
        found[f"time_since_{b}"][has] = np.log1p((ref - t.last[pair]) / events.MINUTE)
        found[f"time_count_{b}"][has] = np.log1p(high - low)
        found[f"time_days_{b}"][has] = np.log1p(t.events.days[high] - t.events.days[low])
        if pair.size:
            ago = np.repeat(ref, high - low) - t.events.seconds[lists.ragged(low, high - low)]
            first = np.concatenate([[0], np.cumsum(high - low)[:-1]])
            for kind, half in (("day", events.DAY), ("week", events.WEEK)):
                found[f"time_{kind}_{b}"][has] = np.log1p(np.add.reduceat(np.exp2(-ago / half), first))
        latest[has] = np.maximum(latest[has], t.last[pair])
    is_met = np.isfinite(latest)  # a new user may have met it before the log began
    since = np.where(is_met, reference[row] - latest, log.end)
    found["time_since"] = np.log1p(since / events.MINUTE)
    order = np.lexsort((since, row))
    ordered, ordered_row = since[order], row[order]
    is_new = np.ones(since.size, bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]) | (ordered_row[1:] != ordered_row[:-1])
    before = np.maximum.accumulate(np.where(is_new, np.arange(since.size), 0))  # ties share a place
    place = np.empty(since.size)
    place[order] = before - of.ptr[ordered_row]
    found["time_place"] = np.log1p(place)
    found["time_session"] = (is_met & (latest >= session[row])).astype(np.float64)
    return found


def _items(log: events.Log, of: lists.Lists, row: np.ndarray) -> Columns:
    """What other users do with the item of late."""
    width = log.met.shape[1]
    moment, is_cut = np.minimum(of.clock.until, log.end)[row], (of.clock.until <= log.end)[row]
    is_part = (of.user >= 0)[row]
    wanted = np.maximum(of.user, 0)[row].astype(np.int64) * width + of.item
    own, found = {}, {}
    for b, known in log.events.items():
        place = np.minimum(np.searchsorted(known.keys, wanted), max(known.keys.size - 1, 0))
        has = is_part & (known.keys[place] == wanted) if known.keys.size else np.zeros(wanted.size, bool)
        own[b] = np.full(wanted.size, np.inf)
        own[b][has] = known.seconds[known.ptr[place[has]]]
    own[""] = np.min(list(own.values()), axis=0)

    def users(b: str, time: np.ndarray) -> np.ndarray:
        """Other users who met the item up to a time; of a list whose end is known, before it."""
        keys = of.item * log.span + np.maximum(time, -1.0)
        sides = (np.searchsorted(log.firsts[b].keys, keys, side=side) for side in ("left", "right"))
        at = np.where(is_cut, *sides)
        return at - log.firsts[b].ptr[of.item] - np.where(is_cut, own[b] < time, own[b] <= time)

    for b in log.events:
        found[f"time_demand_{b}"] = np.log1p(users(b, moment) - users(b, moment - events.WEEK))
    found["time_today"] = np.log1p(users("", moment) - users("", moment - events.DAY))
    of_any = log.firsts[""]
    low, high = of_any.ptr[of.item], of_any.ptr[of.item + 1]
    first, second = (_time(of_any, low + k, high) for k in (0, 1))
    first = np.where(own[""] <= first, second, first)
    found["time_age"] = np.log1p(np.maximum(moment - np.minimum(first, moment), 0) / events.DAY)
    return found


def _time(firsts: events.Firsts, place: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The time at a place of an item, infinity beyond its last."""
    if not firsts.keys.size:
        return np.full(place.size, np.inf)
    value = firsts.seconds[np.minimum(place, firsts.keys.size - 1)]
    return np.where(place < high, value, np.inf)
