r"""S-MBRec: LightGCN on each behavior's graph, mixed for the target (Gu et al., IJCAI 2022).

.. math::
    H^k = \frac{1}{L+1} \sum_{l=0}^{L} \hat A_k^l E^0, \quad
    a_{uk} = softmax_k\Big( w_k \frac{n_{uk}}{\sum_m n_{um}} \Big), \quad
    Z_u = \Big( \sum_k a_{uk} H^k_u \Big) W_u, \quad Z_i = [H^1_i \| \dots \| H^K_i]\, W_i

:math:`\hat A_k`: the bipartite matrix of behavior k, symmetrically normalized, without self loops; n: a user's pairs.
The tables :math:`E^0` are those of all behaviors. The target has Z; as the representations of the others, which heads
need and the paper has not, we take their :math:`H^k`. The K tables H are the ``views`` of the star-shaped term.

Differences:
  negatives: the released program maps the items that were not bought by a matrix of their own, which its evaluation
    then does not use; here one matrix for all items, as the paper intends.
  shares of behaviors: read from a file with two decimals there, counted here.
  w: 0.4 for the target and 0.3 for either of two others in the program. Here the others have 0.6 together, ``weights``.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base, lightgcn

TARGET_WEIGHT = 0.4


class SmbrecConfig(base.Section):
    """Switches of S-MBRec."""

    name: Literal["smbrec"] = "smbrec"
    num_layers: int = pydantic.Field(3, ge=0, description="graph layers, L")
    weights: tuple[float, ...] | None = pydantic.Field(
        None,
        description="initial w of each behavior in funnel order, or one number for all; none: 0.4 for the target, 0.6 "
        "shared by the others",
    )


class Smbrec(base.Backbone):
    """The propagation, the weights of behaviors and the two maps."""

    @staticmethod
    def graphs(config: SmbrecConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix."""
        del config
        return base.named_graphs(info, "symmetric")

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info, size = self.config, self.info, base_table.shape[1]
        matrices = [graphs[base.matrix_name((name,), "symmetric")] for name in info.behaviors]
        views = tuple(lightgcn.convolve(matrix, base_table, config.num_layers) for matrix in matrices)
        counts = jnp.stack([jnp.diff(matrix.row_ptr)[: info.num_users] for matrix in matrices], axis=1)  # n, [U, K]
        shares = counts / jnp.maximum(jnp.sum(counts, axis=1, keepdims=True), 1)
        weight = self.param("weight", lambda _: jnp.asarray(_initial(config, info), base_table.dtype))
        mixture = jax.nn.softmax(weight * shares, axis=1)
        users, items = zip(*(base.users_items(view, info) for view in views), strict=True)
        mixed = sum(mixture[:, k : k + 1] * rows for k, rows in enumerate(users))
        user = mixed @ self.param("user_map", base.XAVIER, (size, size))
        item = jnp.concatenate(items, axis=1) @ self.param("item_map", base.XAVIER, (size * info.num_behaviors, size))
        table = jnp.concatenate([user, item])
        # Of what is mixed and put side by side at layer 0: the mixture of equal rows is the row, K of them lie beside.
        own, other = base.users_items(base_table, info)
        squared = jnp.concatenate([own, jnp.sqrt(jnp.float32(info.num_behaviors)) * other])
        return base.Encoding((*views[:-1], table), views=views, regularized=squared)


def _initial(config: SmbrecConfig, info: types.DatasetInfo) -> tuple[float, ...]:
    """w before training."""
    if config.weights is not None:
        return base.per_behavior(config.weights, info, "backbone.weights")
    others = info.num_behaviors - 1
    return (*((1.0 - TARGET_WEIGHT) / max(others, 1),) * others, TARGET_WEIGHT)
