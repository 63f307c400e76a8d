r"""NMTR: neural multi-task recommendation from multi-behavior data (Gao et al., ICDE 2019; TKDE 2021).

Every behavior has an interaction function (a unit, ``mbjax/models/ncf_units.py``) over one pair of embedding tables,
and its prediction builds on that of the behavior before it in the funnel. With f_r: unit, b_r: item bias,

.. math::
    \hat y_1 = \sigma(f_1 + b_1), \qquad \hat y_r = \sigma(\hat y_{r-1} + f_r + b_r), \qquad
    L = \sum_r \lambda_r \operatorname{mean}\big[-y_r \ln\hat y_r - (1 - y_r) \ln(1 - \hat y_r)\big] + \rho |\theta|^2

(eq. 4; for eq. 5 see below). The mean is over the observed pairs of the union of the behaviors, each with its labels
y_r, and sampled items outside the union, whose labels are 0.

Differences:
  loss: eq. 5 is a sum, over the observed pairs of each behavior and over negatives Y_r^- that are drawn for each by
    itself. Here, as in the program, it is a mean, and all behaviors share their negatives, items of none of them; what
    a user met by another behavior only is a negative of r. There is no option.
  L2: the paper regularizes and does not give the weight; the program's default is 0, and so is ``l2_weight``.
  cascade: the paper adds the probability of the previous behavior; the released program chains logits,
    s_r = (f_r + s_{r-1}) / 2 + b: ``cascade="logit_mean"``.
  bias: the paper's item biases are of a behavior; the program has one vector for all: ``bias="shared"``.
  units: the paper names GMF, MLP and NeuMF; the forms are those of the program. GMF has a dense ReLU layer
    (``gmf_layer=False`` leaves it out, as in NCF), and NeuMF reads [p; q; p o q] of the one pair of tables.
  layers: the program's default of 0 layers cannot run; two here.
  labels: the released sampler counts the behaviors of a pair, as if those were nested; labels are read from each
    behavior here, as in a later program of the same group.
  batch: the program shuffles single rows, observed or negative, 2,048 in a batch; here a batch has observed pairs with
    their negatives (408 with 4 of each are 2,040 rows), and the last, short one counts too.
  loss_weights: not published for each data set; all equal. The paper's add up to 1; here that is up to the user.
  evaluation: the program ranks training items too and lets the held-out item win ties; here those are masked, and ties
    go to the smaller id. The user groups of the paper (Figure 2) are by purchases; ``--groups`` counts training items
    of all behaviors.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.models import compose_config, ncf_units, pointwise
from mbjax.ops import all_users


class NmtrConfig(pydantic.BaseModel):
    """Switches of NMTR."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unit: ncf_units.Kind = pydantic.Field("gmf", description="interaction function of each behavior")
    embedding_size: int = pydantic.Field(64, ge=1, description="width d of the embeddings of users and items")
    layers: int = pydantic.Field(2, ge=1, description="ReLU layers of the units mlp and neumf, each halves the width")
    gmf_layer: bool = pydantic.Field(
        True, description="a dense ReLU layer between product and output of the unit gmf (program), or none (NCF)"
    )
    cascade: Literal["prob", "logit_mean"] = pydantic.Field(
        "prob",
        description="what a behavior takes over from the one before: its probability (paper), or the mean of both "
        "logits (program)",
    )
    bias: Literal["per_behavior", "shared"] = pydantic.Field(
        "per_behavior", description="item biases: of each behavior (paper), or the same for all (program)"
    )
    behavior_weights: tuple[float, ...] | None = pydantic.Field(
        None, description="loss weight of each behavior in funnel order, 0: not trained; none: 1 / K each"
    )
    negatives: int = pydantic.Field(4, ge=1, description="unobserved items drawn for each observed pair")
    l2_weight: float = pydantic.Field(
        0.0, ge=0, description="weight of the sum of squares of the embedding tables and the units' kernels"
    )


