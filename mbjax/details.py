"""What final tables hold that takes passes of its own: kinds of candidates alone, and probabilities.

No evaluation during training asks for it: everything is prepared when it is first measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import batching, parallel, parts, probabilities, seen, types

if TYPE_CHECKING:
    from mbjax import data


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
        self._among: dict[str, parts.Parts] = {}
        self._questions: dict[str, probabilities.Questions] = {}

    def measure(
        self,
        model: types.Model,
        params: types.Params,
        tables: types.Tables,
        behavior: str,
        users: np.ndarray,
        masked: sparse.csr_array,
        queries: batching.Queries,
    ) -> tuple[dict[str, Any], pl.DataFrame | None]:
        """Measures one behavior.

        Args:
          model, params: whose scores.
          tables: of ``topk.encode``.
          behavior: which.
          users: int32 [n], those that count.
          masked: [U, I], pairs that are no candidates.
          queries: what ``batching.prepare`` made of users and masked pairs.

        Returns:
          What ``evaluate.Result.table`` names, and the reliability curve if the model gives probabilities.
        """
        held_out = getattr(self.dataset, self.split)[behavior]
        row: dict[str, Any] = {}
        # With all behaviors masked, or none but this one, there are only new candidates: the list is what it was.
        if self.dataset.info.num_behaviors > 1 and self.mask != "all_behaviors":
            if behavior not in self._among:
                familiar = seen.familiar(self.dataset, behavior)
                self._among[behavior] = parts.prepare(held_out, masked, familiar, self.batch_size, self.placement)
            row |= parts.measure(
                model, params, tables, self._among[behavior], behavior, self.ks, item_tile=self.item_tile
            )
        if not model.probabilities:
            return row, None
        if behavior not in self._questions:
            self._questions[behavior] = probabilities.prepare(users, held_out, masked, queries, self.batch_size)
        asked = self._questions[behavior]
        row["probabilities"], curve = probabilities.measure(model, params, tables, asked, behavior, self.item_tile)
        return row, curve
