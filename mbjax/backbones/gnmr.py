r"""GNMR: messages of behaviors through channels, attention between them, a gate (Xia et al., ICDE 2021).

For a node and what it met by behavior k, with sums over neighbors and weights of each layer and side of its own,

.. math::
    n_k = \sum_{j \in N_k} e_j, \quad a_k = relu(n_k M_k + b_k), \quad z_k = n_k \Theta(a_k), \quad
    \Theta(a) = \sum_c a_c M'_c

    z'_k = \big\|_h \sum_m softmax_m\Big( \frac{(z_k Q_h) \cdot (z_m K_h)}{d / H} \Big) z_m V_h, \quad
    e' = \sum_k softmax_k\big( relu(z'_k G_1 + g_1)\, G_2 \big)\, z'_k

M'_c: d x d, one for each of the ``channels``, the same for all behaviors; H: ``attention_heads``. All nodes take a
layer at once. With :math:`\bar e = e / (\sqrt{|e|^2 + \epsilon} + \epsilon)`, :math:`\epsilon = 10^{-6}`,

.. math:: Z = relu([e^0 \| \bar e^1 \| \dots \| \bar e^L] S + s)

with the same S for users and items. It scores the target alone: every behavior is given Z.

Differences:
  embedding tables: :math:`e^0` in Z is of tables of its own in the released program, not those that propagate:
    ``tables="separate"``, as the model ``gnmr`` has it; the default is one pair of tables for both.
  gate: the program adds a number to all its logits, which their softmax takes away again; it is left out.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import errors, types
from mbjax.backbones import base
from mbjax.ops import graph

EPSILON = 1e-6
STACKED_XAVIER = nn.initializers.glorot_uniform(batch_axis=(0,))
ZEROS = nn.initializers.zeros


class GnmrConfig(base.Section):
    """Switches of GNMR."""

    name: Literal["gnmr"] = "gnmr"
    num_layers: int = pydantic.Field(2, ge=0, description="graph layers, L")
    channels: int = pydantic.Field(8, ge=1, description="matrices that a behavior's message is turned by")
    attention_heads: int = pydantic.Field(2, ge=1, description="heads of the attention between behaviors")
    tables: Literal["shared", "separate"] = pydantic.Field(
        "shared", description="layer 0 of the representation: the tables that propagate, or a pair for it alone"
    )


class Gnmr(base.Backbone):
    """The layers and their weights."""

    @staticmethod
    def graphs(config: GnmrConfig, info: types.DatasetInfo) -> dict[str, types.GraphSpec]:
        """Each behavior's own matrix, not normalized."""
        del config
        return base.named_graphs(info, "none")

    @staticmethod
    def width(config: GnmrConfig, info: types.DatasetInfo, size: int) -> int:
        """That of the embedding tables.

        Raises:
          ConfigError: the heads of the attention do not divide it.
        """
        del info
        if size % config.attention_heads:
            raise errors.ConfigError(
                f"model.backbone.attention_heads={config.attention_heads} does not divide "
                f"model.embedding_size={size}: give one that does, such as --backbone.attention_heads=1."
            )
        return size

    @nn.compact
    def __call__(self, graphs: types.Graphs, base_table: types.Array) -> base.Encoding:
        """Encodes all nodes."""
        config, info, size = self.config, self.info, base_table.shape[1]
        matrices = [graphs[base.matrix_name((name,), "none")] for name in info.behaviors]
        state, layers = base_table, [base_table]
        if config.tables == "separate":
            sizes = (("user", info.num_users), ("item", info.num_items))
            layers = [jnp.concatenate([self.param(f"own_{side}", base.XAVIER, (n, size)) for side, n in sizes])]
        for layer in range(1, config.num_layers + 1):
            sums = jnp.stack([graph.spmm(matrix, state) for matrix in matrices], axis=1)  # [U + I, K, D]
            named = zip((f"user_{layer}", f"item_{layer}"), base.users_items(sums, info), strict=True)
            state = jnp.concatenate([self._gated(name, self._messages(name, rows)) for name, rows in named])
            length = jnp.sqrt(jnp.sum(jnp.square(state), axis=1, keepdims=True) + EPSILON)
            layers.append(state / (length + EPSILON))
        kernel = self.param("joined", base.XAVIER, (size * len(layers), size))
        bias = self.param("joined_bias", ZEROS, (size,))
        table = jax.nn.relu(jnp.concatenate(layers, axis=1) @ kernel + bias)
        return base.Encoding((table,) * info.num_behaviors)

    def _messages(self, name, sums):
        """z' [N, K, D] of sums over neighbors n [N, K, D]."""
        number, size, channels = sums.shape[1], sums.shape[2], self.config.channels
        narrow = self.param(f"{name}_channels", STACKED_XAVIER, (number, size, channels))
        bias = self.param(f"{name}_channels_bias", ZEROS, (number, channels))
        wide = self.param(f"{name}_matrices", base.XAVIER, (channels, size * size)).reshape(channels, size, size)
        strength = jax.nn.relu(jnp.einsum("nkd,kdc->nkc", sums, narrow) + bias)
        # All channels' products, of which a node takes its mixture: no node has a matrix of its own. Sums of a node's
        # own are written as such: as products of so many tiny matrices a step takes a CPU half as long again.
        message = sum(strength[..., c, None] * (sums @ wide[c]) for c in range(channels))
        heads = self.config.attention_heads
        query, key, value = (
            (message @ self.param(f"{name}_{kind}", base.XAVIER, (size, size))).reshape(*message.shape[:2], heads, -1)
            for kind in ("query", "key", "value")
        )
        likeness = jnp.sum(query[:, :, None] * key[:, None], axis=-1) / (size / heads)  # [N, K, K, heads]
        weights = jax.nn.softmax(likeness, axis=2)
        return jnp.sum(weights[..., None] * value[:, None], axis=2).reshape(message.shape)

    def _gated(self, name, messages):
        """The gate's mixture [N, D] of messages [N, K, D]."""
        size, hidden = messages.shape[2], max(messages.shape[2] // 2, 1)
        kernel = self.param(f"{name}_gate", base.XAVIER, (size, hidden))
        bias = self.param(f"{name}_gate_bias", ZEROS, (hidden,))
        unit = self.param(f"{name}_gate_unit", base.XAVIER, (hidden, 1))
        weights = jax.nn.softmax(jax.nn.relu(messages @ kernel + bias) @ unit, axis=1)
        return jnp.sum(weights * messages, axis=1)

    def penalty(self) -> types.Array | float:
        """All matrices; biases and the tables of layer 0 are free."""
        weights = self.variables.get("params", {})
        free = ("own_user", "own_item")
        kept = (x for name, x in weights.items() if name not in free and not name.endswith("_bias"))
        return sum((jnp.sum(jnp.square(x)) for x in kept), start=0.0)
