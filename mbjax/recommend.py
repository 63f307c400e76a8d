"""Recommendation lists: the best unseen items of each user, one table and one Parquet file for each behavior."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import errors, files, seen, topk, types, wording

if TYPE_CHECKING:
    from mbjax import data

NAMED = 5  # most users that a line names


@dataclasses.dataclass(frozen=True)
class Lists:
    """The lists of one behavior.

    Attributes:
      behavior: that is recommended.
      table: ``user`` (raw id), ``rank`` (from 1), ``item`` (raw id) and ``score`` (float32, the model's ranking
        score), users in the order asked for. A user with fewer candidates than were asked for has fewer rows, and
        an item scored ``-inf`` is in no list.
      users: number of those asked for.
      wanted: rows for each user: the length asked for, cut to the number of items.
      short: raw ids of users with fewer rows than ``wanted``, but some.
      empty: raw ids of users without any.
      level: raw ids of users with several rows, whose scores are all equal: the model tells these items not apart.
    """

    behavior: str
    table: pl.DataFrame
    users: int
    wanted: int
    short: pl.Series
    empty: pl.Series
    level: pl.Series

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Writes ``BEHAVIOR.parquet`` into a folder; characters that no file name can hold are percent-encoded."""
        name = files.name_of(self.behavior) + ".parquet"
        return files.write_parquet(self.table, Path(folder) / name)

    def lines(self) -> list[str]:
        """What a reader of the lists should know of users who did not get what was asked for, one line each."""
        found = []
        if len(self.empty):
            found.append(f"{_users(self.empty)} no list: nothing is left to recommend")
        if len(self.short):
            found.append(f"{_users(self.short)} fewer than {self.wanted:,} items: no more are left to recommend")
        if len(self.level):
            found.append(f"{_users(self.level)} a list of items that all score alike, in the order of the data set")
        return [f"{self.behavior}: {line}" for line in found]


def _users(ids: pl.Series) -> str:
    """``3 users (ann, bob, eve) get``, without names where they are many."""
    names = f" ({', '.join(map(str, ids.to_list()))})" if len(ids) <= NAMED else ""
    return f"{wording.count(len(ids), 'user')}{names} get{'s' * (len(ids) == 1)}"


def recommend(
    model: types.Model,
    params: types.Params,
    graphs: types.Graphs,
    dataset: data.Dataset,
    *,
    top_k: int,
    out: str | os.PathLike[str],
    behaviors: Sequence[str] | None = None,
    users: Iterable[int | str] | None = None,
    exclude: str = "known",
    mask: str = "same_behavior",
    batch_size: int = 512,
    item_tile: int = 16384,
) -> dict[str, Path]:
    """Writes what ``make`` makes, with the same arguments.

    Args:
      out: the folder; it is made if need be, and files of earlier calls are replaced.

    Returns:
      Behavior -> the file.
    """
    options = {"behaviors": behaviors, "users": users, "exclude": exclude, "mask": mask}
    sizes = {"batch_size": batch_size, "item_tile": item_tile}
    made = make(model, params, graphs, dataset, top_k=top_k, **options, **sizes)
    return {lists.behavior: lists.write(out) for lists in made}


def make(
    model: types.Model,
    params: types.Params,
    graphs: types.Graphs,
    dataset: data.Dataset,
    *,
    top_k: int,
    behaviors: Sequence[str] | None = None,
    users: Iterable[int | str] | None = None,
    exclude: str = "known",
    mask: str = "same_behavior",
    batch_size: int = 512,
    item_tile: int = 16384,
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
      exclude: which pairs count as seen: ``"known"``, ``"train"`` or ``"none"``; see ``mbjax/seen.py``.
      mask: whose: ``"same_behavior"`` or ``"all_behaviors"``.
      batch_size: users scored at once.
      item_tile: items scored at once.

    Raises:
      ConfigError: an unknown behavior, ``exclude`` or ``mask``, or a ``top_k`` below 1.
      DataError: an unknown user.
      TrainingDivergedError: a score is NaN.
    """
    seen.check(exclude, mask)
    if users is None:
        chosen = np.arange(dataset.info.num_users, dtype=np.int32)
    else:
        chosen = once(dataset.user_index(list(users)))
    return rank(
        model,
        params,
        graphs,
        chosen,
        lambda behavior: seen.pairs(dataset, behavior, exclude=exclude, mask=mask),
        user_ids=lambda places: dataset.users.column(chosen[places]),
        item_ids=dataset.items.column,
        top_k=top_k,
        behaviors=behaviors,
        batch_size=batch_size,
        item_tile=item_tile,
    )


def once(indices: np.ndarray) -> np.ndarray:
    """Indices without repetitions, in the order in which they come first."""
    return pl.Series(indices).unique(maintain_order=True).to_numpy()


def rank(
    model: types.Model,
    params: types.Params,
    graphs: types.Graphs,
    users: np.ndarray,
    left_out: Callable[[str], sparse.csr_array],
    *,
    user_ids: Callable[[np.ndarray], pl.Series],
    item_ids: Callable[[np.ndarray], pl.Series],
    top_k: int,
    behaviors: Sequence[str] | None = None,
    batch_size: int = 512,
    item_tile: int = 16384,
) -> Iterator[Lists]:
    """What ``make`` does, for users of the model by index, whatever they are called and whatever they have seen.

    Args:
      users: int [n].
      left_out: behavior -> the pairs that are no candidates, CSR [U, I].
      user_ids: places among ``users`` -> raw ids.
      item_ids: indices of items -> raw ids.
    """
    if isinstance(top_k, bool) or not isinstance(top_k, numbers.Integral) or top_k < 1:
        raise errors.ConfigError(f"top_k is {top_k!r}: it is a whole number, at least 1.")
    for behavior in behaviors or ():
        if behavior not in model.info.behaviors:
            raise errors.unknown("behavior", behavior, model.info.behaviors)
    if not len(users):
        raise errors.ConfigError("no users to recommend to: name at least one, or leave the option out for all.")

    def every() -> Iterator[Lists]:
        tables = topk.encode(model, params, graphs)
        for behavior in model.info.behaviors if behaviors is None else dict.fromkeys(behaviors):
            queries = topk.prepare(users, left_out(behavior), batch_size)
            found = topk.start(model, params, tables, queries, behavior, top_k, item_tile)
            yield _table(behavior, *topk.finish(found, users, behavior), user_ids, item_ids)

    return every()


def _table(
    behavior: str,
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
    kinds = {
        "short": (length > 0) & (length < items.shape[1]),
        "empty": length == 0,
        "level": (length > 1) & (scores[:, 0] == last),
    }
    ids = {kind: user_ids(np.flatnonzero(is_so)) for kind, is_so in kinds.items()}
    return Lists(behavior, table, len(items), items.shape[1], **ids)
