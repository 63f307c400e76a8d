"""Columns of raw ids as codes: positions among their sorted distinct values.

Texts of a large log are coded while they are read: the frame of a log holds 4 bytes for each of them and each distinct
text once, in a dictionary of its own (``texts``), which nobody outside of ``mbjax.data`` sees.
"""

from __future__ import annotations

import numpy as np
import polars as pl

_NAMESPACE = "mbjax texts"
_DENSE = 8
"""Numbers that span at most this many times the rows are looked up in a table of the span."""


def texts() -> pl.Categorical:
    """The type of a column of texts that are coded as they come, with a dictionary of its own."""
    return pl.Categorical(pl.Categories.random(namespace=_NAMESPACE))


def is_texts(column: pl.Series) -> bool:
    """Whether a column is texts that were coded as they came, and no category of the user's."""
    return isinstance(column.dtype, pl.Categorical) and column.dtype.categories.namespace() == _NAMESPACE


def counts(column: pl.Series) -> pl.DataFrame:
    """The distinct values, coded texts as texts, and in ``rows`` how many rows have each."""
    return column.value_counts(name="rows").with_columns(pl.col(column.name).cast(pl.String))


def codes(column: pl.Series) -> np.ndarray:
    """Position of each value among the sorted distinct values, int64; of a column without nulls."""
    return coded(column)[0].astype(np.int64)


def coded(column: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """The same, int32 wherever they fit, and the sorted distinct values."""
    found = column.unique()
    kind = np.int32 if len(found) <= np.iinfo(np.int32).max else np.int64
    if is_texts(column):
        names = found.cast(pl.String)
        order = names.arg_sort()
        place = np.zeros(int(found.to_physical().max() or 0) + 1, kind)
        place[found.to_physical().gather(order).to_numpy()] = np.arange(len(found))
        return place[column.to_physical().to_numpy()], names.gather(order)
    found = found.sort()
    if column.dtype == pl.String:
        # Each text is looked up among the distinct ones; a rank would sort all of them.
        return column.cast(pl.Enum(found)).to_physical().to_numpy().astype(kind), found
    if column.dtype.is_integer() and len(column) and column.dtype not in (pl.Int128, pl.UInt128):
        least, most = int(found[0]), int(found[-1])
        if most - least < _DENSE * len(column) and most <= np.iinfo(np.int64).max:
            place = np.zeros(most - least + 1, kind)
            place[found.cast(pl.Int64).to_numpy() - least] = np.arange(len(found))
            return place[column.cast(pl.Int64).to_numpy() - least], found
    return (column.rank("dense").to_numpy().astype(np.int64) - 1).astype(kind), found
