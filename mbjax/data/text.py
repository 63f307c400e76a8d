"""Separated text files as tables: CSV, TSV, and RecBole's ``.inter``, with a header line or with names given beside.

polars reads them, and slower code finds the line of what is wrong.
"""

from __future__ import annotations

import csv
import functools
import io
import pathlib
import re
from collections.abc import Collection, Iterator

import numpy as np
import polars as pl

from mbjax import errors
from mbjax.data import options, raw_table, readers

SEPARATORS = {"csv": ",", "tsv": "\t", "inter": "\t"}
COMMON = (";", ",", "\t", "|")
"""What columns are divided by, whatever a file is called."""


class Text:
    """A separated text file."""

    def __init__(self, path: pathlib.Path, kind: str, layout: options.LogOptions):
        self.path = path
        self.separator = SEPARATORS[kind] if layout.separator is None else layout.separator.replace("\\t", "\t")
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
        if self.raw[:4] == b"PAR1":
            raise errors.DataError(
                f"{self.path}: is a Parquet file, expected text. Name it .parquet, or give data.log.format=parquet."
            )
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

    def table(self, wanted: Collection[str] | None = None) -> raw_table.Table:
        """Columns as text, those of some names or all. Blank lines are dropped, every other line must have as many
        columns as the header."""
        names, bare = self._names(), []
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
            rows, bare = [record for _, record in self._records()], self._bare()
            frame = pl.DataFrame(rows, schema={str(k): pl.String for k in range(len(names))}, orient="row")
        if frame.width != len(names):
            self._check_records()
            raise errors.DataError(f"{self.path}: line 1 has {frame.width} columns, expected {len(names)}.")
        if (frame[frame.columns[-1]].fill_null("") == "").any():
            self._check_records()
            filled = frame.filter(pl.any_horizontal(pl.all().fill_null("") != ""))
            frame, bare = filled, self._bare() if filled.height < frame.height else bare
        here = raw_table.places(names, wanted)
        return raw_table.Table(
            names,
            frame.select(pl.nth(here)) if len(here) < len(names) else frame,
            lambda row: f"{self.path}, line {self._line(row)}",
            is_text=True,
            has_header=self.given is None,
            unquoted=self._unquoted,
            places=here,
            bare=bare,
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
        once = " A pipe can be read only once." if readers.is_pipe(self.path) else ""
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

    def _bare(self) -> list[str]:
        """Where records stand that have columns and no value in any."""
        return [f"{self.path}, line {line}" for line, record in self._records(True) if not any(record)]

    def _records(self, bare: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Line and columns of every record that is not blank, without the header; with ``bare`` also of empty ones."""
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
                elif any(record) or (bare and record):
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


def short_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
