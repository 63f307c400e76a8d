r"""CMF: collective matrix factorization, one matrix for each behavior with shared factors.

Singh and Gordon, KDD 2008; for several behaviors of users Zhao et al., WWW 2015. With P_k: factors of users, Q: of
items,

.. math:: s_k(u, i) = \langle P_k[u], Q[i] \rangle, \qquad L = \sum_k \lambda_k L_k + \rho |\theta|^2

L_k: mean binary cross-entropy of sigmoid(s_k), or the sum of squared differences of s_k and the label, over the
observed pairs of the union of the behaviors, each with its labels, and sampled items outside the union.

Differences:
  share: Singh and Gordon share the factors of items, others those of users; which one the comparisons in NMTR and later
    papers use is not known. The only public program of that group shares items, the default.
  loss: the classical model fits whole matrices; the sampled form is the one used as a baseline of neural models.
  batch: as in ``mbjax/models/nmtr.py``.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.models import compose_config, ncf_units, pointwise
from mbjax.ops import all_users

LOSSES = {"log": pointwise.log_loss, "square": pointwise.squared_loss}


class CmfConfig(pydantic.BaseModel):
    """Switches of CMF."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_size: int = pydantic.Field(64, ge=1, description="width d of the factors")
    share: Literal["item", "user", "both"] = pydantic.Field(
        "item", description="whose factors all behaviors share; both: they have one score"
    )
    loss: Literal["log", "square"] = pydantic.Field(
        "log", description="mean binary cross-entropy, or sum of squared differences"
    )
    behavior_weights: tuple[float, ...] | None = pydantic.Field(
        None, description="loss weight of each behavior in funnel order, 0: not trained; none: 1 / K each"
    )
    negatives: int = pydantic.Field(4, ge=1, description="unobserved items drawn for each observed pair")
    l2_weight: float = pydantic.Field(0.0, ge=0, description="weight of the sum of squares of all factors")


class Cmf(nn.Module):
    """The factors and the loss over them."""

    config: CmfConfig
    info: types.DatasetInfo

    def setup(self):
        users, items = names(self.config, self.info)
        self.user = [self._factors(name, self.info.num_users) for name in users]
        self.item = [self._factors(name, self.info.num_items) for name in items]

    def _factors(self, name, rows):
        return self.param(name, ncf_units.truncated_normal(0.01), (rows, self.config.embedding_size))

    def loss(self, batch: types.UserBatch) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        config, points, parts = self.config, batch.points, {}
        users = [table[batch.user] for table in self.user]
        items = [table[points.item] for table in self.item]
        for place, weight in enumerate(compose_config.behavior_weights(config, self.info)):
            if not weight:
                continue
            scores = jnp.einsum("bd,bmd->bm", _of(users, place), _of(items, place))
            value = LOSSES[config.loss](scores, points, place)
            parts[f"{config.loss}_loss_{self.info.behaviors[place]}"] = weight * value
        if config.l2_weight:
            sides = ((all_users.share(batch), self.user), (batch.share, self.item))
            squares = sum(share * jnp.sum(jnp.square(table)) for share, tables in sides for table in tables)
            parts["l2"] = config.l2_weight * squares
        return sum(parts.values()), parts

    def tables(self) -> tuple[list[types.Array], list[types.Array]]:
        """The factors, one table for each behavior or one for all."""
        return self.user, self.item


def names(config: CmfConfig, info: types.DatasetInfo) -> tuple[list[str], list[str]]:
    """Of the tables of users and of items: one for all behaviors where they are shared, else one for each."""
    one_each = info.behaviors if info.num_behaviors > 1 else ()
    return tuple(
        [side] if config.share in (side, "both") or not one_each else [f"{side}_{name}" for name in one_each]
        for side in ("user", "item")
    )


def build(config: CmfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes CMF for a data set.

    It ranks the behaviors that have a loss weight.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: observed pairs in a batch, over all devices.

    Raises:
      ConfigError: weights that do not fit the behaviors.
    """
    weights = compose_config.behavior_weights(config, info)
    module = Cmf(config, info)
    points = types.PointSpec(info.behaviors, config.negatives)

    def score(params, tables, users, start, size, behavior):
        del params
        own = tuple(_of(side, behavior) for side in tables)
        user, item = pointwise.select(own, users, start, size)
        return user @ item.T

    tasks = tuple(name for name, weight in zip(info.behaviors, weights, strict=True) if weight)
    rows = pointwise.by_row(*names(config, info))
    return pointwise.model(module, info, types.BatchSpec(batch_size, points=points), score, tasks, rows)


def _of(tables, place):
    return tables[place if len(tables) > 1 else 0]
