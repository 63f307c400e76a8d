"""What a model learns from: pairs of training that are taken out again, fold by fold, and pairs of validation.

A pair of a fold is taken out of its user's history, and the user out of the statistics (``features``): what is known of
the pair is then what would be known if it were still to come. For familiar candidates the pair is taken out of the
ranked behavior alone, for new ones out of all.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import candidates, events, lists, regression, retrieval, table

SHRUNK = re.compile(r"rank_near_sum_.*_shrunk")
NOTHING = np.log(1.1 * table.SMALL)
"""Up to which a score, the logarithm of a value + SMALL, says nothing for a candidate."""


class Draft(NamedTuple):
    """Lists that hold right answers, before their table is made.

    Attributes:
      part: ``"familiar"`` or ``"new"``.
      found: the lists and what the regression says.
      positive: float32 [N], 1 for the pairs to be predicted.
      train: the statistics of its table, where they are others than everybody's.
      line: int [L], which of the lists that were searched these are, without those that hold no right answer.
      fresh: float32 [N], 1 for what the user has met by no other behavior; None: nobody asks.
    """

    part: str
    found: retrieval.Found
    positive: np.ndarray
    train: candidates.Pairs | None = None
    line: np.ndarray | None = None
    fresh: np.ndarray | None = None


class Fold(NamedTuple):
    """Pairs of the target that are taken out together.

    Attributes:
      users: int [L], ascending.
      taken: CSR [L, I], the pairs to be predicted.
      begin: nothing is known from then on; None: all else is.
      everyone: CSR [U, I], the pairs of the fold, of those users too who have no list of it.
    """

    users: np.ndarray
    taken: sparse.csr_array
    begin: float | None = None
    everyone: sparse.csr_array | None = None

    @property
    def until(self) -> np.ndarray:
        """As of ``lists.Clock``, [L]."""
        return np.full(self.users.size, np.inf if self.begin is None else self.begin)


def folds(
    train: candidates.Pairs,
    target: str,
    number: int,
    taught: int,
    most: int,
    rng: np.random.Generator,
    log: events.Log | None = None,
    order: str = "random",
) -> Iterator[Fold]:
    """Deals the pairs of the target into folds.

    Args:
      number: folds that the pairs are dealt into.
      taught: folds of them that are used.
      most: users of a fold, drawn where it has more.
      log: when they happened.
      order: ``"random"``. With a log also ``"latest"``: of each user's pairs the latest are of fold 0, the next of fold
        1, and so on; ``"time"``: all pairs are dealt so, at the same moments for everyone, and nothing that happened
        from the moment of a fold on is known to its lists; the first pairs of all are of none.
    """
    row, column = lists.pairs(train[target])
    if not row.size:
        return
    moment = None if log is None else log.first(target)
    begin: list[float | None] = [None] * number
    if moment is None or order == "random":
        fold = rng.integers(0, number, row.size)
    elif order == "latest":
        size = np.diff(train[target].indptr)[row]
        place = np.empty(row.size, np.int64)
        place[np.lexsort((-moment, row))] = np.arange(row.size)
        fold = (place - train[target].indptr[row]) * number // size
    else:
        cuts = np.quantile(moment, np.arange(number - 1, 0, -1) / number, method="higher")
        fold = (moment[:, None] < cuts).sum(axis=1)
        begin = cuts.tolist()
    # Before the pairs of the last fold in time there is nothing to know.
    for k in range(min(taught, len(begin))):
        mine = lists.ones(row[fold == k], column[fold == k], train[target].shape)
        has = np.diff(mine.indptr) > 0
        if begin[k] is not None:
            has &= log.known_before(begin[k])
        users = np.flatnonzero(has)
        if users.size > most:
            users = np.sort(rng.choice(users, most, replace=False))
        if users.size:
            yield Fold(users, sparse.csr_array(mine[users]), begin[k], mine)


def without(train: candidates.Pairs, fold: Fold, target: str) -> dict[str, sparse.csr_array]:
    """The statistics without the pairs of a fold, whoever has them: what does not change is the same object."""
    kept = lists.without(train[target].astype(np.float32), fold.everyone)
    return {b: kept.astype(m.dtype) if b == target else m for b, m in train.items()}


def removed(train: candidates.Pairs, fold: Fold, target: str, log: events.Log | None) -> dict[str, sparse.csr_array]:
    """What is taken out of the histories of a fold, CSR [L, I]: its pairs, and what happened later."""
    found = {target: fold.taken}
    if fold.begin is None:
        return found
    for b, matrix in train.items():
        row, column = lists.pairs(sparse.csr_array(matrix[fold.users]))
        later = lists.rows_of(log.first(b), matrix, fold.users) >= fold.begin
        found[b] = lists.ones(row[later], column[later], fold.taken.shape)
    return found


def everywhere(train: candidates.Pairs, users: np.ndarray, taken: sparse.csr_array) -> dict[str, sparse.csr_array]:
    """Pairs [L, I] of users in every behavior that has them."""
    row, column = lists.pairs(taken)
    found = {}
    for behavior, matrix in train.items():
        has = lists.has(matrix, users[row], column) > 0
        found[behavior] = lists.ones(row[has], column[has], taken.shape)
    return found


def draft(
    found: retrieval.Found,
    truth: sparse.csr_array,
    part: str,
    known: candidates.Pairs | None = None,
    met: sparse.csr_array | None = None,
) -> Draft | None:
    """The lists that hold a right answer, of pairs ``truth`` CSR [L, I]; None if none does.

    Args:
      found: all lists.
      truth: the pairs to be predicted.
      part: of the candidates.
      known: the statistics of their table, which do not have these pairs; None: everybody's, which do.
      met: CSR [L, I], pairs to be predicted that the users have met by other behaviors, to tell which are fresh.
    """
    right = found.lists.of(truth)
    keep = np.bincount(found.lists.row, right, minlength=len(found.lists.user)) > 0
    if not keep.any():
        return None
    inside = keep[found.lists.row]
    predicted = regression.Predicted(*(x[..., inside] for x in found.predicted))
    line = np.flatnonzero(keep)
    chosen = found.lists.only(line)
    if known is not None:
        chosen = dataclasses.replace(
            chosen, removed={b: sparse.csr_array(m.shape, dtype=m.dtype) for b, m in chosen.removed.items()}
        )
    fresh = None if met is None else 1 - found.lists.of(met)[inside]
    return Draft(part, retrieval.Found(chosen, predicted), right[inside], known, line, fresh)


def searched(columns: table.Columns, by_regression: bool = True) -> np.ndarray:
    """The best rank of candidates by one of the scores that are searched for new items, as log1p: float32 [N].

    A pair of training helps to find itself, since the counts of neighbors know of it. So where pairs were taken out of
    the histories, an answer among new items counts only if its table, which does not know of it, has it among the best,
    by this or as one of the popular ones. Else it would not be a candidate.
    """
    found = np.full(len(next(iter(columns.values()))), np.inf)
    for name in columns:
        if SHRUNK.fullmatch(name) or (by_regression and name == "rank_ease_left"):
            score = columns["ease_left_log" if name == "rank_ease_left" else name.removeprefix("rank_")]
            # Whatever nothing speaks for shares its rank with all such, which may be a good one.
            found = np.where(score > NOTHING, np.minimum(found, columns[name]), found)
    return found.astype(np.float32)


def popular(columns: table.Columns, target: str) -> np.ndarray:
    """How many candidates have more users of the target, as log1p: float32 [N]."""
    return columns[f"rank_count_item_{target}"]


def hits(of: lists.Lists, truth: sparse.csr_array) -> np.ndarray:
    """How many pairs CSR [L, I] are among the candidates of each of L lists: float64 [L]."""
    return np.bincount(of.row, of.of(truth), minlength=len(of.user))


def groups(num_users: int, number: int, seed: int) -> np.ndarray:
    """Deals users into groups 0 .. number - 1, int32 [U]: member m learns from no validation pair of group m."""
    return np.random.default_rng([seed, 14]).integers(0, number, num_users).astype(np.int32)
