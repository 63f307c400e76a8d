"""Columns of raw ids that somebody hands over: of a file, a table, or of what Python has.

A text file has one id a line. A CSV, TSV or Parquet file has a column that is called as in the log, or as what it holds
(``item``, ``user``), or no other column. A CSV or TSV file may be divided by another sign, if its first line names such
a column, or if all lines have the sign equally often: else the sign is part of the ids.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from mbjax import errors, paths
from mbjax.data import columns, handed, options, raw_table, readers, tables, text

ITEM, USER = "item", "user"


class Source(NamedTuple):
    """Columns of one length; ``name`` is said in messages, ``where`` says of a row where it stands."""

    name: str
    id: pl.Series
    group: pl.Series | None = None
    where: Any = None


class Wanted(NamedTuple):
    """What is looked for.

    Attributes:
      column: what the log calls its ids of this kind.
      kind: ``ITEM`` or ``USER``, which is looked for as well.
      group: the name of a second column, of labels; None: there is none.
    """

    column: str
    kind: str = ITEM
    group: str | None = None

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys((self.column, self.kind)))


def read(source: Any, wanted: Wanted, option: str) -> Source:
    """The column of ids and, where one is wanted, that of labels.

    Args:
      source: the path of a file; a polars or pandas table or column; or raw ids. With labels also ``{id: label}`` and a
        pandas column whose index is the ids.
      wanted: the columns.
      option: the option it was given to, for messages.

    Raises:
      ConfigError: a source of another kind, or a table without such a column.
      DataError: a file that cannot be read.
    """
    group = wanted.group
    if isinstance(source, str | os.PathLike):
        path = paths.absolute(source)
        if group is None and not path.is_dir() and tables.suffix(path) not in tables.FORMATS:
            return Source(path.name, _lines(path, wanted.kind))
        table = _file(path, wanted)

        def of_file(place: int, kind: str) -> pl.Series:
            return handed.column(table.frame[str(place)], path.name, kind)

        return _chosen(table.names, of_file, path.name, wanted, table.is_text, table.where)
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if group is not None and (isinstance(source, Mapping) or _is_by_item(source)):
        of = source.items()
        ids, label = zip(*of, strict=True) if len(source) else ((), ())
        ids = _filled(handed.column(ids, option, f"{wanted.kind}s"), option, None, wanted.kind)
        return Source(option, ids, handed.column(label, option, f"{group}s"), _where(option))
    if hasattr(source, "columns"):
        names = list(map(str, source.columns))

        def take(place: int, kind: str) -> pl.Series:
            return handed.table_column(source, source.columns[place], option, kind)

        hint = "" if any(name in names for name in wanted.names) else handed.of_index(source, wanted.names)
        return _chosen(names, take, option, wanted, False, _where(option), hint)
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable) or group is not None:
        expected = "a list of ids" if group is None else f"{{{wanted.kind}: {group}}}"
        raise errors.ConfigError(
            f"{option} is of type {type(source).__name__}; expected the path of a file, a polars or pandas table, or "
            f"{expected}."
        )
    return Source(option, _filled(handed.column(source, option), option, None, wanted.kind))


def _chosen(names: list[str], take: Any, where: str, wanted: Wanted, is_text: bool, row: Any, hint: str = "") -> Source:
    """The columns that are meant, by their names, or because there is no other; ``take`` reads the one at a place."""
    kind, group = wanted.kind, wanted.group
    found = [name for name in wanted.names if name in names]
    if group is None and not found and len(names) == 1 and hint != handed.IS_INDEX:
        # A file of one column needs no header: if its first line is none, it is an id, and if not, it is left out.
        only = _filled(take(0, "ids"), where, row, kind)
        return Source(where, pl.concat([pl.Series([names[0]]), only.alias("")]) if is_text else only)
    said = " or ".join(f"'{name}'" for name in wanted.names)
    if not found:
        if is_text and group is None:
            hint = " If each line is one id, call the file .txt."
        raise errors.ConfigError(f"{where}: its columns are {', '.join(names)}, and none is {said}, the {kind}s.{hint}")
    if (number := names.count(found[0])) > 1:
        raise errors.ConfigError(f"{where}: {number} columns are named '{found[0]}'. Rename all but one.")
    place = names.index(found[0])
    ids = _filled(take(place, f"{kind}s"), where, row, kind)
    if group is None:
        return Source(where, ids, None, row)
    others = [other for other, name in enumerate(names) if name == group and other != place]
    others = others or [other for other in range(len(names)) if other != place]
    if len(others) != 1:
        raise errors.ConfigError(
            f"{where}: its columns are {', '.join(names)}; expected one of {kind}s, {said}, and one named '{group}'."
        )
    return Source(where, ids, take(others[0], f"{group}s"), row)


def _is_by_item(source: Any) -> bool:
    """Whether it is a column of pandas, which has an index."""
    return all(hasattr(source, name) for name in ("index", "items", "tolist")) and not hasattr(source, "columns")


def _filled(column: pl.Series, where: str, row: Any, kind: str) -> pl.Series:
    def fail(at: int, text: str) -> errors.DataError:
        return errors.DataError(f"{(row or _where(where))(at)}: {text}.")

    columns.require_filled(column, f"the {kind}", fail)
    return column


def _file(path: pathlib.Path, wanted: Wanted) -> raw_table.Table:
    """A table by its suffix; of a text file that is divided by another sign, by that."""
    if not path.is_dir() and tables.suffix(path) not in tables.FORMATS:
        raise errors.ConfigError(f"{path}: its name tells no format. Name it .csv, .tsv or .parquet.")
    layout = options.LogOptions()
    table = tables.read(path, layout)
    if table.is_text and len(table.names) == 1:
        mark = next((mark for mark in text.COMMON if mark in table.names[0]), None)
        if mark is not None and (wanted.group is not None or _divides(mark, table, wanted)):
            return tables.read(path, dataclasses.replace(layout, separator=mark))
    return table


def _divides(mark: str, table: raw_table.Table, wanted: Wanted) -> bool:
    """Whether a sign in the lines of a table of one column is between columns, and not within ids without a header."""
    parts = [part.strip(' "') for part in table.names[0].split(mark)]
    number = table.frame["0"].cast(pl.String).str.count_matches(mark, literal=True)
    return any(name in parts for name in wanted.names) or (number == len(parts) - 1).all()


def _lines(path: pathlib.Path, kind: str) -> pl.Series:
    """One id a line; blank lines are none."""
    try:
        lines = readers.read_bytes(path).removeprefix(b"\xef\xbb\xbf").decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise errors.DataError(f"{path}: not a text file in UTF-8; write one raw {kind} id a line.") from None
    return pl.Series([line.strip() for line in lines if line.strip()], dtype=pl.String)


def _where(name: str):
    return lambda row: f"{name}, row {int(row) + 1}"
