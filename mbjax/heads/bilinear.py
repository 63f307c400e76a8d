r"""Bilinear: the inner product with a weight for each coordinate, one vector for each task.

.. math:: score_k(u, v) = \sum_d Z^k_{u,d}\, r_{k,d}\, Z^k_{v,d}

The prediction of GHCF (Chen et al., AAAI 2021), the head "bilinear" of the tables of PKEF (CIKM 2023) and COPF (KDD
2025), and what stands in for PME and DFME in their ablations. r is not regularized.

Differences:
  full matrix: PKEF speaks of a matrix transformation; no released program has one. ``full`` gives each task a matrix
    R_k, :math:`Z^k_u R_k Z^{kT}_v`, regularized as all matrices are.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic

from mbjax.backbones import base as backbones
from mbjax.heads import base


class BilinearConfig(backbones.Section):
    """Switches of the bilinear head."""

    name: Literal["bilinear"] = "bilinear"
    full: bool = pydantic.Field(False, description="a matrix for each task in place of a vector")


class Bilinear(base.Head):
    """The weights of the tasks."""

    def setup(self):
        num = self.info.num_behaviors
        if self.config.full:
            self.matrix = self.param("matrix", base.STACKED_XAVIER, (num, self.size, self.size))
        else:
            self.relation = self.param("relation", base.XAVIER, (num, self.size))

    def sides(self, encoding, graphs, task, users=None):
        """Own rows, the user's times the task's weights."""
        del graphs
        user, item = self.rows(encoding.behaviors[task], users)
        return base.Sides(user @ self.matrix[task] if self.config.full else user * self.relation[task], item)

    def score(self, task, sides, pairing):
        """One inner product."""
        del task
        return pairing.product(*sides)

    def penalty(self):
        """The matrices; vectors are free."""
        return jnp.sum(jnp.square(self.matrix)) if self.config.full else 0.0
