"""Lists of users and their candidates, ragged and flat, and the histories that they are judged by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse


class Clock(NamedTuple):
    """Whose lists they are where the events of all are looked up, and how far those are looked at.

    Attributes:
      person: int64 [L], rows of the events: users of training, then passive ones.
      until: float64 [L], events from that moment on are not known; infinity: all are.
    """

    person: np.ndarray
    until: np.ndarray

    @classmethod
    def of(cls, person: np.ndarray) -> Clock:
        """Of people all of whose events are known."""
        return cls(np.asarray(person, np.int64), np.full(len(person), np.inf))


@dataclasses.dataclass(frozen=True)
class Lists:
    """L lists of candidates, N in all. List l belongs to a user and to a ranked behavior, the same for all lists.

    Attributes:
      user: int32 [L], whose pairs are left out of the statistics; ascending. -1: a user whom these do not hold.
      history: behavior -> CSR [L, I] of ones, what is known of the user: his pairs without those to be predicted.
      removed: behavior -> CSR [L, I] of ones, the pairs taken out of his history, which the statistics hold.
      added: behavior -> CSR [L, I] of ones, the pairs of his history that the statistics do not hold though they hold
        others of his; None: none.
      ptr: int64 [L + 1].
      item: int32 [N], ascending in a list.
      clock: where the events of the lists are; None: nobody asks.
    """

    user: np.ndarray
    history: Mapping[str, sparse.csr_array]
    removed: Mapping[str, sparse.csr_array]
    ptr: np.ndarray
    item: np.ndarray
    clock: Clock | None = None
    added: Mapping[str, sparse.csr_array] | None = None

    @property
    def row(self) -> np.ndarray:
        """The list of each candidate, int64 [N]."""
        return np.repeat(np.arange(len(self.user)), np.diff(self.ptr))

    def only(self, keep: np.ndarray) -> Lists:
        """Those at the places ``keep``, ascending, with their candidates."""
        inside = np.isin(self.row, keep, kind="table") if keep.size < len(self.user) else slice(None)
        ptr = np.concatenate([[0], np.cumsum(np.diff(self.ptr)[keep])])
        clock = self.clock and Clock(*(x[keep] for x in self.clock))
        return Lists(self.user[keep], *self._rows(keep), ptr, self.item[inside], clock, self._added(keep))

    def permuted(self, order: np.ndarray) -> Lists:
        """Another order of lists without candidates."""
        clock = self.clock and Clock(*(x[order] for x in self.clock))
        return Lists(self.user[order], *self._rows(order), self.ptr, self.item, clock, self._added(order))

    def span(self, start: int, stop: int) -> Lists:
        """Those at the places start .. stop - 1."""
        some, first, end = slice(start, stop), self.ptr[start], self.ptr[stop]
        ptr, clock = self.ptr[start : stop + 1] - first, self.clock and Clock(*(x[some] for x in self.clock))
        return Lists(self.user[some], *self._rows(some), ptr, self.item[first:end], clock, self._added(some))

    def _rows(self, some: np.ndarray | slice) -> Iterator[dict[str, sparse.csr_array]]:
        return (_of_rows(part, some) for part in (self.history, self.removed))

    def _added(self, some: np.ndarray | slice) -> dict[str, sparse.csr_array] | None:
        return None if self.added is None else _of_rows(self.added, some)

    @property
    def held(self) -> dict[str, sparse.csr_array]:
        """Behavior -> CSR [L, I], what the statistics hold of the users; a stored 0 is nothing."""
        is_part = sparse.diags_array((self.user >= 0) * 1.0).tocsr()
        found = {b: self.history[b] + self.removed[b] for b in self.history}
        if self.added is not None:
            found = {b: m - self.added[b] for b, m in found.items()}
        return {b: sparse.csr_array(is_part @ m) for b, m in found.items()}

    def of(self, matrix: sparse.csr_array, row: np.ndarray | None = None) -> np.ndarray:
        """Whether each candidate is stored in a matrix [L, I], float32 [N]."""
        return has(matrix, self.row if row is None else row, self.item)


def _of_rows(part: Mapping[str, sparse.csr_array], some: np.ndarray | slice) -> dict[str, sparse.csr_array]:
    return {b: sparse.csr_array(m[some]) for b, m in part.items()}


def has(matrix: sparse.csr_array, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Whether places (row, column) are stored in a matrix with sorted indices: float32, 1 or 0."""
    stored = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)) * matrix.shape[1]
    stored += matrix.indices
    wanted = row.astype(np.int64) * matrix.shape[1] + column
    if not stored.size:
        return np.zeros(wanted.size, np.float32)
    place = np.minimum(np.searchsorted(stored, wanted), stored.size - 1)
    return (stored[place] == wanted).astype(np.float32)


