"""What a model learns from: pairs of training that are taken out again, fold by fold, and pairs of validation.

A pair of a fold is taken out of its user's history, and the user out of the statistics (``features``): what is known of
the pair is then what would be known if it were still to come. For familiar candidates the pair is taken out of the
ranked behavior alone, for new ones out of all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import candidates, lists, regression, retrieval, table

SHRUNK = re.compile(r"rank_near_sum_.*_shrunk")


class Draft(NamedTuple):
    """Lists that hold right answers, before their table is made.

    Attributes:
      part: ``"familiar"`` or ``"new"``.
      found: the lists and what the regression says.
      positive: float32 [N], 1 for the pairs to be predicted.
    """

    part: str
    found: retrieval.Found
    positive: np.ndarray


def folds(train: candidates.Pairs, target: str, number: int, taught: int, most: int, rng: np.random.Generator):
    """Users and their pairs of the target that are taken out together: yields (users [L], CSR [L, I]).

    Args:
      number: folds that the pairs are dealt into.
      taught: folds of them that are used.
      most: users of a fold, drawn where it has more.
    """
    row, column = lists.pairs(train[target])
    fold = rng.integers(0, number, row.size)
    for k in range(taught):
        mine = lists.ones(row[fold == k], column[fold == k], train[target].shape)
        users = np.flatnonzero(np.diff(mine.indptr))
        if users.size > most:
            users = np.sort(rng.choice(users, most, replace=False))
        if users.size:
            yield users, sparse.csr_array(mine[users])


def everywhere(train: candidates.Pairs, users: np.ndarray, taken: sparse.csr_array) -> dict[str, sparse.csr_array]:
    """Pairs [L, I] of users in every behavior that has them."""
    row, column = lists.pairs(taken)
    found = {}
    for behavior, matrix in train.items():
        has = lists.has(matrix, users[row], column) > 0
        found[behavior] = lists.ones(row[has], column[has], taken.shape)
    return found


def draft(found: retrieval.Found, truth: sparse.csr_array, part: str) -> Draft | None:
    """The lists that hold a right answer, of pairs ``truth`` CSR [L, I]; None if none does."""
    right = found.lists.of(truth)
    keep = np.bincount(found.lists.row, right, minlength=len(found.lists.user)) > 0
    if not keep.any():
        return None
    inside = keep[found.lists.row]
    predicted = regression.Predicted(*(x[..., inside] for x in found.predicted))
    return Draft(part, retrieval.Found(found.lists.only(np.flatnonzero(keep)), predicted), right[inside])


def searched(columns: table.Columns) -> np.ndarray:
    """The best rank of candidates by one of the scores that are searched for new items, as log1p: float32 [N].

    A pair of training helps to find itself, since the counts of neighbors know of it. So where pairs were taken out of
    the histories, an answer among new items counts only if its table, which does not know of it, has it among the best.
    """
    return np.min([x for name, x in columns.items() if name == "rank_ease_left" or SHRUNK.fullmatch(name)], axis=0)


def asked(found: Mapping[str, lists.Lists], truth: sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each list, float64 [L]: how many pairs are to be predicted, how many of them are familiar, how many found new.

    Args:
      found: part -> L lists.
      truth: CSR [L, I].
    """
    among = [np.bincount(of.row, of.of(truth), minlength=len(of.user)) for of in (found["familiar"], found["new"])]
    return np.diff(truth.indptr).astype(np.float64), *among


def groups(num_users: int, number: int, seed: int) -> np.ndarray:
    """Deals users into groups 0 .. number - 1, int32 [U]: member m learns from no validation pair of group m."""
    return np.random.default_rng([seed, 14]).integers(0, number, num_users).astype(np.int32)
