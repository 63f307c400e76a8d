"""Batches of lists of candidates, drawn on the device, and losses over lists.

Lists are stored flat, [N, D] numbers in half precision, and a batch gathers theirs through a table of places that is
padded to one length. So lists of all lengths cost what they hold, and shapes are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from mbjax import types
from mbjax.ops import memory

ABSENT = -1e9  # logit of what is no candidate


@struct.dataclass
class Store:
    """L lists with answers.

    Attributes:
      x: float16 [N + 1, D]; the last row is of zeros, for padding.
      positive: float32 [N + 1], 1 for a right answer.
      place: int32 [L, C], rows of ``x``; N is padding.
      weight: float32 [L, C], logarithm of how many candidates a place stands for, where only some were taken.
      group: int32 [L], a group of users that the list belongs to.
    """

    x: types.Array
    positive: types.Array
    place: types.Array
    weight: types.Array
    group: types.Array


class Drawn(NamedTuple):
    """B lists: x float32 [B, C, D]; positive, weight and mask [B, C]; group int32 [B]."""

    x: types.Array
    positive: types.Array
    weight: types.Array
    mask: types.Array
    group: types.Array


@struct.dataclass
class ListBatch:
    """Lists of a batch of one device.

    Attributes:
      lists: name -> Drawn.
      everything: name -> what is read whole in every step.
      share: float32 scalar, 1 / number of devices.
      total: name -> float32 scalar, lists of the global batch.
      count: name -> lists of the store.
    """

    lists: dict[str, Drawn]
    everything: dict[str, types.Array]
    share: types.Array
    total: dict[str, types.Array]
    count: dict[str, types.Array]


class ListSampler(NamedTuple):
    """Draws lists of several stores at once, each from orders of all its lists one after another.

    Attributes:
      sizes: name -> lists of the store, and lists of a batch over all devices.
      num_devices: a batch is cut into as many equal slices, padded with lists of nothing.
      steps_per_epoch: batches of an epoch.
    """

    sizes: Mapping[str, tuple[int, int]]
    num_devices: int
    steps_per_epoch: int

    def plan(self, key: types.Array, epoch: types.Array | int) -> dict[str, types.Array]:
        """The lists of each step of an epoch: name -> int32 [steps, B]."""
        found = {}
        for number, (name, (count, size)) in enumerate(sorted(self.sizes.items())):
            wanted = self.steps_per_epoch * size
            passes = -(-wanted // count)
            keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, epoch), number), passes)
            orders = jax.vmap(lambda k, count=count: jax.random.permutation(k, count))(keys)
            found[name] = orders.reshape(-1)[:wanted].reshape(self.steps_per_epoch, size).astype(jnp.int32)
        return found

    def batch(self, store, plan, key, place, device=0) -> ListBatch:
        """The lists of a step on a device; ``key`` is not needed, the plan decides all."""
        del key
        stores, everything = store
        lists, total, counts = {}, {}, {}
        for name, (count, size) in self.sizes.items():
            local = -(-size // self.num_devices)
            mine = device * local + jnp.arange(local)
            chosen = plan[name][place][jnp.minimum(mine, size - 1)]
            of, padding = stores[name], stores[name].x.shape[0] - 1
            places = jnp.where((mine < size)[:, None], of.place[chosen], padding)  # lists of the last slice may lack
            mask = places < padding
            x = of.x[places].astype(jnp.float32)
            lists[name] = Drawn(x, of.positive[places], of.weight[chosen], mask, of.group[chosen])
            total[name], counts[name] = jnp.float32(size), jnp.float32(count)
        return ListBatch(lists, everything, jnp.float32(1 / self.num_devices), total, counts)


def store(parts: list[Any], group: np.ndarray, longest: int, rng: np.random.Generator) -> Store:
    """Puts lists on the device; of a longer one than ``longest`` all right answers and a sample of the others are kept.

    Args:
      parts: lists one after another, each part with attributes ``x`` [N, D], ``ptr`` int [L + 1], ``positive`` [N].
      group: int [L], of all lists.
      longest: C at most.
    """
    length = np.concatenate([np.diff(part.ptr) for part in parts])
    width = int(min(longest, length.max()))
    total, columns = int(np.minimum(length, width).sum()), parts[0].x.shape[1]
    x, answers = memory.aligned((total + 1, columns), np.float16), np.zeros(total + 1, np.float32)
    x[total] = 0
    place = np.full((length.size, width), total, np.int32)
    weight = np.zeros(place.shape, np.float32)
    line, end = 0, 0
    while parts:
        part = parts.pop(0)
        kept, lengths = np.ones(part.positive.size, bool), np.diff(part.ptr)
        for row in np.flatnonzero(lengths > width):
            span = np.arange(part.ptr[row], part.ptr[row + 1])
            right = span[part.positive[span] > 0][: width // 2]
            wrong = span[part.positive[span] == 0]
            taken = rng.choice(wrong, min(width - right.size, wrong.size), replace=False)
            kept[span] = False
            kept[right] = kept[taken] = True
            if taken.size:  # else all answers are right ones
                is_taken = np.isin(span[kept[span]], taken)
                weight[line + row, : is_taken.size][is_taken] = np.log(wrong.size / taken.size)
        number = np.add.reduceat(kept, part.ptr[:-1]) if kept.size else lengths  # no list is empty
        stop = end + int(kept.sum())
        place[line : line + number.size][np.arange(width) < number[:, None]] = np.arange(end, stop)
        np.compress(kept, part.x, axis=0, out=x[end:stop])
        answers[end:stop] = part.positive[kept]
        line, end = line + number.size, stop
    places = np.minimum(place, end)  # a list may have fewer left than it could have had
    x[end] = answers[end] = 0
    arrays = (x[: end + 1], answers[: end + 1], places, weight, group.astype(np.int32))
    return Store(*map(jax.device_put, arrays))


def softmax_loss(logits: types.Array, drawn: Drawn) -> types.Array:
    """Of each list the mean over its right answers of -log softmax, in nats: [B]; 0 for a list without any.

    The other right answers of a list do not compete with an answer.

    Args:
      logits: [B, C].
      drawn: the lists.
    """
    wrong = jnp.where(drawn.mask & (drawn.positive == 0), logits + drawn.weight, ABSENT)
    rest = jax.nn.logsumexp(wrong, axis=1, keepdims=True)
    each = jnp.where(drawn.positive > 0, jax.nn.softplus(rest - logits), 0.0)
    return each.sum(axis=1) / jnp.maximum(drawn.positive.sum(axis=1), 1.0)


def pointwise_loss(logits: types.Array, drawn: Drawn) -> types.Array:
    """Of each list the cross-entropy of all candidates one by one, for each right answer, in nats: [B]."""
    each = jax.nn.softplus(jnp.where(drawn.positive > 0, -logits, logits)) * jnp.exp(drawn.weight) * drawn.mask
    has = drawn.positive.sum(axis=1)
    return jnp.where(has > 0, each.sum(axis=1) / jnp.maximum(has, 1.0), 0.0)


def log_softmax(logits: types.Array, row: types.Array, num_rows: int) -> types.Array:
    """Logarithm of the softmax of each list, flat: float32 [N] of logits [N] with ascending rows [N]."""
    options = {"num_segments": num_rows, "indices_are_sorted": True}
    largest = jax.ops.segment_max(logits, row, **options)
    shifted = logits - largest[row]
    return shifted - jnp.log(jax.ops.segment_sum(jnp.exp(shifted), row, **options))[row]
