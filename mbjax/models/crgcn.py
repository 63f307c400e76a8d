r"""CRGCN: cascading residual graph convolutional network (Yan et al., TOIS 2023).

The backbone CRGCN (``mbjax/backbones/crgcn.py``, with what differs between paper and program there) and the inner
product, trained on all behaviors alike in the frame of ``mbjax/models/compose.py``:

.. math::
    L = \sum_k \frac1B \sum_u softplus(y_k^- - y_k^+) + \rho\, \frac{|P| + |Q|}{I + 1}

with one triple of each user and behavior. Negatives are items that the user met by no behavior. :math:`|P|` and
:math:`|Q|` are the lengths of the whole tables, not squared.

Differences:
  users without a behavior: the program counts them with a constant ln 2, which has no gradient; here they are counted
    in the mean and add nothing.
  ranking loss: the program adds 10^-10 inside the logarithm; softplus needs none.
  tables: the program has a spare row for users and one for items, which count in the lengths.
"""

from __future__ import annotations

from typing import Literal

import pydantic

from mbjax import backbones, heads, types
from mbjax.backbones import crgcn
from mbjax.heads import inner_product
from mbjax.models import compose, compose_config

_DESCRIPTION = {name: field.description for name, field in compose_config.ComposedConfig.model_fields.items()}


class CrgcnConfig(compose_config.ComposedConfig):
    """Switches of CRGCN."""

    backbone: backbones.BackboneConfig = crgcn.CrgcnConfig()
    head: heads.HeadConfig = inner_product.InnerProductConfig()
    behavior_weights: tuple[float, ...] | None = pydantic.Field(
        None, description="loss weight of each behavior in funnel order, 0: not trained; none: 1 each"
    )
    score_scale: float = pydantic.Field(1.0, gt=0, description=_DESCRIPTION["score_scale"])
    loss_factor: float = pydantic.Field(1.0, gt=0, description=_DESCRIPTION["loss_factor"])
    l2_weight: float = pydantic.Field(1e-3, ge=0, description="weight of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("norms", description=compose_config.L2_ON)
    mean_over: compose_config.MeanOver = pydantic.Field("users", description=compose_config.MEAN_OVER)
    negatives: Literal["behavior", "all_behaviors"] = pydantic.Field(
        "all_behaviors", description=_DESCRIPTION["negatives"]
    )
    pairs_per_user: int = pydantic.Field(1, ge=1, description=_DESCRIPTION["pairs_per_user"])


def build(config: CrgcnConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes CRGCN for a data set; see ``compose.build``."""
    if config.behavior_weights is None:
        config = config.model_copy(update={"behavior_weights": (1.0,) * info.num_behaviors})
    return compose.build(config, info, batch_size)
