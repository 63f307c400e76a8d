"""A log as it lies on the disk: one table of a text file, a Parquet file, a pipe, or a folder of parts.

Text files are CSV, TSV, or RecBole's ``.inter``, with a header line or with names given beside; polars reads them, and
slower code finds the line of what is wrong. A folder holds parts as Spark writes them, ``part-*.parquet`` or ``.csv``.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import pathlib
import re
import stat
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from mbjax import errors
from mbjax.data import options, readers

FORMATS = {"csv": ",", "tsv": "\t", "inter": "\t", "parquet": ""}


class Table:
    """Columns of a log.

    Attributes:
      names: of the columns, as they stand in the file; a name may stand there twice.
      frame: the columns, named ``"0"``, ``"1"``, ... by their places.
      where: row -> where it stands: ``"log.csv, line 7"``.
      is_text: whether all columns are texts of a text file.
      has_header: whether the names stand in line 1 of a text file.
      unquoted: (column, rows [n]) -> bool [n], whether the values stand there without quotes.
    """

    def __init__(
        self,
        names: list[str],
        frame: pl.DataFrame,
        where: Callable[[int], str],
        *,
        is_text: bool = False,
        has_header: bool = False,
        unquoted: Callable[[int, np.ndarray], np.ndarray] | None = None,
    ):
        self.names, self.where, self.is_text, self.has_header = names, where, is_text, has_header
        self.frame = frame.rename(dict(zip(frame.columns, map(str, range(len(names))), strict=True)))
        self.unquoted = unquoted or (lambda column, rows: np.zeros(rows.size, bool))


def is_log(path: pathlib.Path) -> bool:
    """Whether a path is a file, a pipe, or a folder that holds the parts of a table."""
    return path.is_file() or is_pipe(path) or bool(path.is_dir() and parts(path))


def is_pipe(path: pathlib.Path) -> bool:
    """Whether a path is a pipe, such as the shell's ``<(command)``: it can be read once."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def parts(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a folder that are parts of a table, in order of their names; what Spark keeps beside is left out."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(name.startswith(("_", ".")) for name in path.relative_to(folder).parts)
        and _suffix(path) in FORMATS
    ]
    return found if len({_suffix(path) for path in found}) == 1 else []


def read(path: str | os.PathLike, layout: options.LogOptions) -> Table:
    """Reads all columns of a log.

    Raises:
      ConfigError: an unknown format, or an option that does not go with it.
      DataError: naming the file, and the line where there is one.
    """
    path = pathlib.Path(path)
    files = parts(path) if path.is_dir() else [path]
    kind = _format(files[0], layout)
    if kind == "parquet":
        for option in ("columns", "separator"):
            if getattr(layout, option) is not None:
                raise errors.ConfigError(
                    f"data.log.{option} is of text files, and {path.name} is Parquet: leave it out."
                )
        return _parquet(path, files)
    tables = [_Text(file, kind, layout).table() for file in files]
    return tables[0] if len(tables) == 1 else _united(path, files, tables)


def _suffix(path: pathlib.Path) -> str:
    name = path.with_suffix("") if path.suffix.lower() in readers.SUFFIXES else path
    return name.suffix.removeprefix(".").lower()


def _format(path: pathlib.Path, layout: options.LogOptions) -> str:
    if layout.format is not None:
        if layout.format not in FORMATS:
            raise errors.unknown("log format", layout.format, FORMATS)
        return layout.format
    suffix = _suffix(path)
    if suffix not in FORMATS:
        known, said = ", ".join(FORMATS), f"suffix '.{suffix}'" if suffix else "its name"
        raise errors.ConfigError(f"{path}: {said} tells no format. Set data.log.format to one of {known}.")
    return suffix


def _parquet(path: pathlib.Path, files: list[pathlib.Path]) -> Table:
    try:
        if path.is_dir():
            # Values may stand in the names of the folders: behavior=buy/part-0.parquet.
            frame = pl.scan_parquet(files, hive_partitioning=True).collect()
        else:
            frame = pl.read_parquet(io.BytesIO(readers.read_bytes(path)))
    except pl.exceptions.PolarsError as error:
        raise errors.DataError(f"{path}: cannot be read as Parquet ({_line(error)}).") from error
    return Table(frame.columns, frame, lambda row: f"{path}, row {row + 1}")


