"""Prepared folders: ``meta.json`` and, for each split and behavior, ``SPLIT.BEHAVIOR.tsv.gz`` of ``user<TAB>item``.

``meta.json`` must have ``n_users``, ``n_items``, ``behaviors`` (funnel order) and ``target``; ``counts`` (split ->
behavior -> ``pairs``), where given, is compared with the files. Ids are 0-based indices; raw ids may lie beside in
``users.parquet`` and ``items.parquet``. What no name of a file can hold of a behavior's, ``/`` and such, is
percent-encoded. Files ``train_time.BEHAVIOR.tsv.gz`` of ``user<TAB>item<TAB>seconds``, one line an event, say when
training pairs happened; they are used where every behavior with training pairs has one, and ``valid_time`` files beside
them for what happened while validation pairs did. Files of other names are left alone, or are lists of training pairs,
``NAME.BEHAVIOR.tsv.gz``, of which one can be asked for (another paper's hold-out).

Two more fields of ``meta.json`` may be there: ``times``, with the ``unit`` of the times in place of seconds and what
they count ``from`` in place of 0, and ``empty``, why a split has no pairs.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pathlib
import re

import numpy as np
import polars as pl

from mbjax import errors, files, paths
from mbjax.data import content, moments, readers, vocabulary
from mbjax.data import times as clock

META = paths.META
TIMES = {"train": "train_time", "valid": "valid_time"}
"""Split -> how the files begin that say when its pairs happened."""
FINE = ("s", "ms", "us")
"""Units in which times are written."""
_LEVEL = 4  # of gzip: a fifth larger than with the best one, in a fifth of the time
_FILE = re.compile(r"([^.]+)\.(.+?)\.tsv(\.gz)?")


def read(folder: str | os.PathLike, name: str | None = None, hold_out: str | None = None) -> content.Content:
    """Reads a prepared folder.

    Args:
      name: of the data set; None means the one in ``meta.json``, or the folder's.
      hold_out: name of the list of training pairs to read with it.

    Raises:
      ConfigError: there is no such list.
      DataError: naming the file, and the line where there is one.
    """
    folder = pathlib.Path(folder)
    meta = _meta(folder / META)
    num_users, num_items = meta["n_users"], meta["n_items"]
    behaviors = [b for b in meta["behaviors"] if b != meta["target"]] + [meta["target"]]
    counts = {(s, b): c["pairs"] for s, of in meta.get("counts", {}).items() for b, c in of.items()}
    pairs: dict[str, dict[str, np.ndarray]] = {}
    found = _files(folder, (*content.SPLITS, hold_out))
    decoded = {files.name_of(behavior): behavior for behavior in behaviors}
    found = [(split, decoded.get(behavior, behavior), path) for split, behavior, path in found]
    if hold_out is not None:
        _check_list(folder, hold_out, found)
    for split, behavior, path in found:
        rows = readers.read_pairs(path, num_users=num_users, num_items=num_items)
        expected = counts.pop((split, behavior), None)
        if expected is not None and expected != len(rows):
            raise errors.DataError(
                f"{path}: has {len(rows)} pairs, {META} says {expected}. One of them is not the original."
            )
        pairs.setdefault(split, {})[behavior] = rows
    absent = [key for key, count in counts.items() if count]
    if absent:
        split, behavior = absent[0]
        raise errors.DataError(f"{folder}: {split}.{behavior}.tsv.gz is missing; {META} counts its pairs.")
    listed = pairs.pop(hold_out, None)
    notes: list[str] = []
    events = _events(folder, pairs.get("train", {}), decoded, (num_users, num_items), meta.get("times"), notes)
    if "train" not in pairs:
        raise errors.DataError(f"{folder}: holds no train.BEHAVIOR.tsv.gz.")
    return content.build(
        name or meta.get("name") or folder.resolve().name,
        num_users,
        num_items,
        behaviors,
        pairs,
        users=_raw_ids(folder / "users.parquet", num_users),
        items=_raw_ids(folder / "items.parquet", num_items),
        hold_out=listed,
        notes=notes,
        events=events,
        empty=meta.get("empty"),
    )


def _events(folder, train, decoded, sizes: tuple[int, int], written, notes: list[str]) -> moments.Parts:
    """When pairs happened; empty where a file of training is missing, or a pair in one."""
    num_users, num_items = sizes
    first, scale = (written["from"], clock.UNITS[written["unit"]]) if written else (0, 1.0)
    found: dict[str, dict[str, moments.Moments]] = {"train": {}}
    there = {
        split: {decoded.get(name, name): path for _, name, path in _files(folder, (prefix,))}
        for split, prefix in TIMES.items()
    }
    if not there["train"]:
        return {}

    def read_one(path: pathlib.Path) -> moments.Moments:
        user, item, second = readers.read_events(path, num_users=num_users, num_items=num_items)
        return moments.of(user * num_items + item, (second + first) * scale)

    for behavior, rows in train.items():
        if not len(rows):
            continue
        if behavior not in there["train"]:
            notes.append(f"times are not used: there is no {TIMES['train']}.{behavior}.tsv.gz")
            return {}
        path = there["train"][behavior]
        found["train"][behavior] = read_one(path)
        missing = ~np.isin(rows[:, 0] * num_items + rows[:, 1], found["train"][behavior].keys)
        if missing.any():
            notes.append(f"times are not used: {path.name} lacks {missing.sum():,} training pairs")
            return {}
    if there["valid"]:
        found["valid"] = {behavior: read_one(path) for behavior, path in there["valid"].items() if behavior in train}
    return found


def write(source: content.Content, folder: str | os.PathLike) -> None:
    """Writes content as a prepared folder, ``meta.json`` last; ``read`` gives it back, with fingerprint and raw ids.

    When pairs happened is written as whole numbers of the largest unit that loses nothing, down to microseconds, and
    ``meta.json`` says of which. What was said while the content was read, and who was dropped, is not
    written.

    Raises:
      WriteError: a file cannot be written.
    """
    folder = files.make_folder(folder)
    counts: dict[str, dict] = {}
    for split, by_behavior in source.keys.items():
        for behavior, keys in by_behavior.items():
            user, item = keys // source.num_items, keys % source.num_items
            _write_columns(folder, split, behavior, user, item)
            users, items = (content.distinct(column).size for column in (user, item))
            counts.setdefault(split, {})[behavior] = {"pairs": keys.size, "users": users, "items": items}
    known = [(TIMES[split], b, of) for split in TIMES for b, of in source.events.get(split, {}).items()]
    unit = next((unit for unit in FINE[:-1] if all(_is_whole(of.seconds, unit) for _, _, of in known)), FINE[-1])
    whole = [np.rint(of.seconds / clock.UNITS[unit]).astype(np.int64) for _, _, of in known]
    first = min((int(part.min()) for part in whole if part.size), default=0)
    first = min(first, 0)  # the files hold no numbers below 0
    for (name, behavior, of), part in zip(known, whole, strict=True):
        keys = np.repeat(of.keys, np.diff(of.ptr))
        _write_columns(folder, name, behavior, keys // source.num_items, keys % source.num_items, part - first)
    for what in ("users", "items"):
        raw = getattr(source, what)
        if not raw.is_range:
            raw.to_parquet(folder / f"{what}.parquet")
    meta: dict[str, object] = {
        "name": source.name,
        "n_users": source.num_users,
        "n_items": source.num_items,
        "behaviors": list(source.behaviors),
        "target": source.behaviors[-1],
        "counts": counts,
    }
    meta |= {"times": {"unit": unit, "from": first}} if known else {}
    meta |= {"empty": dict(source.empty)} if source.empty else {}
    files.write_text(folder / META, json.dumps(meta, indent=1))


def _is_whole(seconds: np.ndarray, unit: str) -> bool:
    """Whether times are the same once they were whole numbers of a unit."""
    scale = clock.UNITS[unit]
    return bool((np.rint(seconds / scale) * scale == seconds).all())


def _write_columns(folder: pathlib.Path, name: str, behavior: str, *columns: np.ndarray) -> None:
    """Writes whole numbers, a column each."""
    text = io.BytesIO()
    pl.DataFrame({str(k): column for k, column in enumerate(columns)}).write_csv(
        text, separator="\t", include_header=False
    )
    # No time of writing in the header: the same pairs give the same bytes.
    packed = gzip.compress(text.getbuffer(), _LEVEL, mtime=0)
    path = folder / f"{name}.{files.name_of(behavior)}.tsv.gz"
    files.replace(path, functools.partial(pathlib.Path.write_bytes, data=packed))


def _files(folder: pathlib.Path, names) -> list[tuple[str, str, pathlib.Path]]:
    found: dict[tuple[str, str], pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is None or match[1] not in names:
            continue
        if (match[1], match[2]) in found:
            raise errors.DataError(
                f"{folder}: holds both {found[match[1], match[2]].name} and {path.name}. Remove one."
            )
        found[match[1], match[2]] = path
    return [(split, behavior, path) for (split, behavior), path in found.items()]


def _check_list(folder: pathlib.Path, name: str, files) -> None:
    if name in content.SPLITS or name not in {split for split, _, _ in files}:
        matches = filter(None, (_FILE.fullmatch(path.name) for path in folder.iterdir()))
        raise errors.unknown("list of data.hold_out", name, {match[1] for match in matches} - {*content.SPLITS})


def _meta(path: pathlib.Path) -> dict:
    raw = readers.read_bytes(path)
    try:
        meta = json.loads(raw)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise errors.DataError(f"{path}: not JSON ({error}).") from error
    fields = {"n_users": int, "n_items": int, "behaviors": list, "target": str}
    for field, kind in fields.items():
        if not isinstance(meta, dict) or not isinstance(meta.get(field), kind) or isinstance(meta[field], bool):
            raise errors.DataError(
                f"{path}: field '{field}' is missing or no {kind.__name__}; needed: {', '.join(fields)}."
            )
    if not (0 < meta["n_users"] <= readers.MAX_ID and 0 < meta["n_items"] <= readers.MAX_ID):
        raise errors.DataError(
            f"{path}: n_users={meta['n_users']}, n_items={meta['n_items']} must be 1 to {readers.MAX_ID}."
        )
    if meta["target"] not in meta["behaviors"] or len(set(map(str, meta["behaviors"]))) < len(meta["behaviors"]):
        raise errors.DataError(
            f"{path}: behaviors {meta['behaviors']} must be distinct and hold the target '{meta['target']}'."
        )
    return meta


def _raw_ids(path: pathlib.Path, size: int) -> vocabulary.Vocabulary | None:
    if not path.exists():
        return None
    ids = vocabulary.Vocabulary.from_parquet(path)
    if len(ids) != size:
        raise errors.DataError(f"{path}: holds {len(ids)} raw ids, {META} says {size}.")
    return ids
