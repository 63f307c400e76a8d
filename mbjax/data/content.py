"""What a data set contains before any choice is made: sizes, behaviors, and the pairs of every split.

Pairs are kept as sorted distinct keys ``user * num_items + item`` (int64), on which splits are set operations.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from mbjax.data import moments, vocabulary

SPLITS = ("train", "valid", "test", "valid_inside_train")
PUBLISHED_SPLITS = ("train", "valid", "test")

Keys = Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Who was left out while a log was read, so that whoever asks for him later can be told.

    Attributes:
      what: ``"user"`` or ``"item"``.
      field: of the configuration, the reason: ``"data.log.require_target_train"``.
      ids: raw ids, sorted.
      value: of the field, as it is written: ``"true"``.
      why: what these users or items lack: ``"no training pair of 'buy'"``.
    """

    what: str
    field: str
    ids: vocabulary.Vocabulary
    value: str = ""
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Content:
    """A data set as it was published or read.

    Attributes:
      name: of the data set.
      num_users, num_items: U and I.
      behaviors: funnel order, the target last; also those without training pairs.
      keys: split -> behavior -> int64 [n], sorted and distinct. Splits are those of ``SPLITS``.
      users, items: raw ids.
      notes: what was counted while reading, one line each.
      lost_valid_file: the data set is known with validation pairs inside training, and this copy lacks them.
      hold_out: behavior -> int64 [n], sorted and distinct: training pairs of the list that was asked for
        (``Options.hold_out``). They are still in ``keys``.
      dropped: users and items that the files have and the vocabularies have not, by reason.
      empty: ``"valid"`` and ``"test"``, where the splitting of a log left no pairs -> why, with a remedy.
      repeats: behavior -> rows of a log that repeated an earlier one of the same user and item and were left out, and
        rows that there were; of behaviors that had such.
      events: split -> behavior -> when its pairs happened, repeated rows too; those of ``"valid"`` may be of training
        pairs that happened again. Empty where that is not known.
    """

    name: str
    num_users: int
    num_items: int
    behaviors: tuple[str, ...]
    keys: Keys
    users: vocabulary.Vocabulary
    items: vocabulary.Vocabulary
    notes: tuple[str, ...] = ()
    lost_valid_file: bool = False
    hold_out: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    empty: Mapping[str, str] = dataclasses.field(default_factory=dict)
    repeats: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    events: moments.Parts = dataclasses.field(default_factory=dict)

    def fingerprint(self) -> str:
        """SHA-256 of the sorted pairs of each split and behavior, with the sizes.

        ``valid_inside_train`` is not in it: those pairs are training pairs that are in already, and the public
        files of Taobao have no such list. So a download and a prepared folder of the same data agree. Neither are
        ``hold_out``, empty splits, the order of the behaviors, times and raw ids.
        """
        digest = hashlib.sha256(f"mbjax data set, {self.num_users} users, {self.num_items} items\n".encode())
        for split in PUBLISHED_SPLITS:
            for behavior, keys in sorted(self.keys.get(split, {}).items()):
                if keys.size:
                    digest.update(f"{split} {behavior} {keys.size}\n".encode())
                    digest.update(keys.astype("<i8").tobytes())
        return digest.hexdigest()

    def pairs(self, split: str, behavior: str) -> np.ndarray:
        """Pairs [n, 2] (user, item), int64, sorted; empty where the split lacks the behavior."""
        return pairs_of(self.keys.get(split, {}).get(behavior, np.empty(0, np.int64)), self.num_items)


def pairs_of(keys: np.ndarray, num_items: int) -> np.ndarray:
    """Pairs [n, 2] of keys [n]."""
    return np.stack([keys // num_items, keys % num_items], axis=1) if keys.size else np.empty((0, 2), np.int64)


def distinct(keys: np.ndarray) -> np.ndarray:
    """The sorted distinct values; several times faster on integers than the hash table of ``numpy.unique``."""
    ordered = np.sort(keys)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if ordered.size else ordered


def build(
    name: str,
    num_users: int,
    num_items: int,
    behaviors,
    pairs: Mapping[str, Mapping[str, np.ndarray]],
    *,
    users: vocabulary.Vocabulary | None = None,
    items: vocabulary.Vocabulary | None = None,
    notes=(),
    lost_valid_file: bool = False,
    hold_out: Mapping[str, np.ndarray] | None = None,
    dropped: tuple[Dropped, ...] = (),
    empty: Mapping[str, str] | None = None,
    repeats: Mapping[str, tuple[int, int]] | None = None,
    events: moments.Parts | None = None,
) -> Content:
    """Makes a ``Content`` of pairs; duplicates are dropped, counted and named in the notes.

    Args:
      pairs: split -> behavior -> integers [n, 2], (user, item), in any order. Readers have checked the ranges.
      users, items: raw ids; None means that indices are the raw ids.
      hold_out: behavior -> integers [n, 2], a list of training pairs.
      dropped, empty, repeats, events: see ``Content``.

    Raises:
      ValueError: for a split that does not exist or an index out of range.
    """
    notes = list(notes)

    def keys_of(split: str, by_behavior: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {}
        for behavior, rows in by_behavior.items():
            rows = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
            if rows.size and (rows.min() < 0 or (rows.max(axis=0) >= (num_users, num_items)).any()):
                raise ValueError(f"{name}: {split}.{behavior} has indices beyond {num_users} users, {num_items} items")
            found[behavior] = distinct(rows[:, 0] * num_items + rows[:, 1])
            if found[behavior].size < len(rows):
                notes.append(f"{split}.{behavior}: {len(rows) - found[behavior].size} duplicate pairs dropped")
        return found

    keys = {}
    for split, by_behavior in pairs.items():
        if split not in SPLITS:
            raise ValueError(f"split '{split}' is none of {', '.join(SPLITS)}")
        keys[split] = keys_of(split, by_behavior)
    return Content(
        name=name,
        num_users=num_users,
        num_items=num_items,
        behaviors=tuple(behaviors),
        keys=keys,
        users=users if users is not None else vocabulary.Vocabulary.range(num_users),
        items=items if items is not None else vocabulary.Vocabulary.range(num_items),
        notes=tuple(notes),
        lost_valid_file=lost_valid_file,
        hold_out=keys_of("hold_out", hold_out or {}),
        dropped=tuple(dropped),
        empty=dict(empty or {}),
        repeats=dict(repeats or {}),
        events=dict(events or {}),
    )
