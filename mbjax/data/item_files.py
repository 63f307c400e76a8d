"""What a user says of items: which there are to list, and of what groups they are.

A file, a table, or what Python has. Ids are those of the data set; ones that it does not have are counted and left out.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from mbjax import errors, paths, wording
from mbjax.data import columns, handed, histories, options, raw_table, readers, tables, text, vocabulary

ITEM, GROUP = "item", "group"
_BLANKS = " \t"


class Groups(NamedTuple):
    """The groups of items.

    Attributes:
      code: int32 [I], 0 .. G - 1; G for items of none.
      names: the G groups, as texts, sorted.
      notes: what was left out, one line each.
    """

    code: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...]


class _Source(NamedTuple):
    """Columns of one length; ``name`` is said in messages, ``where`` says of a row where it stands."""

    name: str
    item: pl.Series
    group: pl.Series | None = None
    where: Any = None


def listed(source: Any, items: vocabulary.Vocabulary, column: str = ITEM) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads which items there are.

    Args:
      source: the path of a text file with one raw id a line, or of a CSV, TSV or Parquet file with a column of items
        (or with no other); a polars or pandas table or column; or raw ids.
      items: of the data set.
      column: what a log calls its items; ``"item"`` is looked for as well.

    Returns:
      Bool [I], and lines on ids that are left out.

    Raises:
      ConfigError: a source of another kind, or a file without such a column.
      DataError: a file that cannot be read, or none of the ids is an item of the data set.
    """
    found = _read(source, column, "available", None)
    place, notes = _places(found, items)
    there = np.zeros(len(items), bool)
    there[place[place >= 0]] = True
    return there, notes


def groups(source: Any, items: vocabulary.Vocabulary, column: str = ITEM) -> Groups:
    """Reads the groups of items, one of each; an empty group is none.

    Args:
      source: the path of a CSV, TSV or Parquet file with a column of items and a column ``group``, or with two columns
        of which one is of items; a polars or pandas table like that; ``{item: group}``; or a pandas column of groups
        whose index is the items.
      items, column: as for ``listed``.

    Raises:
      ConfigError, DataError: as ``listed``; also an item of two groups.
    """
    found = _read(source, column, "groups", GROUP)
    place, notes = _places(found, items)
    label = found.group.cast(pl.String, strict=False).str.strip_chars(_BLANKS)
    usable = (place >= 0) & (label.fill_null("") != "").to_numpy()
    names = label.filter(pl.Series(usable)).unique().sort()
    if not len(names):
        raise errors.DataError(f"{found.name}: no item of the run has a group there.")
    row = np.flatnonzero(usable)
    code = label.gather(row).replace_strict(names, pl.Series(range(len(names)), dtype=pl.Int32)).to_numpy()
    whole = np.full(len(items), len(names), np.int32)
    # Backwards, so that the first row of an item counts; any other has to say the same.
    whole[place[row][::-1]] = code[::-1]
    other = np.flatnonzero(whole[place[row]] != code)
    if other.size:
        at = row[other[0]]
        raise errors.DataError(
            f"{found.where(at)}: item '{found.item[int(at)]}' is of group '{label[int(at)]}' and of group "
            f"'{names[int(whole[place[at]])]}'. An item has one group."
        )
    return Groups(whole, tuple(names.to_list()), notes)


