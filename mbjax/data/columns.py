"""The columns user, item, behavior and time of a log, checked.

Raw ids keep value and type. Of a text file a column becomes integers only if every value is written as the integer
would be (``7``, not ``007``), so that nothing is lost. Blanks around texts that are not quoted are no part of them.
"""

from __future__ import annotations

import os
import pathlib
import re

import numpy as np
import polars as pl

from mbjax import errors, wording
from mbjax.data import coding, options, raw_table, tables, text, times

_FIELDS = ("user", "item", "behavior", "time")
_BLANKS = " \t"
_LEFT_OUT = {
    "behavior": ("behaviors", "all rows are of the one that data.log.behaviors names"),
    "time": ("times", "rows are in order of time"),
}
"""Columns that a log need not have: what they are of, and what holds without them."""
# What programs write for "no value"; compared without regard to case.
_NOBODY = {"nan", "-nan", "null", "none", "nil", "na", "n/a", "#n/a", "#na", "<na>", "<null>", "undefined", "\\n"}


def read(
    path: str | os.PathLike, layout: options.LogOptions, notes: list[str] | None = None, *, is_compact: bool = False
) -> pl.DataFrame:
    """Reads a log.

    Args:
      path: of a file, a pipe, or a folder of parts.
      layout: names of columns, and the form of the file.
      notes: gets a line for each thing in the file that deserves a look.
      is_compact: texts of a Parquet file may be returned as ``coding.texts``.

    Returns:
      Columns ``user``, ``item`` (any type of single values), ``behavior`` (text) and ``time`` (numbers or
      moments), without nulls, in file order.

    Raises:
      ConfigError: an unknown format or column, or an option that does not go with the file.
      DataError: naming the file, and the line (of a Parquet file the row) where there is one.
    """
    path = pathlib.Path(path)
    notes = [] if notes is None else notes
    names = {field: getattr(layout, field) for field in _FIELDS if getattr(layout, field) is not None}
    repeating = {names[field] for field in ("user", "item", "behavior") if field in names} - {names.get("time")}
    source = tables.read(path, layout, set(names.values()), repeating if is_compact else ())
    places = {field: _place(source, name, field, path) for field, name in names.items()}
    if source.has_header and _is_headerless(source, places):
        raise errors.ConfigError(f"{path}: the columns are named by line 1. {_headerless(source)}")
    table = source.frame.select(**{field: pl.col(str(place)) for field, place in places.items()})
    if "behavior" not in names:
        if layout.behaviors is None or len(layout.behaviors) != 1:
            raise errors.ConfigError(
                "data.log.behavior names no column: data.log.behaviors must name the one behavior."
            )
        table = table.with_columns(behavior=pl.lit(layout.behaviors[0]))
    if "time" not in names:
        table = table.with_row_index("time")

    def fail(row: int, text: str) -> errors.DataError:
        return errors.DataError(f"{source.where(row)}: {text}.")

    if source.bare:
        rows = f"{len(source.bare):,} row{'s' * (len(source.bare) > 1)}"
        notes.append(f"log: {rows} without any value left out ({source.bare[0]}{', ...' * (len(source.bare) > 1)})")
    if source.without_a_byte:
        notes.append(f"log: empty files passed over: {', '.join(source.without_a_byte)}")
    if source.is_text:
        table = _stripped(table, source, places, names, notes)
    said = {field: f"column '{names.get(field)}'" for field in _FIELDS}
    table, fail = _filled(table, names, said, layout, fail, notes)
    ids = {}
    for field in ("user", "item"):
        ids[field] = _ids(table[field], said[field], path, is_text=source.is_text)
        notes += _nobodies(ids[field], field, said[field])
        if source.is_text:
            notes += _twins(ids[field], field, said[field])
    return table.with_columns(
        **ids, time=times.read(table["time"], said["time"], fail), behavior=_names(table["behavior"], said, path)
    )


