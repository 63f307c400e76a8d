"""Events of users, met after a model was trained: read by the ids of its data set, and nothing is renumbered.

Users may be known or not. Items and behaviors that the data set does not have cannot be used: they are counted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import errors, paths, wording
from mbjax.data import coding, columns, handed, log, moments, options, tables, vocabulary
from mbjax.data import times as clock

NAMED = 5  # most ids that a line names
_FIELDS = ("user", "item", "behavior")


@dataclasses.dataclass(frozen=True)
class Histories:
    """The usable events of N users, who have some or are known to the data set.

    Attributes:
      users: raw ids [N], in the order of their first event, and after them known ones who are given without any; of the
        type that the data set's have, if they can be.
      known: int32 [N], their indices in the data set; -1 for those it does not have.
      pairs: behavior -> CSR [N, I] of ones, for each behavior of the data set.
      without: raw ids of users whom the data set does not have and of whose events none is usable, or who are given
        without any.
      notes: what was left out, one line each.
      events: behavior -> when the pairs happened; None where the source does not say.
    """

    users: pl.Series
    known: np.ndarray
    pairs: Mapping[str, sparse.csr_array]
    without: pl.Series
    notes: tuple[str, ...]
    events: Mapping[str, moments.Moments] | None = None

    def only(self, places: np.ndarray) -> Histories:
        """Those at some of the places 0 .. N - 1."""
        pairs = {behavior: matrix[places] for behavior, matrix in self.pairs.items()}
        events = self.events
        if events is not None:
            width = next(iter(pairs.values())).shape[1]
            events = {behavior: moments.rows(of, places, width) for behavior, of in events.items()}
        return dataclasses.replace(
            self, users=self.users.gather(places), known=self.known[places], pairs=pairs, events=events
        )


def read(
    source: Any,
    layout: Any,
    users: vocabulary.Vocabulary,
    items: vocabulary.Vocabulary,
    behaviors: tuple[str, ...],
    *,
    times: bool = False,
) -> Histories:
    """Reads the events of users.

    Args:
      source: the path of a log; a polars or pandas table with the columns of one; or
        ``{user: {behavior: [item, ...]}}``, which has no times.
      layout: an ``options.LogOptions`` or anything with its attributes: how the log is written.
      users, items, behaviors: of the data set.
      times: whether the times of the events are looked at, where there are some.

    Raises:
      ConfigError: a source of another kind, or a column that is missing.
      DataError: a malformed file, or no events at all.
    """
    whole = log.resolve(layout)
    layout = dataclasses.replace(whole, time=None)
    notes: list[str] = []
    silent: list[str] = []
    seconds = None
    if isinstance(source, str | os.PathLike):
        path = paths.absolute(source)
        form = whole if times else layout
        if tables.is_parquet(path):  # which says itself what its columns are, whatever the log was
            default = options.LogOptions()
            form = dataclasses.replace(form, **{key: getattr(default, key) for key in ("format", *tables.OF_TEXT)})
        try:
            table, name = columns.read(path, form, notes), path.name
        except errors.ConfigError as error:
            named = [getattr(whole, field) for field in _FIELDS if getattr(whole, field)]
            how = f"without a header, of the columns {', '.join(whole.columns)}" if whole.columns else "with a header"
            raise errors.ConfigError(
                f"{error} Events of users are written as the log of the run, {how}: name their columns "
                f"{', '.join(named)}, or give a Parquet file with such."
            ) from None
        if times and whole.time is not None:
            seconds = clock.seconds(table["time"], whole.time_unit)
        table = table.select(_FIELDS).with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    elif isinstance(source, Mapping):
        table, name = _of_mapping(source, silent), "histories"
    else:
        table, name = _of_table(source, layout, behaviors), "histories"
        if times and whole.time is not None:
            seconds = _times_of_table(source, whole)
    if not table.height:
        raise errors.DataError(f"{name}: holds no events.")
    for field, known in (("user", users), ("item", items)):
        handed.refuse_mask(table[field], known.series, name, f"{field}s")
    known_user, known_item = users.places(table["user"]), items.places(table["item"])
    place = {behavior: k for k, behavior in enumerate(behaviors)}
    behavior = table["behavior"].replace_strict(place, default=-1, return_dtype=pl.Int64).to_numpy()
    usable = (known_item >= 0) & (behavior >= 0)
    notes += _notes(table, known_item, behavior, behaviors)

    rank = coding.codes(table["user"])
    _, first, row = np.unique(rank, return_index=True, return_inverse=True)
    order = np.argsort(first)  # of the first event
    position = np.empty(order.size, np.int64)
    position[order] = np.arange(order.size)
    row, first = position[row.reshape(-1)], first[order]
    # Of a known user the data set has more.
    stays = (np.bincount(row[usable], minlength=order.size) > 0) | (known_user[first] >= 0)
    shape = (order.size, len(items))
    pairs, events = {}, {}
    for name, k in place.items():
        chosen = usable & (behavior == k)
        keys = np.unique(row[chosen] * shape[1] + known_item[chosen])
        ones = np.ones(keys.size, np.uint8)
        matrix = sparse.csr_array((ones, (keys // shape[1], keys % shape[1])), shape=shape)[np.flatnonzero(stays)]
        matrix.sort_indices()
        pairs[name] = matrix
        if seconds is not None:
            events[name] = moments.of(
                (np.cumsum(stays) - 1)[row[chosen]] * shape[1] + known_item[chosen], seconds[chosen]
            )
    ids = _as_known(table["user"].gather(first), users)
    known = known_user[first][stays].astype(np.int32)
    place = users.places(pl.Series(silent, dtype=pl.String))
    added = [raw for raw, at in zip(silent, place, strict=True) if at >= 0]
    unknown = [raw for raw, at in zip(silent, place, strict=True) if at < 0]
    if added:
        known = np.concatenate([known, place[place >= 0].astype(np.int32)])
        for matrix in pairs.values():
            matrix.resize(known.size, shape[1])
    return Histories(
        _with(ids.filter(pl.Series(stays)), added, users),
        known,
        pairs,
        _with(ids.filter(pl.Series(~stays)), unknown, users),
        tuple(notes),
        None if seconds is None else events,
    )


def _notes(table: pl.DataFrame, item: np.ndarray, behavior: np.ndarray, behaviors: tuple[str, ...]) -> list[str]:
    """What is left out, and why."""
    notes = []
    others = table["behavior"].filter(pl.Series(behavior < 0))
    if len(others):
        notes.append(
            f"{wording.count(len(others), 'event')} of other behaviors left out ({named(others.unique().sort())}); "
            f"the model knows {', '.join(behaviors)}"
        )
    unknown = table["item"].filter(pl.Series((item < 0) & (behavior >= 0)))
    if len(unknown):
        distinct = unknown.unique(maintain_order=True)
        notes.append(
            f"{wording.count(len(unknown), 'event')} of {wording.count(len(distinct), 'item')} that training has not "
            f"seen left out ({named(distinct)})"
        )
    return notes


def named(ids: pl.Series) -> str:
    """The first few of some ids, for a line."""
    return ", ".join(map(str, ids.head(NAMED).to_list())) + (", ..." if len(ids) > NAMED else "")


def _as_known(ids: pl.Series, known: vocabulary.Vocabulary) -> pl.Series:
    """Ids in the type of those of the data set, if none of them is lost by it."""
    kind = known.series.dtype
    if ids.dtype == kind:
        return ids
    try:
        cast = ids.cast(kind, strict=False)
    except pl.exceptions.PolarsError:  # types of which none is ever the other
        return ids
    if cast.null_count():
        return ids
    # Numbers are the same if they are equal: pandas makes 7.0 of 7 in a column in which a value is missing.
    text = pl.String if not (ids.dtype.is_numeric() and kind.is_numeric()) else ids.dtype
    return ids if (cast.cast(text) != ids.cast(text)).any() else cast


def _with(ids: pl.Series, others: list[str], known: vocabulary.Vocabulary) -> pl.Series:
    """Ids and others, as text if their types differ."""
    if not others:
        return ids
    added = _as_known(pl.Series(others), known)
    if added.dtype != ids.dtype:
        ids, added = ids.cast(pl.String), pl.Series(others)
    return pl.concat([ids, added.alias(ids.name)]).unique(maintain_order=True)


def _of_mapping(source: Mapping[Any, Any], silent: list[str]) -> pl.DataFrame:
    """The events as a table; ``silent`` gets the users without any."""
    rows = []
    for user, behaviors in source.items():
        if not isinstance(behaviors, Mapping):
            raise errors.ConfigError(
                f"histories of user '{user}' are of type {type(behaviors).__name__}; expected "
                "{user: {behavior: [item, ...]}}."
            )
        before = len(rows)
        for behavior, items in behaviors.items():
            if isinstance(items, str | bytes) or not isinstance(items, Iterable):
                raise errors.ConfigError(
                    f"histories of user '{user}' have '{items}' for behavior '{behavior}'; expected a list of items."
                )
            # numpy's own numbers are not those that a list of ids holds.
            rows += [(user, item.item() if isinstance(item, np.generic) else item, behavior) for item in items]
        if len(rows) == before:
            silent.append(str(user))
    return _table({field: [row[k] for row in rows] for k, field in enumerate(_FIELDS)})


def _of_table(source: Any, layout: options.LogOptions, behaviors: tuple[str, ...]) -> pl.DataFrame:
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if not hasattr(source, "columns"):
        raise errors.ConfigError(
            f"histories are of type {type(source).__name__}; expected the path of a log, a polars or pandas table, or "
            "{user: {behavior: [item, ...]}}."
        )
    found = {}
    for field in _FIELDS:
        name = getattr(layout, field)
        if name is None:  # a log of one behavior has no column of it
            found[field] = list(behaviors) * len(source)
        elif name not in list(source.columns):
            error = errors.unknown(f"column (data.log.{field}) of histories", name, map(str, source.columns))
            raise errors.ConfigError(f"{error}{handed.of_index(source, [name])}")
        else:
            found[field] = handed.table_column(source, name, "histories", f"{field}s", f"data.log.{field}")
    return _table(found)


def _times_of_table(source: Any, layout: options.LogOptions) -> np.ndarray | None:
    """Seconds of a table's events; None where it has no column of times."""
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if layout.time not in list(source.columns):
        return None
    column = handed.table_column(source, layout.time, "histories", "times", "data.log.time")

    def fail(row: int, text: str) -> errors.DataError:
        return errors.DataError(f"histories, row {row + 1}: {text}.")

    what = f"column '{layout.time}'"
    columns.require_filled(column, what, fail)
    return clock.seconds(clock.read(column, what, fail), layout.time_unit)


def _table(found: Mapping[str, Any]) -> pl.DataFrame:
    """The columns as those of a file: without nulls, behaviors as text."""

    def fail(row: int, text: str) -> errors.DataError:
        return errors.DataError(f"histories, row {row + 1}: {text}.")

    table = {}
    for field, values in found.items():
        column = handed.column(values, "histories", f"{field}s")
        columns.require_filled(column, f"the {field}", fail)
        table[field] = (column.cast(pl.String) if field == "behavior" else column).alias(field)
    return pl.DataFrame(table)
