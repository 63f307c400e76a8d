r"""EHCF: efficient heterogeneous collaborative filtering without negative sampling (Chen et al., AAAI 2020).

The backbone EHCF (``mbjax/backbones/ehcf.py``) and the inner product. The loss is the squared error over *all* items of
a batch's users, computed exactly in O((B + I) d^2) (``mbjax/ops/whole_data.py``):

.. math::
    L = \sum_k \lambda_k \sum_{u \in B} \sum_i w^k_{ui} (y^k_{ui} - s^k_{ui})^2 + \frac{\rho}{2} \sum |W_{jk}|^2,
    \quad w^k_{ui} = 1 \text{ where } y^k_{ui} = 1, \; c_k \text{ elsewhere}

c: ``missing_weight``; lambda: ``behavior_weights``; rho = 1e-4.

Differences:
  batches: the program leaves out users without training pairs of the target and the last, short batch; here all users
    are in, and so is that batch.
  weights of data sets that the authors did not use: all lambda equal, and c = 0.01, as their advice is a
    small one for sparse data.
  weights by item: the paper's derivation allows c of each item; the program has one for a behavior, as here.
  pad item: the program's padding is a trained row of the item table, in the sum over all items too; there is none here.
  evaluation: the program masks training pairs of the target alone; see ``evaluate.mask``.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, heads, types
from mbjax.backbones import ehcf
from mbjax.heads import inner_product
from mbjax.models import compose, compose_config


class WholeDataConfig(compose_config.ComposedConfig):
    """Defaults of the regime: no sampling, sums over a batch."""

    head: heads.HeadConfig = inner_product.InnerProductConfig()
    ranking: compose_config.Ranking = pydantic.Field("whole_data", description=compose_config.RANKING)
    missing_weight: tuple[pydantic.NonNegativeFloat, ...] = pydantic.Field(
        (0.01,),
        min_length=1,
        description=compose_config.ComposedConfig.model_fields["missing_weight"].description,
    )
    mean_over: compose_config.MeanOver = pydantic.Field("nothing", description=compose_config.MEAN_OVER)
    score_scale: float = pydantic.Field(1.0, gt=0, description="factor of every score before the loss")
    loss_factor: float = pydantic.Field(1.0, gt=0, description="factor of every ranking term of the loss")


class EhcfConfig(WholeDataConfig):
    """Switches of EHCF."""

    backbone: backbones.BackboneConfig = ehcf.EhcfConfig(init_std=0.01)
    l2_weight: float = pydantic.Field(1e-4, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("weights", description=compose_config.L2_ON)


def build(config: EhcfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes EHCF for a data set; see ``compose.build``."""
    return compose.build(config, info, batch_size)
