"""The table of numbers of candidates for one ranked behavior: families of columns, named, side by side.

Numbers are scaled by fixed rules alone (logarithms, factors), so that half precision holds them; their means and
deviations are the model's business.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import comparing, events, lists, times, touched
from mbjax.features.regression import Predicted

PRIOR = 10.0  # users, of a smoothed rate
SMALL = 1e-3  # added to a prediction before its logarithm
GAIN = 64.0  # of predictions, which are small
FAMILIES = ("touch", "count", "ease", "near", "rank", "time", "alike")

Columns = dict[str, np.ndarray]


class Counts(NamedTuple):
    """Of all users.

    Attributes:
      item: behavior -> float64 [I], users of each item.
      both: (behavior, a later one) -> float64 [I], users of each item by both.
      touched: users of each item by the behaviors that they met it by.
    """

    item: Mapping[str, np.ndarray]
    both: Mapping[tuple[str, str], np.ndarray]
    touched: touched.Touched


class Source(NamedTuple):
    """What tables are made of.

    Attributes:
      train: behavior -> CSR [U, I] of ones, funnel order: the pairs of the statistics.
      counts: of these.
      target: the ranked behavior.
      log: when everything happened; None: there is no family "time".
    """

    train: Mapping[str, sparse.csr_array]
    counts: Counts
    target: str
    log: events.Log | None = None


def counts(train: Mapping[str, sparse.csr_array]) -> Counts:
    """Counts the pairs of all users."""
    item = {b: np.asarray(m.sum(axis=0), np.float64).ravel() for b, m in train.items()}
    both = {
        (a, b): np.asarray(train[a].multiply(train[b]).sum(axis=0), np.float64).ravel()
        for a, b in itertools.combinations(train, 2)
    }
    return Counts(item, both, touched.count(train))


def table(source: Source, of: lists.Lists, predicted: Predicted, near: comparing.Near, *, familiar: bool) -> Columns:
    """All families of familiar candidates, or those that new candidates have: name -> float32 [N].

    Args:
      source: the statistics.
      of: the lists.
      predicted: what the regression says of the candidates.
      near: their similarities.
      familiar: whether they were met by other behaviors.
    """
    row = of.row
    history = {b: of.of(of.history[b], row) for b in source.train}
    part = (of.user >= 0).astype(np.float32)[row]
    own = {b: lists.contributed(of, b, row) for b in source.train}
    columns: Columns = {}
    if familiar:
        columns |= {f"touch_{b}": history[b] for b in source.train if b != source.target}
    columns |= _counts(source, of, row, own, part)
    if familiar:
        columns |= touched.columns(source.counts.touched, of, row, own, source.target)
    columns |= _predictions(source, predicted)
    columns |= _similarities(source, near)
    telling = {name: x for name, x in columns.items() if _is_telling(name, source.target, familiar)}
    columns |= _ranks(of, row, telling, deviations=familiar)
    if source.log is not None:
        columns |= times.columns(source.log, of, near, source.target, familiar=familiar)
    return {name: np.asarray(x, np.float32) for name, x in columns.items()}


def names(behaviors: Sequence[str], target: str, *, familiar: bool, timed: bool = False) -> list[str]:
    """The columns of ``table``, in order; ``timed`` where it is known when everything happened."""
    others = [b for b in behaviors if b != target]
    found = [f"touch_{b}" for b in others] if familiar else []
    for b in behaviors:
        found += [f"count_item_{b}", f"count_user_{b}"]
    for place, a in enumerate(behaviors):
        for b in behaviors[place + 1 :]:
            found += [f"count_rate_item_{a}_{b}", f"count_rate_user_{a}_{b}", f"count_rate_user_{b}_{a}"]
    found += [f"count_rate_item_{target}_per_{a}" for a in others]
    found += touched.NAMES if familiar else ()
    found += ["ease_kept", "ease_left", "ease_difference", *(f"ease_gain_{b}" for b in others)]
    found += ["ease_kept_log", "ease_left_log"]
    for a in behaviors:
        for b in behaviors:
            found += [f"near_sum_{a}_{b}", f"near_max_{a}_{b}"]
    found += [*(f"near_sum_{a}_shrunk" for a in behaviors), *(f"near_walk_{a}" for a in behaviors)]
    found += [f"alike_{kind}_{a}" for a in others for kind in comparing.ALIKE]
    kinds = ("rank_", "rank_z_") if familiar else ("rank_",)
    found += [f"{kind}{name}" for name in found if _is_telling(name, target, familiar) for kind in kinds]
    return found + (times.names(behaviors, target, familiar=familiar) if timed else [])


def _is_telling(name: str, target: str, familiar: bool) -> bool:
    if name in ("ease_kept", "ease_left", f"count_item_{target}"):
        return True
    return name.startswith(("near_", "count_rate_item") if familiar else ("near_sum_", "near_walk_"))


def _counts(source: Source, of: lists.Lists, row: np.ndarray, own: Columns, part: np.ndarray) -> Columns:
    """Logarithms of how much item and user have by each behavior, and of how much of one behavior becomes another."""
    names, item, columns = list(source.train), of.item, {}
    whole = source.counts.item
    number = {b: whole[b][item] - own[b] for b in names}
    length = {b: np.diff(of.history[b].indptr) for b in names}
    mine = of.held
    for b in names:
        columns[f"count_item_{b}"] = np.log1p(number[b])
        columns[f"count_user_{b}"] = np.log1p(length[b])[row]
    for place, a in enumerate(names):
        for b in names[place + 1 :]:
            both = source.counts.both[a, b]
            others = both.sum() - np.asarray(mine[a].multiply(mine[b]).sum(axis=1)).ravel()
            rate = (np.maximum(others, 1) / np.maximum(whole[a].sum() - np.asarray(mine[a].sum(axis=1)).ravel(), 1))[
                row
            ]
            met = both[item] - own[a] * own[b] * part
            columns[f"count_rate_item_{a}_{b}"] = np.log((met + PRIOR * rate) / (number[a] + PRIOR))
            both = np.asarray(of.history[a].multiply(of.history[b]).sum(axis=1), np.float64).ravel()
            columns[f"count_rate_user_{a}_{b}"] = (both / (length[a] + 1))[row]
            columns[f"count_rate_user_{b}_{a}"] = (both / (length[b] + 1))[row]
    for a in names:
        if a != source.target:
            columns[f"count_rate_item_{source.target}_per_{a}"] = np.log((number[source.target] + 1) / (number[a] + 5))
    return columns


def _predictions(source: Source, predicted: Predicted) -> Columns:
    """The regression in both readings, and what each behavior's columns give alone."""
    kept, left = predicted.kept, predicted.left
    columns = {"ease_kept": kept * GAIN, "ease_left": left * GAIN, "ease_difference": (kept - left) * GAIN}
    columns |= {f"ease_gain_{b}": predicted.gain[k] * GAIN for k, b in enumerate(source.train) if b != source.target}
    columns["ease_kept_log"] = np.log(np.maximum(kept, 0) + SMALL)
    columns["ease_left_log"] = np.log(np.maximum(left, 0) + SMALL)
    return columns


