"""Recommendation lists as files: the best unseen items of each user, one Parquet file for each behavior."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import errors, files, topk, types

if TYPE_CHECKING:
    from mbjax import data

SPLITS = ("train", "valid", "test")


def recommend(
    model: types.Model,
    params: types.Params,
    graphs: types.Graphs,
    dataset: data.Dataset,
    *,
    top_k: int,
    out: str | os.PathLike[str],
    behaviors: Sequence[str] | None = None,
    users: Iterable[int | str] | None = None,
    exclude: Sequence[str] = ("train",),
    batch_size: int = 512,
    item_tile: int = 16384,
) -> dict[str, Path]:
    """Writes the best items of each user for each behavior.

    The columns are ``user`` (raw id), ``rank`` (from 1), ``item`` (raw id) and ``score`` (float32, the model's
    ranking score), users in the order asked for. A user with fewer candidates than ``top_k`` gets fewer rows, and
    an item scored ``-inf`` is never recommended.

    Args:
      model: built for the data set.
      params: its parameters.
      graphs: the graphs it asked for.
      dataset: says who is who and what was seen.
      top_k: rows for each user.
      out: the folder; it is made if need be, and files of earlier calls are replaced.
      behaviors: which; None is all.
      users: raw ids, repeated ones are taken once; None is all users.
      exclude: splits whose items of the same behavior count as seen.
      batch_size: users scored at once.
      item_tile: items scored at once.

    Returns:
      Behavior -> the file, ``BEHAVIOR.parquet``; characters that no file name can hold are percent-encoded.

    Raises:
      ConfigError: an unknown behavior or split, or a ``top_k`` below 1.
      DataError: an unknown user.
      TrainingDivergedError: a score is NaN.
    """
    if top_k < 1:
        raise errors.ConfigError(f"top_k is {top_k}: it is at least 1.")
    for behavior in behaviors or ():
        if behavior not in dataset.info.behaviors:
            raise errors.unknown("behavior", behavior, dataset.info.behaviors)
    for split in exclude:
        if split not in SPLITS:
            raise errors.unknown("split", split, SPLITS)
    if users is None:
        chosen = np.arange(dataset.info.num_users, dtype=np.int32)
    else:
        chosen = np.asarray(list(dict.fromkeys(dataset.users.index(list(users)).tolist())), dtype=np.int32)
    if chosen.size == 0:
        raise errors.ConfigError("no users to recommend to: name at least one, or leave the option out for all.")
    tables = topk.encode(model, params, graphs)
    written = {}
    for behavior in dataset.info.behaviors if behaviors is None else dict.fromkeys(behaviors):
        queries = topk.prepare(chosen, _seen(dataset, behavior, exclude), batch_size)
        lists = topk.start(model, params, tables, queries, behavior, top_k, item_tile)
        items, scores = topk.finish(lists, chosen, behavior)
        row, place = np.nonzero(items >= 0)
        frame = pl.DataFrame(
            {
                "user": dataset.users.column(chosen[row]),
                "rank": (place + 1).astype(np.int32),
                "item": dataset.items.column(items[row, place]),
                "score": scores[row, place],
            }
        )
        name = urllib.parse.quote(behavior, safe=" ") + ".parquet"
        written[behavior] = files.write_parquet(frame, Path(out) / name)
    return written


def _seen(dataset: data.Dataset, behavior: str, exclude: Sequence[str]) -> sparse.csr_array:
    seen = sparse.csr_array((dataset.info.num_users, dataset.info.num_items), dtype=np.int32)
    for split in exclude:
        pairs = getattr(dataset, split).get(behavior)
        if pairs is not None:
            seen = seen + (pairs != 0).astype(np.int32)
    return seen.tocsr()