def contributed(of: Lists, behavior: str, row: np.ndarray | None = None, item: np.ndarray | None = None) -> np.ndarray:
    """Whether the statistics have items, or each candidate, as pairs of their users by a behavior, float32 [N].

    A pair is one of his history, but for what was added to it, or one that was taken out of it; of strangers there is
    none.

    Args:
      of: the lists.
      behavior: of the pairs.
      row: the list of each item, [N]; None: of each candidate.
      item: the items, [N]; None: the candidates.
    """
    row, item = (of.row if row is None else row), (of.item if item is None else item)
    found = has(of.history[behavior], row, item)
    if of.removed[behavior].nnz:
        found = found + has(of.removed[behavior], row, item)
    if of.added is not None and of.added[behavior].nnz:
        found = found - has(of.added[behavior], row, item)
    return found * (of.user >= 0)[row]


def joined(parts: Sequence[Lists], num_items: int) -> tuple[Lists, list[np.ndarray]]:
    """The candidates of several lists of the same users together, each once, and where they are: int32 [N] each."""
    keys = [part.row * num_items + part.item for part in parts]
    whole = np.concatenate(keys)
    whole.sort(kind="stable")  # which merges what is sorted already
    whole = whole[np.concatenate([[True], whole[1:] != whole[:-1]])[: whole.size]]
    ptr = np.searchsorted(whole, np.arange(len(parts[0].user) + 1, dtype=np.int64) * num_items)
    together = dataclasses.replace(parts[0], ptr=ptr, item=(whole % num_items).astype(np.int32))
    return together, [np.searchsorted(whole, key).astype(np.int32) for key in keys]


def ragged(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """start_k, start_k + 1, ..., of length_k, one after another."""
    before = np.cumsum(length) - length
    return np.arange(length.sum()) + np.repeat(start - before, length)


def pairs(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the stored entries, in order."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)), matrix.indices


def rows_of(values: np.ndarray, matrix: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    """Values of the stored entries of a matrix, of some of its rows."""
    return sparse.csr_array((values, matrix.indices, matrix.indptr), matrix.shape)[rows].data


def ones(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """A matrix of ones at the given places, each once, indices sorted."""
    keys = np.unique(row.astype(np.int64) * shape[1] + column)
    pointers = np.searchsorted(keys, np.arange(shape[0] + 1, dtype=np.int64) * shape[1])
    matrix = sparse.csr_array((np.ones(keys.size, np.float32), (keys % shape[1]).astype(np.int32), pointers), shape)
    matrix.has_sorted_indices = True
    return matrix


def without(matrix: sparse.csr_array, taken: sparse.csr_array) -> sparse.csr_array:
    """The stored entries of a matrix that another one does not store, as ones."""
    matrix = _pattern(matrix)
    row, column = pairs(matrix)
    keep = has(taken, row, column) == 0
    ptr = np.concatenate([[0], np.cumsum(keep)])[matrix.indptr]
    return _pattern(sparse.csr_array((matrix.data[keep], column[keep], ptr), matrix.shape))


def union(matrices: Iterable[sparse.csr_array], shape: tuple[int, int]) -> sparse.csr_array:
    """The entries that any of the matrices stores, as ones."""
    found = sparse.csr_array(shape, dtype=np.float32)
    for matrix in matrices:  # both are sorted, so that adding them goes through each once
        found = sparse.csr_array(found + _pattern(matrix))
    return _pattern(found)


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    """A matrix's stored entries, each once, as ones with sorted indices."""
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    indices, ptr = matrix.indices.astype(np.int32, copy=False), matrix.indptr
    found = sparse.csr_array((np.ones(matrix.nnz, np.float32), indices, ptr), matrix.shape)
    found.has_canonical_format = True
    return found
