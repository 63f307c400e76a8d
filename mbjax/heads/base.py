"""What a head is: from one representation per behavior to a score for each task.

A head works in two steps. ``sides`` makes, for a task, what depends on the user alone and on the item alone; ``score``
combines a user's part with an item's. The second is written once, for sampled pairs and for whole blocks of the
ranking, in terms of ``ops.pairs``. So a head whose score is made of inner products ranks all items by matrix products.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import gating, pairs

XAVIER = nn.initializers.glorot_uniform()
# Of matrices [N, R, C] side by side, each as if it were alone.
STACKED_XAVIER = nn.initializers.glorot_uniform(batch_axis=(0,))
Pairing = pairs.Pairs | pairs.Block


class Sides(NamedTuple):
    """What a task's score needs: trees of arrays with one row for each user and each item."""

    user: Any
    item: Any


class Head(nn.Module):
    """Base of the heads.

    Attributes:
      config: the section of the configuration.
      info: sizes and behaviors.
      size: D, width of the representations.
    """

    config: Any
    info: types.DatasetInfo
    size: int

    @staticmethod
    def graphs(config: Any, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """The matrices that ``sides`` needs."""
        del config, info
        return {}

    def sides(
        self, encoding: base.Encoding, graphs: types.Graphs, task: int, users: types.Array | None = None
    ) -> Sides:
        """The user's and the item's part of a task's score.

        Args:
          encoding: of the backbone.
          graphs: as asked for.
          task: index into ``info.behaviors``.
          users: int32 [B]; None: all.
        """
        raise NotImplementedError

    def score(self, task: int, sides: Sides, pairing: Pairing) -> types.Array:
        """Scores [B, M] or [B, T], before the model's scale."""
        raise NotImplementedError

    def gates(self, task: int, sides: Sides, pairing: Pairing) -> types.Array | None:
        """Weights of the experts, [B, M or T, experts], summing to 1; None for a head without gates."""
        del task, sides, pairing
        return None

    def slots(self, task: int) -> tuple[str, ...]:
        """The names of the experts of a task in the order of ``gates``; own first, unless a head says otherwise."""
        return tuple(self.info.behaviors[j] for j in own_first(task, self.info.num_behaviors))

    def penalty(self) -> types.Array | float:
        """The sum of squares of its regularized weights."""
        return 0.0

    def rows(self, table: types.Array, users: types.Array | None) -> tuple[types.Array, types.Array]:
        """The user rows asked for and all item rows of a table [U + I, D]."""
        user, item = base.users_items(table, self.info)
        return (user if users is None else user[users]), item


def own_first(task: int, num_behaviors: int) -> tuple[int, ...]:
    """The order of experts in which slot 0 is the task's own and the others follow in funnel order."""
    return (task, *(j for j in range(num_behaviors) if j != task))


GateSlots = Literal["own_first", "behavior"]
GATE_SLOTS = (
    "what a column of the gate stands for: the task's own expert and the others in turn (program), or behaviors"
)


def in_slots(kind: GateSlots, task: int, num_behaviors: int) -> tuple[int, ...]:
    """The behaviors in the order of the gate's slots."""
    return own_first(task, num_behaviors) if kind == "own_first" else tuple(range(num_behaviors))


class PairGate(nn.Module):
    """A softmax gate on [user || item]: see ``ops.gating``.

    Attributes:
      size: D, of the rows.
      experts: J, number of gates.
    """

    size: int
    experts: int

    def setup(self):
        self.kernel = self.param("kernel", XAVIER, (2 * self.size, self.experts))
        self.bias = self.param("bias", nn.initializers.zeros, (self.experts,))

    def __call__(self, user: types.Array, item: types.Array) -> tuple[types.Array, types.Array]:
        """The parts [B, J] and [I, J] of the logits, of rows [B, D] and [I, D]."""
        return gating.logits(self.kernel, self.bias, user, item)

    def penalty(self) -> types.Array:
        """The sum of squares of the kernel."""
        return jnp.sum(jnp.square(self.kernel))
