"""Columns that a user hands over in Python: of polars, pandas, numpy or plain values; what is no value is null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mbjax import errors


def column(values: Any, what: str, kind: str = "ids") -> pl.Series:
    """A column of single values; NaN, NaT, pandas' NA and None are null.

    Args:
      values: a polars or pandas column, a numpy array, or anything that is gone through once.
      what: the option they were given to, for messages.
      kind: what the values are called there.

    Raises:
      ConfigError: values of several types, lists among them, or a number in place of a column.
    """
    if not isinstance(values, pl.Series):
        if isinstance(values, np.ndarray) and values.ndim == 0:
            raise errors.ConfigError(f"{what} is the single value {values}; expected a list of {kind}: [{values}].")
        if isinstance(getattr(values, "dtype", None), np.dtype) and (numbers := _numbers(values)) is not None:
            return numbers
        plain = [_plain(value) for value in (values.tolist() if hasattr(values, "tolist") else values)]
        # polars takes truth values among numbers for 1 and 0.
        is_mixed = len({isinstance(value, bool) for value in plain if value is not None}) > 1
        try:
            values = None if is_mixed else pl.Series(plain, dtype=None if plain else pl.String)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            values = None
        if values is None:
            raise errors.ConfigError(f"{what}: the {kind} are not of one type.")
    if values.dtype.is_nested() or values.dtype == pl.Object:
        raise errors.ConfigError(f"{what}: the {kind} have type {values.dtype}; expected single values.")
    if values.dtype.is_float():
        return values.fill_nan(None)
    return values.cast(pl.String) if values.dtype in (pl.Categorical, pl.Enum) else values


def _numbers(values: Any) -> pl.Series | None:
    """Numbers of numpy or pandas as Python would have them, not one by one; None: they are to be looked at so."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iuf" or array.dtype in (np.uint64, np.longdouble):
        return None
    is_float = array.dtype.kind == "f"
    found = pl.Series(array.astype(np.float64 if is_float else np.int64))
    return found.fill_nan(None) if is_float else found


def _plain(value: Any) -> Any:
    """A value as Python has it, None for what stands for none. pandas is not imported: its NA and NaT go by name."""
    value = value.item() if isinstance(value, np.generic) else value
    is_none = type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    return None if is_none else value


def table_column(table: Any, name: Any, what: str, kind: str = "ids", field: str = "") -> pl.Series:
    """A column of a polars or pandas table by its name.

    Args:
      field: the configuration's field that names the column, for the message.

    Raises:
      ConfigError: as ``column``; or several columns have the name.
    """
    number = list(table.columns).count(name)
    if number > 1:
        raise errors.ConfigError(
            f"{what}: {number} columns are named '{name}'{f' ({field})' if field else ''}. Rename all but one."
        )
    return column(table[name], what, kind)


IS_INDEX = " It is the index of the table: give table.reset_index()."


def of_index(table: Any, names: Sequence[str]) -> str:
    """A hint where a column that is missed is, or may be, the index of a pandas table; "" where it is not."""
    index = getattr(table, "index", None)
    found = list(getattr(index, "names", None) or ())
    if any(name in found for name in names):
        return IS_INDEX
    if found == [None] and type(index).__name__ != "RangeIndex":
        return f" If it is the index of the table, give table.reset_index(names='{names[0]}')."
    return ""


def refuse_mask(ids: pl.Series, known: pl.Series, what: str, kind: str) -> None:
    """Raises ConfigError for truth values in place of ids, unless those of the data set are truth values."""
    if ids.dtype == pl.Boolean and known.dtype != pl.Boolean:
        raise errors.ConfigError(
            f"{what}: the {kind} are true or false, as of a mask; expected their raw ids, such as ids[mask]."
        )


def wanted(ids: Any, what: str, known: pl.Series | None = None) -> list[Any]:
    """Raw ids that are chosen: of a list, a column or a table of one column; a single one stands for itself.

    Args:
      what: the option they were given to, for messages.
      known: the ids that there are.

    Raises:
      ConfigError: a table of other columns, or a mask where the known ids are no truth values.
    """
    chosen = _values(ids, what)
    if known is not None and chosen and all(isinstance(value, bool | np.bool_) for value in chosen):
        refuse_mask(pl.Series(chosen, dtype=pl.Boolean), known, what, what)
    return chosen


def _values(ids: Any, what: str) -> list[Any]:
    if isinstance(ids, pl.LazyFrame):
        ids = ids.collect()
    if hasattr(ids, "columns"):
        names = list(ids.columns)
        if len(names) != 1:
            raise errors.ConfigError(
                f"{what} is a table of the columns {', '.join(map(str, names))}; expected one column of raw ids."
            )
        ids = ids[names[0]]
    if isinstance(ids, np.ndarray) and ids.ndim == 0:
        return [ids.item()]
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
        return [ids]
    return ids.tolist() if hasattr(ids, "tolist") else list(ids)
