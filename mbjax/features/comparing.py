"""The columns of similarities of lists, entered tile of counts by tile; see ``similarity`` for the equations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import events, late, lists

SMALL = 1e-3  # added to a sum or maximum of similarities before its logarithm
SHRINKAGE = 10.0  # users
CHUNK = 250_000  # (candidate, item of the history) taken at once: what stays in a cache

Near = dict[str, np.ndarray]
"""``sum_A_B``, ``max_A_B``, ``shrunk_A_B`` (a sum with ``SHRINKAGE``) and ``walk_A_B`` (a sum of walks), behavior A of
the history and B of the candidate, ``sum_B_via_A`` and ``max_B_via_A``, behavior B of the history and A of what is
shared, ``last_B`` and ``recent_B`` -> float16 [N], logarithms of the value + ``SMALL``."""
LATE, ALIKE = ("last", "recent"), ("sum", "max")
ANY = ""  # met by any behavior


class How(NamedTuple):
    """What is compared, and how.

    Attributes:
      alike: whether what is ranked is compared by the other behaviors too, ``sum_B_via_A``.
      added: users who are thought to share each two items, added to those counted in sums and maxima.
    """

    alike: bool = False
    added: float = 0.0

    @classmethod
    def of(cls, config: Any) -> How:
        """As a model's configuration says, of which this knows the fields ``features, added_users``."""
        return cls("alike" in config.features, config.added_users)


class Asked(NamedTuple):
    """Lists whose candidates are compared with the histories.

    Attributes:
      lists: the lists.
      ranked: the behaviors B that have all columns.
      log: when everything happened; None: there is nothing of late.
      train: behavior -> CSR [U, I], the statistics of these lists, where they are others than everybody's; matrices
        that are the same are the same objects.
      how: what is compared.
    """

    lists: lists.Lists
    ranked: Collection[str]
    log: events.Log | None = None
    train: Mapping[str, sparse.csr_array] | None = None
    how: How = How()


