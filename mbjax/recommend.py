"""Recommendation lists: the best candidates of each user, a table and a Parquet file for each behavior and kind."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mbjax import batching, candidates, errors, files, parallel, topk, types, wording
from mbjax.data import handed

if TYPE_CHECKING:
    from mbjax import data

NAMED = 5  # most users that a line names


@dataclasses.dataclass(frozen=True)
class Lists:
    """The lists of one kind for one behavior.

    Attributes:
      behavior: that is recommended.
      kind: of ``candidates.LISTS``.
      table: ``user`` (raw id), ``rank`` (from 1), ``item`` (raw id) and ``score`` (float32), users in the order asked
        for. The score is the model's ranking score; of a model with ``types.Model.probabilities`` it is the
        probability itself, given that the next item is none of ``candidates.Pairs.unknown``. A user with fewer
        candidates than were asked for has fewer rows, and an item scored ``-inf`` is in no list.
      users: number of those asked for.
      wanted: rows for each user: the length asked for, cut to the number of items.
      short: raw ids of users with fewer rows than ``wanted``, but some.
      empty: raw ids of users without any.
      level: raw ids of users with several rows, whose scores are all equal: the model tells these items not apart.
    """

    behavior: str
    kind: str
    table: pl.DataFrame
    users: int
    wanted: int
    short: pl.Series
    empty: pl.Series
    level: pl.Series

    @property
    def name(self) -> str:
        """The behavior, and behind it the kind unless that is ``blended``: ``buy``, ``buy.continue``.

        No two lists share a name: a behavior that is itself called so has its kind behind it in any case.
        """
        is_plain = self.kind == "blended" and self.behavior.rpartition(".")[2] not in candidates.LISTS
        return self.behavior if is_plain else f"{self.behavior}.{self.kind}"

    @property
    def title(self) -> str:
        """The same, to be read."""
        return self.behavior if self.kind == "blended" else f"{self.behavior}, {self.kind}"

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Writes ``NAME.parquet`` into a folder; characters that no file name can hold are percent-encoded."""
        return files.write_parquet(self.table, Path(folder) / f"{files.name_of(self.name)}.parquet")

    def as_probabilities(self) -> Lists:
        """With ``score`` from natural logarithms to what these are of."""
        return dataclasses.replace(self, table=self.table.with_columns(pl.col("score").exp()))

    def lines(self) -> list[str]:
        """What a reader of the lists should know of users who did not get what was asked for, one line each."""
        found = []
        if len(self.empty):
            left = "of what they have met nothing" if self.kind == "continue" else "nothing"
            found.append(f"{_users(self.empty)} no list: {left} is left to recommend")
        if len(self.short):
            found.append(f"{_users(self.short)} fewer than {self.wanted:,} items: no more are left to recommend")
        if len(self.level):
            found.append(f"{_users(self.level)} a list of items that all score alike, in the order of the data set")
        return [f"{self.title}: {line}" for line in found]


def _users(ids: pl.Series) -> str:
    """``3 users (ann, bob, eve) get``, without names where they are many."""
    names = f" ({', '.join(map(str, ids.to_list()))})" if len(ids) <= NAMED else ""
    return f"{wording.count(len(ids), 'user')}{names} get{'s' * (len(ids) == 1)}"


def recommend(*made: Any, out: str | os.PathLike[str], **options: Any) -> dict[str, Path]:
    """Writes what ``make`` makes, with the same arguments.

    Args:
      *made, **options: as for ``make``.
      out: the folder; it is made if need be, and files of the same name are replaced.

    Returns:
      ``Lists.name`` -> the file.
    """
    return {lists.name: lists.write(out) for lists in make(*made, **options)}


def make(
    model: types.Model,
    params: types.Params,
    graphs: types.Graphs,
    dataset: data.Dataset,
    *,
    top_k: int,
    behaviors: Sequence[str] | None = None,
    users: Iterable[int | str] | None = None,
    lists: str | Sequence[str] = "blended",
    exclude: str = "known",
    mask: str = "same_behavior",
    repeat: bool = False,
    available: Any = None,
    groups: Any = None,
    max_per_group: int | None = None,
    batch_size: int = 512,
    item_tile: int = 16384,
    placement: parallel.Placement = parallel.ONE,
) -> Iterator[Lists]:
    """Makes the best items of each user for each behavior, one behavior after another.

    Args:
      model: built for the data set.
      params: its parameters.
      graphs: the graphs it asked for.
      dataset: says who is who and what was seen.
      top_k: items for each user; more than there are means all.
      behaviors: which; None is all.
      users: raw ids, repeated ones are taken once; None is all users.
      lists: kinds of lists, of ``"blended"``, ``"continue"`` and ``"discover"``, or one; see ``mbjax/candidates.py``.
      exclude: which pairs count as seen: ``"known"``, ``"train"`` or ``"none"``; see ``mbjax/seen.py``.
      mask: whose: ``"same_behavior"`` or ``"all_behaviors"``.
      repeat: whether items met by the ranked behavior may come back; see ``mbjax/candidates.py``.
      available: items that may be listed: a file, a table, or raw ids; None is all. See ``mbjax/data/item_files.py``.
      groups: item -> group: a file, a table or a dict; likewise. Items without one are not capped.
      max_per_group: most items of a group in a list; the list is the best one of that kind over all candidates.
      batch_size: users scored at once.
      item_tile: items scored at once.
      placement: the devices that the users are divided among.

    Raises:
      ConfigError: an unknown behavior or word, words that contradict each other, or a ``top_k`` below 1.
      DataError: an unknown user, or items that cannot be read.
      TrainingDivergedError: a score is NaN.
    """
    rule = candidates.rule(lists, exclude, mask, repeat)
    limits, _ = candidates.limits(dataset.items, available=available, groups=groups, max_per_group=max_per_group)
    if users is None:
        chosen = np.arange(dataset.info.num_users, dtype=np.int32)
    else:
        chosen = once(dataset.user_index(handed.wanted(users, "users", dataset.users.series)))
    return rank(
        model,
        params,
        graphs,
        chosen,
        lambda behavior: candidates.of(dataset, behavior, rule, model),
        user_ids=lambda places: dataset.users.column(chosen[places]),
        item_ids=dataset.items.column,
        top_k=top_k,
        behaviors=behaviors,
        lists=rule.lists,
        limits=limits,
        batch_size=batch_size,
        item_tile=item_tile,
        placement=placement,
    )