def _similarities(source: Source, near: comparing.Near) -> Columns:
    """Logarithms of sums and maxima of cosines, by pairs of behaviors; of the target's side shrunk and walks too."""
    names = [f"{kind}_{a}_{b}" for a in source.train for b in source.train for kind in ("sum", "max")]
    columns = {f"near_{name}": near[name] for name in names}
    columns |= {f"near_sum_{a}_shrunk": near[f"shrunk_{a}_{source.target}"] for a in source.train}
    columns |= {f"near_walk_{a}": near[f"walk_{a}_{source.target}"] for a in source.train}
    via = {(kind, a): f"{kind}_{source.target}_via_{a}" for a in source.train for kind in comparing.ALIKE}
    return columns | {f"alike_{kind}_{a}": near[name] for (kind, a), name in via.items() if name in near}


def _ranks(of: lists.Lists, row: np.ndarray, telling: Columns, *, deviations: bool) -> Columns:
    """How many of its list are better in some columns, as log1p; and their standard scores."""
    count = np.maximum(np.diff(of.ptr), 1)
    columns: Columns = {}
    for name, x in telling.items():
        columns[f"rank_{name}"] = np.log1p(_better(x, row, of.ptr))
        if deviations:
            mean = np.bincount(row, x, minlength=count.size) / count
            square = np.bincount(row, np.square(x, dtype=np.float64), minlength=count.size) / count
            columns[f"rank_z_{name}"] = (x - mean[row]) / np.sqrt(np.maximum(square - mean**2, 1e-6))[row]
    return columns


def _better(x: np.ndarray, row: np.ndarray, ptr: np.ndarray) -> np.ndarray:
    """How many of its list have a larger value, float32 [N]: equal ones share a rank, whatever their order."""
    # One integer sorts by list, then by falling value: the bits of a float are ordered, negative ones the other way.
    bits = (np.asarray(x, np.float32) + np.float32(0)).view(np.int32)  # -0 is 0
    rising = np.where(bits < 0, ~bits ^ np.int32(-(2**31)), bits)
    key = (row.astype(np.int64) << 32) - rising
    order = np.argsort(key)
    ordered = key[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: x.size]
    place = np.maximum.accumulate(np.where(is_first, np.arange(x.size), 0))
    rank = np.empty(x.size, np.float32)
    rank[order] = place - ptr[row[order]]
    return rank
