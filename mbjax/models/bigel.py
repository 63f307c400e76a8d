r"""BiGEL (reconstructed): behavior-informed graph embedding learning, for multi-behavior multi-task recommendation.

Lai, Pan, Ming, arXiv 2601.07294, 2026. **Reconstructed from the abstract; its equations were not available to us.**
What is known are four parts (``mbjax/backbones/bigel.py``); this is not the authors' model, and no number of it may be
compared with theirs.
Each behavior is a task: :math:`y^k_{ui} = F^k_u \cdot F^k_i`, trained with BPR on one triple per user and behavior, and

.. math::
    L = \frac1K \sum_k L^k_{BPR} + \gamma\, L_{CPA} + \mu \frac{|P_B|^2 + |Q_B|^2}{2 |B|}, \quad
    L_{CPA} = -\frac{1}{|B_u|} \sum_u \ln \frac{e^{\cos(H^K_u, G_u)/\tau}}{\sum_{v \in B_u} e^{\cos(H^K_u, G_v)/\tau}}

Differences:
  all of the loss is our choice; gamma = 0.1, tau = 0.2, mu = 1e-4 are neither published nor tuned.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, heads, types
from mbjax.backbones import bigel as encoder
from mbjax.heads import inner_product
from mbjax.models import compose, compose_config, objectives


class BigelConfig(compose_config.ComposedConfig):
    """Switches of the reconstruction."""

    backbone: backbones.BackboneConfig = encoder.BigelConfig()
    head: heads.HeadConfig = inner_product.InnerProductConfig()
    score_scale: float = pydantic.Field(1.0, gt=0, description="factor of every score before the loss")
    loss_factor: float = pydantic.Field(1.0, gt=0, description="factor of every ranking term of the loss")
    l2_weight: float = pydantic.Field(1e-4, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("batch", description=compose_config.L2_ON)
    pairs_per_user: int = pydantic.Field(
        1, ge=1, description="most triples that a user of a batch gives to each behavior"
    )
    alignment: objectives.AlignmentConfig = objectives.AlignmentConfig(weight=0.1)


def build(config: BigelConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes the reconstruction for a data set; see ``compose.build``."""
    return compose.build(config, info, batch_size)
