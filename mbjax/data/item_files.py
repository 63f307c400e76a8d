"""What a user says of items: which there are to list, and of what groups they are.

A file, a table, or what Python has. Ids are those of the data set; ones that it does not have are counted and left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from mbjax import errors, wording
from mbjax.data import handed, histories, id_files, vocabulary

ITEM, GROUP = id_files.ITEM, "group"
_BLANKS = " \t"


class Groups(NamedTuple):
    """The groups of items.

    Attributes:
      code: int32 [I], 0 .. G - 1; G for items of none.
      names: the G groups, as texts, sorted.
      notes: what was left out, one line each.
    """

    code: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...]


def listed(source: Any, items: vocabulary.Vocabulary, column: str = ITEM) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads which items there are.

    Args:
      source: the path of a text file with one raw id a line, or of a CSV, TSV or Parquet file with a column of items
        (or with no other); a polars or pandas table or column; or raw ids.
      items: of the data set.
      column: what a log calls its items; ``"item"`` is looked for as well.

    Returns:
      Bool [I], and lines on ids that are left out.

    Raises:
      ConfigError: a source of another kind, or a file without such a column.
      DataError: a file that cannot be read, or none of the ids is an item of the data set.
    """
    found = id_files.read(source, id_files.Wanted(column), "available")
    place, notes = _places(found, items)
    there = np.zeros(len(items), bool)
    there[place[place >= 0]] = True
    return there, notes


def groups(source: Any, items: vocabulary.Vocabulary, column: str = ITEM) -> Groups:
    """Reads the groups of items, one of each; an empty group is none.

    Args:
      source: the path of a CSV, TSV or Parquet file with a column of items and a column ``group``, or with two columns
        of which one is of items; a polars or pandas table like that; ``{item: group}``; or a pandas column of groups
        whose index is the items.
      items, column: as for ``listed``.

    Raises:
      ConfigError, DataError: as ``listed``; also an item of two groups.
    """
    found = id_files.read(source, id_files.Wanted(column, group=GROUP), "groups")
    place, notes = _places(found, items)
    label = found.group.cast(pl.String, strict=False).str.strip_chars(_BLANKS)
    usable = (place >= 0) & (label.fill_null("") != "").to_numpy()
    names = label.filter(pl.Series(usable)).unique().sort()
    if not len(names):
        raise errors.DataError(f"{found.name}: no item of the run has a group there.")
    row = np.flatnonzero(usable)
    code = label.gather(row).replace_strict(names, pl.Series(range(len(names)), dtype=pl.Int32)).to_numpy()
    whole = np.full(len(items), len(names), np.int32)
    # Backwards, so that the first row of an item counts; any other has to say the same.
    whole[place[row][::-1]] = code[::-1]
    other = np.flatnonzero(whole[place[row]] != code)
    if other.size:
        at = row[other[0]]
        raise errors.DataError(
            f"{found.where(at)}: item '{found.id[int(at)]}' is of group '{label[int(at)]}' and of group "
            f"'{names[int(whole[place[at]])]}'. An item has one group."
        )
    return Groups(whole, tuple(names.to_list()), notes)


def _places(found: id_files.Source, items: vocabulary.Vocabulary) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices of items, -1 for those that are not known, and a line on these."""
    if not len(found.id):
        raise errors.DataError(f"{found.name}: names no item.")
    handed.refuse_mask(found.id, items.series, found.name, "items")
    place = items.places(found.id)
    if found.id.dtype == pl.String and (place < 0).any():
        place = np.where(place < 0, items.places(found.id.str.strip_chars(_BLANKS)), place)
    unknown = found.id.filter(pl.Series(place < 0)).unique(maintain_order=True)
    number = wording.count(len(unknown), "id")
    if (place < 0).all():
        raise errors.DataError(
            f"{found.name}: none of its {number} is an item of the run ({histories.named(unknown)}). They are written "
            f"as in the run's log, such as '{items.series[0] if len(items) else ''}'."
        )
    if not len(unknown):
        return place, ()
    return place, (f"{found.name}: {number} of no item that the run knows left out ({histories.named(unknown)})",)
