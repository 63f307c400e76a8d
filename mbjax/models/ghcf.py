r"""GHCF: graph heterogeneous collaborative filtering (Chen et al., AAAI 2021), the graph form of EHCF.

The backbone GHCF (``mbjax/backbones/ghcf.py``, with what differs there) and the inner product, under the loss of EHCF
(``mbjax/models/ehcf.py``): the squared error over all items of a batch's users. The L2 term squares final rows,

.. math:: \frac{\rho}{2} \Big( \sum_{u \in B} |\bar e_u|^2 + \sum_i |\bar e_i|^2 \Big)

of the batch's users and of all items, as they are after dropout.

Differences:
  batches: all users and the last, short batch are in, as for ``ehcf``.
  lists: the program cuts a user's training pairs at the 0.9999 quantile of their numbers; here all count.
  weights of data sets that the authors did not use: all lambda equal, c = 0.01, rho = 0.01.
  evaluation: the program divides NDCG by the best order of what was retrieved; here by that of all held-out items.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, types
from mbjax.backbones import ghcf
from mbjax.models import compose, compose_config, ehcf


class GhcfConfig(ehcf.WholeDataConfig):
    """Switches of GHCF."""

    backbone: backbones.BackboneConfig = ghcf.GhcfConfig()
    l2_weight: float = pydantic.Field(0.01, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: compose_config.L2On = pydantic.Field("encoded", description=compose_config.L2_ON)


def build(config: GhcfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes GHCF for a data set; see ``compose.build``."""
    section = config.backbone
    if isinstance(section, ghcf.GhcfConfig) and section.weights is None and config.behavior_weights is not None:
        config = config.model_copy(update={"backbone": section.model_copy(update={"weights": config.behavior_weights})})
    return compose.build(config, info, batch_size)
