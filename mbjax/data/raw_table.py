"""The table of a log, whatever it was read from: columns by place, and where each row stands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl


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
