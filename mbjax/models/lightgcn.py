r"""LightGCN for one behavior (He et al., SIGIR 2020).

The backbone LightGCN (``mbjax/backbones/lightgcn.py``) on the target's graph and the inner product, in the frame of
``mbjax/models/target_only.py``. One model ranks one behavior: ``data.target`` chooses it.

Differences: those of the backbone, and no others that we know; batches are of users with pairs of the target, as in the
released program.
"""

from __future__ import annotations

from mbjax import backbones, types
from mbjax.backbones import lightgcn
from mbjax.models import target_only


class LightgcnConfig(target_only.TargetOnlyConfig):
    """Switches of LightGCN."""

    backbone: backbones.BackboneConfig = lightgcn.LightgcnConfig(init_std=0.01)


def build(config: LightgcnConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes LightGCN for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
