"""Popularity: every user gets the items that most users met by the evaluated behavior in training.

The anchor without training that every table holds: score of item i for behavior k = number of training pairs of k with
item i, the same for all users. Ties go to the smaller item id, as everywhere.

Differences: none; there is no paper.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pydantic

from mbjax import types
from mbjax.models import untrained


class PopularityConfig(pydantic.BaseModel):
    """Popularity has no options."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def build(config: PopularityConfig, info: types.DatasetInfo, batch_size: int = 0) -> types.Model:
    """Makes the anchor for a data set.

    Args:
      config: empty.
      info: sizes and behaviors.
      batch_size: unused; there is nothing to train.
    """
    del config, batch_size

    def encode(graphs):
        """Counts, float32 [K, I]."""
        return jnp.stack([jnp.diff(graphs[name].col_ptr).astype(jnp.float32) for name in info.behaviors])

    def score(tables, users, start, size, behavior):
        counts = jax.lax.dynamic_slice_in_dim(tables[behavior], start, size)
        return jnp.broadcast_to(counts, (users.shape[0], size))

    graphs = {name: types.GraphSpec((name,)) for name in info.behaviors}
    same = types.SameForAll(lambda params, tables, behavior: tables[behavior])
    return untrained.model(info, graphs, encode, score)._replace(same_for_all=same)
