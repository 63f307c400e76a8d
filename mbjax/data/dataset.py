"""A data set ready for training and evaluation: content after the choice of behaviors and validation rule."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
from scipy import sparse

from mbjax import errors, types
from mbjax.data import content, options, splits, vocabulary


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Interaction matrices of the behaviors in use.

    All matrices are ``scipy.sparse.csr_array`` [U, I], uint8 ones, int32 indices ascending in each row. For every
    behavior the three splits are disjoint.

    Attributes:
      info: sizes and behaviors, funnel order, target last.
      train: of every behavior of ``info``.
      valid: of behaviors with held-out validation pairs; empty for the rule ``none``.
      test: of behaviors with held-out test pairs.
      users, items: raw ids.
      mask_valid: whether validation pairs are masked at test time.
      valid_rule: one of ``options.VALID_RULES``.
      fingerprint: hex SHA-256 of the content before any choice; see ``content.Content.fingerprint``.
      notes: what was counted, dropped or left out, one line each.
      unused: pairs that the files have and no split has, of behaviors that have such: those of ``data.hold_out`` and
        ``data.subsample``, and validation pairs that the rule does not use. They were seen, so no list offers them.
      dropped: users and items of the files that are not among ``users`` and ``items``, by reason.
    """

    info: types.DatasetInfo
    train: dict[str, sparse.csr_array]
    valid: dict[str, sparse.csr_array]
    test: dict[str, sparse.csr_array]
    users: vocabulary.Vocabulary
    items: vocabulary.Vocabulary
    mask_valid: bool
    valid_rule: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    dropped: tuple[content.Dropped, ...] = ()
    unused: dict[str, sparse.csr_array] = dataclasses.field(default_factory=dict)


def assemble(
    name: str, num_users: int, num_items: int, behaviors, pairs, *, choice=None, users=None, items=None, notes=()
) -> Dataset:
    """Makes a data set of pairs.

    Args:
      behaviors: funnel order, the target last.
      pairs: split -> behavior -> integers [n, 2], (user, item); the splits are those of ``content.SPLITS``.
      choice: an ``options.Options`` or anything with its attributes; None means the defaults.
      users, items: vocabularies; None means that indices are the raw ids.
      notes: lines to keep with the data set.

    Raises:
      ConfigError: as ``prepare``.
      ValueError: as ``content.build``.
    """
    built = content.build(name, num_users, num_items, behaviors, pairs, users=users, items=items, notes=notes)
    return prepare(built, choice)


def prepare(source: content.Content, choice=None) -> Dataset:
    """Applies the choice of behaviors, target, hold-out list and validation rule to the content of a data set.

    Raises:
      ConfigError: an unknown behavior or target, or a list or rule that this data set does not have.
      DataError: no behavior has training pairs.
    """
    choice = options.Options() if choice is None else choice
    notes = list(source.notes)
    behaviors = _behaviors(source, choice, notes)
    target = behaviors[-1]

    def of(split: str) -> dict[str, np.ndarray]:
        return {b: source.keys.get(split, {}).get(b, np.empty(0, np.int64)) for b in behaviors}

    train = of("train")
    if choice.hold_out is not None:
        train, left_out = splits.leave_out(choice.hold_out, train, source.hold_out)
        notes += left_out
    valid, test, dropped = splits.separate(train, of("valid"), of("test"))
    inside = of("valid_inside_train")
    # A release with validation files is split by time: what is validated on is not known earlier than what is tested.
    is_time_split = any(keys.size for keys in source.keys.get("valid", {}).values())
    rule = choice.valid or _own_rule(valid, inside, target)
    if rule == "file_inside_train" and source.lost_valid_file:
        rule = "random_one"
        notes.append(_say(f"{source.name}: this copy has no valid_inside_train files; data.valid=random_one is used"))
    train, valid, held = splits.hold_out(
        rule, train, valid, inside, target=target, num_items=source.num_items, seed=choice.seed
    )
    if choice.valid_leaves == "all_behaviors":
        train, visits = splits.leave_everywhere(train, valid)
        held += visits
    train, drawn = splits.subsample(train, choice.subsample, target=target, seed=choice.seed)
    notes += dropped + held + drawn
    shape = (source.num_users, source.num_items)
    return Dataset(
        info=types.DatasetInfo(source.name, source.num_users, source.num_items, behaviors),
        train={b: _matrix(keys, shape) for b, keys in train.items()},
        valid={b: _matrix(keys, shape) for b, keys in valid.items() if keys.size},
        test={b: _matrix(keys, shape) for b, keys in test.items() if keys.size},
        users=source.users,
        items=source.items,
        mask_valid=choice.mask_valid if choice.mask_valid is not None else not is_time_split,
        valid_rule=rule,
        fingerprint=source.fingerprint(),
        notes=tuple(notes),
        dropped=source.dropped,
        unused={b: _matrix(keys, shape) for b, keys in _unused(of, train, valid, test).items() if keys.size},
    )


