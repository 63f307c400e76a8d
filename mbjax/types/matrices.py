"""Sizes and names of a data set, and its sparse matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from flax import struct
from jax.experimental import sparse

Array = jax.Array


class DatasetInfo(NamedTuple):
    """What a model may know of a data set: sizes and names, never a file.

    Attributes:
      name: of the data set, e.g. ``"jd"``.
      num_users: U.
      num_items: I.
      behaviors: names in funnel order, the target last.
      times: whether it is known when pairs happened.
      later: whether the validation pairs that it comes with happened after all training pairs, as of a log that is cut
        in time.
      passive: of the users, how many training does not have: the last ones.
    """

    name: str
    num_users: int
    num_items: int
    behaviors: tuple[str, ...]
    times: bool = False
    later: bool = False
    passive: int = 0

    @property
    def trained_users(self) -> int:
        """The users of training, who are the first ones."""
        return self.num_users - self.passive

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
      behaviors: whose training pairs are entered.
      shape: ``"user_item"`` [U, I], ``"bipartite"`` [U + I, U + I], users first, or ``"item_item"`` [I, I], 1 for two
        items that any user has both of, by whichever of the behaviors, and nothing on the diagonal.
      normalization: ``"none"``, ``"l2_row"`` (rows of length 1), ``"left"`` (D^-1 A),
        ``"right"`` (A D^-1) or ``"symmetric"`` (D^-1/2 A D^-1/2). Empty rows stay zero.
      entries: how several behaviors become one matrix: ``"union"`` (1 if any has the pair), ``"count"`` (how many
        have it) or ``"normalized_sum"`` (each normalized by itself, then added).
      self_loops: adds the identity to a bipartite matrix before it is normalized.
      parts: the pairs of a bipartite matrix are dealt into so many parts, by a hash of the pair.
      part: which of the parts is entered, its values times ``parts``, so that the mean of all parts is the matrix.
    """

    behaviors: tuple[str, ...]
    shape: str = "user_item"
    normalization: str = "none"
    entries: str = "union"
    self_loops: bool = False
    parts: int = 1
    part: int = 0


@struct.dataclass
class Graph:
    """A sparse matrix on the device, with what its products need.

    Attributes:
      matrix: BCOO [R, C], float32, indices sorted by row then column, unique.
      row_ptr: int32 [R + 1]; row r owns entries row_ptr[r]:row_ptr[r + 1].
      transpose: BCOO [C, R], the same matrix transposed, sorted likewise.
      col_ptr: int32 [C + 1], row pointers of ``transpose``.
      partial: of a matrix that is divided among devices by user, the first row of its product that each device has a
        part of only, and the same of the product with the transpose; None: it has all of every row.
    """

    matrix: sparse.BCOO
    row_ptr: Array
    transpose: sparse.BCOO
    col_ptr: Array
    partial: tuple[int | None, int | None] = struct.field(pytree_node=False, default=(None, None))


Graphs = Mapping[str, Any]  # Graph, or what ``Model.prepare`` made