class Nmtr(nn.Module):
    """The parameters of NMTR and its forward pass."""

    config: NmtrConfig
    info: types.DatasetInfo

    def setup(self):
        config, info = self.config, self.info
        init = ncf_units.truncated_normal(0.01)
        self.user = self.param("user", init, (info.num_users, config.embedding_size))
        self.item = self.param("item", init, (info.num_items, config.embedding_size))
        rows = info.num_behaviors if config.bias == "per_behavior" else 1
        self.bias = self.param("bias", nn.initializers.zeros, (rows, info.num_items))
        layers = int(config.gmf_layer) if config.unit == "gmf" else config.layers
        self.units = [
            ncf_units.Unit(config.unit, config.embedding_size, layers, name=f"unit_{name}") for name in info.behaviors
        ]

    def loss(self, batch: types.UserBatch) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        config, info, points = self.config, self.info, batch.points
        rows = self.user[batch.user][:, None], self.item[points.item]  # [B, 1, D], [B, 1 + M, D]
        bias = jnp.broadcast_to(self.bias[:, points.item], (info.num_behaviors, *points.item.shape))
        logits = self._cascade([unit.pairs(rows, unit.sides(*rows)) for unit in self.units], bias)
        parts = {}
        for place, weight in enumerate(compose_config.behavior_weights(config, info)):
            if weight:
                parts[f"log_loss_{info.behaviors[place]}"] = weight * pointwise.log_loss(logits[place], points, place)
        if config.l2_weight:
            squares = all_users.share(batch) * jnp.sum(jnp.square(self.user)) + batch.share * jnp.sum(
                jnp.square(self.item)
            )
            squares += batch.share * sum(unit.penalty() for unit in self.units)
            parts["l2"] = config.l2_weight * squares
        return sum(parts.values()), parts

    def tables(self) -> tuple[dict, dict]:
        """What scores need of each user and of each item."""
        sides = [unit.sides(self.user, self.item) for unit in self.units]
        users = {"rows": self.user, "sides": [user for user, _ in sides]}
        bias = jnp.broadcast_to(self.bias, (self.info.num_behaviors, self.info.num_items)).T  # [I, K]
        return users, {"rows": self.item, "sides": [item for _, item in sides], "bias": bias}

    def block(self, users: dict, items: dict, behavior: int) -> types.Array:
        """Logits of a behavior for a block of users and items [B, T]; that of the probability ranks alike."""
        scores = []
        for k in range(behavior + 1):
            sides = users["sides"][k], items["sides"][k]
            scores.append(self.units[k].block((users["rows"], items["rows"]), sides))
        return self._cascade(scores, [items["bias"][:, k] for k in range(behavior + 1)])[-1]

    def _cascade(self, scores, bias):
        """Logits of each behavior, from the units' scores."""
        logits = [scores[0] + bias[0]]
        for score, own in zip(scores[1:], bias[1:], strict=True):
            if self.config.cascade == "prob":
                logits.append(jax.nn.sigmoid(logits[-1]) + score + own)
            else:
                logits.append((score + logits[-1]) / 2 + own)
        return logits


def build(config: NmtrConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes NMTR for a data set, of any number of behaviors.

    It ranks the behaviors that have a loss weight.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: observed pairs in a batch, over all devices.

    Raises:
      ConfigError: weights that do not fit the behaviors, or more layers than the width allows.
    """
    ncf_units.check_layers(config.unit, config.embedding_size, config.layers)
    weights = compose_config.behavior_weights(config, info)
    module = Nmtr(config, info)
    points = types.PointSpec(info.behaviors, config.negatives)
    is_bilinear = config.unit == "gmf" and not config.gmf_layer

    def score(params, tables, users, start, size, behavior):
        mine, theirs = pointwise.select(tables, users, start, size)

        def block(user, item):
            return module.apply(params, user, item, behavior, method=Nmtr.block)

        return block(mine, theirs) if is_bilinear else ncf_units.tiled(block, mine, theirs)

    tasks = tuple(name for name, weight in zip(info.behaviors, weights, strict=True) if weight)
    rows = pointwise.by_row(("user",), ("item",)) | {"bias": types.RowTable("item", axis=1)}
    return pointwise.model(module, info, types.BatchSpec(batch_size, points=points), score, tasks, rows)