def _place(source: raw_table.Table, name: str, field: str, path: pathlib.Path) -> int:
    found = [place for place, other in enumerate(source.names) if other == name]
    if len(found) == 1:
        return found[0]
    hint = f" {_headerless(source)}" if source.has_header and _is_like_data(source.names) else ""
    if not hint and source.is_text and len(source.names) == 1:
        hint = next((_divided(mark) for mark in text.COMMON if name in source.names[0].split(mark)), "")
    if not found and not hint and field in _LEFT_OUT and name == field:
        # Nobody asked for this name: it is the default.
        there = ", ".join(dict.fromkeys(source.names))
        raise errors.ConfigError(
            f"{path.name} has no column '{name}': its columns are {there}. Name the one of {_LEFT_OUT[field][0]} by "
            f"data.log.{field}, or give data.log.{field}=none, with which {_LEFT_OUT[field][1]}."
        )
    if not found:
        error = errors.unknown(f"column (data.log.{field}) of {path.name}", name, dict.fromkeys(source.names))
        raise errors.ConfigError(f"{error}{hint}")
    raise errors.ConfigError(
        f"{path}: {len(found)} columns are named '{name}' (data.log.{field}).{hint or ' Rename all but one.'}"
    )


def _divided(mark: str) -> str:
    shown = "\\t" if mark == "\t" else mark
    return f" Its columns are divided by '{shown}': give data.log.separator='{shown}'."


def _is_like_data(names: list[str]) -> bool:
    """Whether a header has a number or a date among its names, and is not the numbers of the columns."""
    return (
        any(re.match(times.LIKE_A_TIME, name) for name in names)
        and names != [str(k) for k in range(len(names))]
        and names != [str(k + 1) for k in range(len(names))]
    )


def _is_headerless(source: raw_table.Table, places: dict[str, int]) -> bool:
    """Whether the names of columns that were asked for are values: line 1 would be lost, as a header that is none."""
    if not _is_like_data(source.names):
        return False
    if "time" in places and re.match(times.LIKE_A_TIME, source.names[places["time"]]):
        return True
    return "behavior" in places and bool(
        (source.frame[str(places["behavior"])] == source.names[places["behavior"]]).any()
    )


def _headerless(source: raw_table.Table) -> str:
    number = len(source.names)
    example = ["user", "item", "category", "behavior", "time"] if number == 5 else ["user", "item", "behavior", "time"]
    example = example[:number] + [f"other{k}" for k in range(number - len(example))]
    return (
        "Line 1 looks like data, not like names: if the file has no header, name its "
        f"{number} columns, such as data.log.columns={','.join(example)}."
    )


def _stripped(table: pl.DataFrame, source: raw_table.Table, places, names, notes: list[str]) -> pl.DataFrame:
    """The table without blanks around what is not quoted."""
    changed, rows = [], np.zeros(table.height, dtype=bool)
    for field in ("user", "item", "behavior"):
        if field not in places:
            continue
        bare = table[field].str.strip_chars(_BLANKS)
        odd = np.flatnonzero((bare != table[field]).fill_null(False).to_numpy())
        odd = odd[source.unquoted(places[field], odd)]
        if odd.size:
            rows[odd] = True
            changed.append(f"'{names[field]}'")
            mask = np.zeros(table.height, dtype=bool)
            mask[odd] = True
            table = table.with_columns(pl.when(pl.Series(mask)).then(bare).otherwise(pl.col(field)).alias(field))
    if changed:
        notes.append(
            f"log: blanks around values that are not quoted are left out in {rows.sum():,} rows ({', '.join(changed)})"
        )
    return table


def _filled(table: pl.DataFrame, names, said, layout, fail: times.Fail, notes: list[str]):
    """The table without rows of behaviors that are not used and lack a user, an item or a time, as a search or a login
    may; and ``fail`` for the rows that are left. Raises for the first row that is used and lacks one."""
    lacking = np.zeros(table.height, bool)
    for field in names:
        empty = _is_empty(table[field])
        if not empty.any():
            continue
        other = np.zeros(table.height, bool)
        if field != "behavior" and "behavior" in names and layout.behaviors is not None:
            other = ~table["behavior"].cast(pl.String).is_in(list(layout.behaviors)).fill_null(True).to_numpy()
        empty = empty.to_numpy()
        if (empty & ~other).any():
            raise fail(int(np.argmax(empty & ~other)), f"{said[field]} is empty")
        lacking |= empty
    if not lacking.any():
        return table, fail
    kept = np.flatnonzero(~lacking)
    rows = wording.count(int(lacking.sum()), "row")
    notes.append(f"log: {rows} of other behaviors that lack a user, an item or a time left out")
    return table.filter(pl.Series(~lacking)), lambda row, text: fail(int(kept[row]), text)


