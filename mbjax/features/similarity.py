"""Items like those of a user's history: sums and maxima of cosines between items, by pairs of behaviors, he left out.

With c_ab(h, i) the number of users who met h by behavior a and i by behavior b, and n_a(h) those who met h by a:

    cos_ab(h, i) = c_ab(h, i) / (sqrt(n_a(h) n_b(i)) + shrinkage),        h != i

Of a user u who is part of the counts his own contribution is taken out of each: c - [u met i by b], n_a(h) - 1,
n_b(i) - [u met i by b] (every h is of his history by a).

A walk from h to i over a user is less telling the more he has met: the same sum with every user v counting
w_v = ``WORTH`` / (pairs of v) in c, by which u's own contribution is taken out as well.

Counts are made once, in dense tiles of items, and serve all lists that are asked for.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import lists
from mbjax.ops import neighbors

SMALL = 1e-3  # added to a sum or maximum of similarities before its logarithm
SHRINKAGE = 10.0  # users
WORTH = 30.0  # pairs, of a user who counts 1 in walks
DENSE = 24_000_000  # entries of a dense tile of counts
CHUNK = 2_000_000  # (candidate, item of the history) taken at once

Near = dict[str, np.ndarray]
"""``sum_A_B``, ``max_A_B``, ``shrunk_A_B`` (a sum with ``SHRINKAGE``) and ``walk_A_B`` (a sum of walks), behavior A of
the history and B of the candidate -> float16 [N], logarithms of the value + ``SMALL``."""


class Asked(NamedTuple):
    """Lists whose candidates are compared with the histories, and the behaviors B that have all columns."""

    lists: lists.Lists
    ranked: Collection[str]


def names(behaviors: Sequence[str], ranked: Collection[str]) -> list[str]:
    """The columns of ``Near``."""
    found = [f"{kind}_{a}_{b}" for a in behaviors for b in behaviors for kind in ("sum", "max")]
    return found + [
        f"{kind}_{a}_{b}" for kind in ("shrunk", "walk") for a in behaviors for b in behaviors if b in ranked
    ]


def aggregate(train: Mapping[str, sparse.csr_array], asked: Sequence[Asked]) -> list[Near]:
    """Sums and maxima of cosines over the histories.

    Args:
      train: behavior -> CSR [U, I], the pairs of the statistics.
      asked: the lists.

    Returns:
      ``Near`` of each of ``asked``.
    """
    num_items = next(iter(train.values())).shape[1]
    counts = {b: np.asarray(m.sum(axis=0), np.float32).ravel() for b, m in train.items()}
    met = sum(np.diff(m.indptr) for m in train.values())
    worth = (WORTH / np.maximum(met, 1)).astype(np.float32)  # [U]
    # Only items that are candidates need rows of counts.
    items = np.unique(np.concatenate([np.zeros(0, np.int32), *(np.unique(one.lists.item) for one in asked)]))
    parts = [_Part(one, list(train), items, worth) for one in asked]
    tile = max(1, min(DENSE // num_items, items.size))
    dense = [np.zeros(tile * num_items, np.float32) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, _Ahead() as ahead:
        for tile_of in ahead.of(_tiles(train, worth, items, counts, parts, tile)):
            places = tile_of.row * np.int64(num_items) + tile_of.shared.indices
            dense[0][places] = tile_of.shared.data.real
            if tile_of.has_walks:
                dense[1][places] = tile_of.shared.data.imag
            arguments = (tile_of.a, tile_of.b, dense, tile_of.line, counts)
            spans = [
                (part, span) for part, of in zip(parts, tile_of.wanted, strict=True) for span in part.cut(tile_of.a, of)
            ]
            list(pool.map(lambda one, rest=arguments: one[0].reduce(one[1], *rest), spans))
            for table in dense:
                table[places] = 0
    return [part.found for part in parts]


class _Tile(NamedTuple):
    """What some items by behavior ``b`` share with all by ``a``.

    Attributes:
      line: of each item that is a candidate, its line in the tile.
      wanted: of each of ``asked`` the candidates that are of the tile.
      row, shared: as ``neighbors.share`` gives them; counts, and walks as the imaginary part of them.
    """

    a: str
    b: str
    has_walks: bool
    line: np.ndarray
    wanted: list[np.ndarray]
    row: np.ndarray
    shared: sparse.csr_array


def _tiles(train, worth: np.ndarray, items: np.ndarray, counts, parts: list[_Part], tile: int) -> Iterator[_Tile]:
    """Tiles of items that are candidates, for each two behaviors.

    Counts and walks are sums over the same users, which one product of complex numbers goes through once.
    """
    for b, of_candidates in train.items():
        has_walks = any(b in part.ranked for part in parts)
        kind = np.complex64 if has_walks else np.float32
        by_item = sparse.csr_array(of_candidates.T).astype(kind)
        able = np.flatnonzero(counts[b][items] > 0)  # the others share nothing
        line = np.full(items.size, -1, np.int32)
        line[able] = np.arange(able.size)
        for a, of_history in train.items():
            right = sparse.csr_array(of_history.astype(kind))
            if has_walks:
                right.data = right.data + 1j * (worth[lists.pairs(right)[0]] * right.data.real)
            for start in range(0, able.size, tile):
                mine = able[start : start + tile]
                wanted = [part.chosen(a, line, mine[0], mine[-1] + 1) for part in parts]
                if any(chosen.size for chosen in wanted):
                    row, shared = neighbors.share(by_item, right, items[mine])
                    yield _Tile(a, b, has_walks, line - start, wanted, row, shared)


class _Ahead:
    """Makes the next of something in a thread of its own, while the one before is used."""

    def __enter__(self) -> _Ahead:
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def of(self, those: Iterator[Any]) -> Iterator[Any]:
        """The same, one after another."""
        coming = self.pool.submit(next, those, None)
        while (one := coming.result()) is not None:
            coming = self.pool.submit(next, those, None)
            yield one


class _Part:
    """One of ``asked`` on its way."""

    def __init__(self, asked: Asked, behaviors: Sequence[str], items: np.ndarray, worth: np.ndarray):
        of = asked.lists
        self.of, self.row, self.ranked = of, of.row.astype(np.int32), asked.ranked
        self.worth = worth[np.maximum(of.user, 0)]
        self.place = np.searchsorted(items, of.item).astype(np.int32)
        self.order = np.argsort(self.place, kind="stable")
        self.sorted = self.place[self.order]
        self.is_part = (of.user >= 0).astype(np.float32)
        self.own = {b: lists.contributed(of, b, self.row).astype(np.uint8) for b in behaviors}
        nothing = np.float16(np.log(SMALL))
        self.found = {name: np.full(of.item.size, nothing) for name in names(behaviors, asked.ranked)}

    def chosen(self, a: str, line: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Candidates that are items start .. stop - 1 and have a line, of users who have a history of ``a``."""
        low, high = np.searchsorted(self.sorted, [start, stop])
        mine = self.order[low:high]
        mine = mine[line[self.place[mine]] >= 0]
        return mine[np.diff(self.of.history[a].indptr)[self.row[mine]] > 0]

    def cut(self, a: str, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """Runs of about ``CHUNK`` items of histories."""
        ends = np.cumsum(np.diff(self.of.history[a].indptr)[self.row[chosen]], dtype=np.int64)
        cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] if ends.size else 0, CHUNK))
        yield from (part for part in np.split(chosen, np.unique(cuts)) if part.size)

    def reduce(
        self, picked: np.ndarray, a: str, b: str, shared: list[np.ndarray], line: np.ndarray, counts: Any
    ) -> None:
        """Enters the columns of some candidates, whose histories by ``a`` are not empty.

        Args:
          picked: the candidates.
          a, b: behaviors of history and candidate.
          shared: tiles of counts and of walks, flat.
          line: of the tile, of each item that is a candidate.
          counts: users of each item, by behavior.
        """
        history, row = self.of.history[a], self.row[picked]
        length = np.diff(history.indptr)[row]
        first = np.concatenate([[0], np.cumsum(length)[:-1]])
        met = history.indices[lists.ragged(history.indptr[row], length)]
        place = np.repeat(line[self.place[picked]].astype(np.int64) * history.shape[1], length) + met
        contributed, is_part = self.own[b][picked].astype(np.float32), self.is_part[row]

        def others_of(counted: np.ndarray, own: np.ndarray) -> np.ndarray:
            value = counted.take(place)
            # Where the item itself is in the history nothing is shared, and nothing is to be taken off.
            return np.maximum(value - np.repeat(own, length), 0) if contributed.any() else value

        value = others_of(shared[0], contributed)
        others = np.sqrt(np.maximum(counts[b][self.of.item[picked]] - contributed, 1))
        whole, less = np.sqrt(np.maximum(counts[a], 1)), np.sqrt(np.maximum(counts[a] - 1, 1))
        of_met = less[met] if is_part.all() else np.where(np.repeat(is_part, length) > 0, less[met], whole[met])
        if b in self.ranked:
            damped = value / (of_met * np.repeat(others, length) + np.float32(SHRINKAGE))
            self._enter(f"shrunk_{a}_{b}", picked, np.add.reduceat(damped, first))
            walks = others_of(shared[1], contributed * self.worth[row]) / of_met
            self._enter(f"walk_{a}_{b}", picked, np.add.reduceat(walks, first) / others)
        value /= of_met
        self._enter(f"sum_{a}_{b}", picked, np.add.reduceat(value, first) / others)
        self._enter(f"max_{a}_{b}", picked, np.maximum.reduceat(value, first) / others)

    def _enter(self, name: str, picked: np.ndarray, value: np.ndarray) -> None:
        self.found[name][picked] = np.log(value + np.float32(SMALL))
