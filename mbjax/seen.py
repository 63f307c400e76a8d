"""What counts as seen: the pairs that are no candidates, where a split is evaluated and where lists are made.

One function decides it for both, by two words.

``exclude`` says which pairs of a behavior count:

* ``"known"``: all that the data set has of it. Training, validation and test pairs, and those in no split: held out by
  a list, left over by ``data.subsample``, of validation files that the rule does not use. For lists that are put to
  use: whoever bought an item is not offered it, whatever the split that the purchase went to.
* ``"train"``: what evaluation masks. Training pairs, and on the test split validation pairs where the data set says so
  (``mask_valid``), but never a pair that the split holds out. For lists that are scored.
* ``"none"``: no pair at all.

``mask`` says whose pairs count: ``"same_behavior"``, those of the behavior that is ranked, or ``"all_behaviors"``,
those of any behavior in use. With ``exclude="train"`` a held-out item that the user met by *another* behavior in
training is masked then: to keep it, and only it, would tell the model the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from mbjax import errors

if TYPE_CHECKING:
    from mbjax import data

EXCLUDE = ("known", "train", "none")
MASKS = ("same_behavior", "all_behaviors")


def pairs(
    dataset: data.Dataset,
    behavior: str,
    *,
    exclude: str = "known",
    mask: str = "same_behavior",
    split: str = "test",
) -> sparse.csr_array:
    """The pairs that are no candidates when a behavior is ranked.

    Args:
      dataset: what was seen.
      behavior: the one that is ranked.
      exclude: of ``EXCLUDE``.
      mask: of ``MASKS``.
      split: the one that is evaluated; only ``exclude="train"`` asks.

    Returns:
      CSR [U, I], a stored entry is a seen pair; indices sorted.

    Raises:
      ConfigError: an unknown word.
    """
    check(exclude, mask)
    shape = (dataset.info.num_users, dataset.info.num_items)
    others = [b for b in dataset.info.behaviors if b != behavior] if mask == "all_behaviors" else []
    if exclude == "none":
        return union((), shape)
    if exclude == "known":
        splits = (dataset.train, dataset.valid, dataset.test, dataset.unused)
        return union((split[b] for b in (behavior, *others) for split in splits if b in split), shape)
    own = [dataset.train[behavior]] if behavior in dataset.train else []
    if split == "test" and dataset.mask_valid and behavior in dataset.valid:
        own.append(dataset.valid[behavior])
    masked = union(own, shape)
    held_out = getattr(dataset, split)
    if behavior in held_out:
        masked = without(masked, held_out[behavior])
    return union([masked, *(dataset.train[b] for b in others if b in dataset.train)], shape) if others else masked


def familiar(dataset: data.Dataset, behavior: str, *, known: bool = False) -> sparse.csr_array:
    """The pairs of users and items that met by another behavior; every other pair is new.

    Own pairs of the behavior decide nothing: one that also met by another is familiar, and whether it may be listed is
    for ``pairs`` to say.

    Args:
      dataset: what was seen.
      behavior: the one that is ranked.
      known: whether pairs of all splits count, as for lists that are put to use; else those of training alone, as in
        evaluation.

    Returns:
      CSR [U, I], a stored entry is a familiar pair; indices sorted.
    """
    splits = (dataset.train, dataset.valid, dataset.test, dataset.unused) if known else (dataset.train,)
    others = [b for b in dataset.info.behaviors if b != behavior]
    shape = (dataset.info.num_users, dataset.info.num_items)
    return union((split[b] for b in others for split in splits if b in split), shape)


def held(dataset: data.Dataset, behavior: str) -> sparse.csr_array:
    """What validation keeps from training: its pairs of a behavior, and those that left it with pairs of others."""
    found = [split[behavior] for split in (dataset.valid, dataset.visits) if behavior in split]
    return union(found, (dataset.info.num_users, dataset.info.num_items))


def describe(dataset: data.Dataset, exclude: str, mask: str) -> str:
    """What lists leave out, in one line."""
    if exclude == "none":
        return "left out of the lists: nothing (exclude=none)"
    by = "by any behavior" if mask == "all_behaviors" else "by the behavior of the list"
    if exclude == "known":
        return f"left out of the lists: all that a user met {by}, in whatever split (exclude=known)"
    valid = any(matrix.nnz for matrix in dataset.valid.values()) and dataset.mask_valid
    splits = "training or validation" if valid else "training"
    return f"left out of the lists, as in the evaluation of the test split: what a user met {by} in {splits}"


def check(exclude: str, mask: str) -> None:
    """Raises ConfigError for a word that is not known."""
    if exclude not in EXCLUDE:
        raise errors.unknown("value of exclude", exclude, EXCLUDE)
    if mask not in MASKS:
        raise errors.unknown("mask", mask, MASKS)


def union(matrices: Iterable[sparse.csr_array], shape: tuple[int, int]) -> sparse.csr_array:
    """The pairs that any of the matrices [U, I] has: CSR, entries > 0, indices sorted."""
    total = sparse.csr_array(shape, dtype=np.int32)
    for matrix in matrices:
        total = total + (matrix != 0).astype(np.int32)
    total.sort_indices()
    return total


def without(matrix: sparse.csr_array, taken: sparse.csr_array) -> sparse.csr_array:
    """The pairs of a matrix that another of the same shape does not have: CSR, indices sorted."""
    left = (matrix - matrix.multiply(taken != 0)).tocsr()
    left.eliminate_zeros()
    left.sort_indices()
    return left