def require_filled(column: pl.Series, what: str, fail: times.Fail) -> None:
    """Raises for the first null, NaN, or text of nothing or blanks alone."""
    empty = _is_empty(column)
    if empty.any():
        raise fail(empty.arg_max(), f"{what} is empty")


def _is_empty(column: pl.Series) -> pl.Series:
    empty = column.is_null()
    if coding.is_texts(column):
        found = column.unique().cast(pl.String).drop_nulls()  # each once: of all rows they may be more than memory has
        blank = found.filter(found.str.strip_chars() == "")
        if len(blank):
            empty = empty | column.is_in(blank.cast(column.dtype)).fill_null(True)
    elif column.dtype in (pl.String, pl.Categorical, pl.Enum):
        empty = empty | (column.cast(pl.String).str.strip_chars() == "").fill_null(True)
    if column.dtype == pl.Binary:
        empty = empty | (column.bin.size() == 0).fill_null(True)
    if column.dtype.is_float():
        empty = empty | column.is_nan().fill_null(True)
    return empty


def _ids(column: pl.Series, what: str, path: pathlib.Path, *, is_text: bool) -> pl.Series:
    kind = column.dtype
    if kind.is_nested() or kind in (pl.Object, pl.Null):
        raise errors.DataError(f"{path}: {what} has type {kind}; ids must be single values.")
    if is_text:
        numbers = column.cast(pl.Int64, strict=False)
        return numbers if not numbers.null_count() and (numbers.cast(pl.String) == column).all() else column
    if kind.is_temporal() and not _is_python(column):
        raise errors.DataError(
            f"{path}: {what} has type {kind}, with values that Python cannot hold (nanoseconds, or years beyond 9999). "
            "Write them as text or as whole numbers."
        )
    return column


def _is_python(column: pl.Series) -> bool:
    unit = "ns" if column.dtype == pl.Time else getattr(column.dtype, "time_unit", None)
    if unit == "ns" and (column.to_physical() % 1000 != 0).any():
        return False
    try:
        column.min(), column.max()
    except (ValueError, OverflowError):
        return False
    return True


def _nobodies(column: pl.Series, field: str, what: str) -> list[str]:
    """A note if an id is what programs write for no value: it would be one user of all who are unknown."""
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return []
    counts = coding.counts(column)
    odd = counts.filter(pl.col(column.name).str.strip_chars().str.to_lowercase().is_in(_NOBODY)).sort(
        pl.col("rows"), column.name, descending=[True, False]
    )
    if not odd.height:
        return []
    listed = ", ".join(f"'{name}' in {number:,}" for name, number in odd.iter_rows())
    return [
        f"log: {what} is {listed} rows, and each counts as one {field}: leave such rows out if they are of no {field}"
    ]


def _twins(column: pl.Series, field: str, what: str) -> list[str]:
    """A note if ids stand there both as ``17`` and as ``17.0``, as where some parts were written from floats."""
    if column.dtype != pl.String:
        return []
    distinct = column.unique()
    floats = distinct.filter(distinct.str.contains(r"^-?\d+\.0+$"))
    whole = floats.str.replace(r"\.0+$", "")
    twins = whole.filter(whole.is_in(distinct.implode())).sort()
    if not len(twins):
        return []
    shown = floats.filter(whole == twins[0])[0]
    return [
        f"log: {what} has {wording.count(twins.n_unique(), 'id')} written in two ways, such as '{twins[0]}' and "
        f"'{shown}', and each way counts as a {field}: write all of them in one"
    ]


def _names(column: pl.Series, said: dict[str, str], path: pathlib.Path) -> pl.Series:
    """Behaviors as text."""
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise errors.DataError(f"{path}: {said['behavior']} has type {column.dtype}; behaviors are texts or numbers.")
    return column if coding.is_texts(column) else column.cast(pl.String)
