"""The vocabulary of mbjax: what data, models, training and evaluation say to one another.

Letters in shapes: U users, I items, K behaviors, B rows of a batch, D embedding size, N entries of a
ragged array (a capacity: entries past the last row pointer are padding and are never read).

Behaviors are in funnel order, the target last. Indices are int32 and 0-based; raw ids live in a
``Vocabulary`` and meet the rest only when files are read or written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import struct
from jax.experimental import sparse

Array = jax.Array
Params = Any
Tables = Any


class DatasetInfo(NamedTuple):
    """What a model may know of a data set: sizes and names, never a file.

    Attributes:
      name: of the data set, e.g. ``"jd"``.
      num_users: U.
      num_items: I.
      behaviors: names in funnel order, the target last.
    """

    name: str
    num_users: int
    num_items: int
    behaviors: tuple[str, ...]

    @property
    def target(self) -> str:
        """The behavior that the others lead to, e.g. purchase."""
        return self.behaviors[-1]

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """All behaviors but the target."""
        return self.behaviors[:-1]

    @property
    def num_behaviors(self) -> int:
        """K."""
        return len(self.behaviors)


class GraphSpec(NamedTuple):
    """A sparse matrix that a model asks for, as data.

    Attributes:
      behaviors: whose training pairs are entered; several are united (an entry is 1 if any has it).
      shape: ``"user_item"`` [U, I] or ``"bipartite"`` [U + I, U + I], users first.
      normalisation: ``"none"``, ``"l2_row"`` (rows of length 1), ``"left"`` (D^-1 A),
        ``"right"`` (A D^-1) or ``"symmetric"`` (D^-1/2 A D^-1/2). Empty rows stay zero.
    """

    behaviors: tuple[str, ...]
    shape: str = "user_item"
    normalisation: str = "none"


@struct.dataclass
class Graph:
    """A sparse matrix on the device, with what its products need.

    Attributes:
      matrix: BCOO [R, C], float32, indices sorted by row then column, unique.
      row_ptr: int32 [R + 1]; row r owns entries row_ptr[r]:row_ptr[r + 1].
      transpose: BCOO [C, R], the same matrix transposed, sorted likewise.
      col_ptr: int32 [C + 1], row pointers of ``transpose``.
    """

    matrix: sparse.BCOO
    row_ptr: Array
    transpose: sparse.BCOO
    col_ptr: Array


Graphs = Mapping[str, Graph]


class BatchSpec(NamedTuple):
    """The batches that a model asks for, as data.

    Attributes:
      kind: ``"users"``: rows are users with their whole histories (autoencoders).
      size: B, over all devices.
      histories: name -> behaviors whose training pairs are united under that name.
    """

    kind: str
    size: int
    histories: Mapping[str, tuple[str, ...]]


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
class UserBatch:
    """Users with their training histories, drawn on the device.

    Attributes:
      user: int32 [B]; padding rows hold 0.
      weight: float32 [B], 1 for a real row, 0 for padding; padding rows have empty histories.
      noise: uint32 [B, 2], a random word pair for each row. All randomness of a row is derived from it,
        so that a row draws the same dropout and noise on whichever device it lies.
      history: name -> Ragged, as asked for by ``BatchSpec.histories``.
      total: float32 scalar, the sum of the weights of the *global* batch: the denominator of every mean over rows.
      share: float32 scalar, 1 / number of devices: the factor of terms that do not depend on the batch,
        so that summing over the devices counts them once.
    """

    user: Array
    weight: Array
    noise: Array
    history: dict[str, Ragged]
    total: Array
    share: Array


class Model(NamedTuple):
    """All that training and evaluation know of a model: data and pure functions.

    The loss of a batch is a *sum of contributions*: means over rows divide by ``batch.total`` and terms without
    rows are multiplied by ``batch.share``. So the losses and gradients of the devices add up to those of the
    global batch, and a model never hears of devices.

    Attributes:
      info: the data set it was built for.
      graphs: name -> GraphSpec, the matrices that ``init``, ``loss`` and ``encode`` receive.
      batch: the batches that ``loss`` receives; None if there is nothing to train (anchors).
      init: ``(key, graphs) -> params``.
      loss: ``(params, graphs, batch, key, step) -> (scalar, {name: scalar})``; the parts are contributions too.
      encode: ``(params, graphs) -> tables``, once per evaluation.
      score: ``(params, tables, users [B], start, size, behavior) -> [B, size]``: the ranking scores of
        items start .. start + size - 1; ``start`` may be traced, ``size`` and ``behavior`` (an index into
        ``info.behaviors``) are Python integers; start + size never exceeds ``num_items``.
      tasks: the behaviors that it ranks; empty: all.
    """

    info: DatasetInfo
    graphs: Mapping[str, GraphSpec]
    batch: BatchSpec | None
    init: Callable[[Array, Graphs], Params]
    loss: Callable[[Params, Graphs, Any, Array, Array], tuple[Array, dict[str, Array]]]
    encode: Callable[[Params, Graphs], Tables]
    score: Callable[[Params, Tables, Array, Array | int, int, int], Array]
    tasks: tuple[str, ...] = ()


@struct.dataclass
class TrainState:
    """Everything that training changes, arrays only. Linear: never used again after a step.

    Attributes:
      step: int32 scalar, optimizer steps done.
      params: of the model.
      opt_state: of the optimizer.
      key: the run's random key; the key of a step is ``fold_in(key, step)``.
    """

    step: Array
    params: Params
    opt_state: Any
    key: Array