def names(behaviors: Sequence[str], ranked: Collection[str], *, timed: bool = False, alike: bool = False) -> list[str]:
    """The columns of ``Near``."""
    found = [f"{kind}_{a}_{b}" for a in behaviors for b in behaviors for kind in ("sum", "max")]
    found += [f"{kind}_{a}_{b}" for kind in ("shrunk", "walk") for a in behaviors for b in behaviors if b in ranked]
    pairs = [(b, a) for b in behaviors if b in ranked and alike for a in behaviors if a != b]
    found += [f"{kind}_{b}_via_{a}" for b, a in pairs for kind in ALIKE]
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
        self.how = asked.how
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
        self.held = self._held() if of.added is not None else {}
        self.alike = [b for b in asked.ranked if asked.how.alike]
        # Of each item of a history by what is ranked, whether the statistics have it of its user by another behavior.
        self.shared = {
            (b, a): lists.contributed(of, a, *lists.pairs(of.history[b])).astype(np.uint8)
            for b in self.alike
            for a in behaviors
            if a != b
        }
        nothing = np.float16(np.log(SMALL))
        columns = names(behaviors, asked.ranked, timed=asked.log is not None, alike=asked.how.alike)
        self.found = {name: np.full(of.item.size, nothing) for name in columns}

    def _held(self) -> dict[str, np.ndarray]:
        """Of each item of a history, whether the statistics have it of its user by that behavior, float32."""
        held = {b: lists.contributed(self.of, b, *lists.pairs(m)) for b, m in self.of.history.items()}
        if ANY in self.met:
            row = np.repeat(np.arange(len(self.of.user)), self.length[ANY])
            by_any = [lists.contributed(self.of, b, row, self.met[ANY][1]) for b in held]
            held[ANY] = np.maximum.reduce(by_any)
        return held

    def asked(self, number: int) -> np.ndarray:
        """Which of so many items are candidates, bool."""
        found = np.zeros(number, bool)
        found[self.place] = True
        return found

    def chosen(self, a: str, b: str, line: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Candidates that are items start .. stop - 1 and have a line, of users who have a history of ``a``."""
        if a == ANY and (self.log is None or b not in self.ranked):
            return self.order[:0]
        return self._among(a, line, start, stop)

    def via(self, a: str, line: np.ndarray, start: int, stop: int) -> dict[str, np.ndarray]:
        """Likewise of users who have a history of each ranked behavior but ``a``, by which items are compared."""
        return {b: self._among(b, line, start, stop) for b in self.alike if b != a}

    def _among(self, behavior: str, line: np.ndarray, start: int, stop: int) -> np.ndarray:
        low, high = np.searchsorted(self.sorted, [start, stop])
        keep = self.length[behavior][self.sorted_row[low:high]] > 0
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
        is_counted, held = contributed.any(), None
        if self.held:
            held = self.held[a][stored]
        elif not is_part.all():
            held = np.repeat(is_part, length)

        found = tile.take(place)

        def others_of(counted: np.ndarray, own: np.ndarray) -> np.ndarray:
            value = np.ascontiguousarray(counted)
            if is_counted:
                # Where the item itself is in the history nothing is shared, and nothing is to be taken off.
                value -= np.repeat(own, length) if held is None else np.repeat(own, length) * held
                np.maximum(value, 0, out=value)
            return value

        value = others_of(found.real, contributed)
        others = np.sqrt(np.maximum(users[b].number[self.of.item[picked]] - contributed, 1))
        root, less = users[a].root, users[a].less
        of_met = less[met] if held is None else np.where(held > 0, less[met], root[met])
        if b in self.ranked:
            damped = np.repeat(others, length)
            damped *= of_met
            damped += np.float32(SHRINKAGE)
            np.divide(value, damped, out=damped)
            self._enter(f"shrunk_{a}_{b}", picked, np.add.reduceat(damped, first))
            walks = others_of(found.imag, contributed * self.worth[row])
            walks /= of_met
            self._enter(f"walk_{a}_{b}", picked, np.add.reduceat(walks, first) / others)
        if self.how.added:
            value += self._added(picked, met, length, users[b].number[self.of.item[picked]] > contributed)
        value /= of_met
        self._enter(f"sum_{a}_{b}", picked, np.add.reduceat(value, first) / others)
        self._enter(f"max_{a}_{b}", picked, np.maximum.reduceat(value, first) / others)

    def reduce_via(self, picked: np.ndarray, behavior: str, shared: Shared) -> None:
        """Enters how like the history of a ranked behavior candidates are, by ``shared.a``, which is ``shared.b``."""
        a, tile, users = shared.a, shared.tile, shared.users[shared.a]
        stored, place, length, first = self._places(picked, behavior, shared.line)
        met = self.met[behavior][1][stored]
        contributed, own = self.own[a][picked].astype(np.float32), self.shared[behavior, a][stored].astype(np.float32)
        value = np.maximum(np.ascontiguousarray(tile.take(place).real) - np.repeat(contributed, length) * own, 0)
        if self.how.added:
            value += self._added(picked, met, length, users.number[self.of.item[picked]] > contributed)
        value /= np.where(own > 0, users.less[met], users.root[met])
        others = np.sqrt(np.maximum(users.number[self.of.item[picked]] - contributed, 1))
        self._enter(f"sum_{behavior}_via_{a}", picked, np.add.reduceat(value, first) / others)
        self._enter(f"max_{behavior}_via_{a}", picked, np.maximum.reduceat(value, first) / others)

    def reduce_late(self, picked: np.ndarray, shared: Shared) -> None:
        """Likewise the columns of items of late; ``shared.a`` is any behavior."""
        a, b, tile, line, users = shared
        place, where, length, first = self._places(picked, a, line)
        contributed = self.own[b][picked].astype(np.float32)
        own = np.repeat(contributed, length)
        value = np.maximum(tile.take(where) - (own * self.held[a][place] if self.held else own), 0)
        others = np.sqrt(np.maximum(users[b].number[self.of.item[picked]] - contributed, 1))
        for kind in LATE:
            weight = getattr(self.late, kind)[place]
            self._enter(f"{kind}_{b}", picked, np.add.reduceat(value * weight, first) / others)

    def _added(self, picked: np.ndarray, met: np.ndarray, length: np.ndarray, has: np.ndarray) -> np.ndarray:
        """Users who are thought to share a candidate and each item met, but for an item and itself: float32.

        Of a candidate that nobody else has there are none, as of one that nobody has: it would be known by them.
        """
        others = met != np.repeat(self.of.item[picked], length)
        if not has.all():
            others &= np.repeat(has, length)
        return others * np.float32(self.how.added)

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
