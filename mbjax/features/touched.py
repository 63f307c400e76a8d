"""How often items met by the same behaviors go on to the target: of an item among other users, and of the user himself.

The behaviors by which somebody has met an item are one number, bit k of which stands for behavior k. Somebody who has
met it by more behaviors counts among those who have met it by fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import lists

PRIOR_ITEM, PRIOR_USER = 10.0, 2.0
"""Pairs of the mean rate that are added to those counted."""
NAMES = ("count_rate_item_touched", "count_rate_user_touched")


class Touched(NamedTuple):
    """Of all users.

    Attributes:
      codes: int64 [C], the sets of behaviors that occur, ascending.
      pairs: CSR [I, C], by how many users each item was met in each way.
    """

    codes: np.ndarray
    pairs: sparse.csr_array


def count(train: Mapping[str, sparse.csr_array]) -> Touched:
    """Counts the pairs of all users."""
    whole = _coded(list(train.values()))
    codes, place = np.unique(whole.data, return_inverse=True)
    shape = (whole.shape[1], codes.size)
    pairs = sparse.coo_array((np.ones(place.size), (whole.indices, place.ravel())), shape)
    return Touched(codes, pairs.tocsr())


def columns(
    touched: Touched, of: lists.Lists, row: np.ndarray, own: Mapping[str, np.ndarray], target: str
) -> dict[str, np.ndarray]:
    """Logarithms of both rates for familiar candidates, the user left out of the first: ``NAMES`` -> [N].

    Args:
      touched: of all users.
      of: the lists.
      row: the list of each candidate.
      own: behavior -> whether the statistics have the candidate of its user, [N].
      target: the ranked behavior.
    """
    names = list(of.history)
    bit = np.int64(1) << names.index(target)
    met = np.zeros(row.size, np.int64)
    for k, behavior in enumerate(names):
        if behavior != target:
            met += of.of(of.history[behavior], row).astype(np.int64) << k
    held = sum(own[b].astype(np.int64) << k for k, b in enumerate(names))  # in what ways the statistics have it of him
    kept = _coded([of.history[b] for b in names])
    whole = _coded(list(of.held.values()))
    by_item, by_user = np.zeros(row.size), np.zeros(row.size)
    for code in np.unique(met):
        some = np.flatnonzero(met == code)
        item, user = of.item[some], row[some]
        tried, done = (touched.pairs @ _has(touched.codes, wanted) for wanted in (code, code | bit))
        mine, mine_done = (_number(whole, wanted) for wanted in (code, code | bit))
        rate = np.maximum(done.sum() - mine_done, 1) / np.maximum(tried.sum() - mine, 1)
        mine, mine_done = ((held[some] > 0) & ((held[some] & wanted) == wanted) for wanted in (code, code | bit))
        among, success = tried[item] - mine, done[item] - mine_done
        by_item[some] = (success + PRIOR_ITEM * rate[user]) / (among + PRIOR_ITEM)
        among, success = (_number(kept, wanted)[user] for wanted in (code, code | bit))
        by_user[some] = (success + PRIOR_USER * rate[user]) / (among + PRIOR_USER)
    return dict(zip(NAMES, (np.log(by_item), np.log(by_user)), strict=True))


def _coded(matrices: Sequence[sparse.csr_array]) -> sparse.csr_array:
    """The sum of 2^k over the matrices that store a pair, int64."""
    parts = [(m != 0).astype(np.int64) * (np.int64(1) << k) for k, m in enumerate(matrices)]
    return sparse.csr_array(sum(parts[1:], start=parts[0]))


def _has(codes: np.ndarray, wanted: int) -> np.ndarray:
    return ((codes & wanted) == wanted).astype(np.float64)


def _number(coded: sparse.csr_array, wanted: int) -> np.ndarray:
    """Pairs of each row that were met in the wanted way."""
    row, _ = lists.pairs(coded)
    return np.bincount(row, _has(coded.data, wanted), minlength=coded.shape[0])
