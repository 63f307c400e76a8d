"""Reads the columns user, item, behavior and time of a log: CSV, TSV, Parquet, or RecBole's ``.inter``.

Text files may be gzipped. Ids keep their type: a text column becomes integers only if every value is written as the
integer would be (``7``, not ``007``), so that nothing is lost. Times are numbers, or ISO dates as microseconds.
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
from collections.abc import Iterator

import polars as pl

from mbjax import errors
from mbjax.data import options, readers

FORMATS = {"csv": ",", "tsv": "\t", "inter": "\t", "parquet": ""}
_FIELDS = ("user", "item", "behavior", "time")


def read(path: str | os.PathLike, layout: options.LogOptions) -> pl.DataFrame:
    """Reads a log.

    Returns:
      Columns ``user``, ``item`` (any type), ``behavior`` (text) and ``time`` (a number), without nulls, in file order.

    Raises:
      ConfigError: an unknown format or column, or a separator that is none.
      DataError: naming the file, and the line (of a Parquet file the row) where there is one.
    """
    path = pathlib.Path(path)
    kind = _format(path, layout)
    names = {field: getattr(layout, field) for field in _FIELDS if getattr(layout, field) is not None}
    if kind == "parquet":
        table, source = _parquet(path), None
    else:
        source = _Text(path, kind, layout.separator)
        table = source.table()
    for field, name in names.items():
        if name not in table.columns:
            raise errors.unknown(f"column (data.log.{field}) of {path.name}", name, table.columns)
    table = table.select(**{field: pl.col(name) for field, name in names.items()})
    if "behavior" not in names:
        if layout.behaviors is None or len(layout.behaviors) != 1:
            raise errors.ConfigError(
                "data.log.behavior names no column: data.log.behaviors must name the one behavior."
            )
        table = table.with_columns(behavior=pl.lit(layout.behaviors[0]))
    if "time" not in names:
        table = table.with_row_index("time")

    def fail(row: int, text: str) -> errors.DataError:
        where = f"line {source.line(row)}" if source is not None else f"row {row + 1}"
        return errors.DataError(f"{path}, {where}: {text}.")

    for field in names:
        table = table.with_columns(_filled(table[field], f"column '{names[field]}'", fail).alias(field))
    ids = {field: _ids(table[field], f"column '{names[field]}'", path) for field in ("user", "item")}
    time = _times(table["time"], f"column '{names.get('time')}'", fail)
    return table.with_columns(**ids, time=time, behavior=table["behavior"].cast(pl.String))


def _format(path: pathlib.Path, layout: options.LogOptions) -> str:
    if layout.format is not None:
        if layout.format not in FORMATS:
            raise errors.unknown("log format", layout.format, FORMATS)
        return layout.format
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix.removeprefix(".").lower() not in FORMATS:
        known = ", ".join(FORMATS)
        raise errors.ConfigError(f"{path}: suffix '{suffix}' tells no format. Set data.log.format to one of {known}.")
    return suffix.removeprefix(".").lower()


def _parquet(path: pathlib.Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(readers.read_bytes(path)))
    except pl.exceptions.PolarsError as error:
        raise errors.DataError(f"{path}: cannot be read as Parquet ({_line(error)}).") from error


class _Text:
    """A separated text file: polars reads it, and Python's slower csv module finds the line of what is wrong."""

    def __init__(self, path: pathlib.Path, kind: str, separator: str | None):
        self.path = path
        self.separator = FORMATS[kind] if separator is None else separator.replace("\\t", "\t")
        if len(self.separator.encode()) != 1 or self.separator in '\r\n"':
            raise errors.ConfigError(f"data.log.separator='{separator}' must be one character, such as , or ; or \\t.")
        self.is_typed = kind == "inter"
        self.quote = None if self.is_typed else '"'
        self.raw = readers.read_bytes(path).removeprefix(b"\xef\xbb\xbf")
        if not self.raw.isascii():
            self._text()

    def table(self) -> pl.DataFrame:
        """All columns as text. Blank lines are dropped, every other line must have as many columns as the header."""
        try:
            table = pl.read_csv(
                io.BytesIO(self.raw), separator=self.separator, quote_char=self.quote, infer_schema=False
            )
        except pl.exceptions.NoDataError as error:
            raise errors.DataError(
                f"{self.path}: is empty; expected a header line with the names of the columns."
            ) from error
        except pl.exceptions.PolarsError as error:
            sum(1 for _ in self.records())  # raises where the number of columns is wrong
            raise errors.DataError(f"{self.path}: cannot be read as a table ({_line(error)}).") from error
        if self.is_typed:
            table = table.rename({name: name.partition(":")[0] for name in table.columns})
        if (table[table.columns[-1]].fill_null("") == "").any():
            sum(1 for _ in self.records())
            table = table.filter(pl.any_horizontal(pl.all().fill_null("") != ""))
        return table

    def _text(self) -> str:
        try:
            return self.raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self.raw.count(b"\n", 0, error.start) + 1
            byte = f"0x{self.raw[error.start]:02x}"
            raise errors.DataError(f"{self.path}, line {line}: not UTF-8 (byte {byte}).") from error

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Line and columns of every record that is not blank, without the header."""
        quoting = csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE
        lines = io.StringIO(self._text(), newline="")
        reader = csv.reader(lines, delimiter=self.separator, quoting=quoting, strict=True)
        width, last = 0, 0
        try:
            for record in reader:
                # A record within quotes may span lines: it is known by its first.
                line, last = last + 1, reader.line_num
                if record and not width:
                    width = len(record)
                elif record and len(record) != width:
                    have = f"{len(record)} column{'s' * (len(record) != 1)}"
                    raise errors.DataError(f"{self.path}, line {line}: {have}, the header has {width}.")
                elif any(record):
                    yield line, record
        except csv.Error as error:
            raise errors.DataError(f"{self.path}, line {last + 1}: {error}.") from error

    def line(self, row: int) -> int:
        """The line of a row of ``table``."""
        return next(line for at, (line, _) in enumerate(self.records()) if at == row)


def _filled(column: pl.Series, what: str, fail) -> pl.Series:
    """The column, without nulls, NaN and empty text, or an error for the first of them."""
    empty = column.is_null()
    if column.dtype == pl.String:
        empty = empty | (column == "").fill_null(True)
    if column.dtype.is_float():
        empty = empty | column.is_nan().fill_null(True)
    if empty.any():
        raise fail(empty.arg_max(), f"{what} is empty")
    return column


def _ids(column: pl.Series, what: str, path: pathlib.Path) -> pl.Series:
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype.is_nested():
        raise errors.DataError(f"{path}: {what} has type {column.dtype}; ids must be single values.")
    if column.dtype.is_integer() or column.dtype == pl.String:
        numbers = column.cast(pl.Int64, strict=False)
        if not numbers.null_count() and (column.dtype.is_integer() or (numbers.cast(pl.String) == column).all()):
            return numbers
    return column


def _times(column: pl.Series, what: str, fail) -> pl.Series:
    """Numbers that order the rows."""
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).cast(pl.Int64) if column.dtype != pl.Time else column.cast(pl.Int64)
    if column.dtype.is_integer() and column.dtype != pl.UInt64:
        return column.cast(pl.Int64)
    if column.dtype == pl.String:
        return _text_times(column, what, fail)
    if not column.dtype.is_numeric():
        raise fail(0, f"{what} has type {column.dtype}, expected numbers or dates")
    numbers = column.cast(pl.Float64, strict=False)
    _require(numbers.is_finite(), column, what, fail)
    return numbers


def _text_times(column: pl.Series, what: str, fail) -> pl.Series:
    text = column.str.strip_chars()
    whole = text.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return whole
    if text.str.contains(r"^\d{4}-\d\d-\d\d").any():
        # Only dates that say which number is the month: 01/02/2020 is a different day to different people.
        iso = text.str.contains(r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$")
        _require(iso, column, what, fail)
        moments = text.str.replace(" ", "T").str.to_datetime(strict=False, time_unit="us")
        _require(moments.is_not_null(), column, what, fail)
        return moments.cast(pl.Int64)
    numbers = text.cast(pl.Float64, strict=False)
    _require(numbers.is_finite(), column, what, fail)
    return numbers


def _require(good: pl.Series, column: pl.Series, what: str, fail) -> None:
    good = good.fill_null(False)
    if not good.all():
        row = (~good).arg_max()
        raise fail(
            row, f"{what} is '{column[row]}', expected a number or a date such as 2024-05-31 or 2024-05-31T23:59:59"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
