"""What a data set holds: counts, joint behavior patterns, and what of the held-out part is known already.

Everything is computed from a ``Dataset``, hence after the choice of behaviors and of the validation rule, and comes as
plain data; ``python -m mbjax.data`` prints it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mbjax.data import dataset as datasets

SPLITS = ("train", "valid", "test")

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)

UNION = "(any)"
"""Stands for the union of all behaviors of a split."""


@dataclasses.dataclass(frozen=True)
class Count:
    """Sizes of one split of one behavior.

    Attributes:
      split: train, valid or test.
      behavior: its name, or ``UNION``.
      pairs: distinct (user, item).
      users, items: those with at least one pair.
      density: pairs / (U I).
      per_user: pairs of a user at the ``QUANTILES`` over the users with at least one: a number that occurs, which at
        least that share of them does not exceed. Zeros if there are no pairs.
      mean_per_user: likewise; 0 if there are no pairs.
    """

    split: str
    behavior: str
    pairs: int
    users: int
    items: int
    density: float
    per_user: tuple[int, ...]
    mean_per_user: float


@dataclasses.dataclass(frozen=True)
class Leak:
    """How much of a held-out split can be known from training.

    Attributes:
      split: valid or test.
      behavior: whose pairs are held out.
      pairs: how many.
      under: other behavior -> held-out pairs that stand in its training. A high share means that a model may simply
        list what a user met otherwise.
      shares: other behavior -> ``under`` / ``pairs``.
      visited: held-out pairs that stand in the training of any other behavior.
      visited_share: ``visited`` / ``pairs``.
      new_items: held-out pairs whose item has no training pair of this behavior.
      unseen_items: held-out pairs whose item has no training pair at all.
      new_users: users with held-out pairs and no training pair of this behavior.
      repeats: pairs of the files that the user had met by this very behavior before. They are not among ``pairs``:
        no model may list them, and they were dropped.
      repeat_share: ``repeats`` / (``pairs`` + ``repeats``).
    """

    split: str
    behavior: str
    pairs: int
    under: dict[str, int]
    shares: dict[str, float]
    visited: int
    visited_share: float
    new_items: int
    unseen_items: int
    new_users: int
    repeats: int
    repeat_share: float


@dataclasses.dataclass(frozen=True)
class Statistics:
    """All that ``describe`` finds.

    Attributes:
      counts: for each split and behavior in use, then for their union.
      patterns: ``"train"`` and ``"all"`` (splits) -> see ``patterns``.
      leaks: for each held-out split and behavior with pairs.
      repeats: behavior -> rows of a log that repeated an earlier one of the same user and item and were left out
        before it was split, and rows that there were; of behaviors that had such.
      The other fields are those of the data set.
    """

    name: str
    num_users: int
    num_items: int
    behaviors: tuple[str, ...]
    target: str
    valid_rule: str
    mask_valid: bool
    fingerprint: str
    notes: tuple[str, ...]
    counts: tuple[Count, ...]
    patterns: dict[str, dict[str, int]]
    leaks: tuple[Leak, ...]
    repeats: dict[str, tuple[int, int]]


def describe(dataset: datasets.Dataset) -> Statistics:
    """Counts everything."""
    info = dataset.info
    return Statistics(
        name=info.name,
        num_users=info.num_users,
        num_items=info.num_items,
        behaviors=info.behaviors,
        target=info.target,
        valid_rule=dataset.valid_rule,
        mask_valid=dataset.mask_valid,
        fingerprint=dataset.fingerprint,
        notes=dataset.notes,
        counts=counts(dataset),
        patterns={"train": patterns(dataset), "all": patterns(dataset, SPLITS)},
        leaks=leaks(dataset),
        repeats=dict(dataset.repeats),
    )


def counts(dataset: datasets.Dataset) -> tuple[Count, ...]:
    """Sizes of each split, by behavior and for the union of those in use; splits without pairs are left out."""
    found = []
    for split in SPLITS:
        matrices = _split(dataset, split)
        found += [_count(split, behavior, matrix) for behavior, matrix in matrices.items()]
        if len(matrices) > 1:
            found.append(_count(split, UNION, _union(matrices.values())))
    return tuple(found)


def patterns(dataset: datasets.Dataset, splits: Sequence[str] = ("train",)) -> dict[str, int]:
    """The joint histogram of behaviors (COPF, Figure 6): by which of them did a user meet an item?

    Args:
      splits: whose pairs are united first.

    Returns:
      One digit for each behavior in use, in their order -> number of (user, item): ``"101"`` are pairs of the first
      and third only. Patterns that do not occur are absent; so is the one of zeros. Ascending.
    """
    info = dataset.info
    keys, bits = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for position, behavior in enumerate(info.behaviors):
        parts = [_keys(_split(dataset, s)[behavior]) for s in splits if behavior in _split(dataset, s)]
        distinct = np.unique(np.concatenate([*parts, keys[0]]))
        keys.append(distinct)
        bits.append(np.full(distinct.size, 1 << (info.num_behaviors - 1 - position)))
    _, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    codes = np.zeros(inverse.max(initial=-1) + 1, np.int64)
    np.add.at(codes, inverse, np.concatenate(bits))
    found, number = np.unique(codes, return_counts=True)
    width = info.num_behaviors
    return {format(code, f"0{width}b"): n for code, n in zip(found.tolist(), number.tolist(), strict=True)}


def leaks(dataset: datasets.Dataset) -> tuple[Leak, ...]:
    """What of the held-out pairs can be known from training, for each held-out split and behavior with pairs."""
    trained = {behavior: _keys(matrix) for behavior, matrix in dataset.train.items()}
    num_items = dataset.info.num_items
    seen_items = np.unique(np.concatenate(list(trained.values())) % num_items)
    found = []
    for split in ("valid", "test"):
        for behavior, matrix in _split(dataset, split).items():
            keys, own = _keys(matrix), trained[behavior]
            known = {b: np.isin(keys, other) for b, other in trained.items() if b != behavior}
            visited = int(np.any(list(known.values()), axis=0).sum()) if known else 0
            repeats = dataset.repeated.get(split, {}).get(behavior, 0)
            found.append(
                Leak(
                    split=split,
                    behavior=behavior,
                    pairs=keys.size,
                    under={b: int(mask.sum()) for b, mask in known.items()},
                    shares={b: float(mask.mean()) for b, mask in known.items()},
                    visited=visited,
                    visited_share=visited / keys.size,
                    new_items=int((~np.isin(keys % num_items, own % num_items)).sum()),
                    unseen_items=int((~np.isin(keys % num_items, seen_items)).sum()),
                    new_users=int(np.setdiff1d(keys // num_items, own // num_items).size),
                    repeats=repeats,
                    repeat_share=repeats / (keys.size + repeats),
                )
            )
    return tuple(found)


def _split(dataset: datasets.Dataset, split: str) -> dict[str, sparse.csr_array]:
    """The matrices of a split, in the order of the behaviors; of held-out splits only those with pairs."""
    matrices = getattr(dataset, split)
    return {b: matrices[b] for b in dataset.info.behaviors if b in matrices and (split == "train" or matrices[b].nnz)}


def _keys(matrix: sparse.csr_array) -> np.ndarray:
    """Pairs as ``user * I + item``, int64, ascending."""
    users = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return users * matrix.shape[1] + matrix.indices


def _union(matrices) -> sparse.csr_array:
    total = sum(matrix.astype(np.int32) for matrix in matrices)
    total.data[:] = 1
    return total.tocsr()


def _count(split: str, behavior: str, matrix: sparse.csr_array) -> Count:
    lengths = np.diff(matrix.indptr)
    lengths = lengths[lengths > 0]
    occurring = np.quantile(lengths, QUANTILES, method="inverted_cdf") if lengths.size else np.zeros(len(QUANTILES))
    return Count(
        split=split,
        behavior=behavior,
        pairs=int(matrix.nnz),
        users=int(lengths.size),
        items=int(np.unique(matrix.indices).size),
        density=matrix.nnz / (matrix.shape[0] * matrix.shape[1]),
        per_user=tuple(int(n) for n in occurring),
        mean_per_user=float(lengths.mean()) if lengths.size else 0.0,
    )
