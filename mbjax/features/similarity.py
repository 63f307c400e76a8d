"""Items like those of a user's history: sums and maxima of cosines between items, by pairs of behaviors, he left out.

With c_ab(h, i) the number of users who met h by behavior a and i by behavior b, and n_a(h) those who met h by a:

    cos_ab(h, i) = c_ab(h, i) / (sqrt(n_a(h) n_b(i)) + shrinkage),        h != i

Of a user u who is part of the counts his own contribution is taken out of each: c - [u met i by b], n_a(h) - 1,
n_b(i) - [u met i by b] (every h is of his history by a).

A walk from h to i over a user is less telling the more he has met: the same sum with every user v counting
w_v = ``WORTH`` / (pairs of v) in c, by which u's own contribution is taken out as well.

Where it is known when everything happened, the items that the user met of late speak for themselves: with c_b(h, i) the
other users who met h by any behavior and i by b, and weights v_h of ``late.Late``,

    last_b, recent_b (u, i) = sum over h != i of v_h c_b(h, i) / sqrt(n_b(i))

What a user has met by b, which may be little, speaks for what is like it in the eyes of those who met both by a: the
sum and maximum of cos_aa over his history by b, with his own contribution taken out where he met h by a too.

Counts are made once, in dense tiles of items, and serve all lists that are asked for.
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import comparing, lists
from mbjax.ops import neighbors, stages, threads

WORTH = 30.0  # pairs, of a user who counts 1 in walks
DENSE = 24_000_000  # entries of a dense tile of counts
MOST, ROWS = 64_000_000, 512
"""Of many items a tile has up to ``MOST`` entries, so that it has ``ROWS`` items: each tile costs much beside them."""


def aggregate(train: Mapping[str, sparse.csr_array], asked: Sequence[comparing.Asked]) -> list[comparing.Near]:
    """Sums and maxima of cosines over the histories.

    Args:
      train: behavior -> CSR [U, I], the pairs of the statistics.
      asked: the lists.

    Returns:
      ``Near`` of each of ``asked``.
    """
    num_items = next(iter(train.values())).shape[1]
    counted = _Counted()
    met = sum(np.diff(m.indptr) for m in train.values())
    worth = (WORTH / np.maximum(met, 1)).astype(np.float32)  # [U]
    # Only items that are candidates need rows of counts.
    items = np.unique(np.concatenate([np.zeros(0, np.int32), *(np.unique(one.lists.item) for one in asked)]))
    parts = [comparing.Part(one, list(train), items, worth) for one in asked]
    tile = max(1, min(tile_size(num_items), items.size))
    whole = np.zeros(tile * num_items, np.complex64)
    alone = whole.view(np.float32)[: whole.size]
    with concurrent.futures.ThreadPoolExecutor(threads.number()) as pool, _Ahead() as ahead:
        for tile_of in ahead.of(_tiles(train, worth, items, counted, parts, [one.train for one in asked], tile)):
            stages.tell("counting what items share", tile_of.number, tile_of.total)
            places = tile_of.row * np.int64(num_items) + tile_of.shared.indices
            dense = whole if tile_of.has_walks else alone
            dense[places] = tile_of.shared.data
            shared = comparing.Shared(tile_of.a, tile_of.b, dense, tile_of.line, tile_of.users)
            spans = [
                (part, span) for part, of in zip(parts, tile_of.wanted, strict=True) for span in part.cut(tile_of.a, of)
            ]
            reduce = comparing.Part.reduce_late if tile_of.a == comparing.ANY else comparing.Part.reduce
            list(pool.map(lambda one, how=reduce, of=shared: how(*one, of), spans))
            via = [
                (part, span, behavior)
                for part, by_behavior in zip(parts, tile_of.via, strict=True)
                for behavior, of in by_behavior.items()
                for span in part.cut(behavior, of)
            ]
            list(pool.map(lambda one, of=shared: comparing.Part.reduce_via(*one, of), via))
            dense[places] = 0
    return [part.found for part in parts]


def tile_size(num_items: int) -> int:
    """Items of a tile of counts, at most."""
    return max(DENSE // num_items, min(ROWS, MOST // num_items))


class _Tile(NamedTuple):
    """What some items by behavior ``b`` share with all by ``a``.

    Attributes:
      number, total: of the tile, and how many there are.
      line: of each item that is a candidate, its line in the tile.
      users: of each item, by behavior.
      wanted: of each of ``asked`` the candidates that are of the tile.
      via: likewise, by the behavior of the history, where items are compared by one behavior.
      row, shared: as ``neighbors.share`` gives them; counts, and walks as the imaginary part of them.
    """

    number: int
    total: int
    a: str
    b: str
    has_walks: bool
    line: np.ndarray
    users: Mapping[str, comparing.Users]
    wanted: list[np.ndarray]
    via: list[dict[str, np.ndarray]]
    row: np.ndarray
    shared: sparse.csr_array


class _Task(NamedTuple):
    """Two behaviors and their matrices: what candidates and histories are of.

    Attributes:
      a, b: behaviors of history and candidate.
      of_candidates, of_history: CSR [U, I].
      places: of ``asked``, whose statistics these are.
    """

    a: str
    b: str
    of_candidates: sparse.csr_array
    of_history: sparse.csr_array
    places: set[int]


class _Counted(dict):
    """The users of each item of a matrix, counted once."""

    def of(self, matrix: sparse.csr_array) -> comparing.Users:
        """Of a matrix that stays."""
        if id(matrix) not in self:
            self[id(matrix)] = comparing.Users.of(np.asarray(matrix.sum(axis=0), np.float32).ravel())
        return self[id(matrix)]


def _tiles(
    train,
    worth: np.ndarray,
    items: np.ndarray,
    counted: _Counted,
    parts: list[comparing.Part],
    own: Sequence[Mapping[str, sparse.csr_array] | None],
    tile: int,
) -> Iterator[Callable[[], _Tile | None]]:
    """Makers of tiles of items that are candidates, for each two behaviors; None: no list wants it.

    Counts and walks are sums over the same users, which one product of complex numbers goes through once. Lists that
    have statistics of their own have tiles of their own of what differs.
    """
    log = next((part.log for part in parts if part.log is not None), None)
    ranked = {b for part in parts for b in part.ranked}
    known = [train if one is None else one for one in own]
    tasks: dict[tuple, _Task] = {}
    for b in train:
        for a in (*train, *((comparing.ANY,) if log is not None and b in ranked else ())):
            for place, of in enumerate(known):
                matrices = (of[b], log.met if a == comparing.ANY else of[a])
                tasks.setdefault((a, b, *map(id, matrices)), _Task(a, b, *matrices, set())).places.add(place)
    asked = [part.asked(items.size) for part in parts]
    ables = [
        np.flatnonzero(
            np.any([asked[place] for place in task.places], axis=0) & (counted.of(task.of_candidates).number[items] > 0)
        )
        for task in tasks.values()
    ]
    total, number = sum(-(-able.size // tile) for able in ables), 0
    by_item: dict[int, sparse.csr_array] = {}
    for (a, b, of_candidates, of_history, places), able in zip(tasks.values(), ables, strict=True):
        line = np.full(items.size, -1, np.int32)
        line[able] = np.arange(able.size)
        if id(of_candidates) not in by_item:
            by_item = {id(of_candidates): sparse.csr_array(of_candidates.T)}
        has_walks = b in ranked and a != comparing.ANY
        kind = np.complex64 if has_walks else np.float32
        left, right = by_item[id(of_candidates)].astype(kind), sparse.csr_array(of_history.astype(kind))
        if has_walks:
            right.data = right.data + 1j * (worth[lists.pairs(right)[0]] * right.data.real)
        users = {b: counted.of(of_candidates)}
        if a != comparing.ANY:
            users[a] = counted.of(of_history)
        for start in range(0, able.size, tile):
            mine = able[start : start + tile]
            head = (number, total, a, b, has_walks)
            yield functools.partial(_tile, head, line - start, users, parts, places, left, right, items, mine)
            number += 1


def _tile(head, line: np.ndarray, users, parts, places: set[int], left, right, items, mine) -> _Tile | None:
    _, _, a, b, _ = head
    first, end = mine[0], mine[-1] + 1
    nobody = np.zeros(0, np.int64)
    wanted = [part.chosen(a, b, line, first, end) if k in places else nobody for k, part in enumerate(parts)]
    via = [part.via(a, line, first, end) if k in places and a == b else {} for k, part in enumerate(parts)]
    if not any(of.size for of in (*wanted, *(of for each in via for of in each.values()))):
        return None
    row, shared = neighbors.share(left, right, items[mine])
    return _Tile(*head, line, users, wanted, via, row, shared)


class _Ahead:
    """Makes what comes next in threads of its own, while the one before is used."""

    def __enter__(self) -> _Ahead:
        self.number = min(2, threads.number())
        self.pool = concurrent.futures.ThreadPoolExecutor(self.number)
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def of(self, makers: Iterator[Callable[[], _Tile | None]]) -> Iterator[_Tile]:
        """What they make, one after another."""
        coming: collections.deque[concurrent.futures.Future[_Tile | None]] = collections.deque()
        for make in itertools.chain(makers, [None] * self.number):
            if make is not None:
                coming.append(self.pool.submit(make))
            if coming and (make is None or len(coming) > self.number):
                one = coming.popleft().result()
                if one is not None:
                    yield one
