"""The table of a log, whatever it was read from: columns by place, and where each row stands."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import polars as pl


def places(names: list[str], wanted: Collection[str] | None) -> list[int]:
    """Where the columns stand that are asked for by name; all if ``wanted`` is None."""
    return [place for place, name in enumerate(names) if wanted is None or name in wanted]


class Table:
    """Columns of a log.

    Attributes:
      names: of the columns, as they stand in the file; a name may stand there twice.
      frame: the columns, named ``"0"``, ``"1"``, ... by their places; all, or those that were asked for.
      where: row -> where it stands: ``"log.csv, line 7"``.
      is_text: whether all columns are texts of a text file.
      has_header: whether the names stand in line 1 of a text file.
      unquoted: (column, rows [n]) -> bool [n], whether the values stand there without quotes.
      without_a_byte: names of parts that are empty files and were passed over.
      bare: where records without any value stand, which are no rows: ``"log.csv, line 3"``. Blank lines are none.
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
        places: list[int] | None = None,
        bare: Collection[str] = (),
    ):
        """Takes a frame of all columns, or of those at some places."""
        self.names, self.where, self.is_text, self.has_header = names, where, is_text, has_header
        self.bare = tuple(bare)
        self.without_a_byte: tuple[str, ...] = ()
        here = range(len(names)) if places is None else places
        self.frame = frame.rename(dict(zip(frame.columns, map(str, here), strict=True)))
        self.unquoted = unquoted or (lambda column, rows: np.zeros(rows.size, bool))
