r"""Own items: every user gets the items that he met by other behaviors, those met further down the funnel first.

An anchor without training. The auxiliary behaviors of the evaluated behavior k are all the others, in funnel order;
with :math:`m_{jui} = 1` where user u met item i by the j-th of them (j = 0, 1, ...), the level of a pair is

.. math:: \ell_{ui} = \sum_j 2^j m_{jui}                        (``level="funnel"``)
.. math:: \ell_{ui} = \sum_j m_{jui}                            (``level="count"``)
.. math:: \ell_{ui} = \max_j \, (j + 1) \, m_{jui}              (``level="most_downstream"``)

Items are ranked by level, then by their number of training pairs of k, then by the smaller id. What a user met by k
itself is no candidate, as everywhere. So the list begins with "viewed and carted", goes on with "carted only" and
"viewed only", and ends as ``popularity``. With a single behavior it is ``popularity``.

``level="conversion"`` asks of the items that the user met how often such an item leads to k at all, in place of how he
met them. With :math:`n_{ki}` training pairs of k with item i, and j = 0 the most upstream of the other behaviors,

.. math:: c_i = \frac{n_{ki} + 1}{n_{0i} + 5}

orders them, then the smaller id; the items that he did not meet follow by popularity. The 1 and the 5 keep an item of
one view and one purchase behind one of ninety and a hundred.

The score is an integer that float32 holds exactly, :math:`\ell_{ui} P + p_i`: p_i = 0 .. P - 1 is the place of the
item's count among the P different counts. For conversion it is P + the place of c_i among the different ones where the
user met the item, else p_i; the places of the fractions are found in whole numbers, so that equal ones are equal.

Differences: the rules were stated for the target; here they also rank an auxiliary behavior, from all the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import pydantic

from mbjax import errors, types
from mbjax.models import untrained
from mbjax.ops import rows

EXACT = 2**24
"""All integers up to here are exact in float32."""
MORE_PAIRS = 1, 5
"""Added to the counts of a conversion, above and below the line."""


class OwnItemsConfig(pydantic.BaseModel):
    """How the behaviors by which a user met an item become its level."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    level: Literal["funnel", "count", "most_downstream", "conversion"] = pydantic.Field(
        "funnel",
        description="what comes first among the items met by other behaviors; funnel: the sum of 1, 2, 4, ... over "
        "them, upstream to downstream; count: their number; most_downstream: the furthest of them; conversion: the "
        "item's (pairs of the ranked behavior + 1) / (pairs of the most upstream of them + 5)",
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
        """The histories of each behavior, and the places of the items' counts (and conversions) with their number."""
        _check_exact(config, info, max(graphs[name].matrix.nse for name in info.behaviors))
        counts = [jnp.diff(graphs[name].col_ptr) for name in info.behaviors]
        tables = {
            "histories": [(graphs[name].row_ptr, graphs[name].matrix.indices[:, 1]) for name in info.behaviors],
            "popularity": [dense_rank(count) for count in counts],
        }
        if config.level == "conversion":
            # Of a single behavior there is nothing upstream, and nobody asks.
            upstream = [
                next((n for other, n in enumerate(counts) if other != k), count) for k, count in enumerate(counts)
            ]
            tables["conversion"] = [
                dense_rank(*quotient(n + MORE_PAIRS[0], up + MORE_PAIRS[1]))
                for n, up in zip(counts, upstream, strict=True)
            ]
        return tables

    def others(tables, behavior):
        """Histories of all other behaviors, upstream to downstream."""
        return [history for other, history in enumerate(tables["histories"]) if other != behavior]

    def level_of(met: Sequence[types.Array]) -> types.Array:
        """From 1 or 0, whether a pair is in each of them, float32 and of any shape."""
        level = jnp.zeros_like(met[0])
        for place, one in enumerate(met):
            if config.level == "most_downstream":
                level = jnp.maximum(level, (place + 1) * one)
            else:
                level += one * (2**place if config.level == "funnel" else 1)
        return level

    def combined(tables, level, of, behavior):
        """Scores from levels and ``of``, which takes the numbers of these items from those of all."""
        place, number = tables["popularity"][behavior]
        if config.level == "conversion":
            rate, _ = tables["conversion"][behavior]
            return jnp.where(level > 0, number + of(rate), of(place))
        return level * number + of(place)

    def score(tables, users, start, size, behavior):
        histories = others(tables, behavior)
        nothing = [jnp.zeros((users.shape[0], size), jnp.float32)]
        met = [rows.met(*history, users, start, size) for history in histories]  # [B, size] each
        return combined(
            tables,
            level_of(met or nothing),
            lambda of_all: jax.lax.dynamic_slice_in_dim(of_all, start, size),
            behavior,
        )

    def pair(params, tables, users, items, behavior):
        del params
        met = [rows.has(*history, users, items).astype(jnp.float32) for history in others(tables, behavior)]
        level = level_of(met or [jnp.zeros(items.shape, jnp.float32)])
        return combined(tables, level, lambda of_all: of_all.at[items].get(mode="clip"), behavior)

    same = types.SameForAll(
        lambda params, tables, behavior: tables["popularity"][behavior][0],
        lambda params, tables, behavior: others(tables, behavior),
        pair,
    )
    graphs = {name: types.GraphSpec((name,)) for name in info.behaviors}
    return untrained.model(info, graphs, encode, score)._replace(same_for_all=same)


