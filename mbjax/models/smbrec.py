r"""S-MBRec: self-supervised graph neural networks for multi-behavior recommendation (Gu et al., IJCAI 2022).

The backbone S-MBRec (``mbjax/backbones/smbrec.py``) and the inner product, trained on the target with five negatives of
each pair, and the star-shaped term (``mbjax/models/star_term.py``), with what differs in either there:

.. math::
    L = \operatorname{mean} \ln \Big( 1 + \sum_{j=1}^5 e^{y_j^- - y^+} \Big) + \gamma L_{star}
        + \frac{\rho}{2 B} \sum_b \Big( |p_u|^2 + K |q_{i^+}|^2 + K \sum_j |q_{i_j^-}|^2 \Big)

p, q: rows of the embedding tables; gamma = 0.2, rho = 1e-4. The temperatures are those of the program for views, carts
and buys: of users 1 with views and 0.5 with carts, of items 0.2.

Differences:
  L2: the paper, as we know it, regularizes all parameters.
  batches: a pass of the program has every training pair of the target once; here as many triples, of users who are
    drawn without replacement for a batch and pairs that are drawn with it.
  score: the program ranks test items by the rows of all behaviors side by side, without the mixture and the maps that
    it trains, masks nothing and reads the first test item of a user; here the trained score, as for all models.
  another public program of that name, with tables for each behavior, is another model.
"""

from __future__ import annotations

import pydantic

from mbjax import backbones, types
from mbjax.backbones import smbrec
from mbjax.models import compose_config, star_term, target_only


class SmbrecConfig(target_only.TargetOnlyConfig):
    """Switches of S-MBRec."""

    backbone: backbones.BackboneConfig = smbrec.SmbrecConfig()
    l2_on: compose_config.L2On = pydantic.Field("encoded", description=compose_config.L2_ON)
    negatives_per_pair: int = pydantic.Field(
        5, ge=1, description=compose_config.ComposedConfig.model_fields["negatives_per_pair"].description
    )
    star: star_term.StarConfig = star_term.StarConfig(weight=0.2)


def build(config: SmbrecConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes S-MBRec for a data set; see ``target_only.build``."""
    return target_only.build(config, info, batch_size)
