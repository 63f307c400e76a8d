r"""NGCF for one behavior (Wang et al., SIGIR 2019).

The backbone NGCF (``mbjax/backbones/ngcf.py``, with what differs there) on the target's graph and the inner product, in
the frame of ``mbjax/models/target_only.py``, but for the L2 term, which squares the final rows:

.. math::
    L = \operatorname{mean} softplus(y^- - y^+)
        + \frac{\rho}{2 B} \sum_b (|Z_u|^2 + |Z_{i^+}|^2 + |Z_{i^-}|^2), \quad \rho = 10^{-5}

One model ranks one behavior: ``data.target`` chooses it.

Differences:
  width: BVAE's comparison is of width 100; whether of a layer or of all is not said. Here of a layer.
  loss: one version of the program takes the sum over a batch in place of the mean, which changes its results; here the
    mean.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, types
from mbjax.backbones import ngcf
from mbjax.models import compose_config, target_only


class NgcfConfig(target_only.TargetOnlyConfig):
    """Switches of NGCF."""

    backbone: backbones.BackboneConfig = ngcf.NgcfConfig()
    l2_weight: float = pydantic.Field(1e-5, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("encoded", description=compose_config.L2_ON)


def build(config: NgcfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes NGCF for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