def _places(found: _Source, items: vocabulary.Vocabulary) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices of items, -1 for those that are not known, and a line on these."""
    if not len(found.item):
        raise errors.DataError(f"{found.name}: names no item.")
    handed.refuse_mask(found.item, items.series, found.name, "items")
    place = items.places(found.item)
    if found.item.dtype == pl.String and (place < 0).any():
        place = np.where(place < 0, items.places(found.item.str.strip_chars(_BLANKS)), place)
    unknown = found.item.filter(pl.Series(place < 0)).unique(maintain_order=True)
    number = wording.count(len(unknown), "id")
    if (place < 0).all():
        raise errors.DataError(
            f"{found.name}: none of its {number} is an item of the run ({histories.named(unknown)}). They are written "
            f"as in the run's log, such as '{items.series[0] if len(items) else ''}'."
        )
    if not len(unknown):
        return place, ()
    return place, (f"{found.name}: {number} of no item that the run knows left out ({histories.named(unknown)})",)


def _read(source: Any, column: str, option: str, group: str | None) -> _Source:
    """The column of items and, where ``group`` names one, that of groups."""
    if isinstance(source, str | os.PathLike):
        path = paths.absolute(source)
        if group is None and not path.is_dir() and tables.suffix(path) not in tables.FORMATS:
            return _Source(path.name, _lines(path))
        table = _file(path)

        def of_file(place: int, kind: str) -> pl.Series:
            return handed.column(table.frame[str(place)], path.name, kind)

        return _chosen(table.names, of_file, path.name, column, group, table.is_text, table.where)
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if group is not None and (isinstance(source, Mapping) or _is_by_item(source)):
        of = source.items()
        item, label = zip(*of, strict=True) if len(source) else ((), ())
        item = _filled(handed.column(item, option, "items"), option, None)
        return _Source(option, item, handed.column(label, option, "groups"), _where(option))
    if hasattr(source, "columns"):
        names = list(map(str, source.columns))

        def take(place: int, kind: str) -> pl.Series:
            return handed.table_column(source, source.columns[place], option, kind)

        wanted = list(dict.fromkeys((column, ITEM)))
        hint = "" if any(name in names for name in wanted) else handed.of_index(source, wanted)
        return _chosen(names, take, option, column, group, False, _where(option), hint)
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable) or group is not None:
        expected = "a list of ids" if group is None else "{item: group}"
        raise errors.ConfigError(
            f"{option} is of type {type(source).__name__}; expected the path of a file, a polars or pandas table, or "
            f"{expected}."
        )
    return _Source(option, _filled(handed.column(source, option), option, None))


def _chosen(
    names: list[str], take: Any, where: str, column: str, group: str | None, is_text: bool, row: Any, hint: str = ""
) -> _Source:
    """The columns that are meant, by their names, or because there is no other; ``take`` reads the one at a place."""
    wanted = [name for name in dict.fromkeys((column, ITEM)) if name in names]
    if group is None and not wanted and len(names) == 1 and hint != handed.IS_INDEX:
        # A file of one column needs no header: if its first line is none, it is an id, and if not, it is left out.
        only = _filled(take(0, "ids"), where, row)
        return _Source(where, pl.concat([pl.Series([names[0]]), only.alias("")]) if is_text else only)
    said = f"'{column}'" + (f" or '{ITEM}'" if column != ITEM else "")
    if not wanted:
        raise errors.ConfigError(f"{where}: its columns are {', '.join(names)}, and none is {said}, the items.{hint}")
    if (number := names.count(wanted[0])) > 1:
        raise errors.ConfigError(f"{where}: {number} columns are named '{wanted[0]}'. Rename all but one.")
    item = names.index(wanted[0])
    if group is None:
        return _Source(where, _filled(take(item, "items"), where, row))
    others = [place for place, name in enumerate(names) if name == group and place != item]
    others = others or [place for place in range(len(names)) if place != item]
    if len(others) != 1:
        raise errors.ConfigError(
            f"{where}: its columns are {', '.join(names)}; expected one of items, {said}, and one named '{group}'."
        )
    return _Source(where, _filled(take(item, "items"), where, row), take(others[0], "groups"), row)


def _is_by_item(source: Any) -> bool:
    """Whether it is a column of pandas, which has an index."""
    return all(hasattr(source, name) for name in ("index", "items", "tolist")) and not hasattr(source, "columns")


def _filled(column: pl.Series, where: str, row: Any) -> pl.Series:
    def fail(at: int, text: str) -> errors.DataError:
        return errors.DataError(f"{(row or _where(where))(at)}: {text}.")

    columns.require_filled(column, "the item", fail)
    return column


def _file(path: pathlib.Path) -> raw_table.Table:
    """A table by its suffix; of a text file that is divided by another sign, by that."""
    if not path.is_dir() and tables.suffix(path) not in tables.FORMATS:
        raise errors.ConfigError(f"{path}: its name tells no format. Name it .csv, .tsv or .parquet.")
    layout = options.LogOptions()
    table = tables.read(path, layout)
    if table.is_text and len(table.names) == 1:
        mark = next((mark for mark in text.COMMON if mark in table.names[0]), None)
        if mark is not None:
            return tables.read(path, dataclasses.replace(layout, separator=mark))
    return table


def _lines(path: pathlib.Path) -> pl.Series:
    """One id a line; blank lines are none."""
    try:
        lines = readers.read_bytes(path).removeprefix(b"\xef\xbb\xbf").decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise errors.DataError(f"{path}: not a text file in UTF-8; write one raw item id a line.") from None
    return pl.Series([line.strip() for line in lines if line.strip()], dtype=pl.String)


def _where(name: str):
    return lambda row: f"{name}, row {int(row) + 1}"
