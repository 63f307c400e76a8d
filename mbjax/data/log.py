"""From a user's own log to the content of a data set: cleaning, minimum counts, and a split.

The steps, in this order: rows of other behaviors are dropped; the rest is put in order of time (rows of one time keep
their order in the file); of equal interactions (user, item, behavior) the first is kept; users and items with too few
interactions are dropped; the log is split; users without a training pair of the target are dropped. Users and items
that are left get their indices in the order of their raw ids. What each step dropped is in the notes.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
import polars as pl

from mbjax import errors
from mbjax.data import columns, content, options, splits, vocabulary

PRESETS = {
    # The recipe of the slides of BVAE (RecSys 2023) for JD and UB. They give no minimum count: it stays an option.
    "bvae": {"split": "time_80_10_10", "deduplicate": True, "require_target_train": True},
}


def read(path: str | os.PathLike, layout=None, name: str | None = None) -> content.Content:
    """Reads and splits a log.

    Args:
      layout: an ``options.LogOptions`` or anything with its attributes, such as the section ``data.log`` of a config.
      name: of the data set; None means the file's, without suffixes.

    Raises:
      ConfigError: an option that does not fit the log.
      DataError: a malformed file, or nothing left of it.
    """
    path = pathlib.Path(path)
    layout = resolve(layout)
    table = columns.read(path, layout)
    if not table.height:
        raise errors.DataError(f"{path}: holds a header and no rows.")
    notes = [f"log: {table.height:,} rows"]
    behaviors = _behaviors(table, layout, path)
    others = table.filter(~pl.col("behavior").is_in(behaviors))
    if others.height:
        left = ", ".join(others["behavior"].unique().sort().to_list()[:10])
        notes.append(f"log: {others.height:,} rows of other behaviors left out ({left})")
    table = table.filter(pl.col("behavior").is_in(behaviors)).sort("time", maintain_order=True)
    if layout.deduplicate:
        rows = table.height
        table = table.unique(subset=["user", "item", "behavior"], keep="first", maintain_order=True)
        if table.height < rows:
            notes.append(f"log: {rows - table.height:,} repeated interactions dropped, the first of each kept")
    user, item = _codes(table["user"]), _codes(table["item"])
    order = {name: k for k, name in enumerate(behaviors)}
    behavior = table["behavior"].replace_strict(order, return_dtype=pl.Int64).to_numpy()
    kept = minimum_counts(user, item, behavior, layout, target=len(behaviors) - 1)
    _note_dropped(notes, "min_count", user, item, np.ones(user.size, bool), kept)
    part = np.full(user.size, -1, np.int8)
    part[kept] = _split(layout.split, user[kept], behavior[kept] == len(behaviors) - 1, table["time"].to_numpy()[kept])
    if layout.require_target_train:
        before = kept.copy()
        has_target = np.bincount(user[(part == 0) & (behavior == len(behaviors) - 1)], minlength=user.max() + 1) > 0
        kept &= has_target[user]
        _note_dropped(notes, "require_target_train", user, item, before, kept)
    if not ((part == 0) & kept).any():
        raise errors.DataError(f"{path}: nothing is left to train on ({'; '.join(notes)}).")
    return _content(name or path.name.split(".")[0] or path.name, table, behaviors, behavior, part, kept, notes)


def resolve(layout=None) -> options.LogOptions:
    """The options with a preset's values filled in.

    Raises:
      ConfigError: an unknown preset or choice.
    """
    layout = options.LogOptions() if layout is None else layout
    fields = {f.name: getattr(layout, f.name, f.default) for f in dataclasses.fields(options.LogOptions)}
    if fields["preset"] is not None:
        if fields["preset"] not in PRESETS:
            raise errors.unknown("log preset", fields["preset"], PRESETS)
        fields |= PRESETS[fields["preset"]]
    if fields["split"] not in options.LOG_SPLITS:
        raise errors.unknown("data.log.split", fields["split"], options.LOG_SPLITS)
    if fields["min_count_on"] not in ("target", "union"):
        raise errors.unknown("data.log.min_count_on", fields["min_count_on"], ("target", "union"))
    return options.LogOptions(**fields)


def minimum_counts(user: np.ndarray, item: np.ndarray, behavior: np.ndarray, layout, *, target: int) -> np.ndarray:
    """Marks the rows of users and items that have at least ``layout.min_count`` distinct pairs.

    Pairs are counted in the target, or in the union of all behaviors (a pair counts once, however many behaviors it
    has). Users and items are judged by the same counts and dropped together with all their rows; with
    ``min_count_iterative`` this is repeated on what is left until nothing changes.

    Args:
      user, item, behavior: codes [n], from 0.

    Returns:
      bool [n].
    """
    kept = np.ones(user.size, dtype=bool)
    if layout.min_count <= 0 or not user.size:
        return kept
    num_users, num_items = int(user.max()) + 1, int(item.max()) + 1
    counted = np.ones(user.size, dtype=bool) if layout.min_count_on == "union" else behavior == target
    while True:
        keys = content.distinct(user[kept & counted].astype(np.int64) * num_items + item[kept & counted])
        has_user = np.bincount(keys // num_items, minlength=num_users) >= layout.min_count
        has_item = np.bincount(keys % num_items, minlength=num_items) >= layout.min_count
        remaining = kept & has_user[user] & has_item[item]
        if not layout.min_count_iterative or (remaining == kept).all():
            return remaining
        kept = remaining


def _behaviors(table: pl.DataFrame, layout: options.LogOptions, path: pathlib.Path) -> tuple[str, ...]:
    found = dict(table["behavior"].value_counts(sort=True).iter_rows())
    if not layout.behaviors:
        listed = ", ".join(f"{name} ({count:,})" for name, count in list(found.items())[:10])
        raise errors.ConfigError(
            f"{path}: data.log.behaviors must give the funnel order, the target last. The log has {listed}."
        )
    for name in layout.behaviors:
        if name not in found:
            raise errors.unknown(f"behavior (data.log.behaviors) of {path.name}", name, found)
    if len(set(layout.behaviors)) < len(layout.behaviors):
        raise errors.ConfigError(f"data.log.behaviors={','.join(layout.behaviors)} names a behavior twice.")
    return tuple(layout.behaviors)


def _codes(column: pl.Series) -> np.ndarray:
    """Position of each value among the sorted distinct values, int64."""
    return column.rank("dense").to_numpy().astype(np.int64) - 1


def _split(split: str, user: np.ndarray, is_target: np.ndarray, time: np.ndarray) -> np.ndarray:
    """0 train, 1 valid, 2 test for every row; rows are in order of time."""
    if split == "time_80_10_10":
        return splits.time_cut(time)
    return splits.leave_one_out(user, is_target).astype(np.int8) * 2


def _content(name, table, behaviors, behavior, part, kept, notes) -> content.Content:
    table = table.filter(pl.Series(kept))
    user, item, behavior, part = _codes(table["user"]), _codes(table["item"]), behavior[kept], part[kept]
    pairs = np.stack([user, item], axis=1)
    made = {
        split: {b: pairs[(part == code) & (behavior == k)] for k, b in enumerate(behaviors)}
        for code, split in enumerate(content.PUBLISHED_SPLITS)
        if code != 1 or (part == 1).any()
    }
    users, items = (vocabulary.Vocabulary(table[field].unique().sort()) for field in ("user", "item"))
    return content.build(name, len(users), len(items), behaviors, made, users=users, items=items, notes=notes)


def _note_dropped(notes, step: str, user: np.ndarray, item: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    if before.sum() > after.sum():
        users, items = (content.distinct(c[before]).size - content.distinct(c[after]).size for c in (user, item))
        notes.append(f"log: {step} dropped {users:,} users, {items:,} items, {before.sum() - after.sum():,} rows")
