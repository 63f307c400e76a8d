"""The columns of similarities of lists, entered tile of counts by tile; see ``similarity`` for the equations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mbjax.features import events, late, lists

SMALL = 1e-3  # added to a sum or maximum of similarities before its logarithm
SHRINKAGE = 10.0  # users
CHUNK = 250_000  # (candidate, item of the history) taken at once: what stays in a cache

Near = dict[str, np.ndarray]
"""``sum_A_B``, ``max_A_B``, ``shrunk_A_B`` (a sum with ``SHRINKAGE``) and ``walk_A_B`` (a sum of walks), behavior A of
the history and B of the candidate, ``last_B`` and ``recent_B`` -> float16 [N], logarithms of the value + ``SMALL``."""
LATE = ("last", "recent")
ANY = ""  # met by any behavior


class Asked(NamedTuple):
    """Lists whose candidates are compared with the histories.

    Attributes:
      lists: the lists.
      ranked: the behaviors B that have all columns.
      log: when everything happened; None: there is nothing of late.
    """

    lists: lists.Lists
    ranked: Collection[str]
    log: events.Log | None = None


def names(behaviors: Sequence[str], ranked: Collection[str], *, timed: bool = False) -> list[str]:
    """The columns of ``Near``."""
    found = [f"{kind}_{a}_{b}" for a in behaviors for b in behaviors for kind in ("sum", "max")]
    found += [f"{kind}_{a}_{b}" for kind in ("shrunk", "walk") for a in behaviors for b in behaviors if b in ranked]
    return found + [f"{kind}_{b}" for kind in LATE for b in behaviors if b in ranked and timed]


class Users(NamedTuple):
    """Users of each item by a behavior, float32 [I]: how many, the root of that, and the root without one of them."""

    number: np.ndarray
    root: np.ndarray
    less: np.ndarray

    @classmethod
    def of(cls, number: np.ndarray) -> Users:
        """With the roots; of nobody they are 1."""
        return cls(number, np.sqrt(np.maximum(number, 1)), np.sqrt(np.maximum(number - 1, 1)))


class Shared(NamedTuple):
    """What some items by behavior ``b`` share with all by ``a``.

    Attributes:
      a, b: behaviors of history and candidate.
      tile: counts, flat; with walks as the imaginary part where ``b`` is ranked by any lists.
      line: of the tile, of each item that is a candidate.
      users: of each item, by behavior.
    """

    a: str
    b: str
    tile: np.ndarray
    line: np.ndarray
    users: Mapping[str, Users]


class Part:
    """Lists whose columns are being entered."""

    def __init__(self, asked: Asked, behaviors: Sequence[str], items: np.ndarray, worth: np.ndarray):
        of = asked.lists
        self.of, self.row, self.ranked, self.log = of, of.row.astype(np.int32), asked.ranked, asked.log
        self.met = {b: (m.indptr, m.indices) for b, m in of.history.items()}
        if asked.log is not None:
            self.late = late.weighted(asked.log, of)
            self.met[ANY] = self.late.ptr, self.late.item
        self.length = {b: np.diff(ptr) for b, (ptr, _) in self.met.items()}
        self.worth = worth[np.maximum(of.user, 0)]
        self.place = np.searchsorted(items, of.item).astype(np.int32)
        self.order = np.argsort(self.place, kind="stable")
        self.sorted, self.sorted_row = self.place[self.order], self.row[self.order]
        self.is_part = (of.user >= 0).astype(np.float32)
        self.own = {b: lists.contributed(of, b, self.row).astype(np.uint8) for b in behaviors}
        nothing = np.float16(np.log(SMALL))
        columns = names(behaviors, asked.ranked, timed=asked.log is not None)
        self.found = {name: np.full(of.item.size, nothing) for name in columns}

    def chosen(self, a: str, b: str, line: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Candidates that are items start .. stop - 1 and have a line, of users who have a history of ``a``."""
        if a == ANY and (self.log is None or b not in self.ranked):
            return self.order[:0]
        low, high = np.searchsorted(self.sorted, [start, stop])
        keep = self.length[a][self.sorted_row[low:high]] > 0
        keep &= line[self.sorted[low:high]] >= 0
        return self.order[low:high][keep]

    def cut(self, a: str, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """Runs of about ``CHUNK`` items of histories."""
        ends = np.cumsum(self.length[a][self.row[chosen]], dtype=np.int64)
        cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] if ends.size else 0, CHUNK))
        yield from (part for part in np.split(chosen, np.unique(cuts)) if part.size)

    def reduce(self, picked: np.ndarray, shared: Shared) -> None:
        """Enters the columns of some candidates, whose histories by ``shared.a`` are not empty."""
        a, b, tile, line, users = shared
        row = self.row[picked]
        stored, place, length, first = self._places(picked, a, line)
        met = self.met[a][1][stored]
        contributed, is_part = self.own[b][picked].astype(np.float32), self.is_part[row]
        is_counted = contributed.any()

        found = tile.take(place)

        def others_of(counted: np.ndarray, own: np.ndarray) -> np.ndarray:
            value = np.ascontiguousarray(counted)
            if is_counted:
                # Where the item itself is in the history nothing is shared, and nothing is to be taken off.
                value -= np.repeat(own, length)
                np.maximum(value, 0, out=value)
            return value

        value = others_of(found.real, contributed)
        others = np.sqrt(np.maximum(users[b].number[self.of.item[picked]] - contributed, 1))
        root, less = users[a].root, users[a].less
        of_met = less[met] if is_part.all() else np.where(np.repeat(is_part, length) > 0, less[met], root[met])
        if b in self.ranked:
            damped = np.repeat(others, length)
            damped *= of_met
            damped += np.float32(SHRINKAGE)
            np.divide(value, damped, out=damped)
            self._enter(f"shrunk_{a}_{b}", picked, np.add.reduceat(damped, first))
            walks = others_of(found.imag, contributed * self.worth[row])
            walks /= of_met
            self._enter(f"walk_{a}_{b}", picked, np.add.reduceat(walks, first) / others)
        value /= of_met
        self._enter(f"sum_{a}_{b}", picked, np.add.reduceat(value, first) / others)
        self._enter(f"max_{a}_{b}", picked, np.maximum.reduceat(value, first) / others)

    def reduce_late(self, picked: np.ndarray, shared: Shared) -> None:
        """Likewise the columns of items of late; ``shared.a`` is any behavior."""
        a, b, tile, line, users = shared
        place, where, length, first = self._places(picked, a, line)
        contributed = self.own[b][picked].astype(np.float32)
        value = np.maximum(tile.take(where) - np.repeat(contributed, length), 0)
        others = np.sqrt(np.maximum(users[b].number[self.of.item[picked]] - contributed, 1))
        for kind in LATE:
            weight = getattr(self.late, kind)[place]
            self._enter(f"{kind}_{b}", picked, np.add.reduceat(value * weight, first) / others)

    def _places(self, picked: np.ndarray, a: str, line: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of what candidates' users met: where it is stored, where in a tile, how many, where each candidate begins."""
        ptr, item = self.met[a]
        row = self.row[picked]
        length = self.length[a][row]
        first = np.concatenate([[0], np.cumsum(length)[:-1]])
        place = lists.ragged(ptr[row], length)
        width = next(iter(self.of.history.values())).shape[1]
        where = np.repeat(line[self.place[picked]].astype(np.int64) * width, length) + item[place]
        return place, where, length, first

    def _enter(self, name: str, picked: np.ndarray, value: np.ndarray) -> None:
        self.found[name][picked] = np.log(value + np.float32(SMALL))
