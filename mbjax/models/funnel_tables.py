"""Tables of ``models/funnel.py``: log probabilities of all candidates, and what is left for all other items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.features.retrieval import PARTS
from mbjax.ops import blocks, listwise

ROWS = 16384  # candidates scored at once


def over_blocks(function: Callable[..., types.Array], arrays: Sequence[types.Array]) -> types.Array:
    """``function`` of blocks of rows of several arrays, put together again.

    Rows are looked up, and not cut out of a padded copy, which would be a second table. Blocks of all tables that have
    so many rows are equal, so that what is done to them is compiled once.
    """
    number = arrays[0].shape[0]
    size = min(number, ROWS)
    places = jnp.minimum(jnp.arange(-(-number // size) * size, dtype=jnp.int32), number - 1)
    return blocks.over_blocks(lambda at: function(tuple(x[at] for x in arrays)), places, size)[:number]


def encoded(
    gate: types.Array, unsearched: types.Array, of: Any, values: Callable[[str], types.Array]
) -> dict[str, Any]:
    """Log probabilities of all candidates, and what is left for the rest.

    Args:
      gate: logits of q, [L].
      unsearched: logit of the share of new items that are no candidates.
      of: the prepared candidates.
      values: part -> logits of its candidates, [N].
    """
    has = {part: jnp.diff(of[part]["ptr"]) > 0 for part in PARTS}
    # Who has only the one kind left has all of it.
    familiar = jnp.where(has["new"] | of["is_left"], jax.nn.log_sigmoid(gate), 0.0)
    other = jnp.where(has["familiar"], jax.nn.log_sigmoid(-gate), 0.0)
    rest = jnp.where(has["new"], jax.nn.log_sigmoid(unsearched), 0.0)
    tables: dict[str, Any] = {"popularity": of["popularity"], "rest": other + rest - of["others"]}
    new = other + jnp.where(of["is_left"], jax.nn.log_sigmoid(-unsearched), 0.0)
    for part, share in (("familiar", familiar), ("new", new)):
        row = of[part]["row"]
        inside = listwise.log_softmax(values(part), row, gate.shape[0]) + share[row]
        # A probability of 1 would be taken for no candidate.
        tables[part] = {"ptr": of[part]["ptr"], "item": of[part]["item"], "value": jnp.minimum(inside, -1e-6)}
    return tables
