r"""PKEF: parallel knowledge enhancement based framework (Meng et al., CIKM 2023).

The backbone PKF and the head PME (``mbjax/backbones/pkf.py``, ``mbjax/heads/pme.py``, with what differs between paper
and program there), a second ranking loss on the parallel stream, and for each ordered pair of behaviors a loss by which
what is orthogonal in their representations predicts the pairs that one has and the other lacks, in the frame of
``mbjax/models/compose.py``.

Differences:
  unique loss: in the paper the part of k' orthogonal to k predicts the pairs of k' without k; the released program
    trains the part of j to predict the pairs of k without j: ``unique.direction``. The negatives printed in the paper
    contain the positives; here they are the items outside the set, as in the program.
  unique part: with ``head.level="product"``, the paper's experts, the unique loss still projects the rows of users and
    items one by one; a unique part of products is not offered.
  scale of the unique part: eq. 20 has no factor; the program multiplies each side by 0.01: ``unique.scale``.
  L2: over all parameters in the paper (eq. 21); the program's, followed here, is over the embedding tables and kernels,
    not over the gate's bias: ``l2_on="parameters"``.
  ranking loss: a sum in the paper; in the program a mean over the sampled triples, times 3, of scores times 300.
  users per epoch: not in the paper; 10,000 random users in the program.
  learning rate: 0.001 with Adam in both; that it falls by 4 % after every 39 steps, where an epoch of 10,000
    users has 40, is the program's alone.
  reported epoch: not said; the program tests every third epoch from the first on and writes down the last;
    ``--protocol=paper`` lists the last and the best of epochs 2, 5, ..., 98 and 99.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, heads, types
from mbjax.backbones import pkf
from mbjax.heads import pme
from mbjax.models import compose, compose_config, objectives


class PkefConfig(compose_config.ComposedConfig):
    """Switches of PKEF; the defaults are the released program's, settings of a data set are in ``configs/``."""

    backbone: backbones.BackboneConfig = pkf.PkfConfig()
    head: heads.HeadConfig = pme.PmeConfig()
    users_per_epoch: int = pydantic.Field(10_000, ge=0, description="random users that an epoch visits; 0: all")
    unique: objectives.UniqueConfig = objectives.UniqueConfig(weight=1.0)


def build(config: PkefConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes PKEF for a data set; see ``compose.build``."""
    return compose.build(config, info, batch_size)
