r"""MB-CGCN: cascading graph convolution networks (Cheng et al., WWW 2023).

The backbone MB-CGCN (``mbjax/backbones/mbcgcn.py``, with what differs between paper and program there) and the inner
product, trained on the target alone in the frame of ``mbjax/models/target_only.py``; the squares of the maps count in
the L2 term, divided by the batch size like the rest, as in the released program.

Differences:
  pre-training: the released command starts from a LightGCN trained on views (``--pretrain 1``). Here that is a run
    of its own, whose folder is named by ``train.init_from``; without it training starts from random tables.
  views and carts: the program holds out one of each user: ``data.hold_out=mbcgcn_holdout`` (Taobao); PKEF and COPF
    train on all.
"""

from __future__ import annotations

from mbjax import backbones, types
from mbjax.backbones import mbcgcn
from mbjax.models import target_only


class MbcgcnConfig(target_only.TargetOnlyConfig):
    """Switches of MB-CGCN."""

    backbone: backbones.BackboneConfig = mbcgcn.MbcgcnConfig(init_std=0.01)


def build(config: MbcgcnConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes MB-CGCN for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