def once(indices: np.ndarray) -> np.ndarray:
    """Indices without repetitions, in the order in which they come first."""
    return pl.Series(indices).unique(maintain_order=True).to_numpy()


def rank(
    model: types.Model,
    params: types.Params,
    graphs: types.Graphs,
    users: np.ndarray,
    pairs: Callable[[str], candidates.Pairs],
    *,
    user_ids: Callable[[np.ndarray], pl.Series],
    item_ids: Callable[[np.ndarray], pl.Series],
    top_k: int,
    behaviors: Sequence[str] | None = None,
    lists: Sequence[str] = ("blended",),
    limits: batching.Limits | None = None,
    batch_size: int = 512,
    item_tile: int = 16384,
    placement: parallel.Placement = parallel.ONE,
) -> Iterator[Lists]:
    """What ``make`` does, for users of the model by index, whatever they are called and whatever they have seen.

    Args:
      users: int [n].
      pairs: behavior -> what decides of the candidates.
      user_ids: places among ``users`` -> raw ids.
      item_ids: indices of items -> raw ids.
      lists: kinds of lists.
      limits: of the items of every list.
    """
    if isinstance(top_k, bool) or not isinstance(top_k, numbers.Integral) or top_k < 1:
        raise errors.ConfigError(f"top_k is {top_k!r}: it is a whole number, at least 1.")
    for behavior in behaviors or ():
        if behavior not in model.info.behaviors:
            raise errors.unknown("behavior", behavior, model.info.behaviors)
    if not len(users):
        raise errors.ConfigError("no users to recommend to: name at least one, or leave the option out for all.")

    def every() -> Iterator[Lists]:
        (there, of_graphs), limited = placement.placed(params, graphs), placement.everywhere(limits)
        tables = topk.encode(model, there, of_graphs, placement)
        wanted = list(model.info.behaviors if behaviors is None else dict.fromkeys(behaviors))
        few = batching.are_few([len(users)] * len(wanted) * len(lists), model.info.num_items)
        for some in [wanted] if few else [[behavior] for behavior in wanted]:
            decisive = {behavior: pairs(behavior) for behavior in some}
            lengths = {b: int(np.diff(of.unknown.indptr)[users].max()) for b, of in decisive.items()}
            asked = [(b, candidates.unknown(users, decisive[b], batch_size, placement)) for b in some if lengths[b]]
            found = topk.start_all(model, there, tables, asked, max(lengths.values()), item_tile)
            taken = {
                behavior: _log_of_rest(*topk.finish(of, users, behavior))
                for (behavior, _), of in zip(asked, found, strict=True)
            }
            names = [(behavior, kind) for behavior in some for kind in lists]
            for given in [names] if few else [[name] for name in names]:  # the queries of many users take their room
                asked = [(b, candidates.query(users, decisive[b], kind, batch_size, placement)) for b, kind in given]
                found = topk.start_all(model, there, tables, asked, top_k, item_tile, limited)
                for (behavior, kind), of in zip(given, found, strict=True):
                    items, scores = topk.finish(of, users, behavior)
                    scores = scores - taken.get(behavior, np.zeros(len(users), np.float32))[:, None]
                    # Which scores are equal, the model's own say: probabilities may round to the same number.
                    made = _table(behavior, kind, items, scores, user_ids, item_ids)
                    yield made.as_probabilities() if model.probabilities else made

    return every()


def _log_of_rest(items: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """The logarithm of what is left of 1 without some items of each user, -1 for none: float32 [n] of [n, k]."""
    taken = np.where(items >= 0, np.exp(log_p.astype(np.float64)), 0.0).sum(axis=1)
    return np.log(np.maximum(1.0 - taken, np.finfo(np.float32).eps)).astype(np.float32)


def _table(
    behavior: str,
    kind: str,
    items: np.ndarray,
    scores: np.ndarray,
    user_ids: Callable[[np.ndarray], pl.Series],
    item_ids: Callable[[np.ndarray], pl.Series],
) -> Lists:
    row, place = np.nonzero(items >= 0)
    table = pl.DataFrame(
        {
            "user": user_ids(row),
            "rank": (place + 1).astype(np.int32),
            "item": item_ids(items[row, place]),
            "score": scores[row, place],
        }
    )
    length = (items >= 0).sum(axis=1)
    last = np.take_along_axis(scores, np.maximum(length - 1, 0)[:, None], axis=1)[:, 0]
    words = {
        "short": (length > 0) & (length < items.shape[1]),
        "empty": length == 0,
        "level": (length > 1) & (scores[:, 0] == last),
    }
    ids = {word: user_ids(np.flatnonzero(is_so)) for word, is_so in words.items()}
    return Lists(behavior, kind, table, len(items), items.shape[1], **ids)
