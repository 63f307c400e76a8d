"""What final tables hold that takes passes of its own: kinds of candidates alone, and probabilities.

No evaluation during training asks for it: everything is prepared when it is first measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import batching, parallel, parts, probabilities, seen, topk, types

if TYPE_CHECKING:
    from mbjax import data


class Asked(NamedTuple):
    """Who is asked about of a behavior.

    Attributes:
      users: int32 [n], those that count.
      masked: [U, I], pairs that are no candidates.
      queries: what ``batching.prepare`` made of both.
    """

    users: np.ndarray
    masked: sparse.csr_array
    queries: batching.Queries


@dataclasses.dataclass
class Details:
    """The details of one split.

    Attributes:
      dataset: the data set.
      split: ``"valid"`` or ``"test"``.
      mask: of ``seen.MASKS``.
      ks: cut-offs.
      batch_size: users scored at once.
      item_tile: items scored at once.
      placement: the devices that the users are divided among.
    """

    dataset: data.Dataset
    split: str
    mask: str
    ks: Sequence[int]
    batch_size: int
    item_tile: int
    placement: parallel.Placement = parallel.ONE

    def __post_init__(self):
        self._among: dict[str, parts.Parts] | None = None
        self._questions: dict[str, probabilities.Questions] | None = None

    def measure(
        self, model: types.Model, params: types.Params, tables: types.Tables, asked: Mapping[str, Asked]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, pl.DataFrame]]:
        """Measures all behaviors.

        Args:
          model, params: whose scores.
          tables: of ``topk.encode``.
          asked: behavior -> who is asked about, the same in every call.

        Returns:
          Behavior -> what ``evaluate.Result.table`` names, and the reliability curves if the model gives probabilities.
        """
        held_out = getattr(self.dataset, self.split)
        rows: dict[str, dict[str, Any]] = {behavior: {} for behavior in asked}
        # With all behaviors masked, or none but this one, there are only new candidates: the list is what it was.
        if self.dataset.info.num_behaviors > 1 and self.mask != "all_behaviors":
            if self._among is None:
                self._among = {}
                queries = [(behavior, of.queries) for behavior, of in asked.items()]
                for some in topk.in_programs(queries, self.dataset.info.num_items):
                    kinds = {
                        b: parts.divide(held_out[b], asked[b].masked, seen.familiar(self.dataset, b)) for b, _ in some
                    }
                    self._among |= parts.prepare(kinds, self.batch_size, self.placement)
            found = parts.measure(model, params, tables, self._among, self.ks, item_tile=self.item_tile)
            rows = {behavior: row | found[behavior] for behavior, row in rows.items()}
        if not model.probabilities:
            return rows, {}
        if self._questions is None:
            self._questions = {
                behavior: probabilities.prepare(of.users, held_out[behavior], of.masked, of.queries, self.batch_size)
                for behavior, of in asked.items()
            }
        counted = probabilities.measure(model, params, tables, self._questions, self.item_tile)
        rows = {behavior: row | {"probabilities": counted[behavior][0]} for behavior, row in rows.items()}
        return rows, {behavior: curve for behavior, (_, curve) in counted.items()}
