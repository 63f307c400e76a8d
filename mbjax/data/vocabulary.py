"""The raw ids of users or items: index -> raw id and back.

Everything inside mbjax works on int32 indices 0 .. n-1. Raw ids, of whatever type the log had, are kept here
and meet the rest only when files are read or written.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
import pathlib

import numpy as np
import polars as pl

from mbjax import errors


class Vocabulary:
    """An immutable list of distinct raw ids.

    Attributes:
      ids: raw ids [n], position = index. Integers are a numpy integer array; strings and bytes are an object
        array (numpy's own string type would drop trailing NULs).
    """

    def __init__(self, ids):
        values = np.asarray(ids)
        if values.dtype.kind in "US":  # numpy has already cut trailing NULs here: take the elements as they came
            values = np.empty(len(ids), dtype=object)
            values[:] = list(ids)
        if values.ndim != 1:
            raise ValueError(f"a vocabulary needs a flat list of ids, got shape {values.shape}")
        self.ids = values
        self.ids.setflags(write=False)

    @classmethod
    def range(cls, size: int) -> Vocabulary:
        """The ids 0 .. size-1, for data sets that are published with indices."""
        return cls(np.arange(size, dtype=np.int64))

    @property
    def is_range(self) -> bool:
        """Whether every raw id is its own index."""
        return self.ids.dtype.kind in "iu" and bool((self.ids == np.arange(len(self.ids))).all())

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return len(self) == len(other) and self.ids.tolist() == other.ids.tolist()

    __hash__ = None

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} ids: {', '.join(map(repr, self.ids[:3].tolist()))}{', ...' * (len(self) > 3)})"

    def raw(self, indices) -> np.ndarray:
        """Raw ids of indices (any shape)."""
        return self.ids[np.asarray(indices)]

    @functools.cached_property
    def _index(self) -> dict:
        index = {raw: i for i, raw in enumerate(self.ids.tolist())}
        if len(index) != len(self):
            raise ValueError(f"{len(self) - len(index)} ids of a vocabulary occur more than once")
        return index

    def index(self, raws, what: str = "user") -> np.ndarray:
        """Indices of raw ids.

        Args:
          raws: raw ids; text is accepted for integer ids, as it comes from a command line.
          what: ``"user"`` or ``"item"``, for the message.

        Returns:
          int32 [len(raws)].

        Raises:
          DataError: for the first id that is not here, with a near match.
        """
        out = np.empty(len(raws), dtype=np.int32)
        for position, raw in enumerate(raws.tolist() if isinstance(raws, np.ndarray) else raws):
            found = self._index.get(raw)
            if found is None and isinstance(raw, str) and self.ids.dtype.kind in "iu":
                with contextlib.suppress(ValueError):
                    found = self._index.get(int(raw))
            if found is None:
                raise self._unknown(raw, what)
            out[position] = found
        return out

    def _unknown(self, raw, what: str) -> errors.DataError:
        names = [str(i) for i in self.ids.tolist()]
        near = difflib.get_close_matches(str(raw), names, n=1, cutoff=0.0)
        hint = f" The nearest of its {len(self)} ids is '{near[0]}'." if near else " It has no ids at all."
        return errors.DataError(f"{what} '{raw}' is not in the data set.{hint}")

    def to_parquet(self, path: str | os.PathLike) -> None:
        """Writes one column ``raw_id`` in index order, beside and renamed."""
        path = pathlib.Path(path)
        beside = path.with_name(path.name + ".part")
        pl.DataFrame({"raw_id": self._series()}).write_parquet(beside)
        os.replace(beside, path)

    def _series(self) -> pl.Series:
        if self.ids.dtype.kind != "O":
            return pl.Series(self.ids)
        return pl.Series(self.ids.tolist(), dtype=None if len(self) else pl.String)

    @classmethod
    def from_parquet(cls, path: str | os.PathLike) -> Vocabulary:
        """Reads what ``to_parquet`` wrote."""
        try:
            column = pl.read_parquet(path)["raw_id"]
        except (OSError, pl.exceptions.PolarsError) as error:
            raise errors.DataError(f"{path}: not a vocabulary ({' '.join(str(error).split())})") from error
        return cls.from_series(column)

    @classmethod
    def from_series(cls, column: pl.Series) -> Vocabulary:
        """From a polars column without nulls; integers, floats and times stay numbers, all else becomes objects."""
        if column.dtype.is_integer() or column.dtype.is_float() or column.dtype.is_temporal():
            return cls(column.to_numpy())
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_list()
        return cls(values)
