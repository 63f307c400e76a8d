r"""R-GCN with behaviors as relations (Schlichtkrull et al., ESWC 2018), trained on the target. Reconstructed.

The backbone R-GCN (``mbjax/backbones/rgcn.py``, with what is not known of it) and the inner product, in the frame of
``mbjax/models/target_only.py``.

Differences:
  decoder and loss: that of the paper for links, DistMult, multiplies by a vector of the relation, as
    ``head.name=bilinear`` does. It is trained by cross entropy with ten corruptions of a triple. Here a pair is to be
    ahead of one other item, as in the models that PKEF (CIKM 2023) and COPF (KDD 2025) have beside it.
  trained behaviors: the target alone, because PKEF and COPF list it among the methods without a multi-task module.
"""

from __future__ import annotations

from mbjax import backbones, types
from mbjax.backbones import rgcn
from mbjax.models import target_only


class RgcnConfig(target_only.TargetOnlyConfig):
    """Switches of R-GCN."""

    backbone: backbones.BackboneConfig = rgcn.RgcnConfig()


def build(config: RgcnConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes R-GCN for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
