"""The raw ids of users or items: index -> raw id and back.

Everything inside mbjax works on int32 indices 0 .. n-1. Raw ids, of whatever type the log had, are kept here
and meet the rest only when files are read or written. They are a polars column, so that their type is written too:
an id that was an UInt64, a date or a category in the log is one in the lists.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import os

import numpy as np
import polars as pl

from mbjax import errors, files


class Vocabulary:
    """An immutable list of distinct raw ids.

    Attributes:
      series: raw ids [n], position = index, a polars column ``raw_id`` without nulls.
    """

    def __init__(self, ids):
        """Takes a polars column, a numpy array or a list of ids of one type."""
        if not isinstance(ids, pl.Series):
            shape = np.shape(ids)
            if len(shape) != 1:
                raise ValueError(f"a vocabulary needs a flat list of ids, got shape {shape}")
            # numpy has cut trailing NULs of its own string type: such elements are taken as they came.
            is_native = isinstance(ids, np.ndarray) and ids.dtype.kind not in "OUS"
            ids = pl.Series(ids if is_native else list(ids), dtype=None if len(ids) else pl.String)
        if ids.null_count() or ids.dtype.is_nested() or ids.dtype in (pl.Object, pl.Null):
            raise ValueError(f"a vocabulary needs single values without nulls, got {ids.dtype}")
        self.series = ids.alias("raw_id")

    @classmethod
    def range(cls, size: int) -> Vocabulary:
        """The ids 0 .. size-1, for data sets that are published with indices."""
        return cls(pl.int_range(size, dtype=pl.Int64, eager=True))

    @property
    def is_range(self) -> bool:
        """Whether every raw id is its own index, an Int64."""
        return self.series.dtype == pl.Int64 and bool((self.ids == np.arange(len(self))).all())

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """Raw ids [n]: of numbers an array of numbers, of all else Python objects."""
        kind = self.series.dtype
        if (kind.is_integer() or kind.is_float()) and kind not in (pl.Int128, pl.UInt128):
            values = self.series.to_numpy()
        else:
            values = np.empty(len(self), dtype=object)
            values[:] = self.series.to_list()
        values.setflags(write=False)
        return values

    def __len__(self) -> int:
        return len(self.series)

    def __eq__(self, other) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return len(self) == len(other) and self.series.to_list() == other.series.to_list()

    __hash__ = None

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.series.head(3).to_list()))
        return f"Vocabulary({len(self)} ids: {shown}{', ...' * (len(self) > 3)})"

    def raw(self, indices) -> np.ndarray:
        """Raw ids of indices (any shape)."""
        return self.ids[np.asarray(indices)]

    def column(self, indices) -> pl.Series:
        """Raw ids of indices [n] as a column of their own type, for files."""
        return self.series.gather(np.asarray(indices, dtype=np.int64))

    @functools.cached_property
    def _index(self) -> dict:
        series = self.series
        if getattr(series.dtype, "time_zone", None):
            series = series.dt.convert_time_zone("UTC")  # a wall time may stand there twice, when summer time ends
        index = {raw: i for i, raw in enumerate(series.to_list())}
        if len(index) != len(self):
            raise ValueError(f"{len(self) - len(index)} ids of a vocabulary occur more than once")
        return index

    @functools.cached_property
    def _texts(self) -> dict[str, int]:
        """Ids as they are written on a command line, for those that are no texts."""
        if self.series.dtype == pl.String:
            return {}
        found = {_text(raw): i for i, raw in enumerate(self.series.to_list())}
        if self.series.dtype.is_float():  # 3.0 is called 3, too
            found |= {text.removesuffix(".0"): i for text, i in found.items()}
        return found

    def find(self, raw) -> int | None:
        """The index of a raw id, None if it is not here; text is accepted for ids of other types too.

        To Python a truth value is the number 1 or 0; here it is found among truth values alone.
        """
        if isinstance(raw, bool | np.bool_) and self.series.dtype != pl.Boolean:
            return None
        if isinstance(raw, datetime.datetime) and raw.tzinfo is not None:
            raw = raw.astimezone(datetime.UTC)
        try:
            found = self._index.get(raw)
        except TypeError:  # a list or a table is no id
            return None
        if found is None and isinstance(raw, str):
            found = self._texts.get(raw)
        return found

    def places(self, column: pl.Series) -> np.ndarray:
        """The index of each raw id of a column, int64 [n]; -1 where it is not here.

        A file of a few lines may have no id but numbers where the whole log had texts, so that numbers are looked for
        as texts too.
        """
        distinct = column.unique()
        found = []
        for raw in distinct.to_list():
            index = self.find(raw)
            if index is None and isinstance(raw, int) and not isinstance(raw, bool):
                index = self.find(str(raw))
            found.append(-1 if index is None else index)
        return column.replace_strict(distinct, pl.Series(found, dtype=pl.Int64)).to_numpy()

    def index(self, raws, what: str = "user", where: str = "the data set") -> np.ndarray:
        """Indices of raw ids.

        Args:
          raws: raw ids; text is accepted for ids of other types, as it comes from a command line.
          what: ``"user"`` or ``"item"``, for the message.
          where: of what these are all ids, likewise.

        Returns:
          int32 [len(raws)].

        Raises:
          DataError: for the first id that is not here, with a near match.
        """
        out = np.empty(len(raws), dtype=np.int32)
        for position, raw in enumerate(raws.tolist() if isinstance(raws, np.ndarray) else raws):
            found = self.find(raw)
            if found is None:
                raise self._unknown(raw, what, where)
            out[position] = found
        return out

    def _unknown(self, raw, what: str, where: str) -> errors.DataError:
        names = list(map(_text, self.series.to_list()))
        near = difflib.get_close_matches(_text(raw), names, n=1, cutoff=0.0)
        hint = f" The nearest of its {len(self)} ids is '{near[0]}'." if near else " It has no ids at all."
        return errors.DataError(f"{what} '{_text(raw)}' is not in {where}.{hint}")

    def to_parquet(self, path: str | os.PathLike) -> None:
        """Writes one column ``raw_id`` in index order. Raises WriteError."""
        files.write_parquet(self.series.to_frame(), path)

    @classmethod
    def from_parquet(cls, path: str | os.PathLike) -> Vocabulary:
        """Reads what ``to_parquet`` wrote."""
        try:
            return cls(pl.read_parquet(path)["raw_id"])
        except (OSError, pl.exceptions.PolarsError, ValueError) as error:
            raise errors.DataError(f"{path}: not a vocabulary ({' '.join(str(error).split())})") from error


def _text(raw) -> str:
    """An id as a person writes it; bytes as the text that they most likely are."""
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else str(raw)
