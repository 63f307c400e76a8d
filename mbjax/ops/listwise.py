"""Batches of lists of candidates, drawn on the device, and losses over lists.

Lists are stored flat, [N, D] numbers in half precision, and ordered by length. A batch takes one list of each of B
spans of that order, which are of nearly one length, so that its rows have fixed places with next to no padding between
them. So lists of all lengths cost what they hold, shapes are fixed, and each batch has long and short ones.
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
      weight: float32 [N + 1], logarithm of how many candidates a row stands for, where only some were taken.
      begin: int32 [L], the first row of each list.
      length: int32 [L], its rows, ascending.
      group: int32 [L], a group of users that the list belongs to.
    """

    x: types.Array
    positive: types.Array
    weight: types.Array
    begin: types.Array
    length: types.Array
    group: types.Array


class Drawn(NamedTuple):
    """B lists of up to C candidates, R rows together.

    Attributes:
      x: float32 [R, D], the lists one after another, each with the room of the longest of its span.
      place: int32 [B, C], rows of ``x``; R where a list has no room for as many.
      positive, weight, mask: [B, C].
      group: int32 [B].
      worth: float32 [B], lists of a list's span, over the mean span: it is drawn as much more seldom.
    """

    x: types.Array
    place: types.Array
    positive: types.Array
    weight: types.Array
    mask: types.Array
    group: types.Array
    worth: types.Array


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
    """Draws lists of several stores at once.

    With B lists of a batch a store is cut into B spans of equally many lists (but for one), and each span is gone
    through in one random order after another. Losses of lists times their ``worth`` are, over many steps, those of all
    lists alike.

    Attributes:
      sizes: name -> lists of the store, and lists of a batch over all devices, which are no more.
      num_devices: a batch is cut into as many equal slices, padded with lists of nothing.
      steps_per_epoch: batches of an epoch.
      lengths: name -> int [L], rows of the lists, ascending.
    """

    sizes: Mapping[str, tuple[int, int]]
    num_devices: int
    steps_per_epoch: int
    lengths: Mapping[str, np.ndarray]

    def plan(self, key: types.Array, epoch: types.Array | int) -> dict[str, types.Array]:
        """The lists of each step of an epoch: name -> int32 [steps, B]."""
        # One draw and one sort of all stores: compiled once for each they were what a short training waited for. What
        # is drawn at a place depends on the key and the place alone, so that all stores may have room for the largest.
        names, spans, passes = sorted(self.sizes), [], []
        for name in names:
            spans.append(np.diff(_bounds(*self.sizes[name])))
            passes.append(-(-self.steps_per_epoch // int(spans[-1].min())))
        chances = [of.sum() * times for of, times in zip(spans, passes, strict=True)]
        of_epoch = jax.random.fold_in(key, epoch)
        chance = jax.lax.map(
            lambda k: jax.random.uniform(jax.random.fold_in(of_epoch, k), (max(chances),)), np.arange(len(names))
        )
        chance = jnp.concatenate([chance[k, :number] for k, number in enumerate(chances)])
        # Lists of a span stay within it, in an order by chance: each span of each pass is numbered.
        number_of = np.concatenate([np.tile(of, times) for of, times in zip(spans, passes, strict=True)])
        span = np.repeat(np.arange(number_of.size, dtype=np.int32), number_of)
        place = np.concatenate(
            [np.tile(np.arange(of.sum(), dtype=np.int32), times) for of, times in zip(spans, passes, strict=True)]
        )
        orders = jax.lax.sort((span, chance, place), num_keys=2)[2]
        found, step, start = {}, np.arange(self.steps_per_epoch)[:, None], 0
        for name, of, number in zip(names, spans, chances, strict=True):
            inside = step // of * of.sum() + np.cumsum(of) - of + step % of
            found[name] = orders[start + inside]
            start += number
        return found

    def batch(self, store, plan, key, place, device=0) -> ListBatch:
        """The lists of a step on a device; ``key`` is not needed, the plan decides all."""
        del key
        stores, everything = store
        lists, total, counts = {}, {}, {}
        for name, (count, size) in self.sizes.items():
            room, span = self._room(name), np.diff(_bounds(count, size)) * (size / count)
            mine = jnp.arange(room.size) * self.num_devices + device
            slot_of = jnp.minimum(mine, size - 1)
            chosen, worth = plan[name][place][slot_of], jnp.asarray(span, jnp.float32)[slot_of]
            of, padding = stores[name], stores[name].x.shape[0] - 1
            length = jnp.where(mine < size, of.length[chosen], 0)  # the last slices may lack a list
            first, number = np.cumsum(room) - room, int(room.sum())
            slot = np.repeat(np.arange(room.size), room)
            inside = np.arange(number) - first[slot]
            x = of.x[jnp.where(inside < length[slot], of.begin[chosen][slot] + inside, padding)].astype(jnp.float32)
            along = np.arange(room.max())
            mask = along < length[:, None]
            rows = jnp.where(mask, of.begin[chosen][:, None] + along, padding)
            places = np.where(along < room[:, None], first[:, None] + along, number).astype(np.int32)
            lists[name] = Drawn(x, places, of.positive[rows], of.weight[rows], mask, of.group[chosen], worth)
            total[name], counts[name] = jnp.float32(size), jnp.float32(count)
        return ListBatch(lists, everything, jnp.float32(1 / self.num_devices), total, counts)

    def _room(self, name: str) -> np.ndarray:
        """Rows for each list of a slice, the same on all devices: int [local], ascending."""
        count, size = self.sizes[name]
        longest = self.lengths[name][_bounds(count, size)[1:] - 1]
        last = np.arange(1, -(-size // self.num_devices) + 1) * self.num_devices - 1
        return np.asarray(longest[np.minimum(last, size - 1)], np.int64)


def _bounds(count: int, size: int) -> np.ndarray:
    """Where as many spans of lists begin and end, int [size + 1]."""
    return np.arange(size + 1) * count // size


def store(parts: list[Any], group: np.ndarray, longest: int, rng: np.random.Generator) -> Store:
    """Puts lists on the device; of one longer than ``longest`` a sample is kept, up to half of it right answers.

    Args:
      parts: lists one after another, each part with attributes ``x`` [N, D], ``ptr`` int [L + 1], ``positive`` [N].
      group: int [L], of all lists.
      longest: C at most.
    """
    length = np.minimum(np.concatenate([np.diff(part.ptr) for part in parts]), longest)
    total, columns = int(length.sum()), parts[0].x.shape[1]
    x, answers = memory.aligned((total + 1, columns), np.float16), np.zeros(total + 1, np.float32)
    weight = np.zeros(total + 1, np.float32)
    line, end = 0, 0
    while parts:
        part = parts.pop(0)
        kept, lengths = np.ones(part.positive.size, bool), np.diff(part.ptr)
        stands_for = np.zeros(part.positive.size, np.float32)
        for row in np.flatnonzero(lengths > longest):
            span = np.arange(part.ptr[row], part.ptr[row + 1])
            right = span[part.positive[span] > 0]
            if right.size > longest // 2:
                right = rng.choice(right, longest // 2, replace=False)
            wrong = span[part.positive[span] == 0]
            taken = rng.choice(wrong, min(longest - right.size, wrong.size), replace=False)
            kept[span] = False
            kept[right] = kept[taken] = True
            if taken.size:  # else all answers are right ones
                stands_for[taken] = np.log(wrong.size / taken.size)
            length[line + row] = right.size + taken.size  # fewer may be left than there could be
        stop = end + int(kept.sum())
        np.compress(kept, part.x, axis=0, out=x[end:stop])
        answers[end:stop], weight[end:stop] = part.positive[kept], stands_for[kept]
        line, end = line + lengths.size, stop
    x[end] = answers[end] = weight[end] = 0
    begin, order = np.cumsum(length) - length, np.argsort(length, kind="stable")
    of_list = (array[order].astype(np.int32) for array in (begin, length, group))
    return Store(*map(jax.device_put, (x[: end + 1], answers[: end + 1], weight[: end + 1], *of_list)))


def spread(values: types.Array, drawn: Drawn) -> types.Array:
    """Values of rows [..., R] as lists [..., B, C], 0 where there is no row."""
    return jnp.take(values, drawn.place, axis=-1, mode="fill", fill_value=0)


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
