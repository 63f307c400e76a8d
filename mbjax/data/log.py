"""From a user's own log to the content of a data set: cleaning, minimum counts, and a split.

The steps, in this order: rows of other behaviors are dropped; the rest is put in order of time (rows of one time keep
their order in the file); of equal interactions (user, item, behavior) the first is kept; users and items with too few
interactions are dropped; the log is split; users without a training pair of the target are dropped. Users and items
that are left get their indices in the order of their raw ids. What each step dropped is in the notes, and who in
``Content.dropped``: a raw id stands under the step that dropped its last row.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
import polars as pl

from mbjax import errors, wording
from mbjax.config import presets
from mbjax.data import cleaning, columns, content, log_events, options, readers, splits, times, vocabulary

_TRAIN, _VALID, _TEST = range(3)


def read(path: str | os.PathLike, layout=None, name: str | None = None) -> content.Content:
    """Reads and splits a log.

    Args:
      path: of a file, a pipe, or a folder of parts.
      layout: an ``options.LogOptions`` or anything with its attributes, such as the section ``data.log`` of a config.
      name: of the data set; None means the file's, without suffixes.

    Raises:
      ConfigError: an option that does not fit the log.
      DataError: a malformed file, or nothing left of it.
    """
    path = pathlib.Path(path)
    layout = resolve(layout)
    notes: list[str] = []
    table = columns.read(path, layout, notes, is_compact=True)
    if not table.height:
        raise errors.DataError(f"{path}: holds {'no rows' if layout.columns else 'a header and no rows'}.")
    if readers.is_pipe(path):
        notes.append(f"log: {path} is a pipe, which is read once; a run needs a file (--dataset=PATH) to be evaluated")
    if layout.min_count_on == "union" and not any(_least(layout)):
        notes.append("log: data.log.min_count_on=union is not used: there is no data.log.min_count to count for")
    behaviors = _behaviors(table, layout, path)
    rows = cleaning.Rows(table, behaviors)
    del table  # texts, of which numbers were made
    part = _clean(rows, layout)
    if not (part[rows.kept] == _TRAIN).any():
        raise errors.DataError(f"{path}: {_no_training(rows, part, layout)} ({rows.summary()})")
    notes.insert(0, rows.summary())
    if rows.cuts:
        notes.insert(1, rows.cuts)
    empty = {}
    if layout.split == "time_80_10_10":
        empty = _empty_times(rows, part)
    elif not (part[rows.kept] == _TEST).any():
        empty = {
            "test": f"no user has two pairs of '{behaviors[-1]}', of which data.log.split=leave_one_out tests the "
            "last. Choose --data.log.split=time_80_10_10"
        }
    notes += [f"log: no {split} pairs: {why}" for split, why in empty.items()]
    return _content(name or name_of(path), rows, part, layout, notes, empty)


def resolve(layout=None) -> options.LogOptions:
    """The options with a preset's values filled in.

    Raises:
      ConfigError: an unknown preset or choice, or an option that contradicts the preset.
    """
    layout = options.LogOptions() if layout is None else layout
    defaults = {f.name: f.default for f in dataclasses.fields(options.LogOptions)}
    fields = {name: getattr(layout, name, default) for name, default in defaults.items()}
    preset = fields["preset"]
    if preset is not None:
        if preset not in presets.PRESETS:
            raise errors.unknown("log preset", preset, presets.PRESETS)
        given = getattr(layout, "model_fields_set", {name for name in fields if fields[name] != defaults[name]})
        for field, value in presets.PRESETS[preset].items():
            if field in given and fields[field] != value:
                raise presets.contradiction(preset, field, fields[field])
        fields |= presets.PRESETS[preset]
    if fields["split"] not in options.LOG_SPLITS:
        raise errors.unknown("data.log.split", fields["split"], options.LOG_SPLITS)
    if fields["time_unit"] not in (None, *times.UNITS):
        raise errors.unknown("data.log.time_unit", fields["time_unit"], times.UNITS)
    if fields["min_count_on"] not in ("target", "union"):
        raise errors.unknown("data.log.min_count_on", fields["min_count_on"], ("target", "union"))
    return options.LogOptions(**fields)


def minimum_counts(user: np.ndarray, item: np.ndarray, behavior: np.ndarray, layout, *, target: int) -> np.ndarray:
    """Marks the rows of users and items that have at least ``layout.min_count`` distinct pairs.

    Pairs are counted in the target, or in the union of all behaviors (a pair counts once, however many behaviors it
    has). Users and items are judged by the same counts, each by its own number where there is one, and dropped together
    with all their rows; with ``min_count_iterative`` this is repeated on what is left until nothing changes.

    Args:
      user, item, behavior: codes [n], from 0.

    Returns:
      bool [n].
    """
    kept = np.ones(user.size, dtype=bool)
    least_user, least_item = _least(layout)
    if max(least_user, least_item) <= 0 or not user.size:
        return kept
    num_users, num_items = int(user.max()) + 1, int(item.max()) + 1
    counted = np.ones(user.size, dtype=bool) if layout.min_count_on == "union" else behavior == target
    while True:
        keys = content.distinct(user[kept & counted].astype(np.int64) * num_items + item[kept & counted])
        has_user = np.bincount(keys // num_items, minlength=num_users) >= least_user
        has_item = np.bincount(keys % num_items, minlength=num_items) >= least_item
        remaining = kept & has_user[user] & has_item[item]
        if not layout.min_count_iterative or (remaining == kept).all():
            return remaining
        kept = remaining


def _least(layout) -> tuple[int, int]:
    """The minimum counts of users and of items."""
    own = (layout.min_user_count, layout.min_item_count)
    return tuple(layout.min_count if number is None else number for number in own)


def _clean(rows: cleaning.Rows, layout: options.LogOptions) -> np.ndarray:
    """Drops what is to be dropped; returns the split of every row, [n], -1 where none was given."""
    used = ",".join(rows.behaviors)
    unused = cleaning.Reason("behaviors", used, "no row of a behavior in use")
    rows.keep(rows.behavior >= 0, unused, unused)
    if layout.deduplicate:
        rows.drop_repeated()
    target = len(rows.behaviors) - 1
    kept = rows.kept.copy()
    kept[kept] = minimum_counts(rows.user[kept], rows.item[kept], rows.behavior[kept], layout, target=target)
    counted = f"pairs of '{rows.target}'" if layout.min_count_on == "target" else "pairs"
    user, item = (
        cleaning.Reason(
            "min_count" if own is None else f"min_{what}_count",
            str(least),
            f"fewer than {least} {counted}, or only {other}s that were dropped",
        )
        for what, other, own, least in zip(
            ("user", "item"),
            ("item", "user"),
            (layout.min_user_count, layout.min_item_count),
            _least(layout),
            strict=True,
        )
    )
    rows.keep(kept, user, item)
    part = np.full(rows.kept.size, -1, np.int8)
    part[rows.kept] = _split(rows, layout)
    if layout.require_target_train:
        has_target = np.zeros(len(rows.ids["user"]), dtype=bool)
        has_target[rows.user[(part == _TRAIN) & (rows.behavior == target)]] = True
        user, item = (
            cleaning.Reason("require_target_train", "true", why)
            for why in (f"no training pair of '{rows.target}'", "only users that were dropped")
        )
        rows.keep(has_target[rows.user], user, item)
    return part


def _split(rows: cleaning.Rows, layout: options.LogOptions) -> np.ndarray:
    """The split of every row that is kept."""
    kept = np.flatnonzero(rows.kept)
    if layout.split != "time_80_10_10":
        user, is_target = rows.user[kept], rows.behavior[kept] == len(rows.behaviors) - 1
        is_last = splits.leave_one_out(user, is_target)
        if layout.time is not None:
            rows.cuts = _ties(rows, kept[is_target], kept[is_last])
        return is_last.astype(np.int8) * 2
    part = splits.time_cut(rows.times.gather(kept).rle_id().to_numpy().astype(np.int64))
    if part.size:
        begin, later = (times.show(rows.times, kept[np.argmax(part >= code)]) for code in (_VALID, _TEST))
        shares = " / ".join(f"{(part == code).mean():.1%}" for code in (_TRAIN, _VALID, _TEST))
        coarse = np.abs(np.bincount(part, minlength=3) / part.size - (0.8, 0.1, 0.1)).max() > 0.01
        rows.cuts = f"log: cut before {begin} and before {later}: {shares} of the rows"
        rows.cuts += " (rows of one time are not divided)" * bool(coarse)
    return part


def _ties(rows: cleaning.Rows, targets: np.ndarray, last: np.ndarray) -> str:
    """Says for how many users the times do not tell which row of the target was the last; "" where they tell it."""
    by_user = targets[np.argsort(rows.user[targets], kind="stable")]
    place = np.flatnonzero(np.isin(by_user, last))  # a user's last row, with another of his before it
    number = int((rows.times.gather(by_user[place]) == rows.times.gather(by_user[place - 1])).sum())
    if not number:
        return ""
    return (
        f"log: {number:,} of {wording.count(last.size, 'user')} with a test pair have two rows of '{rows.target}' at "
        "the time of the last; what stands later in the file is the test pair"
    )


def _no_training(rows: cleaning.Rows, part: np.ndarray, layout: options.LogOptions) -> str:
    """Why nothing is left to train on, and what to do."""
    text = "nothing is left to train on"
    given = part >= 0
    if not given.any():
        return f"{text}: no row is left to split."
    if not (part == _TRAIN).any():
        first = np.flatnonzero(given)[0]
        number = int((rows.times.filter(pl.Series(given)) == rows.times[int(first)]).sum())
        of, time = wording.count(int(given.sum()), "row"), times.show(rows.times, first)
        return (
            f"{text}: {number:,} of {of} have the time {time}, and data.log.split=time_80_10_10 does not "
            "divide rows of one time. Choose --data.log.split=leave_one_out, or give finer times."
        )
    return (
        f"{text}: no user has a training pair of the target '{rows.target}'. Name the behavior to predict last in "
        "data.log.behaviors, or choose --data.log.require_target_train=false."
    )


def _empty_times(rows: cleaning.Rows, part: np.ndarray) -> dict[str, str]:
    """Why a time split has no pairs to validate on or to test on; also where only those of the target are missing."""
    empty = {}
    given = np.flatnonzero(part >= 0)
    begin, later = (times.show(rows.times, given[np.argmax(part[given] >= code)]) for code in (_VALID, _TEST))
    where = {"valid": f"from {begin} to before {later}", "test": f"from {later} on"}
    remedy = {"valid": "Choose --data.valid=random_one or none", "test": "Choose --data.log.split=leave_one_out"}
    for split, code in (("valid", _VALID), ("test", _TEST)):
        number = int((part == code).sum())
        if ((part == code) & rows.kept).any():
            continue
        if not number:
            why = f"the rows at 80 % and at 90 % of the log have the same time {later}"
        else:
            of = wording.count(number, "row")
            why = f"the {of} {where[split]} are of users without a training pair of '{rows.target}'"
            why += " (data.log.require_target_train)"
        empty[split] = f"{why}. {remedy[split]}"
    return empty


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


def name_of(path: pathlib.PurePath) -> str:
    """What a log is called: as its file, without suffixes."""
    return path.name.split(".")[0] or path.name


def _content(name, rows: cleaning.Rows, part, layout, notes, empty) -> content.Content:
    kept = rows.kept
    events = {} if layout.time is None else log_events.of(rows, part, layout)
    if events and layout.split == "time_80_10_10" and (said := times.note(rows.times, layout.time_unit)):
        notes.append(f"log: {said}")
    has = {what: rows.has(what) for what in ("user", "item")}
    place = {what: np.cumsum(found, dtype=np.int32) - 1 for what, found in has.items()}

    def pairs(code: int, k: int) -> np.ndarray:
        of = np.flatnonzero(kept & (part == code) & (rows.behavior == k))
        return np.stack([place["user"][rows.user[of]], place["item"][rows.item[of]]], axis=1)

    held_out = {"leave_one_out": (_TRAIN, _TEST), "time_80_10_10": (_TRAIN, _VALID, _TEST)}[layout.split]
    made = {
        content.PUBLISHED_SPLITS[code]: {b: pairs(code, k) for k, b in enumerate(rows.behaviors)} for code in held_out
    }
    users, items = (vocabulary.Vocabulary(rows.ids[what].filter(pl.Series(has[what]))) for what in ("user", "item"))
    return content.build(
        name,
        len(users),
        len(items),
        rows.behaviors,
        made,
        users=users,
        items=items,
        notes=notes,
        dropped=tuple(rows.dropped),
        empty=empty,
        repeats=rows.repeats,
        events=events,
    )
