r"""GNMR: multi-behavior enhanced recommendation with cross-interaction collaborative relations (Xia et al., ICDE 2021).

The backbone GNMR (``mbjax/backbones/gnmr.py``) and the head ``residual`` (``mbjax/heads/residual.py``), with what
differs in either there, trained on the target alone:

.. math::
    L = \frac{1}{B} \sum \max(0, 1 - y^+ + y^-) + \rho \Big( |P|^2 + |Q|^2 + \sum |W|^2 \Big)

The sum is over the triples of B users, up to 40 of each; P, Q: the tables that propagate; W: all matrices.

Differences:
  triples: the released program draws 40 of every user, and negatives from a pool of a thousand items that a batch
    shares; here a user with n pairs gives min(40, n), and each negative is drawn from all that he has not met.
  divisor: the program divides the last, shorter batch by the size of the others too.
  rho: 0.05 is its default; its notes have others, 0.1 and 1 among them, for data sets that are not here.
  evaluation: its tables rank one held-out item among 99 drawn ones and cannot be compared.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, heads, types
from mbjax.backbones import gnmr
from mbjax.heads import residual
from mbjax.models import compose_config, target_only


class GnmrConfig(target_only.TargetOnlyConfig):
    """Switches of GNMR."""

    backbone: backbones.BackboneConfig = gnmr.GnmrConfig(tables="separate")
    head: heads.HeadConfig = residual.ResidualConfig()
    ranking: compose_config.Ranking = pydantic.Field("hinge", description=compose_config.RANKING)
    mean_over: compose_config.MeanOver = pydantic.Field("users", description=compose_config.MEAN_OVER)
    l2_weight: float = pydantic.Field(0.05, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("tables", description=compose_config.L2_ON)
    pairs_per_user: int = pydantic.Field(
        40, ge=1, description="most triples that a user of a batch gives to each behavior"
    )
    users_per_epoch: int = pydantic.Field(10_000, ge=0, description="random users that an epoch visits; 0: all")
    steps_per_epoch: int = pydantic.Field(
        0, ge=-1, description=compose_config.ComposedConfig.model_fields["steps_per_epoch"].description
    )


def build(config: GnmrConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes GNMR for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
