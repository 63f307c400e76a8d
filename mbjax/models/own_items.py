r"""Own items: every user gets the items that he met by other behaviors, those met further down the funnel first.

An anchor without training. The auxiliary behaviors of the evaluated behavior k are all the others, in funnel order;
with :math:`m_{jui} = 1` where user u met item i by the j-th of them (j = 0, 1, ...), the level of a pair is

.. math:: \ell_{ui} = \sum_j 2^j m_{jui}                        (``level="funnel"``)
.. math:: \ell_{ui} = \sum_j m_{jui}                            (``level="count"``)
.. math:: \ell_{ui} = \max_j \, (j + 1) \, m_{jui}              (``level="most_downstream"``)

Items are ranked by level, then by their number of training pairs of k, then by the smaller id. What a user met by k
itself is no candidate, as everywhere. So the list begins with "viewed and carted", goes on with "carted only" and
"viewed only", and ends as ``popularity``. With a single behavior it is ``popularity``.

The score is an integer that float32 holds exactly, :math:`\ell_{ui} P + p_i`: p_i = 0 .. P - 1 is the place of the
item's count among the P different counts.

Differences: the rule was stated for the target; here it also ranks an auxiliary behavior, from all the others.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import pydantic

from mbjax import errors, types
from mbjax.models import untrained
from mbjax.ops import rows

EXACT = 2**24
"""All integers up to here are exact in float32."""


class OwnItemsConfig(pydantic.BaseModel):
    """How the behaviors by which a user met an item become its level."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    level: Literal["funnel", "count", "most_downstream"] = pydantic.Field(
        "funnel",
        description="what comes first among the items met by other behaviors; funnel: the sum of 1, 2, 4, ... over "
        "them, upstream to downstream; count: their number; most_downstream: the furthest of them",
    )


def build(config: OwnItemsConfig, info: types.DatasetInfo, batch_size: int = 0) -> types.Model:
    """Makes the anchor for a data set.

    Args:
      config: the rule of levels.
      info: sizes and behaviors.
      batch_size: unused; there is nothing to train.
    """
    del batch_size

    def encode(graphs):
        """The histories of each behavior, and the places of the items' counts with their number."""
        _check_exact(config, info, max(graphs[name].matrix.nse for name in info.behaviors))
        return {
            "histories": [(graphs[name].row_ptr, graphs[name].matrix.indices[:, 1]) for name in info.behaviors],
            "popularity": [dense_rank(jnp.diff(graphs[name].col_ptr)) for name in info.behaviors],
        }

    def score(tables, users, start, size, behavior):
        others = [history for other, history in enumerate(tables["histories"]) if other != behavior]
        level = jnp.zeros((users.shape[0], size), jnp.float32)
        for place, (row_ptr, item) in enumerate(others):  # upstream to downstream
            met = rows.met(row_ptr, item, users, start, size)  # [B, size]
            if config.level == "most_downstream":
                level = jnp.maximum(level, (place + 1) * met)
            else:
                level += met * (2**place if config.level == "funnel" else 1)
        place, number = tables["popularity"][behavior]
        return level * number + jax.lax.dynamic_slice_in_dim(place, start, size)

    return untrained.model(info, {name: types.GraphSpec((name,)) for name in info.behaviors}, encode, score)


def dense_rank(counts: types.Array) -> tuple[types.Array, types.Array]:
    """Places of numbers among the different ones: float32 [I], 0 for the smallest, and how many there are.

    Args:
      counts: int [I], at least one.
    """
    ascending = jnp.sort(counts)
    place = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(ascending[1:] != ascending[:-1], dtype=jnp.int32)])
    return place[jnp.searchsorted(ascending, counts)].astype(jnp.float32), (place[-1] + 1).astype(jnp.float32)


def _check_exact(config: OwnItemsConfig, info: types.DatasetInfo, num_pairs: int) -> None:
    """Raises IncompatibleError if scores could exceed what float32 holds exactly; sizes only, so that it may trace."""
    others = info.num_behaviors - 1
    levels = 2**others if config.level == "funnel" else others + 1
    # P different counts are at least 0 + 1 + ... + (P - 1) pairs.
    most = min(info.num_items, (1 + math.isqrt(1 + 8 * num_pairs)) // 2)
    if levels * most > EXACT:
        raise errors.IncompatibleError(
            f"model.level={config.level} makes {levels} levels of {info.num_behaviors} behaviors, too many to rank "
            "exactly. Use model.level=count, or fewer behaviors (data.behaviors)."
        )
