r"""BPR-MF: matrix factorization for one behavior with the BPR criterion (Rendle et al., UAI 2009).

.. math:: y_{ui} = \langle p_u, q_i \rangle

The backbone MF (the tables themselves) and the inner product, in the frame of ``mbjax/models/target_only.py``. One
model ranks one behavior: ``data.target`` chooses it. PKEF and COPF list it as MF-BPR, a name that multi-feedback BPR
has elsewhere.

Differences:
  triples: an epoch has floor(training pairs / B) + 1 batches of different users, each with one of its pairs, as in
    LightGCN's program; others visit every pair once.
  NMTR's BPR has an output layer, dropout, a sum as loss and Adagrad: ``mc_bpr`` with one behavior.
  initial values: normal, standard deviation 0.01; programs that are public use 0.01, 1 or Xavier's, and the settings
    behind the published numbers are not known.
"""

from __future__ import annotations

from mbjax import backbones, types
from mbjax.backbones import mf
from mbjax.models import target_only


class BprMfConfig(target_only.TargetOnlyConfig):
    """Switches of BPR-MF."""

    backbone: backbones.BackboneConfig = mf.MfConfig(init_std=0.01)


def build(config: BprMfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes BPR-MF for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
