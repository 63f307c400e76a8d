"""The table of numbers of candidates for one ranked behavior: families of columns, named, side by side.

Numbers are scaled by fixed rules alone (logarithms, factors), so that half precision holds them; their means and
deviations are the model's business.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import lists, regression, similarity
from mbjax.features.regression import Predicted

PRIOR = 10.0  # users, of a smoothed rate
SMALL = 1e-3  # added to a sum or maximum of similarities before its logarithm
GAIN = 64.0  # of predictions, which are small
SHRINKAGE = 10.0  # users
FAMILIES = ("touch", "count", "ease", "near", "rank")

Columns = dict[str, np.ndarray]


class Source(NamedTuple):
    """What tables are made of.

    Attributes:
      train: behavior -> CSR [U, I] of ones, funnel order: the pairs of the statistics.
      fitted: their ridge regression.
      target: the ranked behavior.
    """

    train: Mapping[str, sparse.csr_array]
    fitted: regression.Fit
    target: str


def table(source: Source, of: lists.Lists, predicted: Predicted, *, familiar: bool) -> Columns:
    """All families of familiar candidates, or those that new candidates have: name -> float32 [N].

    Args:
      source: the statistics.
      of: the lists.
      predicted: what the regression says of the candidates.
      familiar: whether they were met by other behaviors.
    """
    row = of.row
    history = {b: of.of(of.history[b], row) for b in source.train}
    removed = {b: of.of(of.removed[b], row) if of.removed[b].nnz else np.zeros_like(history[b]) for b in source.train}
    # A pair of the statistics is one of the history, or one that was taken out of it; of strangers there is none.
    part = (of.user >= 0).astype(np.float32)[row]
    own = {b: (history[b] + removed[b]) * part for b in source.train}
    columns: Columns = {}
    if familiar:
        columns |= {f"touch_{b}": history[b] for b in source.train if b != source.target}
    columns |= _counts(source, of, row, own, part)
    columns |= _predictions(source, predicted)
    columns |= _similarities(source, of, own)
    telling = {name: x for name, x in columns.items() if _is_telling(name, source.target, familiar)}
    columns |= _ranks(of, row, telling, deviations=familiar)
    return {name: np.asarray(x, np.float32) for name, x in columns.items()}


def names(behaviors: Sequence[str], target: str, *, familiar: bool) -> list[str]:
    """The columns of ``table``, in order."""
    others = [b for b in behaviors if b != target]
    found = [f"touch_{b}" for b in others] if familiar else []
    for b in behaviors:
        found += [f"count_item_{b}", f"count_user_{b}"]
    for place, a in enumerate(behaviors):
        for b in behaviors[place + 1 :]:
            found += [f"count_rate_item_{a}_{b}", f"count_rate_user_{a}_{b}", f"count_rate_user_{b}_{a}"]
    found += [f"count_rate_item_{target}_per_{a}" for a in others]
    found += ["ease_kept", "ease_left", "ease_difference", *(f"ease_gain_{b}" for b in others)]
    found += ["ease_kept_log", "ease_left_log"]
    for a in behaviors:
        for b in behaviors:
            found += [f"near_sum_{a}_{b}", f"near_max_{a}_{b}"]
    found += [f"near_sum_{a}_shrunk" for a in behaviors]
    kinds = ("rank_", "rank_z_") if familiar else ("rank_",)
    return found + [f"{kind}{name}" for name in found if _is_telling(name, target, familiar) for kind in kinds]


def _is_telling(name: str, target: str, familiar: bool) -> bool:
    if name in ("ease_kept", "ease_left", f"count_item_{target}"):
        return True
    return name.startswith(("near_", "count_rate_item") if familiar else "near_sum_")


def _counts(source: Source, of: lists.Lists, row: np.ndarray, own: Columns, part: np.ndarray) -> Columns:
    """Logarithms of how much item and user have by each behavior, and of how much of one behavior becomes another."""
    train, names, item, columns = source.train, list(source.train), of.item, {}
    whole = {b: np.asarray(m.sum(axis=0), np.float64).ravel() for b, m in train.items()}
    number = {b: whole[b][item] - own[b] for b in names}
    length = {b: np.diff(of.history[b].indptr) for b in names}
    mine = {b: sparse.diags_array((of.user >= 0) * 1.0).tocsr() @ (of.history[b] + of.removed[b]) for b in names}
    for b in names:
        columns[f"count_item_{b}"] = np.log1p(number[b])
        columns[f"count_user_{b}"] = np.log1p(length[b])[row]
    for place, a in enumerate(names):
        for b in names[place + 1 :]:
            both = np.asarray(train[a].multiply(train[b]).sum(axis=0), np.float64).ravel()
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


def _similarities(source: Source, of: lists.Lists, own: Columns) -> Columns:
    """Logarithms of sums and maxima of cosines, by pairs of behaviors; those of the target's side shrunk too."""
    names, columns = list(source.train), {}
    kinds = {(a, b, 0.0): f"{a}_{b}" for a in names for b in names}
    kinds |= {(a, source.target, SHRINKAGE): f"{a}_shrunk" for a in names}
    found = similarity.aggregate(source.train, of, own, list(kinds))
    for kind, name in kinds.items():
        total, largest = found[kind]
        columns[f"near_sum_{name}"] = np.log(total + SMALL)
        if not kind[2]:
            columns[f"near_max_{name}"] = np.log(largest + SMALL)
    return columns


def _ranks(of: lists.Lists, row: np.ndarray, telling: Columns, *, deviations: bool) -> Columns:
    """The rank in its list, log1p of 0 for the best, of some columns; and their standard scores."""
    count = np.maximum(np.diff(of.ptr), 1)
    first = of.ptr[row]

    def one(item: tuple[str, np.ndarray]) -> Columns:
        name, x = item
        order = np.lexsort((-x, row))
        rank = np.empty(x.size, np.float32)
        rank[order] = np.arange(x.size) - first
        found = {f"rank_{name}": np.log1p(rank)}
        if deviations:
            mean = np.bincount(row, x, minlength=count.size) / count
            square = np.bincount(row, np.square(x, dtype=np.float64), minlength=count.size) / count
            found[f"rank_z_{name}"] = (x - mean[row]) / np.sqrt(np.maximum(square - mean**2, 1e-6))[row]
        return found

    columns: Columns = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(one, telling.items()):
            columns |= found
    return columns
