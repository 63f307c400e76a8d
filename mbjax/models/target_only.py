r"""The frame of models that are trained on the target alone, with one triple of each user of a batch.

.. math::
    L = \operatorname{mean} softplus(y^- - y^+) + \frac{\rho}{2 B} \sum_b (|p_u|^2 + |q_{i^+}|^2 + |q_{i^-}|^2)

p, q: rows of the embedding tables, before propagation; rho = ``l2_weight`` = 1e-4. It is the regime of BPR, LightGCN
and MB-CGCN. Each model that uses it is ``composed.Composed`` with another backbone.

Differences:
  see the models.
"""

from __future__ import annotations

import pydantic

from mbjax import heads, types
from mbjax.heads import inner_product
from mbjax.models import compose, compose_config


class TargetOnlyConfig(compose_config.ComposedConfig):
    """Defaults of the regime; the backbone is left to the model."""

    head: heads.HeadConfig = inner_product.InnerProductConfig()
    behavior_weights: tuple[float, ...] | None = pydantic.Field(
        None, description="loss weight of each behavior in funnel order, 0: not trained; none: the target alone"
    )
    score_scale: float = pydantic.Field(1.0, gt=0, description="factor of every score before the loss")
    loss_factor: float = pydantic.Field(1.0, gt=0, description="factor of every ranking term of the loss")
    l2_weight: float = pydantic.Field(1e-4, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("batch", description=compose_config.L2_ON)
    pairs_per_user: int = pydantic.Field(
        1, ge=1, description="most triples that a user of a batch gives to each behavior"
    )
    steps_per_epoch: int = pydantic.Field(
        -1, ge=-1, description=compose_config.ComposedConfig.model_fields["steps_per_epoch"].description
    )


def build(config: TargetOnlyConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes such a model for a data set; see ``compose.build``."""
    if config.behavior_weights is None:
        weights = (0.0,) * (info.num_behaviors - 1) + (1.0,)
        config = config.model_copy(update={"behavior_weights": weights})
    return compose.build(config, info, batch_size)
