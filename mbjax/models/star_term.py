r"""The star-shaped contrastive term of S-MBRec (Gu et al., IJCAI 2022): the target with each auxiliary behavior.

.. math::
    L = \sum_{a < K} \Big( \frac{1}{|B|} \sum_{u \in B} \ell^{\tau_a}_u(H^K, H^a)
        + \frac{1}{|P|} \sum_{i \in P} \ell^{\tau'_a}_i(H^K, H^a) \Big), \qquad
    \ell^\tau_n(X, Y) = -\frac12 \Big( \ln \frac{e^{\cos(x_n, y_n)/\tau}}{\sum_m e^{\cos(x_n, y_m)/\tau}}
        + \ln \frac{e^{\cos(y_n, x_n)/\tau}}{\sum_m e^{\cos(y_n, x_m)/\tau}} \Big)

B: the users of the batch; P: their positives of the target, an item as often as it was drawn, in the sums over m too;
H: a backbone's ``views``, where it has none its representations. The sums run over the whole batch, however many
devices it lies on.

Differences:
  positives: the paper, as we know it, holds a node against all that are like it by a threshold; the released program
    against itself alone, as here.
  rows: a batch of the program is of pairs, so that a user may be in it more than once.
"""

from __future__ import annotations

import jax.numpy as jnp
import pydantic

from mbjax import errors, types
from mbjax.backbones import base
from mbjax.ops import all_users, contrastive, partition


class StarConfig(base.Section):
    """Alignment of the target with each auxiliary behavior within the batch (S-MBRec)."""

    weight: float = pydantic.Field(0.0, ge=0, description="weight of the star-shaped contrastive term; 0: none")
    user_temperature: tuple[pydantic.PositiveFloat, ...] = pydantic.Field(
        (0.5,),
        min_length=1,
        description="divisor of the cosines of users, with each auxiliary behavior in funnel order, or one for all",
    )
    item_temperature: tuple[pydantic.PositiveFloat, ...] = pydantic.Field(
        (0.2,), min_length=1, description="the same of items"
    )


def check(config: StarConfig, info: types.DatasetInfo) -> None:
    """Raises ConfigError where there is not a temperature for each auxiliary behavior."""
    for field in ("user_temperature", "item_temperature"):
        values = getattr(config, field)
        if len(values) not in (1, len(info.auxiliary)):
            raise errors.ConfigError(
                f"model.star.{field}={','.join(map(str, values))} has {len(values)} values for the auxiliary behaviors "
                f"{', '.join(info.auxiliary)}: give one for each, or a single one for all, with --star.{field}=..."
            )


def loss(config: StarConfig, encoding: base.Encoding, info: types.DatasetInfo, batch: types.UserBatch) -> types.Array:
    """The batch's contribution to the term, in nats."""
    views = [tuple(map(contrastive.normalize, base.users_items(x, info))) for x in encoding.views or encoding.behaviors]
    drawn, total = batch.triples[info.target], 0.0
    number = len(info.auxiliary)
    items = drawn.positive.reshape(-1), drawn.weight.reshape(-1)
    told = None if drawn.everyone is None else drawn.everyone.reshape(-1)
    sides = (
        (batch.user, batch.weight, batch.everyone, batch.total, config.user_temperature),
        (*items, told, drawn.total, config.item_temperature),
    )
    for side, (own, weight, everyone, divisor, temperatures) in enumerate(sides):
        divided = batch.block is not None  # then the rows of a batch are gathered, whose users are elsewhere
        for place, temperature in enumerate((temperatures * number)[:number]):
            one, other = views[-1][side], views[place][side]
            for anchors, candidates in ((one, other), (other, one)):
                if divided or everyone is None:
                    rows, is_real = candidates[own], weight > 0
                    if divided:
                        rows, is_real = all_users.gathered(rows), all_users.gathered(is_real)
                else:
                    rows, is_real = candidates[jnp.maximum(everyone, 0)], everyone >= 0
                bias = jnp.where(is_real, 0.0, all_users.NEVER)
                anchor = anchors[own] / temperature
                found = partition.weighted_log_partition(anchor, rows, bias, weight)
                found -= jnp.dot(weight, jnp.sum(anchor * candidates[own], axis=1))
                total += 0.5 * found / divisor
    return total