def _united(path: pathlib.Path, files: list[pathlib.Path], tables: list[Table]) -> Table:
    for file, table in zip(files, tables, strict=True):
        if table.names != tables[0].names:
            raise errors.DataError(
                f"{file}: its columns are {', '.join(table.names)}, and those of {files[0].name} "
                f"{', '.join(tables[0].names)}. The parts of a table have the same."
            )
    ends = np.cumsum([table.frame.height for table in tables])

    def place(row: int) -> tuple[Table, int]:
        part = int(np.searchsorted(ends, row, side="right"))
        return tables[part], row - int(ends[part - 1] if part else 0)

    def unquoted(column: int, rows: np.ndarray) -> np.ndarray:
        return np.array([table.unquoted(column, np.array([at]))[0] for table, at in map(place, rows.tolist())], bool)

    def where(row: int) -> str:
        table, at = place(row)
        return table.where(at)

    frame = pl.concat([table.frame for table in tables])
    return Table(tables[0].names, frame, where, is_text=True, has_header=tables[0].has_header, unquoted=unquoted)


class _Text:
    """A separated text file."""

    def __init__(self, path: pathlib.Path, kind: str, layout: options.LogOptions):
        self.path = path
        self.separator = FORMATS[kind] if layout.separator is None else layout.separator.replace("\\t", "\t")
        if len(self.separator.encode()) != 1 or self.separator in '\r\n"':
            raise errors.ConfigError(
                f"data.log.separator='{layout.separator}' must be one character, such as , or ; or \\t."
            )
        self.is_typed = kind == "inter"
        self.quote = None if self.is_typed and layout.quote == '"' else layout.quote
        if self.quote is not None and (len(self.quote.encode()) != 1 or self.quote in self.separator + "\r\n"):
            raise errors.ConfigError(
                f"data.log.quote='{layout.quote}' must be one character other than the separator, such as \", or none."
            )
        self.given = None if layout.columns is None else list(layout.columns)
        self.raw = readers.read_bytes(path).removeprefix(b"\xef\xbb\xbf")
        self._check_text()

    def _check_text(self) -> None:
        if self.raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in self.raw[:2]:
            raise errors.DataError(
                f"{self.path}: is UTF-16, expected UTF-8. Save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 OLD > NEW."
            )
        if b"\r" in self.raw and b"\n" not in self.raw:
            raise errors.DataError(
                f"{self.path}: its lines end as on an old Mac (CR), expected LF or CRLF. Write it anew: tr '\\r' '\\n' "
                "< OLD > NEW."
            )
        if not self.raw.isascii():
            self._text()

    def table(self) -> Table:
        """All columns as text. Blank lines are dropped, every other line must have as many columns as the header."""
        names = self._names()
        raw = self.raw if self.given is None else self.raw.lstrip(b"\r\n")
        try:
            frame = pl.read_csv(
                io.BytesIO(raw),
                separator=self.separator,
                quote_char=self.quote,
                infer_schema=False,
                has_header=self.given is None,
                new_columns=None if self.given is None else [str(k) for k in range(len(names))],
            )
        except pl.exceptions.NoDataError as error:
            raise self._is_empty() from error
        except pl.exceptions.PolarsError:
            self._check_records()
            rows = [record for _, record in self._records()]
            frame = pl.DataFrame(rows, schema={str(k): pl.String for k in range(len(names))}, orient="row")
        if frame.width != len(names):
            self._check_records()
            raise errors.DataError(f"{self.path}: line 1 has {frame.width} columns, expected {len(names)}.")
        if (frame[frame.columns[-1]].fill_null("") == "").any():
            self._check_records()
            frame = frame.filter(pl.any_horizontal(pl.all().fill_null("") != ""))
        return Table(
            names,
            frame,
            lambda row: f"{self.path}, line {self._line(row)}",
            is_text=True,
            has_header=self.given is None,
            unquoted=self._unquoted,
        )

    def _names(self) -> list[str]:
        lines = io.TextIOWrapper(io.BytesIO(self.raw), encoding="utf-8", newline="")
        try:
            first = next((record for record in self._reader(lines) if record), None)
        except csv.Error as error:
            raise errors.DataError(f"{self.path}, line 1: {error}.{self._remedy()}") from error
        if first is None:
            raise self._is_empty()
        if self.given is not None:
            if len(first) != len(self.given):
                raise errors.ConfigError(
                    f"data.log.columns={','.join(self.given)} names {len(self.given)} columns, and line 1 of "
                    f"{self.path} has {len(first)}: {self.separator.join(first)[:80]}."
                )
            if [name.strip() for name in first] == self.given:
                raise errors.ConfigError(
                    f"data.log.columns={','.join(self.given)}: line 1 of {self.path} holds these names already. Leave "
                    "data.log.columns out."
                )
            return self.given
        if self.is_typed:
            first = [name.partition(":")[0] for name in first]
        return [name.strip(" \t") for name in first]

    def _is_empty(self) -> errors.DataError:
        what = "a header line with the names of the columns" if self.given is None else "lines of data"
        once = " A pipe can be read only once." if is_pipe(self.path) else ""
        return errors.DataError(f"{self.path}: is empty; expected {what}.{once}")

    def _text(self) -> str:
        try:
            return self.raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self.raw.count(b"\n", 0, error.start) + 1
            byte = f"0x{self.raw[error.start]:02x}"
            raise errors.DataError(
                f"{self.path}, line {line}: not UTF-8 (byte {byte}). Save it as UTF-8, or: iconv -f ENCODING -t UTF-8."
            ) from error

    def _reader(self, lines) -> Iterator[list[str]]:
        quoting = {"quoting": csv.QUOTE_NONE} if self.quote is None else {"quotechar": self.quote}
        return csv.reader(lines, delimiter=self.separator, strict=True, **quoting)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Line and columns of every record that is not blank, without the header."""
        reader = self._reader(io.StringIO(self._text(), newline=""))
        width, last = 0 if self.given is None else len(self.given), 0
        try:
            for record in reader:
                # A record within quotes may span lines: it is known by its first.
                line, last = last + 1, reader.line_num
                if record and not width:
                    width = len(record)
                elif record and len(record) != width:
                    have = f"{len(record)} column{'s' * (len(record) != 1)}"
                    wanted = "the header has" if self.given is None else "data.log.columns names"
                    raise errors.DataError(f"{self.path}, line {line}: {have}, {wanted} {width}.")
                elif any(record):
                    yield line, record
        except csv.Error as error:
            raise errors.DataError(f"{self.path}, line {last + 1}: {error}.{self._remedy()}") from error

    def _check_records(self) -> None:
        """Raises for the first record that is wrong: its number of columns, its quotes, or a quote within a value."""
        sum(1 for _ in self._records())
        for line, record in self._tokens() if self.quote else ():
            for text, is_quoted in record:
                if self.quote in text and not is_quoted:
                    raise errors.DataError(
                        f"{self.path}, line {line}: '{_short(text)}' holds a quote and is not in quotes itself. Write "
                        f"{self.quote}{_short(text.replace(self.quote, 2 * self.quote))}{self.quote}."
                        + self._remedy("Or, if")
                    )

    def _remedy(self, begin: str = "If") -> str:
        return f" {begin} the file does not quote: data.log.quote=none." if self.quote else ""

    def _line(self, row: int) -> int:
        """The line of a row of ``table``."""
        return next(line for at, (line, _) in enumerate(self._records()) if at == row)

    def _tokens(self) -> Iterator[tuple[int, list[tuple[str, bool]]]]:
        """Line, and the columns with whether they are quoted, of every record that is not blank, header included."""
        separator, quote = re.escape(self.separator), re.escape(self.quote or "\n")
        quoted = rf"{quote}((?:[^{quote}]|{quote}{quote})*){quote}"
        token = re.compile(rf"(?:{quoted}|([^{separator}\r\n]*))({separator}|\r\n|\n|\r|\Z)")
        line, start, record = 1, 1, []
        for found in token.finditer(self._text()):
            text, bare, end = found.groups()
            record.append((bare if text is None else text, text is not None))
            line += found[0].count("\n")
            if end != self.separator:
                if any(text for text, _ in record):
                    yield start, record
                start, record = line, []

    @functools.cached_property
    def _is_unquoted(self) -> np.ndarray:
        """Whether a value stands without quotes, bool [rows, columns]."""
        records = [[not is_quoted for _, is_quoted in record] for _, record in self._tokens()]
        return np.array(records[self.given is None :], dtype=bool)

    def _unquoted(self, column: int, rows: np.ndarray) -> np.ndarray:
        if self.quote is None or self.quote.encode() not in self.raw:
            return np.ones(rows.size, dtype=bool)
        return self._is_unquoted[rows, column]


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
