"""Batches of training: what a model asks for, as data, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flax import struct

from mbjax.types.matrices import Array


class PairSet(NamedTuple):
    """The pairs that triples of a name are drawn from.

    Attributes:
      behavior: whose training pairs are the positives; every other item is a possible negative.
      without: a behavior whose pairs are taken out of them; its pairs become possible negatives.
      known: further behaviors whose pairs are no negatives.
    """

    behavior: str
    without: str | None = None
    known: tuple[str, ...] = ()


class Levels(NamedTuple):
    """Behaviors as levels of preference: a negative may be an item that the user met by weaker behaviors only.

    Attributes:
      behaviors: from weak to strong.
      weights: one for each. Below the level of an observed pair, level k is chosen with a share of
        weights[k] * (the user's pairs of it); its negatives are those of no stronger level.
      unobserved: probability of an item that the user met by none of them, from 0 to 1. It is also taken where no
        weaker level has anything.
    """

    behaviors: tuple[str, ...]
    weights: tuple[float, ...]
    unobserved: float


class PointSpec(NamedTuple):
    """Observed pairs one by one, each with negatives of its user.

    Attributes:
      behaviors: whose training pairs are drawn. Without levels each pair of their union is drawn once an epoch, with a
        label for each behavior; with levels each pair of each behavior is, by itself.
      negatives: M of each pair: items outside the union, or as the levels say.
      levels: None: none.
    """

    behaviors: tuple[str, ...]
    negatives: int
    levels: Levels | None = None


class BatchSpec(NamedTuple):
    """The batches that a model asks for, as data: users with whole histories or triples drawn from them, or pairs.

    Attributes:
      size: B users (or pairs), over all devices.
      histories: name -> behaviors whose training pairs are united under that name.
      triples: name -> PairSet, from which (user, positive, negative) triples are drawn.
      per_user: M, the most triples that a user gives to each name; one with fewer positives gives as many as those.
      negatives: J, those of each triple.
      told: names of triples whose positives each device is told of the whole batch (``Triples.everyone``).
      users_per_epoch: users drawn for an epoch; 0: all.
      steps_per_epoch: batches of an epoch, whose users come from as many orders of all users as it takes;
        0: as many as one pass needs.
      pass_over: a behavior; in place of ``steps_per_epoch``, an epoch has floor(its training pairs / B) + 1 batches, of
        users who have such pairs.
      points: makes the rows of a batch observed pairs in place of users; an epoch is a pass over the pairs.
      undivided: every device gets all rows of a batch, each with the weight 1 / number of devices, for a loss that is
        no sum over rows, such as one with batch normalization. Contributions add up all the same.
    """

    size: int
    histories: Mapping[str, tuple[str, ...]] = {}
    triples: Mapping[str, PairSet] = {}
    per_user: int = 1
    negatives: int = 1
    told: tuple[str, ...] = ()
    users_per_epoch: int = 0
    steps_per_epoch: int = 0
    pass_over: str | None = None
    points: PointSpec | None = None
    undivided: bool = False


@struct.dataclass
class Ragged:
    """Rows of unequal length, flat: the histories of a batch, or of all users.

    Attributes:
      ptr: int32 [B + 1], ascending from 0; row b owns entries ptr[b]:ptr[b + 1].
      item: int32 [N], ascending inside a row; padding (from ptr[B] on) is ``num_items``.
      row: int32 [N], the row of each entry; padding is B.
    """

    ptr: Array
    item: Array
    row: Array


@struct.dataclass
class Triples:
    """Positives and negatives of the users of a batch.

    Attributes:
      positive: int32 [B, M], drawn with replacement from the user's pairs.
      negative: int32 [B, J M], drawn from the items that are not among them; never one of them. Those of the m-th
        triple are in the columns m, M + m, ...
      weight: float32 [B, M], 1 for a real triple, 0 for padding (items are 0 there).
      total: float32 scalar, the sum of the weights of the *global* batch: the denominator of a mean over triples.
        At least 1.
      everyone: int32 [all B, M], the positives of the *global* batch, where that is asked for and devices are several,
        with -1 for padding; None: not asked for, these are all, or the users are divided.
    """

    positive: Array
    negative: Array
    weight: Array
    total: Array
    everyone: Array | None = None


@struct.dataclass
class Points:
    """The observed pairs of a batch, each with negatives of its user, who is in ``UserBatch.user``.

    Attributes:
      item: int32 [B, 1 + M], the observed item, then the negatives.
      label: float32 [B, behaviors of the ``PointSpec``], 1 for those whose pair it is (with levels: for the one that it
        was drawn from).
      weight: float32 [B, 1 + M], 0 for padding and for the negatives of a user who met all items.
      total: float32 scalar, the sum of the weights of the *global* batch: the denominator of a mean. At least 1.
    """

    item: Array
    label: Array
    weight: Array
    total: Array


class Block(NamedTuple):
    """One of the blocks that the users are divided into, where no device has the tables of all (``mbjax/shards.py``).

    A model is then built for the users of a block: ``info.num_users``, its user tables and ``UserBatch.user`` are of
    the block. ``ops/all_users.py`` says what it needs of the others.

    Attributes:
      users: of all blocks.
      size: users of each block, ``info.num_users``; of the last ones some are padding.
    """

    users: int
    size: int


@struct.dataclass
class UserBatch:
    """Users with what training needs of them, drawn on the device.

    Attributes:
      user: int32 [B]; padding rows hold 0. A row is a user, or an observed pair of one.
      weight: float32 [B], 1 for a real row, 0 for padding; padding rows have empty histories.
      everyone: int32, the users of the *global* batch in its order; -1 is padding. With a block those of the rows of
        this device alone.
      noise: uint32 [B, 2], a random word pair for each row. All randomness of a row is derived from it,
        so that a row draws the same dropout and noise on whichever device it lies.
      history: name -> Ragged, as asked for by ``BatchSpec.histories``.
      triples: name -> Triples, as asked for by ``BatchSpec.triples``.
      points: Points, if asked for by ``BatchSpec.points``.
      block: where the users are divided, whose rows these are; None: they are not.
      total: float32 scalar, the sum of the weights of the *global* batch: the denominator of every mean over rows.
      share: float32 scalar, 1 / number of devices: the factor of terms that do not depend on the batch,
        so that summing over the devices counts them once.
    """

    user: Array
    weight: Array
    everyone: Array
    noise: Array
    history: dict[str, Ragged]
    total: Array
    share: Array
    triples: dict[str, Triples] = struct.field(default_factory=dict)
    points: Points | None = None
    block: Block | None = struct.field(pytree_node=False, default=None)
