"""A log as it lies on the disk: one table of a text file, a Parquet file, a pipe, or a folder of parts.

A folder holds parts as Spark writes them, ``part-*.parquet`` or ``.csv``.
"""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Collection

import numpy as np
import polars as pl

from mbjax import errors
from mbjax.data import coding, options, raw_table, readers, text

FORMATS = (*text.SEPARATORS, "parquet")
OF_TEXT = ("columns", "separator", "quote")
"""Options of text files, which Parquet has no use for."""


def is_log(path: pathlib.Path) -> bool:
    """Whether a path is a file, a pipe, or a folder that holds the parts of a table."""
    return path.is_file() or readers.is_pipe(path) or bool(path.is_dir() and parts(path))


def is_parquet(path: pathlib.Path) -> bool:
    """Whether a path is, by its name, a Parquet file, or a folder of such."""
    files = parts(path) if path.is_dir() else [path]
    return bool(files) and suffix(files[0]) == "parquet"


def parts(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a folder that are parts of a table, in order of their names; what Spark keeps beside is left out."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(name.startswith(("_", ".")) for name in path.relative_to(folder).parts)
        and suffix(path) in FORMATS
    ]
    return found if len({suffix(path) for path in found}) == 1 else []


def read(
    path: str | os.PathLike,
    layout: options.LogOptions,
    wanted: Collection[str] | None = None,
    repeating: Collection[str] = (),
) -> raw_table.Table:
    """Reads the columns of a log.

    Args:
      path: of a file, a pipe, or a folder of parts.
      layout: the form of the file.
      wanted: names of the columns to keep, of which some may not be there; None keeps all. Of a text file all are
        checked, of a Parquet file that is not packed the others are not read at all.
      repeating: names of columns whose texts occur in many rows: of Parquet they are kept as ``coding.texts``, so that
        no more of them is ever in memory than the parts that are just read.

    Raises:
      ConfigError: an unknown format, or an option that does not go with it.
      DataError: naming the file, and the line where there is one; a folder without parts.
    """
    path = pathlib.Path(path)
    files = parts(path) if path.is_dir() else [path]
    if not files:
        raise errors.DataError(
            f"{path}: is a folder that holds no table. The parts of one are files of one suffix: {', '.join(FORMATS)}."
        )
    kind = _format(files[0], layout)
    if kind == "parquet":
        for option in OF_TEXT:
            if getattr(layout, option) != getattr(options.LogOptions, option):
                raise errors.ConfigError(
                    f"data.log.{option} is of text files, and {path.name} is Parquet: leave it out."
                )
        return _parquet(path, files, wanted, repeating)
    # Some programs leave parts without a byte where there was nothing to write.
    filled = [file for file in files if file.stat().st_size] if path.is_dir() else files
    empty, files = [file.name for file in files if filled and file not in filled], filled or files
    tables = [text.Text(file, kind, layout).table(wanted) for file in files]
    found = tables[0] if len(tables) == 1 else _united(files, tables, wanted)
    found.without_a_byte = tuple(empty)
    return found


def suffix(path: pathlib.Path) -> str:
    """What tells the format of a file by its name, below what it is packed by: ``"csv"`` of ``log.csv.gz``."""
    name = path.with_suffix("") if path.suffix.lower() in readers.SUFFIXES else path
    return name.suffix.removeprefix(".").lower()


def _format(path: pathlib.Path, layout: options.LogOptions) -> str:
    if layout.format is not None:
        if layout.format not in FORMATS:
            raise errors.unknown("log format", layout.format, FORMATS)
        return layout.format
    kind = suffix(path)
    if kind not in FORMATS:
        known, said = ", ".join(FORMATS), f"suffix '.{kind}'" if kind else "its name"
        raise errors.ConfigError(f"{path}: {said} tells no format. Set data.log.format to one of {known}.")
    return kind


def _parquet(
    path: pathlib.Path, files: list[pathlib.Path], wanted: Collection[str] | None, repeating: Collection[str]
) -> raw_table.Table:
    try:
        if path.is_dir():
            # Values may stand in the names of the folders: behavior=buy/part-0.parquet.
            found = pl.scan_parquet(files, hive_partitioning=True, glob=False)
        elif readers.is_plain(path):
            found = pl.scan_parquet(path, glob=False)
        else:
            found = pl.scan_parquet(io.BytesIO(readers.read_bytes(path)))
        schema = found.collect_schema()
        names = schema.names()
        here = raw_table.places(names, wanted)
        chosen = [
            pl.col(names[k]).cast(coding.texts())
            if names[k] in repeating and schema[names[k]] == pl.String
            else pl.col(names[k])
            for k in here
        ]
        # Part by part, in their order.
        frame = found.select(chosen).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise errors.DataError(f"{path}: cannot be read as Parquet ({text.short_line(error)}).") from error
    return raw_table.Table(names, frame, lambda row: f"{path}, row {row + 1}", places=here)


def _united(
    files: list[pathlib.Path], tables: list[raw_table.Table], wanted: Collection[str] | None
) -> raw_table.Table:
    for file, part in zip(files, tables, strict=True):
        if part.names != tables[0].names:
            raise errors.DataError(
                f"{file}: its columns are {', '.join(part.names)}, and those of {files[0].name} "
                f"{', '.join(tables[0].names)}. The parts of a table have the same."
            )
    ends = np.cumsum([part.frame.height for part in tables])

    def place(row: int) -> tuple[raw_table.Table, int]:
        number = int(np.searchsorted(ends, row, side="right"))
        return tables[number], row - int(ends[number - 1] if number else 0)

    def unquoted(column: int, rows: np.ndarray) -> np.ndarray:
        return np.array([part.unquoted(column, np.array([at]))[0] for part, at in map(place, rows.tolist())], bool)

    def where(row: int) -> str:
        part, at = place(row)
        return part.where(at)

    frame = pl.concat([part.frame for part in tables])
    return raw_table.Table(
        tables[0].names,
        frame,
        where,
        is_text=True,
        has_header=tables[0].has_header,
        unquoted=unquoted,
        places=raw_table.places(tables[0].names, wanted),
        bare=[place for part in tables for place in part.bare],
    )
