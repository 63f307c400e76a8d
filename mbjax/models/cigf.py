r"""CIGF: compressed interaction graph framework (Guo et al., WWW 2023).

The backbone CIGF (``mbjax/backbones/cigf.py``) and the head MESI (``mbjax/heads/mesi.py``), with what differs between
paper and program there, in the frame of ``mbjax/models/compose.py``:

.. math::
    L = \sum_k \operatorname{mean} softplus(300 y_k^- - 300 y_k^+) + 0.01\, |\theta|^2

theta: the embedding tables and the kernels of attention maps and gate.

Differences:
  size: 16 in the released program, 64 in the tables of COPF and here.
  evaluation: the authors rank each held-out item among 99 items drawn at random; here all items are ranked.
  reported epoch: not said; the program tests every third epoch and after the last.
  large data sets: for IJCAI the program trains on sub-graphs of 40,000 users; not offered.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, heads, types
from mbjax.backbones import cigf
from mbjax.heads import mesi
from mbjax.models import compose, compose_config


class CigfConfig(compose_config.ComposedConfig):
    """Switches of CIGF."""

    backbone: backbones.BackboneConfig = cigf.CigfConfig()
    head: heads.HeadConfig = mesi.MesiConfig()
    behavior_weights: tuple[float, ...] | None = pydantic.Field(
        None, description="loss weight of each behavior in funnel order, 0: not trained; none: 1 each"
    )
    loss_factor: float = pydantic.Field(1.0, gt=0, description="factor of every ranking term of the loss")
    users_per_epoch: int = pydantic.Field(10_000, ge=0, description="random users that an epoch visits; 0: all")


def build(config: CigfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes CIGF for a data set; see ``compose.build``."""
    if config.behavior_weights is None:
        config = config.model_copy(update={"behavior_weights": (1.0,) * info.num_behaviors})
    return compose.build(config, info, batch_size)
