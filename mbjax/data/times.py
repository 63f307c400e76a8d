"""Times of a log as what orders its rows: whole numbers, other numbers, or moments.

A moment is a date, or a date and a time of day: ``2024-05-31``, ``2024-05-31 23``, ``2024-05-31T23:59:59.5``, with or
without a zone (``Z``, `` UTC``, `` GMT``, ``+02:00``, ``-0330``). Only dates that say which number is the month are
read: 01/02/2020 is a different day to different people. Whole numbers such as 20240531 and 20240531235959 are days, and
days with a time, where seconds count.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import polars as pl

from mbjax import errors

Fail = Callable[[int, str], errors.DataError]
_DATE = r"^\d{4}-\d\d-\d\d"
_ZONE = r" ?(Z|UTC|GMT|[+-]\d\d:?\d\d)$"
_MOMENT = _DATE + r"([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?( ?(Z|UTC|GMT|[+-]\d\d:?\d\d))?)?$"
LIKE_A_TIME = r"^(-?\d+(\.\d+)?|\d{4}-\d\d-\d\d([T ].*)?)$"
"""Texts that no one calls a column, if the column's values are times."""


def read(column: pl.Series, what: str, fail: Fail) -> pl.Series:
    """Turns a column without nulls into numbers or moments that order the rows as its times do.

    Args:
      column: of any type.
      what: the column, for messages.
      fail: makes the error for a row and a text.

    Raises:
      DataError: a value that is no time, or some with a zone and some without.
    """
    if column.dtype in (pl.Categorical, pl.Enum):  # texts of which each is kept once
        column = column.cast(pl.String)
    kind = column.dtype
    if kind.is_temporal() or kind.is_integer():
        return column
    if kind == pl.String:
        return _of_text(column, what, fail)
    if not kind.is_numeric():
        raise fail(0, f"{what} has type {kind}, expected numbers or dates")
    numbers = column.cast(pl.Float64, strict=False)
    _require(numbers.is_finite(), column, what, fail)
    return numbers


UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Units of times that are numbers, in seconds."""


LEAST = {"ns": 1e17, "us": 1e14, "ms": 1e11, "s": 1e8}
"""From which median on numbers are dates of our time, counted from 1970 in a unit: of 1973, and of 5138 at most."""


def seconds(column: pl.Series, unit: str | None = None) -> np.ndarray:
    """Times as ``read`` gives them, in seconds from any moment: float64 [n].

    Args:
      unit: of numbers, of ``UNITS``; None: numbers such as 20240531 are days, written as year, month and day, those
        such as 2024053123, 202405312359 and 20240531235959 days with a time; others are of the unit that makes the
        median a date of our time, counted from 1970, in seconds or parts of them; numbers that are too small for that
        (before 1973) are taken for seconds.
    """
    kind = column.dtype
    if not kind.is_temporal() and unit is None and (dates := _dates(column)) is not None:
        column, kind = dates, dates.dtype
    if kind.is_temporal():
        kinds = {pl.Date: 86400.0, pl.Time: 1e-9}
        scale = kinds.get(kind) or UNITS[kind.time_unit]
        return column.to_physical().to_numpy().astype(np.float64) * scale
    numbers = column.cast(pl.Float64)
    return numbers.to_numpy() * UNITS[unit or _unit(numbers) or "s"]


def note(column: pl.Series, unit: str | None = None) -> str | None:
    """How ``seconds`` reads numbers where that is not plain, in a sentence; None: it is."""
    if column.dtype.is_temporal() or unit is not None or not len(column):
        return None
    first = show(column, 0)
    if (dates := _dates(column)) is not None:
        what = {8: "days (year, month, day)", 10: "hours of a day (year, month, day, hour)"}
        return f"times such as {first} are {what.get(len(first), f'dates with a time, here {show(dates, 0)}')}"
    if _unit(column.cast(pl.Float64)) is None:
        return (
            f"times such as {first} are no dates of our time and taken for seconds; data.log.time_unit says what they "
            f"are: {', '.join(UNITS)}"
        )
    return None


def _unit(numbers: pl.Series) -> str | None:
    middle = numbers.abs().median() or 0.0
    return next((name for name, least in LEAST.items() if middle > least), None)


def _dates(column: pl.Series) -> pl.Series | None:
    """Whole numbers as dates, if all are years, months and days of 1900 to 2100, or all go on with hours, and maybe
    minutes, and maybe seconds; None: not all are.

    Ten digits could be seconds since 1970, too, of 2030 and later, if each of them happened to be such a date.
    """
    if not column.dtype.is_integer() or not len(column):
        return None
    least, most = column.min(), column.max()
    for digits in (0, 2, 4, 6):  # after the day
        if least >= 19_000_101 * 10**digits and most < 21_001_232 * 10**digits:
            break
    else:
        return None
    text = column.cast(pl.String)
    if digits == 0:
        found = text.str.to_date("%Y%m%d", strict=False)
    else:
        found = (text + "0" * (6 - digits)).str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="us")
    return None if found.null_count() else found


def show(column: pl.Series, row: int) -> str:
    """A time for people: a moment without a time of day where that is midnight, and without zeros at its end."""
    text = column.slice(row, 1).cast(pl.String).item()
    return re.sub(r"( 00:00:00)?\.0+$|(\.\d*?)0+$", r"\2", text) if column.dtype.is_temporal() else text


def _of_text(column: pl.Series, what: str, fail: Fail) -> pl.Series:
    text = column.str.strip_chars()
    for kind in (pl.Int64, pl.Int128):
        whole = text.cast(kind, strict=False)
        if not whole.null_count():
            return whole
    is_date = text.str.contains(_DATE)
    if is_date.any():
        _refuse_mixed(is_date, text.cast(pl.Float64, strict=False).is_finite(), column, what, fail)
        return _moments(text, column, what, fail)
    numbers = text.cast(pl.Float64, strict=False)
    _require(numbers.is_finite(), column, what, fail)
    return numbers


def _refuse_mixed(is_date: pl.Series, is_number: pl.Series, column: pl.Series, what: str, fail: Fail) -> None:
    """Raises for the first of numbers and dates that is not what the first row is."""
    is_number = is_number.fill_null(False)
    if not is_number.any():
        return
    odd, kind, first = (is_number, "a number", "a date") if is_date[0] else (is_date, "a date", "a number")
    if is_date[0] or is_number[0]:
        row = odd.arg_max()
        raise fail(row, f"{what} is '{column[row]}', {kind}, and in the first row {first}; give all in one way")


def _moments(text: pl.Series, column: pl.Series, what: str, fail: Fail) -> pl.Series:
    _require(text.str.contains(_MOMENT), column, what, fail)
    parts = text.str.extract_groups(
        _DATE + r"(?:[T ](?<hour>\d\d)(?<minute>:\d\d)?(?<second>:\d\d)?(?<part>\.\d+)?)?(?: ?(?<zone>[A-Z+-].*))?$"
    ).struct.unnest()
    has_zone = parts["zone"].is_not_null()
    if has_zone.any() and not has_zone.all():
        row = (has_zone != has_zone[0]).arg_max()
        has = "has a time zone" if has_zone[row] else "has no time zone"
        raise fail(row, f"{what} is '{column[row]}', which {has}, unlike the first row; give all of them one, or none")
    # Nanoseconds are kept where they are there, and the years are those that can be counted in them.
    is_fine = (parts["part"].str.len_chars() > 7).any() and text.str.slice(0, 4).is_between("1678", "2261").all()
    zone = parts["zone"].replace(["Z", "UTC", "GMT"], "+00:00") if has_zone.any() else ""
    whole = pl.select(
        pl.concat_str(
            text.str.slice(0, 10),
            pl.lit("T"),
            parts["hour"].fill_null("00"),
            parts["minute"].fill_null(":00"),
            parts["second"].fill_null(":00"),
            parts["part"].fill_null(""),
            pl.lit(zone),
        )
    ).to_series()
    layout = "%Y-%m-%dT%H:%M:%S%.f" + "%z" * has_zone.any()
    moments = whole.str.to_datetime(layout, strict=False, time_unit="ns" if is_fine else "us")
    _require(moments.is_not_null(), column, what, fail)
    return moments


def _require(good: pl.Series, column: pl.Series, what: str, fail: Fail) -> None:
    good = good.fill_null(False)
    if not good.all():
        row = (~good).arg_max()
        raise fail(
            row, f"{what} is '{column[row]}', expected a number or a date such as 2024-05-31 or 2024-05-31T23:59:59"
        )
