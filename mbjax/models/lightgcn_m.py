r"""LightGCN_M: LightGCN on the graph of all behaviors, trained on the target (a row of COPF's Table 6).

The backbone LightGCN_M (``mbjax/backbones/lightgcn_m.py``, with what is not known of it) and the inner product, in the
frame of ``mbjax/models/target_only.py``.

Differences:
  trained behaviors: not said; the target alone, because COPF lists it among the methods without a multi-task module.
    ``behavior_weights`` trains others too.
"""

from __future__ import annotations

from mbjax import backbones, types
from mbjax.backbones import lightgcn_m
from mbjax.models import target_only


class LightgcnMConfig(target_only.TargetOnlyConfig):
    """Switches of LightGCN_M."""

    backbone: backbones.BackboneConfig = lightgcn_m.LightgcnMConfig(init_std=0.01)


def build(config: LightgcnMConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes LightGCN_M for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
