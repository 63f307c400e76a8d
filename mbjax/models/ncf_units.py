r"""Interaction functions of neural collaborative filtering: GMF, MLP and NeuMF over rows p of users and q of items.

He et al., WWW 2017, in the forms that NMTR (Gao et al., ICDE 2019) builds on:

.. math::
    \text{GMF:}\quad & h^T (p \circ q) \quad\text{or}\quad h^T\operatorname{relu}(W^T (p \circ q)) \\
    \text{MLP:}\quad & h^T \operatorname{tower}([p; q]) \\
    \text{NeuMF:}\quad & h^T \operatorname{tower}([p; q; p \circ q])

tower: affine layers with ReLU, each half as wide as what it reads. The first layer of a tower is a sum of a user's
part, an item's part and a part of the product; the first two are made once for all users and items (``sides``). For a
block of users and items the third is one matrix product for many users,
:math:`(p \circ q)^T W = q^T \operatorname{diag}(p) W`, so that no array of the products p o q is formed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from mbjax import errors, types
from mbjax.ops import blocks

Kind = Literal["gmf", "mlp", "neumf"]
INPUTS = {"gmf": ("product",), "mlp": ("user", "item"), "neumf": ("user", "item", "product")}
LECUN = nn.initializers.lecun_uniform()  # ``uniform`` of a kernel's inputs
GLOROT = nn.initializers.glorot_uniform()

USERS_AT_ONCE, ITEMS_AT_ONCE = 8, 512  # pairs of a block whose hidden layers exist at the same time


def truncated_normal(stddev: float) -> Callable[..., types.Array]:
    """Normal numbers of a standard deviation, cut at two of them and not rescaled."""
    return nn.initializers.truncated_normal(stddev)


def uniform(inputs: int) -> Callable[..., types.Array]:
    """Uniform numbers between -sqrt(3 / f) and sqrt(3 / f), f inputs."""
    limit = (3.0 / inputs) ** 0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


class Unit(nn.Module):
    """One interaction function.

    Attributes:
      kind: which.
      width: d, of the rows.
      layers: ReLU layers; a GMF unit has none or one, which keeps the width.
      kernel_init: of these layers.
      output_inputs: f of the initial values of h; 0: its length.
    """

    kind: Kind
    width: int
    layers: int
    kernel_init: Callable[..., types.Array] = LECUN
    output_inputs: int = 0

    def setup(self):
        sizes = self.sizes()
        self.kernels = [
            self.param(f"kernel_{i}", self.kernel_init, pair)
            for i, pair in enumerate(zip(sizes, sizes[1:], strict=False))
        ]
        if self.kind != "gmf":
            self.biases = [self.param(f"bias_{i}", nn.initializers.zeros, (size,)) for i, size in enumerate(sizes[1:])]
        self.output = self.param("output", uniform(self.output_inputs or sizes[-1]), (sizes[-1],))

    def sizes(self) -> tuple[int, ...]:
        """Widths: of the input, then of each layer."""
        if self.kind == "gmf":
            return (self.width,) * (self.layers + 1)
        return tuple(len(INPUTS[self.kind]) * self.width // 2**i for i in range(self.layers + 1))

    @property
    def is_bilinear(self) -> bool:
        """Whether its scores are inner products of the sides."""
        return self.kind == "gmf" and not self.layers

    def sides(self, user: types.Array, item: types.Array) -> tuple[types.Array, types.Array]:
        """What scores need of users alone and of items alone.

        Args:
          user: p, float [..., d].
          item: q, float [..., d].

        Returns:
          Their parts of the first layer, the item's with the bias, float [..., H]; of width 0 where there are none; for
          a bilinear unit the rows that are multiplied, p o h and q.
        """
        if self.is_bilinear:
            return user * self.output, item
        if self.kind == "gmf":
            return jnp.zeros((*user.shape[:-1], 0)), jnp.zeros((*item.shape[:-1], 0))
        kernel = self.kernels[0]
        return _times(user, kernel[: self.width]), _times(item, kernel[self.width : 2 * self.width]) + self.biases[0]

    def pairs(self, rows: tuple[types.Array, types.Array], sides: tuple[types.Array, types.Array]) -> types.Array:
        """Scores [B, M] of users with items of their own.

        Args:
          rows: p, float [B, 1, d], and q, float [B, M, d].
          sides: of these.
        """
        if self.is_bilinear:
            return jnp.einsum("bod,bmd->bm", *sides)
        return self._after(self._separable(*sides), lambda kernel: _times(rows[0] * rows[1], kernel))

    def block(self, rows: tuple[types.Array, types.Array], sides: tuple[types.Array, types.Array]) -> types.Array:
        """Scores [B, T] of each user with every item; all of their hidden layers exist at once (see ``tiled``).

        Args:
          rows: p, float [B, d], and q, float [T, d].
          sides: of these.
        """
        if self.is_bilinear:
            return sides[0] @ sides[1].T
        user, item = rows

        def product(kernel):
            scaled = user.T[:, :, None] * kernel[:, None, :]  # diag(p) W of all users, [d, B, H]
            flat = item @ scaled.reshape(scaled.shape[0], -1)
            return flat.reshape(item.shape[0], user.shape[0], -1)

        first = self._separable(sides[0][None], sides[1][:, None])  # [T, B, H]
        return self._after(first, product).T

    def _separable(self, user, item):
        return None if self.kind == "gmf" else user + item

    def _after(self, first, product):
        """From the first layer on: adds the part of the product to it, and runs the rest of the tower."""
        if "product" in INPUTS[self.kind]:
            part = product(self.kernels[0][-self.width :])
            first = part if first is None else first + part
        hidden = jax.nn.relu(first)
        for i in range(1, self.layers):
            hidden = jax.nn.relu(_times(hidden, self.kernels[i]) + self.biases[i])
        return _times(hidden, self.output)

    def penalty(self) -> types.Array | float:
        """The sum of squares of the kernels."""
        return sum((jnp.sum(jnp.square(kernel)) for kernel in self.kernels), start=0.0)


def check_layers(kind: Kind, width: int, layers: int, field: str = "model.layers") -> None:
    """Raises ConfigError for a tower without layers, or with one of width 0."""
    inputs = len(INPUTS[kind]) * width
    if kind != "gmf" and not (layers >= 1 and inputs >> layers):
        raise errors.ConfigError(
            f"{field}={layers} halves an input of {inputs} so often; choose 1 to {inputs.bit_length() - 1}."
        )


def tiled(function: Callable[[Any, Any], types.Array], user: Any, item: Any) -> types.Array:
    """Scores of a block, a few users and items at a time, in bounded memory.

    Args:
      function: ``(user rows [b, W], item rows [t, W]) -> [b, t]`` on trees of arrays.
      user: tree of [B, W].
      item: tree of [T, W].

    Returns:
      float [B, T].
    """

    def some_users(places):
        mine = jax.tree.map(lambda x: x[places], user)

        def some_items(places):
            return function(mine, jax.tree.map(lambda x: x[places], item)).T

        return blocks.over_blocks(some_items, jnp.arange(_rows(item)), ITEMS_AT_ONCE).T

    return blocks.over_blocks(some_users, jnp.arange(_rows(user)), USERS_AT_ONCE)


def _times(rows: types.Array, kernel: types.Array) -> types.Array:
    """``rows @ kernel`` as one product of two matrices, whose gradients are such products too: half again as fast."""
    return (rows.reshape(-1, rows.shape[-1]) @ kernel).reshape(*rows.shape[:-1], *kernel.shape[1:])


def _rows(tree: Any) -> int:
    return jax.tree.leaves(tree)[0].shape[0]
