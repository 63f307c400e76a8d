"""The rows of a log on their way into a data set: which of them are kept, and what each step left out."""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np
import polars as pl

from mbjax import wording
from mbjax.data import coding, content, vocabulary


class Reason(NamedTuple):
    """Why somebody is dropped: the field of the section data.log, its value as it is written, and what is lacking."""

    field: str
    value: str
    why: str


class Rows:
    """The rows of a log in order of time, and which of them are kept after each step.

    Attributes:
      user, item: codes [n], int32 wherever they fit, positions among the sorted raw ids of the whole log.
      ids: ``"user"`` and ``"item"`` -> those raw ids.
      times: [n], ascending.
      behavior: int16 [n], place in the funnel; -1 for behaviors that are not used.
      kept: bool [n].
      dropped: what each step left out, for ``Content``.
      cuts: a note on where the split cuts, "" where there is nothing to say.
      repeats: behavior -> rows that repeated an earlier one and were left out, and rows that there were; those that
        had such.
    """

    def __init__(self, table: pl.DataFrame, behaviors: tuple[str, ...]):
        """Takes rows in any order; those of one time keep theirs."""
        self.behaviors = behaviors
        # Texts are turned into numbers before they are put in order of time: numbers are moved faster.
        (self.user, users), (self.item, items), (name, self._names) = (
            coding.coded(table[field]) for field in ("user", "item", "behavior")
        )
        self.ids = {"user": users, "item": items}
        self._name = name
        self.times = table["time"]
        if not self.times.is_sorted():
            order = table.select(pl.arg_sort_by("time", maintain_order=True)).to_series()
            self.times = self.times.gather(order)
            order = order.to_numpy()
            self.user, self.item, self._name = self.user[order], self.item[order], self._name[order]
        place = {name: k for k, name in enumerate(behaviors)}
        self.behavior = np.array([place.get(name, -1) for name in self._names], np.int16)[self._name]
        self.kept = np.ones(table.height, dtype=bool)
        self.dropped: list[content.Dropped] = []
        self.cuts = ""
        self.repeats: dict[str, tuple[int, int]] = {}
        self._steps: list[str] = []

    @property
    def target(self) -> str:
        return self.behaviors[-1]

    def has(self, what: str) -> np.ndarray:
        """Which users (items) have a row that is kept: bool [number of raw ids]."""
        codes = self.user if what == "user" else self.item
        found = np.zeros(len(self.ids[what]), dtype=bool)
        found[codes[self.kept]] = True
        return found

    def keep(self, kept: np.ndarray, user: Reason, item: Reason) -> None:
        """Drops all rows but some.

        Args:
          kept: bool [n].
          user, item: why those go that lose their last row.
        """
        reasons = {"user": user, "item": item}
        before = {what: self.has(what) for what in ("user", "item")}
        number = int(self.kept.sum())
        self.kept = self.kept & kept
        number -= int(self.kept.sum())
        if not number:
            return
        counts = []
        for what, had in before.items():
            gone = np.flatnonzero(had & ~self.has(what))
            if gone.size:
                counts.append(wording.count(gone.size, what))
                ids = vocabulary.Vocabulary(self.ids[what].gather(gone))
                reason = reasons[what]
                self.dropped.append(content.Dropped(what, f"data.log.{reason.field}", ids, reason.value, reason.why))
        who = f" of {' and '.join(counts)}" if counts else ""
        by = " and ".join(dict.fromkeys(f"{reason.field}={reason.value}" for reason in reasons.values()))
        self._steps.append(
            self._others(who) if user.field == "behaviors" else f"{by} dropped {wording.count(number, 'row')}{who}"
        )

    def drop_repeated(self) -> None:
        """Keeps the first of equal interactions."""
        kept = np.flatnonzero(self.kept)
        keys = self.user[kept].astype(np.int64) * len(self.ids["item"])
        keys += self.item[kept]
        keys *= len(self.behaviors)
        keys += self.behavior[kept]
        first = pl.Series(keys).is_first_distinct().to_numpy()
        del keys
        self.kept[kept[~first]] = False
        for place, behavior in enumerate(self.behaviors):
            is_of = self.behavior[kept] == place
            if not first[is_of].all():
                self.repeats[behavior] = int((~first[is_of]).sum()), int(is_of.sum())
        if not first.all():
            self._steps.append(f"{wording.count(int((~first).sum()), 'repeated row')} left out")

    def _others(self, who: str) -> str:
        """What was left out as no behavior in use; a name that is nearly one of those is pointed at."""
        found = dict(self._names.gather(self._name[~self.kept]).value_counts(sort=True).iter_rows())
        listed = []
        for name in list(found)[:10]:
            near = _nearly(name, self.behaviors)
            listed.append(f"{name} {found[name]:,}" + (f", much like '{near}'" if near else ""))
        listed += ["..."] if len(found) > 10 else []
        rows = wording.count(sum(found.values()), "row")
        return f"{rows} of other behaviors left out ({'; '.join(listed)}){who.replace(' of ', ', all of ', 1)}"

    def summary(self) -> str:
        """One line: how many rows, users and items the log has, how many are used, and what left out the others."""
        numbers = [
            f"{self.kept.size:,} rows ({self.kept.sum():,} used)"
            if not self.kept.all()
            else wording.count(self.kept.size, "row")
        ]
        for what in ("user", "item"):
            used = self.has(what)
            some = f" ({used.sum():,} used)" if not used.all() else ""
            numbers.append(f"{wording.count(used.size, what)}{some}")
        return "; ".join([f"log: {', '.join(numbers)}", *self._steps])


def _nearly(name: str, names: tuple[str, ...]) -> str | None:
    """The name that another is most likely meant to be."""
    plain = {other.strip().casefold(): other for other in names}
    near = difflib.get_close_matches(name.strip().casefold(), plain, n=1, cutoff=0.85)
    return plain[near[0]] if near else None
