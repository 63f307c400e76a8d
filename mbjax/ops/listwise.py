"""Batches of lists of candidates, drawn on the device, and losses over lists.

Lists are stored flat, [N, D] numbers in half precision, and ordered by length. A batch takes one list of each of B
spans of that order, which are of nearly one length, so that its rows have fixed places with next to no padding between
them. So lists of all lengths cost what they hold, shapes are fixed, and each batch has long and short ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from mbjax import types
from mbjax.ops import memory

ABSENT = -1e9  # logit of what is no candidate
SPARE = 1 / 16  # of the places of a batch, how many may be padding so that stores have shapes in common


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
      count: float32 scalar, L. As a value and not a constant of what is compiled, which would be other code for each L.
    """

    x: types.Array
    positive: types.Array
    weight: types.Array
    begin: types.Array
    length: types.Array
    group: types.Array
    count: types.Array


class Drawn(NamedTuple):
    """B lists of up to C candidates, R rows together.

    Attributes:
      x: float32 [R, D], the lists one after another, each with the room of the longest of its span, and padding.
      place: int32 [B, C], rows of ``x``; R where a list has no room for as many.
      positive, weight, mask: [B, C].
      group: int32 [B].
      worth: float32 [B], lists of a list's span, over all: it stands for these. They add up to 1 over all devices.
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
      count: name -> float32 scalar, lists of the store.
    """

    lists: dict[str, Drawn]
    everything: dict[str, types.Array]
    share: types.Array
    count: dict[str, types.Array]


class ListSampler(NamedTuple):
    """Draws lists of several stores at once.

    With B lists of a batch a store is cut into B spans of equally many lists (but for one), and each span is gone
    through in one random order after another. Losses of lists times their ``worth`` are, over many steps, the mean of
    all lists.

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
        lists, counts = {}, {}
        shapes = self._shapes({name: stores[name].x.shape[1] for name in self.sizes})
        for name, (count, size) in self.sizes.items():
            room, span = self._room(name), np.diff(_bounds(count, size)) / count
            number, height, longest = shapes[name]
            room = np.pad(room, (0, height - room.size))  # more lists of nothing
            mine = jnp.arange(room.size) * self.num_devices + device
            slot_of = jnp.minimum(mine, size - 1)
            chosen, worth = plan[name][place][slot_of], jnp.asarray(span, jnp.float32)[slot_of]
            of, padding = stores[name], stores[name].x.shape[0] - 1
            length = jnp.where(mine < size, of.length[chosen], 0)  # the last slices may lack a list
            first, filled = np.cumsum(room) - room, int(room.sum())
            slot = np.repeat(np.arange(room.size), room)
            inside = np.arange(filled) - first[slot]
            # Rows that no list has room for are past the end of any.
            slot, inside = (np.pad(x, (0, number - filled), constant_values=c) for x, c in ((slot, 0), (inside, 2**30)))
            x = of.x[jnp.where(inside < length[slot], of.begin[chosen][slot] + inside, padding)].astype(jnp.float32)
            along = np.arange(longest)
            mask = along < length[:, None]
            rows = jnp.where(mask, of.begin[chosen][:, None] + along, padding)
            places = np.where(along < room[:, None], first[:, None] + along, number).astype(np.int32)
            lists[name] = Drawn(x, places, of.positive[rows], of.weight[rows], mask, of.group[chosen], worth)
            counts[name] = of.count
        return ListBatch(lists, everything, jnp.float32(1 / self.num_devices), counts)

    def _shapes(self, width: Mapping[str, int]) -> dict[str, tuple[int, int, int]]:
        """Rows, lists and length of the longest list of a slice: name -> (R, B, C), of stores of some width D."""
        rooms = {name: self._room(name) for name in self.sizes}
        return alike({name: (int(r.sum()), r.size, int(r.max())) for name, r in rooms.items()}, width)

    def _room(self, name: str) -> np.ndarray:
        """Rows for each list of a slice, the same on all devices: int [local], ascending."""
        count, size = self.sizes[name]
        longest = self.lengths[name][_bounds(count, size)[1:] - 1]
        last = np.arange(1, -(-size // self.num_devices) + 1) * self.num_devices - 1
        return np.asarray(longest[np.minimum(last, size - 1)], np.int64)


def alike(shapes: Mapping[str, tuple[int, int, int]], width: Mapping[str, int]) -> dict[str, tuple[int, int, int]]:
    """Larger shapes, of which there are fewer, for a little padding.

    What a program does with arrays of the same shapes is compiled once, however often it does so.

    Args:
      shapes: name -> rows R, lists B and length of the longest list C.
      width: name -> D; only what is as wide can have the same shape.
    """

    def places(shape):
        return shape[0] + shape[1] * shape[2]

    def together(one, other):
        """The shape for two groups, and how many places more they have with it."""
        shape = tuple(map(max, groups[one], groups[other]))
        sizes = (len(one) * (places(shape) - places(groups[one])), len(other) * (places(shape) - places(groups[other])))
        return sum(sizes), shape

    groups = {(name,): tuple(shape) for name, shape in shapes.items()}
    spare = SPARE * sum(map(places, shapes.values()))
    while True:
        pairs = [pair for pair in itertools.combinations(groups, 2) if width[pair[0][0]] == width[pair[1][0]]]
        best = min(pairs, key=lambda pair: together(*pair)[0], default=None)
        if best is None or together(*best)[0] > spare:
            return {name: shape for names, shape in groups.items() for name in names}
        more, shape = together(*best)
        spare -= more
        groups = {names: of for names, of in groups.items() if names not in best} | {best[0] + best[1]: shape}


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
    arrays = (x[: end + 1], answers[: end + 1], weight[: end + 1], *of_list, np.float32(length.size))
    return Store(*map(jax.device_put, arrays))


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
