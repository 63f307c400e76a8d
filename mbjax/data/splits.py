"""How pairs are held out: the validation rules of a data set, and the two ways of splitting a log.

Rules work on the sorted distinct keys of ``content`` and know nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mbjax import errors, wording
from mbjax.data import options

KeysOf = dict[str, np.ndarray]


def separate(train: KeysOf, valid: KeysOf, test: KeysOf) -> tuple[KeysOf, KeysOf, list[str]]:
    """Takes known pairs out of what is held out, so that the splits of each behavior are disjoint.

    A held-out pair that stands in the same behavior's training can never be recommended (it is masked), so it would
    only lower the numbers of every model alike: it is dropped from the held-out split, counted and named. A pair that
    is both in ``valid`` and ``test`` is dropped from ``valid``: the test split stays as published.

    Returns:
      valid, test and the notes.
    """
    notes = []

    def without(split: str, held: KeysOf, other: KeysOf, where: str) -> KeysOf:
        kept = {}
        for behavior, keys in held.items():
            known = np.isin(keys, other.get(behavior, keys[:0]), assume_unique=True)
            kept[behavior] = keys[~known]
            if known.any():
                notes.append(
                    f"{split}.{behavior}: {known.sum()} of {keys.size} pairs are also in {where}.{behavior} "
                    f"and were dropped from {split}"
                )
        return kept

    test = without("test", test, train, "train")
    valid = without("valid", valid, train, "train")
    return without("valid", valid, test, "test"), test, notes


def random_one(keys: np.ndarray, num_items: int, seed: int) -> np.ndarray:
    """One pair of every user that has at least two, drawn uniformly (NMTR's rule).

    Args:
      keys: of the target's training pairs, sorted.
      seed: of ``numpy.random.default_rng``; the draw depends on it and on the keys only.

    Returns:
      Sorted keys, at most one a user.
    """
    _, start, count = np.unique(keys // num_items, return_index=True, return_counts=True)
    # One number for every user with a pair, so that a change in one user's history leaves the draws of others alone.
    drawn = start + np.minimum((np.random.default_rng(seed).random(start.size) * count).astype(np.int64), count - 1)
    return keys[drawn[count >= 2]]


def leave_out(name: str, train: KeysOf, listed: KeysOf) -> tuple[KeysOf, list[str]]:
    """Takes the pairs of a list out of training; they are not used at all.

    Args:
      name: of the list.
      train: keys of the behaviors in use.
      listed: behavior -> sorted distinct keys; behaviors that are not in use are passed over.

    Returns:
      The training keys that are left, and notes.

    Raises:
      ConfigError: there is no such list.
    """
    if not listed:
        raise errors.ConfigError(
            f"data.hold_out={name} names a list of training pairs of a prepared folder or of taobao, and this data set "
            "has none. Leave it out."
        )
    rest, notes = dict(train), []
    for behavior, keys in listed.items():
        if behavior in train:
            rest[behavior] = np.setdiff1d(train[behavior], keys, assume_unique=True)
            left = train[behavior].size - rest[behavior].size
            notes.append(f"train.{behavior}: {left} of {keys.size} pairs of {name} were left out")
        else:
            notes.append(f"{name}: its {keys.size} pairs of {behavior} are passed over, a behavior that is not in use")
    return rest, notes


def subsample(train: KeysOf, shares: Mapping[str, float], *, target: str, seed: int) -> tuple[KeysOf, list[str]]:
    """Keeps a random part of the training pairs of auxiliary behaviors (NMTR's Table III).

    A smaller share keeps a subset of what a larger one keeps, and what is drawn of one behavior depends neither on the
    other behaviors nor on the drawing of ``random_one``.

    Args:
      train: keys, by behavior.
      shares: behavior -> share of its pairs that is kept, in (0, 1]; their number is rounded, at least 1.
      target: that may not be among them.
      seed: of ``numpy.random.default_rng``, together with the behavior's name.

    Returns:
      The training keys and notes.

    Raises:
      ConfigError: a behavior that is not in use, the target, or a share outside (0, 1].
    """
    kept, notes = dict(train), []
    for behavior, share in shares.items():
        if behavior == target:
            raise errors.ConfigError(
                f"data.subsample={behavior}={share}: '{behavior}' is the target, whose pairs are all used. Name an "
                "auxiliary behavior, or choose another data.target."
            )
        if behavior not in train:
            raise errors.unknown("behavior in data.subsample", behavior, [b for b in train if b != target])
        if not 0 < share <= 1:
            raise errors.ConfigError(f"data.subsample={behavior}={share}: a share is above 0 and at most 1.")
        keys = train[behavior]
        number = min(keys.size, max(1, round(share * keys.size)))
        order = np.random.default_rng([seed, *behavior.encode()]).permutation(keys.size)
        kept[behavior] = np.sort(keys[order[:number]])
        notes.append(f"train.{behavior}: {number} of {keys.size} pairs are used (data.subsample)")
    return kept, notes


def hold_out(
    rule: str, train: KeysOf, valid: KeysOf, inside: KeysOf, *, target: str, num_items: int, seed: int
) -> tuple[KeysOf, KeysOf, list[str]]:
    """Applies a validation rule.

    Args:
      rule: ``"file"``: the split's own files. ``"file_inside_train"``: listed training pairs. ``"random_one"``: one
        training pair of the target from each user. ``"none"``: no pairs are validated on, those of files are not used.
        ``"into_train"``: those of files are training pairs too, as where a model is trained once more.
      train, valid, inside: keys of the splits ``train``, ``valid`` and ``valid_inside_train``, by behavior.

    Returns:
      The training and the validation keys, disjoint for each behavior if ``train`` and ``valid`` are, and notes.

    Raises:
      ConfigError: the rule needs pairs that the data set does not have.
    """
    if rule == "none":
        return train, {}, []
    if rule == "into_train":
        added = {behavior: keys for behavior, keys in valid.items() if keys.size}
        notes = [f"train.{behavior}: {keys.size} validation pairs were added" for behavior, keys in added.items()]
        return train | {behavior: np.union1d(train[behavior], keys) for behavior, keys in added.items()}, {}, notes
    if rule == "random_one":
        drawn = random_one(train[target], num_items, seed)
        number = wording.count(drawn.size, "user")
        note = f"valid.{target}: one training pair of each of {number}, drawn with data.seed={seed}"
        rest = np.setdiff1d(train[target], drawn, assume_unique=True)
        return train | {target: rest}, {target: drawn}, [note] * (drawn.size > 0)
    if rule == "file":
        if not any(keys.size for keys in valid.values()):
            raise _no_pairs(rule, "valid")
        return train, valid, []
    if rule != "file_inside_train":
        raise errors.unknown("validation rule", rule, options.VALID_RULES)
    if not any(keys.size for keys in inside.values()):
        raise _no_pairs(rule, "valid_inside_train")
    rest, held, notes = dict(train), {}, []
    for behavior, keys in inside.items():
        here = np.isin(keys, train[behavior], assume_unique=True)
        held[behavior] = keys[here]
        rest[behavior] = np.setdiff1d(train[behavior], keys, assume_unique=True)
        if not here.all():
            notes.append(
                f"valid_inside_train.{behavior}: {(~here).sum()} of {keys.size} pairs are not in train.{behavior} "
                "and were left out"
            )
    return rest, held, notes


def leave_everywhere(train: KeysOf, valid: KeysOf) -> tuple[KeysOf, list[str]]:
    """Takes validation pairs out of the training pairs of the other behaviors too: they become unvisited.

    For data sets whose test pairs are in no training pairs: a validation split of visited pairs would choose what does
    well on visited ones.

    Args:
      train, valid: keys, by behavior.

    Returns:
      The training keys that are left, and notes.
    """
    held = np.unique(np.concatenate([*valid.values(), np.empty(0, np.int64)]))
    rest = {behavior: np.setdiff1d(keys, held, assume_unique=True) for behavior, keys in train.items()}
    notes = [
        f"train.{behavior}: {keys.size - rest[behavior].size} validation pairs of other behaviors were left out"
        for behavior, keys in train.items()
        if keys.size > rest[behavior].size
    ]
    return rest, notes


def _no_pairs(rule: str, split: str) -> errors.ConfigError:
    return errors.ConfigError(
        f"data.valid={rule} needs validation pairs ({split}.BEHAVIOR.tsv.gz) of a behavior in use, and this data set "
        "has none. Choose data.valid=random_one or data.valid=none."
    )


def leave_one_out(user: np.ndarray, is_target: np.ndarray) -> np.ndarray:
    """Marks the last target row of every user with at least two distinct ones.

    Args:
      user: int [n], the users of a log's rows in order of time.
      is_target: bool [n], whether the row is of the target.

    Returns:
      bool [n], True where the row goes to test. A user's only target row stays in training.
    """
    rows = np.flatnonzero(is_target)
    # The first occurrence from behind is the last row in time.
    _, behind, count = np.unique(user[rows[::-1]], return_index=True, return_counts=True)
    chosen = np.zeros(user.size, dtype=bool)
    chosen[rows[::-1][behind[count >= 2]]] = True
    return chosen


def time_cut(time: np.ndarray, shares: tuple[float, float] = (0.8, 0.1)) -> np.ndarray:
    """Cuts one global time line, so that no training row is later than a held-out row.

    The cuts are the times of the rows at 80 % and 90 % in order of time, and a row at a cut belongs to the later part:
    rows of one time are never divided, so that train may hold less than its share.

    Args:
      time: numbers [n], in any order.
      shares: of training and validation rows.

    Returns:
      int8 [n]: 0 train, 1 valid, 2 test.
    """
    if not time.size:
        return np.zeros(0, dtype=np.int8)
    ordered = np.sort(time)
    positions = [min(int(np.floor(time.size * share + 1e-9)), time.size - 1) for share in np.cumsum(shares)]
    return np.searchsorted(ordered[positions], time, side="right").astype(np.int8)
