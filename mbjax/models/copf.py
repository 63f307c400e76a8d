r"""COPF: combinatorial optimization perspective based framework (Zhai et al., KDD 2025).

The backbone COGCN and the head DFME (``mbjax/backbones/cogcn.py``, ``mbjax/heads/dfme.py``, with what differs between
paper and program there), a contrastive alignment of the target's representation with the others', and the frame
of ``mbjax/models/compose.py``.

Differences:
  contrastive mean: the paper averages over all users; the released program sums over the batch's target pairs and
    divides by the number of all users, also for items. ``contrastive.reduction="all_nodes"`` is the paper's, with
    every user and item as an anchor in every step; ``"mean"`` is the mean over those pairs.
  similarity: an inner product is the paper's example; the program takes cosines: ``contrastive.similarity``.
  ranking loss: a sum over pairs of averaged products in the paper (eqs. 15 and 16); in the program a mean over the
    sampled triples, times 3, of summed products times 300: ``mean_over="nothing"``, ``loss_factor``, ``score_scale``.
  L2: over all parameters in the paper (eq. 17); the program's, followed here, is over the embedding tables, the kernel
    of the gate and the transitions, not over relation vectors and biases: ``l2_on="parameters"``.
  learning rate: 0.001 with Adam in both; that it falls by 4 % about once an epoch is the program's alone, and so are
    the 200 epochs of all users.
  reported epoch: best test HR among the epochs 0, 93, 96, ..., 198, 200: ``--protocol=paper``.
"""

from __future__ import annotations

from mbjax import backbones, heads, types
from mbjax.backbones import cogcn
from mbjax.heads import dfme
from mbjax.models import compose, compose_config, objectives


class CopfConfig(compose_config.ComposedConfig):
    """Switches of COPF; the defaults are the released program's, settings of a data set are in ``configs/``."""

    backbone: backbones.BackboneConfig = cogcn.CogcnConfig()
    head: heads.HeadConfig = dfme.DfmeConfig()
    contrastive: objectives.ContrastiveConfig = objectives.ContrastiveConfig(weight=1.0)


def build(config: CopfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes COPF for a data set; see ``compose.build``."""
    return compose.build(config, info, batch_size)
