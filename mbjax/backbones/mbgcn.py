r"""MBGCN: behaviors of learned strength around a user, and items related by each (Jin et al., SIGIR 2020).

One layer. With :math:`n_{uk}` the user's pairs of behavior k, :math:`R` the target's pairs and :math:`C_k` the items
that any user has met together by k,

.. math::
    \alpha_{uk} = \frac{w_k n_{uk}}{\sum_m w_m n_{um}}, \quad
    x_u = \sum_k \frac{\alpha_{uk}}{n_{uk}} \sum_{i \in N_k(u)} q_i, \quad y_i = \sum_{u \in N_R(i)} p_u, \quad
    u^* = [p_u \| x_u W], \quad i^* = [q_i \| y_i W]

    t_{ik} = \Big[ q_i \,\Big\|\, \tfrac{1}{c_{ik}} (C_k Q)_i T_k \Big], \quad
    v_{uk} = \frac{1}{n_{uk}} \sum_{i \in N_k(u)} t_{ik}, \quad
    score(u, i) = u^* \cdot i^* + \frac{\lambda}{K} \sum_k (v_{uk} M_k) \cdot t_{ik}

lambda: ``relevance``. The score is the inner product of rows that hold all of these side by side, 2 d (K + 1) wide, or
2 d where lambda is 0. w starts at 1 and is free, neither kept positive nor normalized. While training, entries of the
pairs' matrices and of u* and i* are dropped. It scores the target alone: every behavior is given these rows.

Differences:
  layers: the released program has the one layer above, the paper, as we know it, any number; one here.
  items met together: the program reads them from files, which do not say whether an entry is 1 or the number of
    users, nor whether an item is its own neighbor: here 1, and no; ``related="users"`` weighs by the number of users
    and needs no matrix of items, whose entries grow with the squares of long histories.
  initial values: Xavier's normal ones; the program starts from factors that BPR has trained, rows scaled to length 1.
    ``train.init_from`` takes over those of a run of ``bpr_mf`` of the same width, as they are.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import graph

EPSILON = 1e-8  # of the program, in every divisor
NORMAL = nn.initializers.glorot_normal()


class MbgcnConfig(base.Section):
    """Switches of MBGCN."""

    name: Literal["mbgcn"] = "mbgcn"
    relevance: float = pydantic.Field(
        1.0, ge=0, description="lambda, weight of the score of items related by each behavior; 0: none"
    )
    related: Literal["any", "users"] = pydantic.Field(
        "any",
        description="weight of an item that users have met together with another: 1 where any has, or how many have",
    )
    edge_dropout_rate: float = pydantic.Field(
        0.2, ge=0.0, lt=1.0, description="probability of dropping a pair of a behavior's matrix while training"
    )
    dropout_rate: float = pydantic.Field(
        0.2, ge=0.0, lt=1.0, description="probability of dropping an entry of a final row while training"
    )


class Mbgcn(base.Backbone):
    """The strengths of the behaviors, the layer and the relevance of items."""

    base_init = staticmethod(NORMAL)

    @staticmethod
    def graphs(config: MbgcnConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's pairs, and the items that they bring together."""
        specs = {_pairs(name): types.GraphSpec((name,)) for name in info.behaviors}
        if config.relevance and config.related == "any":
            specs |= {_items(name): types.GraphSpec((name,), "item_item", "left") for name in info.behaviors}
        return specs

    @staticmethod
    def width(config: MbgcnConfig, info: types.DatasetInfo, size: int) -> int:
        """That of the rows and, with relevance, of as many again for each behavior."""
        return 2 * size * (1 + info.num_behaviors * bool(config.relevance))

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info, size = self.config, self.info, base_table.shape[1]
        user, item = base.users_items(base_table, info)
        matrices = [graphs[_pairs(name)] for name in info.behaviors]
        counts = jnp.stack([jnp.diff(matrix.row_ptr) for matrix in matrices], axis=1).astype(user.dtype)  # n, [U, K]
        strength = self.param("strength", nn.initializers.ones, (info.num_behaviors,)) * counts
        shares = strength / (jnp.sum(strength, axis=1, keepdims=True) + EPSILON)
        met, user_parts, item_parts = 0.0, [], []
        for k, (name, matrix) in enumerate(zip(info.behaviors, matrices, strict=True)):
            rows = jnp.concatenate([item, self._related(graphs, name, item)], axis=1) if config.relevance else item
            means = graph.spmm(self.thin(matrix, config.edge_dropout_rate), rows) / (counts[:, k : k + 1] + EPSILON)
            met += shares[:, k : k + 1] * means[:, :size]
            if config.relevance:
                match = self.param(f"match_{name}", NORMAL, (2 * size, 2 * size))
                user_parts.append(config.relevance / info.num_behaviors * (means @ match))
                item_parts.append(rows)
        buyers = graph.spmm(graph.transposed(self.thin(matrices[-1], config.edge_dropout_rate)), user)
        kernel = self.param("map", NORMAL, (size, size))
        own = jnp.concatenate([base_table, jnp.concatenate([met, buyers]) @ kernel], axis=1)
        own = self.drop(own, config.dropout_rate)
        user, item = base.users_items(own, info)
        table = jnp.concatenate(
            [jnp.concatenate([user, *user_parts], axis=1), jnp.concatenate([item, *item_parts], axis=1)]
        )
        # The L2 term has the user's row with the positive and with the negative.
        squared = jnp.concatenate([jnp.sqrt(jnp.float32(2.0)) * user, item])
        return base.Encoding((table,) * info.num_behaviors, regularized=squared)

    def _related(self, graphs, name, item):
        """What the items around each item by a behavior say of it, [I, D]."""
        kernel = self.param(f"related_{name}", NORMAL, (item.shape[1],) * 2)
        if self.config.related == "any":
            return graph.spmm(graphs[_items(name)], item) @ kernel
        pairs = graphs[_pairs(name)]
        back = graph.transposed(pairs)
        # Row sums of R^T R without its diagonal, which is the number of users of an item.
        counts = jnp.diff(pairs.row_ptr)[:, None].astype(item.dtype)
        users = graph.spmm(back, jnp.ones((counts.shape[0], 1), item.dtype))
        around = graph.spmm(back, graph.spmm(pairs, item)) - users * item
        number = graph.spmm(back, counts) - users
        return jnp.where(number > 0, around / (number + EPSILON), 0.0) @ kernel


def _pairs(name: str) -> str:
    """Name of a behavior's matrix [U, I] among the graphs."""
    return f"{name}, pairs"


def _items(name: str) -> str:
    """Name of its matrix [I, I]."""
    return f"{name}, items met together"
