r"""MBGCN: multi-behavior recommendation with graph convolutional networks (Jin et al., SIGIR 2020).

The backbone MBGCN (``mbjax/backbones/mbgcn.py``, with what differs there) and the inner product, in the frame of
``mbjax/models/target_only.py``, but for the L2 term, which squares the rows before the relevance of items,

.. math::
    L = \operatorname{mean} softplus(y^- - y^+)
        + \frac{\rho}{2 B} \sum_b (2 |u^*|^2 + |i^{+*}|^2 + |i^{-*}|^2), \quad \rho = 2 \cdot 10^{-4}

as they are after dropout; the released program has the user's row in it once for either item.

Differences:
  batches: a pass of the program has every training pair of the target once; here as many triples, of users who are
    drawn without replacement for a batch and pairs that are drawn with it.
  loss: the program adds 1e-8 to the probability before it takes the logarithm.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, types
from mbjax.backbones import mbgcn
from mbjax.models import compose_config, target_only


class MbgcnConfig(target_only.TargetOnlyConfig):
    """Switches of MBGCN."""

    backbone: backbones.BackboneConfig = mbgcn.MbgcnConfig()
    l2_weight: float = pydantic.Field(2e-4, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("encoded", description=compose_config.L2_ON)


def build(config: MbgcnConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes MBGCN for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
