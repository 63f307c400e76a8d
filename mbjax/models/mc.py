r"""MC-BPR and MC-GMF, MC-MLP, MC-NeuMF: one score for all behaviors, trained on levels of preference.

Loni et al., "Bayesian Personalized Ranking with Multi-Channel User Feedback", RecSys 2016, as the baselines of NMTR
(Gao et al., ICDE 2019). The behaviors are levels, the target the strongest. The negative of an observed pair of a
level is, with probability beta, an item that the user met by no behavior; else an item of a weaker level and of none
stronger, the level chosen with a share of its weight times the number of the user's pairs in it (``types.Levels``).

.. math:: \text{MC-BPR:}\quad s = h^T (p \circ q), \qquad L = \sum softplus(s^- - s^+) + \rho |\theta|^2

over the observed pairs of every behavior. MC-GMF, MC-MLP and MC-NeuMF are the models of ``mbjax/models/ncf.py`` with
their pointwise loss; observed are the pairs of the target, and only the negatives come from the levels.

Differences:
  levels: the original draws positives with replacement, a level with a share of weight times size; NMTR's program,
    followed here, passes over all pairs in each epoch. The original's popular negatives are not offered.
  level_weights: 1, 1/2, 1/4 downward in NMTR's program; 1, 1/2, 1/3 in the original and a later program:
    ``level_weights="harmonic"``.
  unobserved: beta is 0.2 in NMTR's program, 0.8 in the later one, and not published.
  empty levels: the program does not end if a user's views are all carts or buys, and divides by zero if there are
    neither; both give unobserved items here.
  dropout: the program's MC-BPR drops 20 % of both embeddings and does not switch that off for testing; here it is
    off when ranking.
  fixed shares: the program can also draw fixed numbers of negatives from the levels of each pair; not offered.
  score: the original has no weights h: ``output_weights=False``.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.models import ncf, ncf_units, pointwise
from mbjax.ops import all_users, noise

WEIGHTS = {"halving": lambda depth: 0.5**depth, "harmonic": lambda depth: 1.0 / (1 + depth)}


class LevelsConfig(pydantic.BaseModel):
    """Switches of the levels."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unobserved: float = pydantic.Field(
        0.2, ge=0, le=1, description="beta, probability that a negative is an item without any behavior"
    )
    level_weights: Literal["halving", "harmonic"] = pydantic.Field(
        "halving", description="weights of the levels from the target downward: 1, 1/2, 1/4, ... or 1, 1/2, 1/3, ..."
    )


class McGmfConfig(LevelsConfig, ncf.GmfConfig):
    """Switches of MC-GMF."""

    embedding_size: int = pydantic.Field(64, ge=1, description="width of the embeddings")
    variant: Literal["original", "shared_concat"] = pydantic.Field(
        "shared_concat", description="of NCF, or as in NMTR's program: one pair of tables, products at the input"
    )


class McMlpConfig(McGmfConfig):
    """Switches of MC-MLP."""

    layers: int = pydantic.Field(2, ge=1, description="ReLU layers of the tower, each halves the width")


class McNeumfConfig(McMlpConfig):
    """Switches of MC-NeuMF."""

    mlp_embedding_size: int = pydantic.Field(
        64, ge=1, description="width of the embeddings of the MLP branch; the variant shared_concat has none"
    )


class McBprConfig(LevelsConfig):
    """Switches of MC-BPR."""

    embedding_size: int = pydantic.Field(64, ge=1, description="width d of the embeddings of users and items")
    output_weights: bool = pydantic.Field(True, description="learned weights h of the dimensions (program), or none")
    dropout_rate: float = pydantic.Field(
        0.2, ge=0, lt=1, description="probability of dropping a value of either embedding while training"
    )
    reduction: Literal["sum", "mean"] = pydantic.Field("sum", description="of the losses of a batch")
    negatives: int = pydantic.Field(4, ge=1, description="negatives drawn for each observed pair")
    l2_weight: float = pydantic.Field(0.0, ge=0, description="weight of the sum of squares of the embedding tables")


class McBpr(nn.Module):
    """The parameters of MC-BPR and its loss."""

    config: McBprConfig
    info: types.DatasetInfo

    def setup(self):
        size, init = self.config.embedding_size, ncf_units.truncated_normal(0.01)
        self.user = self.param("user", init, (self.info.num_users, size))
        self.item = self.param("item", init, (self.info.num_items, size))
        weights = ncf_units.uniform(size)
        self.output = self.param("output", weights, (size,)) if self.config.output_weights else jnp.ones(size)

    def loss(self, batch: types.UserBatch) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        config, points = self.config, batch.points
        user = (self.user[batch.user] * self.output)[:, None]  # [B, 1, D]
        items = self.item[points.item]
        positive, negative = items[:, :1], items[:, 1:]
        if config.dropout_rate:
            # Each (user, positive, negative) has masks of its own, as in the program.
            shape = (3, config.negatives, config.embedding_size)
            masks = noise.dropout(batch.noise, 0, shape, config.dropout_rate)  # [B, 3, M, D]
            user, positive, negative = user * masks[:, 0], positive * masks[:, 1], negative * masks[:, 2]
        margin = jnp.sum(user * (positive - negative), axis=-1)  # [B, M]
        losses = points.weight[:, 1:] * jax.nn.softplus(-margin)
        divisor = batch.total * config.negatives if config.reduction == "mean" else 1.0
        parts = {"bpr": jnp.sum(losses) / divisor}
        if config.l2_weight:
            squares = all_users.share(batch) * jnp.sum(jnp.square(self.user)) + batch.share * jnp.sum(
                jnp.square(self.item)
            )
            parts["l2"] = config.l2_weight * squares
        return sum(parts.values()), parts

    def tables(self) -> tuple[types.Array, types.Array]:
        """Rows of users and items whose inner products are the scores."""
        return self.user * self.output, self.item


def levels_of(config: LevelsConfig, info: types.DatasetInfo) -> types.Levels:
    """The behaviors as levels."""
    weight = WEIGHTS[config.level_weights]
    weights = tuple(weight(depth) for depth in reversed(range(info.num_behaviors)))
    return types.Levels(info.behaviors, weights, config.unobserved)


def build_bpr(config: McBprConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes MC-BPR for a data set.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: observed pairs in a batch, over all devices.
    """
    module = McBpr(config, info)
    points = types.PointSpec(info.behaviors, config.negatives, levels_of(config, info))

    def score(params, tables, users, start, size, behavior):
        del params, behavior  # there is one score
        user, item = pointwise.select(tables, users, start, size)
        return user @ item.T

    spec, rows = types.BatchSpec(batch_size, points=points), pointwise.by_row(("user",), ("item",))
    return pointwise.model(module, info, spec, score, (info.target,), rows)


def build_gmf(config: McGmfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes MC-GMF for the target of a data set; see ``ncf.of_points``."""
    return ncf.of_points("gmf", config, info, batch_size, _of_target(config, info))


def build_mlp(config: McMlpConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes MC-MLP for the target of a data set; see ``ncf.of_points``."""
    return ncf.of_points("mlp", config, info, batch_size, _of_target(config, info))


def build_neumf(config: McNeumfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes MC-NeuMF for the target of a data set; see ``ncf.of_points``."""
    return ncf.of_points("neumf", config, info, batch_size, _of_target(config, info))


def _of_target(config: McGmfConfig, info: types.DatasetInfo) -> types.PointSpec:
    return types.PointSpec((info.target,), config.negatives, levels_of(config, info))