def _unused(of: Callable[[str], splits.KeysOf], train: splits.KeysOf, valid: splits.KeysOf, test: splits.KeysOf):
    """The keys of each behavior that the source has in some split, and that are in none of the splits made of it."""
    given = {split: of(split) for split in content.SPLITS}
    found = {}
    for behavior, kept in train.items():
        parts = [given[split][behavior] for split in content.SPLITS if given[split][behavior] is not kept]
        rest = content.distinct(np.concatenate([*parts, kept[:0]]))
        for keys in (kept, *(split[behavior] for split in (valid, test) if behavior in split)):
            if keys.size:
                rest = rest[keys[np.minimum(np.searchsorted(keys, rest), keys.size - 1)] != rest]
        found[behavior] = rest
    return found


def _own_rule(valid: dict, inside: dict, target: str) -> str:
    """The rule that the data set's files suggest."""
    if valid[target].size:
        return "file"
    return "file_inside_train" if inside[target].size else "random_one"


def _behaviors(source: content.Content, choice, notes: list[str]) -> tuple[str, ...]:
    """Behaviors in use, the target last; those left out are noted."""
    counts = {b: source.keys.get("train", {}).get(b, np.empty(0)).size for b in source.behaviors}
    if choice.behaviors is not None:
        names = tuple(choice.behaviors)
        for name in names:
            if name not in counts:
                raise errors.unknown("behavior", name, counts)
        if len(set(names)) < len(names) or not names:
            raise errors.ConfigError(
                f"data.behaviors={','.join(names)} must name each behavior once, and at least one."
            )
        if not any(counts[b] for b in names):
            raise errors.DataError(f"{source.name}: none of the behaviors {', '.join(names)} has training pairs.")
    else:
        names = tuple(b for b in source.behaviors if counts[b])
        if not names:
            raise errors.DataError(f"{source.name}: no behavior has training pairs.")
        for behavior in source.behaviors:
            if not counts[behavior]:
                text = f"{source.name}: behavior '{behavior}' has no training pairs and is left out"
                notes.append(_say(f"{text} (data.behaviors chooses otherwise)"))
    target = choice.target
    if target is None:
        target = source.behaviors[-1] if source.behaviors[-1] in names else names[-1]
    elif target not in names:
        raise errors.unknown("target", target, names)
    return tuple(b for b in names if b != target) + (target,)


def _say(note: str) -> str:
    """Warns of what a user should know before training, and returns it as a note."""
    warnings.warn(note, errors.DataWarning, stacklevel=2)
    return note


def _matrix(keys: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    num_users, num_items = shape
    pointers = np.searchsorted(keys, np.arange(num_users + 1, dtype=np.int64) * num_items).astype(np.int32)
    indices = (keys % num_items).astype(np.int32) if keys.size else np.empty(0, np.int32)
    matrix = sparse.csr_array((np.ones(keys.size, np.uint8), indices, pointers), shape=shape)
    matrix.has_sorted_indices = True
    return matrix