def dense_rank(*keys: types.Array) -> tuple[types.Array, types.Array]:
    """Places of rows among the different ones: float32 [I], 0 for the smallest, and how many there are.

    Args:
      *keys: int [I] each, at least one row; a later one decides where all before are equal.
    """
    order = jnp.lexsort(keys[::-1])
    is_new = jnp.any(jnp.stack([key[order][1:] != key[order][:-1] for key in keys]), axis=0)
    place = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(is_new, dtype=jnp.int32)])
    return jnp.zeros(place.shape, jnp.float32).at[order].set(place), (place[-1] + 1).astype(jnp.float32)


def quotient(above: types.Array, below: types.Array) -> tuple[types.Array, types.Array, types.Array]:
    """Fractions as whole numbers that are equal and ordered, the first deciding first, as the fractions are.

    Two different fractions of numbers below 2^31 differ by more than 2^-62, so 62 binary places tell them apart.

    Args:
      above, below: int32 [I], at least 0 and at least 1.

    Returns:
      The whole part and twice 31 binary places, uint32 [I].
    """
    above, below = above.astype(jnp.uint32), below.astype(jnp.uint32)

    def digit(_, state):
        rest, places = state
        is_one = (2 * rest >= below).astype(jnp.uint32)
        return 2 * rest - is_one * below, 2 * places + is_one

    rest, high = jax.lax.fori_loop(0, 31, digit, (above % below, jnp.zeros_like(above)))
    _, low = jax.lax.fori_loop(0, 31, digit, (rest, jnp.zeros_like(above)))
    return above // below, high, low


def _check_exact(config: OwnItemsConfig, info: types.DatasetInfo, num_pairs: int) -> None:
    """Raises IncompatibleError if scores could exceed what float32 holds exactly; sizes only, so that it may trace."""
    # P different counts are at least 0 + 1 + ... + (P - 1) pairs.
    most = min(info.num_items, (1 + math.isqrt(1 + 8 * num_pairs)) // 2)
    if config.level == "conversion":
        if most + info.num_items > EXACT:
            raise errors.IncompatibleError(
                f"model.level=conversion may give {info.num_items:,} items as many places, too many to rank exactly. "
                "Use model.level=count."
            )
        return
    others = info.num_behaviors - 1
    levels = 2**others if config.level == "funnel" else others + 1
    if levels * most > EXACT:
        raise errors.IncompatibleError(
            f"model.level={config.level} makes {levels} levels of {info.num_behaviors} behaviors, too many to rank "
            "exactly. Use model.level=count, or fewer behaviors (data.behaviors)."
        )
